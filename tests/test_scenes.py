"""Scenes of one area that differ: in the order of bands, in data type, and in how they are placed."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import rasterio
from PIL import Image

from core.prepare import main
from core.store.read import ChipStore
from tests.conftest import call, write_raster
from tests.pixel_types import raw

SIDE = 32


def named(path, pixels, names=(), **place):
    write_raster(path, pixels, **place)
    if names:
        with rasterio.open(path, "r+") as target:
            target.descriptions = names
    return path


def prepared(folder, *words):
    return call(main, "rasters", *words, "--size", 16, "--workers", 1, "--out", folder / "store", "--overwrite")


def chips_of(folder, name):
    """The chips of a scene, put together: (bands, SIDE, SIDE) stored values."""
    store = ChipStore(folder / "store")
    index = store.index
    rows = np.flatnonzero(index["source"] == name)
    out = np.zeros((len(store.info.bands), SIDE, SIDE), store.info.dtype)
    for number, pixels in zip(rows, store.raw(rows)):
        row, column = index["row"][number], index["column"][number]
        out[:, row : row + 16, column : column + 16] = pixels
    return out


@pytest.mark.parametrize(
    ("first", "second", "order"),
    [
        (("B4", "B3", "B2"), ("B2", "B3", "B4"), [2, 1, 0]),
        (("one", "two", "three"), ("two", "three", "one"), [2, 0, 1]),
        (("B02", "B03", "B04"), ("red", "green", "blue"), [2, 1, 0]),
        (("red", "green", "nir"), ("B08 (842 Nanometers)", "Red", "S2_B03"), [1, 2, 0]),
    ],
)
@pytest.mark.parametrize("shift", [0, 5])
def test_bands_are_read_by_their_names(first, second, order, shift, tmp_path, capsys):
    """On the same grid and on one that is ``shift`` px away, where bilinear interpolation meets the middles of pixels."""
    pixels = np.random.default_rng(0).integers(1, 9000, (3, SIDE, SIDE)).astype(np.uint16)
    one = named(tmp_path / "a_20200101.tif", pixels, first)
    other = named(tmp_path / "b_20200201.tif", pixels, second, origin=(500_000 + 10 * shift, 5_000_000))
    assert prepared(tmp_path, one, other) == 0
    expected = np.zeros_like(pixels)
    expected[:, :, shift:] = pixels[order][:, :, : SIDE - shift]
    assert np.array_equal(chips_of(tmp_path, "b_20200201.tif"), expected)
    assert np.array_equal(chips_of(tmp_path, "a_20200101.tif"), pixels)
    text = f"b_20200201.tif: its bands {', '.join(second)} are read in the order of a_20200101.tif, {', '.join(first)}"
    assert text in capsys.readouterr().out


def test_scenes_of_other_bands_are_refused_and_unknown_names_are_said(tmp_path, capsys):
    pixels = np.ones((3, SIDE, SIDE), np.uint16)
    one = named(tmp_path / "a_20200101.tif", pixels, ("red", "green", "blue"))
    other = named(tmp_path / "b_20200201.tif", pixels, ("nir", "red", "green"))
    assert prepared(tmp_path, one, other) == 2
    assert (
        "b_20200201.tif: its bands are nir, red, green, those of a_20200101.tif red, green, blue"
        in capsys.readouterr().err
    )
    other = named(tmp_path / "b_20200201.tif", pixels)
    assert prepared(tmp_path, one, other) == 0
    text = "its bands band 1, band 2, band 3 are taken in their order for those of a_20200101.tif, red, green, blue"
    assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    ("types", "stored"),
    [
        (("uint16", "int16"), "float32"),
        (("int16", "int32"), "float32"),
        (("float32", "float64"), "float32"),
        (("uint8", "int16"), "int16"),
        (("uint16", "uint8"), "uint16"),
        (("uint16", "float32"), "float32"),
        (("float64", "int32"), "float32"),
    ],
)
def test_scenes_of_two_types_are_stored_in_a_common_one(types, stored, tmp_path, capsys):
    pixels = [np.random.default_rng(at).integers(1, 200, (1, SIDE, SIDE)).astype(kind) for at, kind in enumerate(types)]
    if "float64" in types and "int32" not in types:
        pixels[1] += 0.25
    scenes = [named(tmp_path / f"{at}_2020010{at + 1}.tif", values) for at, values in enumerate(pixels)]
    differ = ({"uint8", "float32"} & set(types) and types != ("float32", "float64")) or types == ("float64", "int32")
    if differ:  # the unit may be another one
        assert prepared(tmp_path, *scenes) == 2
        error = capsys.readouterr().err
        assert (
            f"its pixels are {types[1]}, but those of 0_20200101.tif are {types[0]}, and such values often differ"
            in error
        )
    assert prepared(tmp_path, *scenes, *(("--unit", "reflectance") if differ else ())) == 0
    assert ChipStore(tmp_path / "store").info.dtype == stored
    for scene, values in zip(scenes, pixels):
        assert np.array_equal(chips_of(tmp_path, scene.name), values)
    said = capsys.readouterr().out
    assert ("all are stored as " + stored in said) == (types not in (("float32", "float64"), ("float64", "int32")))


def test_a_scene_on_control_points_is_warped_through_them(tmp_path, capsys):
    """An image turned by 30 degrees: each stored pixel is the one of the image that lies there; outside is no data."""
    turn = np.radians(30)
    values = (np.arange(1, 64 * 64 + 1).reshape(64, 64) % 1000 + 1).astype("<u2")
    points = "".join(
        f'<GCP Id="{column}_{row}" Pixel="{column}" Line="{row}" X="{500_000 + 10 * (column * np.cos(turn) + row * np.sin(turn))}" '
        f'Y="{5_000_000 + 10 * (column * np.sin(turn) - row * np.cos(turn))}"/>'
        for column in (0, 64)
        for row in (0, 64)
    )
    place = f'<GCPList Projection="EPSG:32633">{points}</GCPList>'
    path = raw(tmp_path / "a_20200101.vrt", "UInt16", values, None, place)
    assert prepared(tmp_path, path, "--min-valid", 0.01) == 0
    assert "a_20200101.vrt: lies on 4 control points: warped through them to a grid" in capsys.readouterr().out
    store = ChipStore(tmp_path / "store")
    assert store.info.dtype == "uint16"
    assert len(store.info.bands) == 1
    # GDAL's grid: from the left and upper edges of the turned image
    left, top = 500_000, 5_000_000 + 10 * 64 * np.sin(turn)
    wrong = checked = 0
    for row, column, pixels, valid in zip(
        store.index["row"], store.index["column"], store.raw(np.arange(len(store))), store.valid(np.arange(len(store)))
    ):
        rows, columns = np.mgrid[row : row + 16, column : column + 16] + 0.5
        east, north = (
            (left - 500_000) / 10 + columns * store.info.gsd / 10,
            (top - 5_000_000) / 10 - rows * store.info.gsd / 10,
        )
        across, down = east * np.cos(turn) + north * np.sin(turn), east * np.sin(turn) - north * np.cos(turn)
        near = np.minimum(abs(across - across.round()), abs(down - down.round())) < 0.1  # between two pixels
        inside = (across > 0) & (across < 64) & (down > 0) & (down < 64)
        wrong += int((valid != inside)[~near].sum())
        taken = inside & valid & ~near
        wrong += int((pixels[0][taken] != values[down[taken].astype(int), across[taken].astype(int)]).sum())
        checked += int(taken.sum())
    assert wrong == 0
    assert checked > 2000


@pytest.mark.parametrize("nodata", [(None, 30), (20, 30)])
def test_gaps_of_a_scene_on_control_points_are_kept(nodata, tmp_path):
    """Each band's own nodata value, on points that give the grid of the image itself."""
    numbers = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    values = np.stack([numbers % 90 + 1, numbers % 70 + 1]).astype("<i2")
    points = "".join(
        f'<GCP Id="{column}_{row}" Pixel="{column}" Line="{row}" X="{500_000 + 10 * column}" Y="{5_000_000 - 10 * row}"/>'
        for column in (0, SIDE)
        for row in (0, SIDE)
    )
    place = f'<GCPList Projection="EPSG:32633">{points}</GCPList>'
    bands = []
    for number, (one, gap) in enumerate(zip(values, nodata), start=1):
        text = raw(tmp_path / f"{number}.vrt", "Int16", one, gap, place).read_text()
        bands.append(
            text[text.index("<VRTRasterBand") : text.index("</VRTDataset>")].replace('band="1"', f'band="{number}"')
        )
    path = tmp_path / "a_20200101.vrt"
    path.write_text(text[: text.index("<VRTRasterBand")] + "".join(bands) + "</VRTDataset>")
    assert prepared(tmp_path, path) == 0
    valid = (values[0] != nodata[0]) & (values[1] != nodata[1])
    assert np.array_equal(chips_of(tmp_path, path.name), np.where(valid, values, 0))
    store = ChipStore(tmp_path / "store")
    assert store.info.bands == ("band 1", "band 2")
    assert (~store.valid(np.arange(len(store)))).sum() == (~valid).sum()


def test_bounds_across_the_antimeridian_turn_by_the_unit_of_their_crs(tmp_path):
    pixels = np.random.default_rng(0).integers(1, 200, (1, SIDE, SIDE)).astype(np.uint8)
    image = tmp_path / "20200101.png"
    Image.fromarray(pixels[0]).save(image)
    grads = "EPSG:4807"  # of which a full turn has 400
    assert prepared(tmp_path, image, "--crs", grads, "--bounds", 199, -21, -199, -19) == 0
    store = ChipStore(tmp_path / "store")
    move = pyproj.Transformer.from_crs(grads, "EPSG:4326", always_xy=True)
    lon, lat = move.transform(199 + (store.index["column"] + 8) / 16, -19 - (store.index["row"] + 8) / 16)
    assert np.allclose((store.index["lon"] - lon + 180) % 360, 180, rtol=0, atol=1e-6)
    assert np.allclose(store.index["lat"], lat, rtol=0, atol=1e-6)
