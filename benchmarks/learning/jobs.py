"""The measurements: a job evaluates one encoder, pretrained or not, in one way with one seed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.learning.references import REFERENCES, described, read_reference
from benchmarks.logs import pairs_per_second, read_log
from core.errors import UserError
from core.evaluation.floors import colours_of
from core.evaluation.probe import floor_of, predict, with_location
from core.evaluation.protocol import Protocol
from core.evaluation.retrieval import SCALINGS, TOP, Retrieval
from core.evaluation.words import title
from core.method.views import Views
from core.networks.encoders import Encoder, ModelSpec, features
from core.networks.weights import load_encoder, load_model, save_model
from core.runs import pick_device
from core.store.read import ChipStore
from core.training.finetune import finetune
from core.training.pretrain import pretrain

VARIANTS = ("moco", "moco-geo", "moco-tp", "moco-geo-tp")
UNTRAINED, FLOOR = "untrained", "colour statistics"
WHERE, BOTH = "coordinates", "colours and coordinates"
FLOORS = (FLOOR, WHERE, BOTH)  # without a network
# One setting of ours put back to the paper's, or one that the paper leaves open, under moco-geo-tp.
CHANGES: dict[str, dict[str, Any]] = {
    "temperature 0.02": {"temperature": 0.02},
    "momentum 0.999": {"momentum": 0.999},
    "queue 65,536": {"queue": 65536},
    "sgd, learning rate 0.03": {"optimizer": "sgd", "lr": 0.03},
    "jitter 0.4 in 80 %, grey in 20 %": {"views": Views(jitter=0.4, jitter_chance=0.8, grey=0.2)},
    "blur in 50 %": {"views": Views(blur=0.5)},
    "no quarter turns": {"views": Views(turn=False)},
    "crops from 8 %": {"views": Views(scale=0.08)},
    "geo head on the trunk": {"geo_head": "trunk"},
    "keys of the same place masked": {"mask_same_place": True},
}
# How two dates are used, and the optimiser: ``python -m benchmarks.learning.choices``.
_BUDGET = {"epochs": 5}
_PAPER = {"pair_views": "independent", "season": "ignore"}
CHOICES: dict[str, tuple[str, dict[str, Any]]] = {
    "moco, sgd": ("moco", {"optimizer": "sgd"}),
    "moco": ("moco", {}),
    "moco-geo": ("moco-geo", {}),
    "moco-geo-tp, independent, ignore": ("moco-geo-tp", _PAPER),
    "moco-geo-tp, shared, ignore": ("moco-geo-tp", _PAPER | {"pair_views": "shared"}),
    "moco-geo-tp, whole, ignore": ("moco-geo-tp", _PAPER | {"pair_views": "whole"}),
    "moco-geo-tp, whole, keep": ("moco-geo-tp", {"season": "keep"}),
    "moco-tp, whole, both": ("moco-tp", {}),
    "moco-geo-tp, whole, both": ("moco-geo-tp", {}),
    "moco-geo-tp, whole, both, ignore weight 0.2": ("moco-geo-tp", {"ignore_weight": 0.2}),
    "moco-geo-tp, whole, both, GeoRank": ("moco-geo-tp", {"geo_loss": "rank"}),
    "moco, 25 passes": ("moco", {"epochs": 25}),
    "moco-geo-tp, whole, both, 25 passes": ("moco-geo-tp", {"epochs": 25}),
}
# EuroSAT's chips have 64 px: half of that sees three times the pairs in the same time (measured: notes.md).
SETTINGS: dict[str, dict[str, Any]] = {name: {"views": Views(size=32)} for name in ("eurosat", "eurosat-spatial")}
FRACTIONS = {0.01: 40, 0.1: 8, 1.0: 2}  # of the labels, and the epochs of fine-tuning: few labels need more passes
DETECTION_EPOCHS = 6
BATCH = 64
TIMED_IMAGES = 10_000  # enough for a steady pace
Record = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One measurement.

    Attributes:
        data: name of the store.
        method: a variant of pretraining, UNTRAINED, one of FLOORS or one of REFERENCES.
        measure: frozen (kNN, logistic regression, retrieval), fine-tuned, or detection.
        seed: of pretraining, of the images that stand for a place, of fine-tuning.
        minutes: of pretraining.
        change: one of CHANGES or CHOICES, or none.
        fraction: of the labels that fine-tuning sees.
    """

    data: str
    method: str
    measure: str = "frozen"
    seed: int = 0
    minutes: float = 0.0
    change: str = ""
    fraction: float = 1.0

    @property
    def key(self) -> str:
        """Names the job in results.jsonl and in the log."""
        return ", ".join(f"{name} {value:g}" if isinstance(value, (int, float)) else f"{value}"
                         for name, value in asdict(self).items() if value not in ("", 0.0) or name == "seed")  # fmt: skip

    @property
    def run(self) -> str:
        """Folder of its encoder."""
        name = f"{self.data}-{self.method}-{self.change}-{self.minutes:g}-{self.seed}"
        return "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in name)


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Attributes:
        data: the datasets, in order.
        seeds: of Blue Marble and Peru; of EuroSAT, Dubai and the ablations fewer.
        minutes: of a pretraining on Blue Marble.
        curve: further budgets of it.
        change_minutes: of an ablation.
        peru_minutes, eurosat_minutes, dubai_minutes: of a pretraining there.
        references: of REFERENCES those that are measured on Blue Marble.
    """

    data: tuple[str, ...]
    seeds: int = 5
    minutes: float = 3.0
    curve: tuple[float, ...] = (1.0, 8.0)
    change_minutes: float = 1.0
    peru_minutes: float = 0.5
    eurosat_minutes: float = 15.0
    dubai_minutes: float = 3.0
    references: tuple[str, ...] = ()

    def jobs(self) -> list[Job]:
        """All of it: first what pretrains, then what begins with those encoders; the variants before the details."""
        every = [job for name in self.data for job in getattr(self, name)()] + self.details()
        return list(dict.fromkeys(sorted(every, key=lambda job: job.measure != "frozen")))

    def few(self, most: int) -> range:
        """Seeds of what is costly."""
        return range(min(most, self.seeds))

    def bluemarble(self) -> list[Job]:
        """Every variant with every seed, the floors, fine-tuning."""
        jobs = [
            *(Job("bluemarble", name) for name in (*FLOORS, *self.references)),
            *_frozen("bluemarble", range(self.seeds), VARIANTS, self.minutes),
        ]
        for seed in range(self.seeds):
            for start in (Job("bluemarble", UNTRAINED), Job("bluemarble", "moco-geo-tp", minutes=self.minutes)):
                jobs.append(replace(start, measure="fine-tuned", seed=seed))
        return jobs

    def details(self) -> list[Job]:
        """The curve, and one setting changed."""
        base = Job("bluemarble", "moco-geo-tp", minutes=self.change_minutes)
        jobs = []
        for minutes in self.curve:
            jobs += _frozen("bluemarble", self.few(2), ("moco", "moco-geo-tp"), minutes)
        return jobs + [replace(base, seed=seed, change=change) for change in ("", *CHANGES) for seed in self.few(2)]

    def peru(self) -> list[Job]:
        """Every variant with every seed."""
        return _frozen("peru", range(self.seeds), VARIANTS, self.peru_minutes)

    def eurosat(self) -> list[Job]:
        """Frozen, and fine-tuned with few labels."""
        minutes = self.eurosat_minutes
        jobs = _frozen("eurosat", self.few(2), ("moco",), minutes)
        for fraction in FRACTIONS:
            for seed in self.few(2):
                for start in (Job("eurosat", UNTRAINED), Job("eurosat", "moco", minutes=minutes)):
                    jobs.append(replace(start, measure="fine-tuned", seed=seed, fraction=fraction))
        return jobs

    def dubai(self) -> list[Job]:
        """Detection, on an untrained encoder and on one that has seen the images without their boxes."""
        return [
            replace(start, measure="detection", seed=seed)
            for seed in self.few(2)
            for start in (Job("dubai", UNTRAINED), Job("dubai", "moco", minutes=self.dubai_minutes))
        ]


def _frozen(data: str, seeds: range, variants: tuple[str, ...], minutes: float) -> list[Job]:
    jobs = [Job(data, FLOOR)]
    for seed in seeds:
        jobs += [Job(data, UNTRAINED, seed=seed), *(Job(data, name, seed=seed, minutes=minutes) for name in variants)]
    return jobs


@dataclass(frozen=True)
class Bench:
    """Where jobs run.

    Attributes:
        work: folder of stores and runs.
        device: as ``pretrain`` takes it.
        pace: seconds of an epoch on this whole machine, by store; epochs follow from it, so
            that a budget means the same for every variant, whatever else the machine does.
        quick: one epoch of everything, small batches.
        references: folder of the weights of REFERENCES.
    """

    work: Path
    device: str
    pace: dict[str, float]
    quick: bool = False
    references: Path | None = None

    def measure(self, job: Job) -> Record:
        """Run a job."""
        store = ChipStore(self.work / job.data)
        measures = {"frozen": self.frozen, "fine-tuned": self.fine_tuned, "detection": self.detection}
        return measures[job.measure](job, store)

    def frozen(self, job: Job, store: ChipStore) -> Record:
        """Labels, where there are any, and retrieval, where places have dates."""
        protocol = Protocol(store, job.seed) if (store.places["label"] >= 0).any() else None
        plan = Retrieval.plan(store, 0)  # the same questions for all
        rows = np.unique(np.concatenate([part.rows for part in (protocol, plan) if part is not None]))
        everything = None
        if job.method in (FLOOR, BOTH):
            everything = colours_of(store, rows)
        elif job.method in REFERENCES:
            everything = self.described(job.method, store, rows)
        elif job.method != WHERE:
            encoder = load_encoder(str(self.encoder(job, store)), store)[1]
            everything = features(encoder, store, rows, pick_device(self.device))
        record: Record = {}
        if protocol is not None:
            labelled = None if everything is None else everything[np.searchsorted(rows, protocol.rows)]
            record |= _hits(protocol, labelled, job)
        if plan is not None and everything is not None and job.method != BOTH:
            record["recall"] = {}
            for kind in SCALINGS:
                found = plan.recalls(everything, rows, pick_device(self.device), kind)
                suffix = "" if kind == SCALINGS[0] else f", {kind}"
                record["recall"] |= {f"recall at {top}{suffix}": found[top].round(4).tolist() for top in TOP}
            record["chance"] = {f"recall at {top}": plan.chance(top) for top in TOP}
        return record

    def described(self, name: str, store: ChipStore, rows: np.ndarray) -> np.ndarray:
        """Features of a reference."""
        assert self.references is not None
        return described(read_reference(name, self.references), store, rows, pick_device(self.device))

    def fine_tuned(self, job: Job, store: ChipStore) -> Record:
        """The whole network learns from labels; a place's dates are averaged as probabilities."""
        folder = self._finetune(job, store, "classification", FRACTIONS[job.fraction], batch_size=64)
        protocol = Protocol(store, job.seed)
        logits = features(load_model(folder / "model.safetensors")[1], store, protocol.rows, pick_device(self.device))
        shares = torch.from_numpy(logits).softmax(dim=1).numpy()
        labels = protocol.labels("test")
        return {
            "hits": {
                f"fine-tuned, {title(dates)}": marks(protocol.vectors(shares, "test", dates).argmax(axis=1) == labels)
                for dates in protocol.dates
                if dates != "stacked"
            }
        }

    def detection(self, job: Job, store: ChipStore) -> Record:
        """RetinaNet on the encoder."""
        folder = self._finetune(job, store, "detection", DETECTION_EPOCHS, batch_size=8)
        result = json.loads((folder / "metrics.json").read_text())
        return {"ap50": result["ap50"], "objects": result["objects"], "images": result["images"]}

    def _finetune(self, job: Job, store: ChipStore, task: str, epochs: int, batch_size: int) -> Path:
        out = self.work / "runs" / f"{job.run}-{task}-{job.fraction:g}"
        options = {"task": task, "labels_fraction": job.fraction, "seed": job.seed, "device": self.device}
        epochs = 1 if self.quick else epochs
        encoder = str(self.encoder(job, store))
        finetune(store.path, encoder, out, epochs=epochs, batch_size=batch_size, overwrite=True, **options)  # type: ignore[arg-type]
        (out / "last.ckpt").unlink(missing_ok=True)  # a hundred megabytes a run
        return out

    def encoder(self, job: Job, store: ChipStore) -> Path:
        """Weights of a job's encoder; pretrained now, or as far as that is still to do."""
        out = self.work / "runs" / job.run
        path = out / "encoder.safetensors"
        if path.exists():
            return path
        if job.method == UNTRAINED:
            out.mkdir(parents=True, exist_ok=True)
            spec = ModelSpec.of_store(store, "resnet18")
            torch.manual_seed(job.seed)
            save_model(path, spec, Encoder(spec))
            return path
        options = {"variant": job.method, "seed": job.seed, "device": self.device, "epochs": self.epochs(job)}
        options |= self.settings(job) | (_small(store) | {"epochs": 1} if self.quick else {})
        try:
            pretrain(store.path, out, **options, resume=(out / "last.ckpt").exists(), overwrite=True)
        except UserError as error:
            if not (out / "last.ckpt").exists():
                raise
            print(f"{error}: starting it again", flush=True)
            pretrain(store.path, out, **options, overwrite=True)
        (out / "last.ckpt").unlink()
        return path

    def settings(self, job: Job) -> dict[str, Any]:
        """What differs from the defaults of ``pretrain``."""
        chosen = _BUDGET | CHOICES[job.change][1] if job.change in CHOICES else {}
        return SETTINGS.get(job.data, {}) | CHANGES.get(job.change, {}) | chosen

    def epochs(self, job: Job) -> int:
        """Passes that fit into the job's budget."""
        return 1 if self.quick or not job.minutes else max(1, int(60 * job.minutes / self.pace[job.data]))


