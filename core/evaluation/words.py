"""The content of probe.json in words: a table, and whether the encoder is worth using."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.evaluation.intervals import Score, few_places
from core.evaluation.probe import ENCODERS, METHODS
from core.evaluation.protocol import DATES
from core.evaluation.retrieval import SCALINGS, TOP

FLOOR_NAMES = {
    "untrained": "an untrained network",
    "colour_statistics": "colours",
    "coordinates": "coordinates",
    "colours_and_coordinates": "colours and coordinates",
}
USES = {
    "one_date": "labels from one date",
    "all_dates": "labels from the mean of all dates",
    "stacked": "labels from all dates in order",
    "retrieval": "finding a place again at another date",
}
STAGES = {"last": "", "third": ", third stage", "first_three": ", stages 1 to 3"}
WELL, HARDLY = 0.7, 0.3  # F1 of a class that is separated well, or hardly
LABEL_WEIGHT = 0.2  # --ignore-weight with which no label of a year is settled below moco: docs/benchmarks/learning.md
_FIRST = f"recall_at_{TOP[0]}"


@dataclass(frozen=True)
class Verdict:
    """Whether an encoder is worth using.

    Attributes:
        headline: one sentence, for which uses it is.
        sentences: one for each use: what it reaches, and against which floors.
        advice: what to try, where it is not better than every floor.
        worth: the keys of ``USES`` in which it is better than every floor, settled by the intervals.
    """

    headline: str
    sentences: list[str]
    advice: list[str]
    worth: list[str]


def verdict(result: dict[str, Any]) -> Verdict:
    """Judge the content of probe.json.

    In a use the encoder must beat an untrained network and the colours, and, where places have coordinates, with them the
    coordinates and the colours with coordinates; each by an interval above 0. ``pretraining`` holds the options of the
    encoder's run, where they are known.
    """
    uses = [use for use in USES if use in result]
    worth = [use for use in uses if all(Score(**gain).low > 0 for gain in _decisive(result[use], use))]
    others = [use for use in uses if use not in worth]
    if not others:
        headline = "Worth using: better than every floor in everything that was measured."
    elif worth:
        headline = f"Worth using for {_listed(USES[use] for use in worth)}; not shown to be for {_listed(USES[use] for use in others)}."
    else:
        headline = "Not shown to be worth using: in nothing that was measured is it better than every floor."
    sentences = [line for use in uses for line in _sentences(result, use)]
    return Verdict(headline, sentences, _advice(result, others), worth)


def class_sentences(result: dict[str, Any]) -> list[str]:
    """Which classes the encoder separates, with the most dates there are; empty without labels."""
    if (rows := class_rows(result)) is None:
        return []
    f1 = {row["class"]: row["f1"]["trained"] or 0.0 for row in rows}
    well = [f"{name} ({_percent(value)})" for name, value in f1.items() if value >= WELL]
    hardly = [
        f"{row['class']} ({_percent(f1[row['class']])}{_taken(row)})" for row in rows if f1[row["class"]] < HARDLY
    ]
    lines = [f"Separates well, by F1: {_listed(well)}." if well else "Separates no class well (F1 of 70 % or more)."]
    return lines + ([f"Hardly: {_listed(hardly)}."] if hardly else [])


def class_rows(result: dict[str, Any]) -> list[dict] | None:
    """The rows per class of probe.json of the use with the most dates."""
    used = [use for use in DATES if use in result]
    return result[used[-1]]["classes"] if used else None


def text_table(result: dict[str, Any]) -> str:
    """The content of probe.json as text, one line per method, and the verdict."""
    lines = ["no labels: no accuracy"]
    if "test_places" in result:
        lines = [f"{result['test_places']} test places; majority class: {100 * result['majority_class']:.1f} %"]
        lines += _warning(result["test_places"])
    possible = [dates for dates in DATES if dates in result]
    for dates in possible:
        for name in (name for name in METHODS if name in result[dates]):
            for kind, scores in result[dates][name].items():
                names = f"{title(dates)}, {title(name)}, {title(kind)}"
                accuracy, macro_f1 = Score(**scores["accuracy"]), Score(**scores["macro_f1"])
                lines.append(f"{names:<50} accuracy {accuracy}, macro-F1 {macro_f1}")
    for dates in possible:
        for kind, score in result[dates]["advantage_over_untrained"].items():
            lines.append(f"{title(dates)}, {title(kind)}: gain over untrained, accuracy {Score(**score)}")
    judged = verdict(result)
    said = [
        "",
        judged.headline,
        *judged.sentences,
        *class_sentences(result),
        *(f"Try: {line}" for line in judged.advice),
    ]
    return "\n".join(lines + _retrieval_lines(result.get("retrieval")) + said)


def title(name: str) -> str:
    """Readable form of a key of the result."""
    return "dates stacked" if name == "stacked" else name.replace("_", " ")


def _decisive(part: dict[str, Any], use: str) -> list[dict]:
    """The gains that decide about a use."""
    if use == "retrieval":
        return [gain[_FIRST] for gain in part["whitened"]["advantage"].values()]
    located = part.get("advantage_with_location", {})
    return [
        *(part["advantage"][name] for name in ("untrained", "colour_statistics")),
        *(located[name] for name in ("coordinates", "colours_and_coordinates") if name in located),
    ]


def _sentences(result: dict[str, Any], use: str) -> list[str]:
    part = result[use]
    if use == "retrieval":
        white = part["whitened"]
        reached = white["trained"]["last"][_FIRST]["value"]
        gains = {name: gain[_FIRST] for name, gain in white["advantage"].items()}
        return [
            f"{_capital(USES[use])}, among {part['places']:,}: {_percent(reached)} at the first try (whitened features); {_against(gains)}."
        ]
    reached = part["trained"][part["chosen"]["trained"]]["accuracy"]["value"]
    lines = [f"{_capital(USES[use])}: {_percent(reached)} of the test places are right; {_against(part['advantage'])}."]
    if located := part.get("advantage_with_location"):
        reached = part["trained"]["forest_with_location"]["accuracy"]["value"]
        lines.append(f"... with the coordinates beside the features: {_percent(reached)}; {_against(located)}.")
    return lines


def _against(gains: dict[str, dict]) -> str:
    """Better than A (+3.0 points), not settled against B (+0.5)."""
    groups: dict[str, list[str]] = {"better than": [], "not settled against": [], "worse than": []}
    for name, gain in gains.items():
        score = Score(**gain)
        group = "better than" if score.low > 0 else "worse than" if score.high < 0 else "not settled against"
        groups[group].append(f"{FLOOR_NAMES[name]} ({100 * score.value:+.1f} points)")
    return ", ".join(f"{group} {_listed(names)}" for group, names in groups.items() if names)


def _advice(result: dict[str, Any], others: list[str]) -> list[str]:
    """What to try where the encoder is not better than every floor."""
    if not others:
        return []
    labels = [result[use] for use in others if use != "retrieval"]
    lines = _pretraining_advice(result, others)
    if any(Score(**part["advantage"]["untrained"]).low <= 0 for part in labels):
        lines.append(
            "look at the losses of the pretraining: an encoder that is no better than an untrained one has learned nothing."
        )
    if any(Score(**part["advantage"]["colour_statistics"]).low <= 0 for part in labels):
        lines.append(
            "fine-tune the whole encoder (core.train finetune): frozen features are not better than colours here."
        )
    where = ("coordinates", "colours_and_coordinates")
    if any(Score(**part["advantage"][name]).high < 0 for part in labels for name in where if name in part["advantage"]):
        lines.append(
            "give the model the coordinates too (core.train finetune --dates N --location): alone or with the colours they tell "
            "more about these classes than the frozen features."
        )
    if "retrieval" in others:
        found = {stage: part[_FIRST]["value"] for stage, part in result["retrieval"]["whitened"]["trained"].items()}
        best = max(found, key=lambda stage: found[stage])
        if best != "last":
            lines.append(
                f"to find places again, use the whitened features of {'the third stage' if best == 'third' else 'stages 1 to 3'}: "
                f"{_percent(found[best])} at the first try, the last stage {_percent(found['last'])}."
            )
    return lines


def _pretraining_advice(result: dict[str, Any], others: list[str]) -> list[str]:
    """What to change in the pretraining: of its options those that it did not use, and that its dates allow."""
    options = result.get("pretraining", {})
    now = f", now {options['epochs']}" if "epochs" in options else ""
    lines = [f"pretrain longer (--epochs{now}), or on more images of the same kind."]
    if not options:
        return lines
    if options.get("optimizer") == "sgd":
        lines.append("pretrain with --optimizer adamw: on small stores it learns more in the same number of steps.")
    if not (DATES[1] in result or "retrieval" in result):
        lines.append(
            "give the store more dates of each place: pairs of dates teach what a place looks like in other seasons."
        )
    elif "tp" not in options["variant"]:
        lines.append(f"pretrain with --variant {options['variant']}-tp: it pairs the dates of a place.")
    else:
        if "retrieval" in others and options.get("pair_views") == "independent":
            lines.append("pretrain with --pair-views whole: two dates of a place then show the same pixels.")
        if set(others) & set(DATES) and options.get("season") == "ignore":
            lines.append("pretrain with --season both: a second embedding keeps what the season says about a class.")
        weight = options.get("ignore_weight", 1) if options.get("season") == "both" else 0
        if set(others) & set(DATES[1:]) and weight > LABEL_WEIGHT:
            lines.append(
                f"for labels of several dates, pretrain with --ignore-weight {LABEL_WEIGHT}: seasons count for more."
            )
    return lines


def _taken(row: dict) -> str:
    return f", mostly taken for {row['taken_for']}" if row["taken_for"] and row["taken"] > row["recall"] else ""


def _warning(places: int) -> list[str]:
    few = few_places(places)
    return [f"warning: {few}"] if few else []


def _retrieval_lines(retrieval: dict | None) -> list[str]:
    if retrieval is None:
        return ["no retrieval across dates: fewer than two test places have two dates"]
    lines = [
        f"retrieval of the same place at another date among {retrieval['places']} places "
        f"({retrieval['pairs_of_dates']} pairs of dates)",
        *_warning(retrieval["places"]),
    ]
    for kind in SCALINGS:
        for name in (*ENCODERS, "colour_statistics"):
            for stage, part in retrieval[kind][name].items():
                recalls = ", ".join(f"at {top} {Score(**part[f'recall_at_{top}'])}" for top in TOP)
                lines.append(f"{f'retrieval, {title(name)}{STAGES[stage]}, {kind}':<50} recall {recalls}")
    chance = ", ".join(f"at {top} {100 * retrieval['chance'][f'recall_at_{top}']:.1f} %" for top in TOP)
    lines.append(f"{'retrieval, chance':<50} recall {chance}")
    for kind in SCALINGS:
        gains = retrieval[kind]["advantage"]["untrained"]
        said = ", ".join(f"at {top} {Score(**gains[f'recall_at_{top}'])}" for top in TOP)
        lines.append(f"retrieval, {kind}: gain over untrained, recall {said}")
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _listed(names: Any) -> str:
    """A, B and C."""
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
