"""``core.prepare fmow``: Functional Map of the World in its official layout, fMoW-rgb.

    DIR/{train,val}/<category>/<place>/<place>_<view>_rgb.jpg and ..._rgb.json
    DIR/{test,seq}/<number>/<number>_<view>_rgb.jpg and ..._rgb.json

The published JSON files lack coordinates, and those of test and seq the categories too. groundtruth.tar.bz2 has
them: its train, val, test_gt and seq_gt hold the full JSON files, and test_gt_mapping.json and seq_gt_mapping.json
say which numbered folder is which place. Unpack it in DIR, where it replaces the bare files, or in DIR/groundtruth.

Each image gives one chip: its centred square, scaled. The objects' bounding boxes are not cut out.

Source: https://github.com/fMoW/dataset (layout, keys, boxes as x, y, width, height, and what was removed).
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from tqdm import tqdm

from core.errors import UserError
from core.imagery.dates import iso_date
from core.imagery.labels import legend_of
from core.sources.image_list import ImageList, subfolders
from core.sources.options import add_options, check_size
from core.store.build import Tally
from core.store.read import StoreInfo
from core.store.sphere import METRES_PER_DEGREE

# The side of each folder of the release. "seq" was held back for the last round of the challenge: it is more
# test data, and results are published without it, so it is included only on request.
SIDES = {"train": "train", "val": "val", "test": "test", "seq": "test"}
FALSE_DETECTION = "false_detection"
_SUFFIX = "_rgb.jpg"  # "_msrgb.jpg" shows the same scene without the sharpness of the panchromatic band


def add_parser(sources: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the sub-command to the command line."""
    parser = sources.add_parser(
        "fmow",
        help="Functional Map of the World, as published (fMoW-rgb)",
        description="Chips of fMoW-rgb: one per image, the centred square scaled to --size. Coordinates and the "
        "categories of test and seq are published separately: unpack groundtruth.tar.bz2 in DIR, or in DIR/groundtruth.",
    )
    parser.add_argument("dir", type=Path, metavar="DIR", help="the folder with train, val, test; or one of these")
    add_options(parser, "--size")
    parser.add_argument(
        "--folders", nargs="+", choices=SIDES, metavar="NAME",
        help="which of train, val, test and seq to take (default: train, val and test where present; seq becomes test)",
    )  # fmt: skip
    parser.add_argument(
        "--with-false-detection", action="store_true", help="keep the 63rd category, images without any object"
    )
    parser.set_defaults(make=make)
    return parser


def make(arguments: argparse.Namespace, scratch: Path) -> ImageList:
    """List the images.

    Raises:
        UserError: the folder is not laid out as fMoW-rgb, or holds no image.
    """
    check_size(arguments)
    release = _Release.find(arguments.dir, arguments.folders, arguments.with_false_detection)
    info = StoreInfo(
        (), "", "8-bit values, 0 to 255", None, arguments.size, legend_of(dict(enumerate(release.categories))),
        provenance="Functional Map of the World (Christie et al., CVPR 2018), fMoW-rgb",
        license="Functional Map of the World Challenge Public License",
    )  # fmt: skip
    tally = Tally()
    rows = tqdm(release.rows(tally), desc="listing", unit="image")
    return ImageList.of_rows(rows, scratch, release.root, info, tally)


class View(NamedTuple):
    """The JSON file of an image.

    Attributes:
        lon: and lat: of the centre of the image, degrees WGS 84.
        reach_m: diagonal of the image on the ground, metres.
        false: whether no box, other than the unconfirmed one of ID -1, holds an object.
    """

    datetime: datetime
    lon: float
    lat: float
    reach_m: float
    false: bool

    @classmethod
    def read(cls, path: Path) -> View:
        """Read a JSON file.

        Raises:
            UserError: a key is missing or invalid; the message does not name the file.
            OSError: it cannot be read.
        """
        try:
            document = json.loads(path.read_bytes())
        except ValueError as error:
            raise UserError(f"broken JSON ({error})") from error
        if not isinstance(document, dict):
            raise UserError("broken JSON (no object with keys)")
        lon, lat, reach_m = _extent(_value(document, "raw_location", str))
        boxes = _value(document, "bounding_boxes", (list, dict))
        time = _value(document, "timestamp", str)
        try:
            return cls(iso_date(time), lon, lat, reach_m, _is_false(boxes))
        except ValueError as error:
            raise UserError(f"'timestamp' is '{time}', no ISO 8601 time") from error


