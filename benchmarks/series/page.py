"""Writes docs/benchmarks/series.md from the results so far."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.series.heads import ATTENTION, AVERAGED, EPOCHS, MEAN, ONE
from benchmarks.series.pixels import MAPS, VOTE, VOTE_EPOCHS
from core.evaluation.intervals import Score, gain_score, mean_score
from core.store.read import ChipStore

Records = dict[str, dict[str, Any]]
STACKED, BOTH, WHERE = "colours, months stacked", "colours and coordinates, months stacked", "coordinates alone"
MAP = "pixels of the map"  # what the keys of their results begin with
NOTES = Path(__file__).with_name("notes.md")
HEAD = """# Series of dates

Made by `python -m benchmarks.series`; the numbers come from its runs alone. Blue Marble, {dates} months, ResNet-18, {train:,} training and
{test:,} test places in other strips of longitude; {machine}. **Encoders are frozen**: each image is encoded once, and the heads of
`core.networks.series` learn on the features ({epochs} epochs, dates dropped at random, dropout), {seeds} seeds of the heads and one of each
encoder. Values are the accuracy over test places, in brackets 95 % intervals over seeds and places. Comparisons are paired by place and
seed, in percentage points, and **bold** where the interval excludes 0."""
VOTES = f"""*{VOTE}* is a model of a class per pixel, trained from the masks of the same places with its encoder ({VOTE_EPOCHS} epochs); a place
gets the class of land with the most probability over its pixels."""


def floors(where: np.ndarray, colours: np.ndarray) -> dict[str, np.ndarray]:
    """What gradient boosting without an encoder gets: (places, D)."""
    return {WHERE: where, STACKED: colours, BOTH: np.concatenate([colours, where], axis=1)}


def key(encoder: str, use: str, location: bool, seed: int) -> str:
    """Names a result."""
    return f"{encoder}|{use}{', location' if location else ''}|{seed}"


def write(path: Path, records: Records, store: ChipStore) -> None:
    """Write the page."""
    sides = store.places[store.places["label"] >= 0]["split"].value_counts()
    runs: dict[tuple[str, str], np.ndarray] = {}
    for name, record in records.items():
        if "hits" not in record:
            continue
        method, _, rest = name.partition("|")
        use = rest.rpartition("|")[0]
        hits = np.array([[float(right) for right in record["hits"]]])
        runs[method, use] = np.concatenate([runs[method, use], hits]) if (method, use) in runs else hits
    seeds = max(len(found) for (_, use), found in runs.items() if use.startswith(ATTENTION))
    encoders = list(dict.fromkeys(method for method, use in runs if use))
    head = HEAD.format(
        dates=store.places["count"].max(), train=sides["train"], test=sides["test"], epochs=EPOCHS, seeds=seeds,
        machine=f"{os.cpu_count()} CPU cores, {platform.machine()}",
    )  # fmt: skip
    parts = [head, "## Floors without an encoder", _floors(runs), "## Heads", _heads(runs, encoders)]
    if any(use.startswith(VOTE) for _, use in runs):
        parts.append(VOTES)
    parts += ["## Comparisons", _comparisons(runs, encoders), "## Pixels of the map", _maps(records)]
    if NOTES.exists():
        parts.append(NOTES.read_text().strip())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(parts) + "\n")


def _floors(runs: dict[tuple[str, str], np.ndarray]) -> str:
    rows = [[name, str(mean_score(runs[name, ""]))] for name in (WHERE, STACKED, BOTH) if (name, "") in runs]
    return _table(["gradient boosting on", "accuracy"], rows)


def _heads(runs: dict[tuple[str, str], np.ndarray], encoders: list[str]) -> str:
    rows = []
    for encoder in encoders:
        for use in (ONE, AVERAGED, MEAN, ATTENTION, VOTE):
            plain, located = runs.get((encoder, use)), runs.get((encoder, f"{use}, location"))
            if plain is not None and located is not None and len(plain) == len(located):
                scores = [str(mean_score(plain)), str(mean_score(located)), _gain(located, plain)]
                rows.append([encoder, use, *scores])
    return _table(["encoder", "head", "accuracy", "with location", "points by location"], rows)


def _comparisons(runs: dict[tuple[str, str], np.ndarray], encoders: list[str]) -> str:
    asked = [(ATTENTION, other) for other in (ONE, AVERAGED, MEAN)]
    rows = []
    for encoder in encoders:
        pairs = [(f"{a} over {b}", (encoder, a), (encoder, b)) for a, b in asked]
        pairs.append((f"{VOTE} over {ATTENTION}", (encoder, VOTE), (encoder, ATTENTION)))
        pairs.append((f"{VOTE} over {STACKED}", (encoder, VOTE), (STACKED, "")))
        pairs.append((f"{VOTE}, location over {BOTH}", (encoder, f"{VOTE}, location"), (BOTH, "")))
        pairs.append((f"{ATTENTION} over {STACKED}", (encoder, ATTENTION), (STACKED, "")))
        pairs.append((f"{ATTENTION}, location over {BOTH}", (encoder, f"{ATTENTION}, location"), (BOTH, "")))
        pairs.append((f"{ATTENTION}, location over {WHERE}", (encoder, f"{ATTENTION}, location"), (WHERE, "")))
        if encoder != encoders[0]:
            pairs.append((f"{ATTENTION}: {encoder} over {encoders[0]}", (encoder, ATTENTION), (encoders[0], ATTENTION)))
        rows += [[encoder, said, _gain(runs[a], runs[b])] for said, a, b in pairs if a in runs and b in runs]
    return _table(["encoder", "", "points"], rows)


def _maps(records: Records) -> str:
    """Means over the seeds, with the lowest and the highest of several."""
    rows = []
    for kind in MAPS:
        found = [records[name] for name in records if name.startswith(f"{MAP}|{kind}|")]
        if found:
            shares = [[one[name] for one in found] for name in ("accuracy", "land")]
            rows.append([kind, f"{found[0]['images']:,}", *map(_spread, shares), str(len(found))])
    about = (
        "The quickstart's map store (windows of 64 px): the labels of half of its training places, encoder and head trained together, all "
        "pixels of its test places (a model of one date: of every date)."
    )
    return about + "\n\n" + _table(["", "images read by the encoder", "all pixels", "land", "seeds"], rows)


def _spread(shares: list[float]) -> str:
    lowest, highest = (100 * extreme(shares) for extreme in (min, max))
    return f"{100 * np.mean(shares):.1f} %" + (f" ({lowest:.1f} to {highest:.1f})" if len(shares) > 1 else "")


def _gain(better: np.ndarray, worse: np.ndarray) -> str:
    count = min(len(better), len(worse))
    values = better - worse if len(worse) == 1 or len(better) == len(worse) else better[:count] - worse[:count]
    gain: Score = gain_score(values)
    said = f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    return f"**{said}**" if gain.low > 0 or gain.high < 0 else said


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])
