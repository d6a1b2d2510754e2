"""Debian packages through the machine's own apt, without touching the machine's own apt state.

`PrivateApt` keeps package lists, status and archives in a folder of the lab. The mirror is the one that the
system's apt is configured with (asked by `apt-get indextargets`), and so are proxies and credentials, since
apt's configuration is read as always; only its directories are replaced. Every list is signed by Debian's
archive keyring and every package is checked by apt against those lists. Nothing is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import LabError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
BACKPORTS = ("bookworm-backports", "trixie-backports")
DOWNLOAD_TIMEOUT_S = 1800


def say(message: str) -> None:
    """One line of progress to the user, apart from the guest's own output."""
    print(f"vm: {message}", file=sys.stderr, flush=True)


class PrivateApt:
    """apt with its own directories under `folder`. Lists are brought up to date once per object."""

    def __init__(self, folder: Path) -> None:
        for tool in ("apt-get", "apt-cache", "dpkg"):
            if shutil.which(tool) is None:
                raise LabError(f"{tool} not found: the VM lab fetches its parts from Debian and needs a Debian host")
        if not KEYRING.exists():
            raise LabError(f"{KEYRING} is missing: install debian-archive-keyring")
        self._folder = folder
        self._config = folder / "apt.conf"
        self._write_config()
        self._updated = False

    def plan(self, packages: Sequence[str], suite: str | None) -> list[str]:
        """File names of the packages that `fetch_missing` would download, by the lists as they are."""
        self._copy_status()
        listed = self._apt_get([*_install(packages, suite), "--print-uris"])
        return re.findall(r"^'\S+ (\S+\.deb) ", listed, re.MULTILINE)

    def fetch_missing(self, what: str, packages: Sequence[str], suite: str | None) -> list[Path]:
        """Download `packages` and whatever they need that the host does not have installed."""
        self._update()
        command = _install(packages, suite)
        self._announce(what, [*command, "--print-uris"])
        return self._download(command)

    def download(self, what: str, packages: Sequence[str]) -> list[Path]:
        """Download just `packages` (name=version), without what they depend on."""
        self._update()
        archives = self._folder / "cache/archives"
        self._announce(what, ["--print-uris", "download", *packages])
        self._apt_get(["download", *packages], cwd=archives)
        return sorted(archives.glob("*.deb"))

    def kernel_of(self, suite: str) -> tuple[str, str]:
        """(release as `uname -r` says it, package version) of the suite's current amd64 kernel."""
        self._update()
        shown = self._apt_cache("show", f"linux-image-amd64/{suite}")
        version = re.search(r"^Version: (\S+)$", shown, re.MULTILINE)
        release = re.search(r"^Depends:.*\blinux-image-(\S+-amd64) ", shown, re.MULTILINE)
        if version is None or release is None:
            raise LabError(f"apt knows no linux-image-amd64 in {suite}")
        return release[1], version[1]

    def exists(self, package: str, version: str) -> bool:
        return f"Version: {version}" in self._apt_cache("show", f"{package}={version}", check=False)

    def _announce(self, what: str, query: list[str]) -> None:
        sizes = [int(size) for size in re.findall(r"^'\S+ \S+ (\d+) ", self._apt_get(query), re.MULTILINE)]
        say(f"fetching {what}: {len(sizes)} Debian packages, {sum(sizes) / 1e6:.1f} MB")

    def _download(self, command: list[str]) -> list[Path]:
        archives = self._folder / "cache/archives"
        for old in archives.glob("*.deb"):
            old.unlink()
        self._apt_get(command)
        return sorted(archives.glob("*.deb"))

    def _update(self) -> None:
        if not self._updated:
            self._copy_status()
            say("reading Debian's package lists (about 10 MB when they changed)")
            self._apt_get(["update"])
            self._updated = True

    def _copy_status(self) -> None:
        """The host's status says which dependencies are there already; apt wants to lock and write beside it."""
        shutil.copyfile("/var/lib/dpkg/status", self._folder / "state/status")

    def _apt_get(self, arguments: list[str], cwd: Path | None = None) -> str:
        command = ["apt-get", "-c", str(self._config), "-q", *arguments]
        try:
            done = subprocess.run(
                command, cwd=cwd, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, env=_plain_environment()
            )
        except subprocess.TimeoutExpired:
            limit = f"{DOWNLOAD_TIMEOUT_S} s"
            raise LabError(f"apt-get {arguments[0]} took over {limit}: is the mirror reachable?") from None
        if done.returncode != 0:
            errors = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
            raise LabError("apt-get failed: " + " ".join(errors or [done.stderr.strip()]))
        return done.stdout

    def _apt_cache(self, *arguments: str, check: bool = True) -> str:
        command = ["apt-cache", "-c", str(self._config), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=_plain_environment())
        if check and done.returncode != 0:
            raise LabError(f"apt-cache {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def _write_config(self) -> None:
        folder = self._folder
        for part in ("etc/empty.d", "state/lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "etc/sources.list").write_text(_sources())
        # Read last, after the system's own files: #clear drops hooks that would act on the system.
        self._config.write_text(
            f'Dir::State "{folder}/state";\nDir::State::lists "{folder}/state/lists";\n'
            f'Dir::State::status "{folder}/state/status";\nDir::Cache "{folder}/cache";\n'
            f'Dir::Cache::archives "{folder}/cache/archives";\n'
            f'Dir::Etc::sourcelist "{folder}/etc/sources.list";\nDir::Etc::sourceparts "{folder}/etc/empty.d";\n'
            f'Dir::Etc::preferences "{folder}/etc/none";\nDir::Etc::preferencesparts "{folder}/etc/empty.d";\n'
            "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n"
            "#clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Pre-Invoke;\n#clear DPkg::Post-Invoke;\n"
            '#clear DPkg::Pre-Install-Pkgs;\nAPT::Keep-Downloaded-Packages "true";\nAPT::Sandbox::User "";\n'
        )


def _install(packages: Sequence[str], suite: str | None) -> list[str]:
    release = ["-t", suite] if suite else []
    return [*release, "install", "--no-install-recommends", "--assume-yes", "--download-only", *packages]


def _sources() -> str:
    """The system's own Debian sources and the backports suites on the same mirror, as a sources.list."""
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        env=_plain_environment(),
    )
    codename = _codename()
    targets = {tuple(line.split()) for line in asked.stdout.splitlines()}
    own = sorted((t[0], t[1]) for t in targets if len(t) == 3 and t[2] == "main" and t[1].startswith(codename))
    mirrors = [uri for uri, release in own if release == codename]
    if codename != "bookworm" or not mirrors:
        raise LabError(
            f"apt's sources name no Debian mirror for bookworm main (this system is {codename}): "
            "the VM lab needs Debian 12 with its main archive in /etc/apt"
        )
    pairs = dict.fromkeys([*own, *((mirrors[0], suite) for suite in BACKPORTS)])
    return "".join(f"deb [signed-by={KEYRING} arch=amd64] {uri} {release} main\n" for uri, release in pairs)


def _codename() -> str:
    found = re.search(r"^VERSION_CODENAME=(\S+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


def _plain_environment() -> dict[str, str]:
    """apt's messages are parsed: in English, whatever the user's language."""
    return dict(os.environ, LC_ALL="C.UTF-8", DEBIAN_FRONTEND="noninteractive")
