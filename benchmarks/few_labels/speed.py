"""Speed and memory of maps from a few labels: ``python -m benchmarks.few_labels.speed --chips STORE``.

Rasters are mosaics of the chips of a labelled store of 8-bit images. Every part runs in a process of its own; what is
compared runs in the same one, in turns. Beside seconds stand those of the processors' own time, which other load does not
lengthen much. Writes docs/benchmarks/few_labels_speed.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import rasterio
import shapely
from rasterio.transform import Affine
from rasterio.windows import Window
from sklearn.ensemble import RandomForestClassifier

from core.store.read import ChipStore
from export.fit import opened
from export.rasterio_io.pixels import RasterPixels
from export.rasterio_io.polygons import polygons_on
from export.runtime.infer.aligned import AlignedTiles
from export.runtime.learn.cache import FeatureCache
from export.runtime.learn.features import FeatureChoice, learn_features
from export.runtime.learn.heads import fit
from export.runtime.learn.mapping import MapJob
from export.runtime.learn.place import FeatureRaster
from export.runtime.learn.samples import Label, samples_of
from export.runtime.learn.similar import Similarity
from export.runtime.model.graph import Graph
from export.runtime.raster.legend import LandClass, palette

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks" / "few_labels_speed.md"
VIEW = (1000, 1500)  # rows and columns
SIDE = 10_980  # of a tile of Sentinel-2
LABELLED = 20  # polygons
VECTORS = 10_000_000
CORES = 2
_BARE = 48  # tiles on which the bare encoder runs, before and after
_PIXEL = 10.0  # metres


def go_on(done: int, total: int) -> bool:
    """Progress that is not shown."""
    return True


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.few_labels.speed", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--chips", type=Path, default=ROOT / "build/starter/eurosat", help="chip store, 8 bits, labelled"
    )
    parser.add_argument("--model", type=Path, default=ROOT / "models/embedding_sentinel2.onnx")
    parser.add_argument("--side", type=int, default=SIDE, help="rows and columns of the large raster; 0: none")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(PARTS[given.child[0]](given, Path(given.child[1]))))
        return
    with tempfile.TemporaryDirectory() as name:
        found = {part: _child(given, part, name) for part in PARTS if part not in ("mosaic", "tile") or given.side}
    text = page(found, given.side)
    print(text)
    given.page.parent.mkdir(parents=True, exist_ok=True)
    given.page.write_text(text, "utf-8")


def _child(given: argparse.Namespace, part: str, folder: str) -> dict[str, Any]:
    options = [f"--{name}={getattr(given, name)}" for name in ("chips", "model", "side")]
    command = [sys.executable, "-m", "benchmarks.few_labels.speed", *options, "--child", part, folder]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, cwd=ROOT)
    print(part, done.stdout.splitlines()[-1], flush=True)
    return json.loads(done.stdout.splitlines()[-1])


class Clock:
    """Seconds, and those of the processors."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Add what happens meanwhile."""
        begun = time.perf_counter(), time.process_time()
        yield
        self.wall += time.perf_counter() - begun[0]
        self.cpu += time.process_time() - begun[1]

    def json(self) -> list[float]:
        """For the parent."""
        return [round(self.wall, 3), round(self.cpu, 3)]


