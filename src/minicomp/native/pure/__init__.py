"""The pure native module: trace ring, lock, queue, vblank and redraw arithmetic, without wlroots.

Usable and testable on any machine. `ffi` and `lib` are cffi's; the headers beside this file are the reference.
"""

from minicomp.native.pure._pure import ffi, lib

__all__ = ["ffi", "lib"]
