"""``geoaware:modelinfo``: the card of a model, and what it would do with a layer."""

import html
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from qgis.core import QgsProcessingOutputNumber, QgsProcessingOutputString, QgsProcessingParameterRasterLayer

from ..gdal_io.job import RunPlan, card_in, open_job, snapshot
from ..runtime.infer.explain import facts, said
from ..runtime.infer.layout import Options
from ..runtime.infer.timing.estimate import estimated
from ..runtime.model.card import ModelCard
from ..texts import number, size, tr, words
from .base import Algorithm


class ModelInfoAlgorithm(Algorithm):
    """Reads a card. Works without onnxruntime, unless a layer is given."""

    NAME = "modelinfo"
    MODEL, INPUT, OUTPUT = "MODEL", "INPUT", "OUTPUT"

    def displayName(self):
        return tr("About a model")

    def shortHelpString(self):
        return tr(
            "Shows what a model needs (bands, unit, pixel size), what it returns (classes and colours), what "
            "it was trained on and its licence. The file is checked; the model is not run. With a layer: also what a "
            "run over it would do and why (bands, values, no data, pixel size, grid, tiles, time)."
        )

    def initAlgorithm(self, configuration=None):
        self.add_model()
        hint = tr("Also shows what a run over this layer would do; the first tiles are run to measure the time.")
        self.add(QgsProcessingParameterRasterLayer(self.INPUT, tr("Raster layer"), optional=True), hint)
        self.add_page(self.OUTPUT, tr("Page"), tr("The same as an HTML page."))
        self.addOutput(QgsProcessingOutputString("NAME", tr("Name")))
        self.addOutput(QgsProcessingOutputString("TASK", tr("Task")))
        self.addOutput(QgsProcessingOutputString("BANDS", tr("Bands, in the model's order")))
        self.addOutput(QgsProcessingOutputString("CLASSES", tr("Names of the classes")))
        self.addOutput(QgsProcessingOutputNumber("PIXEL_SIZE", tr("Pixel size in metres")))

    def plan(self, parameters, context):
        path = self.parameterAsFile(parameters, self.MODEL, context)
        card, layer = card_in(path), self.parameterAsRasterLayer(parameters, self.INPUT, context)
        return path, card, layer and RunPlan.checked(path, card, snapshot(layer), Options())

    def work(self, plan, parameters, context, feedback):
        path, card, run = plan
        about = facts_of(path, card)
        for name, text in about.items():
            feedback.pushInfo(f"{name}: {text}")
        run = _preview(run, feedback) if run else ""
        outputs = {
            "NAME": card.name, "TASK": card.task, "BANDS": ", ".join(card.bands), "PIXEL_SIZE": card.gsd,
            "CLASSES": ", ".join(entry.name for entry in card.classes),
        }  # fmt: skip
        return {**outputs, **self.write_page(parameters, self.OUTPUT, context, card.name, _body(about, card) + run)}


def _preview(plan: RunPlan, feedback) -> str:
    """Tell what a run would do, and give it as HTML."""
    begun = time.perf_counter()
    with closing(open_job(plan)) as job:
        opening = time.perf_counter() - begun
        for note in job.notes(measured=False):
            feedback.pushWarning(words(note))
        estimate = estimated(job, opening, lambda: not feedback.isCanceled())
        rows = said(facts(job, (), (), estimate), words)
    push_facts(rows, feedback)
    return f"<h2>{html.escape(plan.layer.name)}</h2>{fact_table(rows)}"


def push_facts(rows: Sequence[tuple[str, str, str]], feedback) -> None:
    """Write what a run does, and why, into the log."""
    for label, value, why in rows:
        feedback.pushInfo(f"{label}: {value} ({why})" if why and value else f"{label}: {value or why}")


def fact_table(rows: Sequence[tuple[str, str, str]]) -> str:
    """What a run does, and why, as HTML."""
    lines = []
    for label, value, why in rows:
        parts = [html.escape(value)] if value else []
        parts += [f"<i>{html.escape(why)}</i>"] if why else []
        lines.append(f"<tr><th align='left'>{html.escape(label)}</th><td>{'<br>'.join(parts)}</td></tr>")
    return f"<table cellpadding='2'>{''.join(lines)}</table>"


def facts_of(path: str, card: ModelCard) -> dict[str, str]:
    """Contents of a card as labels and texts."""
    low, high = card.value_range
    tile = tr("{side} x {side} px").format(side=card.tile_size) if card.tile_size else tr("any size")
    series = tr("any number; it learned from series of {count}").format(count=card.dates)
    return {
        tr("Model"): card.name,
        tr("File"): f"{Path(path).name} ({size(Path(path).stat().st_size)})",
        tr("Task"): card.task,
        tr("Bands"): ", ".join(card.bands),
        **({tr("Dates"): series} if card.dates else {}),
        tr("Values"): f"{card.unit} ({number(low, 'g')} - {number(high, 'g')})",
        tr("Pixel size"): f"{number(card.gsd, 'g')} m" if card.gsd else tr("not stated"),
        tr("Tile"): tile,
        tr("Classes"): ", ".join(f"{entry.value} {entry.name}" for entry in card.classes) or tr("none"),
        tr("Trained on"): card.description or tr("not stated"),
        tr("Accuracy"): card.accuracy or tr("not stated"),
        tr("Licence"): card.license or tr("not stated"),
    }


def _body(facts: dict[str, str], card: ModelCard) -> str:
    rows = "".join(
        f"<tr><th align='left'>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in facts.items()
    )
    legend = "".join(
        f"<tr><td style='background:#{entry.color}' width='40'></td><td>{entry.value}</td>"
        f"<td>{html.escape(entry.name)}</td></tr>"
        for entry in card.classes
    )
    return f"<table>{rows}</table><table>{legend}</table>"
