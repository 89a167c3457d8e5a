"""How often the 95 % intervals hold the truth: ``python -m benchmarks.coverage``; writes docs/benchmarks/coverage.md.

Samples are drawn from maps whose truth is known, and go through the code that users call.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from core.evaluation.intervals import Score, gain_score, mean_score, prediction_scores, share_score
from export.runtime.results.estimates import estimate

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "coverage.md"
HEAD = "# Coverage of the 95 % intervals"
PLACES = (8, 12, 30, 100)
COMMON = np.array([0.6, 0.25, 0.1, 0.05])  # shares of the classes
GAINS = ((0.3, 0.3), (0.3, 0.05), (0.05, 0.02))
SHARES = np.array([0.01, 0.04, 0.10, 0.25, 0.60])  # of the map's area, a class each
MEASURES = ("user's", "overall", "producer's", "areas")
LADDER = (0.7, 0.8, 0.9, 0.95, 0.99)
MAPS = {  # user's accuracies of a map, and how its errors fall on the other classes
    "0.70 to 0.99, the rarest class worst": (LADDER, "all"),
    "0.99 to 0.70, the commonest class worst": (LADDER[::-1], "all"),
    "0.98 each, errors in the next class": ((0.98,) * 5, "next"),
    "0.90 each": ((0.9,) * 5, "all"),
}
UNITS = {"10": (10,) * 5, "20": (20,) * 5, "50": (50,) * 5, "100": (100,) * 5, "1, 10, 20, 20, 50": (1, 10, 20, 20, 50)}


def main() -> None:
    """Draw the samples and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__.split(":")[0])
    parser.add_argument("--samples", type=int, default=2000, help="samples of each case (default: %(default)s)")
    parser.add_argument("--page", type=Path, default=PAGE, help="(default: docs/benchmarks/coverage.md)")
    arguments = parser.parse_args()
    made = f"Made by `python -m benchmarks.coverage`, {arguments.samples:,} samples of each case."
    parts = [HEAD, "", made, *_places_page(arguments.samples), *_maps_page(arguments.samples)]
    arguments.page.write_text("\n".join(parts) + "\n", "utf-8")


def _places_page(samples: int) -> list[str]:
    lines = [
        "", "## `core.train probe` and the starter models", "",
        "Shares of pixels: places of unequal size (log-normal, the middle two thirds from 0.4 to 2.7 times the median), each "
        "with a true share of its own around that of all (beta distribution). \"alike\" is the correlation of two pixels of "
        "a place. In brackets the mean width of the intervals. The last two rows: a share that "
        "depends on the size of a place.", "",
        f"| true share | alike | {' | '.join(f'{places} places' for places in PLACES)} |", "|---|---|" + "---|" * len(PLACES),
    ]  # fmt: skip
    for share in (0.6, 0.9, 0.98):
        for alike in (0.02, 0.1, 0.3, 0.6):
            drawn = [_shares(places, share, alike, samples, seed) for seed, places in enumerate(PLACES)]
            cells = [
                f"{_held(scores, share):.1%} ({np.mean([s.high - s.low for s in scores]):.2f})" for scores in drawn
            ]
            lines.append(f"| {share} | {alike} | {' | '.join(cells)} |")
    for sign, about in ((1, "rises"), (-1, "falls")):
        cells = [f"{of_sized(places, sign, samples, seed):.1%}" for seed, places in enumerate(PLACES)]
        lines.append(f"| {about} with the size of a place | 0.2 | {' | '.join(cells)} |")
    lines += [
        "", "One prediction a place: accuracy (exact), macro-F1 of four classes (60, 25, 10 and 5 % of the places; few places "
        "hold few classes, so that the value itself is too high), the mean of five seeds, and gains of one method over another "
        "(shares of the places where only the one or only the other is right).", "",
        f"| what | {' | '.join(f'{places} places' for places in PLACES)} |", "|---|" + "---|" * len(PLACES),
    ]  # fmt: skip
    for name, measure in (
        *((f"accuracy {a}", lambda n, a=a: of_accuracies(n, a, samples, 1)) for a in (0.6, 0.9, 0.98)),
        *((f"macro-F1, accuracy {a}", lambda n, a=a: of_macro_f1(n, a, samples, 2)) for a in (0.6, 0.9, 0.98)),
        *((f"accuracy {a}, five seeds", lambda n, a=a: of_seeds(n, a, samples, 3)) for a in (0.6, 0.9)),
        *((f"gain, {a} and {b}", lambda n, a=a, b=b: of_gains(n, a, b, samples, 4)) for a, b in GAINS),
    ):
        lines.append(f"| {name} | {' | '.join(f'{measure(places):.1%}' for places in PLACES)} |")
    return lines


def _held(scores: list[Score], truth: float) -> float:
    """Share of intervals that hold a value."""
    return float(np.mean([score.low <= truth <= score.high for score in scores]))


def _shares(places: int, share: float, alike: float, samples: int, seed: int) -> list[Score]:
    rng, scores = np.random.default_rng(seed), []
    for _ in range(samples):
        known = np.exp(rng.normal(6, 1, places)).astype(int) + 1
        own = rng.beta(share * (1 / alike - 1), (1 - share) * (1 / alike - 1), places)
        scores.append(share_score(rng.binomial(known, own), known))
    return scores


