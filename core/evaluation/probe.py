"""``core.train probe``: evaluates frozen features with kNN, logistic regression, and retrieval across dates.

Protocol: features of the backbone after average pooling, standardised with the training places; kNN by cosine
similarity, majority of k; logistic regression with C chosen on the validation places. "One date" represents a place by
one image, "all dates" by the mean of its features over all dates, "dates stacked" by the concatenated features of its
dates if all places have the same number of dates. The split is that of the store: spatial blocks, or the split files of
a dataset. Intervals: 95 %, over test places, see ``core.evaluation.intervals``. Retrieval needs no labels: see
``core.evaluation.retrieval``.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from core.errors import UserError
from core.evaluation.intervals import Score, advantage, few_places, gain_score, mean_score, prediction_scores
from core.evaluation.retrieval import TOP, Retrieval
from core.files import write_json
from core.networks.encoders import Encoder, features
from core.networks.weights import load_encoder
from core.runs import check_seed, pick_device, start_run
from core.store.read import ChipStore, images_of

K_NEIGHBOURS = 5
PENALTIES = (0.0001, 0.001, 0.01, 0.1)  # candidates for C of the logistic regression
DATES = ("one_date", "all_dates", "stacked")  # how a place is represented
METHODS = ("untrained", "trained", "colour_statistics")
MAX_STACKED = 50_000  # training images: more stacked features would take hours and gigabytes
_QUERY_BLOCK = 512  # queries compared at once
Side = tuple[np.ndarray, np.ndarray]  # features or index rows (N, ...), labels (N,)


def knn_predict(train: Side, queries: np.ndarray, k: int = K_NEIGHBOURS) -> np.ndarray:
    """Majority class of the k training features nearest to each of (M, D) queries by cosine, (M,).

    Ties go to the nearer neighbours.
    """
    known, labels = train
    queries, known = _unit(queries), _unit(known)
    blocks = np.array_split(queries, max(1, -(-len(queries) // _QUERY_BLOCK)))  # memory: block x N, not M x N
    nearest = np.concatenate([_nearest(block @ known.T, k) for block in blocks])
    # Weights fall slightly with the rank of a neighbour, which only decides ties.
    weights = 1 - np.arange(nearest.shape[1]) * 1e-3
    votes = np.zeros((len(queries), labels.max() + 1))
    for rank, weight in enumerate(weights):
        votes[np.arange(len(queries)), labels[nearest[:, rank]]] += weight
    return votes.argmax(axis=1)


def _nearest(similarity: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k largest values of each row, in descending order."""
    k = min(k, similarity.shape[1])
    nearest = np.sort(np.argpartition(-similarity, k - 1, axis=1)[:, :k], axis=1)
    order = np.argsort(-np.take_along_axis(similarity, nearest, axis=1), axis=1, kind="stable")
    return np.take_along_axis(nearest, order, axis=1)


def knn_accuracy(encoder: torch.nn.Module, store: ChipStore, train: Side, val: Side, device: torch.device) -> float:
    """Accuracy of ``knn_correct`` on the features of an encoder; both sides are (rows, labels)."""
    known, queries = (features(encoder, store, rows, device) for rows, _ in (train, val))
    return float(knn_correct((known, train[1]), (queries, val[1])).mean())


def knn_correct(train: Side, queries: Side) -> np.ndarray:
    """(M,) bool, whether kNN on standardised features predicts the label of each query."""
    scaler = StandardScaler().fit(train[0])
    predicted = knn_predict((scaler.transform(train[0]), train[1]), scaler.transform(queries[0]))
    return predicted == queries[1]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def colour_statistics(pixels: np.ndarray) -> np.ndarray:
    """Mean, std, minimum and maximum of each band: (N, bands, rows, cols) to (N, 4 x bands)."""
    flat = pixels.reshape(*pixels.shape[:2], -1)
    return np.concatenate([f(flat, axis=2) for f in (np.nanmean, np.nanstd, np.nanmin, np.nanmax)], axis=1)


