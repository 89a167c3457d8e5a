"""What pretraining buys: ``python -m benchmarks.learning``; writes docs/benchmarks/learning.md and learning.png.

    bluemarble  the quickstart's sample (GEOAWARE_SAMPLE or --sample), spatial blocks, twelve dates
    peru        landsat_peru_1985_2020 (--peru), no labels: retrieval across dates
    eurosat     EuroSAT RGB with its split files (--eurosat), neither dates nor places

Runs the project's own commands and functions. Each finished run is one line of results.jsonl in the work
folder and is not run again, so the benchmark may be stopped at any moment and goes on with the same command.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import torch

from core.errors import UserError, run_command
from core.finetune import finetune
from core.intervals import Score, mean_score
from core.models import Encoder, ModelSpec, features, load_model, save_model
from core.pretrain import pretrain
from core.probe import Protocol, colour_floor, colours_of, predict
from core.retrieval import TOP, Retrieval
from core.runs import pick_device
from core.store import ChipStore
from core.views import Views
from core.weights import load_encoder

matplotlib.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
VARIANTS = ("moco", "moco-geo", "moco-tp", "moco-geo-tp")
UNTRAINED, SCRATCH, TUNED, FLOOR = (
    "untrained",
    "supervised from scratch",
    "moco-geo-tp, fine-tuned",
    "colour statistics",
)
# What differs from the defaults of pretrain, one at a time, under moco-geo-tp. What is the default already
# is left out, and so is an option that this version does not have.
ABLATIONS: dict[str, dict[str, Any]] = {
    "the paper's colours (jitter 0.4, grey 0.2)": {"views": Views(jitter=0.4, grey=0.2)},
    "no flips and turns": {"views": Views(flip=False)},
    "blur 0.5": {"views": Views(blur=0.5)},
    "geo head on the trunk": {"geo_head": "trunk"},
    "geo head on the projection": {"geo_head": "projection"},
    "same-place keys masked": {"mask_same_place": True},
    "same-place keys not masked": {"mask_same_place": False},
}
FRACTIONS = (0.01, 0.1, 1.0)  # of the labels, fine-tuned
LABEL_EPOCHS = {0.01: 60, 0.1: 30, 1.0: 10}  # few labels need more passes
Record = dict[str, Any]


@dataclass
class Bench:
    """The settings of a benchmark, and what it has measured so far.

    Attributes:
        work: folder of stores, runs and results.jsonl.
        page: the page to write; the picture goes beside it.
        seeds: of Blue Marble and Peru.
        eurosat_seeds: of EuroSAT.
        minutes: of a pretraining.
        eurosat_minutes: likewise on EuroSAT.
        curve: further budgets, minutes, for the curves.
        quick: one epoch everywhere, small batches: tests that the benchmark runs.
        device: as pretrain takes it.
    """

    work: Path
    page: Path
    seeds: int
    eurosat_seeds: int
    minutes: float
    eurosat_minutes: float
    curve: tuple[float, ...]
    quick: bool
    device: str
    records: dict[str, Record] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read what an earlier run has finished; a line cut off by a kill does not count."""
        self.work.mkdir(parents=True, exist_ok=True)
        path = self.work / "results.jsonl"
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            self.records[record["key"]] = record

    def once(self, key: str, run: Callable[[], Record]) -> Record:
        """The record of this key, measured now if it is not there yet."""
        if key not in self.records:
            print(f"{time.strftime('%H:%M:%S')} {key}", flush=True)
            start = time.monotonic()
            record = run() | {"key": key}
            record.setdefault("seconds", round(time.monotonic() - start, 1))
            with open(self.work / "results.jsonl", "a") as file:
                file.write("\n" + json.dumps(record))  # after a line that a kill has cut off, too
            self.records[key] = record
        return self.records[key]


# --- stores ---


def command(*arguments: object) -> None:
    """Run one of the project's commands, as a user would."""
    subprocess.run([sys.executable, "-m", *map(str, arguments)], cwd=ROOT, check=True)


