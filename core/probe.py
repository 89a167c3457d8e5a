"""``core.train probe``: how good are frozen features? kNN and logistic regression, by place.

Protocol: features of the trunk after average pooling, standardised with the training places; kNN by
cosine similarity, majority of k; logistic regression with C chosen on the validation places. "One date"
knows each place by one image, "all dates" by the mean of its features over all dates. Test places lie in
other spatial blocks than training places. Intervals: 95 %, bootstrap over test places.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from core.errors import UserError
from core.files import write_json
from core.models import Encoder, features
from core.runs import pick_device, start_run
from core.store import ChipStore, images_of
from core.weights import load_encoder

K_NEIGHBOURS = 5
PENALTIES = (0.001, 0.01, 0.1)  # candidates for C of the logistic regression
RESAMPLES = 1000
Side = tuple[np.ndarray, np.ndarray]  # features or index rows (N, ...), labels (N,)


@dataclass(frozen=True)
class Score:
    """A measured value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """In per cent."""
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


def knn_predict(train: Side, queries: np.ndarray, k: int = K_NEIGHBOURS) -> np.ndarray:
    """Majority class of the k nearest training features by cosine; ties go to the nearer neighbours.

    Args:
        train: (N, D) features and (N,) labels.
        queries: (M, D) features.
        k: number of neighbours.

    Returns:
        (M,) labels.
    """
    known, labels = train
    similarity = _unit(queries) @ _unit(known).T
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    # A neighbour counts a little less the farther down the list it stands: only ties notice.
    weights = 1 - np.arange(nearest.shape[1]) * 1e-3
    votes = np.zeros((len(queries), labels.max() + 1))
    for rank, weight in enumerate(weights):
        votes[np.arange(len(queries)), labels[nearest[:, rank]]] += weight
    return votes.argmax(axis=1)


def knn_accuracy(encoder: torch.nn.Module, store: ChipStore, train: Side, val: Side, device: torch.device) -> float:
    """KNN accuracy of an encoder on index rows; both sides are (rows, labels)."""
    known, queries = (features(encoder, store, rows, device) for rows, _ in (train, val))
    scaler = StandardScaler().fit(known)
    predicted = knn_predict((scaler.transform(known), train[1]), scaler.transform(queries))
    return float((predicted == val[1]).mean())


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def bootstrap(predicted: np.ndarray, labels: np.ndarray, seed: int = 0) -> dict[str, Score]:
    """Accuracy and macro-F1 with intervals, resampling test places."""
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, len(labels), len(labels)) for _ in range(RESAMPLES)]

    def score(metric) -> Score:  # type: ignore[no-untyped-def]
        values = [metric(predicted[d], labels[d]) for d in draws]
        low, high = np.percentile(values, [2.5, 97.5])
        return Score(float(metric(predicted, labels)), float(low), float(high))

    return {"accuracy": score(_accuracy), "macro_f1": score(_macro_f1)}


def _accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    return float((predicted == labels).mean())