def write_mosaic(path: Path, store: ChipStore, rows: int, columns: int) -> np.ndarray:
    """Fill a raster with chips, in the order of the store and again; their index rows (rows, columns) of chips."""
    size = store.info.chip_size
    grid = np.arange(-(-rows // size) * -(-columns // size)) * 97 % len(store)  # neighbours of several classes
    grid = grid.reshape(-(-rows // size), -1)
    profile = {
        "driver": "GTiff", "width": columns, "height": rows, "count": len(store.info.bands), "dtype": "uint8",
        "crs": "EPSG:32632", "transform": Affine(_PIXEL, 0, 500_000, 0, -_PIXEL, 5_300_000), "tiled": True,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as raster:
        raster.descriptions = store.info.bands
        for number, line in enumerate(grid):
            strip = store.raw(line).transpose(1, 2, 0, 3).reshape(raster.count, size, -1)
            height = min(size, rows - number * size)
            raster.write(strip[:, :height, :columns], window=Window(0, number * size, columns, height))
    return grid


def labels_on(pixels: RasterPixels, chips: np.ndarray, store: ChipStore) -> tuple[list[Label], list[LandClass]]:
    """Squares in the middle of as many chips, of as many classes as these have."""
    size, values = store.info.chip_size, store.column("label")[chips]
    whole = [divmod(at, chips.shape[1]) for at in range(chips.size)]
    whole = [(row, column) for row, column in whole if row < chips.shape[0] - 1 and column < chips.shape[1] - 1]
    chosen: list[tuple[int, int]] = []
    for turn in range(LABELLED):  # one of each class, then another
        for value in np.unique(values):
            one = [place for place in whole if values[place] == value][turn : turn + 1]
            chosen += one if len(chosen) < LABELLED else []
    classes = {value: number for number, value in enumerate(np.unique([values[place] for place in chosen]).tolist())}
    labels = []
    for number, (row, column) in enumerate(chosen):
        west, north = 500_000 + (column * size + 12) * _PIXEL, 5_300_000 - (row * size + 12) * _PIXEL
        square = shapely.box(west, north - 40 * _PIXEL, west + 40 * _PIXEL, north)
        shape = polygons_on(np.array([square]), rasterio.crs.CRS.from_epsg(32632), pixels.grid)
        labels.append(Label(number, classes[values[row, column]], shape))
    return labels, [LandClass(number + 1, str(number), palette(number)) for number in classes.values()]


def view(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A view: its features, the map after a stroke, and a random forest on the same labels."""
    store, path = ChipStore(given.chips), folder / "view.tif"
    chips = write_mosaic(path, store, *VIEW)
    pixels = RasterPixels(path)
    times = {name: Clock() for name in ("learn", "features", "fit", "paint", "forest")}
    with times["learn"].running():
        features = learn_features(FeatureChoice("encoder", given.model), [pixels])
    raster = FeatureRaster(pixels, features)
    with times["features"].running():
        for _ in raster.compute(raster.tiles(), go_on):
            pass
    labels, classes = labels_on(pixels, chips, store)
    rounds = 3
    for turn in range(rounds):
        with times["fit"].running():
            samples = samples_of([raster], [labels])
            head = fit(samples, len(classes))
        with times["paint"].running():
            for _rows in MapJob(raster, head, classes).rows(go_on):
                pass
        if turn == 1:  # between the others
            with times["forest"].running():
                _forest(path, folder / "forest.tif", labels, pixels)
    for name in ("fit", "paint"):
        times[name].wall, times[name].cpu = times[name].wall / rounds, times[name].cpu / rounds
    return {name: clock.json() for name, clock in times.items()} | {"classes": len(classes)}


def _forest(path: Path, out: Path, labels: list[Label], pixels: RasterPixels) -> None:
    """Fit scikit-learn's random forest to the bands of all labelled pixels, apply it to every pixel, write the classes."""
    with rasterio.open(path) as source:
        bands, profile = source.read(), source.profile | {"count": 1}
    whole = pixels.grid.whole
    samples = [(label.shape.inside(pixels.grid, whole), label.class_index) for label in labels]  # type: ignore[union-attr]
    inputs = np.concatenate([bands[:, inside].T for inside, _ in samples])
    targets = np.concatenate([np.full(inside.sum(), number) for inside, number in samples])
    forest = RandomForestClassifier(n_estimators=100, random_state=0).fit(inputs, targets)
    classes = forest.predict(bands.reshape(len(bands), -1).T).reshape(bands.shape[1:])
    with rasterio.open(out, "w", **profile) as target:
        target.write(classes.astype(np.uint8), 1)


def tile(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A whole tile: features beside the bare encoder, the cache, and a map from it."""
    path = folder / "tile.tif"
    with opened([str(path)]) as (pixels,):
        return _tile(given, folder, path, pixels)


def mosaic(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The raster of ``tile``, in a process of its own: what that needs is no memory of the features."""
    write_mosaic(folder / "tile.tif", ChipStore(given.chips), given.side, given.side)
    return {}


def _peak() -> float:
    """MB that this process had at most; unlike ``ru_maxrss`` it does not begin with those of the parent."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024  # type: ignore[index]


def _tile(given: argparse.Namespace, folder: Path, path: Path, pixels: RasterPixels) -> dict[str, Any]:
    clocks = {name: Clock() for name in ("learn", "features", "bare", "map")}
    with clocks["learn"].running():
        features = learn_features(FeatureChoice("encoder", given.model), [pixels])
    cache = FeatureCache(folder / "cache")
    raster = FeatureRaster(pixels, features, cache)
    tiles = sorted(raster.tiles())  # row by row, as the command line does
    half, memory = len(tiles) // 2, 0.0
    for number, part in enumerate((tiles[:half], tiles[half:])):
        with clocks["features"].running():
            for _ in raster.compute(part, go_on):
                pass
        if not number:  # the bare encoder comes between the halves; its tiles are no memory of the features
            memory = _peak()
            bare, samples = _bare(given.model, raster)
            with clocks["bare"].running():
                bare(samples)
            count = len(samples)
            del samples, bare
    clocks["bare"].wall *= len(tiles) / count
    clocks["bare"].cpu *= len(tiles) / count
    again = FeatureRaster(RasterPixels(path), features, cache)
    rng, count = np.random.default_rng(0), 8
    classes = [LandClass(number + 1, str(number), palette(number)) for number in range(count)]
    head = _any_head(again, count, rng)
    with clocks["map"].running():
        for _ in MapJob(again, head, classes).rows(go_on):
            pass
    later = _peak()
    return {name: clock.json() for name, clock in clocks.items()} | {
        "tiles": len(tiles), "memory": round(memory), "memory_map": round(later),
        "bytes": round(raster.cached_bytes() / given.side**2, 3),
    }  # fmt: skip


def _any_head(raster: FeatureRaster, classes: int, rng: np.random.Generator) -> Any:
    """A head of so many classes, fitted on places anywhere."""
    from export.runtime.learn.samples import Samples

    height, width = raster.layout.seen.shape
    rows, columns = rng.integers(0, height, 40 * classes), rng.integers(0, width, 40 * classes)
    numbers, at = np.arange(40 * classes), np.column_stack([rows, columns]).astype(float)
    found = raster.at(rows, columns)
    classes_of = (np.argsort(np.argsort(found[:, 0])) * classes // len(found)).astype(np.int64)
    return fit(Samples(found, classes_of, numbers, at, np.zeros(len(at), np.int64), numbers, numbers), classes)


def _bare(model: Path, raster: FeatureRaster) -> tuple[Callable[[list[np.ndarray]], None], list[np.ndarray]]:
    """The encoder alone, to its deepest stage that counts, in onnxruntime; and tiles of pixels for it."""
    card = raster.features.card
    graph = Graph.of_model(model, card)
    stages = json.loads({entry.key: entry.value for entry in _props(model)}["mlm"])["properties"]["geoaware:channels"]
    shape = ("batch", stages[-1]["count"], "rows", "columns")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        graph.to_bytes({"deepest": (stages[-1]["tensor"], shape)}), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    aligned = AlignedTiles(raster.layout, raster.features.tile, raster.features.border)
    last = [length - 3 for length in raster.shape]  # others may reach beyond the raster
    inside = [(row, column) for row, column in raster.tiles() if 0 < row <= last[0] and 0 < column <= last[1]]
    chosen = inside[:: max(len(inside) // _BARE, 1)][:_BARE]
    pixels = [np.ascontiguousarray(aligned.read(one).pixels[None], np.float32) for one in chosen]  # type: ignore[index]
    pool = ThreadPoolExecutor(CORES)

    def run(tiles: list[np.ndarray]) -> None:
        for _ in pool.map(lambda one: session.run(None, {name: one}), tiles):
            pass

    run(pixels[:CORES])
    return run, pixels


def _props(model: Path) -> Any:
    import onnx

    return onnx.load(str(model)).metadata_props


def similarity(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Similarity of vectors to eight examples."""
    vectors = np.random.default_rng(0).integers(1, 256, (16, VECTORS), np.uint8)
    clock = Clock()
    to = Similarity.to(vectors[:, :8].T)
    with clock.running():
        to.of(vectors)
    return {"similarity": clock.json()}


PARTS: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
    "view": view,
    "similarity": similarity,
    "mosaic": mosaic,
    "tile": tile,
}


def page(found: dict[str, dict[str, Any]], side: int) -> str:
    """The page: what was measured beside what is wanted."""
    seen, near = found["view"], found["similarity"]["similarity"]
    stroke = [a + b for a, b in zip(seen["fit"], seen["paint"])]
    lines = [
        "# Speed and memory of maps from a few labels",
        "",
        f"`python -m benchmarks.few_labels.speed`, {datetime.now(UTC):%Y-%m-%d}, {CORES} cores, load {os.getloadavg()[0]:.0f}: "
        "where that is more than the cores, the seconds of the processors (all together) say more; onnxruntime "
        f"{onnxruntime.__version__}; mosaics of EuroSAT chips, features of `embedding_sentinel2.onnx`.",
        "",
        "| | s | s of processors | wanted |",
        "|---|---|---|---|",
    ]

    def row(what: str, times: list[float], wanted: str = "") -> None:
        lines.append(f"| {what} | {times[0]:.2f} | {times[1]:.2f} | {wanted} |")

    shape = f"{VIEW[1]} x {VIEW[0]} px"
    row(f"features of a view of {shape}", seen["features"], "3 s")
    row("learning which, once a layer", seen["learn"])
    row(f"{LABELLED} polygons, {seen['classes']} classes: samples and fit", seen["fit"])
    row("repainting the view", seen["paint"])
    row("both", stroke, "1 s")
    row("random forest on the bands: fit, apply to the view, write", seen["forest"])
    row(f"similarity of {VECTORS // 10**6} million vectors of 16 channels", near, "2 s")
    ratios = [a / b for a, b in zip(seen["forest"], stroke)]
    told = [
        f"- After a stroke the view is there {ratios[0]:.0f} times as fast as scikit-learn's random forest on the same bands and "
        f"labels ({ratios[1]:.0f} times by the processors' time); 10 are wanted. The forest has 100 trees and one thread, is fitted "
        "once without a search of its settings, applied to every pixel and written, as dzetsaka does it."
    ]
    if whole := found.get("tile"):
        row(f"features of {side:,} x {side:,} x 3, with the cache", whole["features"])
        row(f"bare encoder on the same {whole['tiles']:,} tiles (a part of them, scaled)", whole["bare"])
        row("map of 8 classes from the cache", whole["map"], "20 s")
        speed = [a / b for a, b in zip(whole["bare"], whole["features"])]
        told += [
            f"- Features come at {speed[0]:.2f} times the speed of the bare encoder in onnxruntime ({speed[1]:.2f} by the processors' "
            "time); 0.9 are wanted. Reading, the other stages, their projection and the cache are the difference.",
            f"- Memory: {whole['memory']:,} MB at most (1,500 wanted); {whole['memory_map']:,} MB with the bare encoder and the map. "
            f"Cache: {whole['bytes']} bytes a pixel of the layer (1.2 wanted).",
        ]
    return "\n".join([*lines, "", *told]) + "\n"


if __name__ == "__main__":
    main()
