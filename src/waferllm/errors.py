"""Exceptions: each message says what was got, what was expected, why, and what to do next."""


class WaferError(Exception):
    """A mistake that a person can mend; the command line prints it in one sentence and exits 2."""


class InputError(WaferError, ValueError):
    """An argument, option or prompt is outside what it may be."""


class CheckpointError(WaferError):
    """A checkpoint's files are missing, damaged or do not say what they must."""


class UnsupportedError(WaferError, NotImplementedError):
    """A model family, operation or option that this package does not implement."""


class CapacityError(WaferError):
    """A request, model or mesh needs more memory or more cores than there are."""
