"""Chips from STAC catalogues: a local API with pages and faults, and static catalogues."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import socket
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.shutil import copy
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds
from shapely.geometry import mapping

from core.errors import UserError
from core.sources.stac import assets as bands
from core.sources.stac import fetch as stac
from core.sources.stac.catalogue import Patience, Query, to_scene
from core.sources.stac.places import read_places, sample_places
from core.sources.stac.reading import chip_crs, load
from core.store.build import build
from tests.stac_server import StacServer

# odc-geo 0.5 calls a function that shapely 2.2 would rather not have called.
pytestmark = pytest.mark.filterwarnings("ignore:The 'shapely.ops.transform..' function:DeprecationWarning")
UTM = "EPSG:32633"
SIDE = 256  # px of a tile, 10 m each
TILES = {"A": (500_000, 5_000_000), "B": (502_560, 5_000_000)}
COLLECTION = {
    "type": "Collection", "id": "s2", "title": "Pictures from above", "description": "-", "stac_version": "1.0.0",
    "license": "proprietary", "links": [{"rel": "license", "href": "https://example.org/terms"}],
    "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
}  # fmt: skip
FAST = Patience(tries=4, pause_s=0.01)


def pattern(seed: int, rows: int = SIDE) -> np.ndarray:
    """Numbers that tell each pixel and each scene apart."""
    return (2000 + (np.arange(rows * rows).reshape(rows, rows) + 977 * seed) % 6000).astype(np.uint16)


def write_cog(path: Path, pixels: np.ndarray, origin: tuple = TILES["A"], pixel: float = 10, crs: str = UTM, **profile):
    rows, columns = pixels.shape
    with rasterio.open(
        path, "w", driver="COG", height=rows, width=columns, count=1, dtype=pixels.dtype, crs=crs, blocksize=128,
        transform=from_origin(*origin, pixel, pixel), **{"nodata": 0, "compress": "deflate", **profile},
    ) as target:  # fmt: skip
        target.write(pixels, 1)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StacServer]:
    monkeypatch.setattr(stac, "Patience", partial(Patience, pause_s=0.01))
    (tmp_path / "files").mkdir()
    with StacServer(tmp_path / "files", COLLECTION) as running:
        yield running


def add(server: StacServer, name: str, day: str, cloud: float, *, tile: str = "A", seed: int = 0, **said) -> dict:
    """Put a scene into the catalogue: a band, and its scene classification, vegetation all over."""
    origin = TILES[tile]
    write_cog(server.folder / f"{name}_B04.tif", pattern(seed), origin)
    write_cog(server.folder / f"{name}_SCL.tif", np.full((SIDE // 2, SIDE // 2), 4, np.uint8), origin, 20)
    bounds = transform_bounds(UTM, "EPSG:4326", origin[0], origin[1] - SIDE * 10, origin[0] + SIDE * 10, origin[1])
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": "s2", "links": [],
        "geometry": mapping(shapely.box(*bounds)), "bbox": list(bounds),
        "properties": {
            "datetime": f"{day}T10:00:00Z", "eo:cloud_cover": cloud, "s2:processing_baseline": "02.14", **said
        },
        "assets": {
            band: {"href": f"{server.address}/files/{name}_{band}.tif", "type": "image/tiff"} for band in ("B04", "SCL")
        },
    }  # fmt: skip
    server.items.append(item)
    return item


def lonlat(x: float, y: float, crs: str = UTM) -> tuple[float, float]:
    return Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)


MIDDLE = (501_280, 4_998_720)  # of tile A


@pytest.fixture
def source(server: StacServer, tmp_path: Path) -> Callable[..., stac.StacSource]:
    """Makes the source as the command line does; points are in metres of UTM 33."""

    def make(*points: tuple[float, float], catalogue: str | Path = "", **options) -> stac.StacSource:
        table = pd.DataFrame([lonlat(*point) for point in points or [MIDDLE]], columns=["lon", "lat"])
        table.to_csv(tmp_path / "places.csv", index=False)
        default = {
            "--collection": "s2", "--places": tmp_path / "places.csv", "--dates": "2020-01-01/2020-12-31",
            "--per-place": 1, "--bands": "B04", "--size": 32, "--resolution": 10, "--tries": 4,
        }  # fmt: skip
        default |= {f"--{name.replace('_', '-')}": value for name, value in options.items()}
        words = [str(catalogue or server.address)]
        for name, value in default.items():
            if value is not None and value is not False:
                words += [name] if value is True else [name, *map(str, value if isinstance(value, list) else [value])]
        parser = argparse.ArgumentParser()
        stac.add_parser(parser.add_subparsers())
        arguments = parser.parse_args(["stac", *words])
        scratch = tmp_path / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        return replace(arguments.make(arguments, scratch), patience=FAST)

    return make


def dates(store) -> list[str]:
    return [str(day)[:10] for day in store.index["datetime"]]


def test_a_chip_holds_the_pixels_of_the_scene_around_its_place(server, source, tmp_path):
    add(server, "scene", "2020-06-01", 3)
    write_cog(server.folder / "coarse.tif", pattern(5, SIDE // 2), pixel=20)
    server.items[0]["assets"]["B11"] = {"href": f"{server.address}/files/coarse.tif", "type": "image/tiff"}
    made = source((501_283, 4_998_718), bands=["B11", "B04"], resampling="nearest")
    store, tally = build(made, tmp_path / "store", workers=1)
    window = slice(112, 144)
    fine, coarse = pattern(0)[window, window], pattern(5, SIDE // 2)[56:72, 56:72]
    np.testing.assert_array_equal(store.raw(np.array([0]))[0], [np.kron(coarse, np.ones((2, 2), int)), fine])
    row = store.index.iloc[0]
    assert (row["lon"], row["lat"]) == pytest.approx(lonlat(*MIDDLE), abs=1e-9)  # snapped to the scene's pixels
    assert row["datetime"] == datetime(2020, 6, 1, 10, tzinfo=UTC)
    assert (row["place"], row["source"], tally.kept) == ("000001", "scene", 1)
    info = store.info
    assert (info.bands, info.dtype, info.unit, info.gsd) == (("B11", "B04"), "int16", "reflectance x 10000", 10)
    assert info.license == "proprietary https://example.org/terms"
    assert info.provenance.startswith(f"Pictures from above (s2) from {server.address}, 2020-01-01 to 2020-12-31")


def test_the_clearest_dates_are_taken_one_a_season(server, source, tmp_path):
    clouds = {"01-10": 1, "02-10": 0, "04-20": 15, "05-20": 9, "08-01": 12, "09-01": 18, "11-01": 19, "12-01": 25}
    for number, (day, cloud) in enumerate(clouds.items()):
        add(server, f"scene{number}", f"2020-{day}", cloud, seed=number)
    store, _ = build(source(per_place=4), tmp_path / "store", workers=1)
    assert dates(store) == ["2020-02-10", "2020-05-20", "2020-08-01", "2020-11-01"]
    for row, number in enumerate((1, 3, 4, 6)):
        np.testing.assert_array_equal(store.raw(np.array([row]))[0, 0], pattern(number)[112:144, 112:144])
    assert server.seen["search"] == 1 + 3  # the example, then the pages of seven scenes: the server leaves out 25 %


def test_seasons_of_all_years_count_together_and_gaps_are_filled_with_the_clearest_left(server, source, tmp_path):
    for number, (day, cloud) in enumerate({"2020-06-01": 5, "2021-06-10": 2, "2021-07-01": 8, "2020-12-01": 4}.items()):
        add(server, f"scene{number}", day, cloud)
    store, _ = build(source(per_place=3, dates="2020-01-01/2021-12-31"), tmp_path / "store", workers=1)
    assert dates(store) == ["2020-06-01", "2020-12-01", "2021-06-10"]


def test_fewer_dates_than_wanted_are_said(server, source, tmp_path):
    add(server, "scene", "2020-06-01", 3)
    _, tally = build(source(per_place=3), tmp_path / "store", workers=1)
    assert tally.dropped == {"dates of places that have fewer than 3": 2}


def cover(server: StacServer, name: str, classes: int, rows: slice) -> None:
    """Give some rows of the chip in the middle of a tile another scene class."""
    scl = np.full((SIDE // 2, SIDE // 2), 4, np.uint8)
    scl[56:72][rows] = classes
    write_cog(server.folder / f"{name}_SCL.tif", scl, pixel=20)


def test_pixels_without_data_and_clouds_are_masked(server, source, tmp_path):
    add(server, "scene", "2020-06-01", 3)
    pixels = pattern(0)
    pixels[112, 112:120] = 0
    write_cog(server.folder / "scene_B04.tif", pixels)
    cover(server, "scene", 9, slice(14, 16))  # of 20 m: the last four rows of the chip
    expected = np.ones((32, 32), bool)
    expected[0, :8] = False
    masked, _ = build(source(), tmp_path / "masked", workers=1)
    unmasked, _ = build(source(no_cloud_mask=True), tmp_path / "unmasked", workers=1)
    np.testing.assert_array_equal(unmasked.valid(np.array([0]))[0], expected)
    expected[28:] = False
    np.testing.assert_array_equal(masked.valid(np.array([0]))[0], expected)
    chip = np.where(expected, pixels[112:144, 112:144], 0)
    np.testing.assert_array_equal(masked.raw(np.array([0]))[0, 0], chip)


@pytest.mark.parametrize("number", range(12))
def test_clouds_shadows_and_defects_of_the_scene_classification_are_invalid(number):
    clear = bands.is_clear("SCL", np.array([[number, np.nan]], np.float32))
    assert clear.tolist() == [[number in (2, 4, 5, 6, 7, 11), False]]


def test_bits_of_landsats_quality_band_are_honoured():
    # 21824 clear, 21952 water, 22280 cloud, 23888 shadow, 1 fill: values of the Collection 2 format book.
    clear = bands.is_clear("qa_pixel", np.array([[21824, 21952, 22280, 23888, 1]], np.float32))
    assert clear.tolist() == [[True, True, False, False, False]]


def test_a_date_clouded_over_the_chip_gives_way_to_the_next_of_its_season(server, source, tmp_path):
    add(server, "clear_elsewhere", "2020-06-01", 1)
    cover(server, "clear_elsewhere", 8, slice(0, 9))
    add(server, "clear_here", "2020-06-10", 10)
    store, tally = build(source(), tmp_path / "store", workers=1)
    assert dates(store) == ["2020-06-10"]
    assert tally.dropped == {"dates with clouds or gaps over too much of the chip": 1}


@pytest.mark.parametrize(
    ("properties", "band", "expected"),
    [
        ({"s2:processing_baseline": "02.14"}, {}, (1, 0)),
        ({"s2:processing_baseline": "02.14"}, {"raster:bands": [{"scale": 1e-4, "offset": -0.1}]}, (1, 0)),
        ({"s2:processing_baseline": "05.00"}, {}, (1, -1000)),
        ({"processing:version": "05.11"}, {"raster:scale": 1e-4, "raster:offset": -0.1}, (1, -1000)),
        ({"s2:processing_baseline": "04.00"}, {"raster:bands": [{"scale": 1e-4, "offset": -0.1}]}, (1, -1000)),
        ({"s2:processing_baseline": "04.00"}, {"bands": [{"raster:scale": 2e-4, "raster:offset": 0}]}, (2, 0)),
        (
            {"s2:processing_baseline": "05.00", "earthsearch:boa_offset_applied": True},
            {"raster:bands": [{"scale": 1e-4, "offset": -0.1}]},
            (1, 0),
        ),
    ],
)
def test_the_offset_is_read_where_catalogues_state_it(properties, band, expected):
    item = {"properties": properties, "assets": {"red": {"href": "x.tif", **band}}}
    assert bands.to_reflectance(item, bands.band_fields(item, "red", 1)) == pytest.approx(expected)


def test_old_and_new_scenes_share_one_unit(server, source, tmp_path):
    add(server, "old", "2020-06-01", 3)
    add(server, "new", "2020-12-01", 3, **{"s2:processing_baseline": "05.00"})
    dark = pattern(0)
    dark[112, 112] = 900  # below zero without the offset
    write_cog(server.folder / "new_B04.tif", dark)
    store, _ = build(source(per_place=2), tmp_path / "store", workers=1)
    old, new = store.raw(np.arange(2))[:, 0]
    np.testing.assert_array_equal(old, pattern(0)[112:144, 112:144])
    np.testing.assert_array_equal(new, dark[112:144, 112:144].astype(int) - 1000)
    assert new[0, 0] == -100


@pytest.mark.parametrize(("shift", "added"), [(0, 0), (-1500, 1500)])
def test_without_a_baseline_dark_pixels_tell_whether_the_offset_was_added(
    server, source, tmp_path, capsys, shift, added
):
    item = add(server, "scene", "2020-06-01", 3, platform="sentinel-2a")
    del item["properties"]["s2:processing_baseline"]
    stored = pattern(0).astype(int) + shift
    write_cog(server.folder / "scene_B04.tif", stored.astype(np.uint16))
    store, _ = build(source(), tmp_path / "store", workers=1)
    expected = stored[112:144, 112:144] - (0 if added else 1000)
    np.testing.assert_array_equal(store.raw(np.array([0]))[0, 0], expected)
    assert "s2 states no processing baseline" in capsys.readouterr().out


def test_the_baseline_of_a_product_name_counts(server, source, tmp_path, capsys):
    item = add(server, "scene", "2020-06-01", 3, platform="sentinel-2a")
    del item["properties"]["s2:processing_baseline"]
    item["properties"]["sentinel:product_id"] = "S2A_MSIL2A_20200601T100000_N0214_R122_T33TUN_20200601T120000"
    store, _ = build(source(), tmp_path / "store", workers=1)
    np.testing.assert_array_equal(store.raw(np.array([0]))[0, 0], pattern(0)[112:144, 112:144])
    assert "states no processing baseline" not in capsys.readouterr().out


def test_tiles_of_one_day_are_laid_together_across_their_edge(server, source, tmp_path):
    add(server, "west", "2020-06-01", 3)
    add(server, "east", "2020-06-01", 5, tile="B", seed=7)
    add(server, "west_only", "2020-06-11", 0)
    edge = (502_560 + 20, 4_998_720)  # 14 columns in the west, 18 in the east
    store, _ = build(source(edge, min_valid=0.5), tmp_path / "store", workers=1)
    rows = slice(112, 144)
    expected = np.concatenate([pattern(0)[rows, -14:], pattern(7)[rows, :18]], axis=1)
    np.testing.assert_array_equal(store.raw(np.array([0]))[0, 0], expected)
    assert store.valid(np.array([0])).all()
    assert store.index["source"].tolist() == ["west + east"]
    assert dates(store) == ["2020-06-01"]  # the clearer scene of another day covers less than half of the chip


def test_of_two_scenes_of_a_day_the_clearer_lies_on_top(server, source, tmp_path):
    add(server, "hazy", "2020-06-01", 5, seed=7)
    add(server, "clear", "2020-06-01", 3)
    cover(server, "clear", 3, slice(0, 4))  # of 20 m: the first eight rows of the chip
    store, _ = build(source(), tmp_path / "store", workers=1)
    window = slice(112, 144)
    expected = pattern(0)[window, window]
    expected[:8] = pattern(7)[window, window][:8]
    np.testing.assert_array_equal(store.raw(np.array([0]))[0, 0], expected)
    assert store.index["source"].tolist() == ["clear + hazy"]


def test_a_chip_across_the_antimeridian_is_found_and_read(server, source, tmp_path):
    item = add(server, "fiji", "2020-06-01", 3)
    crs = "EPSG:32760"
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(179.9995, -17.0)
    origin = (round(x / 10) * 10 - 1280, round(y / 10) * 10 + 1280)
    write_cog(server.folder / "fiji_B04.tif", pattern(0), origin, crs=crs)
    write_cog(server.folder / "fiji_SCL.tif", np.full((128, 128), 4, np.uint8), origin, 20, crs=crs)
    parts = [shapely.box(179.98, -17.02, 180, -16.98), shapely.box(-180, -17.02, -179.98, -16.98)]
    item["geometry"] = mapping(shapely.MultiPolygon(parts))
    item["bbox"] = [179.98, -17.02, -179.98, -16.98]
    (tmp_path / "fiji.csv").write_text("place,lon,lat\nTaveuni,179.9995,-17.0\n")
    store, _ = build(source(places=tmp_path / "fiji.csv"), tmp_path / "store", workers=1)
    np.testing.assert_array_equal(store.raw(np.array([0]))[0, 0], pattern(0)[112:144, 112:144])
    assert store.index["place"].tolist() == ["Taveuni"]
    assert server.bodies[-1]["intersects"]["type"] == "MultiPolygon"


def test_values_of_other_collections_keep_their_type_and_unit(server, source, tmp_path):
    item = add(server, "scene", "2020-06-01", 3)
    heights = np.linspace(-5, 900, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    write_cog(server.folder / "height.tif", heights, nodata=-9999)
    del item["properties"]["s2:processing_baseline"], item["assets"]["SCL"]
    description = {"data_type": "float32", "unit": "metre"}
    item["assets"]["height"] = {
        "href": f"{server.address}/files/height.tif", "type": "image/tiff", "raster:bands": [description]
    }  # fmt: skip
    store, _ = build(source(bands="height"), tmp_path / "store", workers=1)
    assert (store.info.dtype, store.info.unit) == ("float32", "metre")
    np.testing.assert_array_equal(store.raw(np.array([0]))[0, 0], heights[112:144, 112:144])
    made = source(bands="B04")  # its type is read from the file
    assert (made.info.dtype, made.info.unit) == ("uint16", "digital numbers of type uint16")


def test_bands_are_found_in_other_spellings(server, source):
    item = add(server, "scene", "2020-06-01", 3)
    for asset in ("red", "nir08", "visual"):
        item["assets"][asset] = item["assets"]["SCL"]
    item["assets"]["green"] = item["assets"].pop("B04")
    found = source(bands=["B04", "B8A", "Band 3 - Green"]).bands
    assert [band.asset for band in found] == ["red", "nir08", "green"]
    with pytest.raises(UserError, match=r"--bands: a band is given twice \(B04, red\)"):
        source(bands=["B04", "red"])


def test_bands_of_one_file_are_found_by_number_and_by_common_name(server, source, tmp_path):
    item = add(server, "scene", "2020-06-01", 3)
    del item["properties"]["s2:processing_baseline"]
    layers = np.stack([pattern(n) for n in range(3)])
    with rasterio.open(
        server.folder / "image.tif", "w", driver="GTiff", height=SIDE, width=SIDE, count=3, dtype="uint16", crs=UTM,
        transform=from_origin(*TILES["A"], 10, 10), tiled=True, blockxsize=128, blockysize=128,
    ) as target:  # fmt: skip
        target.write(layers)
    item["stac_extensions"] = ["https://stac-extensions.github.io/eo/v1.1.0/schema.json"]
    names = [{"name": name, "common_name": name} for name in ("red", "green", "nir")]
    item["assets"] = {"image": {"href": f"{server.address}/files/image.tif", "type": "image/tiff", "eo:bands": names}}
    store, _ = build(source(bands=["nir", "image", "image.2"]), tmp_path / "store", workers=1)
    np.testing.assert_array_equal(store.raw(np.array([0]))[0], layers[[2, 0, 1], 112:144, 112:144])
    assert (store.info.bands, store.info.dtype) == (("nir", "image", "image.2"), "uint16")
    with pytest.raises(UserError, match=r"--bands blue: the scenes of s2 .* have .*green, image"):
        source(bands=["blue"])


def same(one: Path, other: Path) -> bool:
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    return all((one / file).read_bytes() == (other / file).read_bytes() for file in files)


def test_faults_that_pass_change_nothing(server, source, tmp_path):
    for number, day in enumerate(("03-01", "06-01", "09-01", "12-01")):
        add(server, f"scene{number}", f"2020-{day}", number, seed=number)
    build(source(per_place=4), tmp_path / "quiet", workers=1)
    faults = {
        "landing": [500, "garbage"],
        "collection": ["half", 502],
        "search": [503, "close", (429, 0), "half", None, "garbage", 500],
        "files": [500, None, (429, 0), None, "half", 503, "close", None, None, 504, None, None, "half", "garbage"],
    }
    server.faults = {kind: deque(entries) for kind, entries in faults.items()}
    _, tally = build(source(per_place=4), tmp_path / "noisy", workers=1)
    assert not any(server.faults.values())
    assert tally.bad == []
    assert same(tmp_path / "quiet", tmp_path / "noisy")


def test_a_server_that_says_when_to_come_again_is_obeyed(server, source):
    add(server, "scene", "2020-06-01", 3)
    server.faults["landing"] = deque([(429, 1)])
    source()
    first, second = server.times["landing"]
    assert second - first >= 1


def test_a_truncated_file_is_reported_and_another_date_taken(server, source, tmp_path):
    add(server, "broken", "2020-06-01", 1)
    add(server, "whole", "2020-06-10", 3, seed=1)
    server.broken = {"broken_B04.tif"}
    with pytest.raises(UserError, match=r"scene broken: cannot be read at place 000001 \(.*1 bad, --max-bad 0"):
        build(source(), tmp_path / "store", workers=1)
    points = [MIDDLE, (501_500, 4_998_500)]
    store, tally = build(source(*points), tmp_path / "two_places", workers=1, max_bad=1)
    assert [file for file, _ in tally.bad] == ["scene broken"]
    assert store.index["source"].tolist() == ["whole", "whole"]
    np.testing.assert_array_equal(store.raw(np.array([0]))[0, 0], pattern(1)[112:144, 112:144])


def test_a_truncated_file_is_noticed_where_pixels_are_resampled_too(server, source, tmp_path):
    add(server, "broken", "2020-06-01", 1)
    server.broken = {"broken_B04.tif"}
    with pytest.raises(UserError, match="scene broken: cannot be read at place 000001"):
        build(source(resolution=7), tmp_path / "store", workers=1)


def test_a_place_whose_search_fails_is_reported_and_the_others_kept(server, source, tmp_path):
    add(server, "scene", "2020-06-01", 3)
    points = [MIDDLE, (501_500, 4_998_500)]
    server.faults["search"] = deque([None, *["garbage"] * 4])
    store, tally = build(source(*points), tmp_path / "store", workers=1, max_bad=1)
    assert tally.bad == [("place 000001", f"{server.address}: does not answer with JSON")]
    assert store.index["place"].tolist() == ["000002"]
    server.faults["search"] = deque([None, *[500] * 4])
    with pytest.raises(UserError, match=f"place 000001: {server.address}: answers with the HTTP status 500"):
        build(source(*points), tmp_path / "other", workers=1)


@pytest.fixture
def planetary_computer(server: StacServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Their own package, told that this server is theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # planetary-computer 1.0 is written for pydantic 1
        from planetary_computer import sas
        from planetary_computer.settings import Settings
    monkeypatch.setenv("PC_SDK_SAS_URL", f"{server.address}/token")
    monkeypatch.setattr(sas, "BLOB_STORAGE_DOMAIN", server.address.removeprefix("http://"))
    server.signed = True
    Settings.get.cache_clear()
    sas.TOKEN_CACHE.clear()
    yield
    Settings.get.cache_clear()
    sas.TOKEN_CACHE.clear()


@pytest.mark.usefixtures("planetary_computer")
def test_links_are_signed_and_signed_again_when_they_expire(server, source, tmp_path):
    for number, day in enumerate(("03-01", "06-01", "09-01", "12-01")):
        add(server, f"scene{number}", f"2020-{day}", number, seed=number)
    server.token_uses = 20
    store, tally = build(source(per_place=4, sign="planetary-computer"), tmp_path / "store", workers=1)
    np.testing.assert_array_equal(store.raw(np.arange(4))[:, 0], [pattern(n)[112:144, 112:144] for n in range(4)])
    assert (server.seen["token"], server.refused > 0, tally.bad) == (2, True, [])


@pytest.mark.usefixtures("planetary_computer")
def test_a_signature_that_is_never_accepted_is_reported_and_not_shown(server, source, tmp_path, capfd, caplog):
    add(server, "scene", "2020-06-01", 3)
    server.token_uses = 0
    with pytest.raises(UserError, match=r"scene scene: cannot be read at place 000001 \(HTTP response code: 403\)"):
        build(source(sign="planetary-computer"), tmp_path / "store", workers=1)
    assert "sig=" not in "".join([*capfd.readouterr(), caplog.text])


def test_unsigned_links_to_files_that_want_signatures_are_reported(server, source, tmp_path):
    add(server, "scene", "2020-06-01", 3)
    server.signed, server.token_uses = True, 0
    with pytest.raises(UserError, match=r"cannot be read at place 000001 .HTTP response code: 403"):
        build(source(), tmp_path / "store", workers=1)


def test_a_run_that_was_killed_goes_on_and_ends_in_the_same_store(server, source, tmp_path, monkeypatch):
    add(server, "scene0", "2020-06-01", 3)
    add(server, "scene1", "2020-12-01", 3, seed=1)
    monkeypatch.setattr(stac, "_PLACES_PER_SHARD", 1)
    points = [(500_500 + 300 * number, 4_998_720) for number in range(4)]
    made = source(*points, per_place=2)
    build(made, tmp_path / "undisturbed", workers=1)
    server.faults["search"] = deque([None, None, "hang"])
    run = multiprocessing.get_context("spawn").Process(
        target=build, args=(made, tmp_path / "store"), kwargs={"workers": 1}
    )
    run.start()
    assert server.hanging.wait(60)
    run.kill()
    run.join()
    server.go_on.set()
    searched = server.seen["search"]
    build(source(*points, per_place=2), tmp_path / "store", workers=1)
    assert server.seen["search"] - searched == 1 + 2  # the example, and the two places that were missing
    assert same(tmp_path / "undisturbed", tmp_path / "store")


@pytest.mark.parametrize("kind", ["mask", "mask and nodata", "alpha"])
@pytest.mark.parametrize("dtype", ["uint16", "uint8"])
def test_what_masks_and_alpha_bands_of_files_hide_is_no_data(server, source, tmp_path, kind, dtype):
    add(server, "scene", "2020-06-01", 3, **{"platform": "other"})
    hidden = np.zeros((SIDE, SIDE), bool)
    hidden[:120] = True
    pixels = np.where(hidden, 7, pattern(0) % 200 + 10).astype(dtype)
    layers = [pixels, np.where(hidden, 0, 255).astype(dtype)] if kind == "alpha" else [pixels]
    profile = {"nodata": 7 if "nodata" in kind else None, "alpha": "yes" if kind == "alpha" else "no"}
    if "nodata" in kind:
        pixels[:, :115] = 7
        hidden_too = hidden.copy()
        hidden_too[:, :115] = True
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            tmp_path / "plain.tif", "w", driver="GTiff", height=SIDE, width=SIDE, count=len(layers),
            dtype=dtype, crs=UTM, transform=from_origin(*TILES["A"], 10, 10), **profile,
        ) as target,
    ):  # fmt: skip
        target.write(np.stack(layers))
        if "mask" in kind:
            target.write_mask(~hidden)
    # With all headers at its start: rasterio holds the GIL, which the server needs, while it looks for masks elsewhere.
    copy(tmp_path / "plain.tif", server.folder / "scene_B04.tif", driver="COG", blocksize=128)
    del server.items[0]["properties"]["s2:processing_baseline"]
    store, _ = build(source(min_valid=0.1, no_cloud_mask=True), tmp_path / "store", workers=1)
    valid = ~(hidden_too if "nodata" in kind else hidden)[112:144, 112:144]
    found = store.pixels(np.arange(1))[0, 0]
    assert np.array_equal(np.isfinite(found), valid)
    assert np.array_equal(found[valid], pixels[112:144, 112:144][valid])


def test_a_place_without_scenes_is_counted_and_a_store_of_none_is_refused(server, source, tmp_path):
    add(server, "scene", "2020-06-01", 3)
    _, tally = build(source(MIDDLE, (600_000, 4_998_720)), tmp_path / "store", workers=1)
    assert tally.dropped == {"places without a scene of these dates and this cloud cover": 1}
    with pytest.raises(UserError, match=r"no chip was kept.*1 places without a scene of these dates"):
        build(source((600_000, 4_998_720)), tmp_path / "none", workers=1)


def test_a_scene_that_lacks_a_band_is_counted(server, source, tmp_path):
    add(server, "whole", "2020-06-01", 3)
    del add(server, "bandless", "2020-07-01", 1)["assets"]["B04"]
    store, tally = build(source(), tmp_path / "store", workers=1)
    assert store.index["source"].tolist() == ["whole"]
    assert tally.dropped == {"scenes that lack a band": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"collection": "s3"}, "has no collection s3; it has s2"),
        ({"bands": ["B04", "B99"]}, "--bands B99: the scenes of s2 in .* have B04, SCL"),
        ({"bands": ["B04", "B04"]}, "--bands: a band is given twice"),
        ({"dates": "2020-01-01"}, "--dates 2020-01-01: must look like 2021-01-01/2022-12-31"),
        ({"dates": "2020-13-01/2020-12-31"}, "--dates 2020-13-01/2020-12-31: must look like"),
        ({"dates": "2021-01-01/2020-01-01"}, "ends before it begins"),
        ({"dates": "1999-01-01/1999-12-31"}, "the collection s2 has no scene from 1999-01-01 to 1999-12-31"),
        ({"per_place": 0}, "--per-place 0: must be at least 1"),
        ({"size": 4}, "--size 4: must be at least 8"),
        ({"resolution": 0}, "--resolution 0: must be more than 0 metres"),
        ({"max_cloud": 120}, "--max-cloud 120: must be between 0 and 100"),
        ({"min_valid": -1}, "--min-valid -1: must be between 0 and 1"),
        ({"within": "land.gpkg"}, "--sample and --within go together"),
    ],
)
def test_options_that_cannot_be_met_are_refused(server, source, options, message):
    add(server, "scene", "2020-06-01", 3)
    with pytest.raises(UserError, match=message):
        source(**options)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("garbage", "does not answer with JSON"),
        ("close", "does not answer"),
        (404, "answers with the HTTP status 404"),
        (500, "answers with the HTTP status 500"),
    ],
)
def test_an_address_where_there_is_no_catalogue_is_named(server, source, fault, message):
    server.faults["landing"] = deque([fault] * 50)
    with pytest.raises(UserError, match=f"{server.address}: {message}.*; check the address of the catalogue"):
        source()


def test_an_address_where_nobody_listens_is_named(source):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UserError, match=f"{address}: does not answer .*; check the address"):
        source(catalogue=address)


def test_a_file_that_is_no_catalogue_is_named(source, tmp_path):
    with pytest.raises(UserError, match=r"nowhere.json: no such file; check the address"):
        source(catalogue=tmp_path / "nowhere.json")
    (tmp_path / "list.json").write_text("[1, 2]")
    with pytest.raises(UserError, match=r"list.json: is no STAC catalogue .it has no id or no links"):
        source(catalogue=tmp_path / "list.json")


def write_static(server: StacServer, folder: Path) -> Path:
    """A static catalogue of the server's items, with links and files named relative to each other."""
    base = {"stac_version": "1.0.0", "description": "-"}
    links = []
    for item in server.items:
        assets = {name: {**asset, "href": Path(asset["href"]).name} for name, asset in item["assets"].items()}
        (folder / f"{item['id']}.json").write_text(json.dumps({**item, "assets": assets}))
        links.append({"rel": "item", "href": f"./{item['id']}.json"})
    (folder / "collection.json").write_text(json.dumps({**COLLECTION, "links": links}))
    other = {**base, "type": "Collection", "id": "other", "links": [{"rel": "item", "href": "./nowhere.json"}]}
    (folder / "other.json").write_text(json.dumps(other))
    children = [{"rel": "child", "href": f"./{name}.json"} for name in ("other", "collection")]
    root = folder / "catalog.json"
    root.write_text(json.dumps({**base, "type": "Catalog", "id": "all", "links": children}))
    return root


