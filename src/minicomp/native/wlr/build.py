"""Builds minicomp.native.wlr._wlr: the frame path over wlroots.

Its ffi includes pywlroots' own, so that a `struct wlr_output *` made there passes here without a cast. What
Python sees are the declarations of the *_verbs.h headers, nothing else.
"""

import sys
from pathlib import Path

import wlroots
from cffi import FFI
from wlroots.ffi_build import SOURCE as WLROOTS_SOURCE
from wlroots.ffi_build import ffi_builder as wlroots_ffi

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # minicomp is not installed while it is built
from minicomp.native.sources import COMPILE_ARGS, DEFINES, NATIVE, c_files, declarations, protocol_sources

HERE = Path(__file__).resolve().parent

# What we implement over libwayland itself; wlroots keeps its own copies private.
PROTOCOLS = ["unstable/linux-dmabuf/linux-dmabuf-unstable-v1.xml"]
PROTOCOL_FILES, PROTOCOL_HEADERS = protocol_sources(PROTOCOLS)

CDEF = """
struct mc_server;
struct mc_seat;
struct mc_event {
    uint32_t kind, pad;
    uint64_t handle;
    int64_t a, b;
    uint64_t t_ns;
};
struct mc_logring;
struct mc_log_message {
    uint64_t t_ns;
    uint32_t level, origin;
    char text[480];
};
bool mc_logring_take(struct mc_logring *ring, struct mc_log_message *message_ret, uint64_t *lost_ret);
"""

VERBS = sorted(HERE.glob("*_verbs.h"))

ffi = FFI()
ffi.include(wlroots_ffi)
ffi.cdef(CDEF)
ffi.cdef(declarations(NATIVE / "pure" / "events.h"))
memory_text = declarations(NATIVE / "pure" / "memory.h")
ffi.cdef(memory_text[: memory_text.index("struct mc_memory {")])
for header in VERBS:
    ffi.cdef(declarations(header))

ffi.set_source(
    "minicomp.native.wlr._wlr",
    WLROOTS_SOURCE + '#include "server.h"\n' + "".join(f'#include "{header.name}"\n' for header in VERBS),
    sources=c_files("wlr") + c_files("pure") + PROTOCOL_FILES,
    include_dirs=[
        PROTOCOL_HEADERS,
        str(HERE),
        str(NATIVE / "pure"),
        str(Path(wlroots.__file__).parent / "include"),
        "/usr/include/pixman-1",
        "/usr/include/libdrm",
    ],
    libraries=["wlroots", "wayland-server", "input", "pixman-1", "xkbcommon", "drm", "uring", "m"],
    define_macros=DEFINES,
    extra_compile_args=COMPILE_ARGS,
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
