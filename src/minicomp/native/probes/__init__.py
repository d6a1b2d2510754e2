"""The probes' native module: the time-critical loops of `minicomp lab probe`, apart from what `run` loads.

`ffi` and `lib` are cffi's; the headers beside this file are the reference.
"""

from minicomp.native.probes._probes import ffi, lib

__all__ = ["ffi", "lib"]
