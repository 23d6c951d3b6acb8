"""Errors a person can fix. Messages say where, what was found, what was expected, what to do."""


class StclipError(ValueError):
    """Base of everything the command line reports without a traceback."""


class ConfigError(StclipError):
    """A setting, name or argument is wrong."""


class DataError(StclipError):
    """A file is missing, damaged or says something impossible."""


class TrackingError(StclipError):
    """W&B cannot be reached, or did not take what it was given."""


class TrainingError(StclipError):
    """Training cannot go on, for example because the loss is not finite."""
