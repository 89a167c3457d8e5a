"""Labels from features: nearest neighbours, logistic regression, and the random forest of the floors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

K_NEIGHBOURS = 5
PENALTIES = (0.0001, 0.001, 0.01, 0.1)  # candidates for C of the logistic regression
TREES = 100
_TREE_SAMPLES = 20_000  # of the training places a tree sees at most: more cost time and say little
_QUERY_BLOCK = 512  # queries compared at once
_TOLERANCE = 1e-3  # of the gradient; a tenth of it takes three times as long and changes one answer in 500
Side = tuple[np.ndarray, np.ndarray]  # features or index rows (N, ...), labels (N,)


class Prediction(NamedTuple):
    """What a classifier says."""

    test: np.ndarray  # (places,) class numbers of the test places
    validated: float  # accuracy on the validation places


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


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def knn_correct(train: Side, queries: Side) -> np.ndarray:
    """(M,) bool, whether kNN on standardised features predicts the label of each query."""
    scaler = StandardScaler().fit(train[0])
    predicted = knn_predict((scaler.transform(train[0]), train[1]), scaler.transform(queries[0]))
    return predicted == queries[1]


def knn(train: Side, val: Side, queries: np.ndarray) -> Prediction:
    """``knn_predict`` of standardised features, for both sides."""
    return Prediction(knn_predict(train, queries), float((knn_predict(train, val[0]) == val[1]).mean()))


def logistic(train: Side, val: Side, queries: np.ndarray) -> Prediction:
    """Logistic regression on standardised features; its penalty is chosen on the validation places.

    From the strongest penalty on, each fit starts where the last one ended.
    """
    known, unknown = (side[0].astype(np.float32) for side in (train, val))
    queries = queries.astype(np.float32)
    if known.shape[1] > len(known):
        # The penalised weights lie in the span of the training features: the regression in that subspace, with as many
        # dimensions as places, is the same.
        span = _span(known)
        known, unknown, queries = known @ span, unknown @ span, queries @ span
    model = LogisticRegression(max_iter=2000, tol=_TOLERANCE, warm_start=True)
    best = Prediction(np.empty(0, np.int64), -1.0)
    with threadpool_limits(1):  # hundreds of small products: ten times slower with several threads
        for penalty in PENALTIES:
            model.set_params(C=penalty).fit(known, train[1])
            validated = float(model.score(unknown, val[1]))
            if validated > best.validated:
                best = Prediction(model.predict(queries), validated)
    return best


def _span(features: np.ndarray) -> np.ndarray:
    """Orthonormal basis (D, N) of the span of (N, D) features, D > N: from their products, ten times faster than an SVD."""
    products = features.astype(np.float64) @ features.T.astype(np.float64)
    variances, axes = np.linalg.eigh(products)
    kept = variances > variances[-1] * 1e-10
    return (features.T @ (axes[:, kept] / np.sqrt(variances[kept]))).astype(np.float32)


def forest(train: Side, val: Side, queries: np.ndarray, seed: int) -> Prediction:
    """Random forest on features of any scale."""
    most = min(_TREE_SAMPLES, len(train[0]))
    model = RandomForestClassifier(TREES, max_samples=most, random_state=seed, n_jobs=-1).fit(*train)
    return Prediction(model.predict(queries), float(model.score(*val)))
