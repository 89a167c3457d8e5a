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
from typing import Any
from urllib.parse import quote

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

SHORT_NAMES = {
    "earth-search": "https://earth-search.aws.element84.com/v1",
    "planetary-computer": "https://planetarycomputer.microsoft.com/api/stac/v1",
}
CLOUD = "eo:cloud_cover"
_PAGE = 100  # items per page: servers refuse answers that are too large
_TIMEOUT_S = (20, 60)  # to connect, and between bytes
_RETRY_STATUS = (429, 500, 502, 503, 504)
_LISTING = pa.schema({**{side: pa.float64() for side in ("west", "south", "east", "north")}, "item": pa.large_string()})
# What pystac raises for JSON that is no STAC.
_NOT_STAC = (STACError, KeyError, TypeError, ValueError, AttributeError, ShapelyError)


@dataclass(frozen=True)
class Patience:
    """Attempts per request, and the first pause between them in seconds; each pause doubles the last."""

    tries: int = 6
    pause_s: float = 1.0


@dataclass(frozen=True)
class Query:
    """Which scenes to find.

    Attributes:
        collection: its id.
        first: day, UTC.
        last: day, UTC; included.
        max_cloud: percent of a scene; scenes that state no cloud cover (such as radar) pass.
    """

    collection: str
    first: date
    last: date
    max_cloud: float = 100.0


@dataclass(frozen=True, eq=False)
class Scene:
    """An item of a catalogue.

    Attributes:
        id: unique in its collection.
        time: of the acquisition, UTC.
        cloud: percent, None where not stated.
        footprint: longitude and latitude.
        item: as JSON.
    """

    id: str
    time: datetime
    cloud: float | None
    footprint: shapely.Geometry
    item: dict[str, Any]


@dataclass(frozen=True)
class Api:
    """The search of a STAC API.

    Attributes:
        address: of the catalogue, for people.
        search: address of its search.
        method: POST or GET.
        by_cloud: the server can leave out cloudy scenes.
        patience: with it.
    """

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
    """The items of a static catalogue, in a Parquet file with their bounding boxes.

    Attributes:
        address: of the catalogue, for people.
        digest: checksum of the file.
        path: of it.
    """

    address: str
    digest: str
    path: Path = field(repr=False)

    def items(self, query: Query, area: shapely.Geometry | None) -> Iterator[dict[str, Any]]:
        """Items as JSON; those of other dates were left out when they were listed."""
        if area is None:
            for batch in pq.ParquetFile(self.path).iter_batches(_PAGE, columns=["item"]):
                yield from map(json.loads, batch.column(0).to_pylist())
            return
        filters = [
            [("west", "<=", east), ("east", ">=", west), ("south", "<=", north), ("north", ">=", south)]
            for west, south, east, north in shapely.bounds(shapely.get_parts(area)).tolist()
        ]
        yield from map(json.loads, pq.read_table(self.path, columns=["item"], filters=filters)["item"].to_pylist())


