"""Small exact copies of public datasets: torchgeo's own classes read them, and so do we, to the same pixels."""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.enums import Resampling

from core.errors import UserError
from core.sources import torchgeo_datasets as layouts
from core.store.build import Tally, build
from core.store.read import UNLABELLED, ChipStore
from core.store.splits import Split
from tests.conftest import write_raster

pandas_4 = pytest.mark.filterwarnings("ignore:The inplace keyword")  # torchgeo's own use of pandas

UTM = "EPSG:32633"  # zone 33: its middle is 15 E, where x is 500,000
ORIGIN = (500_000 - 1320, 5_000_000 + 1320)  # a patch of 2640 m around (500,000, 5,000,000)
# EPSG:32633 (500,000, 5,000,000) is 15 E, and as far north as a meridian arc of 5,000,000 / 0.9996 m
# reaches from the equator (integrated numerically, without PROJ).
LON, LAT = 15.0, 45.1534772


def listed(name: str, root: Path, scratch: Path, *options: object):
    parser = argparse.ArgumentParser()
    layouts.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["torchgeo", name, str(root), *map(str, options)])
    scratch.mkdir()
    return arguments.make(arguments, scratch)


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., tuple[ChipStore, Tally]]:
    def make(name: str, *options: object, max_bad: int = 0, **how) -> tuple[ChipStore, Tally]:
        source = listed(name, tmp_path / "root", tmp_path / "scratch", *options)
        return build(source, tmp_path / "store", workers=1, max_bad=max_bad, **how)

    return make


def values(seed: int, bands: int, size: int, dtype: str = "uint16") -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.normal(-12, 4, (bands, size, size)).astype(dtype)
    return rng.integers(1, 255 if dtype == "uint8" else 9000, (bands, size, size)).astype(dtype)


TWENTY = ("B5", "B6", "B7", "B8A", "B11", "B12")  # bands of 20 m


