"""``stac``: chips out of a public catalogue, at places that the user names or that are drawn at random.

For each place the catalogue is asked for scenes; the least cloudy dates are taken, spread over the seasons,
and of each scene only the pixels of the chip are read. Which scenes there are is the catalogue's matter.
"""

from __future__ import annotations

import argparse
import logging
import math
import re
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pystac
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from core.errors import UserError, first_line
from core.sources.stac.assets import (
    MASKS,
    Band,
    band_fields,
    find_bands,
    find_mask,
    is_clear,
    numbered,
    to_reflectance,
    values_of,
)
from core.sources.stac.catalogue import (
    SHORT_NAMES,
    Api,
    Listing,
    Opened,
    Patience,
    Query,
    Scene,
    find_scenes,
    open_collection,
)
from core.sources.stac.places import chip_crs, read_places, sample_places
from core.store.build import SHARD_BYTES, Chip, Tally
from core.store.index import sha256
from core.store.read import StoreInfo

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

RESAMPLING = ("nearest", "bilinear", "cubic", "average")
_PLACES_A_SHARD = 16  # at most: a place takes seconds, and little shall be lost when a run is cut off
_TRIES = 3  # dates tried for one that is wanted, where clouds or gaps leave too little
_READ_TRIES = 3  # of a whole scene, each with new signatures; GDAL repeats single requests besides
_THREADS = 4  # the time goes into waiting for the server
_YEAR_DAYS = 365.2425
_COVERED = 1 - 1e-6  # of a chip's area: footprints are rounded


@dataclass(frozen=True, eq=False)
class Day:
    """Scenes of one place on one solar day, the clearest first; ``cloud`` is of those that cover the chip."""

    date: date
    cloud: float
    scenes: tuple[Scene, ...]


