"""``core.prepare stac``: chips from a STAC catalogue, at places that the user gives or that are drawn at random.

For each place the catalogue is queried for scenes; the least cloudy dates are taken, spread over the seasons,
and of each scene only the pixels of the chip are read.
"""

from __future__ import annotations

import argparse
import datetime as dt
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from core.errors import UserError
from core.files import sha256
from core.sources.options import add_options, check_positive, check_range, check_size
from core.sources.stac import assets
from core.sources.stac.catalogue import (
    SHORT_NAMES,
    Api,
    CatalogueScene,
    Listing,
    Opened,
    Patience,
    Query,
    find_scenes,
    open_collection,
)
from core.sources.stac.places import LISTING, read_places, sample_places
from core.sources.stac.reading import centre, chip_grid, configure, hides, load, stored_type
from core.store.build import SHARD_BYTES, Chip, Tally
from core.store.read import StoreInfo

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

RESAMPLING = ("nearest", "bilinear", "cubic", "average")
_PLACES_PER_SHARD = 16  # at most: a place takes seconds, and an interrupted run should lose little
_TRIES = 3  # dates tried for each one needed, where clouds or gaps leave too little
_YEAR_DAYS = 365.2425
_COVERED = 1 - 1e-6  # of a chip's area: footprints are rounded


@dataclass(frozen=True, eq=False)
class Day:
    """Scenes of one place on one solar day, the clearest first; ``cloud`` is of those that cover the chip."""

    date: dt.date
    cloud: float
    scenes: tuple[CatalogueScene, ...]


_CLEAREST_FIRST = attrgetter("cloud", "date")


