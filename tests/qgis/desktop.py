"""A QGIS Desktop on a virtual screen, driven by real clicks: ``python -m tests.qgis.desktop RASTER --out DIR``.

From the zip and an empty profile to the styled layer and the result page, or with ``--labels`` from strokes to a model and
its map (``desktop_labels.py``), or with ``--series`` from layers of several dates to one map (``desktop_series.py``),
or with ``--curve`` the season curve of places (``desktop_curve.py``). Its pictures go
to DIR, what else it saw is
printed. Run by a Python that has onnxruntime, from which it makes the wheel that the plugin installs: no
network is needed. QGIS then runs this same file by ``--code``, to click. ``docs/images`` is filled this way:
``python -m tests.qgis.desktop europe.tif --out docs/images --work /home/ana``. A model that is named is added to the library;
without one, what the window suggests for the raster is run.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

TASK = "GEOAWARE_DESKTOP"  # environment variable: what to do, as JSON, for the part inside QGIS
PROGRAMS = ("qgis", "xvfb-run", "openbox", "xdotool", "import", "convert")
WIDTH, HEIGHT, COLORS = 1280, 860, 256
_WAIT = 100  # seconds for anything that is waited for
SETTINGS = """[qgis]
checkVersion=false
showTips=false
newsFeedVersion=0
[locale]
userLocale={locale}
overrideFlag=true
"""


def launch(
    model: Path | None,
    raster: Path,
    out: Path,
    seconds: int,
    locale: str = "en_US",
    work: Path | None = None,
    labels: dict | None = None,
    series: Sequence[Path] = (),
    curve: dict | None = None,
) -> dict:
    """Start QGIS in a fresh profile in a folder under ``work``, wait until it has clicked through; what it saw.

    With ``labels`` (see ``desktop_labels.steps``) the panel for labels is used instead of the run window; ``series`` are rasters of
    other dates that are mapped together with the raster. ``curve`` (see ``desktop_curve.steps``): the season curve is used.
    """
    from export import plugin

    out.mkdir(parents=True, exist_ok=True)
    program = Path(__file__).resolve()  # QGIS runs it without telling it that name
    work = work or program.parents[2] / "build"
    # not in the system's folder for temporary files, because QGIS marks layers from there as temporary
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix="qgis-") as name:
        home = Path(name)
        settings = home / "profiles" / "default" / "QGIS" / "QGIS3.ini"
        settings.parent.mkdir(parents=True)
        settings.write_text(SETTINGS.format(locale=locale))
        others = [Path(one) for one in curve["rasters"]] if curve else []
        for source in filter(None, (model, raster, *series, *others)):
            shutil.copy(source, home)
        task = {
            "zip": str(plugin.build(home)),
            "wheels": str(wheels(home / "wheels")),
            "model": str(home / model.name) if model else "",
            "raster": str(home / raster.name),
            "out": str(out.resolve()),
            "seen": str(home / "seen.json"),
            "root": str(program.parents[2]),
            "labels": labels,
            "series": [str(home / one.name) for one in series],
            "curve": curve and {**curve, "rasters": [str(home / one.name) for one in others]},
        }
        qgis = 'openbox & exec qgis --nologo --profiles-path "$0" --code "$1"'
        screen = f"-screen 0 {WIDTH}x{HEIGHT}x24"
        command = ["xvfb-run", "-a", "-s", screen, "sh", "-c", qgis, name, str(program)]
        environment = {**os.environ, TASK: json.dumps(task), "QT_QPA_PLATFORM": "xcb", "XDG_RUNTIME_DIR": name}
        environment.pop("PYTHONPATH", None)
        with subprocess.Popen(command, env=environment, cwd=name, start_new_session=True) as running:
            try:
                running.wait(seconds)
            finally:
                if running.poll() is None:  # QGIS hangs: end it, its window manager and its screen
                    os.killpg(running.pid, signal.SIGTERM)
        return json.loads((home / "seen.json").read_text("utf-8"))


def wheels(folder: Path) -> Path:
    """A folder of the installed onnxruntime, and OpenVINO if it is installed, packed again as wheels."""
    folder.mkdir()
    for found in importlib.metadata.distributions():
        if found.metadata["Name"] not in ("onnxruntime", "openvino"):
            continue
        tag = next(line.split(": ")[1] for line in found.read_text("WHEEL").splitlines() if line.startswith("Tag: "))
        path = folder / f"{found.metadata['Name']}-{found.version}-{tag}.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for one in found.files:
                if ".." not in one.parts and "__pycache__" not in one.parts:
                    archive.write(found.locate_file(one), str(one))
    return folder


def steps(task: dict, seen: dict) -> Iterator[float | Callable]:
    """Do one thing after the other; yields seconds to wait, or what must be so before it goes on."""
    from qgis.core import QgsProject
    from qgis.PyQt.QtWidgets import QDialogButtonBox, QPushButton
    from qgis.utils import iface, plugins

    canvas = iface.mapCanvas()
    layer = yield from opened(task)
    began = time.monotonic()
    yield from with_plugin(task)
    plugin = plugins["geoaware"]
    yield from with_onnxruntime(task, plugin.action)
    yield lambda: top("RunDialog")
    seen["seconds to install onnxruntime"] = round(time.monotonic() - began, 1)
    dialog = top("RunDialog")
    dialog.move(180, 60)
    yield 1
    seen["models at first"] = dialog.models.count()

    click(next(one for one in dialog.findChildren(QPushButton) if "…" in one.text()))
    yield lambda: top("LibraryWindow")
    library = top("LibraryWindow")
    yield 0.5
    if task["model"]:
        click(library.add_button)
        yield from choose(task["model"])
        yield lambda: library.entry is not None and library.entry.path.name == Path(task["model"]).name
        yield 0.5
    shoot(task, "plugin_models")
    click(library.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Close))
    yield lambda: dialog.run_button.isEnabled() and dialog._estimating is None
    seen["model"] = dialog.entry.title
    for name in ("CONFIDENCE", "POLYGONS"):
        if name in dialog.options.results:
            click(dialog.options.results[name], 8)
            yield 0.3
    yield 1
    yield lambda: dialog.run_button.isEnabled() and dialog._estimating is None and not dialog._timer.isActive()
    seen["fit"] = dialog.fit.texts()
    yield 0.5  # until it is painted
    shoot(task, "plugin_dialog")
    yield from devices(task, seen, dialog)
    click(dialog.run_button)
    yield lambda: dialog.runs.all and dialog.runs.all[0].over
    yield 1
    (run,) = dialog.runs.all
    seen["state"] = run.state
    seen["seconds from zip to map"] = round(time.monotonic() - began, 1)
    shoot(task, "plugin_runs")
    click(dialog.buttons.button(QDialogButtonBox.StandardButton.Close))
    yield lambda: not dialog.isVisible()

    (group,) = QgsProject.instance().layerTreeRoot().findGroups()
    seen["group"] = group.name()
    seen["layers"] = [one.name() for one in group.findLayers()]
    seen["active"] = iface.activeLayer().name()
    seen["legend"] = [one.label for one in iface.activeLayer().renderer().classes()]
    for one in group.findLayers():
        one.setItemVisibilityChecked(one.layer().type() == layer.type())  # without polygons the map is easier to see
    click(tool_button(plugin.identify_action))
    yield 1.5
    click(canvas)
    yield 1.5
    seen["read"] = plugin.class_tool.text_at(canvas.extent().center())
    shoot(task, "plugin_layer")
    result = yield from result_page()
    seen["seconds from zip to areas"] = round(time.monotonic() - began, 1)
    seen["page"] = result.text.toPlainText()
    shoot(task, "plugin_result")
    result.text.verticalScrollBar().setValue(100_000)
    yield 0.5
    shoot(task, "plugin_repeat")
    yield from ended(seen)


def devices(task: dict, seen: dict, dialog) -> Iterator[float | Callable]:
    """Open the page of what runs models from the run window, measure, and close it."""
    click(dialog.devices_button)
    yield lambda: top("DevicesWindow")
    page = top("DevicesWindow")
    page.move(220, 120)
    yield lambda: page._looking is None
    click(page.measure_button)
    yield lambda: page.message.text()
    yield lambda: page._measuring is None
    rows = [page.list.topLevelItem(at) for at in range(page.list.topLevelItemCount())]
    seen["tiles per second"] = {row.text(0): row.text(3) for row in rows}
    yield 0.5
    shoot(task, "plugin_devices")
    click(page.buttons.buttons()[0])
    yield lambda: not page.isVisible()


def result_page() -> Iterator[float | Callable]:
    """Open the result page from the message that a run is ready; the page, when its picture is drawn."""
    from qgis.PyQt.QtWidgets import QPushButton
    from qgis.utils import iface

    click(next(one for one in iface.messageBar().findChildren(QPushButton) if one.isVisible() and one.text()))
    yield lambda: top("ResultWindow")
    result = top("ResultWindow")
    result.move(250, 40)
    yield lambda: "data:image/png" in result.html
    yield 1
    return result


def ended(seen: dict) -> Iterator[float | Callable]:
    """Close the result page and unload the plugin."""
    from qgis.utils import unloadPlugin

    subprocess.run(["xdotool", "key", "Escape"], check=True)
    yield lambda: top("ResultWindow") is None

    unloadPlugin("geoaware")
    yield 0.5
    seen["left"] = left_behind()
    seen["finished"] = True


def left_behind() -> list[str]:
    """What the plugin has left in QGIS after it was unloaded."""
    from qgis.core import QgsApplication
    from qgis.PyQt.QtWidgets import QAction, QApplication
    from qgis.utils import iface

    window = iface.mainWindow()
    left = [one.objectName() for one in window.findChildren(QAction) if one.objectName().startswith("geoaware")]
    left += [type(one).__name__ for one in QApplication.topLevelWidgets() if "geoaware" in type(one).__module__]
    left += ["provider"] * (QgsApplication.processingRegistry().providerById("geoaware") is not None)
    return left + ["task"] * QgsApplication.taskManager().countActiveTasks()


def opened(task: dict) -> Iterator[float | Callable]:
    """Make the window large and plain, and add the raster; the layer."""
    from qgis.core import QgsProject, QgsRasterLayer
    from qgis.PyQt.QtWidgets import QDockWidget
    from qgis.utils import iface

    window, canvas = iface.mainWindow(), iface.mapCanvas()
    window.setGeometry(0, 0, WIDTH, HEIGHT)
    window.showMaximized()
    for dock in window.findChildren(QDockWidget):
        dock.setVisible(dock.objectName() == "Layers")
    window.findChild(QDockWidget, "Layers").setMinimumWidth(330)
    layer = QgsRasterLayer(task["raster"], Path(task["raster"]).stem)
    QgsProject.instance().addMapLayer(layer)
    canvas.setDestinationCrs(layer.crs())
    iface.setActiveLayer(layer)
    yield 1
    iface.zoomToActiveLayer()
    return layer


def with_plugin(task: dict) -> Iterator[float | Callable]:
    """Install the zip as "Install from ZIP" does."""
    import pyplugin_installer
    from qgis.utils import iface

    pyplugin_installer.instance().installFromZipFile(task["zip"])
    yield 1
    iface.messageBar().clearWidgets()


def with_onnxruntime(task: dict, action) -> Iterator[float | Callable]:
    """Click an action of the toolbar that needs onnxruntime, and let the plugin install it."""
    click(tool_button(action))
    yield from installed(task)


def installed(task: dict) -> Iterator[float | Callable]:
    """Let the plugin install onnxruntime, for which it asks."""
    yield lambda: top("InstallWindow")
    page = top("InstallWindow")
    yield 0.5
    click(page.wheels_button)
    yield from choose(task["wheels"])
    yield lambda: page.output.toPlainText()
    yield 0.8
    shoot(task, "plugin_install")


def add_model(path: str) -> Path:
    """Put a model into the plugin's library; where it lies there."""
    from geoaware.ui import models

    models.folder().mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(path, models.folder()))


