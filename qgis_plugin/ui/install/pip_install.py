"""Installs onnxruntime into a folder of the plugin's own, with the pip of QGIS's Python. Knows no windows."""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import List, Optional

from qgis.PyQt.QtCore import QObject, QProcess, QProcessEnvironment, pyqtSignal

from ... import onnxruntime_help
from ...texts import tr

DOWNLOAD, ON_DISK = "20 MB", "70 MB"  # of onnxruntime 1.24 to 1.31 for Linux, Windows and macOS


def python_of_qgis() -> Optional[Path]:
    """The program that is QGIS's Python, else another whose pip can serve.

    ``sys.executable`` comes last: it is QGIS itself on Windows and macOS, and the first Python on the path elsewhere.
    """
    home, version = Path(sys.exec_prefix), f"{sys.version_info[0]}.{sys.version_info[1]}"
    places = [home / "python.exe", home / "python3.exe"]
    places += [home / "bin" / name for name in (f"python{version}", "python3")]
    places += [Path(sys.executable or "")] if "python" in Path(sys.executable or "").name.lower() else []
    return next((place for place in places if place.is_file()), None)


def pip_arguments(target: Path, wheels: Optional[Path] = None) -> List[str]:
    """For a wheel that suits QGIS's Python, whichever Python pip runs in.

    Nothing but onnxruntime is fetched: numpy is QGIS's own, and it starts without the rest.

    Args:
        target: the folder to fill.
        wheels: a folder to take the wheel from, instead of the network.
    """
    common = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-deps"]
    source = ["--no-index", "--find-links", str(wheels)] if wheels else []
    wanted = f"onnxruntime>={onnxruntime_help.WANTED}"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    suited = ["--only-binary=:all:", "--python-version", version]
    return [*common, *suited, *source, "--target", str(target), wanted]


class Installing(QObject):
    """One installation: into a hidden folder first, so that a failed one leaves what was there."""

    said = pyqtSignal(str)
    ended = pyqtSignal(str)  # why it cannot be used yet; empty where it can

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._process: Optional[QProcess] = None
        self._hidden: Optional[Path] = None
        self._cancelled = False

    def start(self, wheels: Optional[Path] = None) -> None:
        """Begin; ``ended`` tells when it is over."""
        python = python_of_qgis()
        if python is None:
            self.ended.emit(tr("QGIS's own Python was not found; run the line below in a terminal."))
            return
        folder = onnxruntime_help.packages_folder()
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._hidden = Path(tempfile.mkdtemp(prefix=".geoaware-", dir=folder.parent))
        except OSError as error:
            self.ended.emit(tr("Your profile cannot be written to ({error}).").format(error=error))
            return
        self._cancelled = False
        self._process = QProcess(self)
        settings = QProcessEnvironment.systemEnvironment()
        settings.insert("PIP_USER", "0")  # which some set, and which contradicts a folder
        settings.insert("PYTHONUNBUFFERED", "1")
        self._process.setProcessEnvironment(settings)
        self._process.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
        self._process.readyRead.connect(self._read)
        self._process.errorOccurred.connect(self._broke)
        self._process.finished.connect(self._finished)
        arguments = pip_arguments(self._hidden, wheels)
        self.said.emit(" ".join([str(python), *arguments]))
        self._process.start(str(python), arguments)

    def cancel(self) -> None:
        """Stop; nothing stays behind."""
        if self._process is not None:
            self._cancelled = True
            self._process.kill()
            self._process.waitForFinished(5000)

    def _read(self) -> None:
        text = bytes(self._process.readAll()).decode("utf-8", "replace").rstrip()
        if text:
            self.said.emit(text)

    def _broke(self, error) -> None:
        if error == QProcess.ProcessError.FailedToStart:  # then nothing else is told
            self._finished(-1)

    def _finished(self, code: int, *_) -> None:
        self._read()
        self._process.deleteLater()
        self._process = None
        fault = "" if code == 0 else self._fault()
        if not fault:
            fault = self._take_over()
        shutil.rmtree(self._hidden, ignore_errors=True)
        self.ended.emit(fault)

    def _fault(self) -> str:
        if self._cancelled:
            return tr("Cancelled; nothing was installed.")
        return tr("pip could not install it: its output tells why.")

    def _take_over(self) -> str:
        """Put the filled folder in its place; why it cannot be used yet, or empty."""
        folder = onnxruntime_help.packages_folder()
        older = self._hidden.with_name(f"{self._hidden.name}-older")
        try:
            if folder.exists():
                os.replace(folder, older)  # as a whole or not at all: it may be in use
            os.replace(self._hidden, folder)
        except OSError as error:
            if older.exists():
                os.replace(older, folder)
            text = tr("The older one is in use ({error}): restart QGIS and try again.")
            return text.format(error=error)
        shutil.rmtree(older, ignore_errors=True)
        if onnxruntime_help.is_loaded():  # the unusable one, and it stays
            return tr("It is installed. Restart QGIS to use it.")
        return onnxruntime_help.problem()