@dataclass(frozen=True)
class StacSource:
    """The source.

    Attributes:
        per_place: dates per place.
        mask: asset of the cloud mask, or None.
        resampling: where the chip's grid is not the scene's.
        digest: checksum of the places.
        places: Parquet file of them, see ``core.sources.stac.places``.
        sign: see ``core.sources.stac.reading.load``.
        masked: assets whose files have masks, as those of the first scene show.
        bad: places and items that cannot be used.
        dropped: always empty; everything else is left out while reading.
    """

    info: StoreInfo
    catalogue: Api | Listing
    query: Query
    bands: tuple[assets.Band, ...]
    per_place: int
    min_valid: float
    mask: str | None
    resampling: str
    digest: str
    places: Path = field(repr=False)
    sign: str | None = field(repr=False, default=None)
    patience: Patience = field(repr=False, default=Patience())
    masked: tuple[str, ...] = field(repr=False, default=())
    bad: tuple[tuple[str, str], ...] = field(repr=False, default=())
    dropped: tuple[tuple[str, int], ...] = ()

    @property
    def tasks(self) -> range:
        """Numbers of the row groups of the places."""
        return range(pq.ParquetFile(self.places).metadata.num_row_groups)

    @property
    def _assets(self) -> dict[str, str]:
        """The names that odc-stac gives to the bands and the mask, with their assets."""
        return {band.key: band.asset for band in self.bands} | ({self.mask: self.mask} if self.mask else {})

    def chips(self, task: int, tally: Tally) -> Iterator[Chip]:
        """Fetch the chips of some places."""
        configure(self.patience)
        for row in pq.ParquetFile(self.places).read_row_group(task).to_pylist():
            yield from self._chips_of(row["place"], chip_grid(row["lon"], row["lat"], self.info), tally)

    def _chips_of(self, place: str, grid: GeoBox, tally: Tally) -> list[Chip]:
        area = shapely.make_valid(grid.extent.to_crs("EPSG:4326", wrapdateline=True).geom)
        names = set(self._assets.values())
        try:
            scenes = find_scenes(self.catalogue, self.query, area, names)
        except UserError as error:
            tally.skip(f"place {place}", str(error))
            return []
        complete = [scene for scene in scenes if scene.item["assets"].keys() == names]
        if len(complete) < len(scenes):
            tally.drop("scenes that lack a band", len(scenes) - len(complete))
        days = days_of(complete, centre(grid)[0], area, self.min_valid)
        if not days:
            tally.drop("places without a scene of these dates and this cloud cover")
            return []
        chips = self._pick(parts_of(days, self.query, self.per_place), lambda day: self._chip(place, day, grid, tally))
        if len(chips) < self.per_place:
            tally.drop(f"dates of places that have fewer than {self.per_place}", self.per_place - len(chips))
        return chips

    def _pick(self, parts: list[list[Day]], read: Callable[[Day], Chip | None]) -> list[Chip]:
        """The clearest day of each part of the year that gives a chip; then the clearest of all that are left."""
        chips: list[Chip] = []
        tried: set[dt.date] = set()

        def gives_chip(day: Day) -> bool:
            tried.add(day.date)
            if (chip := read(day)) is not None:
                chips.append(chip)
            return chip is not None

        for part in parts:
            any(gives_chip(day) for day in part[:_TRIES])
        left = sorted((d for part in parts for d in part if d.date not in tried), key=_CLEAREST_FIRST)
        for day in left[: _TRIES * (self.per_place - len(chips))]:
            if len(chips) == self.per_place:
                break
            gives_chip(day)
        return chips

    def _chip(self, place: str, day: Day, grid: GeoBox, tally: Tally) -> Chip | None:
        """Mosaic the scenes of a day, the clearest on top; None where too little is valid."""
        size = self.info.chip_size
        pixels = np.zeros((len(self.bands), size, size), self.info.dtype)
        valid = np.zeros((size, size), bool)
        used: list[CatalogueScene] = []
        for scene in day.scenes:
            try:
                layer, clear = self._read(scene, grid)
            except UserError as error:
                # A broken file counts once, however many places it shows.
                if f"scene {scene.id}" not in dict(tally.bad):
                    tally.skip(f"scene {scene.id}", f"cannot be read at place {place} ({error})")
                return None
            gaps = clear & ~valid
            if gaps.any():
                pixels[:, gaps] = layer[:, gaps]
                valid |= gaps
                used.append(scene)
            if valid.all():
                break
        if not used or valid.mean() < self.min_valid:
            tally.drop("dates with clouds or gaps over too much of the chip")
            return None
        lon, lat = centre(grid)
        reach = math.sqrt(2) * self.info.chip_size * (self.info.gsd or math.nan)
        names = " + ".join(scene.id for scene in used)
        return Chip(pixels, valid, place, lon, lat, used[0].time, names, reach_m=reach)

    def _read(self, scene: CatalogueScene, grid: GeoBox) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (bands, rows, cols) in the store's unit and where they are valid (rows, cols)."""
        resampling = {"*": self.resampling} | {name: "nearest" for name in self._assets if name.lower() in assets.MASKS}
        item = assets.numbered(scene.item, self.bands)
        layers = load(item, self._assets, grid, resampling, self.sign, self.patience, self.masked)
        fields = [assets.band_fields(item, band.asset, band.number) for band in self.bands]
        values = np.stack([layers[band.key] for band in self.bands])
        clear = np.isfinite(values).all(axis=0)
        for band, stated, plane in zip(self.bands, fields, values):
            nodata = stated.get("nodata", 0 if band.reflectance else None)
            if isinstance(nodata, int | float):
                clear &= plane != nodata
        if self.mask:
            clear &= assets.is_clear(self.mask, layers[self.mask])
        darkest = None
        if assets.has_unknown_offset(item, self.bands) and clear.any():
            darkest = float(np.percentile(values[:, clear], 1))
        for number, band in enumerate(self.bands):
            if band.reflectance:
                factor, offset = assets.to_reflectance(item, fields[number], darkest)
                values[number] = values[number] * factor + offset
        pixels = np.where(clear, values, 0)
        if self.info.dtype != "float32":
            limits = np.iinfo(self.info.dtype)
            pixels = np.rint(pixels).clip(limits.min, limits.max)
        return pixels.astype(self.info.dtype), clear