def measure_pace(bench: Bench, job: Job) -> float:
    """Seconds of an epoch of a job's pretraining, alone on the machine."""
    store, out = ChipStore(bench.work / job.data), bench.work / "runs" / "pace"
    images = int(store.places_of("train")["count"].sum())
    options = {"variant": job.method, "batch_size": BATCH, "device": bench.device} | bench.settings(job)
    pretrain(store.path, out, **options, epochs=-(-TIMED_IMAGES // images), overwrite=True)
    return images / pairs_per_second(read_log(out), "loss", BATCH)


def _small(store: ChipStore) -> dict[str, Any]:
    """Options that let a run finish on tiny data."""
    batch = min(BATCH, len(store.places_of("train")) // 2)
    return {"batch_size": batch, "queue": 4 * batch, "clusters": 5}


def _hits(protocol: Protocol, everything: np.ndarray | None, job: Job) -> Record:
    """Right and wrong answers with each use of the dates; of encoders also with the coordinates beside the features."""
    record: Record = {"hits": {}}
    for dates in protocol.dates:
        if job.method in FLOORS:
            answers = {"forest": floor_of(everything, protocol, dates, job.seed, located=job.method != FLOOR)}
        else:
            assert everything is not None
            answers = predict(everything, protocol, dates)
            if protocol.located:
                located = with_location(everything, protocol, dates, job.seed)
                record.setdefault("located", {})[f"with location, {title(dates)}"] = marks(
                    located.test == protocol.labels("test")
                )
        record["hits"] |= {
            f"{kind}, {title(dates)}": marks(answer.test == protocol.labels("test")) for kind, answer in answers.items()
        }
    return record


def marks(right: np.ndarray) -> str:
    """One character a place: 1 where it is named rightly."""
    return "".join("01"[int(hit)] for hit in right)
