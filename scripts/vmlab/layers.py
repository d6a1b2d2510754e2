"""Folders of unpacked Debian packages, each fetched once into the lab's cache and used from there.

A layer is `layers/NAME/root` (the packages' files) and `layers/NAME/layer.json` (what it was made from), put in
place by one rename, so a layer that exists is complete. Layers are lower directories of the guest's overlay root,
so the guest sees the packages as if they were installed; the host's system is never changed. What the layers
hold and why these versions: docs/vm.md.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .apt import PrivateApt, say
from .errors import LabError

# Debian's merged-/usr links. A package may still ship /lib/...: unpacked over the host's root by overlayfs, a real
# /lib folder would hide the link, so such folders are moved below usr.
MERGED_DIRS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True)
class Recipe:
    """Which packages make a layer. `suite` None: the host's own suites; otherwise apt's target release."""

    name: str
    packages: tuple[str, ...]
    suite: str | None = None

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]


# QEMU 7.2 (bookworm) miscompiles llvmpipe; Mesa 22.3 (bookworm) crashes in kms_swrast.
QEMU = Recipe("qemu", ("qemu-system-x86",), "bookworm-backports")
MESA = Recipe("mesa", ("libgl1-mesa-dri", "libegl-mesa0", "libgbm1", "libglx-mesa0"), "bookworm-backports")
TOOLS = Recipe("tools", ("busybox-static", "kmod", "udev", "seatd", "libinput-tools"))
# Where each line of kernels comes from, newest first.
KERNEL_SUITES = ("trixie-backports", "bookworm-backports", "bookworm")
# virtio-gpu has a vblank clock of its own in the 7.x kernels; 6.12 completes a flip at once.
DEFAULT_KERNEL_SINCE = [7]


@dataclass(frozen=True)
class Kernel:
    """One unpacked kernel: `release` as `uname -r` says it, `root` its layer's files."""

    release: str
    root: Path

    @property
    def modules_dir(self) -> Path:
        return self.root / "usr/lib/modules" / self.release

    @property
    def image(self) -> Path:
        split, whole = self.modules_dir / "vmlinuz", self.root / f"boot/vmlinuz-{self.release}"
        return split if split.exists() else whole