@pytest.mark.parametrize("over_http", [False, True])
def test_a_static_catalogue_gives_the_same_chips(server, source, tmp_path, over_http):
    for number, (day, cloud) in enumerate({"2020-03-01": 4, "2020-06-01": 30, "2020-09-01": 8}.items()):
        add(server, f"scene{number}", day, cloud, seed=number)
    add(server, "elsewhere", "2020-03-02", 0, tile="B")
    add(server, "earlier", "2019-03-02", 0)
    root = write_static(server, server.folder)
    searched = server.seen["search"]
    made = source(per_place=2, catalogue=f"{server.address}/files/catalog.json" if over_http else root)
    store, tally = build(made, tmp_path / "store", workers=1)
    assert (dates(store), tally.bad) == (["2020-03-01", "2020-09-01"], [])
    np.testing.assert_array_equal(store.raw(np.arange(2))[:, 0], [pattern(n)[112:144, 112:144] for n in (0, 2)])
    assert server.seen["search"] == searched
    assert (server.seen["files"] > 0) == over_http


def test_damaged_items_of_a_static_catalogue_are_reported(server, source, tmp_path):
    add(server, "whole", "2020-06-01", 3)
    add(server, "damaged", "2020-07-01", 1)
    root = write_static(server, server.folder)
    damaged = root.with_name("damaged.json")
    damaged.write_text(damaged.read_text()[:200])
    made = source(catalogue=root)
    with pytest.raises(UserError, match=r"damaged.json: does not answer with JSON .1 bad"):
        build(made, tmp_path / "store", workers=1)
    store, _ = build(made, tmp_path / "store", workers=1, max_bad=1)
    assert store.index["source"].tolist() == ["whole"]
    with pytest.raises(UserError, match=r"catalog.json: has no collection s3; it has all, other, s2"):
        source(catalogue=root, collection="s3")


