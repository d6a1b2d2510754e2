"""Section 7: namespaces."""
