"""Builds minicomp.native.probes._probes. cffi reads every *_probes.h here as it is; every C file is compiled in."""

import sys
from pathlib import Path

from cffi import FFI

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # minicomp is not installed while it is built
from minicomp.native.sources import COMPILE_ARGS, DEFINES, c_files, declarations

HERE = Path(__file__).resolve().parent
HEADERS = sorted(HERE.glob("*_probes.h"))

ffi = FFI()
for header in HEADERS:
    ffi.cdef(declarations(header))

ffi.set_source(
    "minicomp.native.probes._probes",
    "".join(f'#include "{header.name}"\n' for header in HEADERS),
    sources=c_files("probes"),
    include_dirs=[str(HERE), str(HERE.parent / "pure")],
    libraries=["uring", "m"],
    define_macros=DEFINES,
    extra_compile_args=COMPILE_ARGS,
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
