"""Writes docs/benchmarks/learning.md and its figures from the results so far."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np

from benchmarks.learning.jobs import (
    CHANGES,
    DETECTION_EPOCHS,
    FLOOR,
    FLOORS,
    FRACTIONS,
    UNTRAINED,
    VARIANTS,
    Job,
    Plan,
    Record,
)
from benchmarks.learning.references import REFERENCES
from core.evaluation.intervals import Score, gain_score, mean_score
from core.store.read import ChipStore

matplotlib.use("Agg")
from matplotlib import pyplot as plt

Records = dict[str, Record]  # by the jobs' keys
Runs = dict[str, list[Record]]  # of each method, one a seed
NOTES = Path(__file__).with_name("notes.md")
SCRATCH, TUNED = "from scratch", "pretrained, fine-tuned"
HEAD = """# What pretraining gains

Made by `make benchmark-learning`; the numbers come from its runs alone. ResNet-18 and the defaults of `core.train
pretrain` unless named; {machine}. A budget in minutes is converted into the number of epochs
that `moco` completes in that time on the idle machine; every variant trains that many epochs.

Values are means over seeds; in brackets 95 % intervals over seeds and test places. Features are frozen,
after average pooling. kNN: 5 neighbours, cosine. Logistic regression: penalty chosen on validation places. "One date"
describes a place by one image, "all dates" by the mean of its features, "dates stacked" by the concatenated features of
its dates, in order of the months. The floors without a network are random forests on colour statistics (mean, standard
deviation, minimum and maximum of each band), on the coordinates of the place, and on both; "with location" is one on the
encoder's features (32 principal components) and the coordinates. Comparisons are paired by test place and seed, in percentage points, and
**bold** where the interval excludes 0; the others are not settled."""

REFERENCES_TEXT = """Galileo-nano and Presto (published encoders for Sentinel-2 of 10 m, by the classes of rslearn; one run, intervals over test
places alone) get what the others get: red, green and blue of one image, each band with the mean and standard deviation of their training
data, and its month, June where there are no dates; no location and no other bands. Both were made for series of many bands."""


def write(path: Path, plan: Plan, records: Records, work: Path) -> None:
    """Write the page; a part whose jobs are not all done says how many are.

    Args:
        path: of the page; pictures go beside it.
        plan: what is to be measured.
        records: what is.
        work: folder of the stores.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sections = {"bluemarble": bluemarble, "peru": peru, "eurosat": eurosat, "dubai": dubai}
    body = [section(plan, records, work, path) for name, section in sections.items() if name in plan.data]
    jobs = plan.jobs()
    done = sum(job.key in records for job in jobs)
    if done < len(jobs):
        body.insert(0, f"**{done} of {len(jobs)} runs are done; the rest is missing below.**")
    notes = [NOTES.read_text().strip()] if NOTES.exists() else []
    machine = f"{os.cpu_count()} CPU cores, {platform.machine()}"
    path.write_text("\n\n".join([HEAD.format(machine=machine), claims(plan, records), *body, *notes]) + "\n")


# --- records ---


def of_seeds(records: Records, job: Job, seeds: range) -> list[Record]:
    """Records of a job with each seed; empty unless all are there."""
    keys = [replace(job, seed=seed).key for seed in seeds]
    return [records[key] for key in keys] if all(key in records for key in keys) else []


def known(runs: Runs) -> Runs:
    """Methods that are measured."""
    return {name: found for name, found in runs.items() if found}


def variants(records: Records, data: str, seeds: range, minutes: float, names: tuple[str, ...] = VARIANTS) -> Runs:
    """The untrained network and each variant."""
    jobs = {UNTRAINED: Job(data, UNTRAINED)} | {name: Job(data, name, minutes=minutes) for name in names}
    return known({name: of_seeds(records, job, seeds) for name, job in jobs.items()})


def tuned(records: Records, data: str, seeds: range, minutes: float, method: str, fraction: float = 1.0) -> Runs:
    """Fine-tuning from nothing and from an encoder."""
    starts = {SCRATCH: Job(data, UNTRAINED), TUNED: Job(data, method, minutes=minutes)}
    jobs = {name: replace(job, measure="fine-tuned", fraction=fraction) for name, job in starts.items()}
    return known({name: of_seeds(records, job, seeds) for name, job in jobs.items()})


PARTS = ("hits", "located", "recall")


def values(records: list[Record], column: str) -> np.ndarray:
    """(seeds, places) of a column of the tables."""
    found = [next(record[part][column] for part in PARTS if column in record.get(part, {})) for record in records]
    return np.array([[float(value) for value in row] for row in found])


def has(records: list[Record], column: str) -> bool:
    """Whether a method was measured so, with every seed."""
    return all(any(column in record.get(part, {}) for part in PARTS) for record in records)