def band_files(folder: Path, bands: tuple[str, ...], seed: int, dtype: str = "uint16", shift: float = 0) -> None:
    """One GeoTIFF a band, in the band's own pixel size, all over the same 2640 m."""
    folder.mkdir(parents=True)
    for number, band in enumerate(bands):
        pixel = {"B1": 60, "B9": 60, "B10": 60}.get(band, 20 if band in TWENTY else 10)
        pixels = values(100 * seed + number, 1, 2640 // pixel, dtype)
        write_raster(folder / f"{band}.tif", pixels, crs=UTM, origin=(ORIGIN[0] + shift, ORIGIN[1]), pixel=pixel)


def resampled(file: Path) -> np.ndarray:
    with rasterio.open(file) as source:
        return source.read(1, out_shape=(264, 264), resampling=Resampling.bilinear)


SECO_DATES = ("20190524T100031_20190524T100027_T33TWN", "20200107T101401_20200107T101359_T33TWN")


def seco(root: Path) -> None:
    for place in range(2):
        for number, name in enumerate(SECO_DATES):
            folder = root / "seasonal_contrast_100k" / f"{place:06}" / name
            band_files(
                folder, layouts.SERIES["SeasonalContrastS2"]["100k"].bands, 10 * place + number, shift=5000 * place
            )


def test_seasonal_contrast_has_torchgeos_pixels_and_the_coordinates_that_torchgeo_lacks(tmp_path, made):
    from torchgeo.datasets import SeasonalContrastS2

    seco(tmp_path / "root")
    bands = SeasonalContrastS2.all_bands
    theirs = SeasonalContrastS2(tmp_path / "root", "100k", 2, bands)[1]["image"].numpy().reshape(2, 12, 264, 264)
    store, tally = made("SeasonalContrastS2")
    index = store.index
    assert tally.kept == 4
    assert store.info.bands == bands
    assert list(index["place"]) == ["000000", "000000", "000001", "000001"]
    assert list(index["datetime"].dt.to_pydatetime())[:2] == [
        datetime(2019, 5, 24, 10, 0, 31, tzinfo=UTC),
        datetime(2020, 1, 7, 10, 14, 1, tzinfo=UTC),
    ]
    assert np.allclose(index["lon"][:2], LON, rtol=0, atol=1e-7)
    assert np.allclose(index["lat"][:2], LAT, rtol=0, atol=1e-7)
    assert index["lon"][2] == pytest.approx(LON + 0.0636, abs=1e-4)  # 5 km east: 5000 / (111,320 cos 45.15) degrees
    assert store.info.unit == "surface reflectance x 10000 (Sentinel-2 L2A)"
    assert store.info.gsd == 10
    ours = store.raw(np.array([2, 3])).astype(np.float32)
    fine = [bands.index(name) for name in ("B2", "B3", "B4", "B8")]
    # torchgeo takes the dates of a place in any order.
    order = [0, 1] if np.array_equal(ours[0, fine], theirs[0, fine]) else [1, 0]
    assert np.array_equal(ours[:, fine], theirs[order][:, fine])
    # Coarser bands are interpolated here and there, but not by the same library.
    assert np.abs(ours - theirs[order]).max() < 2


S1_DATES = (
    "S1A_IW_GRDH_1SDV_20200607T165142_20200607T165207_032913_03D000_3B3C",
    "S1B_IW_GRDH_1SDV_20201204T165100_20201204T165125_024557_02EB61_1A2B",
)


def ssl4eo_s12(root: Path, split: str) -> None:
    from torchgeo.datasets import SSL4EOS12

    names = (
        S1_DATES
        if split == "s1"
        else ("20200607T101559_20200607T101600_T33TWN", "20201204T101401_20201204T101359_T33TWN")
    )
    for place in range(2):
        for number, name in enumerate(names):
            folder = root / split / f"{place:07}" / name
            dtype = "float32" if split == "s1" else "uint16"
            band_files(folder, tuple(SSL4EOS12.metadata[split]["bands"]), 10 * place + number, dtype)
            (folder / "metadata.json").write_text("{}")


@pytest.mark.parametrize(("split", "count", "level"), [("s1", 2, "dB"), ("s2c", 13, "L1C"), ("s2a", 12, "L2A")])
def test_ssl4eo_s12_has_torchgeos_pixels_dates_and_its_coordinates_in_degrees(tmp_path, made, split, count, level):
    from torchgeo.datasets import SSL4EOS12

    ssl4eo_s12(tmp_path / "root", split)
    theirs = SSL4EOS12(tmp_path / "root", split, 2)[1]
    store, _ = made("SSL4EOS12")
    index = store.index
    assert store.info.bands == tuple(SSL4EOS12.metadata[split]["bands"])
    assert len(store.info.bands) == count
    assert level in store.info.unit
    assert store.info.license == "CC-BY-4.0"
    assert list(index["place"]) == ["0000000", "0000000", "0000001", "0000001"]
    assert list(store.places["count"]) == [2, 2]
    hours = (16, 51, 42) if split == "s1" else (10, 15, 59)
    assert index["datetime"][0].to_pydatetime() == datetime(2020, 6, 7, *hours, tzinfo=UTC)
    assert sorted(theirs["t"].tolist()) == pytest.approx([time.timestamp() for time in index["datetime"][2:]], abs=64)
    x, y = theirs["x"][0].item(), theirs["y"][0].item()
    assert (x, y) == (500_000, 5_000_000)  # torchgeo's: metres of the file's own CRS
    assert np.allclose(index["lon"], LON, rtol=0, atol=1e-7)
    assert np.allclose(index["lat"], LAT, rtol=0, atol=1e-7)
    order = np.argsort(theirs["t"].numpy())
    images = theirs["image"].numpy().reshape(2, count, 264, 264)[order]
    ours = store.pixels(np.array([2, 3]))
    for number, band in enumerate(store.info.bands):
        if band in ("B2", "B3", "B4", "B8", "VV", "VH"):
            assert np.array_equal(ours[:, number], images[:, number]), band
        else:  # torchgeo repeats pixels of coarser bands, here they are interpolated
            file = tmp_path / "root" / index["source"][2] / f"{band}.tif"
            steps = np.abs(ours[0, number] - resampled(file).astype(np.int64))
            assert steps.max() <= 1, band  # GDAL rounds halves up


def test_two_products_in_one_root_must_be_chosen_from(tmp_path):
    for split in ("s1", "s2a"):
        ssl4eo_s12(tmp_path / "root", split)
    with pytest.raises(UserError, match=r"several products of SSL4EOS12 \(s1, s2a\); choose one with --product"):
        listed("SSL4EOS12", tmp_path / "root", tmp_path / "scratch")
    source = listed("SSL4EOS12", tmp_path / "root", tmp_path / "more", "--product", "s1")
    assert source.info.bands == ("VV", "VH")


LANDSAT_DATES = ("LC08_172034_20210306", "LC08_172034_20210829", "LC08_172034_20211203", "LC08_172034_20220715")


@pytest.mark.parametrize(
    ("product", "count"), [("tm_toa", 7), ("etm_toa", 9), ("etm_sr", 6), ("oli_tirs_toa", 11), ("oli_sr", 7)]
)
def test_ssl4eo_l_has_torchgeos_pixels_and_four_dates_a_place(tmp_path, made, product, count):
    from torchgeo.datasets import SSL4EOL

    for place in ("0000002", "0000005"):
        for number, name in enumerate(LANDSAT_DATES):
            folder = tmp_path / "root" / f"ssl4eo_l_{product}" / place / name
            folder.mkdir(parents=True)
            pixels = values(int(place) + 10 * number, count, 264, "uint8")
            write_raster(folder / "all_bands.tif", pixels, crs=UTM, origin=(500_000 - 3960, 5_000_000 + 3960), pixel=30)
    theirs = SSL4EOL(tmp_path / "root", product, 4)[0]
    store, _ = made("SSL4EOL")
    index = store.index
    assert len(set(store.info.bands)) == count  # Landsat 7 has B6 twice: they need names of their own
    plain = ["B6" if band.startswith("B6") else band for band in store.info.bands]
    assert plain == list(SSL4EOL.metadata[product]["all_bands"])
    assert list(store.places["count"]) == [4, 4]
    assert [str(time.date()) for time in index["datetime"][:4]] == [
        "2021-03-06",
        "2021-08-29",
        "2021-12-03",
        "2022-07-15",
    ]
    assert np.allclose(index["lon"], LON, rtol=0, atol=1e-7)
    assert np.allclose(index["lat"], LAT, rtol=0, atol=1e-7)
    images = theirs["image"].numpy().reshape(4, count, 264, 264)[np.argsort(theirs["t"].numpy())]
    assert np.array_equal(store.raw(np.arange(4)), images)
    assert store.info.gsd == 30
    assert store.info.dtype == "uint8"


def test_smaller_chips_have_larger_pixels(tmp_path, made):
    ssl4eo_s12(tmp_path / "root", "s1")
    store, _ = made("SSL4EOS12", "--size", 132)
    assert store.info.gsd == 20
    file = tmp_path / "root" / store.index["source"][0] / "VV.tif"
    with rasterio.open(file) as source:
        pairs = source.read(1).reshape(132, 2, 132, 2).mean(axis=(1, 3))
    assert np.allclose(store.raw(np.array([0]))[0, 0], pairs, rtol=0, atol=1e-4)
    assert store.index["lon"][0] == pytest.approx(LON, abs=1e-7)


def test_folders_without_a_date_and_missing_bands_are_left_out_by_name(tmp_path, made):
    root = tmp_path / "root"
    ssl4eo_s12(root, "s2a")
    (root / "s2a/0000000/preview").mkdir()
    (root / "s2a/0000003").mkdir()
    gone = next((root / "s2a/0000001").iterdir()) / "B8.tif"
    gone.unlink()
    store, tally = made("SSL4EOS12", max_bad=3)
    assert tally.kept == len(store) == 3
    said = dict(tally.bad)
    assert "no date such as 20200607T101559" in said["s2a/0000000/preview"]
    assert said["s2a/0000003"] == "holds no dated folder"
    assert "B8.tif" in said[gone.parent.relative_to(root).as_posix()]


EUROSAT_CLASSES = (
    "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake"
)


def eurosat(root: Path, prefix: str) -> None:
    """Three images a class, one a side."""
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for number, name in enumerate(EUROSAT_CLASSES.split()):
        folder = root / "ds/images/remote_sensing/otherDatasets/sentinel_2/tif" / name
        folder.mkdir(parents=True)
        for image, side in enumerate(lists, start=1):
            origin = (500_000 - 320 + 10_000 * number, 5_000_000 + 320 + 10_000 * (image - 1))
            write_raster(folder / f"{name}_{image}.tif", values(10 * number + image, 13, 64), crs=UTM, origin=origin)
            lists[side].append(f"{name}_{image}.jpg")
    for side, names in lists.items():
        (root / f"{prefix}-{side}.txt").write_text("\n".join(names) + "\n")


@pytest.mark.parametrize(("name", "prefix"), [("EuroSAT", "eurosat"), ("EuroSATSpatial", "eurosat-spatial")])
def test_eurosat_has_torchgeos_pixels_labels_and_sides(tmp_path, made, name, prefix):
    from torchgeo import datasets

    eurosat(tmp_path / "root", prefix)
    store, _ = made(name)
    index = store.index
    kind = getattr(datasets, name)
    assert store.info.bands == kind.all_band_names
    assert len(store.info.bands) == 13
    assert [entry.name for entry in store.info.classes] == EUROSAT_CLASSES.split()
    for side in ("train", "val", "test"):
        theirs = kind(tmp_path / "root", side)
        assert len(theirs) == (index["split"] == side).sum() == 10
        assert theirs.classes == EUROSAT_CLASSES.split()
        for number in range(len(theirs)):
            path = Path(theirs.samples[number][0]).relative_to(tmp_path / "root").as_posix()
            [row] = np.flatnonzero(index["source"] == path)
            assert index["split"][row] == side
            assert index["label"][row] == theirs[number]["label"].item()
            assert np.array_equal(store.raw(np.array([row]))[0], theirs[number]["image"].numpy())
    first = index[index["place"] == "AnnualCrop_1"].iloc[0]
    assert first["lon"] == pytest.approx(LON, abs=1e-7)
    assert first["lat"] == pytest.approx(LAT, abs=1e-7)
    assert index["datetime"].isna().all()
    assert (store.info.license, store.info.gsd) == ("MIT", 10)


def test_eurosat_says_what_its_lists_and_its_folders_do_not_share(tmp_path, made):
    root = tmp_path / "root"
    eurosat(root, "eurosat")
    forest = root / "ds/images/remote_sensing/otherDatasets/sentinel_2/tif/Forest"
    write_raster(forest / "Forest_99.tif", values(1, 13, 64))
    (forest / "Forest_1.tif").unlink()
    _, tally = made("EuroSAT", max_bad=1)
    assert tally.kept == 29
    assert tally.bad == [("Forest_1.tif", "is listed in eurosat-train.txt, but does not exist")]
    assert tally.dropped == {"files that no list of eurosat names": 1}


def test_eurosat_lists_that_contradict_each_other_are_refused(tmp_path):
    eurosat(tmp_path / "root", "eurosat")
    with (tmp_path / "root/eurosat-test.txt").open("a") as file:
        file.write("River_1.jpg\n")
    with pytest.raises(UserError, match=r"eurosat-test\.txt: River_1\.jpg is also in eurosat-train\.txt"):
        listed("EuroSAT", tmp_path / "root", tmp_path / "scratch")


RIO = (-43.6, -22.9)  # upper left corner, degrees
STEP = 4.5e-6  # degrees a pixel: half a metre


def spacenet1(root: Path, product: str = "3band") -> None:
    bands, dtype, scale = (3, "uint8", 1) if product == "3band" else (8, "uint16", 4)
    shape = (406, 439) if product == "3band" else (102, 110)
    for side, numbers in (("train", (1, 2, 10)), ("test", (5,))):
        folder = root / "SN1_buildings" / side
        (folder / product).mkdir(parents=True)
        for number in numbers:
            pixels = np.random.default_rng(number).integers(1, 250, (bands, *shape)).astype(dtype)
            origin = (RIO[0] + 0.01 * number, RIO[1])
            path = folder / product / f"{product}_AOI_1_RIO_img{number}.tif"
            write_raster(path, pixels, crs="EPSG:4326", origin=origin, pixel=STEP * scale)
    labels = root / "SN1_buildings/train/geojson"
    labels.mkdir(exist_ok=True)
    for number in (1, 2, 10):
        west, north = RIO[0] + 0.01 * number, RIO[1]
        houses = [(20, 30, 60, 90), (300, 200, 330, 260)] if number != 2 else []
        features = [
            outline(west + STEP * c0, north - STEP * r0, west + STEP * c1, north - STEP * r1)
            for r0, c0, r1, c1 in houses
        ]
        (labels / f"Geo_AOI_1_RIO_img{number}.geojson").write_text(collection(features))
    (labels / "Geo_AOI_1_RIO_img2.geojson").write_text("")  # no building: some files are empty


def outline(west: float, north: float, east: float, south: float) -> dict:
    ring = [[west, north, 0.0], [east, north, 0.0], [east, south, 0.0], [west, south, 0.0], [west, north, 0.0]]
    return {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}


def collection(features: list[dict]) -> str:
    features = [*features, {"type": "Feature", "properties": {}, "geometry": None}]
    return json.dumps({"type": "FeatureCollection", "features": features})


@pandas_4
def test_spacenet1_has_torchgeos_pixels_and_masks_with_background_labelled_too(tmp_path, made):
    from torchgeo.datasets import SpaceNet1

    spacenet1(tmp_path / "root")
    theirs = SpaceNet1(tmp_path / "root", "train", image="3band")
    store, _ = made("SpaceNet1")
    index = store.index
    assert [Path(path).name for path in theirs.images] == [f"3band_AOI_1_RIO_img{n}.tif" for n in (1, 2, 10)]
    assert list(index["place"]) == ["test/img5 r0c0", "train/img1 r0c0", "train/img10 r0c0", "train/img2 r0c0"]
    for row, number in ((1, 0), (2, 2), (3, 1)):
        assert np.array_equal(store.raw(np.array([row]))[0], theirs[number]["image"].numpy()[:, :400, :400])
        assert np.array_equal(store.masks(np.array([row]))[0], theirs[number]["mask"].numpy()[:400, :400])
    mask = store.masks(np.array([1]))[0]
    assert mask.sum() == 40 * 60 + 30 * 60
    assert (mask[20:60, 30:90] == 1).all()
    assert set(np.unique(mask)) == {0, 1}
    assert (store.masks(np.array([3])) == 0).all()
    assert (store.masks(np.array([0])) == UNLABELLED).all()  # the footprints of the test side are not published
    assert list(index["split"]) == ["test", "train", "train", "train"]
    assert index["lon"][1] == pytest.approx(-43.59 + 200 * STEP, abs=1e-9)
    assert index["lat"][1] == pytest.approx(-22.9 - 200 * STEP, abs=1e-9)
    assert [entry.name for entry in store.info.classes] == ["background", "building"]


@pandas_4
def test_spacenet1_is_cut_into_neighbouring_chips_of_the_size_asked_for(tmp_path, made):
    from torchgeo.datasets import SpaceNet1

    spacenet1(tmp_path / "root")
    mask = SpaceNet1(tmp_path / "root", "train", image="3band")[0]["mask"].numpy()
    store, _ = made("SpaceNet1", "--size", 200)
    places = store.index["place"]
    assert [place for place in places if "img1 " in place] == [
        f"train/img1 r{r}c{c}" for r in (0, 200) for c in (0, 200)
    ]
    [row] = np.flatnonzero(places == "train/img1 r200c200")
    assert np.array_equal(store.masks(np.array([row]))[0], mask[200:400, 200:400])
    assert store.masks(np.array([row])).sum() == 30 * 60


@pandas_4
def test_spacenet1_reads_the_eight_bands_with_their_own_masks(tmp_path, made):
    from torchgeo.datasets import SpaceNet1

    spacenet1(tmp_path / "root", "8band")
    theirs = SpaceNet1(tmp_path / "root", "train", image="8band")[0]
    store, _ = made("SpaceNet1")
    assert store.info.bands == ("coastal", "blue", "green", "yellow", "red", "red edge", "nir1", "nir2")
    row = np.flatnonzero(store.index["place"] == "train/img1 r0c0")
    assert np.array_equal(store.raw(row)[0], theirs["image"].numpy()[:, :100, :100])
    assert np.array_equal(store.masks(row)[0], theirs["mask"].numpy()[:100, :100])
    assert store.masks(row).any()


def test_a_source_travels_to_other_processes_and_is_the_same_when_listed_again(tmp_path):
    spacenet1(tmp_path / "root")
    first, second = (listed("SpaceNet1", tmp_path / "root", tmp_path / name) for name in ("one", "two"))
    assert repr(first) == repr(second)  # else a store that was cut off could not go on
    there = pickle.loads(pickle.dumps(first))
    chips = [chip for task in there.tasks for chip in there.chips(task, Tally())]
    assert [chip.place for chip in chips if chip.mask is not None] == [f"train/img{n} r0c0" for n in (1, 10, 2)]


def test_broken_or_missing_footprints_leave_out_their_image_only(tmp_path, made):
    root = tmp_path / "root"
    spacenet1(root)
    (root / "SN1_buildings/train/geojson/Geo_AOI_1_RIO_img1.geojson").write_text('{"features": [')
    (root / "SN1_buildings/train/geojson/Geo_AOI_1_RIO_img10.geojson").unlink()
    _, tally = made("SpaceNet1", max_bad=2)
    assert tally.kept == 2
    said = dict(tally.bad)
    assert "Geo_AOI_1_RIO_img1.geojson are no GeoJSON" in said["SN1_buildings/train/3band/3band_AOI_1_RIO_img1.tif"]
    assert "has no footprints" in said["SN1_buildings/train/3band/3band_AOI_1_RIO_img10.tif"]


TILES = (  # folder, name, split, CRS (UTM on NAD 83, zones 18 and 17), upper left corner
    ("de_1m_2013_extended-debuffered-train_tiles", "m_3807502_ne_18_1", "de-train", "EPSG:26918", (500_000, 4_300_000)),
    ("wv_1m_2014_extended-debuffered-val_tiles", "m_3708035_ne_17_1", "wv-val", "EPSG:26917", (520_000, 4_200_000)),
)
PRIOR = "prior_from_cooccurrences_101_31_no_osm_no_buildings"


def chesapeake(root: Path, rows: int = 150, columns: int = 130) -> None:
    from torchgeo.datasets import ChesapeakeCVPR

    root.mkdir(parents=True)
    files = ChesapeakeCVPR._files
    for name in files["base"] if isinstance(files, dict) else files:  # by archive since torchgeo 0.10
        if name.endswith("_tiles"):
            (root / name).mkdir()
    features = []
    for number, (folder, tile, split, utm, origin) in enumerate(TILES):
        rng = np.random.default_rng(number)
        paths = {}
        for layer, bands, most in [("naip-new", 4, 255), ("naip-old", 4, 255), ("lc", 1, 7), ("nlcd", 1, 90), ("buildings", 1, 2),
                                   ("landsat-leaf-on", 9, 255), ("landsat-leaf-off", 9, 255), (PRIOR, 4, 255)]:  # fmt: skip
            pixels = rng.integers(layer != "lc", most, (bands, rows, columns)).astype(np.uint8)
            if layer == "lc":
                pixels[0, :5] = 15
                pixels[0, 5:, :] = np.maximum(pixels[0, 5:, :], number)  # the first tile holds some zeros
            paths[layer] = f"{folder}/{tile}_{layer}.tif"
            write_raster(root / paths[layer], pixels, crs=utm, origin=origin, pixel=1)
        to_mercator = Transformer.from_crs(utm, "EPSG:3857", always_xy=True)
        corners = [(origin[0], origin[1]), (origin[0] + columns, origin[1] - rows)]
        (west, north), (east, south) = (to_mercator.transform(*corner) for corner in corners)
        features.append(outline(west, north, east, south) | {"properties": {"split": split, **paths}})
    features = [{"type": "Feature", **feature} for feature in features]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}
    (root / "spatial_index.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "crs": crs, "features": features})
    )


