"""Accuracy of maps from 3, 10 and 30 labels a class, beside random forests on pixels and on a filter bank."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import rasterio
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier

from benchmarks.few_labels.scenes import Scene
from core.evaluation.intervals import Score, gain_score, mean_score
from export.rasterio_io.pixels import RasterPixels
from export.runtime.infer.layout import Options
from export.runtime.learn.features import FeatureChoice, learn_features
from export.runtime.learn.heads import fit
from export.runtime.learn.judge import Applicability
from export.runtime.learn.place import FeatureRaster
from export.runtime.learn.samples import Samples
from export.runtime.model.graph import Graph, HeadSession

COUNTS = (3, 10, 30)
PIXEL, BANK = "random forest on pixels", "random forest on a filter bank"
TEXTURE = "bands and texture"
_TREES, _TESTED = 100, 10_000  # of the forests; pixels of a scene that are compared
_MOST = 10_000  # pixels that a forest learns from
_LEFT_OUT = 10  # labels of each class where one class is left out
_GSD = 10.0


def measure(scenes: Sequence[tuple[str, Scene]], encoders: dict[str, Path], draws: int, out: Path) -> None:
    """Append a line to ``out`` for each scene, number of labels, draw and method; what stands there is not done again."""
    done = {_key(row) for row in results(out)}
    out.parent.mkdir(parents=True, exist_ok=True)
    methods = {TEXTURE: FeatureChoice("texture")}
    for name, path in encoders.items():
        methods |= {name: FeatureChoice("encoder", path), f"{name}, and {TEXTURE}": FeatureChoice("both", path)}
    for data, scene in scenes:
        wanted = [
            {"data": data, "scene": scene.name, "labels": count, "draw": draw, "method": method}
            for method in (PIXEL, BANK, *methods)
            for count in COUNTS
            for draw in range(draws)
        ]
        wanted = [row for row in wanted if _key(row) not in done]
        made: dict[str, Callable[[int, int], dict]] = {}
        for row in wanted:
            method = row["method"]
            if method not in made:
                made = {
                    method: _ours(scene, methods[method], out.parent) if method in methods else _peer(scene, method)
                }
            found = made[method](row["labels"], row["draw"])
            with out.open("a") as file:
                file.write(json.dumps(row | found) + "\n")


def results(path: Path) -> list[dict]:
    """All lines."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _key(row: dict) -> tuple:
    return tuple(row[name] for name in ("data", "scene", "labels", "draw", "method"))


