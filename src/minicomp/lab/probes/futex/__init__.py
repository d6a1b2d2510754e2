"""Section 4: futexes."""
