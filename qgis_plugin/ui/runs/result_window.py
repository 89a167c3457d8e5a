"""The window with the result page of a run."""

from pathlib import Path
from typing import Optional

from qgis.core import QgsMapRendererParallelJob, QgsMapSettings, QgsRasterLayer
from qgis.PyQt.QtCore import QBuffer, QByteArray, QIODevice, QSize, Qt
from qgis.PyQt.QtGui import QColor, QIcon
from qgis.PyQt.QtWidgets import QDialog, QDialogButtonBox, QFileDialog, QMessageBox, QTextBrowser, QVBoxLayout

from ...algorithms.base import ICON
from ...algorithms.model_info import facts_of
from ...texts import size, tr
from ..duration import duration
from . import loading, repeat
from .result_page import Result, page
from .run_queue import Run

_PICTURE = QSize(640, 400)


class ResultWindow(QDialog):
    """Shows the page at once, and its picture once the map is drawn."""

    def __init__(self, run: Run, parent=None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("GeoAware: result"))
        self.setWindowIcon(QIcon(str(ICON)))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._run = run
        self._areas = [row for row in loading.areas(run) if row.pixels]
        self._drawing: Optional[QgsMapRendererParallelJob] = None
        self.text = QTextBrowser()
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        save = buttons.addButton(tr("Save page…"), QDialogButtonBox.ButtonRole.ActionRole)
        save.clicked.connect(self._save)
        for button in buttons.buttons():
            button.setAutoDefault(False)
        buttons.rejected.connect(self.close)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(buttons)
        self.resize(760, 700)
        self._show(b"")
        self._draw()

    def done(self, result):
        """Cancel the drawing when the window is closed, in any way."""
        self.stop()
        super().done(result)

    def stop(self) -> None:
        """Cancel the drawing."""
        if self._drawing is not None:
            self._drawing.finished.disconnect(self._drawn)
            self._drawing.cancelWithoutBlocking()
            self._drawing = None

    def _show(self, picture: bytes) -> None:
        run = self._run
        hindrance = repeat.hindrance(run.parameters, run.given)
        commands = {} if hindrance else self._commands()
        empty = run.card.classes and "AREAS" in run.outputs and not self._areas
        no_areas = tr("Nothing was mapped: the area contains no data.") if empty else ""
        warnings = [text for level, text in run.log if level == "warning"]
        result = Result(
            run.title, run.card, picture, self._areas, self._facts(), commands, warnings, no_areas, hindrance
        )
        self.html = page(result)
        self.text.setHtml(self.html)

    def _commands(self) -> dict[str, str]:
        run = self._run
        texts = {**run.given, **repeat.output_files(run.parameters, run.outputs)}
        commands = {tr("From a shell with QGIS"): repeat.qgis_process(run.algorithm.id(), texts)}
        batch = repeat.predict(texts)
        if batch:
            commands[tr("From a shell without QGIS")] = batch
        return commands

    def _facts(self) -> dict[str, str]:
        run, texts = self._run, self._run.given
        about = facts_of(texts["MODEL"], run.card) if Path(texts["MODEL"]).is_file() else {}
        facts = {name: about.get(name, "") for name in (tr("Model"), tr("File"), tr("Trained on"), tr("Licence"))}
        facts[tr("Layer")] = texts["INPUT"]
        facts[tr("Options")] = ", ".join(
            f"{run.algorithm.parameterDefinition(name).description()}: {text}"
            for name, text in texts.items()
            if name not in ("INPUT", "MODEL")
        )
        facts[tr("Time")] = duration(run.seconds)
        facts[tr("Results")] = "\n".join(f"{path} ({size(path.stat().st_size)})" for path in loading.files(run))
        return facts

    def _draw(self) -> None:
        """Draw the result alone, in its own CRS, with the style beside the file."""
        picture = self._run.outputs.get("PICTURE")  # of features, which have no colours of their own
        shown = None if picture else loading.layer_of(self._run)
        self._layer = shown or QgsRasterLayer(picture or self._run.outputs.get("OUTPUT", ""), "")
        if not self._layer.isValid() or self._layer.extent().isEmpty():
            return
        settings = QgsMapSettings()
        settings.setLayers([self._layer])
        settings.setDestinationCrs(self._layer.crs())
        settings.setBackgroundColor(QColor(255, 255, 255))
        extent = self._layer.extent()
        pixels = QSize(int(1000 * extent.width() / max(extent.width(), extent.height())) or 1, 0)
        pixels.setHeight(int(1000 * extent.height() / max(extent.width(), extent.height())) or 1)
        settings.setOutputSize(pixels.scaled(_PICTURE, Qt.AspectRatioMode.KeepAspectRatio))
        settings.setExtent(extent)
        self._drawing = QgsMapRendererParallelJob(settings)
        self._drawing.finished.connect(self._drawn)
        self._drawing.start()

    def _drawn(self) -> None:
        image, self._drawing = self._drawing.renderedImage(), None
        data = QByteArray()
        buffer = QBuffer(data)
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        image.save(buffer, "PNG")
        self._show(bytes(data))

    def _save(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(self, tr("Save page"), "", tr("HTML files (*.html)"))
        if chosen:
            path = Path(chosen if chosen.lower().endswith(".html") else f"{chosen}.html")
            try:
                path.write_text(self.html, "utf-8")
            except OSError as error:
                text = tr("The page cannot be saved ({error}).").format(error=error)
                QMessageBox.warning(self, "GeoAware", text)