@dataclass(frozen=True)
class StacSource:
    """The source.

    Attributes:
        info: what holds for all chips.
        catalogue: to ask for scenes.
        query: which scenes.
        bands: in the order of the store.
        per_place: dates of a place.
        min_valid: least share of pixels with data.
        mask: asset that says which pixels show clouds, or None.
        resampling: where the chip's grid is not the scene's.
        digest: checksum of the places.
        places: Parquet file of them, see ``core.sources.stac.places``.
        sign: ``planetary-computer`` where its links need signatures, else None.
        patience: with the servers.
        bad: places and items that cannot be used.
        dropped: nothing else is left out before the reading.
    """

    info: StoreInfo
    catalogue: Api | Listing
    query: Query
    bands: tuple[Band, ...]
    per_place: int
    min_valid: float
    mask: str | None
    resampling: str
    digest: str
    places: Path = field(repr=False)
    sign: str | None = field(repr=False, default=None)
    patience: Patience = field(repr=False, default=Patience())
    bad: tuple[tuple[str, str], ...] = field(repr=False, default=())
    dropped: tuple[tuple[str, int], ...] = ()

    @property
    def tasks(self) -> range:
        """Numbers of the row groups of the places."""
        return range(pq.ParquetFile(self.places).metadata.num_row_groups)

    @property
    def _assets(self) -> set[str]:
        return {band.asset for band in self.bands} | ({self.mask} if self.mask else set())

    def chips(self, task: int, tally: Tally) -> Iterator[Chip]:
        """Fetch the chips of some places."""
        configure_reading(self.patience)
        for row in pq.ParquetFile(self.places).read_row_group(task).to_pylist():
            yield from self._chips_of(row["place"], chip_grid(row["lon"], row["lat"], self.info), tally)

    def _chips_of(self, place: str, grid: GeoBox, tally: Tally) -> list[Chip]:
        area = shapely.make_valid(grid.extent.to_crs("EPSG:4326", wrapdateline=True).geom)
        try:
            scenes = find_scenes(self.catalogue, self.query, area, self._assets)
        except UserError as error:
            tally.skip(f"place {place}", str(error))
            return []
        days = days_of(self._with_all_bands(scenes, tally), centre(grid)[0], area, self.min_valid)
        if not days:
            tally.drop("places without a scene of these dates and this cloud cover")
            return []
        chips = self._pick(parts_of(days, self.query, self.per_place), lambda day: self._chip(place, day, grid, tally))
        if len(chips) < self.per_place:
            tally.drop(f"dates of places that have fewer than {self.per_place}", self.per_place - len(chips))
        return chips

    def _with_all_bands(self, scenes: list[Scene], tally: Tally) -> list[Scene]:
        """Scenes that have a file for each band."""
        complete = [scene for scene in scenes if scene.item["assets"].keys() == self._assets]
        if len(complete) < len(scenes):
            tally.drop("scenes that lack a band", len(scenes) - len(complete))
        return complete

    def _pick(self, parts: list[list[Day]], read: Callable[[Day], Chip | None]) -> list[Chip]:
        """The clearest day of each part of the year that gives a chip; then the clearest of all that are left."""
        chips: list[Chip] = []
        asked: set[date] = set()

        def gives_chip(day: Day) -> bool:
            asked.add(day.date)
            if (chip := read(day)) is not None:
                chips.append(chip)
            return chip is not None

        for part in parts:
            for day in part[:_TRIES]:
                if gives_chip(day):
                    break
        left = sorted((day for part in parts for day in part if day.date not in asked), key=_clearest)
        for day in left[: _TRIES * (self.per_place - len(chips))]:
            if len(chips) == self.per_place:
                break
            gives_chip(day)
        return chips

    def _chip(self, place: str, day: Day, grid: GeoBox, tally: Tally) -> Chip | None:
        """Lay the scenes of a day over each other, the clearest on top; None where too little is seen."""
        size = self.info.chip_size
        pixels = np.zeros((len(self.bands), size, size), self.info.dtype)
        valid = np.zeros((size, size), bool)
        used: list[Scene] = []
        for scene in day.scenes:
            try:
                layer, clear = self._read(scene, grid)
            except UserError as error:
                if f"scene {scene.id}" not in dict(
                    tally.bad
                ):  # a broken file counts once, however many places it shows
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

    def _read(self, scene: Scene, grid: GeoBox) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (bands, rows, cols) in the store's unit and where they are valid (rows, cols).

        Raises:
            UserError: they cannot be read, however often it is tried.
        """
        names = dict.fromkeys([band.key for band in self.bands] + ([self.mask] if self.mask else []))
        how = {"*": self.resampling} | {name: "nearest" for name in names if name.lower() in MASKS}
        item = numbered(scene.item, self.bands)
        files = {item["assets"][name]["href"] for name in self._assets}
        threads = min(_THREADS, len(names)) if len(files) == len(names) else None  # see _gdal_options
        for attempt in range(_READ_TRIES):
            try:
                return self._decode(item, load(item, list(names), grid, how, signer(self.sign), threads))
            except (RasterioError, OSError, ValueError) as error:
                problem = _why(error)
            forget_signatures(self.sign)  # they may have expired
            if attempt < _READ_TRIES - 1:
                time.sleep(self.patience.pause_s * 2**attempt)
        raise UserError(problem)

    def _decode(self, item: dict[str, Any], layers: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """From the numbers of a scene to the unit of the store."""
        planes, clear = [], np.ones((self.info.chip_size,) * 2, bool)
        for band in self.bands:
            values, fields = layers[band.key], band_fields(item, band.asset, band.number)
            nodata = fields.get("nodata", 0 if band.reflectance else None)
            clear &= np.isfinite(values)
            if isinstance(nodata, int | float):
                clear &= values != nodata
            if band.reflectance:
                factor, offset = to_reflectance(item, fields)
                values = values * factor + offset
            planes.append(values)
        if self.mask:
            clear &= is_clear(self.mask, layers[self.mask])
        pixels = np.where(clear, np.stack(planes), 0)
        if self.info.dtype != "float32":
            limits = np.iinfo(self.info.dtype)
            pixels = np.rint(pixels).clip(limits.min, limits.max)
        return pixels.astype(self.info.dtype), clear


def load(
    item: dict[str, Any],
    names: list[str],
    grid: GeoBox,
    resampling: dict[str, str],
    sign: Callable[[str], str] | None,
    threads: int | None,
) -> dict[str, np.ndarray]:
    """Read the pixels of a grid out of a scene, (rows, cols) float32 a band, NaN where there is no data.

    float32 holds the values of all data types that a store knows, and has a value of its own for no data.

    Raises:
        RasterioError: a file cannot be read to its end.
        ValueError: a file has fewer bands than its description says.
    """
    import odc.stac

    with warnings.catch_warnings():
        # Of rasterio's own arrays in memory: it means to ignore it, but threads undo each other's filters.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        data = odc.stac.load(
            [pystac.Item.from_dict(item)],
            bands=names,
            geobox=grid,
            dtype="float32",
            nodata=float("nan"),
            resampling=resampling,
            patch_url=sign,
            pool=threads,
        )
    return {name: data[name].to_numpy()[0] for name in names}


def configure_reading(patience: Patience) -> None:
    """Make GDAL repeat requests, give up on stalled ones, and fetch nothing but what is asked for."""
    import odc.stac

    odc.stac.configure_rio(cloud_defaults=True, **_gdal_options(patience))
    # A failed reading is told in the tally; the loggers would tell it again, with the signature of the link.
    for name in ("odc.loader", "rasterio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _gdal_options(patience: Patience) -> dict[str, Any]:
    return {
        "GDAL_HTTP_MAX_RETRY": patience.tries - 1,
        "GDAL_HTTP_RETRY_DELAY": patience.pause_s,
        "GDAL_HTTP_CONNECTTIMEOUT": 20,
        "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,  # bytes a second
        "GDAL_HTTP_LOW_SPEED_TIME": 30,
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        # Else GDAL remembers a failure for as long as the process lives. But then no two threads may read the
        # same file: GDAL 3.10 mixes up their bytes.
        "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/",
    }


def signer(how: str | None) -> Callable[[str], str] | None:
    """What signs a link; it keeps tokens until shortly before they expire."""
    if how is None:
        return None
    import planetary_computer

    return planetary_computer.sign


def forget_signatures(how: str | None) -> None:
    """Ask for new ones the next time."""
    if how is not None:
        from planetary_computer import sas

        sas.TOKEN_CACHE.clear()


def _why(error: BaseException) -> str:
    """What went wrong first, without the signatures of links: they are nobody else's business."""
    while error.__cause__ is not None:
        error = error.__cause__
    return re.sub(r"\?[^\s'\"]*", "", first_line(error))


