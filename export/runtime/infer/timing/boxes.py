"""How a detector's boxes on two providers compare: the rule of ``auto`` for detections."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..objects import TileBoxes, pairs
from .agreement import Agreement

SAME = 0.9  # intersection over union from which on two boxes of a class are the same: of 20 px, a pixel apart
LEAST = 50  # boxes that must have been found, so that what is missing of them tells something


@dataclass
class SampleBoxes:
    """What a detector finds on some tiles; ``agreement.SampleAnswers`` for detections.

    Attributes:
        threshold: least score of a box that counts; below it one is only a counterpart.
        speed: tiles a second.
    """

    threshold: float = 0.0
    speed: float = 0.0
    _tiles: list[TileBoxes] = field(default_factory=list)

    def add(self, boxes: TileBoxes) -> None:
        """The boxes of the next tile."""
        self._tiles.append(boxes)

    @property
    def count(self) -> int:
        """Boxes that count."""
        return sum(int((boxes.scores >= self.threshold).sum()) for boxes in self._tiles)

    def compared(self, other: SampleBoxes) -> Agreement:
        """With those of another provider, which may be of fewer tiles."""
        both, found, apart = 0, 0, []
        for own, others in zip(self._tiles, other._tiles):
            shown = own.scores >= self.threshold, others.scores >= self.threshold
            both += int(shown[0].sum() + shown[1].sum())
            for one, same in pairs(own, others, own.tile, SAME):
                found += int(shown[0][one]) + int(shown[1][same])
                if shown[0][one] or shown[1][same]:
                    apart.append(abs(float(own.scores[one] - others.scores[same])))
        return Agreement("detection", found / both if both else 0.0, float(np.percentile(apart or [1.0], 99)))
