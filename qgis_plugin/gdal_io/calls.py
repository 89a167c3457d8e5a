"""Calls of GDAL whose failure is a fault of the runtime."""

from osgeo import gdal

from ..runtime.errors import Cancelled, InputFault


def ask(kind: str, where, call, *arguments, **options):
    """Call a GDAL function; ``kind`` of ``runtime.messages`` and ``where`` word its failure.

    GDAL's switch for Python exceptions belongs to the whole process and so to QGIS, its last error to the thread:
    this works with the switch in either position and on several threads.

    Raises:
        InputFault: it failed.
    """
    gdal.PushErrorHandler("CPLQuietErrorHandler")  # else it prints
    gdal.ErrorReset()
    try:
        answer = call(*arguments, **options)
        reason = gdal.GetLastErrorMsg() if gdal.GetLastErrorType() >= gdal.CE_Failure else ""
    except RuntimeError as error:
        raise InputFault(kind, where=where, reason=str(error)) from error
    finally:
        gdal.PopErrorHandler()
    if reason:
        raise InputFault(kind, where=where, reason=reason)
    return answer


def cancellable(keep_going, kind: str, where, call, *arguments):
    """The same for a function whose last argument is GDAL's progress callback.

    Raises:
        InputFault: it failed.
        Cancelled: ``keep_going`` returned False.
    """
    try:
        answer = ask(kind, where, call, *arguments, lambda *_: int(keep_going()))
    except InputFault:
        if keep_going():
            raise
        raise Cancelled() from None
    if not keep_going():
        raise Cancelled()
    return answer
