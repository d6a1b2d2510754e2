"""A Debian source package through the machine's own apt, without touching the machine's apt state.

The mirror is the one that apt is configured with (asked by `apt-get indextargets`); proxies and credentials are apt's
own, since its configuration is read as always and only its directories are replaced. The index is signed by Debian's
archive keyring and apt checks every file against it. Nothing is installed, and no source is kept in the checkout.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .errors import Unavailable

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TIMEOUT_S = 600


def fetch_source(package: str, version: str, folder: Path) -> Path:
    """Unpacks the source package under `folder` and returns its tree. Raises Unavailable."""
    for tool in ("apt-get", "dpkg-source"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} not found (Debian: apt and dpkg-dev)")
    if not KEYRING.exists():
        raise Unavailable(f"{KEYRING} is missing (Debian: debian-archive-keyring)")
    config = _write_config(folder / "apt")
    _apt_get(config, ["update"])
    _apt_get(config, ["source", "--download-only", f"{package}={version}"], cwd=folder)
    descriptions = sorted(folder.glob(f"{package}_*.dsc"))
    if not descriptions:
        raise Unavailable(f"apt-get source {package}={version} brought no .dsc file")
    tree = folder / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    _run(["dpkg-source", "--no-check", "-x", str(descriptions[-1]), str(tree)])  # apt has checked the hashes
    return tree


def source_lines(targets: Iterable[str], codename: str) -> list[str]:
    """deb-src lines for every `URI RELEASE COMPONENT` of apt's own that belongs to this Debian release's main."""
    pairs: dict[tuple[str, str], None] = {}
    for target in targets:
        match target.split():
            case [uri, release, "main"] if release == codename or release.startswith(f"{codename}-"):
                pairs[uri, release] = None
    return [f"deb-src [signed-by={KEYRING}] {uri} {release} main" for uri, release in pairs]


def _write_config(folder: Path) -> Path:
    found = re.search(r"^VERSION_CODENAME=(\S+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    codename = found[1] if found else ""
    asked = _run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"])
    lines = source_lines(asked.splitlines(), codename)
    if not lines:
        raise Unavailable(f"apt's sources name no Debian mirror for this release ({codename or 'unknown'})")
    for part in ("empty.d", "lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_text("\n".join(lines) + "\n")
    (folder / "status").touch()
    config = folder / "apt.conf"
    # Read last, after the system's own files: #clear drops hooks that would act on the system.
    config.write_text(
        f'Dir::State "{folder}";\nDir::State::lists "{folder}/lists";\nDir::State::status "{folder}/status";\n'
        f'Dir::Cache "{folder}/cache";\nDir::Etc::sourcelist "{folder}/sources.list";\n'
        f'Dir::Etc::sourceparts "{folder}/empty.d";\nDir::Etc::preferencesparts "{folder}/empty.d";\n'
        f'Dir::Etc::preferences "{folder}/none";\n#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n'
        '#clear APT::Update::Post-Invoke-Success;\nAPT::Sandbox::User "";\n'
    )
    return config


def _apt_get(config: Path, arguments: list[str], cwd: Path | None = None) -> str:
    return _run(["apt-get", "-c", str(config), "-q", *arguments], cwd)


def _run(command: list[str], cwd: Path | None = None) -> str:
    name = " ".join(Path(word).name if word.startswith("/") else word for word in command[:4])
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env=dict(os.environ, LC_ALL="C.UTF-8", DEBIAN_FRONTEND="noninteractive"),
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{name} took over {TIMEOUT_S} s: is the mirror reachable?") from None
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg-source: error"))]
        raise Unavailable(f"{name} failed: {' '.join(errors or done.stderr.split())}")
    return done.stdout
