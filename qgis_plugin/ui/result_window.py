"""The window with the result page of a run."""

from pathlib import Path
from typing import Optional

from qgis.core import QgsMapRendererParallelJob, QgsMapSettings, QgsRasterLayer
from qgis.PyQt.QtCore import QBuffer, QByteArray, QIODevice, QSize, Qt
from qgis.PyQt.QtGui import QColor
from qgis.PyQt.QtWidgets import QDialogButtonBox, QFileDialog, QMessageBox, QTextBrowser

from ..texts import tr
from .pages import result_page
from .run_queue import Run
from .widgets import PluginWindow

_PICTURE = QSize(640, 400)


class ResultWindow(PluginWindow):
    """Shows the page at once, and its picture once the map is drawn."""

    def __init__(self, run: Run, parent=None) -> None:
        super().__init__(tr("GeoAware: result"), parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._run = run
        self._areas = [row for row in run.areas() if row.pixels]
        self._drawing: Optional[QgsMapRendererParallelJob] = None
        self.text = QTextBrowser()
        save = self.buttons.addButton(tr("Save page…"), QDialogButtonBox.ButtonRole.ActionRole)
        save.clicked.connect(self._save)
        self.fill_with(self.text)
        self.resize(760, 700)
        self._show(b"")
        self._draw()

    def stop(self) -> None:
        """Cancel the drawing."""
        if self._drawing is not None:
            self._drawing.finished.disconnect(self._drawn)
            self._drawing.cancelWithoutBlocking()
            self._drawing = None

    def _show(self, picture: bytes) -> None:
        self.html = result_page(self._run, self._areas, picture)
        self.text.setHtml(self.html)

    def _draw(self) -> None:
        """Draw the result alone, in its own CRS, with the style beside the file."""
        picture = self._run.outputs.get("PICTURE")  # of features, which have no colours of their own
        shown = None if picture else self._run.layer()
        self._layer = shown or QgsRasterLayer(picture or self._run.outputs.get("OUTPUT", ""), "")
        if not self._layer.isValid() or self._layer.extent().isEmpty():
            return
        extent = self._layer.extent()
        longer = max(extent.width(), extent.height())
        pixels = QSize(int(1000 * extent.width() / longer) or 1, int(1000 * extent.height() / longer) or 1)
        settings = QgsMapSettings()
        settings.setLayers([self._layer])
        settings.setDestinationCrs(self._layer.crs())
        settings.setBackgroundColor(QColor(255, 255, 255))
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
        if not chosen:
            return
        path = Path(chosen if chosen.lower().endswith(".html") else f"{chosen}.html")
        try:
            path.write_text(self.html, "utf-8")
        except OSError as error:
            QMessageBox.warning(self, "GeoAware", tr("The page cannot be saved ({error}).").format(error=error))
