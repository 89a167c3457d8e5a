"""How often the 95 % intervals of areas of change hold the truth: ``python -m benchmarks.areas``; writes docs/benchmarks/areas.md.

Samples are drawn from the strata of change maps whose truth is known, and go through the code of ``export.assess``. Beside
it stand other intervals: those of the papers, and what the same sums give with other limits of shares.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from scipy.stats import beta, norm

from export.runtime.results import estimates
from export.runtime.results.estimates import StratifiedCounts, exact_limits, stratified, total
from export.runtime.sampling.design import sizes

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "areas.md"
MEASURES = ("areas", "all change", "user's", "producer's", "overall")
CLASSES = ("forest", "crops", "forest to crops", "crops to forest")
CHANGE = np.array([False, False, True, True])
OWN = np.array([0, 1, 2, 3, -1])  # the class of each stratum; the buffer has two
ACCURACY = np.array([0.97, 0.95, 0.7, 0.6, 0.85])  # expected, of the strata

# Shares of map class x reference class within each stratum.
OMITTED = {  # of change that was missed in the stable strata, and in the buffer
    "change missed everywhere": (0.01, 0.15),
    "change missed near change": (0.0005, 0.15),
    "an almost perfect map": (0.0002, 0.01),
}
AREAS = {  # of the strata, per cent
    "common": np.array([60.0, 30.0, 4.0, 2.0, 4.0]),
    "rare": np.array([66.0, 33.0, 0.3, 0.1, 0.6]),
}
LITTLE = 30  # pixels of each rare stratum of the last design
UNITS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as drawn by default": lambda areas: sizes(areas, np.full(5, 10**7), ACCURACY, 0.01, 50),
    "10 each": lambda areas: np.full(5, 10),
    "100, 100, 5, 3, 5": lambda areas: np.array([100, 100, 5, 3, 5]),
    "200, 200, 1, 1, 1": lambda areas: np.array([200, 200, 1, 1, 1]),
    f"300, 200, 20, 25, 30 of {LITTLE} px": lambda areas: np.array([300, 200, 20, 25, 30]),
}


def truth_of(omitted: tuple[float, float]) -> np.ndarray:
    """(5, 4, 4) shares of map classes, down, and reference classes in each stratum."""
    stable, near = omitted
    right = 1 - 10 * near / 3 if near < 0.1 else 0.7
    shares = np.zeros((5, 4, 4))
    shares[0, 0] = [1 - 3 * stable, stable, stable, stable]
    shares[1, 1] = [stable, 1 - 3 * stable, stable, stable]
    shares[2, 2] = [(1 - right) * 0.7, (1 - right) * 0.2, right, (1 - right) * 0.1]
    shares[3, 3] = [(1 - right) * 0.3, (1 - right) * 0.6, (1 - right) * 0.1, right]
    shares[4, 0] = 0.6 * np.array([1 - near, 0, near * 0.9, near * 0.1])
    shares[4, 1] = 0.4 * np.array([0, 1 - near, near * 0.1, near * 0.9])
    return shares


def samples_of(
    shares: np.ndarray, areas: np.ndarray, units: np.ndarray, little: bool, count: int, seed: int
) -> tuple[np.ndarray, StratifiedCounts]:
    """The shares that are drawn from, (5, 4, 4), and so many samples at once.

    With ``little`` the rare strata have ``LITTLE`` pixels, none of which is drawn twice.
    """
    rng = np.random.default_rng(seed)
    pixels = np.where(np.arange(5) > 1, LITTLE, np.inf) if little else np.full(5, np.inf)
    flat = shares.reshape(5, 16)
    whole = {at: rng.multinomial(LITTLE, flat[at]) for at in range(5) if np.isfinite(pixels[at])}
    true = np.array([whole[at] / LITTLE if at in whole else flat[at] for at in range(5)])
    drawn = np.stack(
        [
            rng.multivariate_hypergeometric(whole[at], n, count) if at in whole else rng.multinomial(n, flat[at], count)
            for at, n in enumerate(units)
        ]
    )
    return true.reshape(5, 4, 4), StratifiedCounts(drawn.reshape(5, count, 4, 4), areas, OWN, pixels)


def measures(shares: np.ndarray, areas: np.ndarray) -> list[np.ndarray]:
    """The true values of ``MEASURES``; any number of first axes before (5, 4, 4)."""
    joint = np.einsum("h,...hij->...ij", areas / areas.sum(), shares)
    own = np.diagonal(joint, axis1=-2, axis2=-1)
    truly = joint.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = own / joint.sum(axis=-1), own / truly
    return [
        truly * areas.sum(), truly[..., CHANGE].sum(axis=-1, keepdims=True) * areas.sum(), *ratios,
        own.sum(axis=-1, keepdims=True),
    ]  # fmt: skip


Limits = list[tuple[np.ndarray, np.ndarray]]  # low and high of each of MEASURES, (N, C) each


def ours(sample: StratifiedCounts) -> Limits:
    """The limits of export.assess."""
    found = stratified(sample)
    change = total(sample, CHANGE)[..., None]
    parts = (found.areas, change, found.users, found.producers, found.overall[..., None])
    return [(part[1], part[2]) for part in parts]


def normal(sample: StratifiedCounts) -> Limits:
    """1.96 standard errors of the estimates of Olofsson et al. and Stehman."""
    n = sample.units.sum(axis=(-2, -1))[..., None].astype(float)
    weight = (sample.areas / sample.areas.sum())[:, None, None]
    left = np.where(np.isinf(sample.pixels), 1.0, 1 - n[..., 0].T / sample.pixels).T[..., None]
    shares = sample.units / n[..., None]
    own, truly, mapped = np.diagonal(shares, axis1=-2, axis2=-1), shares.sum(axis=-2), shares.sum(axis=-1)

    def mean(share: np.ndarray) -> np.ndarray:
        return (weight * share).sum(axis=0)

    def spread(variance: np.ndarray) -> np.ndarray:
        each = weight**2 * left / np.maximum(n - 1, 1) * variance
        return 1.96 * np.sqrt(np.maximum(np.where(n > 1, each, 0.0), 0).sum(axis=0))

    limits = []
    for y in (truly, truly[..., CHANGE].sum(axis=-1, keepdims=True)):
        margin = spread(y * (1 - y))
        limits.append((sample.areas.sum() * (mean(y) - margin), sample.areas.sum() * (mean(y) + margin)))
    for x in (mapped, truly):
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = mean(own) / mean(x)
            margin = spread(own * (1 - own) + ratio**2 * x * (1 - x) - 2 * ratio * own * (1 - x)) / mean(x)
        limits.append((ratio - margin, ratio + margin))
    right = own.sum(axis=-1, keepdims=True)
    margin = spread(right * (1 - right))
    return [*limits, (mean(right) - margin, mean(right) + margin)]


@contextmanager
def shares_by(limits: Callable[[int, int], tuple[float, float]]) -> Iterator[None]:
    """Within it sums and ratios are put together from other limits of shares."""
    estimates.exact_limits = limits  # type: ignore[assignment]
    try:
        yield
    finally:
        estimates.exact_limits = exact_limits


def wilson(hits: int, units: int) -> tuple[float, float]:
    """Score limits of a share."""
    if not units:
        return 0.0, 1.0
    z, share = norm.ppf(0.975), hits / units
    middle, half = share + z**2 / (2 * units), z * np.sqrt(share * (1 - share) / units + z**2 / (4 * units**2))
    return max((middle - half) / (1 + z**2 / units), 0.0), min((middle + half) / (1 + z**2 / units), 1.0)


def jeffreys(hits: int, units: int) -> tuple[float, float]:
    """Bayesian limits of a share, with a prior of half a unit on each side."""
    low = beta.ppf(0.025, hits + 0.5, units - hits + 0.5) if hits else 0.0
    high = beta.ppf(0.975, hits + 0.5, units - hits + 0.5) if hits < units else 1.0
    return float(low), float(high)


def remembered(limits: Callable[[int, int], tuple[float, float]]) -> Callable[[StratifiedCounts], Limits]:
    """Limits of ``MEASURES`` from those of shares, each computed once."""
    known: dict[tuple[int, int], tuple[float, float]] = {}

    def of(hits: int, units: int) -> tuple[float, float]:
        key = int(hits), int(units)
        if key not in known:
            known[key] = limits(*key)
        return known[key]

    def all_of(sample: StratifiedCounts) -> Limits:
        with shares_by(of):
            return ours(sample)

    return all_of


METHODS = {"normal": normal, "Wilson": remembered(wilson), "Jeffreys": remembered(jeffreys), "exact": ours}


def coverage(
    method: Callable[[StratifiedCounts], Limits], omitted: str, areas: str, units: str, samples: int, seed: int = 0
) -> dict[str, tuple[np.ndarray, ...]]:
    """Share of samples whose interval holds the truth, and its mean width, of each of ``MEASURES``."""
    little = "px" in units
    weights = AREAS[areas]
    true, drawn = samples_of(truth_of(OMITTED[omitted]), weights, UNITS[units](weights), little, samples, seed)
    values = measures(true, weights)
    found = {}
    for name, value, (low, high) in zip(MEASURES, values, method(drawn)):
        known = np.isfinite(low) & np.isfinite(value)  # a class that no unit has, has no accuracy
        held = (low <= value + 1e-12) & (value - 1e-12 <= high)
        found[name] = tuple(np.nanmean(np.where(known, one, np.nan), axis=0) for one in (held, high - low))
    return found


def main() -> None:
    """Draw the samples and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.areas", description=__doc__.split(":")[0])
    parser.add_argument("--samples", type=int, default=1000, help="samples of each case (default: %(default)s)")
    parser.add_argument("--others", type=int, default=250, help="for other intervals (default: %(default)s)")
    parser.add_argument("--page", type=Path, default=PAGE, help="(default: docs/benchmarks/areas.md)")
    arguments = parser.parse_args()
    arguments.page.write_text("\n".join(page(arguments.samples, arguments.others)) + "\n", "utf-8")


