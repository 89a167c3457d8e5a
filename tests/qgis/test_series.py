"""Layers of several dates as one input: their dates, the run, and what is read from its result."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from qgis.core import QgsPointXY, QgsProject, QgsRasterLayer

from tests.qgis import rasters
from tests.qgis.conftest import GREEN
from tests.qgis.test_segment import map_tip_at, run


def test_map_tips_tell_the_number_of_dates(running, desktop, model, scene, tmp_path):
    from geoaware.layers import DATES_PROPERTY
    from geoaware.runtime.results.style import map_tip

    raster = rasters.write(tmp_path / "scene.tif", scene[0], nodata=0)
    layer = run(str(raster), model, tmp_path / "out.tif", load=True, CONFIDENCE=str(tmp_path / "sure.tif"))
    counts = rasters.write(tmp_path / "dates.tif", np.full((1, 70, 90), 11, np.uint8), nodata=0, names=("dates",))
    layer.setCustomProperty(DATES_PROPERTY, str(counts))
    desktop.layer = layer
    desktop.mapCanvas().setDestinationCrs(layer.crs())
    row, column = np.argwhere(scene[1] == GREEN)[0]
    point = QgsPointXY(500_005 + 10 * column, 4_999_995 - 10 * row)
    assert running.map_tips.text_at(point) == "green land (100 %), dates: 11"
    dates = QgsRasterLayer(str(counts), "it's 5 %] of dates")
    QgsProject.instance().addMapLayer(dates)
    assert map_tip_at(map_tip({GREEN: "green"}, "", dates.name()), layer, point) == "green, dates: 11"
    QgsProject.instance().removeMapLayer(dates.id())
    assert map_tip_at(map_tip({GREEN: "green"}, "", "gone"), layer, point) == "green"