def columns(runs: Runs, part: str) -> list[str]:
    """Names of all measures of a kind, in the order in which they first occur."""
    return list(dict.fromkeys(name for found in runs.values() for name in found[0].get(part, {})))


# --- parts of the page ---


def claims(plan: Plan, records: Records) -> str:
    """What the paper says, and whether it holds here."""
    seeds = range(plan.seeds)
    blue = variants(records, "bluemarble", seeds, plan.minutes)
    scenes = variants(records, "peru", seeds, plan.peru_minutes)
    tuning = tuned(records, "bluemarble", seeds, plan.minutes, "moco-geo-tp")
    logistic, find = "logistic, all dates", "recall at 1"
    asked = [
        ("Pretraining without labels beats an untrained network", blue, "moco", UNTRAINED, logistic),
        ("Temporal positives beat plain MoCo on land cover", blue, "moco-tp", "moco", logistic),
        ("The geo-location pretext beats plain MoCo on land cover", blue, "moco-geo", "moco", logistic),
        ("Both together beat plain MoCo on land cover", blue, "moco-geo-tp", "moco", logistic),
        ("Fine-tuned from them beats training from scratch", tuning, TUNED, SCRATCH, "fine-tuned, all dates"),
        ("Temporal positives retrieve a place at another date, Blue Marble", blue, "moco-tp", "moco", find),
        ("... and on Landsat scenes of eight years", scenes, "moco-tp", "moco", find),
    ]
    rows = []
    for sentence, runs, better, worse, column in asked:
        if better in runs and worse in runs:
            gain = gain_score(values(runs[better], column) - values(runs[worse], column))
            verdict = {"better": "holds", "worse": "does not hold", "not settled": "not settled"}[_verdict(gain)]
            rows.append([sentence, column, _points(gain), verdict])
    if not rows:
        return ""
    return "## The paper's claims\n\n" + table(["claim", "measure", "points", "here"], rows)


def bluemarble(plan: Plan, records: Records, work: Path, path: Path) -> str:
    """Labels with one date and with all, retrieval, comparisons, ablations, the curve."""
    seeds = range(plan.seeds)
    runs = variants(records, "bluemarble", seeds, plan.minutes)
    floor = known({name: of_seeds(records, Job("bluemarble", name), range(1)) for name in FLOORS})
    others = known({name: of_seeds(records, Job("bluemarble", name), range(1)) for name in REFERENCES})
    tuning = tuned(records, "bluemarble", seeds, plan.minutes, "moco-geo-tp")
    parts = ["## Blue Marble", _places(work / "bluemarble", plan.minutes, plan.seeds)]
    if not runs:
        return "\n\n".join(parts)
    dots(path.with_name("learning-bluemarble.png"), runs, floor)
    parts += [
        "![Accuracy of each method with its interval](learning-bluemarble.png)",
        _accuracies(runs | others),
        *([REFERENCES_TEXT] if others else []),
        *_with_location(runs | others, floor),
    ]
    if len(tuning) == 2:
        parts += [
            f"### Fine-tuned, all labels, {FRACTIONS[1.0]} epochs",
            _accuracies(tuning),
            _comparisons(tuning, SCRATCH),
        ]
    parts += [
        "### The same place at another date",
        "Each image is a query for its own place among all test places at another date; no labels.",
        _recalls(runs | others | floor),
        "### Which variant is better",
        _comparisons(runs),
    ]
    few = plan.few(2)
    curve = {
        minutes: variants(records, "bluemarble", few, minutes, ("moco", "moco-geo-tp"))
        for minutes in sorted({*plan.curve, plan.minutes})
    }
    if len(whole := {minutes: found for minutes, found in curve.items() if len(found) == 3}) > 1:
        lines(path.with_name("learning-curve.png"), whole, floor)
        parts += ["### Against pretraining time", f"{len(few)} seeds.", "![Curves](learning-curve.png)"]
        parts.append(_budgets(whole))
    return "\n\n".join([*parts, *_changes(plan, records)])


def _changes(plan: Plan, records: Records) -> list[str]:
    """The effect of each setting that differs from the paper."""
    few = plan.few(2)
    base = Job("bluemarble", "moco-geo-tp", minutes=plan.change_minutes)
    changed = known({name: of_seeds(records, replace(base, change=name), few) for name in ("", *CHANGES)})
    if "" not in changed:
        return []
    named = {"ours": changed.pop("")} | changed
    return [
        "### Our settings against the paper's",
        f"`moco-geo-tp`, {plan.change_minutes:g} min of pretraining, {len(few)} seeds, one setting changed: where ours differ "
        "from the paper (`configs/ours`, `configs/paper`), and what the paper does not state. A queue of 65,536 holds "
        "each image of this store four times; for the paper's million images it is one in sixteen.",
        _accuracies(named),
        _comparisons(named, "ours"),
    ]


