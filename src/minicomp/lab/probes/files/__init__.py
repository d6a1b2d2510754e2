"""Section 3: file descriptors."""
