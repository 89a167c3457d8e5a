"""The pixels of a chip: where they lie, and how they are read over HTTP, with signed links where needed."""

from __future__ import annotations

import logging
import math
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pystac
import rasterio
from affine import Affine
from pyproj import Transformer
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from core.errors import UserError, first_line
from core.sources.stac.catalogue import Patience
from core.store.read import StoreInfo
from export.rasterio_io.vrt import without_hidden
from export.runtime.raster.gaps import is_mask

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

_TRIES = 3  # of a whole scene, each with new signatures; GDAL repeats single requests
_THREADS = 4  # most of the time is spent waiting for the server


def chip_crs(lon: float, lat: float) -> str:
    """The local UTM zone, or beyond 84 N and 80 S the polar stereographic grid."""
    if lat > 84:
        return "EPSG:32661"
    if lat < -80:
        return "EPSG:32761"
    zone = math.floor((lon + 180) / 6) % 60 + 1
    return f"EPSG:{(32600 if lat >= 0 else 32700) + zone}"


def chip_grid(lon: float, lat: float, info: StoreInfo) -> GeoBox:
    """The pixels of a chip: north-up in the local UTM zone, centred on the place to half a pixel.

    Edges are whole multiples of the pixel size, as those of Sentinel-2, whose pixels are then not resampled.
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


def load(
    item: dict[str, Any],
    bands: dict[str, str],
    grid: GeoBox,
    resampling: dict[str, str],
    sign: str | None,
    patience: Patience,
    masked: tuple[str, ...] = (),
) -> dict[str, np.ndarray]:
    """Read the pixels of a grid from a scene, (rows, cols) float32 per band, NaN where there is no data.

    float32 holds the values of all data types of a store, and has a value of its own for no data. ``bands`` maps the
    names that odc-stac gives to bands to their assets; ``resampling`` is by these names, with "*" for the others;
    those of nearest neighbour, such as classes, are read at full resolution, others from overviews where these suffice;
    ``sign`` is ``planetary-computer`` where links need that catalogue's signatures. ``masked`` are assets whose files have
    masks (``hides``), which odc-stac does not heed.

    Raises:
        UserError: it cannot be read after several tries.
    """
    import odc.stac

    classes = [name for name in bands if resampling.get(name, resampling["*"]) == "nearest"]
    files = {item["assets"][asset]["href"] for asset in bands.values()}
    threads = min(_THREADS, len(bands)) if len(files) == len(bands) else None  # see _gdal_options
    for attempt in range(_TRIES):
        try:
            with warnings.catch_warnings(), _unmasked(item, masked, sign, patience) as plain:
                # About rasterio's own arrays in memory: it means to ignore it, but threads undo each other's filters.
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                layers: dict[str, np.ndarray] = {}
                for coarse, names in ((False, classes), (True, [name for name in bands if name not in classes])):
                    if not names:
                        continue
                    data = odc.stac.load(
                        [pystac.Item.from_dict(plain)], bands=names, geobox=grid, dtype="float32", nodata=float("nan"),
                        resampling=resampling, patch_url=signer(sign), pool=threads, use_overviews=coarse,
                    )  # fmt: skip
                    layers |= {name: data[name].to_numpy()[0] for name in names}
                return layers
        except (RasterioError, OSError, ValueError) as error:
            problem = reason(error)
        if sign is not None:  # signatures may have expired
            from planetary_computer import sas

            sas.TOKEN_CACHE.clear()
        if attempt < _TRIES - 1:
            time.sleep(patience.pause_s * 2**attempt)
    raise UserError(problem)


def configure(patience: Patience) -> None:
    """Make GDAL repeat requests, abort stalled ones, and fetch nothing but what is needed."""
    import odc.stac

    odc.stac.configure_rio(cloud_defaults=True, **_gdal_options(patience))
    # Failures are reported in the tally; the loggers would repeat them with the signatures of the links.
    for name in ("odc.loader", "rasterio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _gdal_options(patience: Patience) -> dict[str, Any]:
    return {
        "GDAL_HTTP_MAX_RETRY": patience.tries - 1,
        "GDAL_HTTP_RETRY_DELAY": patience.pause_s,
        "GDAL_HTTP_CONNECTTIMEOUT": 20,
        "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,  # bytes per second
        "GDAL_HTTP_LOW_SPEED_TIME": 30,
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        # Else GDAL remembers a failure for the lifetime of the process. But then no two threads may read the
        # same file: GDAL 3.10 mixes up their bytes.
        "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/",
    }


def signer(sign: str | None) -> Callable[[str], str]:
    """What signs links for ``planetary-computer``, keeping tokens until they expire; other links stay as they are."""
    if sign is None:
        return str
    import planetary_computer

    return planetary_computer.sign


def stored_type(sign: str | None, patience: Patience, href: str, number: int) -> str:
    """Data type of a band of a file; a ``UserError`` if it cannot be read."""
    try:
        with rasterio.Env(**_gdal_options(patience)), rasterio.open(signer(sign)(href)) as source:
            return source.dtypes[number - 1]
    except (RasterioError, OSError, ValueError, IndexError) as error:
        raise UserError(f"{href}: cannot be read as a raster ({reason(error)})") from error


def hides(sign: str | None, patience: Patience, href: str) -> bool:
    """Whether a mask or an alpha band of a file says where it holds no data; as if one did where it cannot be read."""
    try:
        with rasterio.Env(**_gdal_options(patience)), rasterio.open(signer(sign)(href)) as source:
            return any(is_mask(sum(flags)) or MaskFlags.alpha in flags for flags in source.mask_flag_enums)
    except (RasterioError, OSError, ValueError):
        return True


@contextmanager
def _unmasked(
    item: dict[str, Any], masked: tuple[str, ...], sign: str | None, patience: Patience
) -> Iterator[dict[str, Any]]:
    """The item with virtual rasters in place of files with masks: what these hide is NaN."""
    with ExitStack() as stack:
        assets = dict(item["assets"])
        for name in masked:
            with rasterio.Env(**_gdal_options(patience)), rasterio.open(signer(sign)(assets[name]["href"])) as source:
                text = without_hidden(source)
            memory = stack.enter_context(MemoryFile(text.encode(), ext=".vrt"))
            assets[name] = {**assets[name], "href": memory.name}
        yield {**item, "assets": assets}


def reason(error: BaseException) -> str:
    """The root cause, without the signatures of links, which are confidential."""
    while error.__cause__ is not None:
        error = error.__cause__
    return re.sub(r"\?[^\s'\"]*", "", first_line(error))
