"""The source ``fmow``: Functional Map of the World in its official layout, fMoW-rgb.

    DIR/{train,val}/<category>/<place>/<place>_<view>_rgb.jpg and ..._rgb.json
    DIR/{test,seq}/<number>/<number>_<view>_rgb.jpg and ..._rgb.json

During the challenge, coordinates were taken out of every JSON file, and of test and seq the categories too.
groundtruth.tar.bz2 brings them back: its train, val, test_gt and seq_gt hold the full JSON files, and
test_gt_mapping.json and seq_gt_mapping.json say which numbered folder is which place. Unpacked in DIR, it
replaces the bare files; unpacked in DIR/groundtruth, it is read from there.

Each image gives one chip: its centred square, scaled. The objects' bounding boxes are not cut out.

Source: https://github.com/fMoW/dataset (layout, keys, boxes as x, y, width, height, and what was taken out).
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from tqdm import tqdm

from core.errors import UserError
from core.imagery.tables import check_size, legend_of
from core.sources.images import ImageList, Images
from core.store.read import LandClass
from core.store.sphere import METRES_PER_DEGREE

# The side that each folder of the release becomes. "seq" was held back for the last round of the challenge: it
# is more test data, and results are published without it, so it comes in only when asked for.
SIDES = {"train": "train", "val": "val", "test": "test", "seq": "test"}
FALSE_DETECTION = "false_detection"
_SUFFIX = "_rgb.jpg"  # "_msrgb.jpg" shows the same scene, without the panchromatic band's sharpness
_LICENSE = "Functional Map of the World Challenge Public License"


def add_parser(sources: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add the sub-command to the command line."""
    parser = sources.add_parser(
        "fmow",
        help="Functional Map of the World, as published (fMoW-rgb)",
        description="Chips of fMoW-rgb: one an image, the centred square scaled to --size. Coordinates and the "
        "categories of test and seq were published apart: unpack groundtruth.tar.bz2 in DIR, or in DIR/groundtruth.",
    )
    parser.add_argument("dir", type=Path, metavar="DIR", help="the folder with train, val, test; or one of these")
    parser.add_argument("--size", type=int, required=True, metavar="PX", help="rows = columns of a chip")
    parser.add_argument(
        "--folders", nargs="+", choices=SIDES, metavar="NAME",
        help="which of train, val, test and seq to take (default: train, val and test, where they are there; seq becomes test)",
    )  # fmt: skip
    parser.add_argument(
        "--with-false-detection", action="store_true", help="keep the 63rd category: nothing of interest is there"
    )
    parser.set_defaults(make=make)
    return parser


def make(arguments: argparse.Namespace, scratch: Path) -> ImageList:
    """List the images.

    Raises:
        UserError: the folder is not laid out as fMoW-rgb, or holds no image.
    """
    check_size(arguments.size)
    release = _Release.find(arguments.dir, arguments.folders, arguments.with_false_detection)
    return ImageList.of_rows(
        tqdm(release.rows(), desc="listing", unit="image"),
        scratch,
        release.root,
        Images(
            size=arguments.size,
            unit="8-bit values, 0 to 255",
            classes=release.legend(),
            provenance="Functional Map of the World (Christie et al., CVPR 2018), fMoW-rgb",
            license=_LICENSE,
        ),
        bad=release.bad,
        dropped=release.left_out,
    )


