"""The help pages of the plugin, in its own window."""

from pathlib import Path

from qgis.PyQt.QtCore import QUrl
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QDialog, QDialogButtonBox, QTextBrowser, QVBoxLayout

from ..algorithms.base import ICON
from ..texts import language, tr

PAGES = Path(__file__).resolve().parent.parent / "help"


class HelpWindow(QDialog):
    """Shows the page in the user's language, or in English."""

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("GeoAware: help"))
        self.setWindowIcon(QIcon(str(ICON)))
        self.text = QTextBrowser()
        self.text.setOpenExternalLinks(True)
        own = PAGES / f"{language()}.html"
        self.text.setSource(QUrl.fromLocalFile(str(own if own.is_file() else PAGES / "en.html")))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.close)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(buttons)
        self.resize(680, 620)

    def stop(self) -> None:
        """Nothing runs in the background."""
