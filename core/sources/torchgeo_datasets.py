"""``core.prepare torchgeo``: datasets on disk, laid out as torchgeo's classes of the same name expect them.

    SeasonalContrastS2  ROOT/seasonal_contrast_100k/<place>/<dated folder>/B1.tif ... B12.tif
    SSL4EOS12           ROOT/<s1, s2c, s2a>/<place>/<dated folder>/<band>.tif
    SSL4EOL             ROOT/ssl4eo_l_<product>/<place>/<dated folder>/all_bands.tif
    EuroSAT             ROOT/ds/images/remote_sensing/otherDatasets/sentinel_2/tif/<class>/<image>.tif, eurosat-train.txt
    SpaceNet1           ROOT/SN1_buildings/<train, test>/<3band, 8band, geojson>/..._img<number>.<tif, geojson>
    ChesapeakeCVPR      ROOT/spatial_index.geojson, which names the tiles of each layer

torchgeo itself is not needed. Longitude and latitude always come from the files' own georeference: the class
of SeasonalContrastS2 gives none, those of SSL4EO give x and y in whatever CRS a file has.

Source: the modules torchgeo.datasets.{seco, ssl4eo, eurosat, spacenet, chesapeake} of torchgeo 0.8.1, for
folders, order of bands, dates, splits and the colours of Chesapeake's classes.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from rasterio.crs import CRS
from rasterio.features import is_valid_geom, rasterize
from rasterio.warp import transform_geom
from tqdm import tqdm

from core.errors import UserError
from core.imagery.crops import Square
from core.imagery.georasters import open_plain
from core.imagery.labels import legend_of
from core.sources.image_list import ImageList, subfolders
from core.sources.options import check_size
from core.store.build import Tally
from core.store.read import LandClass, StoreInfo

_L1C = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
_L2A = tuple(name for name in _L1C if name != "B10")
_SECOND = "%Y%m%dT%H%M%S"


class ImageSeries(NamedTuple):
    """Places that have a folder each, with a folder for each date.

    Attributes:
        folder: of the places, below the root.
        bands: names, in the files' order.
        gsd: pixel size in metres.
        date_part: which part of a dated folder's name, between underscores, is the date.
        date_format: for strptime.
        image: file in a dated folder that holds all bands; empty if each band is a file.
    """

    folder: str
    bands: tuple[str, ...]
    unit: str
    gsd: float
    date_part: int
    date_format: str
    image: str = ""


_SERIES_SIZE = 264  # px, of all three datasets
_SENTINEL2: dict[str, Any] = {"gsd": 10.0, "date_part": 0, "date_format": _SECOND}
_LANDSAT: dict[str, Any] = {"gsd": 30.0, "date_part": -1, "date_format": "%Y%m%d", "image": "all_bands.tif"}
_SURFACE = "Landsat surface reflectance scaled to 8 bits"
_TOA = "Landsat top-of-atmosphere reflectance (thermal bands: temperature) scaled to 8 bits"
SERIES = {
    "SeasonalContrastS2": {
        size: ImageSeries(
            f"seasonal_contrast_{size}", _L2A, "surface reflectance x 10000 (Sentinel-2 L2A)", **_SENTINEL2
        )
        for size in ("100k", "1m")
    },
    "SSL4EOS12": {
        "s1": ImageSeries("s1", ("VV", "VH"), "backscatter in dB (Sentinel-1 GRD)", 10.0, 4, _SECOND),
        "s2c": ImageSeries("s2c", _L1C, "top-of-atmosphere reflectance x 10000 (Sentinel-2 L1C)", **_SENTINEL2),
        "s2a": ImageSeries("s2a", _L2A, "surface reflectance x 10000 (Sentinel-2 L2A)", **_SENTINEL2),
    },
    "SSL4EOL": {
        product: ImageSeries(f"ssl4eo_l_{product}", tuple(bands.split()), unit, **_LANDSAT)
        for product, bands, unit in (
            ("tm_toa", "B1 B2 B3 B4 B5 B6 B7", _TOA),
            # Landsat 7 takes its thermal band twice, with low and high gain.
            ("etm_toa", "B1 B2 B3 B4 B5 B6_VCID_1 B6_VCID_2 B7 B8", _TOA),
            ("etm_sr", "B1 B2 B3 B4 B5 B7", _SURFACE),
            ("oli_tirs_toa", "B1 B2 B3 B4 B5 B6 B7 B8 B9 B10 B11", _TOA),
            ("oli_sr", "B1 B2 B3 B4 B5 B6 B7", _SURFACE),
        )
    },
}
# Prefixes of the lists of images of each side.
EUROSAT = {"EuroSAT": "eurosat", "EuroSATSpatial": "eurosat-spatial", "EuroSAT100": "eurosat-100"}
_EUROSAT_FOLDER = "ds/images/remote_sensing/otherDatasets/sentinel_2/tif"
_EUROSAT_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")
# Bands, pixel size in metres, chip size and unit of the two products.
_EIGHT_BIT = "8-bit values, 0 to 255"
SPACENET1 = {
    "3band": (("red", "green", "blue"), 0.5, 400, _EIGHT_BIT),
    "8band": (
        ("coastal", "blue", "green", "yellow", "red", "red edge", "nir1", "nir2"),
        2.0,
        100,
        "WorldView-2 digital numbers",
    ),
}
_FOOTPRINTS = (LandClass(0, "background", "202020"), LandClass(1, "building", "E6553C"))
_LAND_COVER = (
    LandClass(1, "water", "00C5FF"),
    LandClass(2, "tree canopy and forest", "267300"),
    LandClass(3, "low vegetation and field", "A3FF73"),
    LandClass(4, "barren land", "FFAA00"),
    LandClass(5, "impervious, other", "9C9C9C"),
    LandClass(6, "impervious, road", "000000"),
)
# Paper and licence of each dataset.
_ABOUT = {
    "SeasonalContrastS2": (
        "Manas et al. 2021, arXiv 2103.16607",
        "see https://zenodo.org/records/4728033; contains modified Copernicus Sentinel data",
    ),
    "SSL4EOS12": ("Wang et al. 2022, arXiv 2211.07044", "CC-BY-4.0"),
    "SSL4EOL": ("Stewart et al. 2023, NeurIPS Datasets and Benchmarks", "CC0-1.0"),
    "SpaceNet1": ("Van Etten et al. 2018, arXiv 1807.01232", "CC-BY-SA-4.0"),
    "ChesapeakeCVPR": ("Robinson et al. 2019, CVPR", "see https://lila.science/datasets/chesapeakelandcover"),
} | dict.fromkeys(EUROSAT, ("Helber et al. 2019, IEEE JSTARS 12(7)", "MIT"))

# Part of the layout by which a product is recognised.
_PRODUCTS: dict[str, dict[str, str]] = {
    **{name: {product: series.folder for product, series in products.items()} for name, products in SERIES.items()},
    "SpaceNet1": {product: f"SN1_buildings/train/{product}" for product in SPACENET1},
    "ChesapeakeCVPR": dict.fromkeys(("naip-new", "naip-old"), "spatial_index.geojson"),
    **{name: {"": _EUROSAT_FOLDER} for name in EUROSAT},
}


def add_parser(sources: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the sub-command to the command line."""
    parser = sources.add_parser(
        "torchgeo",
        help="a public dataset on disk, laid out as torchgeo expects it",
        description="Chips of a dataset that torchgeo knows, from the folder that is its root; nothing is downloaded. The "
        "dataset's own split is kept unless --split is given; SpaceNet1 has no val side, and its test side has no labels, so "
        "evaluate with --split spatial.",
    )
    add = parser.add_argument
    add("name", choices=sorted(_ABOUT), metavar="NAME", help=", ".join(sorted(_ABOUT)))
    add("root", type=Path, metavar="ROOT", help="the folder that torchgeo's class takes as its root")
    choices = "; ".join(f"{name}: {', '.join(parts)}" for name, parts in _PRODUCTS.items() if name not in EUROSAT)
    add("--product", metavar="NAME", help=f"product of the dataset ({choices}); default: the one that is present")
    add(
        "--size", type=int, metavar="PX",
        help="rows = columns of a chip (default: the images' own, 264 or 64; SpaceNet1: 400 of 3band, 100 of 8band; "
        "ChesapeakeCVPR: 256). Images of SpaceNet1 and ChesapeakeCVPR are cut, the others scaled.",
    )  # fmt: skip
    parser.set_defaults(make=make)
    return parser


