"""Labels of object detection: COCO JSON and xView's GeoJSON, reduced to boxes by image."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import UserError
from core.imagery.dates import iso_date
from core.imagery.labels import legend_of
from core.store.build import Tally
from core.store.read import LandClass

UNKNOWN = (math.nan, math.nan)
# Keys of COCO and xView that are read.
_USED = frozenset(
    (
        *("info", "description", "licenses", "name", "images", "id", "file_name", "width", "height", "date_captured"),
        *("annotations", "image_id", "category_id", "bbox", "iscrowd", "categories"),
        *("features", "properties", "type_id", "bounds_imcoords", "geometry"),
    )
)
XVIEW_GSD = 0.3  # metres, of WorldView-3; Lam et al. 2018
XVIEW_NO_CLASS = (75, 82)  # type_ids of the published file that are not in the published list of classes
# type_id: name, as in xView's list of classes (xview_class_labels.txt).
XVIEW_CLASSES = {
    11: "Fixed-wing Aircraft", 12: "Small Aircraft", 13: "Cargo Plane", 15: "Helicopter", 17: "Passenger Vehicle",
    18: "Small Car", 19: "Bus", 20: "Pickup Truck", 21: "Utility Truck", 23: "Truck", 24: "Cargo Truck",
    25: "Truck w/Box", 26: "Truck Tractor", 27: "Trailer", 28: "Truck w/Flatbed", 29: "Truck w/Liquid",
    32: "Crane Truck", 33: "Railway Vehicle", 34: "Passenger Car", 35: "Cargo Car", 36: "Flat Car", 37: "Tank car",
    38: "Locomotive", 40: "Maritime Vessel", 41: "Motorboat", 42: "Sailboat", 44: "Tugboat", 45: "Barge",
    47: "Fishing Vessel", 49: "Ferry", 50: "Yacht", 51: "Container Ship", 52: "Oil Tanker",
    53: "Engineering Vehicle", 54: "Tower crane", 55: "Container Crane", 56: "Reach Stacker",
    57: "Straddle Carrier", 59: "Mobile Crane", 60: "Dump Truck", 61: "Haul Truck", 62: "Scraper/Tractor",
    63: "Front loader/Bulldozer", 64: "Excavator", 65: "Cement Mixer", 66: "Ground Grader", 71: "Hut/Tent",
    72: "Shed", 73: "Building", 74: "Aircraft Hangar", 76: "Damaged Building", 77: "Facility",
    79: "Construction Site", 83: "Vehicle Lot", 84: "Helipad", 86: "Storage Tank", 89: "Shipping container lot",
    91: "Shipping Container", 93: "Pylon", 94: "Tower",
}  # fmt: skip


class _Entry(NamedTuple):
    """One box: xmin, ymin, xmax, ymax, or None if these are not four finite numbers; lonlat of its centre."""

    image: Hashable
    type: Hashable  # in the labels' own numbering; None for no class
    box: tuple[float, float, float, float] | None
    lonlat: tuple[float, float] = UNKNOWN


class LabelledImage(NamedTuple):
    """An image as the labels describe it; ``shape`` is (height, width) in px, where stated."""

    path: str
    datetime: datetime | None = None
    shape: tuple[int, int] | None = None


@dataclass(frozen=True)
class ObjectLabels:
    """A file of labels, by the keys of the images.

    Attributes:
        objects: (N, 7) xmin, ymin, xmax, ymax, class number, and longitude and latitude of the centre, NaN where unknown.
    """

    images: dict[Hashable, LabelledImage]
    objects: dict[Hashable, np.ndarray]
    classes: tuple[LandClass, ...]
    provenance: str
    license: str = ""
    gsd: float | None = None


def read_labels(path: Path, tally: Tally) -> ObjectLabels:
    """Read COCO JSON or xView's GeoJSON; ``tally`` counts what cannot be used.

    Raises:
        UserError: it is neither, or lacks a required key.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            table = json.load(file, object_hook=_lighter)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; --labels names the COCO JSON or xView GeoJSON") from error
    except ValueError as error:
        raise UserError(f"{path}: is no complete JSON ({error}); download it again") from error
    if isinstance(table, dict) and isinstance(table.get("features"), list):
        return _read_xview(path, table["features"], tally)
    if isinstance(table, dict) and {"images", "annotations", "categories"} & set(table):
        return _read_coco(path, table, tally)
    raise UserError(
        f"{path}: is neither COCO JSON (an object with 'images', 'annotations' and 'categories') nor xView's GeoJSON "
        "(an object with 'features')"
    )


