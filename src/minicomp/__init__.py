"""minicomp: a small Wayland compositor for kiosks, CI and latency experiments."""

__version__ = "0.1.0"
