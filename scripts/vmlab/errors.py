"""The lab's error types. The text of each is one line for the user: what failed and what to do."""


class LabError(Exception):
    """The lab itself could not do what was asked (missing tool, no network, bad option)."""


class GuestDied(LabError):
    """QEMU ended or the guest stopped answering while something was asked of it."""


class CommandTimeout(LabError):
    """A command in the guest ran past its time limit and was killed. `output` is what it wrote until then."""

    def __init__(self, message: str, output: bytes = b"") -> None:
        super().__init__(message)
        self.output = output
