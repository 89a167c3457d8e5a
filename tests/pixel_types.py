"""Rasters of every type of number and on control points, for the tests of rasterio and of GDAL in QGIS alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from export.runtime.infer.source import Choice, Source
from export.runtime.raster.window import Window
from tests.gaps import card

ROWS, COLUMNS = 6, 8
# GDAL's name, how numpy stores it, a nodata value
TYPES = (
    ("Byte", "u1", 255), ("UInt16", "<u2", 65535), ("Int16", "<i2", -32768), ("UInt32", "<u4", 2**32 - 1),
    ("Int32", "<i4", -(2**31)), ("UInt64", "<u8", 2**64 - 1), ("Int64", "<i8", 2**63 - 1), ("Int64", "<i8", -(2**63)),
    ("Float32", "<f4", -9999), ("Float64", "<f8", -9999), ("CFloat32", "<c8", 0), ("CFloat64", "<c16", 0), ("CInt16", "<i2", 0),
)  # fmt: skip
PLACE = "<SRS>EPSG:32633</SRS><GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>"


def raw(path: Path, kind: str, values: np.ndarray, nodata: object = None, place: str = PLACE) -> Path:
    """A VRT of one band over the bytes of (rows, columns) values; those of ``CInt16`` have a last axis of two."""
    path.with_suffix(".raw").write_bytes(values.tobytes())
    rows, columns = values.shape[:2]
    line = values.strides[0]
    stated = "" if nodata is None else f"<NoDataValue>{nodata}</NoDataValue>"
    path.write_text(
        f'<VRTDataset rasterXSize="{columns}" rasterYSize="{rows}">{place}<VRTRasterBand dataType="{kind}" band="1" '
        f'subClass="VRTRawRasterBand">{stated}<SourceFilename relativeToVRT="1">{path.stem}.raw</SourceFilename>'
        f"<ImageOffset>0</ImageOffset><PixelOffset>{line // columns}</PixelOffset><LineOffset>{line}</LineOffset>"
        "<ByteOrder>LSB</ByteOrder></VRTRasterBand></VRTDataset>"
    )
    return path


def numbers_of_every_type_are_read(opened: Callable[[Path], Any], folder: Path) -> None:
    """Whole, real and complex ones of up to 64 bits, with their nodata values."""
    for number, (kind, dtype, nodata) in enumerate(TYPES):
        expected = np.arange(1.0, ROWS * COLUMNS + 1).reshape(ROWS, COLUMNS)
        values = expected.astype(dtype)
        if kind.startswith("C"):
            parts = np.stack([3 * expected, -4 * expected], axis=-1)  # 3, -4: a magnitude of 5
            values = parts.astype(dtype) if kind == "CInt16" else (parts[..., 0] + 1j * parts[..., 1]).astype(dtype)
            expected = 5 * expected
        values[2, 3] = nodata
        source = Source(opened(raw(folder / f"{number}.vrt", kind, values, nodata)), card(("b",)), Choice())
        pixels, valid = source.read(Window(0, 0, ROWS, COLUMNS))
        assert np.argwhere(~valid).tolist() == [[2, 3]], kind
        assert np.array_equal(pixels[0][valid], expected[valid]), kind
        assert [note.kind for note in source.notes] == (["complex"] if kind.startswith("C") else []), kind
        source.close()


def control_points_become_a_grid(opened: Callable[[Path], Any], folder: Path) -> None:
    """An image turned by 30 degrees, known by four corners; what they do not enclose is a gap, whatever the type."""
    turn, side = np.radians(30), 10.0
    for kind, dtype in (("Byte", "u1"), ("Int16", "<i2"), ("Float32", "<f4")):
        values = np.arange(1, 31 * 40 + 1).reshape(31, 40) % 100 + 1
        corners = [(column, row) for column in (0, 40) for row in (0, 31)]
        points = "".join(
            f'<GCP Id="{column}_{row}" Pixel="{column}" Line="{row}" '
            f'X="{500_000 + side * (column * np.cos(turn) + row * np.sin(turn))}" '
            f'Y="{5_000_000 + side * (column * np.sin(turn) - row * np.cos(turn))}"/>'
            for column, row in corners
        )
        place = f'<GCPList Projection="EPSG:32633">{points}</GCPList>'
        source = Source(
            opened(raw(folder / f"{kind}.vrt", kind, values.astype(dtype), None, place)), card(("b",)), Choice()
        )
        assert [note.kind for note in source.notes] == ["control_points"]
        assert source.declared
        grid = source.grid
        pixels, valid = source.read(grid.whole)
        rows, columns = np.mgrid[0 : grid.height, 0 : grid.width] + 0.5
        x, y = grid.at(columns, rows)
        east, north = (x - 500_000) / side, (y - 5_000_000) / side
        across, down = east * np.cos(turn) + north * np.sin(turn), east * np.sin(turn) - north * np.cos(turn)
        inside = (across > 0) & (across < 40) & (down > 0) & (down < 31)
        near = np.minimum(abs(across - across.round()), abs(down - down.round())) < 0.05  # between two pixels
        assert (valid == inside)[~near].all()
        taken = inside & ~near
        assert (pixels[0][taken] == values[down[taken].astype(int), across[taken].astype(int)]).all()
        source.close()
