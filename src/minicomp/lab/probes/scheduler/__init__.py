"""Section 2: the CPU scheduler."""
