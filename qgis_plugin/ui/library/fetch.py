"""Adds models to the library in the background, from a file or from the network."""

import tempfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Optional

from qgis.core import QgsApplication, QgsNetworkAccessManager, QgsTask
from qgis.PyQt.QtCore import QObject, QUrl, pyqtSignal
from qgis.PyQt.QtNetwork import QNetworkReply, QNetworkRequest

from ...runtime.errors import Cancelled, RuntimeFault
from ...runtime.model.guard import MAX_BYTES
from ...texts import size, tr, words
from . import models


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
            self._made = str(models.add(self._source, self._checksum, lambda: not self.isCanceled()))
        except Cancelled:
            return False
        except RuntimeFault as fault:
            message = fault.message
            self._fault = words(message.about(self._source.name) if "where" in message.fields else message)
        return True

    def finished(self, fine: bool) -> None:
        """On the main thread."""
        if self._made:
            self.added.emit(self._made)
        else:
            self.refused.emit(self._fault or tr("Cancelled."))


class Checksumming(QgsTask):
    """Computes the checksum of a model file in a worker thread: a large file takes seconds."""

    computed = pyqtSignal(str)  # the checksum, or why there is none

    def __init__(self, path: Path) -> None:
        super().__init__(tr("GeoAware: checksum of {name}").format(name=path.name), QgsTask.Flag.CanCancel)
        self._path, self._answer = path, ""

    def run(self) -> bool:
        """In a worker thread."""
        try:
            self._answer = f"SHA-256: {models.sha256(self._path, lambda: not self.isCanceled())}"
        except Cancelled:
            return False
        except OSError as error:
            self._answer = tr("The model cannot be read ({error}).").format(error=error)
        return True

    def finished(self, fine: bool) -> None:
        """On the main thread."""
        if fine:
            self.computed.emit(self._answer)


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
        self._task: Optional[Adding] = None
        self._received, self._broken = 0, ""

    @property
    def busy(self) -> bool:
        """Whether a model is being added."""
        return self._reply is not None or self._task is not None

    def add_file(self, source: Path, checksum: str) -> None:
        """Add a file from this computer."""
        self._task = Adding(source, checksum)
        self._task.added.connect(self._done)
        self._task.refused.connect(self._refuse)
        QgsApplication.taskManager().addTask(self._task)

    def add_url(self, address: str, checksum: str) -> None:
        """Download and add; a checksum is required, since the server is not trusted."""
        url = QUrl(address.strip())
        name = PurePosixPath(url.path()).name
        if url.scheme() not in ("http", "https") or not name.lower().endswith(".onnx"):
            self._refuse(tr("Enter an address that begins with https:// and ends in .onnx."))
            return
        if not checksum.strip():
            self._refuse(tr("Enter the SHA-256 checksum that is published with the model."))
            return
        try:
            models.folder().mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(prefix=".download-", dir=models.folder())
            target = Path(self._folder.name) / name
            self._file = target.open("wb")
        except OSError as error:
            self._refuse(tr("The model cannot be copied ({error}).").format(error=error))
            return
        self._received, self._broken = 0, ""
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
        block = bytes(self._reply.readAll())
        self._received += len(block)
        if self._received > MAX_BYTES:
            self._reply.abort()
            return
        try:
            self._file.write(block)
        except OSError as error:  # the disk is full
            self._broken = str(error)
            self._reply.abort()
            return
        total = self._reply.header(QNetworkRequest.KnownHeaders.ContentLengthHeader)
        of = size(int(total)) if total else "?"
        self.progress.emit(tr("{received} of {total}").format(received=size(self._received), total=of))

    def _downloaded(self, target: Path, checksum: str) -> None:
        reply, self._reply = self._reply, None
        self._file.close()
        self._file = None
        reason = "" if reply.error() == QNetworkReply.NetworkError.NoError else reply.errorString()
        reply.deleteLater()
        if self._received > MAX_BYTES:
            reason = tr("it is larger than the limit of 2 GB")
        reason = self._broken or reason
        if reason:
            self._refuse(tr("The model could not be downloaded ({reason}).").format(reason=reason))
        else:
            self.add_file(target, checksum)

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
