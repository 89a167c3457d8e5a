"""What holds no data stays so in a chip store: whatever says it, on another grid, and where images are scaled."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window

from core.imagery import pixels as reading
from core.imagery.georasters import open_plain, open_raster
from core.imagery.pixels import read, read_on_grid, read_scaled
from core.prepare import main
from core.store.read import UNLABELLED, ChipStore
from export.batch.inputs import Part, Raster
from export.batch.run import stack
from export.rasterio_io.pixels import RasterPixels
from export.runtime.infer.source import Choice, Source
from export.runtime.raster.gaps import holds_data, is_alpha, nodata_of
from export.runtime.raster.window import Window as RuntimeWindow
from tests import gaps
from tests.conftest import call, write_raster
from tests.test_adapters import write_kind

WHOLE = Window(0, 0, gaps.COLUMNS, gaps.ROWS)
LEGEND = "value,name,color\n10,a,FF0000\n80,b,00FF00\n"


def test_a_store_reads_every_source_of_gaps_as_a_prediction_does(tmp_path):
    for number, kind in enumerate(gaps.kinds()):
        bands = [0, 1, 2, 3] if kind.fourth == "nir" else [0, 1, 2]
        with open_plain(write_kind(tmp_path / f"{number}.tif", kind)) as source:
            for rule in ("any", "all"):
                pixels, valid = read(source, WHOLE, rule=rule)
                assert np.array_equal(valid, kind.valid(bands, rule)), (kind, rule)
                assert np.array_equal(pixels[:, valid], kind.pixels[bands][:, valid])
            assert any("called alpha" in note for note in reading.assumed(source, "all")) == (kind.fourth == "nir")


def smooth(side: int, dtype: str) -> np.ndarray:
    rows, columns = np.mgrid[0:side, 0:side]
    return np.stack([50 + rows + band * columns / 4 for band in range(3)]).astype(dtype)


def direct(pixels: np.ndarray, valid: np.ndarray, row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bilinear at (row, column) of pixel centres, of valid pixels alone; values and the weight that they have."""
    total, weight = np.zeros((len(pixels), *row.shape)), np.zeros(row.shape)
    for down in (0, 1):
        for across in (0, 1):
            r, c = np.floor(row).astype(int) + down, np.floor(column).astype(int) + across
            share = (1 - np.abs(row - r)) * (1 - np.abs(column - c))
            inside = (r >= 0) & (c >= 0) & (r < pixels.shape[1]) & (c < pixels.shape[2])
            r, c = np.where(inside, r, 0), np.where(inside, c, 0)
            share = share * (inside & valid[r, c])
            total += share * pixels[:, r, c]
            weight += share
    return total / np.where(weight > 0, weight, 1), weight


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("place", ["other zone", "shifted", "on the grid"])
def test_what_a_scene_does_not_cover_is_no_data(dtype, place, tmp_path):
    grid = write_raster(tmp_path / "a_20200101.tif", smooth(96, dtype), crs="EPSG:32633", origin=(266_000, 5_500_000))
    x, y = Transformer.from_crs(32633, 32632, always_xy=True).transform(266_480, 5_499_520)
    crs, origin = {
        "other zone": ("EPSG:32632", (round(x) - 253, round(y) + 253)),
        "shifted": ("EPSG:32633", (266_205, 5_499_795)),
        "on the grid": ("EPSG:32633", (266_200, 5_499_800)),
    }[place]
    values, hole = smooth(50, dtype), np.ones((50, 50), bool)
    hole[20:25, 20:30] = False
    values[:, ~hole] = 0
    scene = write_raster(tmp_path / "b_20200701.tif", values, crs=crs, origin=origin)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(scene, "r+") as target:
        target.write_mask(hole)
    at = np.arange(96) + 0.5
    x, y = np.meshgrid(266_000 + 10 * at, 5_500_000 - 10 * at)
    x, y = Transformer.from_crs(32633, crs, always_xy=True).transform(x, y)
    row, column = (origin[1] - y) / 10 - 0.5, (x - origin[0]) / 10 - 0.5
    expected, weight = direct(values, hole, row, column)
    assert call(main, "rasters", grid, scene, "--size", 96, "--min-valid", 0.01, "--out", tmp_path / "store") == 0
    store = ChipStore(tmp_path / "store")
    found = store.pixels(np.flatnonzero(store.index["source"] == scene.name))[0]
    known = np.isfinite(found).all(axis=0)
    assert np.abs(known.sum() - (weight > 0).sum()) < 0.08 * known.sum()
    outside = np.maximum(np.abs(row - 24.5), np.abs(column - 24.5)) > 25.2  # GDAL errs by up to an eighth of a pixel
    assert not known[outside].any()
    assert known[weight > 0.99].all()
    assert np.abs(found - expected)[:, known & (weight > 0.99)].max() <= 1
    assert found[:, known].min() >= 49


