"""Probes: what is said about the kernel's mechanisms, measured on this machine (`minicomp lab probe`).

One folder per section of the claims (docs/kernel-claims.md), one small module per mechanism in it; every module has
`PROBES`. How a probe is written: `probe.py`.
"""
