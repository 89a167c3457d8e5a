"""The season curve of rasters of several dates, by real clicks; see ``desktop.py``, which runs it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.qgis.desktop import add_model, click, installed, left_behind, opened, tool_button, with_plugin
from tests.qgis.desktop_labels import Heart, on_screen, picture, type_text


def steps(task: dict, seen: dict) -> Iterator[float | Callable]:
    """Add the rasters, click places (column and row of the first raster), look at values and at what models say.

    ``task["curve"]`` has ``rasters``, ``places`` and ``models``: for each picture the text that begins the title of a model.
    """
    from qgis.core import QgsProject, QgsRasterLayer
    from qgis.utils import iface, plugins, unloadPlugin

    canvas, heart = iface.mapCanvas(), Heart()
    seen["heart"] = heart  # kept alive, and taken out at the end
    layer = yield from opened(task)
    others = [QgsRasterLayer(path, Path(path).stem) for path in task["curve"]["rasters"]]
    QgsProject.instance().addMapLayers(others)
    iface.layerTreeView().collapseAll()
    iface.layerTreeView().selectAll()
    yield from with_plugin(task)
    plugin = plugins["geoaware"]
    if task["model"]:
        add_model(task["model"])
    click(tool_button(plugin.curve_action))
    yield lambda: plugin.desk.curve is not None and plugin.desk.curve.isVisible()
    dock = plugin.desk.curve
    yield 1
    heart.longest, heart.gaps = 0, []
    yield 5
    seen["milliseconds that the event loop waited while nothing was done"] = heart.longest
    heart.longest, heart.gaps = 0, []
    seen["dates"] = dock.summary.text()
    seen["seconds of a click"] = []

    def clicked(column: float, row: float) -> Iterator[Callable]:
        ((x, y),) = on_screen(canvas, layer, [(column, row)])
        asked = time.monotonic()
        subprocess.run(["xdotool", "mousemove", str(x), str(y), "click", "1"], check=True)
        yield 0.01
        yield lambda: dock.list.current is not None and dock.list.current.told.get(dock.source, None) is not None
        yield lambda: dock.list.current.told[dock.source].is_whole
        seen["seconds of a click"].append(round(time.monotonic() - asked, 2))

    for place in task["curve"]["places"]:
        yield from clicked(*place)
        yield 0.3
    plot = dock.plot
    at = plot.mapToGlobal(plot.rect().center())
    subprocess.run(["xdotool", "mousemove", str(at.x()), str(at.y())], check=True)
    yield 0.5
    seen["values"] = [line.numbers for line in plot.data.lines]
    yield from picture(task, "curve_values")
    for title, name in task["curve"]["models"].items():
        click(dock.sources)
        yield 0.3
        type_text(name, "Return")
        yield 0.5
        if seen.get("installed") is None:
            seen["installed"] = True
            yield from installed(task)
        yield (
            lambda: dock.list.current.told.get(dock.source) is not None and dock.list.current.told[dock.source].is_whole
        )
        subprocess.run(["xdotool", "mousemove", str(at.x()), str(at.y())], check=True)
        yield 0.5
        yield from picture(task, title)
    seen["milliseconds that the event loop waited at most"], seen["waits over 100 ms"] = heart.longest, heart.gaps
    seen["csv"] = dock.table().csv_text().splitlines()[:2]
    click(dock.dates_button)
    yield lambda: dock._window.isVisible()
    yield 1
    yield from picture(task, "curve_dates")
    dock._window.reject()
    unloadPlugin("geoaware")
    yield 0.5
    seen["left"] = left_behind()
    seen["finished"] = True
