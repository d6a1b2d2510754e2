"""The native module over wlroots: loop thread, frames, modelled display, input, windows, as verbs.

`ffi` and `lib` are cffi's; the *_verbs.h headers beside this file are the reference. Functions of wlroots itself are
in pywlroots' `wlroots.lib`, whose pointers pass here as they are.
"""

from minicomp.native.wlr._wlr import ffi, lib

__all__ = ["ffi", "lib"]
