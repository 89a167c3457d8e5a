"""EuroSAT with the spatial split, in the protocol of torchgeo-bench: ``python -m benchmarks.learning.eurosat --eurosat DIR``.

Frozen features at the images' own 64 px and resized to 224 px; each band is standardised, and so is each feature. kNN with
k = 5; logistic regression whose C is chosen on the validation images and which is then fitted to training and validation
images; 95 % intervals by 200 bootstraps of the test images. Pretraining sees the training images alone, without labels.

Results are appended to eurosat.jsonl in the folder of work: the same command resumes, mid-pretraining too. The section of the
page is written anew from all that is there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from benchmarks.few_labels.page import write
from benchmarks.learning import page
from benchmarks.learning.jobs import FRACTIONS, UNTRAINED, Bench, Job, Record, marks, measure_pace
from benchmarks.learning.lanes import keep, read_results
from benchmarks.learning.references import REFERENCES, add_option
from benchmarks.learning.stores import ROOT, make_store
from core.errors import UserError, run_command
from core.evaluation.classify import knn_predict
from core.evaluation.floors import colours_of
from core.evaluation.stages import Pooled
from core.networks.encoders import ModelSpec, Standardise, features
from core.networks.weights import load_encoder
from core.runs import pick_device
from core.store.read import ChipStore

DATA, RESULTS = "eurosat-spatial", "eurosat.jsonl"
TITLE, HEAD = "EuroSAT, spatial split", "# What pretraining gains"
NATIVE, SIZES = 64, (64, 224)  # px
PENALTIES = tuple(10.0**power for power in range(-5, 2))  # candidates for C
BOOTSTRAPS = 200
STATISTICS, CONVOLUTIONS = "image statistics", "random convolutions"
STAGES, DEVIATIONS = "stages 1 to 4", "stages 1 to 4, means and deviations"
ENLARGED = f"{DEVIATIONS}, {NATIVE} and {2 * NATIVE} px"
FORMS = (STAGES, DEVIATIONS, ENLARGED)  # of an encoder's features, beside the means over its last map
FEW = (0.01, 0.1, 1.0)  # of the training labels, for fine-tuning
# RGB, accuracy of kNN and of the linear classifier in percent, as torchgeo-bench publishes them.
ANCHORS = (
    ("random convolutions", 49.8, 61.7),
    ("image statistics", 58.3, 67.2),
    ("ResNet-50, MoCo, SSL4EO-S12", 93.28, 95.76),
    ("DINOv3 ViT-L", 93.24, 95.59),
    ("the best there", 93.28, 96.50),
)
TEXT = """16,200 training, 5,400 validation and 5,400 test images of 64 px by longitude (the files of torchgeo), in the protocol of
[torchgeo-bench](https://github.com/torchgeo/torchgeo-bench): frozen encoder, every band standardised, kNN with k = 5, logistic
regression with C chosen on the validation images, then training and validation images together; 95 % intervals by 200
bootstraps of the test images. Features are the means over the last map, or over those of all four stages together, also with the
standard deviations over each map beside them, and also those of the image enlarged to twice its size beside its own. ResNet-18
and the defaults of `core.train pretrain --variant moco`, views of 32 px, pretrained on
the training images without labels.

The published numbers differ in this (as torchgeo-bench 0.4.0 has it): it reads the 16-bit GeoTIFFs of all bands, here are the 8-bit
JPEGs; its images have 224 px; it does not standardise features; its kNN is by Euclidean distance with the training images alone, here by
cosine with the validation images too."""


@dataclass(frozen=True)
class Probe:
    """One description of the images, judged at one size.

    Attributes:
        name: of the method in the table.
        job: what pretrains its encoder, or none.
        file: weights of an encoder from elsewhere, or none.
        size: px to which the images are resized.
        form: one of FORMS, or empty.
    """

    name: str
    job: Job | None = None
    file: str = ""
    size: int = NATIVE
    form: str = ""

    @property
    def row(self) -> str:
        """Name in the table."""
        return f"{self.name}, {self.form}" if self.form else self.name

    @property
    def seed(self) -> int:
        """Of the encoder."""
        return self.job.seed if self.job else 0

    @property
    def key(self) -> str:
        """Names the result."""
        return f"{self.row}, {self.size} px, seed {self.seed}"


class Resized(nn.Module):
    """An encoder that sees its images at another size, bilinearly resized."""

    def __init__(self, encoder: nn.Module, size: int) -> None:
        super().__init__()
        self.encoder, self.size = encoder, size

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (N, D) of (N, bands, rows, cols)."""
        return self.encoder(F.interpolate(pixels, self.size, mode="bilinear", align_corners=False, antialias=True))


class Beside(nn.Module):
    """The features of several encoders beside each other."""

    def __init__(self, *encoders: nn.Module) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (N, D) of (N, bands, rows, cols)."""
        return torch.cat([encoder(pixels) for encoder in self.encoders], dim=1)


def described(probe: Probe, bench: Bench, store: ChipStore) -> np.ndarray:
    """(images, D) of all images of the store."""
    rows, device = np.arange(len(store)), pick_device(bench.device)
    if probe.name == STATISTICS:
        return colours_of(store, rows)
    if probe.name in REFERENCES:
        return bench.described(probe.name, store, rows)
    if probe.name == CONVOLUTIONS:
        from torchgeo.models import RCF  # slow to import

        spec = ModelSpec.of_store(store, "resnet18")  # for its scaling
        network = nn.Sequential(Standardise(spec), RCF(len(spec.bands), features=512, kernel_size=3, seed=0))
        return features(network, store, rows, device, batch_size=64)  # its maps are as large as the images
    path = bench.encoder(probe.job, store) if probe.job else probe.file
    encoder: nn.Module = load_encoder(str(path), store)[1]
    if probe.form:
        encoder = Pooled(encoder, deviations=probe.form != STAGES)
    if probe.form == ENLARGED:
        encoder = Beside(encoder, Resized(encoder, 2 * NATIVE))
    if probe.size != NATIVE:
        encoder = Resized(encoder, probe.size)
    return features(encoder, store, rows, device, batch_size=128)


def judged(vectors: np.ndarray, store: ChipStore, threads: int = 1) -> Record:
    """Right and wrong answers on the test images, of kNN and of the linear classifier, from (images, D) features."""
    labels, side = store.column("label"), store.places["split"].to_numpy()[store.column("place_number")]
    rows = {name: np.flatnonzero((side == name) & (labels >= 0)) for name in ("train", "val", "test")}
    both = np.concatenate([rows["train"], rows["val"]])
    scaled = StandardScaler().fit(vectors[both]).transform(vectors).astype(np.float32)
    model = LogisticRegression(max_iter=5000, tol=1e-3, warm_start=True)
    found: dict[float, float] = {}
    with threadpool_limits(threads):
        for penalty in PENALTIES:
            model.set_params(C=penalty).fit(scaled[rows["train"]], labels[rows["train"]])
            found[penalty] = float(model.score(scaled[rows["val"]], labels[rows["val"]]))
        best = max(found, key=lambda penalty: found[penalty])
        linear = LogisticRegression(C=best, max_iter=5000, tol=1e-3).fit(scaled[both], labels[both])
        said = {
            "kNN": knn_predict((scaled[both], labels[both]), scaled[rows["test"]]),
            "linear": linear.predict(scaled[rows["test"]]),
        }
    right = {name: marks(answer == labels[rows["test"]]) for name, answer in said.items()}
    return {"hits": right, "C": best}


def interval(hits: Sequence[str]) -> str:
    """Mean accuracy over seeds with the limits of 200 bootstraps of the test images, in percent."""
    values = np.array([[float(hit) for hit in seed] for seed in hits]).mean(axis=0)
    rng = np.random.default_rng(0)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(BOOTSTRAPS)]
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{100 * values.mean():.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def pretrained(minutes: float, seed: int) -> Job:
    """Pretraining on the training images for so long."""
    return Job(DATA, "moco", seed=seed, minutes=minutes)


def probes(options: argparse.Namespace) -> list[Probe]:
    """All measurements on frozen features, the cheap ones first."""
    cheap = [Probe(STATISTICS), Probe(CONVOLUTIONS), *(Probe(name) for name in REFERENCES if options.references)]
    named = [Probe(name, file=file) for name, file in (entry.split("=", 1) for entry in options.encoder)]
    seeds = range(options.seeds)
    ours = [Probe(UNTRAINED, Job(DATA, UNTRAINED, seed=seed)) for seed in seeds]
    ours += [
        Probe(f"moco, {minutes:g} min", pretrained(minutes, seed)) for minutes in options.minutes for seed in seeds
    ]
    sized = [replace(probe, size=size) for size in options.sizes for probe in (*named, *ours)]
    return [*cheap, *sized, *(replace(probe, form=form) for form in FORMS for probe in ours)]


def tunings(options: argparse.Namespace) -> list[Job]:
    """Fine-tuning with few labels, from nothing and from the encoder that trained longest."""
    starts = [Job(DATA, UNTRAINED), *([pretrained(max(options.minutes), 0)] if options.minutes else [])]
    return [
        replace(start, measure="fine-tuned", seed=seed, fraction=fraction)
        for fraction in FEW
        for seed in range(options.seeds)
        for start in starts
    ]


def section(records: dict[str, Record]) -> list[str]:
    """Tables of what is measured, and of the anchors."""
    frozen: dict[tuple[str, int], list[str]] = {}
    for record in records.values():
        if "size" in record:
            frozen.setdefault((record["name"], record["size"]), []).append(record["key"])
    names = list(dict.fromkeys(name for name, _ in frozen))
    rows = []
    for name in names:
        cells = [name]
        for size in SIZES:
            keys = frozen.get((name, size), [])
            cells += [
                interval([records[key]["hits"][kind] for key in keys]) if keys else "" for kind in ("kNN", "linear")
            ]
        rows.append([*cells, f"{max(len(frozen.get((name, size), [])) for size in SIZES)}"])
    if not rows:
        return []
    heads = ["", *(f"{kind}, {size} px" for size in SIZES for kind in ("kNN", "linear")), "seeds"]
    anchors = [[name, f"{knn:.1f} %", f"{linear:.1f} %"] for name, knn, linear in ANCHORS]
    return [
        page.table(heads, rows),
        *([page.REFERENCES_TEXT] if REFERENCES.keys() & set(names) else []),
        "Published there (RGB):",
        page.table(["", "kNN", "linear"], anchors),
        *_few(records),
    ]


def _few(records: dict[str, Record]) -> list[str]:
    """A table of fine-tuning with few labels."""
    starts: dict[str, dict[float, list[str]]] = {}
    for record in records.values():
        if "fraction" in record:
            starts.setdefault(record["start"], {}).setdefault(record["fraction"], []).extend(record["hits"].values())
    if not starts:
        return []
    rows = [
        [start, *(interval(found[fraction]) if fraction in found else "" for fraction in FEW)]
        for start, found in starts.items()
    ]
    heads = ["fine-tuned with", *(f"{fraction:.0%} of the labels, {FRACTIONS[fraction]} epochs" for fraction in FEW)]
    return [page.table(heads, rows)]


def write_section(path: Path, work: Path) -> None:
    """Put the results so far into the page; without any the page stays as it is."""
    parts = section(read_results(work / RESULTS))
    if parts:
        write(path, TITLE, [*TEXT.splitlines(), *(line for part in parts for line in ("", *part.splitlines()))], HEAD)


def main() -> int:
    """Measure what is not measured yet, and write the section."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning.eurosat",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--eurosat", type=Path, help="folder of the tar and of eurosat-spatial-*.txt; not needed once the store is made"
    )
    add("--minutes", type=float, nargs="*", default=[15.0, 60.0], help="budgets of pretraining (default: 15 60)")
    add("--seeds", type=int, default=1)
    add("--sizes", type=int, nargs="+", choices=SIZES, default=list(SIZES), help="px of the frozen encoder's images")
    add(
        "--encoder",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="weights from elsewhere, as --encoder of probe takes them",
    )
    add_option(parser)
    add("--fine-tune", action="store_true", help="also fine-tune with 1, 10 and 100 %% of the labels")
    add("--work", type=Path, default=Path("build/learning"), help="store, runs, results")
    add("--page", type=Path, default=ROOT / "docs" / "benchmarks" / "learning.md")
    add("--device", default="auto")
    add("--only-page", action="store_true", help="only write the section from existing results")
    add("--quick", action="store_true", help="one epoch of everything, as a test")
    options = parser.parse_args()
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    results = options.work / RESULTS
    if not options.only_page:
        _measure(options, results)
    write_section(options.page, options.work)
    print("\n\n".join(section(read_results(results))))