def tool_button(action):
    """The visible button of an action in a toolbar; other toolbars make room for it where the window is too narrow."""
    from qgis.PyQt.QtWidgets import QApplication, QToolBar
    from qgis.utils import iface

    bars = iface.mainWindow().findChildren(QToolBar)
    found = [bar.widgetForAction(action) for bar in bars if action in bar.actions()]
    if not any(one is not None and one.isVisible() for one in found):
        for bar in bars:
            bar.setVisible(action in bar.actions())
        QApplication.processEvents()
    return next(one for one in found if one is not None and one.isVisible())


def top(name: str):
    """The visible window of a class; None where there is none."""
    from qgis.PyQt.QtWidgets import QApplication

    shown = [one for one in QApplication.topLevelWidgets() if type(one).__name__ == name and one.isVisible()]
    return shown[0] if shown else None


def choose(path: str) -> Iterator[float | Callable]:
    """Give Qt's own file dialog a path, by keys."""
    yield lambda: top("QFileDialog")
    yield 0.5
    subprocess.run(["xdotool", "type", "--delay", "2", path], check=True)
    yield 0.3
    subprocess.run(["xdotool", "key", "Return"], check=True)
    yield lambda: top("QFileDialog") is None


def click(widget, x: int | None = None) -> None:
    """Click with the real mouse into the middle of a widget, or ``x`` px from its left."""
    middle = widget.rect().center()
    if x is not None:
        middle.setX(x)
    at = widget.mapToGlobal(middle)
    subprocess.run(["xdotool", "mousemove", str(at.x()), str(at.y()), "click", "1"], check=True)


