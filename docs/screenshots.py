"""Takes the pictures of the QGIS plugin: ``python docs/screenshots.py MODEL RASTER [--out docs/images]``.

Run by any Python that can import onnxruntime, it makes a fresh QGIS profile with the staged plugin and starts a real
QGIS on a virtual screen (needs qgis, xvfb-run, openbox, xdotool and ImageMagick's ``import``). QGIS then runs this
same file by ``--code`` to click through the plugin.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

TASK = "GEOAWARE_SCREENSHOTS"  # environment variable: what to do, as JSON, for the part inside QGIS
SIZE = (1400, 900)
# onnxruntime and what it imports; numpy is QGIS's own
PACKAGES = ("onnxruntime", "flatbuffers", "google", "packaging")
SETTINGS = """[PythonPlugins]
geoaware=true
[qgis]
checkVersion=false
showTips=false
newsFeedVersion=0
"""


def launch(model: Path, raster: Path, out: Path, seconds: int) -> None:
    """Start QGIS with the plugin in a fresh profile and wait until it has taken the pictures."""
    root = Path(__file__).resolve().parent.parent
    sys.path.insert(0, str(root))
    from export import plugin

    # not in the system's folder for temporary files, because QGIS marks layers from there as temporary
    (root / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root / "build") as name:
        home = Path(name) / "profiles" / "default"
        plugin.stage(home / "python" / "plugins" / "geoaware")
        (home / "QGIS").mkdir()
        (home / "QGIS" / "QGIS3.ini").write_text(SETTINGS)
        packages = home / "python" / "geoaware_packages"
        packages.mkdir()
        for package in PACKAGES:
            spec = importlib.util.find_spec(package)
            if spec is not None:
                (packages / package).symlink_to(next(iter(spec.submodule_search_locations)))
        # QGIS works in this folder, so the dialog shows the model's name and no path of this machine
        (Path(name) / model.name).symlink_to(model)
        task = {
            "model": model.name,
            "raster": str(raster),
            "out": str(out),
            "result": f"{name}/{raster.stem}_land_cover.tif",
        }
        screen = f"-screen 0 {SIZE[0]}x{SIZE[1]}x24"
        qgis = 'openbox & exec qgis --nologo --profiles-path "$0" --code "$1"'
        command = ["xvfb-run", "-a", "-s", screen, "sh", "-c", qgis, name, str(Path(__file__).resolve())]
        environment = {**os.environ, TASK: json.dumps(task), "QT_QPA_PLATFORM": "xcb", "XDG_RUNTIME_DIR": name}
        environment.pop("PYTHONPATH", None)
        with subprocess.Popen(command, env=environment, cwd=name, start_new_session=True) as running:
            try:
                running.wait(seconds)
            finally:
                if running.poll() is None:  # QGIS hangs: end it, its window manager and its screen
                    os.killpg(running.pid, signal.SIGTERM)
    for picture in ("qgis_dialog.png", "qgis_layer.png"):
        print(out / picture)


def steps(task: dict) -> Iterator[float]:
    """Do one thing after the other; yields how many seconds QGIS may go on by itself in between."""
    from qgis.core import QgsProject, QgsRasterLayer, QgsSettings
    from qgis.PyQt.QtWidgets import QAction, QDockWidget
    from qgis.utils import iface

    window, canvas, out = iface.mainWindow(), iface.mapCanvas(), Path(task["out"])
    window.setGeometry(0, 0, *SIZE)
    window.showMaximized()
    for dock in window.findChildren(QDockWidget):
        dock.setVisible(dock.objectName() == "Layers")
    layer = QgsRasterLayer(task["raster"], Path(task["raster"]).stem)
    QgsProject.instance().addMapLayer(layer)
    canvas.setDestinationCrs(layer.crs())
    iface.setActiveLayer(layer)
    iface.zoomToActiveLayer()
    yield 3

    QgsSettings().setValue("geoaware/last_model", task["model"])
    window.findChild(QAction, "geoawareSegment").trigger()
    yield 1
    dialog = _processing_dialog()
    dialog.setGeometry(320, 130, 860, 640)
    yield 2
    _shoot(out / "qgis_dialog.png")

    dialog.setParameters({"INPUT": layer.id(), "MODEL": task["model"], "CONFIDENCE": True, "OUTPUT": task["result"]})
    dialog.runButton().click()
    while len(QgsProject.instance().mapLayers()) < 2:
        yield 0.5
    dialog.close()
    result = next(other for other in QgsProject.instance().mapLayers().values() if other is not layer)
    iface.setActiveLayer(result)
    QgsProject.instance().layerTreeRoot().findLayer(layer.id()).setExpanded(False)
    iface.messageBar().clearWidgets()
    window.findChild(QDockWidget, "Layers").setMinimumWidth(430)
    yield 1
    iface.zoomToActiveLayer()
    yield 3
    _hover(canvas)
    yield 2
    _shoot(out / "qgis_layer.png")


def _processing_dialog():
    from qgis.gui import QgsProcessingAlgorithmDialogBase
    from qgis.PyQt.QtWidgets import QApplication

    shown = [w for w in QApplication.topLevelWidgets() if isinstance(w, QgsProcessingAlgorithmDialogBase)]
    return next(widget for widget in shown if widget.isVisible())


def _hover(canvas) -> None:
    """Rest the real cursor a little off the middle of the map."""
    at = canvas.mapToGlobal(canvas.rect().center())
    for shift in (0, 20, 40):
        subprocess.run(["xdotool", "mousemove", str(at.x() + shift), str(at.y() + shift)], check=True)


def _shoot(path: Path) -> None:
    subprocess.run(["import", "-window", "root", str(path)], check=True)


def drive(task: dict) -> None:
    """Run the steps from QGIS's event loop, then leave QGIS; a failing step is printed and ends it too."""
    from qgis.core import QgsProject
    from qgis.PyQt.QtCore import QTimer
    from qgis.utils import iface

    todo = steps(task)

    def step():
        try:
            pause = next(todo)
        except BaseException as error:  # in a Qt slot nobody else would see it, and QGIS would stay open
            if not isinstance(error, StopIteration):
                traceback.print_exc()
            QgsProject.instance().clear()  # or QGIS asks whether to save it
            iface.actionExit().trigger()
        else:
            QTimer.singleShot(int(pause * 1000), step)

    QTimer.singleShot(4000, step)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("raster", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "images")
    parser.add_argument("--seconds", type=int, default=300, help="give up after this time")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    launch(given.model.resolve(), given.raster.resolve(), given.out.resolve(), given.seconds)


if TASK in os.environ:
    drive(json.loads(os.environ[TASK]))
elif __name__ == "__main__":
    main()