def _macro_f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Mean F1 of the classes that occur; by counting, since the bootstrap asks a thousand times."""
    size = int(max(labels.max(), predicted.max())) + 1
    hits = np.bincount(labels[labels == predicted], minlength=size)
    truth, said = np.bincount(labels, minlength=size), np.bincount(predicted, minlength=size)
    return float((2 * hits / np.maximum(truth + said, 1))[truth > 0].mean())


def advantage(better: np.ndarray, worse: np.ndarray, labels: np.ndarray, seed: int = 0) -> Score:
    """How much more accurate one prediction is than another on the same places, paired bootstrap."""
    gain = (better == labels).astype(float) - (worse == labels)
    rng = np.random.default_rng(seed)
    means = [gain[rng.integers(0, len(gain), len(gain))].mean() for _ in range(RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Score(float(gain.mean()), float(low), float(high))


def colour_statistics(pixels: np.ndarray) -> np.ndarray:
    """Mean, deviation, least and greatest of each band: (N, bands, rows, cols) to (N, 4 x bands)."""
    flat = pixels.reshape(*pixels.shape[:2], -1)
    return np.concatenate([f(flat, axis=2) for f in (np.nanmean, np.nanstd, np.nanmin, np.nanmax)], axis=1)


class _Protocol:
    """Which images stand for a place, and which places are on which side."""

    def __init__(self, store: ChipStore, seed: int) -> None:
        places = store.places[store.places["label"] >= 0]
        self.sides = {side: places[places["split"] == side] for side in ("train", "val", "test")}
        if any(side.empty for side in self.sides.values()):
            raise UserError(f"{store.path}: the probe needs labelled places in the splits train, val and test")
        if self.sides["train"]["label"].nunique() < 2:
            raise UserError(f"{store.path}: its training places have one class only; a probe needs two")
        self.images = {name: images_of(side) for name, side in self.sides.items()}
        self.rows = np.sort(np.concatenate([rows for images in self.images.values() for rows in images]))
        self.position = pd.Series(np.arange(len(self.rows)), self.rows)
        self.random_rows = {
            name: [np.random.default_rng([seed, i]).choice(images, 1) for i, images in enumerate(places)]
            for name, places in self.images.items()
        }

    def vectors(self, everything: np.ndarray, side: str, dates: str) -> np.ndarray:
        """One vector a place: of one random date, or the mean over all."""
        chosen = self.random_rows[side] if dates == "one_date" else self.images[side]
        return np.stack([everything[self.position[rows].to_numpy()].mean(axis=0) for rows in chosen])

    def labels(self, side: str) -> np.ndarray:
        return self.sides[side]["label"].to_numpy()


def _predictions(everything: np.ndarray, protocol: _Protocol, dates: str) -> dict[str, np.ndarray]:
    """Predicted labels of the test places by kNN and by logistic regression."""
    scaler = StandardScaler().fit(protocol.vectors(everything, "train", dates))
    train, val, test = (scaler.transform(protocol.vectors(everything, s, dates)) for s in ("train", "val", "test"))
    labels = protocol.labels("train")

    def fitted(penalty: float) -> LogisticRegression:
        return LogisticRegression(C=penalty, max_iter=2000).fit(train, labels)

    best = max((fitted(c) for c in PENALTIES), key=lambda model: model.score(val, protocol.labels("val")))
    return {"knn": knn_predict((train, labels), test), "logistic": best.predict(test)}


def _floor(store: ChipStore, protocol: _Protocol, dates: str, seed: int) -> np.ndarray:
    """The colour-statistics classifier: what needs no encoder at all."""
    parts = [
        colour_statistics(store.pixels(rows))
        for rows in np.array_split(protocol.rows, max(1, len(protocol.rows) // 2000))
    ]
    everything = np.concatenate(parts)
    train, test = (protocol.vectors(everything, side, dates) for side in ("train", "test"))
    model = HistGradientBoostingClassifier(random_state=seed, max_iter=100, early_stopping=False)
    return model.fit(train, protocol.labels("train")).predict(test)


def probe(
    data: Path,
    encoder: str,
    out: Path | None = None,
    device: str = "auto",
    seed: int = 0,
    overwrite: bool = False,
) -> dict:
    """Measure an encoder's frozen features beside an untrained encoder and beside colour statistics.

    Args:
        data: Folder of a chip store with labels.
        encoder: encoder.safetensors of a pretraining run, weights of others (.pth.tar, .pth, .safetensors), or torchgeo:ResNet50_Weights.NAME.
        out: Folder for probe.json; nothing is written without it.
        device: auto, cpu, cuda or another name that torch knows.
        seed: Of the dates chosen, of the untrained encoder and of the bootstrap.
        overwrite: Replace the folder.
    """
    settings = dict(locals())
    store = ChipStore(data)
    spec, trained = load_encoder(encoder, store)
    protocol = _Protocol(store, seed)
    target = pick_device(device)
    if out is not None:
        start_run(out, settings, overwrite=overwrite)
    torch.manual_seed(seed)
    encoders = {"trained": trained, "untrained": Encoder(spec)}
    labels = protocol.labels("test")
    result: dict = {
        "test_places": len(labels),
        "train_places": len(protocol.labels("train")),
        "k": K_NEIGHBOURS,
        "majority_class": float(np.bincount(labels).max() / len(labels)),
    }
    predictions: dict = {}
    for name, model in tqdm(encoders.items(), desc="probing", unit="encoder"):
        everything = features(model, store, protocol.rows, target)
        predictions[name] = {dates: _predictions(everything, protocol, dates) for dates in ("one_date", "all_dates")}
    for dates in ("one_date", "all_dates"):
        result[dates] = {
            name: {kind: bootstrap(p, labels, seed) for kind, p in predictions[name][dates].items()}
            for name in encoders
        }
        result[dates]["colour_statistics"] = {"boosting": bootstrap(_floor(store, protocol, dates, seed), labels, seed)}
        result[dates]["advantage_over_untrained"] = {
            kind: advantage(p, predictions["untrained"][dates][kind], labels, seed)
            for kind, p in predictions["trained"][dates].items()
        }
    print(table(result))
    plain = _as_json(result)
    if out is not None:
        write_json(out / "probe.json", plain)
    return plain


def table(result: dict) -> str:
    """The result as text, one line a method."""
    lines = [
        f"{result['test_places']} test places in other spatial blocks; majority class {100 * result['majority_class']:.1f} %"
    ]
    for dates in ("one_date", "all_dates"):
        for name in ("untrained", "trained", "colour_statistics"):
            for kind, scores in result[dates][name].items():
                label = f"{dates.replace('_', ' ')}, {name.replace('_', ' ')}, {kind}"
                lines.append(f"{label:<40} accuracy {scores['accuracy']}, macro-F1 {scores['macro_f1']}")
    for dates in ("one_date", "all_dates"):
        for kind, score in result[dates]["advantage_over_untrained"].items():
            lines.append(f"{dates.replace('_', ' ')}, {kind}: trained over untrained, accuracy {score}")
    return "\n".join(lines)


def _as_json(result: Any) -> Any:
    if isinstance(result, Score):
        return {"value": result.value, "low": result.low, "high": result.high}
    if isinstance(result, dict):
        return {name: _as_json(value) for name, value in result.items()}
    return result
