"""How often the 95 % intervals hold the truth: ``python -m benchmarks.coverage``; writes docs/benchmarks/coverage.md.

Samples are drawn from maps whose truth is known, and go through the code that users call.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from export.runtime.results.assessment import estimate

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "coverage.md"
HEAD = "# Coverage of the 95 % intervals"
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
    arguments.page.write_text("\n".join([HEAD, "", made, *_maps_page(arguments.samples)]) + "\n", "utf-8")


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
