"""The page that installs what runs models with the pip of QGIS's Python into a folder of the profile, after a click."""

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from qgis.PyQt.QtCore import QObject, QProcess, QProcessEnvironment, pyqtSignal
from qgis.PyQt.QtGui import QFontDatabase
from qgis.PyQt.QtWidgets import (
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
)

from .. import onnxruntime_help
from ..runtime.model.devices import plugins
from ..runtime.model.devices.packages import ONNXRUNTIME, OPENVINO, Package
from ..texts import size, tr
from .widgets import PluginWindow, button, paragraph, stack

_WIDTH, _OUTPUT = 640, 150  # px: minimum width, minimum height of pip's output


def python_of_qgis() -> Optional[Path]:
    """The Python executable of QGIS, or another one whose pip can be used.

    ``sys.executable`` comes last: it is QGIS itself on Windows and macOS, and the first Python on the path elsewhere.
    """
    home = Path(sys.exec_prefix)
    places = [home / "python.exe", home / "python3.exe"]
    places += [home / "bin" / name for name in (f"python{onnxruntime_help.PYTHON}", "python3")]
    places += [Path(sys.executable or "")] if "python" in Path(sys.executable or "").name.lower() else []
    return next((place for place in places if place.is_file()), None)


def pip_arguments(
    target: Path, wheels: Optional[Path] = None, packages: Sequence[Package] = onnxruntime_help.PACKAGES
) -> list[str]:
    """Arguments of Python to install wheels for QGIS's Python, whichever Python runs pip.

    Only these packages are downloaded: QGIS includes numpy, and the other dependencies are not needed.
    A folder of ``wheels`` makes it work without a network; beside onnxruntime's it may lack OpenVINO's.
    """
    source = ["--no-index", "--find-links", str(wheels)] if wheels else []
    if wheels and ONNXRUNTIME in packages and not any(wheels.glob("openvino-*.whl")):
        packages = [one for one in packages if one is not OPENVINO]
    return [
        *("-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-deps"),
        *("--only-binary=:all:", "--python-version", onnxruntime_help.PYTHON, *source),
        *("--target", str(target), *(one.requirement for one in packages)),
    ]


class Installing(QObject):
    """One installation: into a hidden folder first, so that a failed one changes nothing."""

    output = pyqtSignal(str)
    ended = pyqtSignal(str)  # why it cannot be used yet; empty if it can

    def __init__(self, parent=None, packages: Sequence[Package] = onnxruntime_help.PACKAGES) -> None:
        super().__init__(parent)
        self._packages = packages
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
        settings = QProcessEnvironment.systemEnvironment()
        settings.insert("PIP_USER", "0")  # set on some machines, and not allowed with --target
        settings.insert("PYTHONUNBUFFERED", "1")
        self._process = QProcess(self)
        self._process.setProcessEnvironment(settings)
        self._process.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
        self._process.readyRead.connect(self._read)
        self._process.errorOccurred.connect(self._failed_to_start)
        self._process.finished.connect(self._finished)
        arguments = pip_arguments(self._hidden, wheels, self._packages)
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
        """Move what is new into place; returns why it cannot be used yet, or an empty text."""
        folder = onnxruntime_help.packages_folder()
        try:
            _merge(self._hidden, folder)
        except OSError as error:
            text = tr("A package that is installed already is in use ({error}): restart QGIS and try again.")
            return text.format(error=error)
        plugins.look_again()
        if ONNXRUNTIME not in self._packages:
            onnxruntime_help.add_packages_folder()
            return ""
        if onnxruntime_help.is_loaded():  # the unusable one stays loaded
            return tr("Installed. Restart QGIS to use it.")
        return onnxruntime_help.problem()


def _merge(new: Path, folder: Path) -> None:
    """Move all that is in one folder into another, in the place of older versions, or nothing: raises OSError.

    Other packages stay: on Windows their files cannot be moved while QGIS uses them.
    """
    older = new.with_name(f"{new.name}-older")
    folder.mkdir(exist_ok=True)
    older.mkdir()
    moved: list[tuple[Path, Path]] = []
    try:
        for one in sorted(new.iterdir()):
            name, dash, kind = one.name.partition("-")
            others = folder.glob(f"{name}-*.dist-info") if dash and kind.endswith(".dist-info") else [folder / one.name]
            pairs = [(other, older / other.name) for other in others if other.exists()]
            for pair in [*pairs, (one, folder / one.name)]:
                os.replace(*pair)
                moved.append(pair)
    except OSError:
        for was, there in reversed(moved):
            os.replace(there, was)
        raise
    finally:
        shutil.rmtree(older, ignore_errors=True)