def chip_grid(lon: float, lat: float, info: StoreInfo) -> GeoBox:
    """The pixels of a chip: north-up in the local UTM zone, centred on the place to half a pixel.

    Edges lie on whole multiples of the pixel size, as those of Sentinel-2 do, so that its pixels go through
    as they are.
    """
    from odc.geo.geobox import GeoBox

    crs, size, pixel = chip_crs(lon, lat), info.chip_size, info.gsd or 1.0
    x, y = _transformer("EPSG:4326", crs).transform(lon, lat)
    left, top = (round((middle + side * size * pixel / 2) / pixel) * pixel for middle, side in ((x, -1), (y, 1)))
    return GeoBox((size, size), Affine(pixel, 0, left, 0, -pixel, top), crs)


def centre(grid: GeoBox) -> tuple[float, float]:
    """Longitude and latitude of the middle of a grid, degrees."""
    rows, columns = grid.shape
    x, y = grid.transform @ (columns / 2, rows / 2)
    lon, lat = _transformer(str(grid.crs), "EPSG:4326").transform(x, y)
    return float(lon), float(lat)


@lru_cache(maxsize=256)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def days_of(scenes: list[Scene], lon: float, area: shapely.Geometry, min_valid: float) -> list[Day]:
    """Group scenes by solar day, and leave out days on which they cover too little of the chip.

    Args:
        scenes: of a place.
        lon: of the place, degrees: it makes the solar day.
        area: of the chip, degrees.
        min_valid: least share of the area.
    """
    by_date: dict[date, list[Scene]] = {}
    for scene in scenes:
        by_date.setdefault((scene.time + timedelta(hours=lon / 15)).date(), []).append(scene)
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


def _cloud(scene: Scene) -> float:
    return 100.0 if scene.cloud is None else scene.cloud  # known to be clear comes first


def _clearest(day: Day) -> tuple[float, date]:
    return day.cloud, day.date


def parts_of(days: list[Day], query: Query, count: int) -> list[list[Day]]:
    """Deal days to equal parts of the year, or of the dates asked for where those are less; the clearest first.

    Args:
        days: of a place.
        query: its first day is where the first part begins.
        count: number of parts.
    """
    period = min((query.last - query.first).days + 1, _YEAR_DAYS)
    parts: list[list[Day]] = [[] for _ in range(count)]
    for day in days:
        elapsed = max((day.date - query.first).days, 0) % _YEAR_DAYS  # solar days may begin a day early
        parts[min(int(elapsed / period * count), count - 1)].append(day)
    return [sorted(part, key=_clearest) for part in parts]