def test_places_of_a_table_that_cannot_be_used_are_reported(tmp_path):
    file = tmp_path / "places.csv"
    file.write_text("place,lon,lat\n007,8.5,47.25\n,9,48\nnorth,8,95\nnowhere,,47\n")
    places = read_places(file)
    assert places.table.values.tolist() == [["007", 8.5, 47.25], ["000002", 9, 48]]
    assert [name for name, _ in places.bad] == [f"{file}, place north", f"{file}, place nowhere"]
    assert places.bad[0][1] == "lon 8.0, lat 95.0 is out of range"


def test_places_beyond_180_degrees_are_counted_from_greenwich(tmp_path):
    (tmp_path / "places.csv").write_text("lon,lat\n190,1\n-181,2\n360,3\n180,4\n")
    assert read_places(tmp_path / "places.csv").table["lon"].tolist() == [-170, 179, 0, 180]
    frame = gpd.GeoDataFrame(geometry=[shapely.box(178, -19, 182, -16)], crs="EPSG:4326")
    frame.to_file(tmp_path / "fiji.gpkg")
    gpd.GeoDataFrame(geometry=[shapely.box(4_500_000, -1_900_000, 5_000_000, -1_700_000)], crs="EPSG:3832").to_file(
        tmp_path / "mercator.gpkg"
    )
    west = Transformer.from_crs("EPSG:3832", "EPSG:4326", always_xy=True).transform(5_000_000, 0)[0]
    for name, edges in (("fiji.gpkg", (178, -178)), ("mercator.gpkg", (-170, west))):
        lon = sample_places(tmp_path / name, 200, seed=0).table["lon"]
        assert lon.between(-180, 180).all()
        assert ((lon >= edges[0]) | (lon <= edges[1])).all() if edges[0] > 0 else (lon <= edges[1]).all()