def test_a_grid_is_warped_in_parts_as_in_one(tmp_path, monkeypatch):
    first = write_raster(tmp_path / "a.tif", smooth(64, "int16"))
    second = write_raster(tmp_path / "b.tif", smooth(256, "int16"), origin=(500_103, 4_999_907), pixel=2.0)
    with open_raster(first) as grid, open_raster(second) as source:
        whole = read_on_grid(source, grid, Window(0, 0, 64, 64))
        monkeypatch.setattr(reading, "_MOST", 5000)
        parts = read_on_grid(source, grid, Window(0, 0, 64, 64))
    assert whole[1].any()
    assert not whole[1].all()
    for one, other in zip(whole, parts):
        assert np.array_equal(one, other)


def test_gaps_are_no_part_of_scaled_images(tmp_path):
    pixels = np.full((1, 60, 60), 1000, np.uint16)
    pixels[:, :, 31:] = 0
    for nodata in (0, None):  # without a nodata value zeros are values
        with open_plain(write_raster(tmp_path / f"{nodata}.tif", pixels, nodata=nodata)) as source:
            for row, side, size in ((0, 60, 20), (0, 30, 45), (10, 40, 40)):
                scaled, valid = read_scaled(source, row, 15, side, size)
                assert (set(np.unique(scaled[0][valid])) == {1000}) == (nodata == 0)


@pytest.mark.parametrize("overviews", ["inside", "beside"])
def test_class_masks_are_read_at_full_resolution(overviews, tmp_path):
    classes = np.random.default_rng(0).choice([10, 80], (256, 256)).astype(np.uint8)
    write_raster(tmp_path / "a.tif", np.random.default_rng(1).integers(0, 255, (3, 256, 256)).astype(np.uint8))
    path = write_raster(tmp_path / "m.tif", classes[None])
    with rasterio.Env(TIFF_USE_OVR=overviews == "beside"), rasterio.open(path, "r+") as target:
        target.build_overviews([2, 4, 8], Resampling.cubic)
    with rasterio.open(path) as source:
        assert not set(np.unique(source.read(1, out_shape=(64, 64)))) <= {10, 80}  # what a plain read gives
    (tmp_path / "l.csv").write_text(LEGEND)
    (tmp_path / "t.csv").write_text("path,mask\na.tif,m.tif\n")
    options = ("--size", 60, "--coordinates", "none", "--legend", tmp_path / "l.csv", "--out", tmp_path / "store")
    assert call(main, "table", tmp_path / "t.csv", *options) == 0
    at = ((np.arange(60) + 0.5) * 256 / 60).astype(int)
    assert np.array_equal(ChipStore(tmp_path / "store").masks(np.array([0]))[0], classes[at][:, at] == 80)


def test_a_coloured_mask_has_no_data_only_where_all_bands_say_so(tmp_path):
    colours = np.zeros((3, 32, 32), np.uint8)
    colours[0, :, :8], colours[1, :, 8:16] = 255, 255  # red and green, then black
    write_raster(tmp_path / "m.tif", colours, nodata=0)
    write_raster(tmp_path / "a.tif", np.full((3, 32, 32), 7, np.uint8))
    (tmp_path / "l.csv").write_text(LEGEND)
    (tmp_path / "t.csv").write_text("path,mask\na.tif,m.tif\n")
    options = ("--size", 32, "--coordinates", "none", "--legend", tmp_path / "l.csv", "--out", tmp_path / "store")
    assert call(main, "table", tmp_path / "t.csv", *options) == 0
    assert (ChipStore(tmp_path / "store").masks(np.array([0]))[0] == np.repeat([0, 1, *[UNLABELLED] * 2], 8)).all()


def test_the_rule_for_nodata_is_chosen_and_what_it_decides_is_said(tmp_path, capsys):
    pixels = np.full((3, 32, 32), 90, np.uint8)
    pixels[0, :, :4], pixels[:, :, 4:6] = 0, 0
    write_raster(tmp_path / "a_20200101.tif", pixels, nodata=0)
    (tmp_path / "t.csv").write_text("path\na_20200101.tif\n")
    sources = (
        ("rasters", tmp_path / "a_20200101.tif"),
        ("table", tmp_path / "t.csv", "--coordinates", "none"),
    )
    for rule, empty in (("any", 6), ("all", 2)):
        for source in sources:
            out = tmp_path / f"{source[0]}_{rule}"
            assert call(main, *source, "--size", 32, "--nodata-rule", rule, "--out", out) == 0
            assert np.isnan(ChipStore(out).pixels(np.array([0]))[0]).all(axis=0).sum() == 32 * empty
            said = (
                "12% of it holds its nodata value in some bands and not in all: taken for gaps"
                in capsys.readouterr().out
            )
            assert said == (rule == "any" and source[0] == "rasters")


