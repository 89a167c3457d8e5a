"""Rasters of every type of number and on control points, for the tests of rasterio and of GDAL in QGIS alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.runtime.infer.source import Choice, Source
from export.runtime.raster.window import Window
from tests.gaps import card

ROWS, COLUMNS = 6, 8
TALL, WIDE, TURN, SIDE = 31, 40, np.radians(30), 10.0  # of images on control points
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
    for kind, dtype in (("Byte", "u1"), ("Int16", "<i2"), ("Float32", "<f4")):
        values = (np.arange(1, TALL * WIDE + 1).reshape(TALL, WIDE) % 100 + 1).astype(dtype)
        source = Source(opened(raw(folder / f"{kind}.vrt", kind, values, None, corners())), card(("b",)), Choice())
        assert [note.kind for note in source.notes] == ["control_points"]
        _lies_turned(source, values[None], np.ones(values.shape, bool))


def gaps_of_images_on_control_points_are_kept(opened: Callable[[Path], Any], folder: Path) -> None:
    """Each band's nodata value, also one that the type cannot hold, together with a mask; near infrared called alpha."""
    numbers = np.arange(TALL * WIDE).reshape(TALL, WIDE)
    values = np.stack([numbers % 90 + 1, numbers % 70 + 1, numbers % 50])
    shown = numbers % 7 != 0
    colors = ("Red", "Green", "Alpha")
    for nodata, mask, valid in (
        ((None, 30, None), None, values[1] != 30),
        ((20, 30, None), shown, (values[0] != 20) & (values[1] != 30) & shown),
        ((-99999,) * 3, None, np.ones_like(shown)),
        ((-99999,) * 3, shown, shown),
    ):
        path = folder / "scene.vrt"
        bands = [
            _band(folder / f"{at}.vrt", one, at, nodata[at - 1], colors[at - 1]) for at, one in enumerate(values, 1)
        ]
        if mask is not None:
            bands.append(f"<MaskBand>{_band(folder / 'mask.vrt', mask * 255, 0, None, 'Gray')}</MaskBand>")
        size = f'rasterXSize="{WIDE}" rasterYSize="{TALL}"'
        path.write_text(f"<VRTDataset {size}>{corners()}{''.join(bands)}</VRTDataset>")
        source = Source(opened(path), card(("red", "green", "nir")), Choice())
        _lies_turned(source, values, valid)


def an_offset_that_is_not_added_is_named(opened: Callable[[Path], Any], folder: Path) -> None:
    """Values whose file states an offset, taken as they are stored unless the user says what they are."""
    values = np.arange(ROWS * COLUMNS, dtype="<i2").reshape(ROWS, COLUMNS)
    for scale, offset, said in ((1e-4, -0.1, ["-1000"]), (1, 5, ["+5"]), (1e-4, 0, []), (1, 0, [])):
        path = raw(folder / "offset.vrt", "Int16", values)
        scaled = f"<Offset>{offset}</Offset><Scale>{scale}</Scale></VRTRasterBand>"
        path.write_text(path.read_text().replace("</VRTRasterBand>", scaled))
        for kind, notes in (("auto", said), ("raw", [])):
            source = Source(opened(path), card(("b",)), Choice(kind=kind))
            source.settle()
            found = [note.fields["offsets"] for note in source.notes if note.kind == "offset_not_added"]
            assert found == notes, (scale, offset, kind)
            assert np.array_equal(source.read(source.grid.whole)[0][0], values)
            source.close()


def rpcs_alone_are_refused(opened: Callable[[Path], Any], folder: Path) -> Path:
    """What is known of a place by its height only is not mapped."""
    offsets = {"LINE_OFF": 45, "SAMP_OFF": 60, "LAT_OFF": 49, "LONG_OFF": 11, "HEIGHT_OFF": 9}
    scales = {"LINE_SCALE": 45, "SAMP_SCALE": 60, "LAT_SCALE": 1, "LONG_SCALE": 1, "HEIGHT_SCALE": 100}
    one, east, south = (" ".join(map(str, [*first, *[0] * 17])) for first in ([1, 0, 0], [0, 1, 0], [0, 0, -1]))
    terms = {"LINE_NUM_COEFF": south, "LINE_DEN_COEFF": one, "SAMP_NUM_COEFF": east, "SAMP_DEN_COEFF": one}
    lines = "".join(f'<MDI key="{key}">{value}</MDI>' for key, value in {**offsets, **scales, **terms}.items())
    place = f'<Metadata domain="RPC">{lines}</Metadata>'
    path = raw(folder / "rpcs.vrt", "Byte", np.ones((20, 20), np.uint8), None, place)
    with pytest.raises(Exception, match="rpcs"):
        opened(path)
    return path


def corners() -> str:
    """Control points of an image."""
    points = "".join(
        f'<GCP Id="{column}_{row}" Pixel="{column}" Line="{row}" '
        f'X="{500_000 + SIDE * (column * np.cos(TURN) + row * np.sin(TURN))}" '
        f'Y="{5_000_000 + SIDE * (column * np.sin(TURN) - row * np.cos(TURN))}"/>'
        for column in (0, WIDE)
        for row in (0, TALL)
    )
    return f'<GCPList Projection="EPSG:32633">{points}</GCPList>'


def _band(path: Path, values: np.ndarray, number: int, nodata: object, color: str) -> str:
    raw(path, "Int16", values.astype("<i2"))
    stated = "" if nodata is None else f"<NoDataValue>{nodata}</NoDataValue>"
    place = f' band="{number}"' if number else ""
    return (
        f'<VRTRasterBand dataType="{"Int16" if number else "Byte"}"{place}>{stated}<ColorInterp>{color}</ColorInterp>'
        f'<SimpleSource><SourceFilename relativeToVRT="1">{path.name}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
    )


def _lies_turned(source: Source, values: np.ndarray, valid: np.ndarray) -> None:
    """All pixels whose middle is not near a side of a stored one are as that is; closes the source."""
    assert source.declared
    grid = source.grid
    pixels, held = source.read(grid.whole)
    rows, columns = np.mgrid[0 : grid.height, 0 : grid.width] + 0.5
    x, y = grid.at(columns, rows)
    east, north = (x - 500_000) / SIDE, (y - 5_000_000) / SIDE
    across, down = east * np.cos(TURN) + north * np.sin(TURN), east * np.sin(TURN) - north * np.cos(TURN)
    inside = (across > 0) & (across < WIDE) & (down > 0) & (down < TALL)
    near = np.minimum(abs(across - across.round()), abs(down - down.round())) < 0.05  # between two pixels
    column, row = (np.clip(at.astype(int), 0, most - 1) for at, most in ((across, WIDE), (down, TALL)))
    assert (held == (inside & valid[row, column]))[~near].all()
    taken = held & ~near
    assert (pixels[:, taken] == values[:, row[taken], column[taken]]).all()
    source.close()
