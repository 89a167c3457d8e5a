"""Keeps tracebacks about GDAL messages that are not UTF-8 off the terminal, in any number of threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

_lock = threading.Lock()
_users = 0
_restore: Callable[[], None]


@contextmanager
def undecodable_messages_ignored() -> Iterator[None]:
    """Within it rasterio prints nothing about a GDAL message that it cannot decode.

    GDAL quotes bytes of a corrupt file. rasterio 1.4 decodes its messages as UTF-8 in a C callback; where that
    fails, Cython prints the error through both hooks of ``sys`` and continues. All threads share one filter: the first
    installs it, the last removes it. Everything else still reaches the former hooks.
    """
    global _users, _restore
    with _lock:
        if not _users:
            _restore = _install()
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _restore()


def _install() -> Callable[[], None]:
    excepthook, unraisablehook = sys.excepthook, sys.unraisablehook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if kind is not UnicodeDecodeError or trace is not None:  # one raised in Python has a traceback
            excepthook(kind, error, trace)

    def show_unraisable(unraisable: Any) -> None:
        if unraisable.exc_type is not UnicodeDecodeError or "rasterio" not in str(unraisable.object):
            unraisablehook(unraisable)

    def restore() -> None:
        if sys.excepthook is show:  # else somebody else took over meanwhile
            sys.excepthook = excepthook
        if sys.unraisablehook is show_unraisable:
            sys.unraisablehook = unraisablehook

    sys.excepthook, sys.unraisablehook = show, show_unraisable
    return restore