def add_parser(sources: Any) -> argparse.ArgumentParser:
    """Say what the command line offers."""
    parser = sources.add_parser(
        "stac",
        help="chips from a STAC catalogue, at given or random places",
        description="Fetch chips from a STAC catalogue: for each place the least cloudy dates, spread over the seasons.",
    )
    parser.add_argument(
        "catalogue",
        metavar="CATALOG",
        help=f"{' or '.join(SHORT_NAMES)}, or the address of a STAC API, or a static catalogue (address or file)",
    )
    parser.add_argument("--collection", required=True, metavar="NAME", help="such as sentinel-2-l2a")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--places",
        type=Path,
        metavar="FILE",
        help="CSV with lon, lat and perhaps place, or a vector file (of polygons a point inside is taken)",
    )
    where.add_argument("--sample", type=int, metavar="N", help="so many random places, drawn within --within")
    parser.add_argument("--within", type=Path, metavar="POLYGONS", help="vector file for --sample")
    parser.add_argument("--seed", type=int, default=0, help="of --sample (default %(default)s)")
    parser.add_argument("--dates", required=True, metavar="FROM/TO", help="such as 2021-01-01/2022-12-31")
    parser.add_argument("--per-place", type=int, default=4, metavar="K", help="dates of a place (default %(default)s)")
    parser.add_argument(
        "--max-cloud", type=float, default=20.0, metavar="C", help="percent of a scene (default %(default)g)"
    )
    parser.add_argument("--bands", nargs="+", required=True, metavar="BAND", help="as the catalogue names them")
    parser.add_argument("--size", type=int, required=True, metavar="PX", help="rows = columns of a chip")
    parser.add_argument("--resolution", type=float, required=True, metavar="METRES", help="size of a pixel")
    parser.add_argument(
        "--resampling",
        choices=RESAMPLING,
        default="bilinear",
        help="where the scene's pixels are not the chip's; nearest for classes (default %(default)s)",
    )
    parser.add_argument(
        "--no-cloud-mask",
        action="store_true",
        help="keep the pixels that the collection's own mask (SCL, QA_PIXEL) calls cloud, shadow or defective",
    )
    parser.add_argument(
        "--min-valid", type=float, default=0.5, metavar="SHARE", help="of a chip's pixels (default %(default)s)"
    )
    parser.add_argument(
        "--sign",
        choices=("planetary-computer",),
        help="sign links as the Planetary Computer wants it (default: where the catalogue is theirs)",
    )
    parser.add_argument(
        "--tries", type=int, default=6, help="of each request, with growing pauses (default %(default)s)"
    )
    parser.set_defaults(make=make)
    return parser


def make(arguments: argparse.Namespace, scratch: Path) -> StacSource:
    """Check the options against the catalogue, and settle the places.

    Raises:
        UserError: an option, the catalogue or the file of places cannot be used.
    """
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
    bands = find_bands(opened.example, arguments.bands, address)
    dtype, unit = values_of(opened.example, bands, partial(stored_type, sign, patience))
    info = _info(arguments, opened, query, dtype, unit)
    chip_bytes = len(bands) * arguments.size**2 * np.dtype(dtype).itemsize
    listing = scratch / "places.parquet"
    per_shard = min(
        _PLACES_A_SHARD, len(places.table) // _PLACES_A_SHARD, SHARD_BYTES // (arguments.per_place * chip_bytes)
    )
    places.write(listing, max(1, per_shard))  # few places too are dealt to all workers
    print(f"{len(places.table)} places, up to {arguments.per_place} dates each, from {address}", flush=True)
    return StacSource(
        info=info,
        catalogue=opened.catalogue,
        query=query,
        bands=bands,
        per_place=arguments.per_place,
        min_valid=arguments.min_valid,
        mask=None if arguments.no_cloud_mask else find_mask(opened.example),
        resampling=arguments.resampling,
        digest=sha256(listing),
        places=listing,
        sign=sign,
        patience=patience,
        bad=(*places.bad, *opened.bad),
    )


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
    """Refuse options that make no sense.

    Raises:
        UserError: one of them.
    """
    if (arguments.sample is None) != (arguments.within is None):
        raise UserError("--sample and --within go together: so many random places within these polygons")
    least = {"sample": 1, "per_place": 1, "size": 8, "tries": 1}
    for name, value in least.items():
        if getattr(arguments, name) is not None and getattr(arguments, name) < value:
            raise UserError(f"--{name.replace('_', '-')} {getattr(arguments, name)}: must be at least {value}")
    if not arguments.resolution > 0:
        raise UserError(f"--resolution {arguments.resolution:g}: a pixel must be larger than 0 metres")
    if not 0 <= arguments.max_cloud <= 100:
        raise UserError(f"--max-cloud {arguments.max_cloud:g}: must lie within 0 and 100 percent")
    if not 0 <= arguments.min_valid <= 1:
        raise UserError(f"--min-valid {arguments.min_valid:g}: must lie within 0 and 1")
    if len(set(arguments.bands)) < len(arguments.bands):
        raise UserError("--bands: names a band twice")


def parse_dates(text: str) -> tuple[date, date]:
    """First and last day of an interval.

    Raises:
        UserError: it is none.
    """
    try:
        first, last = map(date.fromisoformat, text.split("/"))
    except ValueError as error:
        raise UserError(f"--dates {text}: must look like 2021-01-01/2022-12-31") from error
    if last < first:
        raise UserError(f"--dates {text}: ends before it begins")
    return first, last


def stored_type(sign: str | None, patience: Patience, href: str, number: int) -> str:
    """Data type of a band of a file.

    Raises:
        UserError: it cannot be read.
    """
    sign_link = signer(sign)
    try:
        with rasterio.Env(**_gdal_options(patience)), rasterio.open(sign_link(href) if sign_link else href) as source:
            return source.dtypes[number - 1]
    except (RasterioError, OSError, ValueError, IndexError) as error:
        raise UserError(f"{href}: cannot be read as a raster ({_why(error)})") from error
