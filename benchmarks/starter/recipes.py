"""Data, epochs and test accuracy of the starter models."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.learning.stores import ROOT, eurosat_table
from benchmarks.starter.steps import Steps
from core.errors import UserError
from core.evaluation.classify import knn_correct
from core.evaluation.intervals import Score, mean_score, share_score
from core.method.views import Views
from core.quickstart import place_confusions
from core.sources.sample import WORLD, find_sample
from core.store.read import ChipStore
from export.model_files.quantize import outputs
from export.runtime.model.session import Model

ARCH = "resnet10t"  # in eight bits 5 MB, a U-Net on it 8 MB: all three together stay below 20 MB
UNIT = "8-bit colour as in EuroSAT, reflectance x 10000 of 0-2750 as 0 to 255"  # export.runtime.model.units reads it
LAND_USE_ABOUT = (
    "Europe in 64 x 64 px of true colour. Pretrained without labels on EuroSAT's training images with plain MoCo, "
    "because EuroSAT tells neither dates nor places; then fine-tuned on their labels. EuroSAT: Helber et al. 2019, MIT; "
    "contains modified Copernicus Sentinel data"
)
FEATURES_NAME = "Features (EuroSAT), Sentinel-2 RGB, 10 m"
FEATURES_ABOUT = f"Features of every place, from four stages of the land-use model's encoder: {LAND_USE_ABOUT}"
FEATURES_OF = "named rightly by the 5 training images whose mean features are nearest, all side by side in tiles"
# EuroSAT's folder, the name for people, colour.
EUROSAT = (
    ("AnnualCrop", "Annual crop", "E8C547"),
    ("Forest", "Forest", "1B6B2E"),
    ("HerbaceousVegetation", "Herbaceous vegetation", "A5C663"),
    ("Highway", "Highway", "4D4D4D"),
    ("Industrial", "Industrial", "B04FC8"),
    ("Pasture", "Pasture", "6BD06B"),
    ("PermanentCrop", "Permanent crop", "C47F2A"),
    ("Residential", "Residential", "E0483E"),
    ("River", "River", "4FA8E8"),
    ("SeaLake", "Sea or lake", "1C3FA8"),
)


@dataclass(frozen=True)
class Effort:
    """Passes over the images, and the model's least accuracy on the test side."""

    pretrain: int
    finetune: int
    least: float = 0.0


LAND_USE = Effort(pretrain=50, finetune=75, least=0.97)  # about an hour on two cores
LAND_COVER = Effort(pretrain=30, finetune=16)  # about 20 minutes


@dataclass(frozen=True)
class Made:
    """A finished model.

    Attributes:
        path: of the ONNX file; its Item lies beside it.
        score: how right it is.
        of: what ``score`` is a share of; follows the number in a sentence.
        about: what it learned from, for its card.
        lines: the commands that made it.
        least: accuracy below which it is not published.
    """

    path: Path
    score: Score
    of: str
    about: str
    lines: tuple[str, ...]
    least: float = 0.0


def land_use(work: Path, folder: Path | None, device: str, effort: Effort = LAND_USE) -> list[Made]:
    """A classifier of Sentinel-2 scenes, pretrained and fine-tuned on EuroSAT, and its encoder alone as a map of its stages.

    Raises:
        UserError: EuroSAT's folder is not given.
    """
    steps = Steps(work, device)
    store = ChipStore(_eurosat(steps, folder))
    encoder = steps.train(
        "pretrain",
        store.path,
        "landuse-pretrain",
        variant="moco",
        arch=ARCH,
        epochs=effort.pretrain,
        views=Views(size=32),
    )
    tuned = steps.train(
        "finetune", store.path, "landuse-finetune", encoder=str(encoder), task="classification", epochs=effort.finetune
    )
    before = list(steps.lines)
    classes = steps.export(tuned, store.path, "landuse_sentinel2.onnx", "Land use (EuroSAT), Sentinel-2 RGB, 10 m")
    classes_lines, steps.lines = tuple(steps.lines), before
    features = steps.export(
        tuned,
        store.path,
        "embedding_sentinel2.onnx",
        FEATURES_NAME,
        "embedding",
        dense=True,
    )
    test, labels = _images(store, "test"), store.column("label")
    named = outputs(Model(classes, "cpu"), store, test, "testing").argmax(axis=1) == labels[test]
    images = f"of EuroSAT's {len(test):,} test images"
    return [
        Made(classes, mean_score(named), f"{images} named rightly", LAND_USE_ABOUT, classes_lines, effort.least),
        Made(
            features,
            mean_score(_neighbours(features, store, test)),
            f"{images} {FEATURES_OF}",
            FEATURES_ABOUT,
            tuple(steps.lines),
        ),
    ]