def _tested(scene: Scene, rows: np.ndarray, columns: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of unlabelled pixels that are compared."""
    free = np.argwhere(scene.unlabelled(rows, columns))
    some = np.random.default_rng(seed).permutation(len(free))[:_TESTED]
    return free[some, 0], free[some, 1]


def _peer(scene: Scene, method: str) -> Callable[[int, int], dict]:
    """A random forest as QGIS's pixel classifiers have it, on bands or on a filter bank at full resolution."""
    layers = scene.pixels.astype(np.float32) if method == PIXEL else filter_bank(scene.pixels)

    def answer(count: int, seed: int) -> dict:
        rows, columns, number, classes = scene.labels(count, seed)
        step = -(-len(rows) // _MOST)
        forest = RandomForestClassifier(_TREES, random_state=seed)
        forest.fit(layers[:, rows[::step], columns[::step]].T, classes[number[::step]])
        at = _tested(scene, rows, columns, seed)
        return {"accuracy": float((forest.predict(layers[(slice(None), *at)].T) == scene.truth[at]).mean())}

    return answer


def filter_bank(pixels: np.ndarray) -> np.ndarray:
    """(51, rows, columns) for three bands: Gaussian mean, gradient, Laplacian and spread at four scales, as in ilastik."""
    layers = []
    for band in pixels.astype(np.float32):
        layers.append(band)
        for sigma in (1, 2, 4, 8):
            mean = ndimage.gaussian_filter(band, sigma)
            spread = np.sqrt(np.maximum(ndimage.gaussian_filter(band**2, sigma) - mean**2, 0))
            edges = ndimage.gaussian_gradient_magnitude(band, sigma)
            layers += [mean, edges, ndimage.gaussian_laplace(band, sigma), spread]
    return np.stack(layers)


def _ours(scene: Scene, choice: FeatureChoice, folder: Path) -> Callable[[int, int], dict]:
    """Features, head and map as ``export.fit`` makes them."""
    path = folder / "scene.tif"
    height, width = scene.truth.shape
    place = rasterio.transform.from_origin(500_000, 5_000_000, _GSD, _GSD)
    about = {"count": 3, "dtype": "uint8", "crs": "EPSG:32632", "transform": place, "photometric": "RGB"}
    with rasterio.open(path, "w", driver="GTiff", height=height, width=width, **about) as file:
        file.write(scene.pixels)
    options = Options(resample=False)
    pixels = RasterPixels(path)
    raster = FeatureRaster(pixels, learn_features(choice, [pixels], options), options=options)
    records = dict(raster.compute(raster.tiles()))

    def answer(count: int, seed: int) -> dict:
        rows, columns, number, classes = scene.labels(count, seed)
        samples = _samples(raster, rows, columns, number, classes)
        head = fit(samples, int(classes.max()) + 1)
        at = _tested(scene, rows, columns, seed)
        found = {"accuracy": float((_class_map(raster, records, head)[at] == scene.truth[at]).mean())}
        if count == _LEFT_OUT and len(np.unique(classes)) > 2:
            features = raster.at(*(part[:3000] for part in at))
            truth = scene.truth[at][:3000]
            found["unlike"] = [_unlike(samples, features, truth, value) for value in np.unique(classes).tolist()]
        return found

    return answer


def _samples(
    raster: FeatureRaster, rows: np.ndarray, columns: np.ndarray, number: np.ndarray, classes: np.ndarray
) -> Samples:
    middles = np.array([[axis[number == one].mean() for axis in (rows, columns)] for one in range(len(classes))])
    none, every = np.zeros(len(classes), np.int64), np.arange(len(classes))
    return Samples(raster.at(rows, columns), classes[number], number, middles, none, every, every)


def _class_map(raster: FeatureRaster, records: dict, head) -> np.ndarray:
    """(rows, columns) class numbers."""
    features = raster.features
    graph = Graph("features", ("batch", features.channels, "rows", "columns"))
    answer = head.add_to(graph, graph.input.name, features.factor)
    session = HeadSession(graph.to_bytes({"classes": (answer, ("batch", len(head.bias), "height", "width"))}))
    found = np.zeros(raster.layout.seen.shape, np.uint8)
    for tile, record in records.items():
        window, edge = raster.window(tile), features.margin * features.factor
        likely = session(record[None].astype(np.float32))[0, :, edge : edge + window.height, edge : edge + window.width]
        found[window.row : window.row + window.height, window.column : window.column + window.width] = likely.argmax(0)
    return found


def _unlike(samples: Samples, features: np.ndarray, truth: np.ndarray, value: int) -> tuple[float | None, float]:
    """Shares that count as unlike anything labelled if a class was never labelled: of its pixels, and of the others'."""
    applies = Applicability.of(samples.without(samples.labels == value))
    unlike = applies.index(features) > applies.threshold
    of_class = truth == value
    return float(unlike[of_class].mean()) if of_class.any() else None, float(unlike[~of_class].mean())


def lines(rows: Sequence[dict]) -> list[str]:
    """The section of the page."""
    found = [
        "Made by `python -m benchmarks.few_labels accuracy`. Labels are squares of 5 x 5 px inside one class (aerial images of "
        "Dubai, five classes, 512 x 640 px; Sentinel-2 images with a land-cover map, 224 x 224 px), or whole chips (a mosaic of "
        "24 x 24 EuroSAT test chips, ten classes); accuracy is that of the pixels without labels. Means and 95 % intervals "
        "over scenes and draws; a single scene has no interval. Random forests: scikit-learn, 100 trees, per pixel of the "
        "bands (as dzetsaka, EnMAP-Box and SCP do) or of a filter bank at full resolution (as ilastik does).",
    ]
    for data in dict.fromkeys(row["data"] for row in rows):
        of_data = _whole_draws([row for row in rows if row["data"] == data])
        scenes, draws = (len({row[part] for row in of_data}) for part in ("scene", "draw"))
        found += [
            "", f"### {data}, {_count(scenes, 'scene')}, {_count(draws, 'draw')}", "",
            f"| % of pixels right | {' | '.join(f'{count} labels a class' for count in COUNTS)} |",
            "|---|" + "---|" * len(COUNTS),
        ]  # fmt: skip
        tables = {method: _tables(of_data, method) for method in dict.fromkeys(row["method"] for row in of_data)}
        for method, values in tables.items():
            found.append(f"| {method} | {' | '.join(_cell(value) for value in values)} |")
        for peer in (PIXEL, BANK):
            for method, values in tables.items():
                if method not in (PIXEL, BANK) and peer in tables:
                    gains = [_gain(value, other) for value, other in zip(values, tables[peer])]
                    found.append(f"| {method}, above the {peer} | {' | '.join(gains)} |")
        found += _unlike_lines(of_data)
    return found


def _whole_draws(rows: Sequence[dict]) -> list[dict]:
    """Without draws that were not measured everywhere."""
    count = Counter(row["draw"] for row in rows)
    return [row for row in rows if count[row["draw"]] == max(count.values())]


def _tables(rows: Sequence[dict], method: str) -> list[np.ndarray | None]:
    """(draws, scenes) accuracies for each of ``COUNTS``; None where nothing was measured."""
    found: list[np.ndarray | None] = []
    for count in COUNTS:
        values = {(r["scene"], r["draw"]): r["accuracy"] for r in rows if (r["method"], r["labels"]) == (method, count)}
        scenes, draws = (sorted({key[part] for key in values}) for part in (0, 1))
        whole = len(values) == len(scenes) * len(draws) > 0
        found.append(np.array([[values[scene, draw] for scene in scenes] for draw in draws]) if whole else None)
    return found


def _cell(values: np.ndarray | None) -> str:
    if values is None:
        return ""
    return f"{100 * values.mean():.1f}" if values.shape[1] < 2 else _points(mean_score(values))


def _gain(ours: np.ndarray | None, peer: np.ndarray | None) -> str:
    if ours is None or peer is None or ours.shape != peer.shape:
        return ""
    return f"{100 * (ours - peer).mean():+.1f}" if ours.shape[1] < 2 else _points(gain_score(ours - peer), "+")


def _points(score: Score, sign: str = "") -> str:
    return f"{100 * score.value:{sign}.1f} ({100 * score.low:.1f} to {100 * score.high:.1f})"


def _unlike_lines(rows: Sequence[dict]) -> Iterator[str]:
    """How much of a class without labels counts as unlike anything labelled, and how much of the labelled classes."""
    parts = {}
    for row in rows:
        parts.setdefault(row["method"], []).extend(row.get("unlike", []))
    parts = {method: pairs for method, pairs in parts.items() if pairs}
    if not parts:
        return
    yield from ("", f"One class left out, {_LEFT_OUT} labels of each other class:", "")
    yield from (
        "| % unlike anything labelled | of the class that was never labelled | of the labelled classes |",
        "|---|---|---|",
    )
    for method, pairs in parts.items():
        missed = [100 * one for one, _ in pairs if one is not None]
        yield f"| {method} | {np.mean(missed):.0f} | {np.mean([100 * other for _, other in pairs]):.0f} |"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}"
