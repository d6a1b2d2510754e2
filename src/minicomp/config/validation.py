"""msgspec, imported the fast way.

msgspec tries typing_extensions for two names that Python 3.11's own typing has. Where that package happens to be
installed (linters bring it), its import takes 7 ms, as long as the rest of msgspec, out of a start-up budget of 100 ms.
Hidden while msgspec is imported, it costs nothing, and msgspec uses typing.
"""

import sys

_hidden = "typing_extensions" not in sys.modules
if _hidden:
    sys.modules["typing_extensions"] = None  # type: ignore[assignment] # None: an import raises ImportError
try:
    from msgspec import Meta, Struct, ValidationError, convert, to_builtins
finally:
    if _hidden:
        del sys.modules["typing_extensions"]

__all__ = ["Meta", "Struct", "ValidationError", "convert", "to_builtins"]
