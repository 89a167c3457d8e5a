"""Calls of GDAL whose failure is told as one sentence."""

from osgeo import gdal

from ..runtime.errors import InputFault


def ask(sentence: str, call, *arguments, **options):
    """What a GDAL function answers.

    GDAL's switch for Python exceptions belongs to the whole process and so to QGIS, its last error to the thread:
    this works with the switch in either position and on several threads.

    Raises:
        InputFault: it failed; the sentence, and what GDAL says.
    """
    gdal.PushErrorHandler("CPLQuietErrorHandler")  # else it prints
    gdal.ErrorReset()
    try:
        answer = call(*arguments, **options)
        said = gdal.GetLastErrorMsg() if gdal.GetLastErrorType() >= gdal.CE_Failure else ""
    except RuntimeError as error:
        raise InputFault(f"{sentence} ({error})") from error
    finally:
        gdal.PopErrorHandler()
    if said:
        raise InputFault(f"{sentence} ({said})")
    return answer