@pandas_4
@pytest.mark.parametrize("product", ["naip-new", "naip-old"])
def test_chesapeake_has_torchgeos_pixels_masks_and_sides(tmp_path, made, product):
    from torchgeo.datasets import ChesapeakeCVPR

    chesapeake(tmp_path / "root")
    theirs = ChesapeakeCVPR(tmp_path / "root", ["de-train", "wv-val"], [product, "lc"])
    store, _ = made("ChesapeakeCVPR", "--product", product, "--size", 64)
    index = store.index
    assert store.info.bands == ("red", "green", "blue", "nir")
    assert len(index) == 2 * 2 * 2
    assert [entry.value for entry in store.info.classes] == [1, 2, 3, 4, 5, 6]
    colors = getattr(ChesapeakeCVPR.lc_cmap, "colors", None)  # 0 to 1, since torchgeo 0.10
    color = ChesapeakeCVPR.lc_cmap[1] if colors is None else np.rint(np.multiply(colors[1], 255)).astype(int)
    assert store.info.classes[0].color == "{:02X}{:02X}{:02X}".format(*color[:3])
    for folder, tile, split, utm, origin in TILES:
        # the files that torchgeo's index names: since 0.10 torchgeo resamples them on reading
        named = theirs.index[theirs.index["split"] == split].iloc[0]
        image, mask = (rasterio.open(tmp_path / "root" / named[layer]).read() for layer in (product, "lc"))
        assert image.shape == (4, 150, 130)
        rows = np.flatnonzero(index["place"].str.startswith(f"{folder}/{tile} "))
        assert set(index["split"][rows]) == {split.split("-")[1]}
        for row in rows:
            window = np.s_[index["row"][row] : index["row"][row] + 64, index["column"][row] : index["column"][row] + 64]
            assert np.array_equal(store.raw(np.array([row]))[0], image[(slice(None), *window)])
            values = mask[0][window]
            wanted = np.where((values == 0) | (values == 15), UNLABELLED, values - 1)
            assert np.array_equal(store.masks(np.array([row]))[0], wanted)
        corner = index[index["place"] == f"{folder}/{tile} r0c0"].iloc[0]
        lon, lat = Transformer.from_crs(utm, "EPSG:4326", always_xy=True).transform(origin[0] + 32, origin[1] - 32)
        assert (corner["lon"], corner["lat"]) == pytest.approx((lon, lat), abs=1e-9)
    assert index[index["split"] == "train"]["lon"].min() == pytest.approx(-75 + 32 / 87_000, abs=1e-5)  # zone 18: 75 W


