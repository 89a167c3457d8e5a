"""The page of the benchmark and its picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

ROOT = Path(__file__).parents[2]
PAGE, PICTURE = ROOT / "docs" / "benchmarks" / "change.md", ROOT / "docs" / "benchmarks" / "change-peru.png"
TABLES = {
    "places": "Places of 4 px: dense features (stages at strides 2 to 16) and means of bands",
    "windows": "Windows of 32 px: the encoder's own vector (what MoCo compares) and means of bands",
}
FIGURES = ("auc", "best", "f1", "alarms")


def table(rows: Sequence[dict[str, Any]], space: str, patches: str) -> list[str]:
    """Means over pairs of dates, seeds averaged first, with 95 % limits by Student's t over the pairs."""
    lines = [
        "| method | ROC-AUC | best F1 | F1 by Otsu's rule | false alarms at 90 % recall |",
        "|---|---|---|---|---|",
    ]
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if (row["method"], row["space"], row["patches"]) == (method, space, patches)]
        cells = [_mean([np.mean([r[key] for r in own if r["pair"] == pair]) for pair in dict.fromkeys(r["pair"] for r in own)])
                 for key in FIGURES]  # fmt: skip
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def paired(rows: Sequence[dict[str, Any]], one: str, other: str, space: str, patches: str, key: str) -> str:
    """Mean difference over pairs of dates with its limits."""

    def of(method: str) -> np.ndarray:
        own = [row for row in rows if (row["method"], row["space"], row["patches"]) == (method, space, patches)]
        return np.array(
            [np.mean([r[key] for r in own if r["pair"] == p]) for p in dict.fromkeys(r["pair"] for r in own)]
        )

    return _mean(list(of(one) - of(other)), signed=True)


def _mean(values: list[Any], *, signed: bool = False) -> str:
    half = stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / len(values) ** 0.5
    sign = "+" if signed else ""
    return f"{np.mean(values):{sign}.3f} ± {half:.3f}"


def write(rows: Sequence[dict[str, Any]]) -> None:
    """Put the tables between the marks of the page."""
    lines = []
    for space, title in TABLES.items():
        for patches in dict.fromkeys(row["patches"] for row in rows):
            lines += [f"### {title}; patches of {patches}", "", *table(rows, space, patches), ""]
    text = PAGE.read_text("utf-8") if PAGE.exists() else "<!-- tables -->\n<!-- end -->\n"
    before, _, rest = text.partition("<!-- tables -->")
    tables, after = "\n".join(lines), rest.partition("<!-- end -->")[2]
    PAGE.write_text(f"{before}<!-- tables -->\n\n{tables}\n<!-- end -->{after}", "utf-8")


def draw(scenes: dict[str, np.ndarray], planted: Any, distances: dict[str, np.ndarray], pair: str) -> None:
    """Both dates, what was planted, and the distances of each method."""
    from matplotlib.figure import Figure

    before, after = pair.split("-")
    figure = Figure((13, 7), layout="constrained")
    axes = figure.subplots(2, 4).ravel()
    pictures = [(before, scenes[before]), (f"{after} with planted changes", planted.pixels)]
    for axis, (title, pixels) in zip(axes, pictures):
        shown = pixels[:3].astype(float)
        low, high = np.percentile(shown, (1, 99), axis=(1, 2))
        axis.imshow(np.clip((shown.transpose(1, 2, 0) - low) / (high - low), 0, 1))
        axis.set_title(title)
    axes[2].imshow(planted.weight, cmap="Greys")
    axes[2].set_title("planted")
    for axis, (title, distance) in zip(axes[3:], distances.items()):
        axis.imshow(distance, cmap="magma", vmax=np.percentile(distance, 99))
        axis.set_title(title)
    for axis in axes:
        axis.set_axis_off()
    figure.savefig(PICTURE, dpi=80)
