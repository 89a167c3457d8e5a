"""The errors that a user can resolve: each carries a ``Message``, which the host words."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, TypeVar

from .messages import Message

Own = TypeVar("Own", bound="RuntimeFault")


class RuntimeFault(Exception):
    """Base of all errors of the runtime: show the message, never a traceback."""

    def __init__(self, kind: str, **fields: Any) -> None:
        """Take the kind and the facts of a ``Message``."""
        super().__init__(kind)
        self.message = Message(kind, fields)

    @classmethod
    def worded(cls: type[Own], sentence: str) -> Own:
        """A host's own error, already in the user's words."""
        return cls("worded", sentence=sentence)

    def __str__(self) -> str:
        """In English."""
        return str(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors cross processes with their facts."""
        return partial(type(self), self.message.kind, **self.message.fields), ()


class ModelFault(RuntimeFault):
    """The model file cannot be used: corrupt, unsafe, or without a card."""


class InputFault(RuntimeFault):
    """The raster does not fit the model, or cannot be read or written."""


class Cancelled(RuntimeFault):
    """The host asked to stop."""

    def __init__(self, kind: str = "cancelled", **fields: Any) -> None:
        super().__init__(kind, **fields)


def first_line(error: BaseException) -> str:
    """First line of a library's message, without onnxruntime's codes in front; the name of the error if it has none."""
    lines = str(error).splitlines()
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", lines[0]) if lines else type(error).__name__