class Protocol:
    """Which images represent a place, and which places are on which side of the split.

    ``rows`` are the index rows whose features are needed, sorted; ``dates`` those of ``DATES`` that are possible.
    """

    def __init__(self, store: ChipStore, seed: int) -> None:
        """Select places and images.

        Raises:
            UserError: a side has no labels, or the training side has one class only.
        """
        places = store.places[store.places["label"] >= 0]
        self.sides = {side: places[places["split"] == side] for side in ("train", "val", "test")}
        if any(side.empty for side in self.sides.values()):
            raise UserError(f"{store.path}: the probe needs labelled places in the splits train, val and test")
        if self.sides["train"]["label"].nunique() < 2:
            raise UserError(f"{store.path}: its training places have only one class; a probe needs two")
        self.images = {name: images_of(side) for name, side in self.sides.items()}
        self.rows = np.sort(np.concatenate([rows for images in self.images.values() for rows in images]))
        counts = {len(rows) for images in self.images.values() for rows in images}
        repeated = counts != {1}
        stackable = repeated and len(counts) == 1 and counts.pop() * len(self.images["train"]) <= MAX_STACKED
        self.dates = DATES[: 1 + repeated + stackable]
        self.random_rows = {
            name: [np.random.default_rng([seed, i]).choice(images, 1) for i, images in enumerate(places)]
            for name, places in self.images.items()
        }

    def vectors(self, everything: np.ndarray, side: str, dates: str) -> np.ndarray:
        """One vector per place from (len(rows), D) features: (places, D), or (places, dates x D) if stacked."""
        chosen = self.random_rows[side] if dates == "one_date" else self.images[side]
        each = [everything[np.searchsorted(self.rows, rows)] for rows in chosen]
        return np.stack([dated.ravel() if dates == "stacked" else dated.mean(axis=0) for dated in each])

    def labels(self, side: str) -> np.ndarray:
        """Class of each place of a side."""
        return self.sides[side]["label"].to_numpy()


def predict(everything: np.ndarray, protocol: Protocol, dates: str) -> dict[str, np.ndarray]:
    """Labels of the test places predicted by kNN and logistic regression from (len(rows), D) features."""
    scaler = StandardScaler().fit(protocol.vectors(everything, "train", dates))
    train, val, test = (scaler.transform(protocol.vectors(everything, s, dates)) for s in ("train", "val", "test"))
    known = (train, protocol.labels("train"))
    return {
        "knn": knn_predict(known, test),
        "logistic": logistic_predict(known, (val, protocol.labels("val")), test),
    }


def logistic_predict(train: Side, val: Side, queries: np.ndarray) -> np.ndarray:
    """Labels (M,) of (M, D) queries by logistic regression, its penalty chosen on the validation places."""
    known, unknown = train[0], val[0]
    if known.shape[1] > len(known):
        # The penalised weights lie in the span of the training features: the regression in that subspace, with as many
        # dimensions as places, is the same.
        span = np.linalg.svd(known, full_matrices=False)[2].T
        known, unknown, queries = known @ span, unknown @ span, queries @ span
    with threadpool_limits(1):  # hundreds of small products: ten times slower with several threads
        models = [LogisticRegression(C=penalty, max_iter=2000).fit(known, train[1]) for penalty in PENALTIES]
    return max(models, key=lambda model: model.score(unknown, val[1])).predict(queries)


def colour_baseline(statistics: np.ndarray, protocol: Protocol, dates: str, seed: int) -> np.ndarray:
    """Labels of the test places predicted from colour statistics by gradient boosting: a baseline without encoder."""
    train, test = (protocol.vectors(statistics, side, dates) for side in ("train", "test"))
    model = HistGradientBoostingClassifier(random_state=seed, max_iter=100, early_stopping=False)
    return model.fit(train, protocol.labels("train")).predict(test)


