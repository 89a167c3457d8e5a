"""The page that installs onnxruntime after a click, or says why it cannot be installed."""

from pathlib import Path

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QFontDatabase, QIcon
from qgis.PyQt.QtWidgets import (
    QApplication,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
)

from ... import onnxruntime_help
from ...algorithms.base import ICON
from ...texts import tr
from .pip_install import DOWNLOAD, ON_DISK, Installing

_CLOSE = QDialogButtonBox.StandardButton.Close
_WIDTH, _OUTPUT = 640, 150  # px: minimum width, minimum height of pip's output


class InstallWindow(QDialog):
    """Explains, installs and shows the output of pip. Accepted once onnxruntime can be used."""

    def __init__(self, reason: str, parent=None) -> None:
        super().__init__(parent)
        self.setWindowTitle("GeoAware")
        self.setWindowIcon(QIcon(str(ICON)))
        self.installing = Installing(self)
        self.installing.output.connect(self._append)
        self.installing.ended.connect(self._ended)
        layout = QVBoxLayout(self)
        self.label = _paragraph(self._about(reason))
        layout.addWidget(self.label)
        self.buttons = QDialogButtonBox(_CLOSE)
        self.buttons.rejected.connect(self.reject)
        if not onnxruntime_help.obstacle():
            self._offer(layout)
        layout.addWidget(self.buttons)
        # the height of wrapped texts depends on the width: without this they overlap
        self.setMinimumSize(_WIDTH, layout.totalHeightForWidth(_WIDTH))

    def reject(self):
        """Cancel the installation."""
        self.installing.cancel()
        super().reject()

    def _about(self, reason: str) -> str:
        about = tr("onnxruntime is the open-source library that runs ONNX models. QGIS does not include it.")
        blocked = onnxruntime_help.obstacle()
        if blocked:
            return f"{reason}\n\n{about}\n\n{blocked}"
        what = tr(
            "'Install' downloads onnxruntime {minimum} or newer and nothing else: about {download} from the "
            "package index of pip, {disk} on disk. It goes into the folder below, in your profile; the system "
            "and the folders of QGIS are not changed. To uninstall it, delete the folder."
        )
        what = what.format(minimum=onnxruntime_help.MINIMUM, download=DOWNLOAD, disk=ON_DISK)
        parts = (reason, onnxruntime_help.restart(), about, what, str(onnxruntime_help.packages_folder()))
        return "\n\n".join(part for part in parts if part)

    def _offer(self, layout: QVBoxLayout) -> None:
        self.install_button = QPushButton(tr("Install"))
        self.wheels_button = QPushButton(tr("Install offline from a folder of wheels…"))
        self.install_button.setDefault(True)
        self.install_button.clicked.connect(lambda: self._start(None))
        self.wheels_button.clicked.connect(self._from_wheels)
        self.bar = QProgressBar()
        self.bar.setRange(0, 0)
        self.bar.hide()
        place = self.bar.sizePolicy()
        place.setRetainSizeWhenHidden(True)
        self.bar.setSizePolicy(place)
        row = QHBoxLayout()
        row.addWidget(self.install_button)
        row.addWidget(self.wheels_button)
        row.addWidget(self.bar, 1)
        layout.addLayout(row)
        self.output = QPlainTextEdit()
        self.output.setReadOnly(True)
        self.output.setPlaceholderText(tr("pip output appears here."))
        self.output.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.output.setMinimumHeight(_OUTPUT)
        layout.addWidget(self.output, 1)
        layout.addWidget(_paragraph(tr("Or install it by hand: {advice}").format(advice=onnxruntime_help.advice())))
        self.line = QLineEdit(onnxruntime_help.install_command())
        self.line.setReadOnly(True)
        self.line.setCursorPosition(0)
        self.copy_button = QPushButton(tr("Copy command"))
        self.copy_button.clicked.connect(lambda: QApplication.clipboard().setText(self.line.text()))
        both = QHBoxLayout()
        both.addWidget(self.line)
        both.addWidget(self.copy_button)
        layout.addLayout(both)
        for button in (self.wheels_button, self.copy_button, self.buttons.button(_CLOSE)):
            button.setAutoDefault(False)

    def _from_wheels(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, tr("Folder with the onnxruntime wheel"))
        if folder:
            self._start(Path(folder))

    def _start(self, wheels) -> None:
        self._working(True)
        self.output.clear()
        self.installing.start(wheels)

    def _append(self, text: str) -> None:
        self.output.appendPlainText(text)

    def _ended(self, fault: str) -> None:
        self._working(False)
        if fault:
            self._append(fault)
            return
        self.accept()

    def _working(self, working: bool) -> None:
        self.bar.setVisible(working)
        self.install_button.setEnabled(not working)
        self.wheels_button.setEnabled(not working)


def _paragraph(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
