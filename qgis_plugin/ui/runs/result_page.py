"""The result page of a run as one self-contained HTML text. Without windows."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass

from ...runtime.model.card import ModelCard
from ...runtime.results.areas import ClassArea
from ...texts import number, tr

_BAR = 220  # px of the widest bar


@dataclass(frozen=True)
class Result:
    """Contents of the page.

    Attributes:
        title: title of the run.
        card: card of the model.
        picture: the map as PNG; empty if there is none.
        areas: area of each class.
        facts: labels and texts about the run.
        commands: titles and commands that repeat the run.
        warnings: sentences.
        no_areas: sentence to show instead of areas; empty for none.
        no_commands: sentence to show instead of commands; empty for none.
    """

    title: str
    card: ModelCard
    picture: bytes
    areas: Sequence[ClassArea]
    facts: dict[str, str]
    commands: dict[str, str]
    warnings: Sequence[str] = ()
    no_areas: str = ""
    no_commands: str = ""


def page(result: Result) -> str:
    """The whole page."""
    parts = [f"<h2>{_safe(result.title)}</h2>"]
    parts += [f"<p>&#9888; {_safe(text)}</p>" for text in result.warnings]
    if result.picture:
        data = base64.b64encode(result.picture).decode()
        parts.append(f"<p><img src='data:image/png;base64,{data}'></p>")
    if result.areas:
        parts += [f"<h3>{tr('Areas')}</h3>", _areas(result.areas, result.card)]
        note = tr(
            "Pixel counting is biased by the errors of the map; 'Assess a map' in the toolbox corrects the areas."
        )
        parts.append(f"<p><small>{_safe(note)}</small></p>")
    elif result.no_areas:
        parts.append(f"<h3>{tr('Areas')}</h3><p>{_safe(result.no_areas)}</p>")
    parts += [f"<h3>{tr('About the run')}</h3>", _table(result.facts)]
    if result.commands or result.no_commands:
        parts.append(f"<h3>{tr('Repeat this run')}</h3>")
    if result.no_commands:
        parts.append(f"<p>{_safe(result.no_commands)}</p>")
    for title, line in result.commands.items():
        # a table, since Qt's rich text has no boxes
        box = f"<table width='100%' cellpadding='6' bgcolor='#f0f0f0'><tr><td><code>{_safe(line)}</code></td></tr></table>"
        parts.append(f"<p>{_safe(title)}</p>{box}")
    head = f"<head><meta charset='utf-8'><title>{_safe(result.title)}</title></head>"
    return f"<!DOCTYPE html><html>{head}<body>{''.join(parts)}</body></html>\n"


def _areas(areas: Sequence[ClassArea], card: ModelCard) -> str:
    """Largest first; classes that do not occur are left out."""
    colors = {entry.value: entry.color for entry in card.classes}
    present = sorted((row for row in areas if row.pixels), key=lambda row: -row.m2)
    most = max((row.percent for row in present), default=1.0)
    heads = (tr("Class"), tr("Hectares"), "%", "")
    rows = ["<tr>" + "".join(f"<th align='left'>{head}</th>" for head in heads) + "</tr>"]
    for row in present:
        width = max(1, round(_BAR * row.percent / most))
        color = colors.get(row.value, "808080")
        bar = f"<table cellspacing='0' cellpadding='0'><tr><td bgcolor='#{color}' width='{width}'>&nbsp;</td></tr></table>"
        rows.append(
            f"<tr><td>{_safe(row.name)}</td><td align='right'>{_hectares(row.m2 / 10_000)}</td>"
            f"<td align='right'>{number(row.percent, '.1f')}</td><td>{bar}</td></tr>"
        )
    return f"<table cellspacing='0' cellpadding='4'>{''.join(rows)}</table>"


def _table(facts: dict[str, str]) -> str:
    rows = "".join(
        f"<tr><td><b>{_safe(name)}</b></td><td>{_safe(text).replace(chr(10), '<br>')}</td></tr>"
        for name, text in facts.items()
        if text
    )
    return f"<table cellspacing='0' cellpadding='4'>{rows}</table>"


def _hectares(value: float) -> str:
    return number(value, ",.0f" if value >= 100 else ".2f")


def _safe(text: str) -> str:
    return html.escape(str(text), quote=False)