@dataclass(frozen=True, eq=False)
class Opened:
    """A collection of a catalogue.

    Attributes:
        catalogue: to query for scenes.
        collection: its description as JSON.
        example: an item of the queried dates, as JSON.
        bad: items that cannot be read, with the reason.
    """

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

    Args:
        name: URL of a STAC API, URL or file of a static catalogue, or one of ``SHORT_NAMES``.
        query: collection and dates.
        scratch: folder for the listing of a static catalogue.
        patience: with the server.

    Raises:
        UserError: the catalogue does not answer or is invalid; it has no such collection, or no scene of these dates.
    """
    address = SHORT_NAMES.get(name, name)
    if "://" not in address:
        address = str(Path(address).absolute())
    io = RetryingIO(patience)
    try:
        root = _read(io, address)
        searches = {link.get("method", "GET"): link["href"] for link in root["links"] if link["rel"] == "search"}
        if not searches:
            return _open_static(io, address, root, query, scratch)
        return _open_api(io, address, root, searches, query)
    except (APIError, OSError, *_NOT_STAC) as error:
        raise UserError(f"{address}: {reason(error)}; check the address of the catalogue") from error


def _open_api(io: RetryingIO, address: str, root: dict, searches: dict[str, str], query: Query) -> Opened:
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
    api = Api(address, search, method, False, io.patience)
    example = _example(api, query)
    can_filter = any(name.endswith("item-search#query") for name in root.get("conformsTo", ()))
    api = Api(address, search, method, can_filter and CLOUD in example["properties"], io.patience)
    return Opened(api, collection, example)


def _open_static(io: RetryingIO, address: str, root: dict, query: Query, scratch: Path) -> Opened:
    walk = _Walk(io, query.collection)
    path = scratch / "items.parquet"
    with pq.ParquetWriter(path, _LISTING) as writer:
        rows = (row for item in walk.items(address, root) for row in _listed(item, query))
        while batch := list(islice(rows, 10 * _PAGE)):
            writer.write_table(pa.Table.from_pylist(batch, _LISTING))
    if walk.collection is None:
        raise _unknown(address, query.collection, walk.names)
    listing = Listing(address, sha256(path), path)
    return Opened(listing, walk.collection, _example(listing, query), tuple(walk.bad))


class _Walk:
    """Follows the links of a static catalogue to the items of one collection."""

    def __init__(self, io: RetryingIO, collection: str) -> None:
        self.io, self.id = io, collection
        self.names: list[str] = []
        self.collection: dict[str, Any] | None = None
        self.bad: list[tuple[str, str]] = []
        self.seen: set[str] = set()  # of catalogues, not of items, of which there may be millions

    def items(self, address: str, document: dict[str, Any], inside: bool = False) -> Iterator[dict[str, Any]]:
        """Items as JSON, with absolute addresses of their files."""
        self.seen.add(address)
        self.names.append(str(document["id"]))
        if document["id"] == self.id:
            self.collection, inside = document, True
        for link in document["links"]:
            target = make_absolute_href(link["href"], address, start_is_dir=False)
            if target in self.seen or link["rel"] not in ("child", "item"):
                continue
            if link["rel"] == "child":
                child = self._try(target, lambda content, _: content)
                if child is not None:
                    yield from self.items(target, child, inside)
            elif inside:
                item = self._try(target, _absolute_item)
                if item is not None:
                    yield item

    def _try(self, target: str, use: Any) -> dict[str, Any] | None:
        try:
            return use(_read(self.io, target), target)
        except (APIError, OSError, *_NOT_STAC) as error:
            self.bad.append((target, reason(error)))
            return None


def _absolute_item(content: dict[str, Any], address: str) -> dict[str, Any]:
    item = pystac.Item.from_dict(content, href=address)
    item.make_asset_hrefs_absolute()
    to_scene(item.to_dict(include_self_link=False, transform_hrefs=False))  # raises if something is missing
    return item.to_dict(include_self_link=False, transform_hrefs=False)


def _listed(item: dict[str, Any], query: Query) -> Iterator[dict[str, Any]]:
    """The row of an item; none if its date is outside the query."""
    scene = to_scene(item)
    if query.first <= scene.time.date() <= query.last:
        box = dict(zip(("west", "south", "east", "north"), scene.footprint.bounds))
        yield {**box, "item": json.dumps(item, sort_keys=True)}


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


def find_scenes(catalogue: Api | Listing, query: Query, area: shapely.Geometry, assets: set[str]) -> list[Scene]:
    """The scenes that overlap an area, in the order of their times and ids.

    Args:
        catalogue: to query.
        query: which scenes.
        area: polygons in degrees, none of them across the antimeridian.
        assets: to keep of each item; a place may have hundreds of items.

    Raises:
        UserError: the catalogue does not answer, or not with STAC items.
    """
    scenes: dict[str, Scene] = {}
    try:
        for item in catalogue.items(query, area):
            scene = to_scene(item)
            clear = scene.cloud is None or scene.cloud <= query.max_cloud
            in_time = query.first <= scene.time.date() <= query.last
            if clear and in_time and scene.footprint.intersection(area).area > 0:
                kept = {name: asset for name, asset in item["assets"].items() if name in assets}
                scenes[scene.id] = replace(scene, item={**item, "assets": kept, "links": []})
    except (APIError, OSError, *_NOT_STAC) as error:
        raise UserError(f"{catalogue.address}: {reason(error)}") from error
    return sorted(scenes.values(), key=lambda scene: (scene.time, scene.id))


def to_scene(item: dict[str, Any]) -> Scene:
    """Read an item.

    Raises:
        KeyError: something is missing.
        ValueError: it has no time, or no footprint.
        TypeError: its time or footprint has another type.
    """
    properties = item["properties"]
    text = properties.get("datetime") or properties.get("start_datetime")
    if not text:
        raise ValueError(f"the item {item['id']} has no datetime")
    footprint = shape(item["geometry"]) if item.get("geometry") else shapely.box(*_flat(item["bbox"]))
    moment = str_to_datetime(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    cloud = properties.get(CLOUD)
    if not isinstance(item["assets"], dict):
        raise ValueError(f"the item {item['id']} has no assets")
    return Scene(str(item["id"]), moment, None if cloud is None else float(cloud), shapely.make_valid(footprint), item)


def _flat(bbox: list[float]) -> list[float]:
    """West, south, east, north, also of a box with heights."""
    return bbox if len(bbox) == 4 else [*bbox[:2], *bbox[3:5]]


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
