"""What can go wrong, told apart by who has to act."""


class BenchError(Exception):
    """The bench cannot go on; the message is one line for the user."""


class Unavailable(Exception):
    """One contender cannot be had here; the message says why. Its column is left out."""