@pytest.mark.parametrize(
    "where",
    [
        {"bbox": [178, -19, -179, -16]},
        {"geometry": shapely.geometry.mapping(shapely.box(178, -19, 181, -16))},
        {"geometry": shapely.geometry.mapping(shapely.Polygon([(178, -19), (-179, -19), (-179, -16), (178, -16)]))},
    ],
)
def test_the_footprint_of_a_scene_across_the_antimeridian_is_no_band_around_the_earth(where):
    item = {"id": "a", "properties": {"datetime": "2020-01-01T00:00:00Z"}, "assets": {}, **where}
    footprint = to_scene(item).footprint
    assert footprint.area == pytest.approx(9)
    assert footprint.covers(shapely.Point(-179.5, -17))
    assert not footprint.intersects(shapely.Point(0, -17))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,lat\n1,2\n", "has no column 'lon'; needs lon and lat in degrees"),
        ("place,lon,lat\na,1,2\na,3,4\n", "names the place 'a' twice"),
        ("lon,lat\n1,95\n", "holds no point with lon within"),
        ("", "cannot be read as CSV"),
    ],
)
def test_a_table_without_places_is_refused(tmp_path, text, message):
    (tmp_path / "places.csv").write_text(text)
    with pytest.raises(UserError, match=f"places.csv: {message}"):
        read_places(tmp_path / "places.csv")