def days_of(scenes: list[CatalogueScene], lon: float, area: shapely.Geometry, min_valid: float) -> list[Day]:
    """Group scenes by solar day, and leave out days on which they cover less than ``min_valid`` of a chip's area."""
    by_date: dict[dt.date, list[CatalogueScene]] = {}
    for scene in scenes:
        by_date.setdefault((scene.time + dt.timedelta(hours=lon / 15)).date(), []).append(scene)
    days = []
    for day, group in sorted(by_date.items()):
        group.sort(key=lambda scene: (_cloud(scene), scene.id))
        covered, cloud = shapely.Polygon(), 0.0
        for scene in group:
            grown = covered.union(scene.footprint.intersection(area))
            if grown.area > covered.area and covered.area < _COVERED * area.area:
                covered, cloud = grown, max(cloud, _cloud(scene))
        if covered.area >= min_valid * area.area:
            days.append(Day(day, cloud, tuple(group)))
    return days


def _cloud(scene: CatalogueScene) -> float:
    return 100.0 if scene.cloud is None else scene.cloud  # known to be clear comes first


def parts_of(days: list[Day], query: Query, count: int) -> list[list[Day]]:
    """Days in equal parts of the year, or of a shorter period that is queried, from its first day; clearest first."""
    period = min((query.last - query.first).days + 1, _YEAR_DAYS)
    parts: list[list[Day]] = [[] for _ in range(count)]
    for day in days:
        elapsed = max((day.date - query.first).days, 0) % _YEAR_DAYS  # solar days may begin a day early
        parts[min(int(elapsed / period * count), count - 1)].append(day)
    return [sorted(part, key=_CLEAREST_FIRST) for part in parts]


def add_parser(sources: Any) -> argparse.ArgumentParser:
    """Add the sub-command to the command line."""
    parser = sources.add_parser(
        "stac",
        help="chips from a STAC catalogue, at given or random places",
        description="Fetch chips from a STAC catalogue: the least cloudy dates of each place, spread over the seasons.",
    )
    add = parser.add_argument
    add(
        "catalogue", metavar="CATALOG",
        help=f"{' or '.join(SHORT_NAMES)}, or the URL of a STAC API, or a static catalogue (URL or file)",
    )  # fmt: skip
    add("--collection", required=True, metavar="NAME", help="collection id, such as sentinel-2-l2a")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--places", type=Path, metavar="FILE",
        help="CSV with lon, lat and optionally place, or a vector file (for polygons, a point inside)",
    )  # fmt: skip
    where.add_argument("--sample", type=int, metavar="N", help="number of random places within --within")
    add("--within", type=Path, metavar="POLYGONS", help="vector file of the area for --sample")
    add("--seed", type=int, default=0, help="random seed of --sample (default %(default)s)")
    add("--dates", required=True, metavar="FROM/TO", help="such as 2021-01-01/2022-12-31")
    add("--per-place", type=int, default=4, metavar="K", help="dates per place (default %(default)s)")
    add(
        "--max-cloud", type=float, default=20.0, metavar="C",
        help="maximum cloud cover in percent (default %(default)g)",
    )  # fmt: skip
    add("--bands", nargs="+", required=True, metavar="BAND", help="asset or common names, as in the catalogue")
    add_options(parser, "--size")
    add("--resolution", type=float, required=True, metavar="METRES", help="pixel size")
    add(
        "--resampling", choices=RESAMPLING, default="bilinear",
        help="for scenes on another grid than the chip; nearest for classes (default %(default)s)",
    )  # fmt: skip
    add("--no-cloud-mask", action="store_true", help="do not mask clouds, shadows and defects (SCL, QA_PIXEL)")
    add_options(parser, "--min-valid")
    add(
        "--sign", choices=("planetary-computer",),
        help="sign links for the Planetary Computer (default: where the catalogue is theirs)",
    )  # fmt: skip
    add("--tries", type=int, default=6, help="attempts per request, with growing pauses (default %(default)s)")
    parser.set_defaults(make=make)
    return parser


