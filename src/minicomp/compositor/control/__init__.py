"""The control socket: JSON-RPC 2.0 for scripts, tests and experiments (docs/control.md).

A thread of its own serves it. Nothing else ever waits for that thread: it looks and acts by the verbs that everybody
uses, and where the policy must have its say it asks the policy thread. `endpoint` is all that start-up imports; the
rest comes with the first connection. minicomp.msg.interface has the methods, as data.
"""