def test_places_of_a_vector_file_lie_on_its_features_in_degrees(tmp_path):
    u_shape = shapely.box(500_000, 5_000_000, 501_000, 5_001_000) - shapely.box(500_100, 5_000_100, 500_900, 5_001_000)
    frame = gpd.GeoDataFrame({"place": ["u"]}, geometry=[u_shape], crs=UTM)
    frame.to_file(tmp_path / "fields.gpkg")
    places = read_places(tmp_path / "fields.gpkg").table
    x, y = Transformer.from_crs("EPSG:4326", UTM, always_xy=True).transform(places["lon"][0], places["lat"][0])
    assert places["place"].tolist() == ["u"]
    assert u_shape.contains(shapely.Point(x, y))
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        frame.set_crs(None, allow_override=True).to_file(tmp_path / "lost.shp")
    with pytest.raises(UserError, match=r"lost.shp: has no CRS"):
        read_places(tmp_path / "lost.shp")
    with pytest.raises(UserError, match=r"nowhere.gpkg: no such file"):
        read_places(tmp_path / "nowhere.gpkg")


def test_random_places_are_uniform_on_the_sphere_within_the_polygons(tmp_path):
    hole = shapely.box(-20, 0, 20, 30)
    shapes = [shapely.box(-40, -10, 40, 80) - hole, shapely.box(30, 0, 40, 80), shapely.box(100, 0, 101, 80)]
    gpd.GeoDataFrame(geometry=shapes, crs="EPSG:4326").to_file(tmp_path / "land.gpkg")
    places = sample_places(tmp_path / "land.gpkg", 4000, seed=1).table
    assert places["place"].is_unique
    points = shapely.points(places["lon"], places["lat"])
    assert shapely.union_all(shapes).covers(points).all()
    north = (places["lat"] > 30).mean()  # by area: sin(80) - sin(30) of 80 + 1 degrees, and the south with its hole
    high, low = (np.sin(np.radians(80)) - 0.5) * 81, 0.5 * 41 + np.sin(np.radians(10)) * 80
    assert north == pytest.approx(high / (high + low), abs=0.025)
    again = sample_places(tmp_path / "land.gpkg", 4000, seed=1).table
    pd.testing.assert_frame_equal(places, again)
    assert not places.equals(sample_places(tmp_path / "land.gpkg", 4000, seed=2).table)


