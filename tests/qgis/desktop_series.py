"""Layers of several dates, ticked, mapped and read by real clicks; see ``desktop.py``, which runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tests.qgis.desktop import (
    add_model,
    click,
    ended,
    opened,
    result_page,
    shoot,
    tool_button,
    top,
    with_onnxruntime,
    with_plugin,
)


def steps(task: dict, seen: dict) -> Iterator[float | Callable]:
    """Add the other dates (``task["series"]``), tick them in the window, run, and read the map at the middle."""
    from qgis.core import QgsProject, QgsRasterLayer
    from qgis.PyQt.QtWidgets import QDialogButtonBox, QScrollArea
    from qgis.utils import iface, plugins

    canvas = iface.mapCanvas()
    for path in task["series"]:
        QgsProject.instance().addMapLayer(QgsRasterLayer(path, Path(path).stem))
    layer = yield from opened(task)
    yield from with_plugin(task)
    plugin = plugins["geoaware"]
    yield from with_onnxruntime(task, plugin.action)
    yield lambda: top("RunDialog")
    dialog = top("RunDialog")
    dialog.move(120, 30)
    dialog.resize(1080, 760)
    yield 1
    if task["model"]:
        dialog.fill_models(add_model(task["model"]))
        yield 0.5
    dialog.series.setCollapsed(False)
    dialog.findChild(QScrollArea).verticalScrollBar().setValue(0)
    yield 0.5
    click(dialog.series.alike)
    yield lambda: dialog.run_button.isEnabled() and not dialog.looking.busy and not dialog._timer.isActive()
    yield lambda: dialog._estimating is None
    seen["fit"] = dialog.fit.texts()
    seen["marks"] = [str(mark) for mark in dialog.series.timeline.marks]
    yield 0.5
    shoot(task, "series_dates")
    click(dialog.run_button)
    yield lambda: dialog.runs.all and dialog.runs.all[0].over
    (run,) = dialog.runs.all
    seen["state"] = run.state
    click(dialog.buttons.button(QDialogButtonBox.StandardButton.Close))
    yield lambda: not dialog.isVisible()
    seen["layers"] = [one.name() for one in QgsProject.instance().layerTreeRoot().findGroups()[0].findLayers()]
    click(tool_button(plugin.identify_action))
    yield 1.5
    click(canvas)
    yield 1.5
    seen["read"] = plugin.class_tool.text_at(canvas.extent().center())
    seen["source"] = layer.name()
    shoot(task, "series_map")
    page = yield from result_page()
    seen["page"] = page.text.toPlainText()
    yield from ended(seen)
