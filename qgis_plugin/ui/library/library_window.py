"""The window of the model library."""

from pathlib import Path
from typing import Optional

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QSize, Qt, QUrl, pyqtSignal
from qgis.PyQt.QtGui import QDesktopServices, QIcon
from qgis.PyQt.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMessageBox,
    QPushButton,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from ...algorithms.base import ICON
from ...runtime.errors import RuntimeFault
from ...texts import tr, words
from . import models
from .card_view import CardView
from .fetch import Checksumming, Fetching
from .models import Entry


class LibraryWindow(QDialog):
    """Lists the models, shows their cards, adds and removes."""

    changed = pyqtSignal(str)  # file of the model that was added; empty when one was removed

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("GeoAware: models"))
        self.setWindowIcon(QIcon(str(ICON)))
        self._checksumming: Optional[Checksumming] = None
        self.fetching = Fetching(self)
        self.fetching.progress.connect(self._say)
        self.fetching.added.connect(self._added)
        self.fetching.refused.connect(self._refused)
        self.list, self.card, self.message = QListWidget(), CardView(), QLabel()
        self.list.setIconSize(QSize(16, 16))
        self.list.setWordWrap(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.currentItemChanged.connect(lambda *_: self._chosen())
        self.message.setWordWrap(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        both = QSplitter(Qt.Orientation.Horizontal)
        both.addWidget(self.list)
        both.addWidget(self.card)
        both.setSizes([280, 460])
        close = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        close.button(QDialogButtonBox.StandardButton.Close).setAutoDefault(False)  # Enter starts the download
        close.rejected.connect(self.close)
        layout = QVBoxLayout(self)
        layout.addWidget(both, 1)
        layout.addLayout(self._actions())
        layout.addWidget(self._address())
        layout.addWidget(self.message)
        layout.addWidget(close)
        self.resize(780, 600)
        self.fill()

    @property
    def entry(self) -> Optional[Entry]:
        """The chosen model."""
        item = self.list.currentItem()
        return item.data(Qt.ItemDataRole.UserRole) if item else None

    def fill(self, chosen: Optional[Path] = None) -> None:
        """Reload the list of models."""
        self.list.clear()
        for entry in models.entries():
            icon = "mIconRaster.svg" if entry.card else "mIconWarning.svg"
            title = tr("{name} (comes with the plugin)").format(name=entry.title) if entry.starter else entry.title
            item = QListWidgetItem(QIcon(QgsApplication.getThemeIcon(icon)), title)
            item.setData(Qt.ItemDataRole.UserRole, entry)
            item.setToolTip(str(entry.path))
            self.list.addItem(item)
            if entry.path == chosen:
                self.list.setCurrentItem(item)
        if self.list.currentItem() is None and self.list.count():
            self.list.setCurrentRow(0)
        self._chosen()

    def stop(self) -> None:
        """Cancel what runs in the background."""
        self.fetching.cancel()
        if self._checksumming is not None:
            self._checksumming.cancel()

    def done(self, result):
        """Cancel a download when the window is closed, in any way."""
        self.stop()
        super().done(result)

    def _actions(self) -> QHBoxLayout:
        self.add_button, self.remove_button = QPushButton(tr("Add file…")), QPushButton(tr("Remove"))
        self.checksum_button, folder = QPushButton(tr("Checksum")), QPushButton(tr("Open folder"))
        row = QHBoxLayout()
        for button in (self.add_button, self.remove_button, self.checksum_button, folder):
            button.setAutoDefault(False)
            row.addWidget(button)
        row.addStretch(1)
        self.add_button.clicked.connect(self._add_file)
        self.remove_button.clicked.connect(self._remove)
        self.checksum_button.clicked.connect(self._compute_checksum)
        folder.clicked.connect(self._open_folder)
        return row

    def _address(self) -> QWidget:
        self.address, self.checksum = QLineEdit(), QLineEdit()
        self.address.setPlaceholderText("https://…/model.onnx")
        self.checksum.setPlaceholderText(tr("64 characters; required for downloads, optional for files"))
        self.download_button = QPushButton(tr("Download"))
        self.download_button.setAutoDefault(False)
        self.download_button.clicked.connect(self._download)
        row = QHBoxLayout()
        for line in (self.address, self.checksum):
            line.returnPressed.connect(self.download_button.click)
        row.addWidget(self.address)
        row.addWidget(self.download_button)
        box = QWidget()
        form = QFormLayout(box)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow(tr("Address"), row)
        form.addRow(tr("SHA-256"), self.checksum)
        return box

    def _add_file(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, tr("Add a model"), "", tr("ONNX models (*.onnx)"))
        if chosen:
            self._busy(True)
            self.fetching.add_file(Path(chosen), self.checksum.text())

    def _download(self) -> None:
        self._busy(True)
        self.fetching.add_url(self.address.text(), self.checksum.text())

    def _remove(self) -> None:
        entry = self.entry
        if entry is None:
            return
        text = tr("Remove '{name}' from the library and delete its file?").format(name=entry.title)
        if QMessageBox.question(self, "GeoAware", text) != QMessageBox.StandardButton.Yes:
            return
        try:
            models.remove(entry)
        except RuntimeFault as fault:
            self._say(words(fault))
            return
        self._say(tr("'{name}' was removed.").format(name=entry.title))
        self.fill()
        self.changed.emit("")

    def _compute_checksum(self) -> None:
        self.checksum_button.setEnabled(False)
        self._checksumming = Checksumming(self.entry.path)
        self._checksumming.computed.connect(self._say)
        for ended in (self._checksumming.taskCompleted, self._checksumming.taskTerminated):
            ended.connect(self._checksummed)
        QgsApplication.taskManager().addTask(self._checksumming)

    def _checksummed(self) -> None:
        self._checksumming = None  # which QGIS deletes
        self._chosen()

    def _open_folder(self) -> None:
        models.folder().mkdir(parents=True, exist_ok=True)
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(models.folder())))

    def _added(self, path: str) -> None:
        self._busy(False)
        self.fill(Path(path))
        self.address.clear()
        self.checksum.clear()
        self._say(tr("'{name}' was added.").format(name=self.entry.title))
        self.changed.emit(path)

    def _refused(self, reason: str) -> None:
        self._busy(False)
        self._say(reason)

    def _busy(self, busy: bool) -> None:
        self.add_button.setEnabled(not busy)
        self.download_button.setEnabled(not busy)
        if busy:
            self._say(tr("Checking…"))

    def _say(self, text: str) -> None:
        self.message.setText(text)

    def _chosen(self) -> None:
        entry = self.entry
        self.remove_button.setEnabled(entry is not None and not entry.starter)
        self.checksum_button.setEnabled(entry is not None and self._checksumming is None)
        if entry is not None:
            self.card.show_entry(entry)
        else:
            about = tr("The library is empty. Add an ONNX file made with GeoAware or for Deepness.")
            self.card.setHtml(f"<p>{about}</p>")
