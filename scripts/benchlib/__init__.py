"""`scripts/bench`: minicomp side by side with sway, cage and tinywl (docs/performance.md).

`cli` prepares and prints; `measure` is a process of its own, which runs as an unprivileged user when the bench is
started by root. Needs the checkout's .venv and Debian's sway and cage.
"""
