"""The card of a model and the result of a run as HTML. Without windows."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from ..algorithms.model_info import facts_of
from ..runtime.model.card import ModelCard
from ..runtime.results.areas import ClassArea
from ..texts import duration, number, size, tr
from . import repeat
from .models import Entry
from .run_queue import Run

_COLUMNS = 2  # of the legend
_BAR = 220  # px of the widest bar


def card_page(entry: Entry) -> str:
    """The card of a model, or why the model is refused."""
    if entry.card is None:
        return f"<h3>{_safe(entry.title)}</h3><p>{_safe(entry.fault)}</p>"
    facts = facts_of(str(entry.path), entry.card)
    for shown_above in (tr("Model"), tr("Classes")):
        facts.pop(shown_above)
    return f"<h3>{_safe(entry.title)}</h3>{_legend(entry.card)}<p></p>{_table(facts, 3)}"


def result_page(run: Run, areas: Sequence[ClassArea], picture: bytes) -> str:
    """A self-contained page about a finished run.

    Args:
        run: the run.
        areas: of the classes that occur.
        picture: the map as PNG; empty if there is none.
    """
    title = _safe(run.title)
    parts = [f"<h2>{title}</h2>"]
    parts += [f"<p>&#9888; {_safe(text)}</p>" for level, text in run.log if level == "warning"]
    if picture:
        parts.append(f"<p><img src='data:image/png;base64,{base64.b64encode(picture).decode()}'></p>")
    if areas:
        parts.append(_areas(areas, run.card))
    elif run.card.classes and "AREAS" in run.outputs:
        parts.append(f"<h3>{tr('Areas')}</h3><p>{_safe(tr('Nothing was mapped: the area contains no data.'))}</p>")
    parts += [f"<h3>{tr('About the run')}</h3>", _table(_facts(run), 4)]
    parts += [f"<h3>{tr('Repeat this run')}</h3>", _commands(run)]
    head = f"<head><meta charset='utf-8'><title>{title}</title></head>"
    return f"<!DOCTYPE html><html>{head}<body>{''.join(parts)}</body></html>\n"


def _legend(card: ModelCard) -> str:
    cells = [
        f"<td bgcolor='#{one.color}' width='24'>&nbsp;</td><td style='padding-left: 6px'>{_safe(one.name)}</td>"
        for one in card.classes
    ]
    down = -(-len(cells) // _COLUMNS)
    rows = ["<tr>" + "".join(cells[start::down]) + "</tr>" for start in range(down)]
    return f"<table width='100%' cellspacing='2' cellpadding='1'>{''.join(rows)}</table>" if rows else ""


def _areas(areas: Sequence[ClassArea], card: ModelCard) -> str:
    """Largest first."""
    colors = {entry.value: entry.color for entry in card.classes}
    most = max(row.percent for row in areas)
    heads = (tr("Class"), tr("Hectares"), "%", "")
    rows = ["<tr>" + "".join(f"<th align='left'>{head}</th>" for head in heads) + "</tr>"]
    for row in sorted(areas, key=lambda row: -row.m2):
        width = max(1, round(_BAR * row.percent / most))
        color = colors.get(row.value, "808080")
        bar = f"<table cellspacing='0' cellpadding='0'><tr><td bgcolor='#{color}' width='{width}'>&nbsp;</td></tr></table>"
        hectares = number(row.m2 / 10_000, ",.0f" if row.m2 >= 1_000_000 else ".2f")
        rows.append(
            f"<tr><td>{_safe(row.name)}</td><td align='right'>{hectares}</td>"
            f"<td align='right'>{number(row.percent, '.1f')}</td><td>{bar}</td></tr>"
        )
    table = f"<table cellspacing='0' cellpadding='4'>{''.join(rows)}</table>"
    note = tr("Pixel counting is biased by the errors of the map; 'Assess a map' in the toolbox corrects the areas.")
    return f"<h3>{tr('Areas')}</h3>{table}<p><small>{_safe(note)}</small></p>"


def _facts(run: Run) -> dict[str, str]:
    texts = run.given
    model = str(run.outputs.get("MODEL", texts["MODEL"]))  # that was run, or made
    about = facts_of(model, run.card) if Path(model).is_file() else {}
    options = {name: text for name, text in texts.items() if name not in ("INPUT", "MODEL")}
    return {
        **{name: about.get(name, "") for name in (tr("Model"), tr("File"), tr("Trained on"), tr("Licence"))},
        tr("Layer"): texts["INPUT"],
        tr("Options"): ", ".join(
            f"{run.algorithm.parameterDefinition(name).description()}: {text}" for name, text in options.items()
        ),
        tr("Time"): duration(run.seconds),
        tr("Results"): "\n".join(f"{path} ({size(path.stat().st_size)})" for path in run.files()),
    }


def _commands(run: Run) -> str:
    """Commands that repeat the run, or why there are none."""
    hindrance = repeat.hindrance(run.parameters, run.given)
    if hindrance:
        return f"<p>{_safe(hindrance)}</p>"
    texts = {**run.given, **repeat.output_files(run.parameters, run.outputs)}
    commands = {
        tr("From a shell with QGIS"): repeat.qgis_process(run.algorithm.id(), texts),
        tr("From a shell without QGIS"): repeat.command(run.algorithm.id(), texts, bool(run.card.dates)),
    }
    # tables, since Qt's rich text has no boxes
    return "".join(
        f"<p>{_safe(title)}</p>"
        f"<table width='100%' cellpadding='6' bgcolor='#f0f0f0'><tr><td><code>{_safe(line)}</code></td></tr></table>"
        for title, line in commands.items()
        if line
    )


def _table(facts: dict[str, str], padding: int) -> str:
    rows = "".join(
        f"<tr><td><b>{_safe(name)}</b></td><td>{_safe(text).replace(chr(10), '<br>')}</td></tr>"
        for name, text in facts.items()
        if text
    )
    return f"<table cellspacing='0' cellpadding='{padding}'>{rows}</table>"


def _safe(text: str) -> str:
    return html.escape(str(text), quote=False)
