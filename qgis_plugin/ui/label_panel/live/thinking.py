"""What takes longer than a repaint and needs no features but those at hand; done by a thread of its own."""

import numpy as np

from ....runtime.learn.judge import Applicability, cross_validate
from ....runtime.learn.next_places import COUNT, next_places
from .work import Candidates, LiveFit
from .worker import Steps, StepThread

_SPARE = 4 * COUNT  # places from which those that have got a label are left out


def judge(thread: StepThread, fitted: LiveFit) -> Steps:
    """How good the fit is."""
    quality = cross_validate(fitted.samples, fitted.names, lambda done, total: not thread.closed)
    thread.say("judged", (fitted, quality))
    yield


def suggest(thread: StepThread, fitted: LiveFit, candidates: Candidates) -> Steps:
    """Which places to label next: (N, 2) rows and columns, (N,) likeliest class and (N,) its probability."""
    area = Applicability.of(fitted.samples)
    yield
    likely = fitted.head.probabilities(candidates.features)
    index = area.index(candidates.features) / max(area.threshold, 1e-9)
    yield
    chosen = next_places(candidates.features, likely, index, candidates.places, _SPARE)
    best = likely[chosen].argmax(axis=1)
    sure = likely[chosen, best] if len(chosen) else np.zeros(0, np.float32)
    thread.say("suggested", (fitted, candidates.places[chosen], best, sure))
    yield
