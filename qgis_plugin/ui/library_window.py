"""The window of the model library, and how models come into it from a file or from the network."""

import tempfile
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Optional

from qgis.core import QgsApplication, QgsNetworkAccessManager
from qgis.PyQt.QtCore import QObject, QSize, Qt, QUrl, pyqtSignal
from qgis.PyQt.QtGui import QDesktopServices, QIcon
from qgis.PyQt.QtNetwork import QNetworkReply, QNetworkRequest
from qgis.PyQt.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QListWidgetItem,
    QMessageBox,
)

from ..runtime.errors import RuntimeFault
from ..runtime.model.guard import MAX_BYTES
from ..texts import size, tr, words
from . import models
from .models import Entry
from .pages import card_page
from .widgets import Background, PluginWindow, button, paragraph, split, stack, wrapped_list, wrapped_text


class Fetching(QObject):
    """Downloads a model with QGIS's network settings, then adds it; one at a time."""

    progress = pyqtSignal(str)
    added = pyqtSignal(str)
    refused = pyqtSignal(str)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._folder: Optional[tempfile.TemporaryDirectory] = None
        self._reply: Optional[QNetworkReply] = None
        self._file: Optional[BinaryIO] = None
        self._task: Optional[Background] = None
        self._reason = ""  # why a download was aborted

    @property
    def busy(self) -> bool:
        """Whether a model is being added."""
        return self._reply is not None or self._task is not None

    def add_file(self, source: Path, checksum: str) -> None:
        """Add a file from this computer."""
        title, problem = tr("GeoAware: adding {name}"), tr("The model cannot be copied ({error}).")
        add = partial(models.add, source, checksum)
        self._task = Background(title.format(name=source.name), add, problem).start(self._ended)

    def add_url(self, address: str, checksum: str) -> None:
        """Download and add; a checksum is required, since the server is not trusted."""
        url = QUrl(address.strip())
        name = PurePosixPath(url.path()).name
        if url.scheme() not in ("http", "https") or not name.lower().endswith(".onnx"):
            self._ended(None, tr("Enter an address that begins with https:// and ends in .onnx."))
            return
        if not checksum.strip():
            self._ended(None, tr("Enter the SHA-256 checksum that is published with the model."))
            return
        try:
            models.folder().mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(prefix=".download-", dir=models.folder())
            target = Path(self._folder.name) / name
            self._file = target.open("wb")
        except OSError as error:
            self._ended(None, tr("The model cannot be copied ({error}).").format(error=error))
            return
        self._reason = ""
        request = QNetworkRequest(url)
        policy = QNetworkRequest.RedirectPolicy.NoLessSafeRedirectPolicy
        request.setAttribute(QNetworkRequest.Attribute.RedirectPolicyAttribute, policy)
        self._reply = QgsNetworkAccessManager.instance().get(request)
        self._reply.readyRead.connect(self._read)
        self._reply.finished.connect(lambda: self._downloaded(target, checksum))

    def cancel(self) -> None:
        """Stop and remove what was downloaded."""
        if self._reply is not None:
            self._reply.abort()
        if self._task is not None:
            self._task.cancel()

    def _read(self) -> None:
        try:
            self._file.write(bytes(self._reply.readAll()))
        except OSError as error:  # the disk is full
            self._reason = str(error)
        received, total = self._file.tell(), self._reply.header(QNetworkRequest.KnownHeaders.ContentLengthHeader)
        if received > MAX_BYTES:
            self._reason = tr("it is larger than the limit of 2 GB")
        if self._reason:
            self._reply.abort()
            return
        of = size(int(total)) if total else "?"
        self.progress.emit(tr("{received} of {total}").format(received=size(received), total=of))

    def _downloaded(self, target: Path, checksum: str) -> None:
        reply, self._reply = self._reply, None
        self._file.close()
        if reply.error() != QNetworkReply.NetworkError.NoError:
            self._reason = self._reason or reply.errorString()
        reply.deleteLater()
        if self._reason:
            self._ended(None, tr("The model could not be downloaded ({reason}).").format(reason=self._reason))
        else:
            self.add_file(target, checksum)

    def _ended(self, path: Optional[Path], problem: str) -> None:
        self._task = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        if path is None:
            self.refused.emit(problem)
        else:
            self.added.emit(str(path))


