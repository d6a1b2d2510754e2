"""Section 1: virtual memory."""