def blue_marble(bench: Bench, sample: Path | None) -> ChipStore:
    """The quickstart's store."""
    out = bench.work / "bluemarble"
    if not out.exists():
        command("core.prepare", "sample", *(["--data", sample.resolve()] if sample else []), "--out", out.resolve())
    return ChipStore(out)


def peru(bench: Bench, folder: Path) -> ChipStore:
    """Dated scenes, cut at 32 px."""
    out = bench.work / "peru"
    if not out.exists():
        scenes = sorted(folder.resolve().glob("*.tif"))
        command("core.prepare", "rasters", *scenes, "--size", 32, "--date-format", "%Y", "--out", out.resolve())
    return ChipStore(out)


def eurosat(bench: Bench, folder: Path) -> ChipStore:
    """The tar with its split files, as a table of images."""
    out, files = bench.work / "eurosat", bench.work / "eurosat-files"
    if not out.exists():
        with tarfile.open(next(folder.glob("*.tar"))) as archive:
            archive.extractall(files, filter="data")
        root = next(path for path in sorted(files.iterdir()) if path.is_dir())
        rows = [
            {"path": name, "label": name.split("/")[0], "split": side}
            for side, file in (("train", "split_train"), ("val", "split_valid"), ("test", "split_test"))
            for name in (folder / f"{file}.txt").read_text().split()
        ]
        table = files / "images.csv"
        pd.DataFrame(rows).to_csv(table, index=False)
        command(
            "core.prepare", "table", table.resolve(), "--root", root.resolve(), "--size", 64, "--coordinates", "none",
            "--out", out.resolve(),
        )  # fmt: skip
    return ChipStore(out)


# --- encoders ---


def untrained(bench: Bench, store: ChipStore, seed: int) -> Path:
    """An encoder as it is before any training."""
    path = bench.work / "runs" / f"{store.path.name}-untrained-{seed}" / "encoder.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        spec = ModelSpec.of_store(store, "resnet18")
        torch.manual_seed(seed)
        save_model(path, spec, Encoder(spec))
    return path