class LibraryWindow(PluginWindow):
    """Lists the models, shows their cards, adds and removes."""

    changed = pyqtSignal(str)  # file of the model that was added; empty when one was removed

    def __init__(self, parent=None) -> None:
        super().__init__(tr("GeoAware: models"), parent)
        self._checksumming: Optional[Background] = None
        self.list, self.card, self.message = wrapped_list(), wrapped_text(), paragraph()
        self.fetching = Fetching(self)
        self.fetching.progress.connect(self.message.setText)
        self.fetching.added.connect(self._added)
        self.fetching.refused.connect(self._refused)
        self.list.setIconSize(QSize(16, 16))
        self.list.currentItemChanged.connect(lambda *_: self._chosen())
        both = split(Qt.Orientation.Horizontal, self.list, self.card)
        both.setSizes([280, 460])
        self.add_button = button(tr("Add file…"), self._add_file)
        self.remove_button = button(tr("Remove"), self._remove)
        self.checksum_button = button(tr("Checksum"), self._compute_checksum)
        folder = button(tr("Open folder"), self._open_folder)
        actions = stack(QHBoxLayout(), self.add_button, self.remove_button, self.checksum_button, folder, None)
        self.fill_with(both, actions, self._address(), self.message).setStretch(0, 1)
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

    def _address(self) -> QFormLayout:
        self.address, self.checksum = QLineEdit(), QLineEdit()
        self.address.setPlaceholderText("https://…/model.onnx")
        self.checksum.setPlaceholderText(tr("64 characters; required for downloads, optional for files"))
        self.download_button = button(tr("Download"), self._download)
        for line in (self.address, self.checksum):
            line.returnPressed.connect(self.download_button.click)
        form = QFormLayout()
        form.addRow(tr("Address"), stack(QHBoxLayout(), self.address, self.download_button))
        form.addRow(tr("SHA-256"), self.checksum)
        return form

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
            self.message.setText(words(fault))
            return
        self.message.setText(tr("'{name}' was removed.").format(name=entry.title))
        self.fill()
        self.changed.emit("")

    def _compute_checksum(self) -> None:
        path = self.entry.path
        title, problem = tr("GeoAware: checksum of {name}"), tr("The model cannot be read ({error}).")
        task = Background(title.format(name=path.name), partial(models.sha256, path), problem)
        self._checksumming = task.start(self._checksummed)
        self.checksum_button.setEnabled(False)

    def _checksummed(self, checksum: Optional[str], problem: str) -> None:
        self._checksumming = None
        self.message.setText(f"SHA-256: {checksum}" if checksum else problem)
        self._chosen()

    def _open_folder(self) -> None:
        models.folder().mkdir(parents=True, exist_ok=True)
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(models.folder())))

    def _added(self, path: str) -> None:
        self._busy(False)
        self.fill(Path(path))
        self.address.clear()
        self.checksum.clear()
        self.message.setText(tr("'{name}' was added.").format(name=self.entry.title))
        self.changed.emit(path)

    def _refused(self, reason: str) -> None:
        self._busy(False)
        self.message.setText(reason)

    def _busy(self, busy: bool) -> None:
        self.add_button.setEnabled(not busy)
        self.download_button.setEnabled(not busy)
        if busy:
            self.message.setText(tr("Checking…"))

    def _chosen(self) -> None:
        entry = self.entry
        self.remove_button.setEnabled(entry is not None and not entry.starter)
        self.checksum_button.setEnabled(entry is not None and self._checksumming is None)
        if entry is not None:
            self.card.setHtml(card_page(entry))
        else:
            about = tr("The library is empty. Add an ONNX file made with GeoAware or for Deepness.")
            self.card.setHtml(f"<p>{about}</p>")
