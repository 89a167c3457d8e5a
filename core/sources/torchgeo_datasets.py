"""The source ``torchgeo``: datasets on disk, laid out as torchgeo's classes of the same name expect them.

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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.crs import CRS
from rasterio.features import is_valid_geom, rasterize
from rasterio.warp import transform_geom
from tqdm import tqdm

from core.errors import UserError
from core.imagery.grids import open_plain
from core.imagery.squares import Square
from core.imagery.tables import check_size, legend_of
from core.sources.images import ImageList, Images
from core.store.read import UNLABELLED, LandClass

_L1C = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12")
_L2A = tuple(name for name in _L1C if name != "B10")
_SECOND = "%Y%m%dT%H%M%S"


@dataclass(frozen=True)
class Series:
    """Places that have a folder each, with a folder for each date.

    Attributes:
        folder: of the places, below the root.
        bands: names, in the files' order.
        unit: what a pixel value means.
        gsd: pixel size in metres.
        date_part: which part of a dated folder's name, between underscores, is the date.
        date_format: of the date, as for strptime.
        image: name of the file in a dated folder that holds all bands; empty where each band is a file.
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
SERIES: dict[str, dict[str, Series]] = {
    "SeasonalContrastS2": {
        size: Series(f"seasonal_contrast_{size}", _L2A, "surface reflectance x 10000 (Sentinel-2 L2A)", **_SENTINEL2)
        for size in ("100k", "1m")
    },
    "SSL4EOS12": {
        "s1": Series("s1", ("VV", "VH"), "backscatter in dB (Sentinel-1 GRD)", 10.0, 4, _SECOND),
        "s2c": Series("s2c", _L1C, "top-of-atmosphere reflectance x 10000 (Sentinel-2 L1C)", **_SENTINEL2),
        "s2a": Series("s2a", _L2A, "surface reflectance x 10000 (Sentinel-2 L2A)", **_SENTINEL2),
    },
    "SSL4EOL": {
        product: Series(f"ssl4eo_l_{product}", tuple(bands.split()), unit, **_LANDSAT)
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
# What the splits' files are called.
EUROSAT = {"EuroSAT": "eurosat", "EuroSATSpatial": "eurosat-spatial", "EuroSAT100": "eurosat-100"}
_EUROSAT_FOLDER = "ds/images/remote_sensing/otherDatasets/sentinel_2/tif"
_EUROSAT_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")
# Bands, pixel size in metres and chip size of the two kinds of images.
SPACENET1 = {
    "3band": (("red", "green", "blue"), 0.5, 400),
    "8band": (("coastal", "blue", "green", "yellow", "red", "red edge", "nir1", "nir2"), 2.0, 100),
}
_FOOTPRINTS = (LandClass(0, "background", "202020"), LandClass(1, "building", "E6553C"))
CHESAPEAKE = ("naip-new", "naip-old")
_LAND_COVER = (
    LandClass(1, "water", "00C5FF"),
    LandClass(2, "tree canopy and forest", "267300"),
    LandClass(3, "low vegetation and field", "A3FF73"),
    LandClass(4, "barren land", "FFAA00"),
    LandClass(5, "impervious, other", "9C9C9C"),
    LandClass(6, "impervious, road", "000000"),
)
_NO_LAND_COVER = (0, 15)  # outside the mapped area

_LICENSES = {
    "SeasonalContrastS2": "see https://zenodo.org/records/4728033; contains modified Copernicus Sentinel data",
    "SSL4EOS12": "CC-BY-4.0",
    "SSL4EOL": "CC0-1.0",
    "SpaceNet1": "CC-BY-SA-4.0",
    "ChesapeakeCVPR": "see https://lila.science/datasets/chesapeakelandcover",
} | dict.fromkeys(EUROSAT, "MIT")
_PAPERS = {
    "SeasonalContrastS2": "Manas et al. 2021, arXiv 2103.16607",
    "SSL4EOS12": "Wang et al. 2022, arXiv 2211.07044",
    "SSL4EOL": "Stewart et al. 2023, NeurIPS Datasets and Benchmarks",
    "SpaceNet1": "Van Etten et al. 2018, arXiv 1807.01232",
    "ChesapeakeCVPR": "Robinson et al. 2019, CVPR",
} | dict.fromkeys(EUROSAT, "Helber et al. 2019, IEEE JSTARS 12(7)")


def add_parser(sources: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the sub-command to the command line."""
    parser = sources.add_parser(
        "torchgeo",
        help="a public dataset on disk, laid out as torchgeo expects it",
        description="Chips of a dataset that torchgeo knows, from the folder that would be its root; nothing is "
        "downloaded. The dataset's own split is kept unless --split says otherwise; SpaceNet1's has no val, and its test "
        "side has no labels, so give it --split spatial to evaluate with.",
    )
    parser.add_argument("name", choices=sorted(_PAPERS), metavar="NAME", help=", ".join(sorted(_PAPERS)))
    parser.add_argument("root", type=Path, metavar="ROOT", help="the folder that torchgeo's class takes as its root")
    products = {name: list(series) for name, series in SERIES.items()}
    products |= {"SpaceNet1": list(SPACENET1), "ChesapeakeCVPR": list(CHESAPEAKE)}
    choices = "; ".join(f"{name}: {', '.join(names)}" for name, names in products.items())
    parser.add_argument(
        "--product", metavar="NAME",
        help=f"which of a dataset's products ({choices}); by default the one that is there",
    )  # fmt: skip
    parser.add_argument(
        "--size", type=int, metavar="PX",
        help="rows = columns of a chip (default: the images' own, 264 or 64; SpaceNet1: 400 of 3band, 100 of 8band; "
        "ChesapeakeCVPR: 256). Images of SpaceNet1 and ChesapeakeCVPR are cut, the others scaled.",
    )  # fmt: skip
    parser.set_defaults(make=make)
    return parser


def make(arguments: argparse.Namespace, scratch: Path) -> ImageList:
    """List the images.

    Raises:
        UserError: the root does not hold the dataset, or holds several products and none was chosen.
    """
    name, root, size = arguments.name, arguments.root, arguments.size
    if size is not None:
        check_size(size)
    if name in EUROSAT:
        if arguments.product:
            raise UserError(f"--product {arguments.product}: {name} has one product only; leave the option out")
        return _eurosat(name, root, size or 64, scratch)
    if name == "SpaceNet1":
        folders = {product: f"SN1_buildings/train/{product}" for product in SPACENET1}
        return _spacenet1(root, _product(name, root, arguments.product, folders), size, scratch)
    if name == "ChesapeakeCVPR":
        index = {product: "spatial_index.geojson" for product in CHESAPEAKE}
        return _chesapeake(root, _product(name, root, arguments.product or CHESAPEAKE[0], index), size or 256, scratch)
    folders = {product: series.folder for product, series in SERIES[name].items()}
    series = SERIES[name][_product(name, root, arguments.product, folders)]
    return _series(name, root, series, size or _SERIES_SIZE, scratch)


def _product(name: str, root: Path, wanted: str | None, parts: dict[str, str]) -> str:
    """The product to take: the one asked for, or the only one whose part of the layout is there."""
    if wanted is not None and wanted not in parts:
        raise UserError(f"--product {wanted}: {name} has {', '.join(parts)}")
    there = [product for product, part in parts.items() if (root / part).exists()]
    if wanted is None and len(there) > 1:
        raise UserError(f"{root}: holds several products of {name} ({', '.join(there)}); choose one with --product")
    if not there or (wanted is not None and wanted not in there):
        expected = [parts[wanted]] if wanted else list(dict.fromkeys(parts.values()))
        raise UserError(f"{root}: {name} was expected there, as torchgeo unpacks it: {' or '.join(expected)}")
    return wanted or there[0]


def _provenance(name: str, product: str = "") -> str:
    return f"{name}{f' {product}' if product else ''} ({_PAPERS[name]}), from the layout that torchgeo reads"


def _listed(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return iter(tqdm(rows, desc="listing", unit="image"))


def _folders(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        yield from (entry.name for entry in entries if entry.is_dir())


def _series(name: str, root: Path, series: Series, size: int, scratch: Path) -> ImageList:
    bad: list[tuple[str, str]] = []
    return ImageList.of_rows(
        _listed(_dated_folders(root, series, bad)),
        scratch,
        root,
        Images(
            size=size,
            unit=series.unit,
            bands=series.bands,
            gsd=series.gsd * _SERIES_SIZE / size,
            locate=True,
            band_files=() if series.image else tuple(f"{band}.tif" for band in series.bands),
            provenance=_provenance(name, series.folder),
            license=_LICENSES[name],
        ),
        bad=bad,
    )


def _dated_folders(root: Path, series: Series, bad: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    for place in _folders(root / series.folder):
        dates = 0
        for name in _folders(root / series.folder / place):
            dates += 1
            path = f"{series.folder}/{place}/{name}"
            try:
                text = name.split("_")[series.date_part]
                date = datetime.strptime(text, series.date_format).replace(tzinfo=UTC)
            except (IndexError, ValueError):
                example = datetime(2020, 6, 7, 10, 15, 59).strftime(series.date_format)
                bad.append((path, f"the folder's name has no date such as {example} where it was expected"))
                continue
            yield {"path": f"{path}/{series.image}" if series.image else path, "place": place, "datetime": date}
        if not dates:
            bad.append((f"{series.folder}/{place}", "holds no dated folder"))


def _eurosat(name: str, root: Path, size: int, scratch: Path) -> ImageList:
    if not (root / _EUROSAT_FOLDER).is_dir():
        raise UserError(f"{root}: {name} was expected there, as torchgeo unpacks it: {_EUROSAT_FOLDER}")
    sides = _eurosat_sides(root, EUROSAT[name])
    names = sorted(_folders(root / _EUROSAT_FOLDER))
    bad: list[tuple[str, str]] = []
    left_out: dict[str, int] = {}

    def rows() -> Iterator[dict[str, Any]]:
        listed = set(sides)
        for label, folder in enumerate(names):
            for file in sorted(os.listdir(root / _EUROSAT_FOLDER / folder)):
                if file in sides:
                    listed.discard(file)
                    path = f"{_EUROSAT_FOLDER}/{folder}/{file}"
                    yield {"path": path, "place": Path(file).stem, "label": label, "split": sides[file]}
                else:
                    why = f"files that no list of {EUROSAT[name]} names"
                    left_out[why] = left_out.get(why, 0) + 1
        bad.extend((file, f"is named in {EUROSAT[name]}-{sides[file]}.txt, but is not there") for file in listed)

    return ImageList.of_rows(
        _listed(rows()),
        scratch,
        root,
        Images(
            size=size,
            unit="top-of-atmosphere reflectance x 10000 (Sentinel-2 L1C)",
            classes=legend_of(dict(enumerate(names))),
            bands=_EUROSAT_BANDS,
            gsd=10.0 * 64 / size,
            locate=True,
            provenance=_provenance(name),
            license=_LICENSES[name],
        ),
        bad=bad,
        dropped=left_out,
    )


def _eurosat_sides(root: Path, prefix: str) -> dict[str, str]:
    """Which side each image is on, by its file name."""
    sides: dict[str, str] = {}
    for side in ("train", "val", "test"):
        path = root / f"{prefix}-{side}.txt"
        if not path.is_file():
            raise UserError(f"{path}: the list of the {side} images was expected there, as torchgeo downloads it")
        for line in path.read_text().split():
            image = line.replace(".jpg", ".tif")
            if sides.setdefault(image, side) != side:
                raise UserError(f"{path}: {line} stands in {prefix}-{sides[image]}.txt too; download the lists again")
    return sides


def _spacenet1(root: Path, product: str, size: int | None, scratch: Path) -> ImageList:
    bands, gsd, usual = SPACENET1[product]
    bad: list[tuple[str, str]] = []
    return _Footprints.of_rows(
        _listed(_spacenet1_images(root, product, bad)),
        scratch,
        root,
        Images(
            size=size or usual,
            unit="8-bit values, 0 to 255" if product == "3band" else "WorldView-2 digital numbers",
            classes=_FOOTPRINTS,
            bands=bands,
            gsd=gsd,
            fit="cut",
            locate=True,
            provenance=_provenance("SpaceNet1", product),
            license=_LICENSES["SpaceNet1"],
        ),
        bad=bad,
    )


def _spacenet1_images(root: Path, product: str, bad: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    for side in ("train", "test"):
        folder = f"SN1_buildings/{side}"
        footprints: dict[str, str] = {}
        if side == "train":
            if not (root / folder / "geojson").is_dir():
                raise UserError(f"{root}: SpaceNet1's footprints were expected there: {folder}/geojson")
            names = os.listdir(root / folder / "geojson")
            footprints = {
                _image_number(name): f"{folder}/geojson/{name}" for name in names if name.endswith(".geojson")
            }
        images = os.listdir(root / folder / product) if (root / folder / product).is_dir() else []
        for name in (name for name in images if name.endswith(".tif")):
            mask = footprints.get(_image_number(name))
            if side == "train" and mask is None:
                bad.append((f"{folder}/{product}/{name}", f"has no footprints in {folder}/geojson"))
            else:
                # Both products show the same places.
                place = f"{side}/img{_image_number(name)}"
                yield {"path": f"{folder}/{product}/{name}", "place": place, "split": side, "mask": mask}


def _image_number(name: str) -> str:
    return name.rpartition("_img")[2].partition(".")[0]


@dataclass(frozen=True)
class _Footprints(ImageList):
    """Images whose labels are outlines of buildings; what lies outside is labelled too: background."""

    def _masks(self, row: dict[str, Any], squares: list[Square]) -> Iterator[np.ndarray]:
        with open_plain(self.root / row["path"]) as image:
            shape, transform, crs = image.shape, image.transform, image.crs
        if crs is None:
            raise UserError("has no georeference")
        outlines = read_outlines(self.root / row["mask"], crs)
        numbers = np.zeros(shape, np.uint8)
        if outlines:
            numbers = rasterize(outlines, shape, fill=0, default_value=1, transform=transform, dtype="uint8")
        for square in squares:
            yield numbers[_part(square)]


def read_outlines(path: Path, crs: CRS) -> list[dict[str, Any]]:
    """Polygons of a GeoJSON file, as GeoJSON geometries in the given CRS; none of an empty file.

    Raises:
        UserError: it is no GeoJSON.
        OSError: it cannot be read.
    """
    text = path.read_text()
    if not text.strip():  # some of SpaceNet's files are empty: no building there
        return []
    try:
        found = [feature["geometry"] for feature in json.loads(text)["features"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"its footprints {path.name} are no GeoJSON ({error!r})") from error
    areas = [g for g in found if g and g.get("type") in ("Polygon", "MultiPolygon") and is_valid_geom(g)]
    return [transform_geom("EPSG:4326", crs, area) for area in areas] if crs.to_epsg() != 4326 else areas


def _chesapeake(root: Path, product: str, size: int, scratch: Path) -> ImageList:
    return _LandCover.of_rows(
        _listed(iter(_chesapeake_tiles(root, product))),
        scratch,
        root,
        Images(
            size=size,
            unit="8-bit values, 0 to 255",
            classes=_LAND_COVER,
            bands=("red", "green", "blue", "nir"),
            gsd=1.0,
            fit="cut",
            locate=True,
            provenance=_provenance("ChesapeakeCVPR", product),
            license=_LICENSES["ChesapeakeCVPR"],
        ),
    )


def _chesapeake_tiles(root: Path, product: str) -> Sequence[dict[str, Any]]:
    path = root / "spatial_index.geojson"
    try:
        tiles = [feature["properties"] for feature in json.loads(path.read_bytes())["features"]]
        # A split is a state and a side, such as "de-train". The dates are known to the year at best.
        return [
            {
                "path": tile[product],
                "place": tile[product].removesuffix(f"_{product}.tif"),
                "split": tile["split"].rpartition("-")[2],
                "mask": tile["lc"],
            }
            for tile in tiles
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: is not the index of ChesapeakeCVPR's tiles ({error!r}); unpack it again") from error


@dataclass(frozen=True)
class _LandCover(ImageList):
    """Images whose label rasters have values that mean: not mapped."""

    def _masks(self, row: dict[str, Any], squares: list[Square]) -> Iterator[np.ndarray]:
        with open_plain(self.root / row["mask"]) as labels, open_plain(self.root / row["path"]) as image:
            if labels.shape != image.shape:
                raise UserError(
                    f"its labels {row['mask']} have {labels.width} x {labels.height} pixels, unlike the image"
                )
            values = labels.read(1)
        numbers = {entry.value: number for number, entry in enumerate(self.info.classes)}
        numbers |= dict.fromkeys((*_NO_LAND_COVER, UNLABELLED), UNLABELLED)
        unknown = set(np.unique(values).tolist()) - set(numbers)
        if unknown:
            raise UserError(f"its labels {row['mask']} hold the value {min(unknown)}, which is no class of the dataset")
        table = np.full(256, UNLABELLED, np.uint8)
        table[list(numbers)] = list(numbers.values())
        for square in squares:
            yield table[values[_part(square)]]


def _part(square: Square) -> tuple[slice, slice]:
    return slice(square.row, square.row + square.side), slice(square.column, square.column + square.side)