def small(bench: Bench, store: ChipStore) -> dict[str, Any]:
    """Options that let a run finish on tiny data."""
    batch = min(256, len(store.places_of("train")) // 2)
    return {"batch_size": batch, "queue": 4 * batch, "clusters": 5} if bench.quick else {}


def epochs_for(bench: Bench, store: ChipStore, minutes: float) -> int:
    """Passes that fit into a budget on this machine; the same for all variants and seeds of a store."""
    if bench.quick:
        return 1

    def run() -> Record:
        start = time.monotonic()
        out = bench.work / "runs" / f"{store.path.name}-pace"
        pretrain(store.path, out, variant="moco", epochs=1, device=bench.device, overwrite=True)
        return {"seconds": time.monotonic() - start}

    return max(1, int(60 * minutes / bench.once(f"{store.path.name}, seconds of an epoch", run)["seconds"]))


def learned(
    bench: Bench, store: ChipStore, name: str, minutes: float, seed: int, variant: str, options: dict[str, Any]
) -> Path:
    """Pretrain, or go on with a pretraining that was cut off."""
    out = bench.work / "runs" / f"{store.path.name}-{_slug(name)}-{minutes:g}min-{seed}"
    result = out / "encoder.safetensors"
    if result.exists():
        return result
    chosen = {"variant": variant, "epochs": epochs_for(bench, store, minutes), "seed": seed, "device": bench.device}
    chosen |= small(bench, store) | options
    start = time.monotonic()
    try:
        pretrain(store.path, out, **chosen, resume=(out / "last.ckpt").exists(), overwrite=True)
    except UserError as error:
        if not (out / "last.ckpt").exists():
            raise
        print(f"{error}: starting it again", flush=True)
        pretrain(store.path, out, **chosen, overwrite=True)
    (out / "last.ckpt").unlink()  # a hundred megabytes a run
    (out / "seconds.txt").write_text(f"{time.monotonic() - start:.0f}")
    return result


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


# --- measuring ---


def hits(predicted: np.ndarray, labels: np.ndarray) -> str:
    """One character a place: 1 where it is named rightly."""
    return "".join("01"[int(right)] for right in predicted == labels)


def with_labels(bench: Bench, store: ChipStore, encoder: Path, seed: int) -> Record:
    """Frozen features: kNN and logistic regression."""
    protocol = Protocol(store, seed)
    everything = features(load_encoder(encoder, store)[1], store, protocol.rows, pick_device(bench.device))
    labels = protocol.labels("test")
    return {
        "hits": {
            f"{kind}, {_spaced(dates)}": hits(said, labels)
            for dates in protocol.dates
            for kind, said in predict(everything, protocol, dates).items()
        }
    }


def across_dates(bench: Bench, store: ChipStore, encoder: Path | None, seed: int) -> Record:
    """Retrieval, of an encoder or of colour statistics; empty where places have one date."""
    plan = Retrieval.plan(store, seed)
    if plan is None:
        return {}
    device = pick_device(bench.device)
    if encoder is None:
        found = plan.recalls(colours_of(store, plan.rows), plan.rows, device)
    else:
        everything = features(load_encoder(encoder, store)[1], store, plan.rows, device)
        found = plan.recalls(everything, plan.rows, device)
    return {
        "recall": {f"recall at {top}": found[top].round(4).tolist() for top in TOP},
        "chance": {f"recall at {top}": plan.chance(top) for top in TOP},
    }


def fine_tuned(
    bench: Bench, store: ChipStore, encoder: Path, name: str, seed: int, fraction: float = 1.0, epochs: int = 10
) -> Record:
    """The whole network learns from labels; a place's dates are averaged as probabilities."""
    out = bench.work / "runs" / f"{store.path.name}-{_slug(name)}-{fraction:g}-{seed}"
    options = {"task": "classification", "labels_fraction": fraction, "seed": seed, "device": bench.device}
    epochs = 1 if bench.quick else epochs
    path = finetune(store.path, encoder, out, epochs=epochs, batch_size=64, overwrite=True, **options)
    (out / "last.ckpt").unlink(missing_ok=True)
    protocol = Protocol(store, seed)
    logits = features(load_model(path)[1], store, protocol.rows, pick_device(bench.device))
    probabilities = torch.from_numpy(logits).softmax(dim=1).numpy()
    labels = protocol.labels("test")
    said = {dates: protocol.vectors(probabilities, "test", dates).argmax(axis=1) for dates in protocol.dates}
    return {"hits": {f"fine-tuned, {_spaced(dates)}": hits(answer, labels) for dates, answer in said.items()}}


def floors(store: ChipStore, seed: int) -> Record:
    """Colour statistics with gradient boosting."""
    protocol = Protocol(store, seed)
    statistics, labels = colours_of(store, protocol.rows), protocol.labels("test")
    kinds = (*protocol.dates, "stacked") if protocol.alike else protocol.dates
    said = {dates: colour_floor(statistics, protocol, dates, seed) for dates in kinds}
    return {"hits": {f"boosting, {_spaced(dates)}": hits(answer, labels) for dates, answer in said.items()}}


def _spaced(dates: str) -> str:
    return dates.replace("_", " ")


# --- the three datasets ---

Runs = dict[str, list[Record]]  # records by seed, of each method


def run_pretrained(
    bench: Bench, store: ChipStore, variants: tuple[str, ...], seeds: int, minutes: float, labelled: bool
) -> Runs:
    """Frozen features of the untrained network and of each variant."""

    def measure(encoder: Path, seed: int) -> Record:
        found = with_labels(bench, store, encoder, seed) if labelled else {}
        clock = encoder.with_name("seconds.txt")
        trained = {"pretraining_s": float(clock.read_text())} if clock.exists() else {}
        return found | across_dates(bench, store, encoder, 0) | trained

    runs: Runs = {}
    for seed in range(seeds):
        runs.setdefault(UNTRAINED, []).append(
            bench.once(_key(store, UNTRAINED, seed), lambda seed=seed: measure(untrained(bench, store, seed), seed))
        )
        for variant in variants:
            runs.setdefault(variant, []).append(
                bench.once(
                    _key(store, variant, seed, minutes),
                    lambda seed=seed, variant=variant: measure(
                        learned(bench, store, variant, minutes, seed, variant, {}), seed
                    ),
                )
            )
    return runs


def run_ablations(bench: Bench, store: ChipStore, seeds: int) -> Runs:
    """moco-geo-tp with one setting changed."""
    defaults = {name: p.default for name, p in inspect.signature(pretrain).parameters.items()}
    runs: Runs = {}
    for name, options in list(ABLATIONS.items())[: 1 if bench.quick else None]:
        if any(option not in defaults or defaults[option] == value for option, value in options.items()):
            continue
        for seed in range(seeds):

            def run(name: str = name, options: dict = options, seed: int = seed) -> Record:
                encoder = learned(bench, store, name, bench.minutes, seed, "moco-geo-tp", options)
                return with_labels(bench, store, encoder, seed) | across_dates(bench, store, encoder, 0)

            runs.setdefault(name, []).append(bench.once(_key(store, name, seed, bench.minutes), run))
    return runs


def run_curve(bench: Bench, store: ChipStore, variants: tuple[str, ...], seeds: int) -> dict[float, Runs]:
    """The same with other budgets."""
    return {
        minutes: run_pretrained(bench, store, variants, seeds, minutes, labelled=True)
        for minutes in sorted({*bench.curve, bench.minutes})
    }


def _key(store: ChipStore, name: str, seed: int, minutes: float | None = None) -> str:
    return f"{store.path.name}, {name}, seed {seed}" + ("" if minutes is None else f", {minutes:g} min")


def bluemarble_section(bench: Bench, store: ChipStore) -> str:
    """Labels with one date and with all, retrieval, comparisons, ablations."""
    runs = run_pretrained(bench, store, VARIANTS, bench.seeds, bench.minutes, labelled=True)
    for seed in range(bench.seeds):
        for name, start in (
            (SCRATCH, lambda seed=seed: untrained(bench, store, seed)),
            (TUNED, lambda seed=seed: learned(bench, store, VARIANTS[-1], bench.minutes, seed, VARIANTS[-1], {})),
        ):
            runs.setdefault(name, []).append(
                bench.once(
                    _key(store, name, seed),
                    lambda name=name, start=start, seed=seed: fine_tuned(bench, store, start(), name, seed),
                )
            )
    runs[FLOOR] = [bench.once(_key(store, FLOOR, 0), lambda: floors(store, 0) | across_dates(bench, store, None, 0))]
    changed = run_ablations(bench, store, bench.seeds)
    curve = run_curve(bench, store, ("moco", "moco-geo-tp"), min(2, bench.seeds))
    _picture(bench, curve, "kNN on all dates, Blue Marble", "knn, all dates")
    base = {"moco-geo-tp, defaults": runs["moco-geo-tp"]}
    return "\n\n".join(
        (
            "## Blue Marble",
            f"{len(store.places_of('test'))} test places in strips of longitude that training never saw; "
            f"{_pretraining(runs)} {bench.seeds} seeds.",
            _accuracies(runs),
            "Colour statistics stacked: those of all dates one after the other.",
            "Retrieval across dates, test places:",
            _recalls(runs),
            "### Which variant is better",
            _comparisons(runs),
            "### One setting changed, moco-geo-tp",
            _accuracies(base | changed),
            _comparisons({"moco-geo-tp": runs["moco-geo-tp"]} | changed, "moco-geo-tp"),
            "### Against pretraining time",
            f"![Accuracy against minutes of pretraining]({bench.page.with_suffix('.png').name})",
        )
    )


def peru_section(bench: Bench, store: ChipStore) -> str:
    """Retrieval alone."""
    runs = run_pretrained(bench, store, VARIANTS, bench.seeds, bench.minutes, labelled=False)
    runs[FLOOR] = [bench.once(_key(store, FLOOR, 0), lambda: across_dates(bench, store, None, 0))]
    dates = int(store.places["count"].max())
    return "\n\n".join(
        (
            "## Landsat, Peru, 1985 to 2020",
            f"No labels: retrieval across {dates} dates, 32 px, {_pretraining(runs)} {bench.seeds} seeds.",
            _recalls(runs),
            _comparisons(runs),
        )
    )


def eurosat_section(bench: Bench, store: ChipStore) -> str:
    """Frozen, and fine-tuned with few labels."""
    minutes, seeds = bench.eurosat_minutes, bench.eurosat_seeds
    runs = run_pretrained(bench, store, ("moco",), seeds, minutes, labelled=True)
    runs[FLOOR] = [bench.once(_key(store, FLOOR, 0), lambda: floors(store, 0))]
    tuned: dict[str, Runs] = {}
    for fraction in FRACTIONS:
        for seed in range(seeds):
            for name, start in (
                (SCRATCH, lambda seed=seed: untrained(bench, store, seed)),
                ("moco, fine-tuned", lambda seed=seed: learned(bench, store, "moco", minutes, seed, "moco", {})),
            ):
                record = bench.once(
                    f"{_key(store, name, seed)}, {fraction:.0%} of the labels",
                    lambda name=name, start=start, seed=seed, fraction=fraction: fine_tuned(
                        bench, store, start(), name, seed, fraction, LABEL_EPOCHS[fraction]
                    ),
                )
                tuned.setdefault(f"{fraction:.0%} of the labels", {}).setdefault(name, []).append(record)
    few = [f"### {title}\n\n{_accuracies(runs)}\n\n{_comparisons(runs, SCRATCH)}" for title, runs in tuned.items()]
    return "\n\n".join(
        (
            "## EuroSAT",
            f"RGB, 64 px, the split files given ({len(store.places_of('test'))} test images); {_pretraining(runs)} "
            f"on its own training images without labels, {seeds} seeds.",
            _accuracies(runs),
            _comparisons(runs, UNTRAINED),
            *few,
        )
    )


# --- the page ---


def values(records: list[Record], column: str) -> np.ndarray:
    """(seeds, places) of a column of the tables."""
    if column in records[0].get("hits", {}):
        return np.array([[float(right) for right in record["hits"][column]] for record in records])
    return np.array([record["recall"][column] for record in records])


def columns(runs: Runs, part: str) -> list[str]:
    """Names of all measures of a kind, in the order in which they first occur."""
    return list(dict.fromkeys(name for records in runs.values() for name in records[0].get(part, {})))


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _accuracies(runs: Runs) -> str:
    names = columns(runs, "hits")
    rows = [
        [method, *(_cell(records, name) if name in records[0].get("hits", {}) else "" for name in names)]
        for method, records in runs.items()
        if "hits" in records[0]
    ]
    return _table(["", *names], rows)


def _recalls(runs: Runs) -> str:
    names = columns(runs, "recall")
    rows = [
        [method, *(_cell(records, name) for name in names)]
        for method, records in runs.items()
        if "recall" in records[0]
    ]
    chance = next(records[0]["chance"] for records in runs.values() if "chance" in records[0])
    return _table(["", *names], [*rows, ["chance", *(f"{100 * chance[name]:.1f} %" for name in names)]])


def _cell(records: list[Record], column: str) -> str:
    return str(mean_score(values(records, column)))


def _comparisons(runs: Runs, base: str = "moco") -> str:
    """Every method against one, paired by place and seed, in points."""
    shared = [name for part in ("hits", "recall") for name in columns({base: runs[base]}, part)]
    rows = []
    for method, records in runs.items():
        if method == base or len(records) != len(runs[base]):
            continue
        for name in shared:
            if name in records[0].get("hits", {}) or name in records[0].get("recall", {}):
                gain = mean_score(values(records, name) - values(runs[base], name))
                rows.append([f"{method} over {base}", name, _points(gain), _verdict(gain)])
    return _table(["paired by place and seed", "measure", "points", "the interval says"], rows) if rows else ""


def _points(gain: Score) -> str:
    return f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"


def _verdict(gain: Score) -> str:
    if gain.low > 0:
        return "better"
    return "worse" if gain.high < 0 else "not settled"


def _pretraining(runs: Runs) -> str:
    seconds = [record["pretraining_s"] for records in runs.values() for record in records if "pretraining_s" in record]
    return f"pretraining took {np.mean(seconds) / 60:.1f} minutes (ResNet-18, {os.cpu_count()} CPU cores),"


def _picture(bench: Bench, curve: dict[float, Runs], title: str, column: str) -> None:
    figure, axis = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for method in (name for name in next(iter(curve.values())) if name != UNTRAINED):
        scores = {minutes: mean_score(values(runs[method], column)) for minutes, runs in curve.items()}
        middle = 100 * np.array([score.value for score in scores.values()])
        spread = 100 * np.array([[score.low, score.high] for score in scores.values()]).T
        axis.errorbar(list(scores), middle, np.abs(spread - middle), marker="o", capsize=3, label=method)
    start = mean_score(values(next(iter(curve.values()))[UNTRAINED], column))
    axis.axhline(100 * start.value, color="grey", linestyle="--", label=UNTRAINED)
    axis.set(xlabel="minutes of pretraining", ylabel="accuracy, %", title=title)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    bench.page.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(bench.page.with_suffix(".png"), dpi=110)
    plt.close(figure)


def write_page(bench: Bench, sections: list[str]) -> None:
    """Write the page of the sections that are done."""
    head = (
        "# What pretraining buys\n\nMade by `make benchmark-learning`. ResNet-18, settings of `core.train pretrain` "
        "unless named. kNN: 5 neighbours, cosine; logistic regression with the penalty chosen on validation places; "
        "frozen features after average pooling. Values: mean over seeds; in brackets 95 % intervals, bootstrap over "
        "seeds and test places. A comparison counts only where its interval leaves out 0."
    )
    bench.page.parent.mkdir(parents=True, exist_ok=True)
    bench.page.write_text("\n\n".join([head, *sections]) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--sample", type=Path, help="copy of the quickstart's sample (default: as the quickstart finds it)"
    )
    parser.add_argument("--peru", type=Path, help="folder of landsat_peru_1985_2020; left out without it")
    parser.add_argument("--eurosat", type=Path, help="folder with EuroSAT's tar and split_*.txt; left out without it")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--eurosat-seeds", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=3.0, help="of each pretraining (default 3)")
    parser.add_argument("--eurosat-minutes", type=float, default=60.0, help="likewise on EuroSAT (default 60)")
    parser.add_argument("--curve", type=float, nargs="*", default=[0.5, 1.0, 6.0, 12.0], help="more budgets, minutes")
    parser.add_argument("--work", type=Path, default=Path("build/learning"), help="stores, runs, results.jsonl")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks" / "learning.md")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true", help="one epoch of everything: does it run?")
    return parser


def main() -> int:
    """Measure what is not measured yet, and write the page."""
    options = vars(_parser().parse_args())
    sources = {name: options.pop(name) for name in ("sample", "peru", "eurosat")}
    bench = Bench(**options | {"curve": tuple(options["curve"])})

    def run() -> None:
        sections = [bluemarble_section(bench, blue_marble(bench, sources["sample"]))]
        write_page(bench, sections)
        if sources["peru"]:
            sections.append(peru_section(bench, peru(bench, sources["peru"])))
            write_page(bench, sections)
        if sources["eurosat"]:
            sections.append(eurosat_section(bench, eurosat(bench, sources["eurosat"])))
            write_page(bench, sections)
        print(bench.page.read_text())

    return run_command(run)


if __name__ == "__main__":
    raise SystemExit(main())