def shoot(task: dict, name: str) -> None:
    """Take the whole screen, in few colours."""
    path = Path(task["out"]) / f"{name}.png"
    subprocess.run(["import", "-window", "root", str(path)], check=True)
    subprocess.run(["convert", str(path), "+dither", "-colors", str(COLORS), f"PNG8:{path}"], check=True)


def drive(task: dict) -> None:
    """Run the steps from QGIS's event loop, write down what was seen, and leave QGIS."""
    from qgis.core import QgsProject
    from qgis.PyQt.QtCore import QTimer
    from qgis.PyQt.QtWidgets import QApplication
    from qgis.utils import iface

    seen: dict = {"finished": False}
    if task["labels"]:
        sys.path.insert(0, task["root"])
        from tests.qgis import desktop_labels

        todo = desktop_labels.steps(task, seen)
    elif task["series"]:
        sys.path.insert(0, task["root"])
        from tests.qgis import desktop_series

        todo = desktop_series.steps(task, seen)
    elif task["curve"]:
        sys.path.insert(0, task["root"])
        from tests.qgis import desktop_curve

        todo = desktop_curve.steps(task, seen)
    else:
        todo = steps(task, seen)

    def end() -> None:
        seen.pop("heart", None)
        Path(task["seen"]).write_text(json.dumps(seen, indent=1), "utf-8")
        QgsProject.instance().clear()  # or QGIS asks what to do with its layers
        if seen["finished"]:
            iface.actionExit().trigger()
        else:
            QApplication.exit()

    def wait(fine: Callable, since: float) -> None:
        if fine():
            step()
        elif time.monotonic() - since > _WAIT:
            seen["error"] = traceback.format_stack(todo.gi_frame)[-1]
            shoot(task, "stuck")
            end()
        else:
            QTimer.singleShot(50, lambda: wait(fine, since))

    def step() -> None:
        try:
            pause = next(todo)
            if "heart" in seen:
                seen["heart"].skip(todo.gi_frame.f_lineno)
        except StopIteration:
            end()
        except BaseException:  # in a Qt slot nobody else would see it, and QGIS would stay open
            seen["error"] = traceback.format_exc()
            shoot(task, "stuck")
            end()
        else:
            if callable(pause):
                wait(pause, time.monotonic())
            else:
                QTimer.singleShot(int(pause * 1000), step)

    QTimer.singleShot(1500, step)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("raster", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="folder that the pictures may show")
    parser.add_argument("--locale", default="en_US")
    parser.add_argument("--seconds", type=int, default=300, help="give up after this time")
    parser.add_argument("--labels", type=Path, help="JSON: strokes by class, as lists of column and row in px")
    parser.add_argument("--series", type=Path, nargs="+", default=[], help="rasters of other dates")
    parser.add_argument("--curve", type=Path, help="JSON: rasters of other dates, places, and models to look at")
    given = parser.parse_args()
    labels = json.loads(given.labels.read_text("utf-8")) if given.labels else None
    curve = json.loads(given.curve.read_text("utf-8")) if given.curve else None
    run = (given.model, given.raster, given.out, given.seconds, given.locale, given.work)
    seen = launch(*run, labels, given.series, curve)
    print(json.dumps(seen, indent=1))
    sys.exit(not seen["finished"])


if __name__ == "__main__":  # in QGIS too
    if TASK in os.environ:
        drive(json.loads(os.environ[TASK]))
    else:
        main()
