"""Corrupt rasters in several threads: no traceback, and the hooks of the process stay its own."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from export.rasterio_io.opening import undecodable_messages_ignored
from export.rasterio_io.pixels import RasterPixels
from export.runtime.errors import InputFault


def test_corrupt_rasters_in_threads_print_nothing_and_leave_the_hooks(tmp_path, capfd):
    band = b'<VRTRasterBand dataType="Byt\xff" band="1"/>'
    (tmp_path / "bad.vrt").write_bytes(b'<VRTDataset rasterXSize="5" rasterYSize="5">' + band + b"</VRTDataset>")
    before = sys.excepthook, sys.unraisablehook

    def fails(_: int) -> bool:
        with pytest.raises(InputFault, match="cannot be read as a raster"):
            RasterPixels(tmp_path / "bad.vrt")
        return True

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(fails, range(40)))
    assert (sys.excepthook, sys.unraisablehook) == before
    assert capfd.readouterr().err == ""


def test_threads_that_leave_in_the_order_they_came_restore_the_hooks():
    before = sys.excepthook, sys.unraisablehook
    second_is_in, first_is_out = threading.Event(), threading.Event()

    def second() -> None:
        with undecodable_messages_ignored():
            second_is_in.set()
            assert first_is_out.wait(10)

    thread = threading.Thread(target=second)
    with undecodable_messages_ignored():
        thread.start()
        assert second_is_in.wait(10)
    assert (sys.excepthook, sys.unraisablehook) != before
    first_is_out.set()
    thread.join()
    assert (sys.excepthook, sys.unraisablehook) == before


def test_other_errors_and_hooks_of_others_are_left_alone(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: seen.append(error[0]))
    monkeypatch.setattr(sys, "unraisablehook", lambda found: seen.append(found.exc_type))
    undecodable = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    try:
        raise undecodable
    except UnicodeDecodeError as error:
        trace = error.__traceback__
    with undecodable_messages_ignored():
        sys.excepthook(ValueError, ValueError(), None)
        sys.excepthook(UnicodeDecodeError, undecodable, trace)
        sys.excepthook(UnicodeDecodeError, undecodable, None)  # as Cython calls it
        sys.unraisablehook(SimpleNamespace(exc_type=UnicodeDecodeError, object="a finaliser"))
        sys.unraisablehook(SimpleNamespace(exc_type=UnicodeDecodeError, object="rasterio._env.log_error"))
        sys.excepthook = theirs = lambda *error: None
    assert seen == [ValueError, UnicodeDecodeError, UnicodeDecodeError]
    assert sys.excepthook is theirs