def peru(plan: Plan, records: Records, work: Path, path: Path) -> str:
    """Retrieval alone."""
    runs = variants(records, "peru", range(plan.seeds), plan.peru_minutes)
    floor = known({FLOOR: of_seeds(records, Job("peru", FLOOR), range(1))})
    parts = ["## Landsat, Peru, 1985 to 2020", _places(work / "peru", plan.peru_minutes, plan.seeds)]
    if runs:
        parts += ["No labels: retrieval across eight dates.", _recalls(runs | floor), _comparisons(runs)]
    return "\n\n".join(parts)


def eurosat(plan: Plan, records: Records, work: Path, path: Path) -> str:
    """Frozen, and fine-tuned with few labels."""
    seeds, minutes = plan.few(2), plan.eurosat_minutes
    runs = variants(records, "eurosat", seeds, minutes, ("moco",))
    floor = known({FLOOR: of_seeds(records, Job("eurosat", FLOOR), range(1))})
    parts = ["## EuroSAT", _places(work / "eurosat", minutes, len(seeds))]
    parts.append("Pretrained on its training images without labels; the published split files; views of 32 px.")
    if "moco" in runs:
        parts += [_accuracies(runs), _floor(floor), _comparisons(runs, UNTRAINED)]
    column, rows = "fine-tuned, one date", []
    for fraction, epochs in FRACTIONS.items():
        found = tuned(records, "eurosat", seeds, minutes, "moco", fraction)
        if len(found) == 2:
            scratch, better = found[SCRATCH], found[TUNED]
            cells = (cell(scratch, column), cell(better, column), gain(better, scratch, column))
            rows.append([f"{fraction:.0%}", f"{epochs}", *cells])
    if rows:
        parts += ["### Fine-tuned with few labels", table(["labels", "epochs", SCRATCH, TUNED, "points"], rows)]
    return "\n\n".join(parts)


def dubai(plan: Plan, records: Records, work: Path, path: Path) -> str:
    """AP50 of each seed: so few numbers are listed, not summarised."""
    few = plan.few(2)
    jobs = {UNTRAINED: Job("dubai", UNTRAINED), "moco": Job("dubai", "moco", minutes=plan.dubai_minutes)}
    runs = known({name: of_seeds(records, replace(job, measure="detection"), few) for name, job in jobs.items()})
    parts = ["## Buildings, Dubai", _places(work / "dubai", plan.dubai_minutes, len(few))]
    if runs:
        one = next(iter(runs.values()))[0]
        parts.append(
            f"RetinaNet on the encoder, fine-tuned for {DETECTION_EPOCHS} epochs; {one['objects']:,} buildings in {one['images']:,} test chips."
        )
        rows = [
            [name, *(f"{100 * record['ap50']:.1f} %" for record in found),
             f"{100 * np.mean([record['ap50'] for record in found]):.1f} %"]
            for name, found in runs.items()
        ]  # fmt: skip
        parts.append(table(["AP50", *(f"seed {seed}" for seed in few), "mean"], rows))
    return "\n\n".join(parts)


def _places(path: Path, minutes: float, seeds: int) -> str:
    places = ChipStore(path).places
    count = places["split"].value_counts()
    return (
        f"{count.get('train', 0):,} training and {count.get('test', 0):,} test places of {places['count'].max()} date"
        f"{'s' if places['count'].max() > 1 else ''}; {minutes:g} minutes of pretraining; {seeds} seeds."
    )


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])


def _accuracies(runs: Runs) -> str:
    names = columns(runs, "hits")
    return table(["", *names], [[method, *(cell(found, name) for name in names)] for method, found in runs.items()])


def _floor(floor: Runs) -> str:
    if not floor:
        return ""
    reached = (f"{cell(floor[FLOOR], name)} ({name})" for name in columns(floor, "hits"))
    return f"Baseline, colour statistics: {', '.join(reached)}."


def _with_location(runs: Runs, floor: Runs) -> list[str]:
    """The floors, and the encoders with the coordinates beside their features."""
    if not floor:
        return []
    names = columns(floor, "hits")
    rows = [[method, *(cell(found, name) for name in names)] for method, found in floor.items()]
    for method, found in runs.items():
        if located := columns({method: found}, "located"):
            rows.append([f"{method}, with location", *(cell(found, name) for name in located)])
    return ["### Floors, and features with location", table(["", *(name.split(", ")[1] for name in names)], rows)]


def _recalls(runs: Runs) -> str:
    names = columns(runs, "recall")
    runs = {method: found for method, found in runs.items() if has(found, names[0])}
    rows = [[method, *(cell(found, name) for name in names)] for method, found in runs.items()]
    chance = next(iter(runs.values()))[0]["chance"]
    return table(["", *names], [*rows, ["chance", *(f"{100 * chance[name.split(',')[0]]:.1f} %" for name in names)]])


