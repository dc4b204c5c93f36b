"""The exceptions that users are meant to read."""


class UserError(Exception):
    """A mistake in input, files or options. The message is one line that says what to do; the command line prints
    it without a traceback."""


class NoSplit(UserError):
    """A source is there, but without images of the split that was asked for."""


class Absent(UserError):
    """Other processes of the job have not come; another start may find them."""


class Known(UserError):
    """A mistake of which all processes of the job have heard, so that each can end by itself."""