class _Recipe(NamedTuple):
    """How a dataset is listed: rows of ``core.sources.image_list.LISTING``, what its images share, and how they are read."""

    rows: Iterator[dict[str, Any]]
    info: StoreInfo
    how: dict[str, Any]
    kind: type[ImageList] = ImageList


def make(arguments: argparse.Namespace, scratch: Path) -> ImageList:
    """List the images.

    Raises:
        UserError: the root does not hold the dataset, or holds several products and none was chosen.
    """
    name, root, size = arguments.name, arguments.root, arguments.size
    check_size(arguments)
    tally = Tally()
    product = _product(name, root, arguments.product or ("naip-new" if name == "ChesapeakeCVPR" else None))
    if name in EUROSAT:
        recipe = _eurosat(root, EUROSAT[name], size or 64, tally)
    elif name == "SpaceNet1":
        recipe = _spacenet1(root, product, size, tally)
    elif name == "ChesapeakeCVPR":
        recipe = _chesapeake(root, product, size or 256)
    else:
        recipe = _series(root, SERIES[name][product], size or _SERIES_SIZE, tally)
        product = SERIES[name][product].folder
    paper, license = _ABOUT[name]
    provenance = f"{' '.join(filter(None, (name, product)))} ({paper}), from the layout that torchgeo reads"
    info = replace(recipe.info, provenance=provenance, license=license)
    rows = tqdm(recipe.rows, desc="listing", unit="image")
    return recipe.kind.of_rows(rows, scratch, root, info, tally, locate=True, **recipe.how)


