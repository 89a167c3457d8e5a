"""The errors that a user can resolve: each carries a ``Message``, which the host words."""

from __future__ import annotations

from typing import Any, Tuple

from .messages import Message


class RuntimeFault(Exception):
    """Base of all errors of the runtime: show the message, never a traceback.

    Attributes:
        message: the kind of the error and its facts.
    """

    def __init__(self, kind: str, **fields: Any) -> None:
        """Take a key of ``messages.MESSAGES`` and the facts of its sentence."""
        super().__init__(kind)
        self.message = Message(kind, fields)

    def __str__(self) -> str:
        """In English."""
        return self.message.text()

    def __reduce__(self) -> Tuple[Any, ...]:
        """Errors cross processes with their facts."""
        return _again, (type(self), self.message.kind, dict(self.message.fields))


class ModelFault(RuntimeFault):
    """The model file cannot be used: corrupt, unsafe, or without a card."""


class InputFault(RuntimeFault):
    """The raster does not fit the model, or cannot be read or written."""


class Cancelled(RuntimeFault):
    """The host asked to stop."""


def _again(kind: Any, name: str, fields: Any) -> RuntimeFault:
    return kind(name, **fields)