def cell(found: list[Record], column: str) -> str:
    """A method's mean over seeds and places, with its interval."""
    return str(mean_score(values(found, column))) if has(found, column) else ""


def _budgets(curve: dict[float, Runs]) -> str:
    measures = ["knn, all dates", "logistic, all dates", "logistic, dates stacked"]
    rows = [
        [f"{minutes:g} min", name, *(cell(runs[name], column) for column in measures)]
        for minutes, runs in curve.items()
        for name in ("moco", "moco-geo-tp")
    ]
    return table(["", "", *measures], rows)


def _comparisons(runs: Runs, base: str = "moco") -> str:
    """Every method against one, paired by place and seed, in points; what the interval settles stands out."""
    others = [method for method, found in runs.items() if method != base and len(found) == len(runs.get(base, []))]
    if not others:
        return ""
    names = columns({base: runs[base]}, "hits") + columns({base: runs[base]}, "recall")
    rows = [[method, *(gain(runs[method], runs[base], name) for name in names)] for method in others]
    return table([f"points over {base}", *names], rows)


def gain(found: list[Record], base: list[Record], column: str) -> str:
    """Points of a method over another, paired by place and seed; bold where they are settled."""
    if not (has(found, column) and has(base, column)):
        return ""
    score = gain_score(values(found, column) - values(base, column))
    return _points(score) if _verdict(score) == "not settled" else f"**{_points(score)}**"


def _points(gain: Score) -> str:
    return f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"


def _verdict(gain: Score) -> str:
    if gain.low > 0:
        return "better"
    return "worse" if gain.high < 0 else "not settled"


# --- pictures ---

COLOURS = ("#2f6db5", "#0b5d3b", "#c77c11", "#8a4fa3")


def dots(path: Path, runs: Runs, floor: Runs) -> None:
    """Accuracy of each method with its interval, one panel per use of the dates; lines: the floors."""
    names = columns(runs, "hits")
    kinds, ways = (list(dict.fromkeys(part)) for part in zip(*(name.split(", ") for name in names)))
    height = 0.5 * len(runs) + 1.2
    figure, axes = plt.subplots(1, len(ways), figsize=(10, height), layout="constrained", sharey=True, sharex=True)
    for axis, way in zip(axes, ways):
        for number, (kind, colour) in enumerate(zip(kinds, COLOURS)):
            scores = [mean_score(values(found, f"{kind}, {way}")) for found in runs.values()]
            at = np.arange(len(runs)) + 0.24 * (number - (len(kinds) - 1) / 2)
            middle, spread = _bars(scores)
            axis.errorbar(middle, at, xerr=spread, fmt="o", color=colour, label=kind, linewidth=2, markersize=5)
        for (name, found), style in zip(floor.items(), (":", "-.", "--")):
            if has(found, f"forest, {way}"):
                value = mean_score(values(found, f"forest, {way}")).value
                axis.axvline(100 * value, color="black", linestyle=style, label=name)
        axis.set(title=way, xlabel="correct test places, %")
        _tidy(axis)
    axes[0].set_yticks(range(len(runs)), list(runs))
    axes[0].invert_yaxis()
    _save(figure, axes[0], path)


def _bars(scores: list[Score]) -> tuple[np.ndarray, np.ndarray]:
    """Per cent, and the distances to both ends of the interval."""
    middle = np.array([score.value for score in scores])
    ends = np.array([[score.low, score.high] for score in scores]).T
    return 100 * middle, 100 * np.abs(ends - middle)


def lines(path: Path, curve: dict[float, Runs], floor: Runs) -> None:
    """Accuracy against minutes of pretraining; a line for stacked colour statistics."""
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    column, floors = "logistic, dates stacked", "forest, dates stacked"
    for colour, method in zip(COLOURS, ("moco", "moco-geo-tp")):
        scores = [mean_score(values(runs[method], column)) for runs in curve.values()]
        middle, spread = _bars(scores)
        axis.errorbar(list(curve), middle, spread, marker="o", capsize=3, color=colour, label=method)
    start = mean_score(values(next(iter(curve.values()))[UNTRAINED], column))
    axis.axhline(100 * start.value, color="grey", linestyle="--", label=UNTRAINED)
    if floor and has(floor[FLOOR], floors):
        best = mean_score(values(floor[FLOOR], floors))
        axis.axhline(100 * best.value, color="grey", linestyle=":", label=FLOOR)
    axis.set(xlabel="minutes of pretraining", ylabel="accuracy, %", title=f"Blue Marble: {column}")
    _tidy(axis)
    _save(figure, axis, path)


def _tidy(axis: plt.Axes) -> None:
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def _save(figure: plt.Figure, axis: plt.Axes, path: Path) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
