"""How a model's answers on two providers compare, and whether a raster may be mapped by either: the rule of ``auto``."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...messages import Message
from ...model.answers import cosine_distance, decide
from ...model.card import ModelCard

# Two numbers each: for a reduced precision, and for fp32, which may change little more than a rounding. Measured with OpenVINO
# 2026.4: the features of ResNets in bf16 lack 2e-5 to 1.2e-4 to a cosine of 1, in fp32 2e-7 (two places of a raster 0.05 to 1.1);
# the values of U-Nets differ in bf16 by 0.7 to 4.7 % of their spread, in fp32 by 0.0002 %. Models of 8 bits differ in fp32 too:
# a value that is rounded otherwise changes by a whole step.
EQUAL = 0.995, 0.9999  # least share of the pixels that must get the same class
NEAR = 0.02, 0.02  # most that the confidence of 99 % of them may differ
SPREAD = 0.02, 1e-4  # most that 99 % of the values may differ, as a share of their spread
COSINE = 1e-3, 1e-5  # most that the cosine similarity of 99 % of the feature vectors may lack to 1
PLACES = 1024  # of a tile whose feature vectors are compared, evenly spaced: all of them would take a gigabyte


@dataclass(frozen=True)
class Agreement:
    """How a provider's answers compare with those of onnxruntime's CPU provider in fp32, on the same tiles.

    Attributes:
        task: of the model.
        equal: share of the pixels with the same class, or of the boxes that both found, 0 to 1; 1 of values and features.
        apart: what 99 % of them do not exceed: of classes and boxes the difference of their confidence, 0 to 1; of values their
            difference, as a share of the spread from the 1st to the 99th percentile of the CPU's, in the worst band; of
            features their cosine distance, 0 to 2.
    """

    task: str
    equal: float
    apart: float

    def holds(self, exact: bool = False) -> bool:
        """Whether a map may be made that way: in a reduced precision, or by what calculates in fp32 (``exact``)."""
        near = {"regression": SPREAD, "embedding": COSINE}.get(self.task, NEAR)
        return self.equal >= EQUAL[exact] and self.apart <= near[exact]

    def said(self, count: int) -> Message:
        """What was found on so many tiles."""
        facts = {"equal": self.equal, "apart": self.apart, "cosine": 1 - self.apart, "count": count}
        if self.task == "regression":
            return Message("agreement_values", facts)
        if self.task == "embedding":
            return Message("agreement_features", facts)
        if self.task == "detection":
            return Message("agreement_boxes", facts)
        return Message("agreement_classes", facts)


@dataclass
class SampleAnswers:
    """What a model says of the places of some tiles that hold data.

    Attributes:
        speed: tiles a second.
    """

    card: ModelCard
    speed: float = 0.0
    _classes: list[np.ndarray] = field(default_factory=list)  # of each tile (N,), of models of classes
    _numbers: list[np.ndarray] = field(default_factory=list)  # (K, N) confidence, values or features
    _finite: bool = True

    def add(self, answer: np.ndarray) -> None:
        """The next tile: probabilities, values or features (K, N) of its places with data."""
        self._finite &= bool(np.isfinite(answer).all())
        if self.card.task == "embedding":
            answer = np.ascontiguousarray(answer[:, :: -(-answer.shape[1] // PLACES)])  # a view would keep all
        elif self.card.task != "regression":
            classes, confidence = decide(answer, self.card)
            self._classes.append(classes)
            answer = confidence[None]
        self._numbers.append(answer)

    def compared(self, other: SampleAnswers) -> Agreement:
        """With those of another provider, which may be of fewer tiles. What is not finite agrees with nothing."""
        count, task = len(other._numbers), self.card.task
        if not (self._finite and other._finite):
            return Agreement(task, 0.0, 1.0)
        own, others = (np.concatenate(one._numbers[:count], axis=1) for one in (self, other))
        if task == "embedding":
            return Agreement(task, 1.0, float(np.percentile(cosine_distance(own, others), 99)))
        apart = np.percentile(np.abs(own - others), 99, axis=1)
        if task == "regression":
            low, high = np.percentile(own, (1, 99), axis=1)
            changed = (apart > 0).astype(float)  # what is constant may not change at all
            return Agreement(task, 1.0, float(np.divide(apart, high - low, out=changed, where=high > low).max()))
        equal = np.concatenate(self._classes[:count]) == np.concatenate(other._classes)
        return Agreement(task, float(equal.mean()), float(apart[0]))