def land_cover(work: Path, device: str, effort: Effort = LAND_COVER) -> list[Made]:
    """A map of the world's IGBP classes from monthly Blue Marble."""
    steps, sample = Steps(work, device), find_sample()
    store, world = steps.store("landcover", "sample"), steps.store("landcover-map", "sample", "--map")
    encoder = steps.train("pretrain", store, "landcover-pretrain", arch=ARCH, epochs=effort.pretrain)
    tuned = steps.train(
        "finetune", world, "landcover-finetune", encoder=str(encoder), epochs=effort.finetune, batch_size=32
    )
    path = steps.export(tuned, world, "landcover_bluemarble.onnx", "World land cover (IGBP), Blue Marble, 7 km")
    score, land, places = _agreement(path, ChipStore(world), sample.months[sample.reference_month], work)
    about = (
        f"The world in {len(sample.months)} months of 2004. Pretrained without labels, with the place and the month of each "
        "image (moco-geo-tp); then fine-tuned on MODIS land cover (MCD12C1, 2019), itself a model's product. "
        "NASA Blue Marble Next Generation: NASA Earth Observatory"
    )
    of = (
        f"of the pixels agree with MODIS, {places:,} places in strips of longitude never learned from, June "
        f"({100 * land:.1f} % on land alone)"
    )
    return [Made(path, score, of, about, tuple(steps.lines))]


def _eurosat(steps: Steps, folder: Path | None) -> Path:
    """Its chip store, with classes for people."""
    files = steps.work / "eurosat-files"
    table, legend = files / "eurosat.csv", files / "legend.csv"
    if not (steps.work / "eurosat").exists():
        if folder is None:
            raise UserError(
                "EuroSAT is not to be had: name the folder of EuroSAT RGB and its split files with --eurosat"
            )
        listed, root = eurosat_table(folder, files)
        value_of = {name: str(value) for value, (name, _, _) in enumerate(EUROSAT, 1)}
        with listed.open(newline="") as rows, table.open("w", newline="") as numbered:
            csv.writer(numbered).writerows([value_of.get(text, text) for text in row] for row in csv.reader(rows))
        with legend.open("w", newline="") as file:
            csv.writer(file).writerows(
                [("value", "name", "color"), *((v, name, color) for v, (_, name, color) in enumerate(EUROSAT, 1))]
            )
    else:
        root = files / "2750"
    return steps.store(
        "eurosat", "table", table, "--root", root, "--legend", legend, "--size", 64, "--gsd", 10, "--unit", UNIT,
        "--coordinates", "none",
    )  # fmt: skip


def _images(store: ChipStore, side: str) -> np.ndarray:
    """Index rows of a side of EuroSAT, where every image has a label and a place of its own."""
    return store.places_of(side)["first"].to_numpy()


def _neighbours(path: Path, store: ChipStore, test: np.ndarray) -> np.ndarray:
    """Which test images their nearest training images name rightly."""
    encoder, labels, train = Model(path, "cpu"), store.column("label"), _images(store, "train")
    return knn_correct(*((outputs(encoder, store, rows, "testing"), labels[rows]) for rows in (train, test)))


def _agreement(model: Path, store: ChipStore, month: Path, work: Path) -> tuple[Score, float, int]:
    """Share of the test places' pixels that a map agrees with, that on land alone, and the number of places.

    The map is one of the whole world, made as a user would make it.
    """
    command = [
        "export.predict", model.resolve(), month.resolve(), "--out", (work / "map").resolve(), "--name", "world",
        "--crs", WORLD.crs, "--bounds", *WORLD.bounds,
    ]  # fmt: skip
    done = subprocess.run([sys.executable, "-m", *map(str, command)], cwd=ROOT, check=False)
    if done.returncode:
        raise UserError(f"{model}: made no map; the reason stands above")
    counts = place_confusions(work / "map" / "world.tif", store)
    counts = counts[counts.any(axis=(1, 2))]
    right, known = counts.trace(axis1=1, axis2=2), counts.sum(axis=(1, 2))
    dry = np.arange(len(store.info.classes)) != store.info.background
    land = counts[:, dry]
    return share_score(right, known), float(counts[:, dry, dry].sum() / land.sum()), len(counts)