def _measure(options: argparse.Namespace, results: Path) -> None:
    if any("=" not in entry for entry in options.encoder):
        raise UserError("--encoder: write NAME=FILE")
    options.work.mkdir(parents=True, exist_ok=True)
    if options.eurosat is None and not (options.work / DATA).exists():
        raise UserError(f"--eurosat: name the folder of EuroSAT; {options.work / DATA} is not made yet")
    make_store(DATA, options.eurosat, options.work)
    store, bench = (
        ChipStore(options.work / DATA),
        Bench(options.work, options.device, {}, options.quick, options.references),
    )
    if options.minutes and not options.quick:
        bench.pace[DATA] = _pace(bench, results)
    for probe in probes(options):
        if probe.key not in read_results(results):
            started = time.monotonic()
            record = judged(described(probe, bench, store), store)
            record |= {"key": probe.key, "name": probe.row, "size": probe.size}
            keep(results, record | {"seconds": round(time.monotonic() - started, 1)})
            print(
                f"{probe.key}: {', '.join(f'{kind} {interval([hits])}' for kind, hits in record['hits'].items())}",
                flush=True,
            )
    for job in tunings(options) if options.fine_tune else []:
        if job.key not in read_results(results):
            start = page.SCRATCH if job.method == UNTRAINED else f"{job.method}, {job.minutes:g} min"
            keep(results, bench.measure(job) | {"key": job.key, "start": start, "fraction": job.fraction})


def _pace(bench: Bench, results: Path) -> float:
    """Seconds of an epoch on this machine, measured once."""
    key = f"seconds of an epoch, {DATA}"
    if key not in (done := read_results(results)):
        done[key] = {"key": key, "seconds": round(measure_pace(bench, Job(DATA, "moco")), 2)}
        keep(results, done[key])
    return done[key]["seconds"]


if __name__ == "__main__":
    raise SystemExit(main())
