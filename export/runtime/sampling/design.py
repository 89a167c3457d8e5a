"""What a stratified sample of a map is to be: its strata and how many points each gets. Pure numpy, no files."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import InputFault
from ..raster.legend import from_to

STABLE, CHANGE, BUFFER = "stable", "change", "buffer"
EXPECTED = {STABLE: 0.9, CHANGE: 0.7, BUFFER: 0.9}  # user's accuracies, where nothing better is known
MOST_BUFFER = 500  # px


@dataclass(frozen=True)
class Wanted:
    """What a user asks of a sample.

    Attributes:
        change: values or names of the classes that are change; None: those named "A to B" (``legend.from_to``).
        buffer: pixels of other classes that are at most so many rows and columns from change are a stratum; 0: none.
        accuracy: expected user's accuracies, 0 to 1, by name of a class; "" is that of all others, "buffer" of the buffer.
        error: standard error of the overall accuracy that is aimed at.
        least: points of a stratum, at least.
        distance: metres between two points, at least.
        seed: of the draw.
    """

    change: tuple[str, ...] | None = None
    buffer: int = 3
    accuracy: dict[str, float] = field(default_factory=dict)
    error: float = 0.01
    least: int = 50
    distance: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InputFault: one has no meaning.
        """
        wrong = [value for value in self.accuracy.values() if not 0 < value < 1]
        if wrong:
            raise InputFault("sample_accuracy", value=wrong[0])
        if not 0 < self.error < 0.5:
            raise InputFault("sample_error", value=self.error)
        if self.least < 2 or not 0 <= self.buffer <= MOST_BUFFER or not 0 <= self.distance < float("inf"):
            raise InputFault("sample_numbers", least=2, buffer=MOST_BUFFER)


@dataclass(frozen=True)
class Stratum:
    """Pixels of a map among which points are drawn.

    Attributes:
        name: of its class, or of the buffer.
        kind: STABLE, CHANGE or BUFFER.
        value: its only class of the map; -1 of the buffer, which has several.
        accuracy: share of its pixels that are expected to be mapped as they are.
        points: to be drawn.
    """

    name: str
    kind: str
    value: int
    pixels: int
    m2: float
    accuracy: float
    points: int = 0


def changes_among(where: str, names: dict[int, str], change: tuple[str, ...] | None) -> set[int]:
    """Values of the classes that are change; ``names`` has all classes of the map.

    Raises:
        InputFault: one that is named is no class of the map.
    """
    if change is None:
        return set(from_to(names))
    by_name = {name.casefold(): value for value, name in names.items()}
    by_name.update({str(value): value for value in names})
    for text in change:
        if text.strip().casefold() not in by_name:
            raise InputFault("no_such_class", where=where, text=text, classes=", ".join(names.values()))
    return {by_name[text.strip().casefold()] for text in change}


def expected(where: str, strata: list[tuple[str, str]], accuracy: dict[str, float]) -> list[float]:
    """Accuracies of strata, each a name and a kind: by its name, else by "", else that of its kind.

    Raises:
        InputFault: one is named that is no stratum.
    """
    given = {name.strip().casefold(): value for name, value in accuracy.items()}
    known = {name.casefold() for name, _ in strata} | {"", BUFFER}
    for name in given:
        if name not in known:
            raise InputFault("no_such_class", where=where, text=name, classes=", ".join(name for name, _ in strata))
    return [given.get(name.casefold(), given.get("", EXPECTED[kind])) for name, kind in strata]


def sizes(areas: np.ndarray, pixels: np.ndarray, accuracy: np.ndarray, error: float, least: int) -> np.ndarray:
    """(H,) points of strata with (H,) areas, pixels and expected accuracies, for a standard error of the overall accuracy.

    As many as Neyman's allocation needs for it (Cochran 1977, Sampling Techniques, 5.25 and 5.26; Olofsson et al. 2014, eq.
    13), and in each stratum at least so many: what a rare stratum gets more is not taken from the others.
    """
    weight = areas / areas.sum()
    spread = np.sqrt(accuracy * (1 - accuracy))
    wanted = (weight @ spread) ** 2 / (error**2 + weight @ spread**2 / pixels.sum())
    shares = weight * spread / (weight @ spread)
    return np.minimum(np.maximum(np.ceil(wanted * shares - 1e-9).astype(np.int64), least), pixels)


def standard_error(areas: np.ndarray, pixels: np.ndarray, accuracy: np.ndarray, points: np.ndarray) -> float:
    """Of the overall accuracy that so many points of each stratum are expected to have; (H,) each."""
    weight = areas / areas.sum()
    return float(np.sqrt((weight**2 * (1 - points / pixels) * accuracy * (1 - accuracy) / points).sum()))
