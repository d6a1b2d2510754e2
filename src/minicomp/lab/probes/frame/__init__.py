"""Section 9: one frame, and what is new."""
