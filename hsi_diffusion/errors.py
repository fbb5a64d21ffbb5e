"""The exceptions that the library raises.

Every one derives from :class:`HsiDiffusionError` and from the built-in exception that a caller
would expect, so ``except ValueError`` keeps working. A message names the argument, what is
allowed, what was given, and what to do next.
"""


class HsiDiffusionError(Exception):
    """Base of all errors that the library raises on purpose."""


class SceneError(HsiDiffusionError, ValueError):
    """A cube, a label map or a scene's facts don't fit together or hold impossible values."""


class FileFormatError(HsiDiffusionError, ValueError):
    """A file can't be read as what it is said to be, or does not say which array is meant."""


class SplitError(HsiDiffusionError, ValueError):
    """A split of the labelled pixels can't be made as asked, or a stored one does not fit."""


class ConfigurationError(HsiDiffusionError, ValueError):
    """A setting is outside what is allowed, or two settings contradict each other."""


def reason(error: BaseException) -> str:
    """The first line of what an error says, or its type where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]


class CheckpointError(HsiDiffusionError, ValueError):
    """Weights or a checkpoint don't fit the model that they are loaded into."""


class DivergenceError(HsiDiffusionError, ArithmeticError):
    """A training's loss or weights became nan or infinite."""


class NotFittedError(HsiDiffusionError, RuntimeError):
    """Something that learns from data is used before it has seen any."""


class NotSetUpError(HsiDiffusionError, AttributeError):
    """A data module is asked for what it has only after ``setup``."""


class DownloadError(HsiDiffusionError, OSError):
    """No source gave a file with the expected checksum."""


class OutputError(HsiDiffusionError, OSError):
    """The output folder can't be made or written."""


class OutputExistsError(HsiDiffusionError, FileExistsError):
    """Writing there would replace something that the user may want to keep."""


class MissingDependencyError(HsiDiffusionError, ImportError):
    """An optional package is needed; the message holds the pip line."""
