"""Installs onnxruntime with the pip of QGIS's Python into a folder of the profile. Without windows."""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Optional

from qgis.PyQt.QtCore import QObject, QProcess, QProcessEnvironment, pyqtSignal

from ... import onnxruntime_help
from ...texts import tr

DOWNLOAD, ON_DISK = "20 MB", "70 MB"  # of onnxruntime 1.24 to 1.31 for Linux, Windows and macOS


def python_of_qgis() -> Optional[Path]:
    """The Python executable of QGIS, or another one whose pip can be used.

    ``sys.executable`` comes last: it is QGIS itself on Windows and macOS, and the first Python on the path elsewhere.
    """
    home, version = Path(sys.exec_prefix), f"{sys.version_info[0]}.{sys.version_info[1]}"
    places = [home / "python.exe", home / "python3.exe"]
    places += [home / "bin" / name for name in (f"python{version}", "python3")]
    places += [Path(sys.executable or "")] if "python" in Path(sys.executable or "").name.lower() else []
    return next((place for place in places if place.is_file()), None)


def pip_arguments(target: Path, wheels: Optional[Path] = None) -> list[str]:
    """Arguments of Python to install a wheel for QGIS's Python, whichever Python runs pip.

    Only onnxruntime is downloaded: QGIS includes numpy, and the other dependencies are not needed.

    Args:
        target: folder to install into.
        wheels: folder with the wheel, to install without a network.
    """
    common = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-deps"]
    source = ["--no-index", "--find-links", str(wheels)] if wheels else []
    requirement = f"onnxruntime>={onnxruntime_help.MINIMUM}"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    platform = ["--only-binary=:all:", "--python-version", version]
    return [*common, *platform, *source, "--target", str(target), requirement]


class Installing(QObject):
    """One installation: into a hidden folder first, so that a failed one changes nothing."""

    output = pyqtSignal(str)
    ended = pyqtSignal(str)  # why onnxruntime cannot be used yet; empty if it can

    def __init__(self, parent=None) -> None:
        super().__init__(parent)
        self._process: Optional[QProcess] = None
        self._hidden = Path()  # the folder that pip fills
        self._cancelled = False
        self._no_pip = False  # Debian's Python has none before python3-pip is installed

    def start(self, wheels: Optional[Path] = None) -> None:
        """Start pip; ``ended`` is emitted when it has finished."""
        python = python_of_qgis()
        if python is None:
            self.ended.emit(tr("The Python of QGIS was not found; run the command below in a terminal."))
            return
        folder = onnxruntime_help.packages_folder()
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            self._hidden = Path(tempfile.mkdtemp(prefix=".geoaware-", dir=folder.parent))
        except OSError as error:
            self.ended.emit(tr("The profile folder is not writable ({error}).").format(error=error))
            return
        self._cancelled = self._no_pip = False
        self._process = QProcess(self)
        settings = QProcessEnvironment.systemEnvironment()
        settings.insert("PIP_USER", "0")  # set on some machines, and not allowed with --target
        settings.insert("PYTHONUNBUFFERED", "1")
        self._process.setProcessEnvironment(settings)
        self._process.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
        self._process.readyRead.connect(self._read)
        self._process.errorOccurred.connect(self._failed_to_start)
        self._process.finished.connect(self._finished)
        arguments = pip_arguments(self._hidden, wheels)
        self.output.emit(" ".join([str(python), *arguments]))
        self._process.start(str(python), arguments)

    def cancel(self) -> None:
        """Stop pip and remove what it has written."""
        if self._process is not None:
            self._cancelled = True
            self._process.kill()
            self._process.waitForFinished(5000)

    def _read(self) -> None:
        text = bytes(self._process.readAll()).decode("utf-8", "replace").rstrip()
        if text:
            self._no_pip |= "No module named pip" in text
            self.output.emit(text)

    def _failed_to_start(self, error) -> None:
        if error == QProcess.ProcessError.FailedToStart:  # no other signal follows
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
        if self._no_pip:
            return tr(
                "QGIS's Python has no pip. On Debian and Ubuntu, run 'sudo apt install python3-pip' in a terminal, then "
                "click Install again."
            )
        return tr("pip failed: see its output.")

    def _take_over(self) -> str:
        """Move the new folder into place; returns why onnxruntime cannot be used yet, or an empty text."""
        folder = onnxruntime_help.packages_folder()
        older = self._hidden.with_name(f"{self._hidden.name}-older")
        try:
            if folder.exists():
                os.replace(folder, older)  # as a whole or not at all: files in it may be in use
            os.replace(self._hidden, folder)
        except OSError as error:
            if older.exists():
                os.replace(older, folder)
            text = tr("The installed onnxruntime is in use ({error}): restart QGIS and try again.")
            return text.format(error=error)
        shutil.rmtree(older, ignore_errors=True)
        if onnxruntime_help.is_loaded():  # the unusable one stays loaded
            return tr("Installed. Restart QGIS to use it.")
        return onnxruntime_help.problem()
