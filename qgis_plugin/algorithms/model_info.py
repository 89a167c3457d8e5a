"""``geoaware:modelinfo``: the card of a model; the model is not run."""

import html
from pathlib import Path

from qgis.core import QgsProcessingOutputNumber, QgsProcessingOutputString

from ..gdal_io.job import card_in
from ..runtime.model.card import ModelCard
from ..texts import number, size, tr
from .base import Algorithm


class ModelInfoAlgorithm(Algorithm):
    """Reads a card. Works without onnxruntime."""

    NAME = "modelinfo"
    MODEL, OUTPUT = "MODEL", "OUTPUT"

    def displayName(self):
        return tr("About a model")

    def shortHelpString(self):
        return tr(
            "Shows what a model needs (bands, unit, pixel size), what it returns (classes and colours), what "
            "it was trained on and its licence. The file is checked; the model is not run."
        )

    def initAlgorithm(self, configuration=None):
        self.add_model()
        self.add_page(self.OUTPUT, tr("Page"), tr("The same as an HTML page."))
        self.addOutput(QgsProcessingOutputString("NAME", tr("Name")))
        self.addOutput(QgsProcessingOutputString("TASK", tr("Task")))
        self.addOutput(QgsProcessingOutputString("BANDS", tr("Bands, in the model's order")))
        self.addOutput(QgsProcessingOutputString("CLASSES", tr("Names of the classes")))
        self.addOutput(QgsProcessingOutputNumber("PIXEL_SIZE", tr("Pixel size in metres")))

    def plan(self, parameters, context):
        path = self.parameterAsFile(parameters, self.MODEL, context)
        return path, card_in(path)

    def work(self, plan, parameters, context, feedback):
        path, card = plan
        facts = facts_of(path, card)
        for name, text in facts.items():
            feedback.pushInfo(f"{name}: {text}")
        outputs = {
            "NAME": card.name, "TASK": card.task, "BANDS": ", ".join(card.bands), "PIXEL_SIZE": card.gsd,
            "CLASSES": ", ".join(entry.name for entry in card.classes),
        }  # fmt: skip
        return {**outputs, **self.write_page(parameters, self.OUTPUT, context, card.name, _body(facts, card))}


def facts_of(path: str, card: ModelCard) -> dict[str, str]:
    """Contents of a card as labels and texts."""
    low, high = card.value_range
    tile = tr("{side} x {side} px").format(side=card.tile_size) if card.tile_size else tr("any size")
    return {
        tr("Model"): card.name,
        tr("File"): f"{Path(path).name} ({size(Path(path).stat().st_size)})",
        tr("Task"): card.task,
        tr("Bands"): ", ".join(card.bands),
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