def of_shares(places: int, share: float, alike: float, samples: int, seed: int) -> float:
    """How often a share of pixels is held; ``alike`` is the correlation of two pixels of a place."""
    return _held(_shares(places, share, alike, samples, seed), share)


def of_sized(places: int, sign: int, samples: int, seed: int) -> float:
    """How often a share is held that depends on the size of a place (correlation of logit and logarithm 0.8)."""
    rng = np.random.default_rng(seed)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
        size, other = rng.normal(size=(2, count))
        return np.exp(6 + 0.8 * size).astype(int) + 1, 1 / (1 + np.exp(-1 - 0.8 * sign * size - 0.6 * other))

    known, own = drawn(2_000_000)
    truth, scores = float((known * own).sum() / known.sum()), []
    for _ in range(samples):
        known, own = drawn(places)
        scores.append(share_score(rng.binomial(known, own), known))
    return _held(scores, truth)


def of_accuracies(places: int, accuracy: float, samples: int, seed: int) -> float:
    """How often the accuracy of one prediction a place is held."""
    right = np.random.default_rng(seed).random((samples, places)) < accuracy
    return _held([mean_score(one) for one in right], accuracy)


def of_macro_f1(places: int, accuracy: float, samples: int, seed: int) -> float:
    """How often the macro-F1 of unequal classes is held, errors falling on the other classes alike."""
    size = len(COMMON)
    chances = np.full((size, size), (1 - accuracy) / (size - 1))
    np.fill_diagonal(chances, accuracy)
    joint = COMMON[:, None] * chances
    truth = (2 * np.diag(joint) / (joint.sum(axis=0) + joint.sum(axis=1))).mean()
    cells = np.random.default_rng(seed).choice(size**2, (samples, places), p=joint.ravel())
    return _held([prediction_scores(one % size, one // size)["macro_f1"] for one in cells], float(truth))


def of_seeds(places: int, accuracy: float, samples: int, seed: int) -> float:
    """How often an accuracy over five seeds is held; places differ in difficulty, and seeds by 2 points."""
    rng, scores = np.random.default_rng(seed), []
    for _ in range(samples):
        hard = rng.beta(accuracy, 1 - accuracy, places) * 0.9 + 0.1 * accuracy
        chance = hard + rng.uniform(-0.035, 0.035, (5, 1)) * (hard > 0.05) * (hard < 0.95)
        scores.append(mean_score(rng.random((5, places)) < chance))
    return _held(scores, accuracy)


def of_gains(places: int, better: float, worse: float, samples: int, seed: int) -> float:
    """How often a difference in accuracy is held, from the shares of places where only one method is right."""
    chances = [better, worse, 1 - better - worse]
    drawn = np.random.default_rng(seed).choice([1.0, -1.0, 0.0], (samples, places), p=chances)
    return _held([gain_score(one) for one in drawn], better - worse)


def _maps_page(samples: int) -> list[str]:
    lines = [
        "", "## `export.assess`", "",
        "Five classes that cover 1, 4, 10, 25 and 60 % of a map. The lowest coverage of the five, and in brackets "
        "their mean.", "", "| user's accuracies | units per class | user's | overall | producer's | areas |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for number, (name, (accuracies, errors)) in enumerate(MAPS.items()):
        for title, units in UNITS.items():
            held = of_maps(np.array(accuracies), errors, np.array(units), samples, number)
            cells = [f"{np.min(one):.1%}" + f" ({np.mean(one):.1%})" * (one.size > 1) for one in held.values()]
            lines.append(f"| {name} | {title} | {' | '.join(cells)} |")
    return lines


def of_maps(users: np.ndarray, errors: str, units: np.ndarray, samples: int, seed: int) -> dict[str, np.ndarray]:
    """Share of stratified samples whose interval holds the truth, for each of ``MEASURES``: (5,), or (1,) for overall."""
    number = len(SHARES)
    wrong = np.ones((number, number)) - np.eye(number) if errors == "all" else np.roll(np.eye(number), 1, axis=1)
    truth = np.diag(users) + (1 - users)[:, None] * wrong / wrong.sum(axis=1, keepdims=True)
    areas = SHARES @ truth
    true = (users, (SHARES @ users)[None], SHARES * users / areas, areas)
    rng, held, known = np.random.default_rng(seed), [], []
    for _ in range(samples):
        found = estimate(np.array([rng.multinomial(n, row) for n, row in zip(units, truth)]), SHARES)
        limits = (found.users, found.overall[:, None], found.producers, found.areas)
        held.append([(low <= value) & (value <= high) for value, (_, low, high) in zip(true, limits)])
        known.append([np.isfinite(low) for _, low, _ in limits])  # a class that no unit has, has no producer's accuracy
    return {
        name: np.sum(hits, axis=0) / np.sum(counted, axis=0)
        for name, hits, counted in zip(MEASURES, zip(*held), zip(*known))
    }


if __name__ == "__main__":
    main()
