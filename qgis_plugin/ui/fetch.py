"""Brings models into the library in the background: from a file, or from the network."""

import tempfile
from pathlib import Path, PurePosixPath
from typing import Optional

from qgis.core import QgsApplication, QgsFileDownloader, QgsTask
from qgis.PyQt.QtCore import QObject, QUrl, pyqtSignal

from ..runtime.errors import Cancelled, RuntimeFault
from ..runtime.files import size_text
from ..runtime.guard import MAX_BYTES
from ..texts import tr
from . import library


class Adding(QgsTask):
    """Copies and checks a model file in a worker thread."""

    added = pyqtSignal(str)
    refused = pyqtSignal(str)

    def __init__(self, source: Path, checksum: str) -> None:
        super().__init__(tr("GeoAware: adding {name}").format(name=source.name), QgsTask.Flag.CanCancel)
        self._source, self._checksum = source, checksum
        self._made, self._fault = "", ""

    def run(self) -> bool:
        """In a worker thread."""
        try:
            self._made = str(library.add(self._source, self._checksum, lambda: not self.isCanceled()))
        except Cancelled:
            return False
        except RuntimeFault as fault:
            self._fault = str(fault).replace(f"{self._source.parent}/", "")
        return True

    def finished(self, fine: bool) -> None:
        """On the main thread."""
        if self._made:
            self.added.emit(self._made)
        else:
            self.refused.emit(self._fault or tr("Cancelled."))


class Fetching(QObject):
    """Downloads a model through QGIS's own network settings, then adds it; one at a time."""

    progress = pyqtSignal(str)
    added = pyqtSignal(str)
    refused = pyqtSignal(str)

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._folder: Optional[tempfile.TemporaryDirectory] = None
        self._downloader: Optional[QgsFileDownloader] = None
        self._task: Optional[Adding] = None
        self._errors = ""

    @property
    def busy(self) -> bool:
        """Whether one is under way."""
        return self._downloader is not None or self._task is not None

    def add_file(self, source: Path, checksum: str) -> None:
        """Add a file of this computer."""
        self._task = Adding(source, checksum)
        self._task.added.connect(self._done)
        self._task.refused.connect(self._refuse)
        QgsApplication.taskManager().addTask(self._task)

    def add_url(self, address: str, checksum: str) -> None:
        """Download and add; a checksum must be given, since anyone may answer."""
        url = QUrl(address.strip())
        name = PurePosixPath(url.path()).name
        if url.scheme() not in ("http", "https") or not name.lower().endswith(".onnx"):
            self._refuse(tr("Give an address that begins with https:// and ends in .onnx."))
            return
        if not checksum.strip():
            self._refuse(tr("Give the SHA-256 checksum that stands beside the address of the model."))
            return
        library.folder().mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(prefix=".download-", dir=library.folder())
        target = Path(self._folder.name) / name
        self._errors = ""
        self._downloader = QgsFileDownloader(url, str(target))
        self._downloader.downloadProgress.connect(self._downloading)
        self._downloader.downloadError.connect(self._failed)
        self._downloader.downloadExited.connect(lambda: self._downloaded(target, checksum))

    def cancel(self) -> None:
        """Stop; nothing stays behind."""
        if self._downloader is not None:
            self._downloader.cancelDownload()
        if self._task is not None:
            self._task.cancel()

    def _downloading(self, received: int, total: int) -> None:
        if max(received, total) > MAX_BYTES:
            self._errors = tr("The file is larger than 2 GB, which no model may be.")
            self._downloader.cancelDownload()
            return
        of = size_text(total) if total > 0 else "?"
        self.progress.emit(tr("{received} of {total}").format(received=size_text(received), total=of))

    def _failed(self, messages) -> None:
        self._errors = self._errors or "; ".join(messages)

    def _downloaded(self, target: Path, checksum: str) -> None:
        self._downloader = None
        if target.is_file() and not self._errors:
            self.add_file(target, checksum)
        else:
            text = tr("The model could not be downloaded ({reason}).")
            self._refuse(text.format(reason=self._errors or tr("cancelled")))

    def _done(self, path: str) -> None:
        self._clear()
        self.added.emit(path)

    def _refuse(self, reason: str) -> None:
        self._clear()
        self.refused.emit(reason)

    def _clear(self) -> None:
        self._task = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
