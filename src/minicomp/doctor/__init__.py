"""`minicomp doctor`: every precondition, tried out rather than assumed, with what to do where one is missing.

One module per topic, each a few functions that yield findings; `command` puts them together. Nothing here imports the
compositor or its bindings: what has to be asked of them is asked in a process of its own, so that even a crash in there
is a finding. `libraries.duplicate_libraries` is also used by the compositor at start-up and imports next to nothing.
"""