def test_near_infrared_is_no_mask_although_gdal_calls_it_alpha(tmp_path, made):
    root = tmp_path / "root"
    chesapeake(root)
    folder, tile, _, utm, origin = TILES[0]
    pixels = np.random.default_rng(9).integers(0, 3, (4, 150, 130)).astype(np.uint8)
    path = write_raster(root / folder / f"{tile}_naip-new.tif", pixels, crs=utm, origin=origin, pixel=1)
    with rasterio.open(path) as source:
        assert source.colorinterp[3].name == "alpha"
    store, _ = made("ChesapeakeCVPR", "--size", 64)
    rows = np.flatnonzero(store.index["place"] == f"{folder}/{tile} r64c0")
    assert np.array_equal(store.raw(rows)[0], pixels[:, 64:128, :64])
    assert store.valid(rows).all()


def test_labels_that_are_no_class_leave_out_their_tile_only(tmp_path, made):
    root = tmp_path / "root"
    chesapeake(root)
    folder, tile, _, utm, origin = TILES[0]
    write_raster(root / folder / f"{tile}_lc.tif", np.full((1, 150, 130), 9, np.uint8), crs=utm, origin=origin, pixel=1)
    _, tally = made("ChesapeakeCVPR", "--size", 64, max_bad=1, split=Split("spatial"))
    assert tally.kept == 4
    assert "holds the value 9, which is not in the legend" in tally.bad[0][1]