def _lighter(entry: dict) -> object:
    """While parsing, keep of an object only what is used later: outlines are most of such files."""
    if entry.get("type") == "Polygon" and "coordinates" in entry:
        return _centre(entry["coordinates"])
    return {key: value for key, value in entry.items() if key in _USED}


def _need(entry: object, keys: tuple[str, ...], where: str) -> dict:
    """The entry itself, which has these keys."""
    if not isinstance(entry, dict):
        raise UserError(f"{where} is no JSON object; export the labels again")
    for key in keys:
        if key not in entry:
            raise UserError(f"{where} has no '{key}'; export the labels with that key")
        if key.endswith("id") and not isinstance(entry[key], (int, str)):
            raise UserError(f"{where}: its '{key}' is neither a number nor text; export the labels again")
    return entry


def _entries(path: Path, table: dict, name: str, *keys: str) -> Iterator[dict]:
    """The entries of one of COCO's lists, which have these keys."""
    for number, entry in enumerate(table[name]):
        yield _need(entry, keys, f"{path}: entry {number} of '{name}'")


def _read_coco(path: Path, table: dict, tally: Tally) -> ObjectLabels:
    _need(table, ("images", "annotations", "categories"), str(path))
    for name in ("images", "annotations", "categories"):
        if not isinstance(table[name], list):
            raise UserError(f"{path}: its '{name}' is no list; export the labels again")
    about = table.get("info")
    description = about.get("description", "") if isinstance(about, dict) else ""
    licenses = table["licenses"] if isinstance(table.get("licenses"), list) else []
    terms = [str(entry.get("name", "")) for entry in licenses if isinstance(entry, dict)]
    images, classes = _coco_images(path, table, tally), _coco_classes(path, table)
    objects = _by_image(path, _coco_boxes(path, table, tally), images, classes, tally)
    provenance = ": ".join(filter(None, [path.name, str(description or "")]))
    return ObjectLabels(images, objects, classes, provenance, ", ".join(dict.fromkeys(filter(None, terms))))


def _coco_classes(path: Path, table: dict) -> tuple[LandClass, ...]:
    names: dict[int, str] = {}
    for category in _entries(path, table, "categories", "id", "name"):
        if category["id"] in names:
            raise UserError(f"{path}: two categories have the id {category['id']}; ids must differ")
        if not isinstance(category["id"], int):
            raise UserError(f"{path}: the category id '{category['id']}' is no whole number")
        names[category["id"]] = str(category["name"])
    return legend_of(names)


def _coco_images(path: Path, table: dict, tally: Tally) -> dict[Hashable, LabelledImage]:
    images: dict[Hashable, LabelledImage] = {}
    for image in _entries(path, table, "images", "id", "file_name"):
        if image["id"] in images:
            raise UserError(f"{path}: two images have the id {image['id']}; ids must differ")
        height, width = image.get("height"), image.get("width")
        shape = None
        if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0:  # some write 0 for unknown
            shape = height, width
        images[image["id"]] = LabelledImage(str(image["file_name"]), _date(image.get("date_captured"), tally), shape)
    names = Counter(image.path for image in images.values()).most_common(1)
    if names and names[0][1] > 1:
        raise UserError(f"{path}: two images have the file_name {names[0][0]}; merge their annotations under one id")
    return images


def _coco_boxes(path: Path, table: dict, tally: Tally) -> Iterator[_Entry]:
    for annotation in _entries(path, table, "annotations", "image_id", "category_id", "bbox"):
        if annotation.get("iscrowd"):
            tally.drop("boxes around crowds of objects (iscrowd)")
            continue
        box = _four(annotation["bbox"])
        if box:
            x, y, width, height = box
            box = (x, y, x + width, y + height)
        yield _Entry(annotation["image_id"], annotation["category_id"], box)


