"""Part 2: speed of pretraining, whole runs against the same step on tensors that are on the device, and against the peers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import training
from benchmarks.gpu.chips import CLASSES, write_store
from benchmarks.gpu.notes import Notes, Setup
from benchmarks.logs import Log, pairs_per_second
from core.method.pairs import PairBatch
from core.store.read import ChipStore

PEERS = (("lightly", training.lightly), ("torchgeo", training.torchgeo))


def rate(log: Log, name: str, batch: int) -> float:
    """Pairs a second of the last two thirds of a run: what is compiled or chosen in the first steps does not count."""
    last = log[name][-1][0]
    return pairs_per_second({name: [entry for entry in log[name] if entry[0] >= last // 3]}, name, batch)


def noise(out: Path, images: int, size: int) -> ChipStore:
    """A store of random pixels, two dates a place; chips repeat after the first thousand, which no speed depends on."""
    first = np.frombuffer(np.random.default_rng(0).bytes(min(images, 1024) * 3 * size**2), np.uint8)
    chips = np.resize(first.reshape(-1, 3, size, size), (images, 3, size, size))
    places = images // 2
    return ChipStore(write_store(out, chips, ["train"] * places, np.zeros(places, int), CLASSES, dates=2))


def measure(setup: Setup, notes: Notes) -> None:
    """Whole runs and bare steps, plain and compiled; the peers; what the device could do."""
    warnings.filterwarnings("ignore")  # the other libraries' own
    on_gpu = setup.device == "cuda"
    size, batch, steps = (32, 16, 6) if setup.small else (224, 256, 40)
    precision = "32-true" if setup.small else "bf16-mixed"
    store = noise(setup.work / "store", batch * steps, size)
    notes.add(device=torch.cuda.get_device_name() if on_gpu else "cpu", arch=setup.arch, size=size, batch=batch, steps=steps,
              precision=precision, seconds_of_the_store=round(notes.seconds, 1))  # fmt: skip

    def run(loop: Callable[..., Log], name: str, scalar: str, *more: Any, **options: Any) -> float:
        if on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        log = loop(store, setup.work / name.replace(" ", "-"), batch, precision, setup.device, *more, **options)
        speed = rate(log, scalar, batch)
        memory = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else 0.0
        waited = [value for _, _, value in log.get("data_wait", [])[1:]]
        notes.add(
            **{
                name: {
                    "pairs/s": round(speed, 1),
                    "GiB": round(memory, 2),
                    "data_wait": float(np.mean(waited)) if waited else None,
                }
            }
        )
        return speed

    found: dict[str, float] = {}
    with notes.attempt("whole run"):
        found["whole"] = run(training.ours, "whole run", "loss", arch=setup.arch)
    with notes.attempt("bare step"):
        found["bare"] = run(bare, "bare step", "loss", setup.arch, steps)
        notes.add(whole_of_bare=round(found["whole"] / found["bare"], 4))
    if on_gpu:
        with notes.attempt("share of the peak"):
            peak, each = training.peak_flops(), training.flops_per_pair(store, setup.arch)
            notes.add(peak_tflops=round(peak / 1e12, 1), gflop_of_a_pair=round(each / 1e9, 2),
                      share_of_peak=round(found["whole"] * each / peak, 4))  # fmt: skip
    for name, loop in PEERS:
        with notes.attempt(name):
            try:
                found[name] = run(loop, name, "train_loss", arch=setup.arch, workers=2 if setup.small else 14)
            except ModuleNotFoundError as missing:
                notes.add(**{name: f"not measured: {missing}"})
                continue
            notes.add(**{f"whole_of_{name}": round(found["whole"] / found[name], 3)})
    with notes.attempt("lightly, bare step"):
        found["lightly bare"] = run(lightly_bare, "lightly bare step", "train_loss", setup.arch, steps)
        notes.add(bare_of_lightly_bare=round(found["bare"] / found["lightly bare"], 3))
    if setup.small:
        notes.add(compiled="not in a small run: compiling takes minutes on a CPU")
        return
    with notes.attempt("compiled whole run"):
        found["compiled"] = run(training.ours, "compiled whole run", "loss", arch=setup.arch, compile=True)
        notes.add(compiled_of_plain=round(found["compiled"] / found["whole"], 3))
        if on_gpu:
            notes.add(compiled_share_of_peak=round(found["compiled"] * each / peak, 4))
    with notes.attempt("compiled bare step"):
        found["compiled bare"] = run(bare, "compiled bare step", "loss", setup.arch, steps, compiled=True)
        notes.add(compiled_whole_of_bare=round(found["compiled"] / found["compiled bare"], 4))


def bare(
    store: ChipStore, out: Path, batch: int, precision: str, device: str, arch: str, steps: int, compiled: bool = False
) -> Log:
    """The step of a whole run on one batch that is on the device already."""
    loader = training._loader(store, batch)
    there = PairBatch(*(part.to(device) if isinstance(part, Tensor) else part for part in next(iter(loader))))
    module = training._module(loader, arch, steps)
    if compiled:
        module.moco.encoder_q[0].compile()
        module.moco.encoder_k[0].compile()
    return training._fit(module, training.Again(there, steps), out, precision, device)


def lightly_bare(store: ChipStore, out: Path, batch: int, precision: str, device: str, arch: str, steps: int) -> Log:
    """Lightly's step on two views that are on the device already: without the time of its augmentations."""
    size = store.info.chip_size
    views = [torch.randn(batch, 3, size, size, device=device) for _ in range(2)]
    return training._fit(training.LightlyMoCo(arch), training.Again(views, steps), out, precision, device)
