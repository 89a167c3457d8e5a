"""``core.train quickstart``: the whole workflow on real imagery, from the sample to a map and a report.

Each step is one of the project's commands, which the report lists with the time that it took. They run in this process:
torch and what is built on it take seconds to import. Modules that need rasterio are imported late: pretraining from a chip
store works without it.
"""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import UserError
from core.evaluation.scores import scores
from core.files import write_json
from core.runs import start_run
from core.store.read import UNLABELLED, ChipStore

if TYPE_CHECKING:
    from core.sources.sample import Sample

MAP = "landcover"
# px of neighbouring tiles: half of the default, a fifth less to compute; over Africa and Europe the same share of pixels is right.
OVERLAP = 16


def quickstart(
    out: Path = Path("outputs/quickstart"),
    data: Path | None = None,
    pretrain_epochs: int = 3,
    finetune_epochs: int = 22,
    labels_fraction: float = 0.5,
    device: str = "auto",
    seed: int = 0,
) -> Path:
    """Pretrain, probe, fine-tune, export and map the Blue Marble sample.

    Args:
        out: Folder for the results; replaces an earlier quickstart.
        data: Local copy of the sample; by default GEOAWARE_SAMPLE, or it is downloaded.
        pretrain_epochs: Epochs of pretraining with twelve months; raised for fewer months, to keep the number of steps.
        finetune_epochs: Epochs of fine-tuning.
        labels_fraction: Fraction of the training places whose labels are used.
        device: auto, cpu, cuda or another device name of torch.
        seed: Random seed.
    """
    settings = dict(locals())
    from core.report.quickstart_report import write_report
    from core.sources.sample import find_sample, make_store

    started = time.monotonic()
    sample = find_sample(data)
    start_run(out, settings, overwrite=True)
    print(f"sample: {len(sample.months)} months of 2004, from {sample.origin}", flush=True)
    python = _Commands(out, ["--device", device, "--seed", str(seed)])
    with python.timed("chip store"):
        store, tally = make_store(sample, out / "store", overwrite=True)
        print(f"chip store for the encoder: {tally}", flush=True)
    with python.timed("chip store for the map"):
        map_store, tally = make_store(sample, out / "store-map", map_windows=True, overwrite=True)
        print(f"chip store for the map: {tally}", flush=True)
    longer = 12 / len(sample.months)  # fewer images per epoch, so more epochs
    encoder = out / "encoder.safetensors"
    python.train(
        "pretrain", out / "store", "--variant", "moco-geo-tp", "--epochs", round(pretrain_epochs * longer),
        "--out", out / "pretrain",
    )  # fmt: skip
    shutil.copyfile(_result(out / "pretrain" / "encoder.safetensors"), encoder)
    python.train("probe", out / "store", "--encoder", encoder, "--out", out / "probe")
    _map(python, out, sample, encoder, finetune_epochs, labels_fraction)

    metrics = _metrics(out, store, map_store, len(sample.months)) | {
        "seconds": round(time.monotonic() - started),
        "steps": python.seconds,
    }
    write_json(out / "metrics.json", metrics)
    write_report(
        out, sample, metrics, [f"{line}  # {_clock(took)}" for line, took in zip(python.lines, python.seconds.values())]
    )
    _print_summary(out, metrics)
    return out


def _map(python: _Commands, out: Path, sample: Sample, encoder: Path, epochs: int, labels_fraction: float) -> None:
    """Fine-tune, export and map: a model of a series and all months, or of one date where there is only one."""
    from core.sources.sample import WORLD

    months, one = sorted(sample.months), out / f"{MAP}.onnx"
    model, beside = one, []
    dates: list[object] = []
    series: list[object] = []
    if len(months) > 1:
        model, beside = out / f"{MAP}_series.onnx", ["--single-date", one]
        dates = ["--dates", len(months)]
        series = ["--series", "--dates", *(f"2004-{month:02}-01" for month in months)]
    python.train(
        "finetune", out / "store-map", "--task", "segmentation", *dates, "--encoder", encoder,
        "--labels-fraction", labels_fraction, "--epochs", epochs, "--batch-size", 16, "--lr", 0.003, "--out", out / "finetune",
    )  # fmt: skip
    name = "World land cover (IGBP), Blue Marble"
    _result(out / "finetune" / "model.safetensors")
    python.run("export", "export.to_onnx", out / "finetune", "--out", model, *beside, "--name", name)
    python.run(
        "map", "export.predict", model, *(sample.months[month] for month in months), "--out", out, "--crs", WORLD.crs,
        "--bounds", *WORLD.bounds, "--confidence", "--name", MAP, "--overlap", OVERLAP, *series,
    )  # fmt: skip