def colours_of(store: ChipStore, rows: np.ndarray) -> np.ndarray:
    """Colour statistics of the images of (N,) index rows, read in blocks."""
    blocks = np.array_split(rows, max(1, len(rows) // 2000))
    return np.concatenate([colour_statistics(store.pixels(block)) for block in blocks])


def probe(
    data: Path,
    encoder: str,
    out: Path | None = None,
    device: str = "auto",
    seed: int = 0,
    overwrite: bool = False,
) -> dict:
    """Evaluate the frozen features of an encoder against an untrained encoder and against colour statistics.

    Args:
        data: Folder of a chip store; without labels only retrieval across dates is evaluated.
        encoder: encoder.safetensors of a pretraining run, third-party weights (.pth.tar, .pth, .safetensors), or torchgeo:ResNet50_Weights.NAME.
        out: Folder for probe.json; optional.
        device: auto, cpu, cuda, cuda:1 and so on, or mps.
        seed: Random seed of the chosen dates and of the untrained encoder.
        overwrite: Replace the folder.
    """
    settings = dict(locals())
    check_seed(seed)
    store = ChipStore(data)
    spec, trained = load_encoder(encoder, store)
    protocol = Protocol(store, seed) if (store.places["label"] >= 0).any() else None
    retrieval = Retrieval.plan(store, seed)
    if protocol is None and retrieval is None:
        raise UserError(f"{data}: has neither labels nor test places with two dates: nothing to evaluate")
    target = pick_device(device)
    if out is not None:
        start_run(out, settings, overwrite=overwrite)
    torch.manual_seed(seed)
    rows = np.unique(np.concatenate([part.rows for part in (protocol, retrieval) if part is not None]))
    encoders = {"untrained": Encoder(spec), "trained": trained}
    vectors = {
        name: features(model, store, rows, target)
        for name, model in tqdm(encoders.items(), desc="probing", unit="encoder")
    }
    vectors["colour_statistics"] = colours_of(store, rows)
    result: dict = {}
    if protocol is not None:
        labelled = np.searchsorted(rows, protocol.rows)
        result |= _with_labels({name: values[labelled] for name, values in vectors.items()}, protocol, seed)
    if retrieval is not None:
        result["retrieval"] = _across_dates(vectors, retrieval, rows, target)
    as_json = json.loads(json.dumps(result, default=asdict))
    print(text_table(as_json))
    if out is not None:
        write_json(out / "probe.json", as_json)
    return as_json


def _with_labels(vectors: dict[str, np.ndarray], protocol: Protocol, seed: int) -> dict:
    """Scores of kNN, logistic regression and the colour baseline on the test places."""
    labels = protocol.labels("test")
    result: dict = {
        "test_places": len(labels),
        "train_places": len(protocol.labels("train")),
        "k": K_NEIGHBOURS,
        "majority_class": float(np.bincount(labels).max() / len(labels)),
    }
    for dates in protocol.dates:
        predicted = {name: predict(vectors[name], protocol, dates) for name in ("untrained", "trained")}
        predicted["colour_statistics"] = {
            "boosting": colour_baseline(vectors["colour_statistics"], protocol, dates, seed)
        }
        result[dates] = {
            name: {kind: prediction_scores(answers, labels) for kind, answers in kinds.items()}
            for name, kinds in predicted.items()
        }
        result[dates]["advantage_over_untrained"] = {
            kind: advantage(answers, predicted["untrained"][kind], labels)
            for kind, answers in predicted["trained"].items()
        }
    return result


def _across_dates(vectors: dict[str, np.ndarray], retrieval: Retrieval, rows: np.ndarray, device: torch.device) -> dict:
    """Recall of retrieving a place at another date, and the gain over an untrained encoder."""
    recalls = {name: retrieval.recalls(values, rows, device) for name, values in vectors.items()}
    return {
        "places": retrieval.places,
        "pairs_of_dates": len(retrieval.queries),
        "chance": {f"recall_at_{top}": retrieval.chance(top) for top in TOP},
        **{
            name: {f"recall_at_{top}": mean_score(values) for top, values in by_top.items()}
            for name, by_top in recalls.items()
        },
        "advantage_over_untrained": {
            f"recall_at_{top}": gain_score(recalls["trained"][top] - recalls["untrained"][top]) for top in TOP
        },
    }


def text_table(result: dict) -> str:
    """The content of probe.json as text, one line per method."""
    lines = ["no labels: no accuracy"]
    if "test_places" in result:
        lines = [f"{result['test_places']} test places; majority class: {100 * result['majority_class']:.1f} %"]
        lines += _warning(result["test_places"])
    possible = [dates for dates in DATES if dates in result]
    for dates, name in product(possible, METHODS):
        for kind, scores in result[dates][name].items():
            names = f"{title(dates)}, {title(name)}, {kind}"
            accuracy, macro_f1 = Score(**scores["accuracy"]), Score(**scores["macro_f1"])
            lines.append(f"{names:<46} accuracy {accuracy}, macro-F1 {macro_f1}")
    for dates in possible:
        for kind, score in result[dates]["advantage_over_untrained"].items():
            lines.append(f"{title(dates)}, {kind}: gain over untrained, accuracy {Score(**score)}")
    return "\n".join(lines + _retrieval_lines(result.get("retrieval")))


def _warning(places: int) -> list[str]:
    few = few_places(places)
    return [f"warning: {few}"] if few else []


def _retrieval_lines(retrieval: dict | None) -> list[str]:
    if retrieval is None:
        return ["no retrieval across dates: fewer than two test places have two dates"]
    recalls = {
        name: ", ".join(f"at {top} {Score(**retrieval[name][f'recall_at_{top}'])}" for top in TOP)
        for name in (*METHODS, "advantage_over_untrained")
    }
    recalls["chance"] = ", ".join(f"at {top} {100 * retrieval['chance'][f'recall_at_{top}']:.1f} %" for top in TOP)
    return [
        f"retrieval of the same place at another date among {retrieval['places']} places "
        f"({retrieval['pairs_of_dates']} pairs of dates)",
        *_warning(retrieval["places"]),
        *(f"{'retrieval, ' + title(name):<46} recall {recalls[name]}" for name in (*METHODS, "chance")),
        f"retrieval: gain over untrained, recall {recalls['advantage_over_untrained']}",
    ]


def title(name: str) -> str:
    """Readable form of a key of the result."""
    return "dates stacked" if name == "stacked" else name.replace("_", " ")
