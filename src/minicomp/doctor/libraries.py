"""Two copies of one library in a process: the trap of wheels that bring their own libwayland or libxkbcommon.

Each copy has its own global state, and a pointer from one handed to the other crashes (seen in set_keymap and in
libinput's start-up). Kept free of imports: the compositor calls `refuse_duplicate_libraries` at every start, after its
bindings are loaded.
"""

from minicomp.errors import PreconditionError

SINGLE_LIBRARIES = ("libwayland-server", "libwayland-client", "libxkbcommon", "libwlroots", "libpixman-1")
"""Libraries of which a process must hold one copy: objects of one are handed to code that uses the other."""


def duplicate_libraries(maps_text: str) -> list[tuple[str, list[str]]]:
    """The libraries that `maps_text` (/proc/PID/maps) shows from more than one file: (name, its paths, sorted)."""
    paths: dict[str, set[str]] = {}
    for line in maps_text.splitlines():
        start = line.find("/")
        if start < 0 or ".so" not in line:
            continue
        path = line[start:].removesuffix(" (deleted)")
        name = _library_name(path)
        if name in SINGLE_LIBRARIES:
            paths.setdefault(name, set()).add(path)
    return [(name, sorted(found)) for name, found in sorted(paths.items()) if len(found) > 1]


def refuse_duplicate_libraries() -> None:
    """Raises PreconditionError when this process holds two copies of a library that must be there once."""
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        duplicates = duplicate_libraries(maps.read())
    if duplicates:
        name, paths = duplicates[0]
        raise PreconditionError(
            f"two copies of {name} in one process would crash it: {', '.join(paths)}",
            todo="a wheel brought its own: run scripts/setup, which builds pywayland and pywlroots from source",
        )


def _library_name(path: str) -> str:
    """`libxkbcommon` for /usr/lib/libxkbcommon.so.0.0.0, and for a wheel's libxkbcommon-1a2b3c4d.so.0.0.0."""
    name = path[path.rfind("/") + 1 :].partition(".so")[0]
    stem, dash, suffix = name.rpartition("-")
    is_hash = len(suffix) == 8 and all(character in "0123456789abcdef" for character in suffix)
    return stem if dash and is_hash else name