def _product(name: str, root: Path, asked: str | None) -> str:
    """The product to take: the one asked for, or the only one whose part of the layout is present."""
    parts = _PRODUCTS[name]
    if asked is not None and asked not in parts:
        raise UserError(f"--product {asked}: {name} has {', '.join(parts) or 'one product only; leave the option out'}")
    present = [product for product, part in parts.items() if (root / part).exists()]
    if asked is None and len(present) > 1:
        raise UserError(f"{root}: holds several products of {name} ({', '.join(present)}); choose one with --product")
    if not present or (asked is not None and asked not in present):
        expected = [parts[asked]] if asked else list(dict.fromkeys(parts.values()))
        raise UserError(f"{root}: is no {name} as torchgeo unpacks it, it lacks {' or '.join(expected)}")
    return asked or present[0]


def _series(root: Path, series: ImageSeries, size: int, tally: Tally) -> _Recipe:
    def rows() -> Iterator[dict[str, Any]]:
        for place in subfolders(root / series.folder):
            names = list(subfolders(root / series.folder / place))
            if not names:
                tally.skip(f"{series.folder}/{place}", "holds no dated folder")
            for name in names:
                path = f"{series.folder}/{place}/{name}"
                try:
                    text = name.split("_")[series.date_part]
                    date = datetime.strptime(text, series.date_format).replace(tzinfo=UTC)
                except (IndexError, ValueError):
                    example = datetime(2020, 6, 7, 10, 15, 59).strftime(series.date_format)
                    tally.skip(path, f"the folder's name has no date such as {example} where it was expected")
                    continue
                yield {"path": f"{path}/{series.image}" if series.image else path, "place": place, "datetime": date}

    info = StoreInfo(series.bands, "", series.unit, series.gsd * _SERIES_SIZE / size, size)
    return _Recipe(rows(), info, {} if series.image else {"band_files": tuple(f"{band}.tif" for band in series.bands)})


def _eurosat(root: Path, prefix: str, size: int, tally: Tally) -> _Recipe:
    sides = _eurosat_sides(root, prefix)
    names = sorted(subfolders(root / _EUROSAT_FOLDER))

    def rows() -> Iterator[dict[str, Any]]:
        missing = set(sides)
        for label, folder in enumerate(names):
            for file in sorted(os.listdir(root / _EUROSAT_FOLDER / folder)):
                if file in sides:
                    missing.discard(file)
                    path = f"{_EUROSAT_FOLDER}/{folder}/{file}"
                    yield {"path": path, "place": Path(file).stem, "label": label, "split": sides[file]}
                else:
                    tally.drop(f"files that no list of {prefix} names")
        for file in missing:
            tally.skip(file, f"is listed in {prefix}-{sides[file]}.txt, but does not exist")

    unit, classes = "top-of-atmosphere reflectance x 10000 (Sentinel-2 L1C)", legend_of(dict(enumerate(names)))
    return _Recipe(rows(), StoreInfo(_EUROSAT_BANDS, "", unit, 10.0 * 64 / size, size, classes), {})