def page(samples: int, others: int) -> list[str]:
    """Lines of the page, from so many samples of each case for our intervals and for others."""
    lines = [
        "# Areas of change: coverage of the 95 % intervals", "",
        f"Made by `python -m benchmarks.areas`, {samples:,} samples of each case, from change maps whose truth is known: two stable "
        "classes, two changes and a buffer around change, which holds both stable classes. Areas of the strata: "
        + "; ".join(f"{name}: {', '.join(f'{one:g}' for one in areas)} %" for name, areas in AREAS.items())
        + f". In the last design the rare strata have {LITTLE} pixels, none of which is drawn twice.", "",
        "## `export.assess`", "",
        "The lowest coverage of the four classes, and in brackets their mean.", "",
        f"| map | change | points of the strata | {' | '.join(MEASURES)} |", "|---|---|---|" + "---|" * len(MEASURES),
    ]  # fmt: skip
    rows = [(omitted, areas, units) for omitted in OMITTED for areas in AREAS for units in UNITS]
    found = {
        method: {row: coverage(METHODS[method], *row, samples if method == "exact" else others) for row in rows}
        for method in METHODS
    }
    for row in rows:
        cells = [
            f"{np.nanmin(held):.1%}" + f" ({np.nanmean(held):.1%})" * (held.size > 1)
            for held, _ in found["exact"][row].values()
        ]
        lines.append(f"| {' | '.join(row)} | {' | '.join(cells)} |")
    lines += [
        "", "## Why these intervals", "",
        f"The lowest coverage of all cases above, by the way in which limits are found ({others} samples of each case, "
        "so that 92 % may stand for 95; of the exact ones as above); in brackets the mean width, as a multiple "
        "of that of the exact ones. *normal*: 1.96 standard errors, as in Olofsson et al. 2014 and Stehman 2014. "
        "*Wilson*, *Jeffreys*, *exact* (Clopper and Pearson): limits of each share, and sums and ratios from them (Zou and Donner "
        "2008); Jeffreys's are Bayesian.", "",
        f"| limits | {' | '.join(MEASURES)} |", "|---|" + "---|" * len(MEASURES),
    ]  # fmt: skip
    for method in METHODS:
        cells = []
        for name in MEASURES:
            lowest = min(float(np.nanmin(found[method][row][name][0])) for row in rows)
            times = [np.nanmean(found[method][row][name][1]) / np.nanmean(found["exact"][row][name][1]) for row in rows]
            cells.append(f"{lowest:.1%} ({np.mean(times):.2f})")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
