"""Experiments: the same scene under different settings, interleaved, on the same machine (docs/lab.md).

`spec` is what an experiment file says and `read` reads one; `plan` orders the runs; `runner` does them, each in a fresh
compositor (`session`); `rows` and `results` turn each run file into a table. Collecting needs the standard library and
msgspec only (a virtual machine's image, a kiosk); making tables needs numpy and pyarrow.
"""
