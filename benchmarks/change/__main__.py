"""Benchmark of change by feature distance: ``python -m benchmarks.change --peru FOLDER --store STORE --encoder NAME=FILE ...``.

The store holds the western part of the scenes, on which the encoders learned; what is measured lies east of it. Writes
docs/benchmarks/change.md and its picture.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from sklearn.metrics import roc_auc_score

from benchmarks.change import page
from benchmarks.change.planted import CELL, Planted, plant, windows
from core.networks.encoders import Encoder
from core.networks.weights import load_encoder
from core.store.read import ChipStore
from export.model_files.dense import DenseFeatures
from export.model_files.quantize import training_tiles
from export.runtime.change.decision import Histogram
from export.runtime.model.answers import cosine_distance

ROOT = Path(__file__).parents[2]
SIDE = 320  # px of the square that is measured, at the eastern edge
WINDOW, STEP = 32, 16  # px: of one vector a window
RECALL = 0.9
KINDS = {"any place": 0.0, "another colour": 1.0}  # patches, and how far their mean colour is from what they cover
UNTRAINED, RAW, SCALED = "untrained", "CVA, raw bands", "CVA, bands scaled per date"
Pixels = dict[str, np.ndarray]


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.change", description=__doc__.split(":")[0])
    parser.add_argument("--peru", type=Path, required=True, help="folder of the dated scenes")
    parser.add_argument("--store", type=Path, required=True, help="chip store of their western part")
    parser.add_argument(
        "--encoder", action="append", default=[], metavar="NAME=FILE", help="repeat; seeds share a name"
    )
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "change", help="(default: build/change)")
    arguments = parser.parse_args()
    store, scenes = ChipStore(arguments.store), _scenes(arguments.peru)
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    shown: dict[str, Any] = {}
    planted = {
        (kind, date): plant(scenes[date], np.random.default_rng([number, seed]), apart)
        for seed, (kind, apart) in enumerate(KINDS.items())
        for number, date in enumerate([*scenes][1:])
    }
    for name, seed, space, maps in _methods(arguments.encoder, store, scenes):
        of = {date: maps(pixels) for date, pixels in scenes.items()}
        for before, after in zip([*scenes], [*scenes][1:]):
            unchanged = _distance(name, of[before], of[after])
            for kind in KINDS:
                one = planted[kind, after]
                distance = _distance(name, of[before], maps(one.pixels))
                figures = measured(distance, unchanged, one, space)
                rows.append({"method": name, "seed": seed, "space": space, "patches": kind, "pair": f"{before}-{after}",
                             **figures})  # fmt: skip
                if space == "places" and kind == "any place" and seed == 0:
                    shown.setdefault(f"{before}-{after}", {})[name] = distance
        own = [row for row in rows if (row["method"], row["seed"], row["space"]) == (name, seed, space)]
        print(name, seed, space, {key: f"{np.mean([row[key] for row in own]):.3f}" for key in page.FIGURES}, flush=True)
        (arguments.work / "results.json").write_text(json.dumps(rows))
    page.write(rows)
    pair = "2015-2020"
    page.draw(scenes, planted["any place", "2020"], shown[pair], pair)


def _scenes(folder: Path) -> Pixels:
    scenes = {}
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as source:
            scenes[path.stem] = source.read()[:, :SIDE, -SIDE:]
    return scenes


def _methods(encoders: list[str], store: ChipStore, scenes: Pixels) -> Iterator[tuple[str, int, str, Any]]:
    """Name, seed, space and what makes maps of (bands, rows, columns) of each method."""
    for space, side, step in (("places", CELL, CELL), ("windows", WINDOW, STEP)):
        for name in (RAW, SCALED):
            yield name, 0, space, lambda pixels, side=side, step=step, name=name: _bands(pixels, name, side, step)
    named: list[tuple[str, Path | None]] = [(n, Path(f)) for n, _, f in (text.partition("=") for text in encoders)]
    seeds: dict[str, int] = {}
    for name, path in [(UNTRAINED, None), (UNTRAINED, None), *named]:
        seed = seeds[name] = seeds.get(name, -1) + 1
        spec, encoder = load_encoder(path or named[0][1], store)
        if path is None:
            torch.manual_seed(seed)
            encoder = Encoder(spec)
        dense = DenseFeatures(encoder.eval()).eval()
        dense.learn(training_tiles(store))
        yield name, seed, "places", lambda pixels, dense=dense: _dense(dense, pixels)
        yield name, seed, "windows", lambda pixels, encoder=encoder: _vectors(encoder, pixels)


def _bands(pixels: np.ndarray, name: str, side: int, step: int) -> np.ndarray:
    values = pixels.astype(float)
    if name == SCALED:
        flat = values.reshape(len(values), -1)
        values = (values - flat.mean(axis=1)[:, None, None]) / flat.std(axis=1)[:, None, None]
    return windows(values, side, step)


def _dense(dense: DenseFeatures, pixels: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return dense(torch.from_numpy(pixels[None].astype(np.float32)))[0][0].numpy()


def _vectors(encoder: Encoder, pixels: np.ndarray) -> np.ndarray:
    """(D, rows, columns) vectors of windows."""
    cut = np.lib.stride_tricks.sliding_window_view(pixels, (WINDOW, WINDOW), axis=(1, 2))[:, ::STEP, ::STEP]
    bands, rows, columns = cut.shape[:3]
    tiles = cut.transpose(1, 2, 0, 3, 4).reshape(-1, bands, WINDOW, WINDOW).astype(np.float32)
    with torch.inference_mode():
        vectors = torch.cat([encoder(part) for part in torch.from_numpy(tiles).split(256)])
    return vectors.numpy().T.reshape(-1, rows, columns)


def _distance(name: str, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    if name in (RAW, SCALED):
        return np.sqrt(((before - after) ** 2).sum(axis=0))
    return cosine_distance(before, after)


def measured(distance: np.ndarray, unchanged: np.ndarray, planted: Planted, space: str) -> dict[str, float]:
    """ROC-AUC, F1 by Otsu's rule and at best, and the share of the unplanted image beyond the threshold of 90 % recall."""
    changed, kept = planted.cells() if space == "places" else planted.cells(WINDOW, STEP, 0.25)
    there = changed | kept
    truth, values = changed[there], distance[there]
    threshold = np.quantile(distance[changed], 1 - RECALL, method="lower")
    histogram = Histogram()
    histogram.add(2 * values / values.max())
    otsu = histogram.otsu().value * values.max() / 2
    ranked = np.argsort(-values)
    hits = np.cumsum(truth[ranked])
    best = (2 * hits / (np.arange(len(hits)) + 1 + truth.sum())).max()
    found = values >= otsu
    return {
        "auc": float(roc_auc_score(truth, values)),
        "f1": float(2 * (found & truth).sum() / max(found.sum() + truth.sum(), 1)),
        "best": float(best),
        "alarms": float((unchanged >= threshold).mean()),
        "share": float(truth.mean()),
    }


if __name__ == "__main__":
    main()