def _result(path: Path) -> Path:
    """The file of a finished step; ``UserError`` where SIGTERM stopped the step before."""
    if not path.exists():
        raise UserError(f"{path}: the quickstart was stopped before it was made; start it again")
    return path


class _Commands:
    """Runs the project's commands, records them for the report, and the seconds of each step."""

    def __init__(self, out: Path, common: Sequence[str]) -> None:
        self.common, self.seconds = common, dict[str, float]()
        prepare = "python -m core.prepare sample"
        self.lines = [f"{prepare} --out {out / 'store'}", f"{prepare} --map --out {out / 'store-map'}"]

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - started, 1)

    def train(self, name: str, store: Path, *options: object) -> None:
        self.run(name, "core.train", name, "--data", store, *options, *self.common)

    def run(self, step: str, module: str, *options: object) -> None:
        arguments = [str(option) for option in options]
        self.lines.append("python -m " + shlex.join([module, *arguments]))
        print(f"\n$ {self.lines[-1]}", flush=True)
        with self.timed(step):
            if import_module(module).main(arguments):
                raise UserError(f"the step '{self.lines[-1]}' failed; see its message above")


def _metrics(out: Path, store: ChipStore, map_store: ChipStore, months: int) -> dict:
    """The metrics of all steps, from their files, and the agreement of the map on held-out blocks."""
    files = {"pretrain": "metrics.json", "probe": "probe.json", "finetune": "metrics.json"}
    return {
        "months": months,
        "images": len(store),
        "places": len(store.places),
        "splits": store.places["split"].value_counts().to_dict(),
        **{name: json.loads((out / name / file).read_text()) for name, file in files.items()},
        "map": map_agreement(out / f"{MAP}.tif", map_store),
    }


def map_agreement(path: Path, store: ChipStore) -> dict:
    """Metrics of a map on the grid of the store, from the label masks of the test places: over all pixels and over land."""
    confusion = place_confusions(path, store).sum(axis=0)
    result: dict = {"all_pixels": scores(confusion), "confusion": confusion.tolist()}
    if store.info.background is not None:
        confusion[store.info.background] = 0  # its column is kept: land predicted as water is an error
        result["land"] = scores(confusion)
    used = np.unique(_class_numbers(path, store))
    return result | {
        "classes_used": int((used != UNLABELLED).sum()),
        "times_majority": result["all_pixels"]["accuracy"] / result["all_pixels"]["majority_class"],
    }


def place_confusions(path: Path, store: ChipStore) -> np.ndarray:
    """Confusion matrix of each test place, (places, classes, classes): rows the truth, columns the map."""
    size, predicted = store.info.chip_size, _class_numbers(path, store)
    places = store.places_of("test")["first"].to_numpy()
    counts = np.zeros((len(places), *[len(store.info.classes)] * 2), np.int64)
    for confusion, row in zip(counts, places):
        first = store.index.iloc[row]
        here = predicted[first["row"] : first["row"] + size, first["column"] : first["column"] + size]
        truth = store.masks(np.array([row]))[0]
        known = (truth != UNLABELLED) & (here != UNLABELLED)
        np.add.at(confusion, (truth[known], here[known]), 1)
    return counts


def _class_numbers(path: Path, store: ChipStore) -> np.ndarray:
    """Class numbers of a map from its class values; ``UNLABELLED`` elsewhere."""
    import rasterio

    number_of = np.full(256, UNLABELLED, np.uint8)
    number_of[[entry.value for entry in store.info.classes]] = np.arange(len(store.info.classes))
    with rasterio.open(path) as dataset:
        return number_of[dataset.read(1)]


def _print_summary(out: Path, metrics: dict) -> None:
    steps = ", ".join(f"{step} {_clock(took)}" for step, took in metrics["steps"].items())
    knn, area = metrics["probe"]["all_dates"], metrics["map"]["all_pixels"]
    print(
        f"\nkNN, all dates: {knn['trained']['knn']['accuracy']['value']:.1%} with the encoder, "
        f"{knn['untrained']['knn']['accuracy']['value']:.1%} untrained, {knn['colour_statistics']['forest']['accuracy']['value']:.1%} by colour statistics"
        f"\nmap on held-out blocks: {area['accuracy']:.1%} of the pixels agree with MODIS, majority class {area['majority_class']:.1%}; "
        f"{metrics['map']['classes_used']} classes"
        f"\n{_clock(metrics['seconds'])} min: {steps}. Open {out / 'report.html'} in a browser; "
        f"in QGIS: Layer > Add Layer > Add Raster Layer > {out / (MAP + '.tif')} (colours load automatically)"
    )


def _clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{round(seconds) // 60}:{round(seconds) % 60:02}"