def _value(document: dict[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:
    if key not in document:
        hint = " (coordinates are in groundtruth.tar.bz2: unpack it there)" if key == "raw_location" else ""
        raise UserError(f"has no '{key}'{hint}")
    if not isinstance(document[key], kind):
        raise UserError(f"'{key}' is {json.dumps(document[key])[:60]}, unlike the published files")
    return document[key]


def _extent(wkt: str) -> tuple[float, float, float]:
    """Longitude and latitude of the middle of a polygon, and the diagonal of its bounds in metres."""
    try:
        outline = shapely.from_wkt(wkt)
    except shapely.errors.ShapelyError as error:
        raise UserError(f"'raw_location' is '{wkt[:60]}', no polygon as WKT") from error
    corners = shapely.get_coordinates(outline)
    if outline is None or outline.is_empty or not np.isfinite(corners).all():
        raise UserError(f"'raw_location' is '{wkt[:60]}', which holds no point")
    lon, lat = corners.T
    if (np.abs(lat) > 90).any() or (np.abs(lon) > 360).any():
        raise UserError(f"'raw_location' lies at longitude {lon[0]:g}, latitude {lat[0]:g}")
    if np.ptp(lon) > 180:  # both sides of the antimeridian: the mean of 179 and -179 is not 0
        outline = shapely.transform(outline, lambda xy: np.stack([xy[:, 0] % 360, xy[:, 1]], axis=1))
    middle, (west, south, east, north) = outline.centroid, outline.bounds
    across = (east - west) * math.cos(math.radians(middle.y))
    return (middle.x + 180) % 360 - 180, middle.y, math.hypot(across, north - south) * METRES_PER_DEGREE


def _is_false(boxes: list | dict) -> bool:
    # The full files begin with the detected box, ID -1; the boxes that people confirmed follow.
    try:
        kinds = [box["category"] for box in (boxes if isinstance(boxes, list) else [boxes]) if box["ID"] != -1]
    except (KeyError, TypeError) as error:
        key = error.args[0] if isinstance(error, KeyError) else "category' and 'ID"
        raise UserError(f"a box of 'bounding_boxes' has no '{key}'") from error
    return all(kind == FALSE_DETECTION for kind in kinds)


class _Folder(NamedTuple):
    """A folder with the views of one place, and the folder of their JSON files."""

    name: str  # relative to the root, '/' between folders
    category: str
    images: Path
    truth: Path


@dataclass(frozen=True)
class _Release:
    """The folders on disk."""

    root: Path
    folders: tuple[str, ...]
    truth: Path  # where groundtruth.tar.bz2 was unpacked
    places_of: dict[str, dict[str, str]]  # of test and seq: number of the folder -> category/place
    categories: tuple[str, ...]
    with_false: bool

    @classmethod
    def find(cls, where: Path, asked: list[str] | None, with_false: bool) -> _Release:
        """Look at the upper folders only."""
        present = [name for name in SIDES if (where / name).is_dir()]
        root = where
        if not present and where.resolve().name in SIDES and where.is_dir():
            root, name = where.resolve().parent, where.resolve().name
            present, asked = [name], asked or [name]
        missing = [name for name in asked or ["train", "val", "test"] if name not in present]
        if not present or (asked and missing):
            raise UserError(f"{where}: has no folder {missing[0]}, which fMoW-rgb has")
        folders = tuple(name for name in SIDES if name in (asked or ("train", "val", "test")) and name in present)
        truth = root / "groundtruth" if (root / "groundtruth").is_dir() else root
        places_of = {name: _read_mapping(truth, name) for name in folders if SIDES[name] == "test"}
        categories = {place.split("/")[0] for places in places_of.values() for place in places.values()}
        for name in folders:
            categories |= {first for first in subfolders(root / name) if any(subfolders(root / name / first))}
        if not with_false:
            categories.discard(FALSE_DETECTION)
        return cls(root, folders, truth, places_of, tuple(sorted(categories)), with_false)

    def rows(self, tally: Tally) -> Iterator[dict[str, Any]]:
        """One row per image, see ``core.sources.image_list.LISTING``; one folder in memory at a time."""
        for name in self.folders:
            for folder in self._places(name, tally):
                for image, view in self._views(folder, tally):
                    yield {
                        "path": f"{folder.name}/{image}", "place": folder.name, "datetime": view.datetime,
                        "lon": view.lon, "lat": view.lat, "reach_m": view.reach_m,
                        "label": self.categories.index(folder.category), "split": SIDES[name],
                    }  # fmt: skip

    def _places(self, side: str, tally: Tally) -> Iterator[_Folder]:
        for first in subfolders(self.root / side):
            places = list(subfolders(self.root / side / first))
            for place in places:
                name = f"{side}/{first}/{place}"
                truth = self.truth / name
                yield _Folder(name, first, self.root / name, truth if truth.is_dir() else self.root / name)
            if places:
                continue
            # A place of test or seq, whose category only the ground truth has.
            known, name = self.places_of.get(side, {}).get(first), f"{side}/{first}"
            if known is not None:
                yield _Folder(name, known.split("/")[0], self.root / name, self.truth / f"{side}_gt" / known)
            elif any(file.endswith(_SUFFIX) for file in os.listdir(self.root / name)):
                tally.drop(
                    f"places of {side} that {side}_gt_mapping.json does not name (in groundtruth.tar.bz2: without it "
                    "they have neither category nor coordinates)"
                )

    def _views(self, folder: _Folder, tally: Tally) -> Iterator[tuple[str, View]]:
        names = set(os.listdir(folder.images))
        images = sorted(name for name in names if name.endswith(_SUFFIX))
        if folder.category == FALSE_DETECTION and not self.with_false:
            tally.drop("images of false_detection", len(images))
            return
        for name in sorted(names):
            if name.endswith("_rgb.json") and name.removesuffix(".json") + ".jpg" not in names:
                tally.skip(f"{folder.name}/{name}", "its image is missing")
        for name in images:
            # In test_gt the files have the place's name instead of the number.
            view_name = name.removeprefix(folder.images.name).removesuffix(".jpg")
            path = folder.truth / f"{folder.truth.name}{view_name}.json"
            try:
                view = View.read(path)
            except FileNotFoundError:
                tally.skip(f"{folder.name}/{name}", f"its JSON file {path.name} is missing")
            except (UserError, OSError) as error:
                tally.skip(path.relative_to(self.root).as_posix(), str(error))
            else:
                if view.false and not self.with_false:
                    tally.drop("images whose boxes are all false detections")
                else:
                    yield name, view


def _read_mapping(truth: Path, folder: str) -> dict[str, str]:
    """Of test or seq: which numbered folder is which category/place; empty if it was not unpacked."""
    path = truth / f"{folder}_gt_mapping.json"
    if not path.exists():
        return {}
    try:
        pairs = json.loads(path.read_bytes())
        return {pair["output"].split("/")[1]: pair["input"].split("/", 1)[1] for pair in pairs}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            f"{path}: is not a list of objects with 'input' (test_gt/category/place) and 'output' (test/number), as "
            "published; unpack groundtruth.tar.bz2 again"
        ) from error