def _read_xview(path: Path, features: list, tally: Tally) -> ObjectLabels:
    entries = list(_xview_boxes(path, features, tally))
    images: dict[Hashable, LabelledImage] = {e.image: LabelledImage(str(e.image)) for e in entries}
    classes = legend_of(XVIEW_CLASSES)
    objects = _by_image(path, iter(entries), images, classes, tally)
    return ObjectLabels(images, objects, classes, f"{path.name}: xView (Lam et al. 2018)", gsd=XVIEW_GSD)


def _xview_boxes(path: Path, features: list, tally: Tally) -> Iterator[_Entry]:
    for number, entry in enumerate(features):
        where, keys = f"{path}: feature {number}", ("image_id", "type_id", "bounds_imcoords")
        feature = _need(entry, ("properties",), where)
        properties = _need(feature["properties"], keys, f"{where}: its 'properties'")
        try:
            type_id: Hashable = int(properties["type_id"])
        except ValueError:
            type_id = properties["type_id"]
        if type_id in XVIEW_NO_CLASS:
            tally.drop(f"boxes of type_id {type_id}, which is no class of xView")
            type_id = None  # its image is listed through it nevertheless
        box, geometry = _four(properties["bounds_imcoords"]), feature.get("geometry")
        yield _Entry(str(properties["image_id"]), type_id, box, geometry if isinstance(geometry, tuple) else UNKNOWN)


def _by_image(
    path: Path,
    entries: Iterator[_Entry],
    images: dict[Hashable, LabelledImage],
    classes: tuple[LandClass, ...],
    tally: Tally,
) -> dict[Hashable, np.ndarray]:
    """``ObjectLabels.objects``."""
    numbers: dict[Hashable, int] = {entry.value: number for number, entry in enumerate(classes)}
    unknown: Counter[tuple[str, str]] = Counter()
    objects = defaultdict(list)
    for image, type_id, box, lonlat in entries:
        if image not in images:
            unknown[f"image_id {image}", "is not in 'images'"] += 1
        elif type_id is None:
            continue
        elif type_id not in numbers:
            unknown[f"class {type_id}", "is not in the list of classes"] += 1
        elif box is None:
            tally.drop("boxes that are not four numbers")
        elif box[0] >= box[2] or box[1] >= box[3]:
            tally.drop("boxes without width or height")
        else:
            objects[image].append((*box, numbers[type_id], *lonlat))
    for (name, why), count in unknown.items():
        tally.skip(f"{path}: {name}", f"{why}, so {count} of its boxes cannot be used")
    return {key: np.array(rows) for key, rows in objects.items()}


def _four(values: object) -> tuple[float, float, float, float] | None:
    """Four finite numbers from a list or comma-separated text."""
    if isinstance(values, str):
        values = values.split(",")
    if not isinstance(values, list) or len(values) != 4:
        return None
    try:
        a, b, c, d = (float(value) for value in values)
    except (TypeError, ValueError):
        return None
    return (a, b, c, d) if math.isfinite(a + b + c + d) else None


def _centre(polygon: object) -> tuple[float, float]:
    """Centre of a GeoJSON polygon's bounds, lon and lat; NaN if it is no polygon."""
    try:
        lon, lat = ([float(point[axis]) for point in polygon[0]] for axis in (0, 1))  # type: ignore[index]
        return (min(lon) + max(lon)) / 2, (min(lat) + max(lat)) / 2
    except (TypeError, KeyError, IndexError, ValueError):
        return UNKNOWN


def _date(text: object, tally: Tally) -> datetime | None:
    """COCO's date_captured: ISO 8601, UTC where no zone is given; some exporters write 0 or nothing for unknown."""
    if not text:
        return None
    try:
        return iso_date(str(text).replace("/", "-"))
    except ValueError:
        tally.drop("dates (date_captured) that are not like 2024-06-30 or 2024-06-30 12:00:00")
        return None
