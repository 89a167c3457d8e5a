"""STAC catalogues: the scenes of a collection that overlap an area. Reads no pixels.

An API is queried area by area; a static catalogue (files that link to each other) is crawled once and listed.
Requests are repeated with growing pauses, and after the time that a server asks for, before they count as failed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pystac
import shapely
from pystac.errors import STACError
from pystac.utils import make_absolute_href, str_to_datetime
from pystac_client import ItemSearch
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from shapely.errors import ShapelyError
from shapely.geometry import mapping, shape
from urllib3.util import Retry

from core.errors import UserError, first_line
from core.files import sha256
from export.rasterio_io.polygons import around, cut_at_antimeridian

SHORT_NAMES = {
    "earth-search": "https://earth-search.aws.element84.com/v1",
    "planetary-computer": "https://planetarycomputer.microsoft.com/api/stac/v1",
}
CLOUD = "eo:cloud_cover"
_PAGE = 100  # items per page: servers refuse answers that are too large
_TIMEOUT_S = (20, 60)  # to connect, and between bytes
_RETRY_STATUS = (429, 500, 502, 503, 504)
_SIDES = ("west", "south", "east", "north")
_LISTING = pa.schema({**dict.fromkeys(_SIDES, pa.float64()), "item": pa.large_string()})
# No answer, no file, or what pystac raises for JSON that is no STAC.
_UNREADABLE = (APIError, OSError, STACError, KeyError, TypeError, ValueError, AttributeError, ShapelyError)


@dataclass(frozen=True)
class Patience:
    """Attempts per request, and the first pause between them in seconds; each pause doubles the last."""

    tries: int = 6
    pause_s: float = 1.0


@dataclass(frozen=True, eq=False)
class CatalogueScene:
    """An item of a catalogue, as JSON: acquired at ``time``, UTC; ``cloud`` in percent; footprint in degrees."""

    id: str
    time: datetime
    cloud: float | None
    footprint: shapely.Geometry
    item: dict[str, Any]


@dataclass(frozen=True)
class Query:
    """Which scenes to find, by days in UTC and cloud in percent; those that state none (such as radar) pass."""

    collection: str
    first: date
    last: date
    max_cloud: float = 100.0

    def has_dates_of(self, scene: CatalogueScene) -> bool:
        """Whether the scene is of the queried days."""
        return self.first <= scene.time.date() <= self.last


@dataclass(frozen=True)
class Api:
    """The search of a STAC API; ``by_cloud``: the server can leave out cloudy scenes."""

    address: str
    search: str = field(repr=False)
    method: str = field(repr=False)
    by_cloud: bool = field(repr=False)
    patience: Patience = field(repr=False)

    def items(self, query: Query, area: shapely.Geometry | None) -> Iterator[dict[str, Any]]:
        """Items as JSON, page by page."""
        where: dict[str, Any] = {}
        if area is not None:  # an area across the antimeridian has two parts, for which no bbox exists
            where = {"bbox": area.bounds} if area.geom_type == "Polygon" else {"intersects": mapping(area)}
        if self.by_cloud:
            where["query"] = {CLOUD: {"lte": query.max_cloud}}
        yield from ItemSearch(
            self.search,
            method=self.method,
            stac_io=RetryingIO(self.patience),
            collections=[query.collection],
            datetime=f"{query.first}/{query.last}",
            limit=_PAGE,
            **where,
        ).items_as_dicts()


@dataclass(frozen=True)
class Listing:
    """The items of a static catalogue at the queried dates, in a Parquet file with their bounding boxes."""

    address: str
    digest: str
    path: Path = field(repr=False)

    def items(self, query: Query, area: shapely.Geometry | None) -> Iterator[dict[str, Any]]:
        """Items as JSON."""
        if area is None:
            for batch in pq.ParquetFile(self.path).iter_batches(_PAGE, columns=["item"]):
                yield from map(json.loads, batch.column(0).to_pylist())
            return
        filters = [
            [("west", "<=", east), ("east", ">=", west), ("south", "<=", north), ("north", ">=", south)]
            for west, south, east, north in shapely.bounds(shapely.get_parts(area)).tolist()
        ]
        yield from map(json.loads, pq.read_table(self.path, columns=["item"], filters=filters)["item"].to_pylist())


class Opened(NamedTuple):
    """A collection of a catalogue and one of its scenes at the queried dates, as JSON; items that cannot be read."""

    catalogue: Api | Listing
    collection: dict[str, Any]
    example: dict[str, Any]
    bad: tuple[tuple[str, str], ...] = ()


class RetryingIO(StacApiIO):
    """Reads JSON over HTTP or from disk; repeats requests that are refused, time out, are cut off or are no JSON."""

    def __init__(self, patience: Patience) -> None:
        retry = Retry(
            status=patience.tries - 1,
            connect=0,  # without an answer request() repeats
            read=0,
            status_forcelist=_RETRY_STATUS,
            allowed_methods=None,  # POST too: a search has no side effects
            backoff_factor=patience.pause_s / 2,  # urllib3 pauses factor * 2^n, but not before the first repeat
            raise_on_status=False,
        )
        super().__init__(timeout=_TIMEOUT_S, max_retries=retry)
        self.patience = patience

    def request(self, *args: Any, **kwargs: Any) -> str:
        """Answer of a request, as text that holds JSON.

        Raises:
            APIError: there is none, with the status code if there was one.
            ValueError: it is no JSON.
        """
        for attempt in range(self.patience.tries):
            try:
                text = super().request(*args, **kwargs)
                json.loads(text)
                return text
            except (APIError, ValueError) as error:
                refused = getattr(error, "status_code", None) is not None  # repeated already
                if refused or attempt == self.patience.tries - 1:
                    raise
                time.sleep(self.patience.pause_s * 2**attempt)
        raise AssertionError("tries is at least 1")


def open_collection(name: str, query: Query, scratch: Path, patience: Patience) -> Opened:
    """Find a collection in a catalogue, and one scene of it as an example.

    ``name`` is one of ``SHORT_NAMES``, the URL of a STAC API, or the URL or file of a static catalogue, whose listing
    goes to ``scratch``.

    Raises:
        UserError: the catalogue does not answer or is invalid; it has no such collection, or no scene of these dates.
    """
    address = SHORT_NAMES.get(name, name)
    if "://" not in address:
        address = str(Path(address).absolute())
    io = RetryingIO(patience)
    try:
        root = _read(io, address)
        if any(link["rel"] == "search" for link in root["links"]):
            return _open_api(io, address, root, query)
        return _open_static(io, address, root, query, scratch)
    except _UNREADABLE as error:
        raise UserError(f"{address}: {reason(error)}; check the address of the catalogue") from error


def _open_api(io: RetryingIO, address: str, root: dict[str, Any], query: Query) -> Opened:
    searches = {link.get("method", "GET"): link["href"] for link in root["links"] if link["rel"] == "search"}
    method = "POST" if "POST" in searches else "GET"
    search = make_absolute_href(searches[method], address, start_is_dir=True)
    data = next((link["href"] for link in root["links"] if link["rel"] == "data"), f"{address}/collections")
    data = make_absolute_href(data, address, start_is_dir=True)
    try:
        collection = _read(io, f"{data}/{quote(query.collection)}")
    except APIError as error:
        if getattr(error, "status_code", None) != 404:
            raise
        names = [entry["id"] for page in io.get_pages(data) for entry in page["collections"]]
        raise _unknown(address, query.collection, names) from error
    example = _example(Api(address, search, method, False, io.patience), query)
    can_filter = any(name.endswith("item-search#query") for name in root.get("conformsTo", ()))
    by_cloud = can_filter and CLOUD in example["properties"]
    return Opened(Api(address, search, method, by_cloud, io.patience), collection, example)


def _open_static(io: RetryingIO, address: str, root: dict[str, Any], query: Query, scratch: Path) -> Opened:
    walk = _Walk(io, query)
    path = scratch / "items.parquet"
    with pq.ParquetWriter(path, _LISTING) as writer:
        rows = walk.rows(address, root)
        while batch := list(islice(rows, 10 * _PAGE)):
            writer.write_table(pa.Table.from_pylist(batch, _LISTING))
    if walk.collection is None:
        raise _unknown(address, query.collection, walk.names)
    listing = Listing(address, sha256(path), path)
    return Opened(listing, walk.collection, _example(listing, query), tuple(walk.bad))


class _Walk:
    """Follows the links of a static catalogue to the items of one collection."""

    def __init__(self, io: RetryingIO, query: Query) -> None:
        self.io, self.query = io, query
        self.names: list[str] = []
        self.collection: dict[str, Any] | None = None
        self.bad: list[tuple[str, str]] = []
        self.seen: set[str] = set()  # of catalogues, not of items, of which there may be millions

    def rows(self, address: str, document: dict[str, Any], inside: bool = False) -> Iterator[dict[str, Any]]:
        """Rows of ``_LISTING`` of the catalogue ``document`` and of those below it."""
        self.seen.add(address)
        self.names.append(str(document["id"]))
        if document["id"] == self.query.collection:
            self.collection, inside = document, True
        for link in document["links"]:
            target = make_absolute_href(link["href"], address, start_is_dir=False)
            if target in self.seen or link["rel"] not in (("child", "item") if inside else ("child",)):
                continue
            try:
                content = _read(self.io, target)
                row = _row(content, target, self.query) if link["rel"] == "item" else None
            except _UNREADABLE as error:
                self.bad.append((target, reason(error)))
                continue
            if link["rel"] == "child":
                yield from self.rows(target, content, inside)
            elif row is not None:
                yield row


def _row(content: dict[str, Any], address: str, query: Query) -> dict[str, Any] | None:
    """The row of an item, with absolute addresses of its files; None if its date is outside the query."""
    parsed = pystac.Item.from_dict(content, href=address)
    parsed.make_asset_hrefs_absolute()
    item = parsed.to_dict(include_self_link=False, transform_hrefs=False)
    scene = to_scene(item)
    if not query.has_dates_of(scene):
        return None
    return {**dict(zip(_SIDES, scene.footprint.bounds)), "item": json.dumps(item, sort_keys=True)}


def _read(io: RetryingIO, address: str) -> dict[str, Any]:
    document = io.read_json(address)
    if not isinstance(document, dict) or not isinstance(document.get("links"), list) or "id" not in document:
        raise ValueError("it has no id or no links")
    return document


def _example(catalogue: Api | Listing, query: Query) -> dict[str, Any]:
    item = next(iter(catalogue.items(query, None)), None)
    if item is None:
        raise UserError(
            f"{catalogue.address}: the collection {query.collection} has no scene from {query.first} to {query.last}; "
            "choose other --dates"
        )
    to_scene(item)
    return item


def _unknown(address: str, collection: str, names: Iterable[str]) -> UserError:
    known = sorted(names)
    return UserError(
        f"{address}: has no collection {collection}; it has {', '.join(known[:40])}{' and more' if len(known) > 40 else ''}"
    )


def find_scenes(
    catalogue: Api | Listing, query: Query, area: shapely.Geometry, assets: set[str]
) -> list[CatalogueScene]:
    """The scenes that overlap an area in degrees, in the order of their times and ids.

    No polygon of the area may cross the antimeridian. Only ``assets`` are kept: a place may have hundreds of items.

    Raises:
        UserError: the catalogue does not answer, or not with STAC items.
    """
    scenes: dict[str, CatalogueScene] = {}
    try:
        for item in catalogue.items(query, area):
            scene = to_scene(item)
            clear = scene.cloud is None or scene.cloud <= query.max_cloud
            if clear and query.has_dates_of(scene) and scene.footprint.intersection(area).area > 0:
                kept = {name: asset for name, asset in item["assets"].items() if name in assets}
                scenes[scene.id] = replace(scene, item={**item, "assets": kept, "links": []})
    except _UNREADABLE as error:
        raise UserError(f"{catalogue.address}: {reason(error)}") from error
    return sorted(scenes.values(), key=lambda scene: (scene.time, scene.id))


def to_scene(item: dict[str, Any]) -> CatalogueScene:
    """Read an item; raises something of ``_UNREADABLE`` if it is no STAC item."""
    properties = item["properties"]
    text = properties.get("datetime") or properties.get("start_datetime")
    if not text:
        raise ValueError(f"the item {item['id']} has no datetime")
    if item.get("geometry"):
        footprint = shape(item["geometry"])
    else:  # a box may have heights
        box = item["bbox"]
        west, south, east, north = box if len(box) == 4 else [*box[:2], *box[3:5]]
        footprint = shapely.box(west, south, east + 360 * (west > east), north)  # RFC 7946: across the antimeridian
    moment = str_to_datetime(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    cloud = properties.get(CLOUD)
    if not isinstance(item["assets"], dict):
        raise ValueError(f"the item {item['id']} has no assets")
    return CatalogueScene(str(item["id"]), moment, None if cloud is None else float(cloud), _on_earth(footprint), item)


def _on_earth(footprint: shapely.Geometry) -> shapely.Geometry:
    """A footprint within -180 to 180; sides of more than half a turn, as of a scene across the antimeridian, run the other way."""
    longest = max((np.abs(np.diff(np.array(ring.coords)[:, 0])).max() for ring in _rings(footprint)), default=0.0)
    if 180 < longest < 360:
        return shapely.union_all([around(part) for part in shapely.get_parts(footprint)])
    west, _, east, _ = footprint.bounds
    footprint = shapely.make_valid(footprint)
    return cut_at_antimeridian(footprint) if west < -180 or east > 180 else footprint


def _rings(footprint: shapely.Geometry) -> list[shapely.LinearRing]:
    return [part.exterior for part in shapely.get_parts(footprint) if part.geom_type == "Polygon" and not part.is_empty]


def reason(error: Exception) -> str:
    """Why a catalogue could not be read, one clause."""
    status = getattr(error, "status_code", None)
    if status is not None:
        return f"answers with the HTTP status {status}"
    if isinstance(error, APIError):
        return f"does not answer ({first_line(error)})"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, json.JSONDecodeError):
        return "does not answer with JSON"
    if isinstance(error, KeyError):
        return f"is no STAC catalogue (it has no {error})"
    return f"is no STAC catalogue ({first_line(error)})"
