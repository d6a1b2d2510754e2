"""Section 6: io_uring."""