def test_random_places_need_polygons(tmp_path):
    gpd.GeoDataFrame(geometry=[shapely.Point(1, 2)], crs="EPSG:4326").to_file(tmp_path / "points.gpkg")
    with pytest.raises(UserError, match=r"points.gpkg: holds no polygon to draw places in"):
        sample_places(tmp_path / "points.gpkg", 5, seed=0)


def test_random_places_become_chips(server, source, tmp_path):
    add(server, "scene", "2020-06-01", 3)
    field = shapely.box(500_500, 4_998_000, 502_000, 4_999_500)
    gpd.GeoDataFrame(geometry=[field], crs=UTM).to_file(tmp_path / "field.gpkg")
    made = source(places=None, sample=5, within=tmp_path / "field.gpkg")
    store, _ = build(made, tmp_path / "store", workers=1)
    transform = Transformer.from_crs("EPSG:4326", UTM, always_xy=True)
    for row in store.index.itertuples():
        x, y = transform.transform(row.lon, row.lat)
        assert field.buffer(5).contains(shapely.Point(x, y))
        corner = round((5_000_000 - y) / 10) - 16, round((x - 500_000) / 10) - 16
        expected = pattern(0)[corner[0] : corner[0] + 32, corner[1] : corner[1] + 32]
        np.testing.assert_array_equal(store.raw(np.array([row.Index]))[0, 0], expected)
    assert len(store) == 5


