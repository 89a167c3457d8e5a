"""Part 3: a real run: EuroSAT's spatial split with ``moco`` in the frozen protocol, and Blue Marble with the default variant.

The budget is divided by what was measured: a few epochs first, then as many as the time allows. The linear classifier is
fitted on the CPU, in a process beside the next training. The encoder comes back in half precision.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from benchmarks.gpu.chips import unpack, world
from benchmarks.gpu.notes import Notes, Setup
from benchmarks.gpu.speed import rate
from benchmarks.learning.eurosat import Probe, described, interval, judged
from benchmarks.learning.jobs import Bench
from benchmarks.logs import read_log
from core.store.read import ChipStore
from core.training.pretrain import pretrain
from core.training.probe import probe

BEST = 78.4  # %, linear at 64 px: ResNet-18, an hour on two cores (docs/benchmarks/learning.md)
GOAL = 95.8  # %, ResNet-50 with MoCo on SSL4EO-S12, as torchgeo-bench publishes it
EUROSAT = {"variant": "moco", "batch_size": 512, "queue": 4096}
BLUEMARBLE: dict[str, Any] = {"batch_size": 512, "queue": 4096}  # and the defaults
OVERHEAD = 110  # s of the part for unpacking, the paces, features and classifiers; the rest is for both trainings
SHARES = {"eurosat": 0.8, "bluemarble": 0.2}  # of that rest


def measure(setup: Setup, notes: Notes) -> None:
    """Train on both, judge both."""
    stores = {name: ChipStore(_store(setup, name)) for name in SHARES}
    notes.add(unpacked=round(notes.seconds, 1), images={name: len(store) for name, store in stores.items()})
    notes.add(goal=GOAL, best_on_two_cores=BEST, imagery="generated" if setup.small else "real")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as judges:
        with notes.attempt("eurosat, pretraining"):
            encoder = _pretrained(setup, notes, "eurosat", stores["eurosat"], EUROSAT)
            keep_half(encoder, setup.out / "encoder-half.safetensors")
            for size in (64,) if setup.small else (64, 224):
                with notes.attempt(f"eurosat, features at {size} px"):
                    began = time.monotonic()
                    probed, bench = Probe("moco", file=str(encoder), size=size), Bench(setup.work, setup.device, {})
                    vectors = described(probed, bench, stores["eurosat"])
                    notes.add(**{f"features_{size}_px_seconds": round(time.monotonic() - began, 1)})
                    asked = judges.submit(judged, vectors, stores["eurosat"], max(1, (os.cpu_count() or 1) // 2 - 1))
                    asked.add_done_callback(partial(_keep_answer, notes, f"eurosat_{size}_px"))
        with notes.attempt("bluemarble, pretraining and probe"):
            encoder = _pretrained(setup, notes, "bluemarble", stores["bluemarble"], BLUEMARBLE)
            said = probe(stores["bluemarble"].path, str(encoder), device=setup.device)
            for dates in ("one_date", "all_dates"):
                notes.add(**{f"bluemarble_{dates}": _scores(said, dates)})


def _keep_answer(notes: Notes, name: str, answer: Future) -> None:
    """Note the accuracies once a classifier is fitted."""
    with notes.attempt(name):
        record = answer.result()
        share = 100 * record["hits"]["linear"].count("1") / len(record["hits"]["linear"])
        said = {kind: interval([marks]) for kind, marks in record["hits"].items()}
        notes.add(**{name: said | {"C": record["C"], "above_two_cores": share > BEST, "goal_reached": share >= GOAL}})


def _store(setup: Setup, name: str) -> Path:
    """The staged store; a generated one of the same kind in a small run."""
    if not setup.small:
        if setup.stage is None or not (setup.stage / name).is_dir():
            raise FileNotFoundError(f"{name}: --stage holds no such store; make it with benchmarks.gpu.stage")
        return unpack(setup.stage / name, setup.work / name)
    dates, size = (1, 64) if name == "eurosat" else (2, 32)
    return world(setup.work / name, 40, size, dates)


def _pretrained(setup: Setup, notes: Notes, name: str, store: ChipStore, options: dict[str, Any]) -> Path:
    """An encoder, trained for the share of the part's time."""
    common = options | {"arch": setup.arch, "device": setup.device, "overwrite": True}
    if setup.small:
        common |= {"batch_size": 16, "queue": 64}
    images = int(store.places_of("train")["count"].sum())
    trial = setup.work / f"{name}-pace"
    pretrain(store.path, trial, epochs=3, **common)
    pace = images / rate(read_log(trial), "loss", min(common["batch_size"], images))
    epochs = 1 if setup.small else max(5, int(SHARES[name] * (setup.seconds - OVERHEAD) / pace))
    notes.add(**{f"{name}_seconds_of_an_epoch": round(pace, 2), f"{name}_epochs": epochs})
    began, out = time.monotonic(), setup.work / f"{name}-run"
    path = pretrain(store.path, out, epochs=epochs, **common)
    if path is None:
        raise RuntimeError(f"{name}: pretraining was stopped")
    metrics = json.loads((out / "metrics.json").read_text())
    took = time.monotonic() - began
    notes.add(**{f"{name}_run": {"seconds": round(took, 1), "images/s": round(images * epochs / took), **metrics}})
    return path


def keep_half(encoder: Path, out: Path) -> None:
    """Write an encoder's kernels in half precision; statistics, biases and the description stay as they are."""
    with safe_open(encoder, framework="pt") as file:
        told = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    small = {name: part.half() if part.numel() > 1000 and part.ndim > 1 else part for name, part in weights.items()}
    save_file(small, out, told)


def _scores(said: dict[str, Any], dates: str) -> list[dict[str, Any]]:
    """Accuracy of each method and classifier, in percent."""
    return [
        {"method": method, "classifier": kind, "accuracy": round(100 * scores["accuracy"]["value"], 1)}
        for method, kinds in said[dates].items()
        if isinstance(kinds, dict)
        for kind, scores in kinds.items()
        if isinstance(scores, dict) and "accuracy" in scores
    ]
