"""`minicomp msg`: speaks to a running compositor over its control socket. docs/control.md is the reference.

The server is minicomp.compositor.control; what both agree on is `interface`. Imports the standard library only, so that
a script can call it often.
"""