def test_values_that_mean_no_data():
    assert nodata_of(-9999, "uint8") is None
    assert nodata_of(0.5, "int16") is None
    assert nodata_of(float("nan"), "float32") is None
    assert nodata_of(255.0, "uint8") == 255
    lowest = np.float32(-3.4028235e38)
    values = np.array([[lowest, 0.1, 0.1, np.inf]], np.float32)
    assert holds_data(values, [-3.40282e38]).tolist() == [False, True, True, False]
    assert holds_data(values, [0.1]).tolist() == [True, False, False, False]
    assert holds_data(values.astype(np.float64), [-1.797693134862316e308]).tolist() == [True, True, True, False]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_an_alpha_band_is_told_from_data_by_its_values(dtype):
    alpha = np.repeat([0, 255], 500).astype(dtype)
    assert is_alpha(alpha)
    assert is_alpha(np.append(alpha, np.arange(1, 50)).astype(dtype))  # half transparent edges
    assert is_alpha(np.zeros(10, dtype))
    assert not is_alpha(np.arange(100).astype(dtype))
    assert not is_alpha(
        np.append(np.zeros(900), np.arange(100)).astype(dtype)
    )  # a scene that is empty nearly everywhere


@pytest.mark.parametrize("dtype", gaps.TYPES)
@pytest.mark.parametrize("fourth", ["", "alpha"])
@pytest.mark.parametrize("mask", ["", "own", ".msk"])
@pytest.mark.parametrize("nodata", [None, 0])
def test_files_of_an_item_bring_their_own_gaps(tmp_path, dtype, fourth, mask, nodata):
    kind = gaps.Kind(dtype, nodata, fourth, mask)
    pixels, alpha = kind.pixels[:3], kind.pixels[3:]
    parts = []
    for name, layer in zip(gaps.RGB, pixels):
        path = tmp_path / f"{name}.tif"
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=mask == "own"),
            rasterio.open(
                path, "w", driver="GTiff", height=gaps.ROWS, width=gaps.COLUMNS, count=1 + len(alpha), dtype=dtype,
                nodata=nodata, crs="EPSG:32633", transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000),
            ) as target,
        ):  # fmt: skip
            if len(alpha):
                target.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
            target.write(np.concatenate([layer[None], alpha]))
            if mask and name == "green":  # of one file only
                target.write_mask(kind.hidden)
        parts.append(Part(name, str(path)))
    opened = RasterPixels(stack(Raster("item", "item", tuple(parts)), tmp_path / "item.vrt"))
    source = Source(opened, gaps.card(gaps.RGB), Choice())
    found, valid = source.read(RuntimeWindow(0, 0, gaps.ROWS, gaps.COLUMNS))
    assert np.array_equal(valid, kind.valid([0, 1, 2]))
    assert np.array_equal(found[:, valid], pixels[:, valid])
    source.close()


@pytest.mark.parametrize("kinds", [("mask",), ("alpha",), ("nodata", "mask"), ("nodata", "alpha")])
def test_coarse_bands_of_an_item_are_not_mixed_with_what_is_hidden(tmp_path, kinds):
    hidden = np.zeros((16, 16), bool)
    hidden[:, :5] = True
    layers = [np.where(hidden, 60_000, 3000)]
    if "nodata" in kinds:
        layers[0][:4] = 0
    layers += [np.where(hidden, 0, 255)] if "alpha" in kinds else []
    profile = {"nodata": 0 if "nodata" in kinds else None, "alpha": "yes" if "alpha" in kinds else "no"}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        coarse = write_raster(tmp_path / "c.tif", np.stack(layers).astype(np.uint16), pixel=20.0, **profile)
        if "mask" in kinds:
            with rasterio.open(coarse, "r+") as target:
                target.write_mask(~hidden)
    fine = write_raster(tmp_path / "f.tif", np.full((1, 32, 32), 3000, np.uint16))
    item = Raster("item", "item", (Part("a", str(fine)), Part("b", str(coarse))))
    source = Source(RasterPixels(stack(item, tmp_path / "item.vrt")), gaps.card(("a", "b")), Choice(kind="raw"))
    pixels, valid = source.read(RuntimeWindow(0, 0, 32, 32))
    empty = hidden | (layers[0] == 0)
    assert np.array_equal(valid, np.kron(~empty, np.ones((2, 2), bool)))
    assert (pixels[:, valid] == 3000).all()
    source.close()


def test_coarse_bands_of_an_item_are_not_mixed_with_no_data(tmp_path):
    parts = []
    for name, side, pixel in (("B02", 64, 10.0), ("B11", 32, 20.0)):
        stored = np.full((1, side, side), 3000, np.uint16)
        stored[:, :, : side // 3] = 0  # not declared, as in JPEG 2000
        parts.append(Part(name, str(write_raster(tmp_path / f"{name}.tif", stored, pixel=pixel))))
    pixels = RasterPixels(stack(Raster("item", "item", tuple(parts), "05.09"), tmp_path / "item.vrt"))
    values, _ = pixels.read([1, 2], RuntimeWindow(0, 0, 64, 64))
    assert {*np.unique(values[1])} == {0, 3000}
    assert (pixels.nodata(1), pixels.nodata(2)) == (0, 0)
    assert {*pixels.files} == {str(tmp_path / "item.vrt"), *(part.where for part in parts)}
    pixels.close()