def cache_dir() -> Path:
    """$MINICOMP_VM_CACHE, or minicomp/vm in the user's cache folder."""
    if chosen := os.environ.get("MINICOMP_VM_CACHE"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "minicomp" / "vm"


class LayerStore:
    """The cache folder. Safe to use from several processes: fetching holds a file lock."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_dir()
        self._apt: PrivateApt | None = None

    def layer(self, recipe: Recipe) -> Path:
        """Root folder of the recipe's layer, fetched if it is not there or the host has lost packages since."""
        name = f"{recipe.name}-{recipe.fingerprint}"
        folder = self.folder / "layers" / name
        if not self._serves_this_host(folder):
            with self._locked():
                if not self._serves_this_host(folder):
                    self._fetch_layer(name, folder, recipe)
        return folder / "root"

    def _serves_this_host(self, folder: Path) -> bool:
        """A layer holds what the host lacked when it was made: true while the host's packages are the same."""
        described = folder / "layer.json"
        return described.exists() and json.loads(described.read_text())["host"] == _host_packages()

    def _fetch_layer(self, name: str, folder: Path, recipe: Recipe) -> None:
        apt = self._private_apt()
        if (described := folder / "layer.json").exists():
            # The host's packages changed. Often that is no concern of this layer: ask apt, without downloading.
            layer = json.loads(described.read_text())
            if set(apt.plan(recipe.packages, recipe.suite)) <= set(layer["debs"]):
                described.write_text(json.dumps(layer | {"host": _host_packages()}, indent=1) + "\n")
                return
            shutil.rmtree(folder)
        debs = apt.fetch_missing(recipe.name, recipe.packages, recipe.suite)
        self._unpack(name, debs, {"packages": recipe.packages, "suite": recipe.suite, "host": _host_packages()})

    def kernel(self, version: str | None = None) -> Kernel:
        """The newest kernel whose release begins with `version` ("7.3", "6.1"); None: of the newest line.

        A cached kernel is taken as it is, without asking the mirror for a newer one (`refresh` does).
        """
        tools = self.layer(TOOLS)
        release = self._cached_kernel(version)
        if release is None:
            with self._locked():
                release = self._cached_kernel(version) or self._fetch_kernel(version, tools)
        return Kernel(release, self.folder / "layers" / f"kernel-{release}" / "root")

    def _cached_kernel(self, version: str | None) -> str | None:
        names = (layer.name.removeprefix("kernel-") for layer in self.folder.glob("layers/kernel-*"))
        fitting = [name for name in names if _fits(name, version)]
        return max(fitting, key=_version_key, default=None)

    def refresh(self) -> None:
        """Forget every layer, so that the next use fetches it again."""
        with self._locked():
            shutil.rmtree(self.folder / "layers", ignore_errors=True)

    def _fetch_kernel(self, version: str | None, tools: Path) -> str:
        apt = self._private_apt()
        known = [apt.kernel_of(suite) for suite in KERNEL_SUITES]
        fitting = [kernel for kernel in known if _fits(kernel[0], version)]
        if not fitting:
            offered = ", ".join(release for release, _ in known)
            raise LabError(f"no kernel {version or '7 or newer'} in Debian's suites; there are: {offered}")
        release, package_version = fitting[0]
        # trixie-backports splits a kernel into three packages; older suites have one.
        parts = [f"linux-{part}-{release}" for part in ("binary", "modules", "base")]
        if not apt.exists(parts[0], package_version):
            parts = [f"linux-image-{release}"]
        debs = apt.download(f"kernel {release}", [f"{part}={package_version}" for part in parts])
        name = f"kernel-{release}"
        self._unpack(name, debs, {"packages": parts, "version": package_version}, partial(_depmod, tools, release))
        return release

    def _unpack(
        self,
        name: str,
        debs: Sequence[Path],
        made_from: dict[str, object],
        finish: Callable[[Path], None] | None = None,
    ) -> None:
        layers = self.folder / "layers"
        layers.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".unpack-", dir=layers))
        root = work / "root"
        root.mkdir()
        for deb in debs:
            _call(["dpkg", "-x", str(deb), str(root)])
        _merge_usr(root)
        if finish is not None:
            finish(root)
        made_from["debs"] = sorted(deb.name for deb in debs)
        (work / "layer.json").write_text(json.dumps(made_from, indent=1) + "\n")
        work.chmod(0o755)
        work.rename(layers / name)
        for deb in debs:
            deb.unlink()

    def _private_apt(self) -> PrivateApt:
        if self._apt is None:
            self._apt = PrivateApt(self.folder / "apt")
        return self._apt

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another process is filling the cache; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _host_packages() -> str:
    status = Path("/var/lib/dpkg/status").stat()
    return f"{status.st_mtime_ns} {status.st_size}"


def find_tool(name: str, *roots: Path) -> Path:
    """A program by name, from the host or from the layers' folders."""
    if found := shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
        return Path(found)
    for root in roots:
        for folder in ("usr/bin", "usr/sbin", "usr/libexec"):
            if (candidate := root / folder / name).exists():
                return candidate
    raise LabError(f"{name} not found on this system nor in the cache: run scripts/vm --refresh")


def library_path(root: Path) -> str:
    """LD_LIBRARY_PATH with which a program of a layer finds the layer's own libraries."""
    return f"{root}/usr/lib/x86_64-linux-gnu"


def _depmod(tools: Path, release: str, kernel_root: Path) -> None:
    """Write the module index that the packages' own post-install script would have written."""
    # kmod is one program under several names: argv[0] says which.
    done = subprocess.run(
        ["depmod", "-b", str(kernel_root / "usr"), release],
        executable=find_tool("kmod", tools),
        env=dict(os.environ, LD_LIBRARY_PATH=library_path(tools)),
        capture_output=True,
        text=True,
    )
    if not (kernel_root / "usr/lib/modules" / release / "modules.dep").exists():
        raise LabError(f"depmod failed for {release}: {done.stderr.strip()}")


def _fits(release: str, version: str | None) -> bool:
    if version is None:
        return _version_key(release)[:1] >= DEFAULT_KERNEL_SINCE
    return release == version or release.startswith((version + ".", version + "-", version + "+"))


def _version_key(release: str) -> list[int]:
    return [int(part) for part in release.replace("+", ".").replace("-", ".").split(".") if part.isdigit()]


def _merge_usr(root: Path) -> None:
    for name in MERGED_DIRS:
        folder = root / name
        if folder.is_dir() and not folder.is_symlink():
            shutil.copytree(folder, root / "usr" / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(folder)


def _call(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"{command[0]} failed: {done.stderr.strip()}")