@pytest.mark.parametrize(
    ("lon", "lat", "crs"),
    [
        (15.0, 45.0, "EPSG:32633"), (-0.01, -33.0, "EPSG:32730"), (180.0, 10.0, "EPSG:32601"),
        (10.0, 85.0, "EPSG:32661"), (10.0, -85.0, "EPSG:32761"),
    ],
)  # fmt: skip
def test_chips_lie_in_the_local_zone(lon, lat, crs):
    assert chip_crs(lon, lat) == crs


def test_parts_of_a_short_period_are_parts_of_it():
    query = Query("s2", date(2020, 6, 1), date(2020, 8, 30))
    days = [
        stac.Day(date(2020, *day), cloud, ()) for day, cloud in {(6, 1): 9, (6, 30): 1, (7, 2): 5, (8, 30): 2}.items()
    ]
    parts = stac.parts_of(days, query, 3)
    assert [[day.date.day for day in part] for part in parts] == [[30, 1], [2], [30]]


def test_classes_are_read_at_full_resolution(tmp_path):
    path = tmp_path / "classes.tif"
    classes = np.random.default_rng(0).choice([10, 80], (SIDE, SIDE)).astype(np.uint8)
    write_cog(path, classes, nodata=None, overview_resampling="cubic")
    with rasterio.open(path) as source:
        assert source.overviews(1)
        box = transform_bounds(source.crs, "EPSG:4326", *source.bounds)
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "classes", "links": [], "bbox": box,
        "geometry": mapping(shapely.box(*box)), "properties": {"datetime": "2021-01-01T00:00:00Z"},
        "assets": {"map": {"href": str(path), "type": "image/tiff", "roles": ["data"]}},
    }  # fmt: skip
    grid = GeoBox((64, 64), Affine(40, 0, 500_000, 0, -40, 5_000_000), UTM)
    found = load(item, {"map": "map"}, grid, {"*": "nearest"}, None, FAST)["map"]
    assert set(np.unique(found)) == {10, 80}
