"""``python -m benchmarks.series``: see the package."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.learning.jobs import marks
from benchmarks.learning.lanes import keep, read_results
from benchmarks.learning.stores import ROOT, make_store
from benchmarks.series import __doc__ as about
from benchmarks.series import page, pixels
from benchmarks.series.heads import ATTENTION, AVERAGED, MEAN, ONE, Places, boosted, with_head
from core.errors import UserError, run_command
from core.evaluation.floors import colours_of, coordinates
from core.networks.encoders import Encoder, ModelSpec, features
from core.networks.weights import load_encoder
from core.runs import pick_device
from core.store.read import ChipStore

USES = (ONE, AVERAGED, MEAN, ATTENTION)


def main() -> int:
    """Measure what is not measured yet, and write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.series", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sample", type=Path, help="copy of the quickstart's sample (default: as the quickstart finds it)")
    add(
        "--encoder",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="an encoder.safetensors beside the untrained one",
    )
    add("--trained", metavar="NAME", help="of the encoders: the one that models of pixels are fine-tuned from")
    add("--seeds", type=int, default=5, help="of the heads")
    add("--work", type=Path, default=Path("build/series"), help="store, features, results.jsonl")
    add("--page", type=Path, default=ROOT / "docs" / "benchmarks" / "series.md")
    add("--only-page", action="store_true", help="only write the page from existing results")
    return run_command(lambda: _run(parser.parse_args()))


def _run(options: argparse.Namespace) -> None:
    options.work.mkdir(parents=True, exist_ok=True)
    results = options.work / "results.jsonl"
    named = [entry.partition("=") for entry in options.encoder]
    if any(not file for _, _, file in named):
        raise UserError("--encoder: give NAME=FILE")
    if not options.only_page:
        make_store("bluemarble", options.sample, options.work)
        files = {name: file for name, _, file in named}
        if options.trained and options.trained not in files:
            raise UserError(f"--trained {options.trained}: is none of --encoder")
        _measure(options, {"untrained": ""} | files, results)
        if options.trained:
            _fine_tune(options, options.trained, files[options.trained], results)
    page.write(options.page, read_results(results), ChipStore(options.work / "bluemarble"))


def _measure(options: argparse.Namespace, encoders: dict[str, str], results: Path) -> None:
    store = ChipStore(options.work / "bluemarble")
    places, done = Places.of(store), read_results(results)

    def once(key: str, measure: Callable[[], np.ndarray]) -> None:
        if key not in done:
            keep(results, {"key": key, "hits": marks(measure())})
            print(key, flush=True)

    where, colours = coordinates(places.lonlat), colours_of(store, places.rows.ravel()).reshape(len(places.rows), -1)
    for name, vectors in page.floors(where, colours).items():
        once(f"{name}|0", partial(boosted, places, vectors, 0))
    for name, file in encoders.items():
        encoded = _encoded(store, places, file, options.work / f"features-{name}.npy")
        for seed in range(options.seeds):
            for use in USES:
                for location in (False, True):
                    key = page.key(name, use, location, seed)
                    once(key, partial(with_head, store, places, encoded, use, seed, location=location))


def _fine_tune(options: argparse.Namespace, name: str, file: str, results: Path) -> None:
    """Models of pixels; the land of the map store is that of the quickstart."""
    store, done = ChipStore(options.work / "bluemarble"), read_results(results)
    places, out = Places.of(store), options.work / "run"
    make_store("map", options.sample, options.work)
    for seed in range(options.seeds):
        for location in (False, True):
            key = page.key(name, pixels.VOTE, location, seed)
            if key not in done:
                right = pixels.vote(store, places, file, out, seed, location=location)
                keep(results, {"key": key, "hits": marks(right)})
        for kind in pixels.MAPS:
            if (key := f"{page.MAP}|{kind}|{seed}") not in done:
                found = pixels.of_map(ChipStore(options.work / "map"), file, out, kind, seed)
                keep(results, {"key": key, **found})


def _encoded(store: ChipStore, places: Places, file: str, kept: Path) -> np.ndarray:
    """Features (places, dates, width), computed once."""
    if not kept.exists():
        torch.manual_seed(0)
        encoder = load_encoder(file, store)[1] if file else Encoder(ModelSpec.of_store(store, "resnet18"))
        np.save(kept, features(encoder, store, places.rows.ravel(), pick_device("cpu")))
    return np.load(kept).reshape(*places.rows.shape, -1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    raise SystemExit(main())