def make(arguments: argparse.Namespace, scratch: Path) -> StacSource:
    """Check the options against the catalogue, and determine the places."""
    _check(arguments)
    first, last = parse_dates(arguments.dates)
    places = (
        read_places(arguments.places)
        if arguments.places
        else sample_places(arguments.within, arguments.sample, arguments.seed)
    )
    query = Query(arguments.collection, first, last, arguments.max_cloud)
    patience = Patience(arguments.tries)
    opened = open_collection(arguments.catalogue, query, scratch, patience)
    address = opened.catalogue.address
    sign = arguments.sign
    if sign is None and "planetarycomputer.microsoft.com" in address:
        sign = "planetary-computer"
    bands = assets.find_bands(opened.example, arguments.bands, address)
    dtype, unit = assets.values_of(opened.example, bands, partial(stored_type, sign, patience))
    info = _info(arguments, opened, query, dtype, unit)
    chip_bytes = len(bands) * arguments.size**2 * np.dtype(dtype).itemsize
    listing = scratch / "places.parquet"
    per_shard = min(
        _PLACES_PER_SHARD, len(places.table) // _PLACES_PER_SHARD, SHARD_BYTES // (arguments.per_place * chip_bytes)
    )
    table = pa.Table.from_pandas(places.table, LISTING, preserve_index=False)
    pq.write_table(
        table, listing, row_group_size=max(1, per_shard)
    )  # a few places too are distributed among all workers
    print(f"{len(places.table)} places, up to {arguments.per_place} dates each, from {address}", flush=True)
    if assets.has_unknown_offset(opened.example, bands):
        print(
            f"{query.collection} states no processing baseline: scenes are taken for 04.00 or later, so 1000 is subtracted, "
            "unless dark pixels show that nothing was added",
            flush=True,
        )
    return StacSource(
        info=info, catalogue=opened.catalogue, query=query, bands=bands, per_place=arguments.per_place,
        min_valid=arguments.min_valid, mask=None if arguments.no_cloud_mask else assets.find_mask(opened.example),
        resampling=arguments.resampling, digest=sha256(listing), places=listing, sign=sign, patience=patience,
        masked=tuple(
            name
            for name in dict.fromkeys(band.asset for band in bands)
            if hides(sign, patience, opened.example["assets"][name]["href"])
        ),
        bad=(*places.bad, *opened.bad),
    )  # fmt: skip


def _info(arguments: argparse.Namespace, opened: Opened, query: Query, dtype: str, unit: str) -> StoreInfo:
    links = [link.get("href") for link in opened.collection["links"] if link.get("rel") == "license"]
    return StoreInfo(
        bands=tuple(arguments.bands),
        dtype=dtype,
        unit=unit,
        gsd=arguments.resolution,
        chip_size=arguments.size,
        provenance=f"{opened.collection.get('title') or query.collection} ({query.collection}) from "
        f"{opened.catalogue.address}, {query.first} to {query.last}, scenes of at most {query.max_cloud:g} % cloud",
        license=" ".join([str(opened.collection.get("license") or "not stated"), *map(str, links[:1])]),
    )


def _check(arguments: argparse.Namespace) -> None:
    """Refuse invalid options."""
    if (arguments.sample is None) != (arguments.within is None):
        raise UserError("--sample and --within go together: a number of random places within these polygons")
    check_size(arguments)
    for name in ("sample", "per_place", "tries"):
        check_range(arguments, name, 1)
    check_range(arguments, "max_cloud", 0, 100)
    check_range(arguments, "min_valid", 0, 1)
    check_positive(arguments, "resolution")


def parse_dates(text: str) -> tuple[dt.date, dt.date]:
    """First and last day of an interval."""
    try:
        first, last = map(dt.date.fromisoformat, text.split("/"))
    except ValueError as error:
        raise UserError(f"--dates {text}: must look like 2021-01-01/2022-12-31") from error
    if last < first:
        raise UserError(f"--dates {text}: ends before it begins")
    return first, last
