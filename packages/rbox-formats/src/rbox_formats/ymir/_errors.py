"""What can go wrong in a task, by the platform's codes."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from rbox_formats.errors import FormatsError

#: The platform's error codes, by the kinds of errors.
CODES = MappingProxyType(
    {
        "container": 160004,
        "config": 300001,
        "dataset": 300002,
        "image": 300003,
        "model": 300004,
        "object type": 300005,
        "gpu mismatch": 300101,
        "no gpu": 300102,
        "memory": 300103,
        "nan": 300201,
        "network": 300301,
    }
)

# The kinds of errors, by the names of their classes: those of torch and of the detectors are not imported for it. The
# first class of an error's own, its parents' and its cause's that is here decides.
_KINDS = {
    "BusyError": "config",
    "CheckpointError": "model",
    "ClassNameError": "config",
    "CodecError": "config",
    "ConfigError": "config",
    "ConnectionError": "network",
    "DatasetError": "dataset",
    "HTTPError": "network",
    "ImageError": "image",
    "LocalEntryNotFoundError": "network",
    "MemoryError": "memory",
    "ModelError": "model",
    "ModelFileError": "model",
    "OutOfMemoryError": "memory",
    "URLError": "network",
}

# How CUDA says that a GPU does not go with what is installed, in an error of no class of its own.
_TEXTS = {
    "out of memory": "memory",
    "no kernel image is available": "gpu mismatch",
    "driver version is insufficient": "gpu mismatch",
    "no cuda-capable device": "no gpu",
    "found no nvidia driver": "no gpu",
}


class TaskError(FormatsError):
    """A task cannot be done, for a reason that the platform has a code for.

    >>> from rbox_formats import ymir
    >>> ymir.TaskError("no gpu", "expected a GPU, found none").code
    300102

    Args:
        kind: A key of `CODES`.
        message: As of `RboxError`.
        **place: As of `RboxError`: path, line, remedy.
    """

    def __init__(self, kind: str, message: str, **place: Any) -> None:
        super().__init__(message, **place)
        self.kind = kind

    @property
    def code(self) -> int:
        """The platform's number of this kind of errors."""
        return CODES[self.kind]


def code_of(error: BaseException) -> int:
    """Return the platform's code for an error: by its class, by its cause's, and by what CUDA says.

    >>> from rbox_formats import ymir
    >>> from rbox_formats.errors import DatasetError
    >>> ymir.code_of(DatasetError("a line is wrong")), ymir.code_of(MemoryError()), ymir.code_of(KeyError("x"))
    (300002, 300103, 160004)

    Args:
        error: What was raised.
    """
    causes = list(_causes(error))
    if (own := next((each for each in causes if isinstance(each, TaskError)), None)) is not None:
        return own.code
    # The cause first: memory that runs out, or a network that is not there, is the cause of an error of another kind.
    for each in reversed(causes):
        text = str(each).lower()
        for words, kind in _TEXTS.items():
            if words in text and isinstance(each, RuntimeError | AssertionError):
                return CODES[kind]
    urgent = ("memory", "network")
    kinds = [kind for each in causes for kind in _kinds(each)]
    chosen = next((kind for kind in kinds if kind in urgent), next(iter(kinds), None))
    if chosen is None:
        chosen = "config" if isinstance(error, ValueError) and _is_ours(error) else "container"
    return CODES[chosen]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and those from which it was raised."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__


def _kinds(error: BaseException) -> Iterator[str]:
    return (_KINDS[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _KINDS)


def _is_ours(error: BaseException) -> bool:
    return any(kind.__name__ == "RboxError" for kind in type(error).__mro__)
