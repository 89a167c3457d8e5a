"""What frozen features of an encoder are worth: labels, and retrieval across dates, against floors.

Protocol: features of the backbone after average pooling, standardised with the training places; kNN by cosine
similarity, majority of k; logistic regression with C chosen on the validation places; with location, a random forest on
their principal components and the coordinates. "One date" represents a place by one image, "all dates" by the mean of
its features over all dates, "dates stacked" by the concatenated features of its dates if all places have the same number
of dates. The split is that of the store: spatial blocks, or the split files of a dataset. Intervals: 95 %, over test
places, see ``core.evaluation.intervals``. Retrieval needs no labels: see ``core.evaluation.retrieval``.

The floors: an untrained network, and random forests that know the colours, the coordinates, or both. Of kNN and
logistic regression the one that is better on the validation places stands for an encoder in the comparisons.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from core.errors import UserError
from core.evaluation.classify import K_NEIGHBOURS, Prediction, Side, forest, knn, knn_correct, logistic
from core.evaluation.floors import colours_of, coordinates
from core.evaluation.intervals import Score, advantage, gain_score, mean_score, prediction_scores
from core.evaluation.protocol import DATES, Protocol
from core.evaluation.retrieval import SCALINGS, TOP, Retrieval
from core.evaluation.scores import per_class
from core.evaluation.stages import stage_features
from core.networks.encoders import Encoder, ModelSpec, features
from core.store.read import ChipStore

ENCODERS = ("untrained", "trained")
FLOORS = ("coordinates", "colour_statistics", "colours_and_coordinates")
METHODS = (*ENCODERS, *FLOORS)
COMPONENTS = 32  # of the features beside the coordinates: the trees choose among few columns
Predictions = dict[str, Prediction]  # by classifier
Kinds = dict[str, Predictions]  # by method


@dataclass(frozen=True)
class Probed:
    """What was measured, and the features it was measured on.

    Attributes:
        result: the content of probe.json.
        rows: (N,) index rows of the features, sorted.
        vectors: of each method the features of its stages, (N, D) each.
        protocol: the questions about labels, None without any.
        retrieval: the questions across dates, None where places have one date.
    """

    result: dict[str, Any]
    rows: np.ndarray
    vectors: dict[str, dict[str, np.ndarray]]
    protocol: Protocol | None
    retrieval: Retrieval | None


def questions(store: ChipStore, seed: int) -> tuple[Protocol | None, Retrieval | None]:
    """What a store can be asked: labels, if it has any, and retrieval across dates, if test places have two.

    Raises:
        UserError: neither.
    """
    protocol = Protocol(store, seed) if (store.places["label"] >= 0).any() else None
    retrieval = Retrieval.plan(store, seed)
    if protocol is None and retrieval is None:
        raise UserError(f"{store.path}: has neither labels nor test places with two dates: nothing to evaluate")
    return protocol, retrieval


def measure(
    store: ChipStore,
    spec: ModelSpec,
    encoder: Encoder,
    asked: tuple[Protocol | None, Retrieval | None],
    seed: int,
    device: torch.device,
) -> Probed:
    """Evaluate the features of an encoder, and of an untrained one of the same specification.

    Args:
        store: the images.
        spec: of the encoder.
        encoder: trained.
        asked: see ``questions``.
        seed: of the untrained encoder and of the forests.
        device: of the encoders.
    """
    protocol, retrieval = asked
    rows = np.unique(np.concatenate([part.rows for part in asked if part is not None]))
    torch.manual_seed(seed)
    encoders = {"untrained": Encoder(spec), "trained": encoder}
    vectors = {
        name: stage_features(model, store, rows, device)
        for name, model in tqdm(encoders.items(), desc="probing", unit="encoder")
    }
    vectors["colour_statistics"] = {"last": colours_of(store, rows)}
    result: dict[str, Any] = {}
    if protocol is not None:
        at = np.searchsorted(rows, protocol.rows)
        labelled = {name: {stage: values[at] for stage, values in stages.items()} for name, stages in vectors.items()}
        result |= _with_labels(labelled, protocol, seed)
    if retrieval is not None:
        result["retrieval"] = _across_dates(vectors, retrieval, rows, device)
    return Probed(json.loads(json.dumps(result, default=asdict)), rows, vectors, protocol, retrieval)


def knn_accuracy(encoder: torch.nn.Module, store: ChipStore, train: Side, val: Side, device: torch.device) -> float:
    """Accuracy of ``knn_correct`` on the features of an encoder; both sides are (rows, labels)."""
    known, queries = (features(encoder, store, rows, device) for rows, _ in (train, val))
    return float(knn_correct((known, train[1]), (queries, val[1])).mean())


def predict(everything: np.ndarray, protocol: Protocol, dates: str) -> Predictions:
    """Answers of kNN and logistic regression from (len(rows), D) features."""
    train, val, test = _standardised(everything, protocol, dates)
    return {"knn": knn(train, val, test), "logistic": logistic(train, val, test)}


def with_location(everything: np.ndarray, protocol: Protocol, dates: str, seed: int) -> Prediction:
    """Answer of a forest on the whitened principal components of (len(rows), D) features and the coordinates."""
    train, val, test = _standardised(everything, protocol, dates)
    most = min(COMPONENTS, *train[0].shape)
    components = PCA(most, whiten=True, svd_solver="randomized", random_state=seed).fit(train[0])
    sides = (components.transform(part) for part in (train[0], val[0], test))
    known, unknown, queries = (
        np.hstack([part, coordinates(protocol.lonlat(side))]) for part, side in zip(sides, ("train", "val", "test"))
    )
    return forest((known, train[1]), (unknown, val[1]), queries, seed)


def floor_of(statistics: np.ndarray | None, protocol: Protocol, dates: str, seed: int, *, located: bool) -> Prediction:
    """Answer of a forest on (len(rows), D) colour statistics, on the coordinates, or on both."""
    parts = {
        side: np.hstack(
            [
                *([] if statistics is None else [protocol.vectors(statistics, side, dates)]),
                *([coordinates(protocol.lonlat(side))] if located else []),
            ]
        )
        for side in ("train", "val", "test")
    }
    known, unknown = ((parts[side], protocol.labels(side)) for side in ("train", "val"))
    return forest(known, unknown, parts["test"], seed)


def _standardised(everything: np.ndarray, protocol: Protocol, dates: str) -> tuple[Side, Side, np.ndarray]:
    """Training and validation places with their labels, and test places, in units of the training places."""
    train, val, test = (protocol.vectors(everything, side, dates) for side in ("train", "val", "test"))
    scaler = StandardScaler().fit(train)
    known, unknown = (
        (scaler.transform(part), protocol.labels(side)) for part, side in ((train, "train"), (val, "val"))
    )
    return known, unknown, scaler.transform(test)


def _with_labels(vectors: dict[str, dict[str, np.ndarray]], protocol: Protocol, seed: int) -> dict:
    """Scores of the encoders and of the floors on the test places."""
    labels = protocol.labels("test")
    result: dict = {
        "test_places": len(labels),
        "train_places": len(protocol.labels("train")),
        "k": K_NEIGHBOURS,
        "majority_class": float(np.bincount(labels).max() / len(labels)),
        "located": protocol.located,
    }
    where = floor_of(None, protocol, DATES[0], seed, located=True) if protocol.located else None
    for dates in protocol.dates:
        said = answers_of(vectors, protocol, dates, seed)
        if where is not None:
            said["coordinates"] = {"forest": where}
        result[dates] = {
            name: {kind: prediction_scores(answer.test, labels) for kind, answer in kinds.items()}
            for name, kinds in said.items()
        }
        result[dates]["advantage_over_untrained"] = {
            kind: advantage(said["trained"][kind].test, said["untrained"][kind].test, labels)
            for kind in said["trained"]
        }
        result[dates] |= _comparisons(said, labels)
        result[dates]["classes"] = _classes(said, labels, protocol.classes)
    return result


def answers_of(vectors: dict[str, dict[str, np.ndarray]], protocol: Protocol, dates: str, seed: int) -> Kinds:
    """Of each method the answers of its classifiers."""

    def of_stages(stages: dict[str, np.ndarray]) -> Predictions:
        train, val, test = _standardised(stages["third"], protocol, dates)
        return predict(stages["last"], protocol, dates) | {"knn_third_stage": knn(train, val, test)}

    # Side by side: the many small products of a logistic regression are no work for several threads.
    cores = os.cpu_count() or 1
    with threadpool_limits(max(1, cores // len(ENCODERS))), ThreadPoolExecutor(min(len(ENCODERS), cores)) as pool:
        said: Kinds = dict(zip(ENCODERS, pool.map(of_stages, (vectors[name] for name in ENCODERS))))
    if protocol.located:
        for name in ENCODERS:
            said[name]["forest_with_location"] = with_location(vectors[name]["last"], protocol, dates, seed)
    colours = vectors["colour_statistics"]["last"]
    said["colour_statistics"] = {"forest": floor_of(colours, protocol, dates, seed, located=False)}
    if protocol.located:
        said["colours_and_coordinates"] = {"forest": floor_of(colours, protocol, dates, seed, located=True)}
    return said


def chosen(kinds: Predictions) -> str:
    """The classifier that stands for an encoder: the better one on the validation places."""
    return max(("knn", "logistic"), key=lambda kind: kinds[kind].validated)


def _comparisons(said: Kinds, labels: np.ndarray) -> dict:
    """Paired differences in accuracy between the encoder and every floor, without and with its location."""
    best = {name: chosen(said[name]) for name in ENCODERS}
    ours, untrained = (said[name][best[name]].test for name in ("trained", "untrained"))
    against = {"untrained": advantage(ours, untrained, labels)}
    against |= {name: advantage(ours, said[name]["forest"].test, labels) for name in FLOORS if name in said}
    result: dict = {"chosen": best, "advantage": against}
    if "forest_with_location" in said["trained"]:
        located = said["trained"]["forest_with_location"].test
        others = {"untrained": said["untrained"]["forest_with_location"].test} | {
            name: said[name]["forest"].test for name in ("coordinates", "colours_and_coordinates")
        }
        result["advantage_with_location"] = {name: advantage(located, other, labels) for name, other in others.items()}
    return result


def _classes(said: Kinds, labels: np.ndarray, names: list[str]) -> list[dict]:
    """Scores of each class on the test places, and the class that it is mostly mistaken for."""
    answers = {name: said[name][chosen(said[name])].test for name in ENCODERS}
    answers["colour_statistics"] = said["colour_statistics"]["forest"].test
    counts = {name: _confusion(answer, labels, len(names)) for name, answer in answers.items()}
    tables = {name: per_class(count, names) for name, count in counts.items()}
    rows = []
    for number, row in enumerate(tables["trained"]):
        if not row["support"]:
            continue
        wrong = counts["trained"][number].copy()
        wrong[number] = 0
        taken = names[int(wrong.argmax())] if wrong.any() else None
        scores = {name: table[number]["f1"] for name, table in tables.items()}
        rows.append({"class": row["class"], "support": row["support"], "f1": scores, "recall": row["recall"],
                     "taken_for": taken, "taken": float(wrong.max() / row["support"])})  # fmt: skip
    return rows


def _confusion(said: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(labels.astype(np.int64) * classes + said, minlength=classes**2).reshape(classes, classes)


def _across_dates(
    vectors: dict[str, dict[str, np.ndarray]], retrieval: Retrieval, rows: np.ndarray, device: torch.device
) -> dict:
    """Recall of retrieving a place at another date, for each scaling and stage, and the gain over an untrained encoder."""
    result: dict = {
        "places": retrieval.places,
        "pairs_of_dates": len(retrieval.queries),
        "chance": {f"recall_at_{top}": retrieval.chance(top) for top in TOP},
    }
    for kind in SCALINGS:
        found = {
            name: {stage: retrieval.recalls(values, rows, device, kind) for stage, values in stages.items()}
            for name, stages in vectors.items()
        }
        result[kind] = {
            name: {stage: _recall(mean_score, by_top) for stage, by_top in stages.items()}
            for name, stages in found.items()
        }
        ours = found["trained"]["last"]
        result[kind]["advantage"] = {
            name: _recall(gain_score, {top: ours[top] - found[name]["last"][top] for top in TOP})
            for name in ("untrained", "colour_statistics")
        }
    return result


def _recall(score: Any, by_top: dict[int, np.ndarray]) -> dict[str, Score]:
    return {f"recall_at_{top}": score(values) for top, values in by_top.items()}