def test_label_tiles_of_other_size_than_their_image_leave_it_out(tmp_path, made):
    root = tmp_path / "root"
    chesapeake(root)
    folder, tile, _, utm, origin = TILES[1]
    write_raster(root / folder / f"{tile}_lc.tif", np.ones((1, 70, 130), np.uint8), crs=utm, origin=origin, pixel=1)
    _, tally = made("ChesapeakeCVPR", "--size", 64, max_bad=1)
    assert tally.kept == 4
    assert "has 130 x 70 pixels, the image 130 x 150" in tally.bad[0][1]


def test_shards_of_tiles_that_are_cut_stay_bounded(tmp_path, monkeypatch):
    from core.sources import image_list as images

    chesapeake(tmp_path / "root", rows=640, columns=640)
    monkeypatch.setattr(images, "SHARD_BYTES", 100 * 64 * 64 * 4)
    source = listed("ChesapeakeCVPR", tmp_path / "root", tmp_path / "scratch", "--size", 64)
    assert len(source.tasks) == 2  # 100 chips a tile, so one tile a shard


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("SeasonalContrastS2", [], "seasonal_contrast_100k or seasonal_contrast_1m"),
        ("SSL4EOS12", [], "s1 or s2c or s2a"),
        ("SSL4EOS12", ["--product", "s2a"], "as torchgeo unpacks it, it lacks s2a"),
        ("SSL4EOS12", ["--product", "s3"], "--product s3: SSL4EOS12 has s1, s2c, s2a"),
        ("SSL4EOL", [], "ssl4eo_l_tm_toa"),
        ("EuroSAT", [], "sentinel_2/tif"),
        ("EuroSAT", ["--product", "rgb"], "EuroSAT has one product only"),
        ("SpaceNet1", [], "SN1_buildings/train/3band or SN1_buildings/train/8band"),
        ("ChesapeakeCVPR", [], "spatial_index.geojson"),
        ("EuroSAT", ["--size", "4"], "at least 8"),
    ],
)
def test_a_root_without_the_dataset_is_refused_with_what_was_expected(tmp_path, name, options, said):
    (tmp_path / "root").mkdir()
    with pytest.raises(UserError, match=said.replace("--", "-.")):
        listed(name, tmp_path / "root", tmp_path / "scratch", *options)


def test_partial_layouts_are_refused_by_the_part_that_is_missing(tmp_path):
    root = tmp_path / "root"
    eurosat(root, "eurosat")
    with pytest.raises(UserError, match=r"eurosat-spatial-train\.txt: the list of the train images is missing"):
        listed("EuroSATSpatial", root, tmp_path / "one")
    (root / "SN1_buildings/train/3band").mkdir(parents=True)
    with pytest.raises(UserError, match="SN1_buildings/train/geojson"):
        listed("SpaceNet1", root, tmp_path / "two")
    (root / "spatial_index.geojson").write_text('{"features": [{"properties": {"split": "de-train"}}]}')
    with pytest.raises(UserError, match=r"spatial_index\.geojson: is not the index"):
        listed("ChesapeakeCVPR", root, tmp_path / "three")


def test_preparing_needs_no_torchgeo():
    import subprocess
    import sys

    code = "import core.sources.torchgeo_datasets, sys; sys.exit('torchgeo' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
