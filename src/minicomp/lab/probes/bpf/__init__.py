"""Section 8: eBPF."""
