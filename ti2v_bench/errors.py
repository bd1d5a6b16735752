"""The error a user can mend."""


class TI2VError(Exception):
    """What happened with the value, what was expected, what to do: one line, shown without a traceback."""