def _eurosat_sides(root: Path, prefix: str) -> dict[str, str]:
    """The side of each image, by its file name."""
    sides: dict[str, str] = {}
    for side in ("train", "val", "test"):
        path = root / f"{prefix}-{side}.txt"
        if not path.is_file():
            raise UserError(f"{path}: the list of the {side} images is missing; torchgeo downloads it")
        for line in path.read_text().split():
            image = line.replace(".jpg", ".tif")
            if sides.setdefault(image, side) != side:
                raise UserError(f"{path}: {line} is also in {prefix}-{sides[image]}.txt; download the lists again")
    return sides


def _spacenet1(root: Path, product: str, size: int | None, tally: Tally) -> _Recipe:
    def files(folder: str, suffix: str) -> dict[str, str]:
        """Paths of its files, by the number of the image."""
        names = os.listdir(root / folder) if (root / folder).is_dir() else []
        return {
            name.rpartition("_img")[2].partition(".")[0]: f"{folder}/{name}" for name in names if name.endswith(suffix)
        }

    def rows() -> Iterator[dict[str, Any]]:
        labels = "SN1_buildings/train/geojson"
        if not (root / labels).is_dir():
            raise UserError(f"{root}: is no SpaceNet1 with labels, it lacks {labels}")
        footprints = files(labels, ".geojson")
        for side in ("train", "test"):
            for number, path in files(f"SN1_buildings/{side}/{product}", ".tif").items():
                mask = footprints.get(number) if side == "train" else None
                if side == "train" and mask is None:
                    tally.skip(path, f"has no footprints in {labels}")
                else:  # both products show the same places
                    yield {"path": path, "place": f"{side}/img{number}", "split": side, "mask": mask}

    bands, gsd, usual, unit = SPACENET1[product]
    return _Recipe(rows(), StoreInfo(bands, "", unit, gsd, size or usual, _FOOTPRINTS), {"fit": "cut"}, _Footprints)


@dataclass(frozen=True)
class _Footprints(ImageList):
    """Images whose labels are outlines of buildings; pixels outside are labelled too: background."""

    def _masks(self, row: dict[str, Any], squares: list[Square]) -> Iterator[np.ndarray]:
        with open_plain(self.root / row["path"]) as image:
            shape, transform, crs = image.shape, image.transform, image.crs
        if crs is None:
            raise UserError("has no georeference")
        outlines = _read_outlines(self.root / row["mask"], crs)
        numbers = np.zeros(shape, np.uint8)
        if outlines:
            numbers = rasterize(outlines, shape, fill=0, default_value=1, transform=transform, dtype="uint8")
        for top, left, side in squares:
            yield numbers[top : top + side, left : left + side]


def _read_outlines(path: Path, crs: CRS) -> list[dict[str, Any]]:
    """Polygons of a GeoJSON file, as GeoJSON geometries in the given CRS; none of an empty file."""
    text = path.read_text()
    if not text.strip():  # some of SpaceNet's files are empty: no building there
        return []
    try:
        shapes = [feature["geometry"] for feature in json.loads(text)["features"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"its footprints {path.name} are no GeoJSON ({error!r})") from error
    areas = [g for g in shapes if g and g.get("type") in ("Polygon", "MultiPolygon") and is_valid_geom(g)]
    return [transform_geom("EPSG:4326", crs, area) for area in areas] if crs.to_epsg() != 4326 else areas


def _chesapeake(root: Path, product: str, size: int) -> _Recipe:
    path = root / "spatial_index.geojson"
    try:
        tiles = [feature["properties"] for feature in json.loads(path.read_bytes())["features"]]
        # A split is a state and a side, such as "de-train". The dates are known to the year at best.
        rows = [
            {
                "path": tile[product], "place": tile[product].removesuffix(f"_{product}.tif"),
                "split": tile["split"].rpartition("-")[2], "mask": tile["lc"],
            }
            for tile in tiles
        ]  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: is not the index of ChesapeakeCVPR's tiles ({error!r}); unpack it again") from error
    info = StoreInfo(("red", "green", "blue", "nir"), "", _EIGHT_BIT, 1.0, size, _LAND_COVER)
    return _Recipe(iter(rows), info, {"fit": "cut"}, _LandCover)


@dataclass(frozen=True)
class _LandCover(ImageList):
    """Images whose label rasters have values for pixels outside the mapped area."""

    unlabelled: ClassVar[tuple[int, ...]] = (0, 15)
