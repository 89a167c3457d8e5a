"""Benchmark of the chip store: ``python -m benchmarks.data [pairs|making|index|table]``; writes docs/benchmarks/data.md.

pairs   reading random pairs of chips, compared with torchgeo's RandomGeoSampler on the same pixels
making  time with one process and with one per core; bytes read relative to the size of the files
index   writing and opening the index of a store of ten million images (without chips)
table   reading a CSV with ten million images
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import rasterio
from rasterio.transform import from_origin

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks" / "data.md"
SIDE, SIZE, DATES = 4096, 64, 4  # px of a raster, px of a chip, rasters
MILLIONS = 10


def make_rasters(folder: Path, compress: str | None, side: int = SIDE) -> list[Path]:
    """Dated rasters of smooth patterns with noise, 3 bands of 8 bits, tiled as COGs are."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = []
    for date in range(DATES):
        coarse = rng.integers(40, 200, (3, side // 64, side // 64), dtype=np.uint8)
        pixels = coarse.repeat(64, axis=1).repeat(64, axis=2) + rng.integers(0, 16, (3, side, side), dtype=np.uint8)
        paths.append(folder / f"scene_2020{date + 1:02}01.tif")
        with rasterio.open(
            paths[-1], "w", driver="GTiff", height=side, width=side, count=3, dtype="uint8", crs="EPSG:32633", nodata=0,
            transform=from_origin(500_000, 5_000_000, 10, 10), tiled=True, blockxsize=512, blockysize=512, compress=compress,
        ) as target:  # fmt: skip
            target.write(pixels)
    return paths


def make_store(paths: list[Path], out: Path, workers: int | None = None, size: int = SIZE) -> float:
    """Make a store; seconds."""
    from core.sources.rasters import Cut, Rasters, Scene
    from core.store.build import build

    scenes = [Scene.of_file(path, datetime(2020, i + 1, 1, tzinfo=UTC)) for i, path in enumerate(paths)]
    start = time.perf_counter()
    build(Rasters.plan(scenes, Cut(size)), out, workers=workers)
    return time.perf_counter() - start


def _chips_per_second(folder: Path) -> float:
    """Random chips of torchgeo's RandomGeoSampler on the rasters of a folder."""
    import torch
    from torchgeo.datasets import RasterDataset
    from torchgeo.samplers import RandomGeoSampler

    class Scenes(RasterDataset):
        filename_glob = "scene_*.tif"
        filename_regex = r"scene_(?P<date>\d{8})"
        date_format = "%Y%m%d"

    # One file: with several dates its query merges all of them, which is no pair and slower.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = Scenes(str(folder / "scene_20200101.tif"))
        sampler = iter(RandomGeoSampler(dataset, SIZE, length=100_000, generator=torch.Generator().manual_seed(0)))
        for _ in range(50):
            dataset[next(sampler)]
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < 8:
            dataset[next(sampler)]
            count += 1
        return count / (time.perf_counter() - start)


def pairs() -> str:
    """Random pairs a second, both in one run and in one process."""
    from core.method.pairs import Pairs
    from core.method.views import as_float
    from core.store.read import ChipStore

    lines = [
        "| GeoTIFF | torchgeo `RandomGeoSampler` | chip store | ratio |",
        "|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        for compress in (None, "deflate"):
            folder = Path(name) / str(compress)
            paths = make_rasters(folder, compress)
            make_store(paths, folder / "store")
            store = ChipStore(folder / "store")
            places = store.places_of("train")
            data = Pairs(store, places, np.zeros(len(places)), temporal=True, seed=0)
            rng = np.random.default_rng(0)

            def read() -> None:
                items = rng.integers(0, len(data), 256)  # noqa: B023 - called at once
                for side in (items, data.partners(items)):  # noqa: B023
                    as_float(*data.read(side))  # noqa: B023

            read()
            rates = []
            for _ in range(3):  # the median evens out changes of the machine's speed
                count, start = 0, time.perf_counter()
                while time.perf_counter() - start < 2:
                    read()
                    count += 256
                rates.append(count / (time.perf_counter() - start))
            theirs, ours = _chips_per_second(folder) / 2, float(np.median(rates))
            lines.append(
                f"| tiled, {compress or 'not compressed'} | {theirs:.0f} pairs/s | {ours:.0f} pairs/s | {ours / theirs:.0f} |"
            )
    return (
        f"Random pairs (two dates of one place) of {SIZE} px, 3 bands of 8 bits, as float32 tensors, batches of 256, one "
        f"process; {DATES} rasters of {SIDE} x {SIDE} px, all in the page cache. torchgeo reads one file (a pair is two "
        "of its samples).\n\n" + "\n".join(lines)
    )


def _read_bytes() -> int:
    """Bytes that this process has read from files so far."""
    return int(Path("/proc/self/io").read_text().split()[1])


def making() -> str:
    """Cores in use, and blocks read more than once."""
    from core.sources.rasters import Cut, Rasters, Scene
    from core.store.build import Tally

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "scenes"
        paths = make_rasters(folder, "deflate", 2 * SIDE)
        one, all_cores = (make_store(paths, Path(name) / f"store{workers}", workers) for workers in (1, os.cpu_count()))
        scenes = [Scene.of_file(path, datetime(2020, i + 1, 1, tzinfo=UTC)) for i, path in enumerate(paths)]
        there = sum(path.stat().st_size for path in paths)
        lines = ["| chips | bytes read / bytes there |", "|---|---|"]
        for size in (SIZE, 100):
            source = Rasters.plan(scenes, Cut(size))
            before = _read_bytes()
            kept = sum(1 for task in source.tasks for _ in source.chips(task, Tally()))
            lines.append(
                f"| {kept} of {size} px, {len(source.tasks)} shards | {(_read_bytes() - before) / there:.2f} |"
            )
        megabytes = 3 * DATES * (2 * SIDE) ** 2 / 1e6
    return (
        f"{DATES} rasters of {2 * SIDE} x {2 * SIDE} px, 3 bands, deflate, blocks of 512 px ({megabytes:.0f} MB of pixels): "
        f"{one:.1f} s with one process, {all_cores:.1f} s with {os.cpu_count()} ({one / all_cores:.2f} x). Chips of 64 px meet the "
        "blocks; chips of 100 px do not, so blocks at the edges of areas are read again.\n\n" + "\n".join(lines)
    )


def _parts(folder: Path) -> None:
    """What the shards of a store of ten million images leave for the index."""
    from core.store.index import ROWS

    per, rng = 62_500, np.random.default_rng(0)
    for shard in range(MILLIONS * 1_000_000 // per):
        target = folder / "shards" / f"{shard:05}"
        target.mkdir(parents=True)
        place = (np.arange(per) + shard * per) // 4
        columns = {
            "place": [f"site{number:07}" for number in place],
            "datetime": pa.array(1_500_000_000_000_000 + rng.integers(0, 10**14, per), pa.timestamp("us", tz="UTC")),
            "lon": (place * 7.123456 % 360) - 180,
            "lat": np.degrees(np.arcsin((place * 0.6180339887 % 1) * 2 - 1)),
            "stated_split": pa.nulls(per, pa.string()),
            "party": [f"site{number:07}" for number in place],
            "reach_m": np.full(per, 452.0),
            "label": rng.integers(0, 62, per),
            "shard": np.full(per, shard),
            "chip": np.arange(per),
            "mask": np.full(per, -1),
            "row": np.zeros(per, int),
            "column": np.zeros(per, int),
            "source": [f"images/site{number:07}/{i % 4}.jpg" for i, number in enumerate(place)],
            "valid_pixels": np.full(per, 1024),
            "means": [[1.0, 2.0, 3.0]] * per,
            "spreads": [[1.0, 2.0, 3.0]] * per,
            "lowest": np.zeros(per),
            "highest": np.full(per, 255.0),
        }
        pq.write_table(pa.table(columns).cast(ROWS), target / "rows.parquet")


def _measured(code: str) -> dict:
    """Run Python in a process of its own: seconds of what it times, and its peak memory in GB."""
    script = (
        "import json, re, time\nfrom pathlib import Path\n"
        + code
        # Not getrusage: a child's begins with what its parent held.
        + "\npeak = int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
        + "\nprint(json.dumps({'s': seconds, 'gb': peak * 1024 / 1e9}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def index() -> str:
    """Ten million rows: written, opened, ready to draw pairs from."""
    folder = Path(tempfile.mkdtemp())
    try:
        _parts(folder)
        made = _measured(
            "from core.store.index import write_index\nfrom core.store.splits import Split\n"
            "from core.store.read import StoreInfo\nstart = time.perf_counter()\n"
            "info = StoreInfo(bands=('r', 'g', 'b'), dtype='uint8', unit='x', gsd=10, chip_size=32)\n"
            f"write_index(Path({str(folder)!r}), info, Split())\nseconds = time.perf_counter() - start"
        )
        opened = _measured(
            f"from core.store.read import ChipStore\nstart = time.perf_counter()\nstore = ChipStore({str(folder)!r})\n"
            "places = store.places\nfor name in ('shard', 'chip'):\n    store.column(name)\n"
            "seconds = time.perf_counter() - start"
        )
        size = (folder / "index.parquet").stat().st_size / 1e6
    finally:
        shutil.rmtree(folder)
    return (
        f"{MILLIONS} million images of {MILLIONS / 4} million places, {size:.0f} MB of index.\n\n"
        "| | seconds | peak memory of the process |\n|---|---|---|\n"
        f"| splits, statistics, sorted GeoParquet | {made['s']:.1f} | {made['gb']:.2f} GB |\n"
        f"| opening, with places, splits and where each chip lies | {opened['s']:.2f} | {opened['gb']:.2f} GB |"
    )


def table() -> str:
    """Ten million rows of a CSV: checked, sorted, listed."""
    folder = Path(tempfile.mkdtemp())
    try:
        with rasterio.open(
            folder / "0.tif", "w", driver="GTiff", height=8, width=8, count=1, dtype="uint8", crs="EPSG:4326",
            transform=from_origin(0, 1, 0.1, 0.1),
        ) as target:  # fmt: skip
            target.write(np.ones((1, 8, 8), np.uint8))
        per = 100_000
        schema = pa.schema(
            {
                "path": pa.string(),
                "lon": pa.float64(),
                "lat": pa.float64(),
                "datetime": pa.string(),
                "label": pa.string(),
            }
        )
        with pa_csv.CSVWriter(folder / "images.csv", schema) as writer:
            for part in range(MILLIONS * 10):
                number = np.arange(part * per, (part + 1) * per)
                writer.write_table(
                    pa.table(
                        [
                            [f"{i}.tif" for i in number], number * 7.1 % 360 - 180, number * 3.7 % 160 - 80,
                            [f"20{i % 20:02}-06-{i % 28 + 1:02}" for i in number], [f"class {i % 60}" for i in number],
                        ],
                        schema=schema,
                    )
                )  # fmt: skip
        (folder / "scratch").mkdir()
        listed = _measured(
            "import argparse\nfrom core.sources import table\nstart = time.perf_counter()\n"
            f"arguments = argparse.Namespace(table=Path({str(folder / 'images.csv')!r}), size=32, root=None, columns=[], fit='resize', "
            "coordinates='table', date_format=None, legend=None, unit=None, gsd=None, max_bad=0)\n"
            f"source = table.make(arguments, Path({str(folder / 'scratch')!r}))\nassert len(source.tasks) > 100\n"
            "seconds = time.perf_counter() - start"
        )
        size = (folder / "images.csv").stat().st_size / 1e6
    finally:
        shutil.rmtree(folder)
    return (
        f"A CSV of {MILLIONS} million rows ({size:.0f} MB) is checked row by row, searched for double paths, sorted by place "
        f"and date and divided into shards in {listed['s']:.0f} s with {listed['gb']:.2f} GB at the peak."
    )


SECTIONS = {
    "pairs": ("Reading pairs", pairs),
    "making": ("Making a store from rasters", making),
    "index": ("Ten million images", index),
    "table": ("A table of ten million images", table),
}


def main() -> None:
    """Measure the parts named on the command line, or all; the page keeps its other parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*SECTIONS, []], metavar="PART", help="default: all")
    known = {}
    if PAGE.exists():
        for part in PAGE.read_text().split("\n## ")[1:]:
            known[part.partition("\n")[0]] = part.partition("\n\n")[2].strip()
    for name in parser.parse_args().parts or SECTIONS:
        title, measure = SECTIONS[name]
        known[title] = measure()
        print(f"## {title}\n\n{known[title]}\n", flush=True)
    head = f"# The chip store\n\nMade by `python -m benchmarks.data` on {os.cpu_count()} CPU cores; figures of one part are of one run.\n"
    parts = [f"## {title}\n\n{known[title]}\n" for title, _ in SECTIONS.values() if title in known]
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join([head, *parts]))


if __name__ == "__main__":
    main()