@dataclass(frozen=True)
class View:
    """What an image's JSON file says.

    Attributes:
        datetime: of the exposure, UTC.
        lon: degrees, WGS 84, of the centre of what the image shows.
        lat: likewise.
        reach_m: diagonal of what the image shows, metres on the ground.
        false: whether no box, other than the unconfirmed one of ID -1, holds anything of interest.
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
            UserError: a key is missing or makes no sense; without the file's name, which the caller knows.
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
        return cls(_time(_value(document, "timestamp", str)), lon, lat, reach_m, _is_false(boxes))


def _value(document: dict[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:
    if key not in document:
        hint = " (coordinates come with groundtruth.tar.bz2: unpack it there)" if key == "raw_location" else ""
        raise UserError(f"has no '{key}'{hint}")
    if not isinstance(document[key], kind):
        raise UserError(f"'{key}' is {json.dumps(document[key])[:60]}, which is not as published")
    return document[key]


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"'timestamp' is '{text}', no ISO 8601 time") from error
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


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
    # The full files begin with the box as found, ID -1; those that people confirmed follow.
    try:
        kinds = [box["category"] for box in (boxes if isinstance(boxes, list) else [boxes]) if box["ID"] != -1]
    except (KeyError, TypeError) as error:
        key = error.args[0] if isinstance(error, KeyError) else "category' and 'ID"
        raise UserError(f"a box of 'bounding_boxes' has no '{key}'") from error
    return all(kind == FALSE_DETECTION for kind in kinds)


@dataclass(frozen=True)
class _Place:
    """A folder of views of one place; where its JSON files are, and how their names begin."""

    name: str  # relative to the root, '/' between folders
    category: str
    folder: Path
    truth: Path


@dataclass(frozen=True)
class _Release:
    """The folders on disk, and what was left out of them."""

    root: Path
    folders: tuple[str, ...]
    truth: Path  # where groundtruth.tar.bz2 was unpacked
    places_of: dict[str, dict[str, str]]  # of test and seq: number of the folder -> category/place
    categories: tuple[str, ...]
    with_false: bool
    bad: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @classmethod
    def find(cls, where: Path, wanted: list[str] | None, with_false: bool) -> _Release:
        """Look at the upper folders only."""
        there = [name for name in SIDES if (where / name).is_dir()]
        root = where
        if not there and where.resolve().name in SIDES and where.is_dir():
            root, name = where.resolve().parent, where.resolve().name
            there, wanted = [name], wanted or [name]
        missing = [name for name in wanted or ["train", "val", "test"] if name not in there]
        if not there or (wanted and missing):
            raise UserError(f"{where}: fMoW-rgb's folder {missing[0]} was expected there")
        folders = tuple(name for name in SIDES if name in (wanted or ("train", "val", "test")) and name in there)
        truth = root / "groundtruth" if (root / "groundtruth").is_dir() else root
        places_of = {name: _read_mapping(truth, name) for name in folders if SIDES[name] == "test"}
        categories = {place.split("/")[0] for places in places_of.values() for place in places.values()}
        for name in folders:
            categories |= {entry.name for entry in _folders(root / name) if any(_folders(Path(entry)))}
        if not with_false:
            categories.discard(FALSE_DETECTION)
        return cls(root, folders, truth, places_of, tuple(sorted(categories)), with_false)

    def legend(self) -> tuple[LandClass, ...]:
        """Classes in the order of their names."""
        return legend_of(dict(enumerate(self.categories)))

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row an image, see ``core.sources.images.LISTING``; one folder in memory at a time."""
        for folder in self.folders:
            for place in self._places(folder):
                for image, view in self._views(place):
                    yield {
                        "path": f"{place.name}/{image}",
                        "place": place.name,
                        "datetime": view.datetime,
                        "lon": view.lon,
                        "lat": view.lat,
                        "reach_m": view.reach_m,
                        "label": self.categories.index(place.category),
                        "split": SIDES[folder],
                    }

    def _places(self, folder: str) -> Iterator[_Place]:
        for first in _folders(self.root / folder):
            inner = [entry.name for entry in _folders(Path(first))]
            for name in inner:
                place = f"{folder}/{first.name}/{name}"
                apart = self.truth / place
                yield _Place(place, first.name, self.root / place, apart if apart.is_dir() else self.root / place)
            if not inner:
                yield from self._numbered(folder, first.name)

    def _numbered(self, folder: str, number: str) -> Iterator[_Place]:
        """A place of test or seq, whose category stands in the ground truth only."""
        known = self.places_of.get(folder, {}).get(number)
        if known is not None:
            name = f"{folder}/{number}"
            yield _Place(name, known.split("/")[0], self.root / name, self.truth / f"{folder}_gt" / known)
        elif any(name.endswith(_SUFFIX) for name in os.listdir(self.root / folder / number)):
            self.left_out[
                f"places of {folder} that {folder}_gt_mapping.json does not name (of groundtruth.tar.bz2: without it "
                "they have neither category nor coordinates)"
            ] += 1

    def _views(self, place: _Place) -> Iterator[tuple[str, View]]:
        names = set(os.listdir(place.folder))
        images = sorted(name for name in names if name.endswith(_SUFFIX))
        if place.category == FALSE_DETECTION and not self.with_false:
            self.left_out["images of false_detection"] += len(images)
            return
        for name in sorted(names):
            if name.endswith("_rgb.json") and name.removesuffix(".json") + ".jpg" not in names:
                self.bad.append((f"{place.name}/{name}", "its image is missing"))
        for name in images:
            # Below test_gt the files bear the place's name instead of the number.
            path = place.truth / (
                place.truth.name + name.removeprefix(place.folder.name).removesuffix(".jpg") + ".json"
            )
            try:
                view = View.read(path)
            except FileNotFoundError:
                self.bad.append((f"{place.name}/{name}", f"its JSON file {path.name} is missing"))
            except (UserError, OSError) as error:
                self.bad.append((path.relative_to(self.root).as_posix(), str(error)))
            else:
                if view.false and not self.with_false:
                    self.left_out["images whose boxes are all false detections"] += 1
                else:
                    yield name, view


def _folders(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if entry.is_dir())


def _read_mapping(truth: Path, folder: str) -> dict[str, str]:
    """Of test or seq: which numbered folder is which category/place; empty where that was not unpacked."""
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