class InstallWindow(PluginWindow):
    """Explains, installs and shows the output of pip. Accepted once what was installed can be used."""

    def __init__(self, reason: str, parent=None, packages: Sequence[Package] = onnxruntime_help.PACKAGES) -> None:
        super().__init__("GeoAware", parent)
        self._packages = packages
        self.installing = Installing(self, packages)
        self.installing.ended.connect(self._ended)
        self.label = paragraph(_about(reason, packages))
        layout = self.fill_with(self.label, *([] if onnxruntime_help.obstacle() else self._offer()))
        # the height of wrapped texts depends on the width: without this they overlap
        self.setMinimumSize(_WIDTH, layout.totalHeightForWidth(_WIDTH))

    def stop(self) -> None:
        """Cancel the installation."""
        self.installing.cancel()

    def _offer(self) -> list:
        """Widgets and layouts that install."""
        self.install_button = button(tr("Install"), lambda: self._start(None))
        self.install_button.setDefault(True)
        self.wheels_button = button(tr("Install offline from a folder of wheels…"), self._from_wheels)
        self.bar = QProgressBar()
        self.bar.setRange(0, 0)
        self.bar.hide()
        place = self.bar.sizePolicy()
        place.setRetainSizeWhenHidden(True)
        self.bar.setSizePolicy(place)
        self.output = QPlainTextEdit()
        self.output.setReadOnly(True)
        self.output.setPlaceholderText(tr("pip output appears here."))
        self.output.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.output.setMinimumHeight(_OUTPUT)
        self.installing.output.connect(self.output.appendPlainText)
        self.line = QLineEdit(onnxruntime_help.install_command(self._packages))
        self.line.setReadOnly(True)
        self.line.setCursorPosition(0)
        self.copy_button = button(tr("Copy command"), lambda: QApplication.clipboard().setText(self.line.text()))
        return [
            stack(QHBoxLayout(), self.install_button, self.wheels_button, self.bar),
            self.output,
            paragraph(tr("Or install it by hand: {advice}").format(advice=onnxruntime_help.advice())),
            stack(QHBoxLayout(), self.line, self.copy_button),
        ]

    def _from_wheels(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, tr("Folder with the wheels"))
        if folder:
            self._start(Path(folder))

    def _start(self, wheels: Optional[Path]) -> None:
        self._working(True)
        self.output.clear()
        self.installing.start(wheels)

    def _ended(self, fault: str) -> None:
        self._working(False)
        if fault:
            self.output.appendPlainText(fault)
        else:
            self.accept()

    def _working(self, working: bool) -> None:
        self.bar.setVisible(working)
        self.install_button.setEnabled(not working)
        self.wheels_button.setEnabled(not working)


def _about(reason: str, packages: Sequence[Package]) -> str:
    names, about, restart = ", ".join(one.name for one in packages), "", ""
    if ONNXRUNTIME in packages:
        names = tr("onnxruntime {minimum} or newer, and OpenVINO, which runs models faster")
        names = names.format(minimum=onnxruntime_help.MINIMUM)
        about = tr("onnxruntime is the open-source library that runs ONNX models. QGIS does not include it.")
        restart = onnxruntime_help.restart()
    blocked = onnxruntime_help.obstacle()
    if blocked:
        return "\n\n".join(part for part in (reason, about, blocked) if part)
    what = tr(
        "'Install' downloads {packages}: about {download} from the package index of pip, {disk} on disk. It goes into the "
        "folder below, in your profile; the system and the folders of QGIS are not changed. To uninstall all that was "
        "installed this way, delete the folder."
    )
    download, disk = (sum(sizes) for sizes in zip(*((one.download, one.disk) for one in packages)))
    what = what.format(packages=names, download=size(download), disk=size(disk))
    parts = (reason, restart, about, what, str(onnxruntime_help.packages_folder()))
    return "\n\n".join(part for part in parts if part)
