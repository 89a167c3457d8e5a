"""The time that the window expects a run to take: tiles that are skipped are no work."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from qgis.core import QgsApplication, QgsFeature, QgsGeometry, QgsProcessingContext, QgsProject, QgsRectangle

from tests.qgis import rasters
from tests.qgis.test_ui import NORTH, WEST, shown, squares

ROWS, BEGIN, PER_TILE = 6000, 3000, 0.02  # px; px above which nothing is to be done; seconds


@pytest.fixture
def ran(running, monkeypatch):
    """Tiles that were run; the clock goes on with nothing else."""
    from geoaware.runtime.infer.timing import estimate
    from geoaware.runtime.model.session import Model
    from geoaware.ui.run_window import estimate as window

    calls, quick = [], Model.run

    def run(self, tiles):
        calls.append(len(tiles))
        return quick(self, tiles)

    monkeypatch.setattr(Model, "run", run)
    for module in (estimate, window):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: 1 + PER_TILE * sum(calls)))
    return calls


def above_and_below() -> str:
    """A layer with two polygons: a few pixels at the top of the raster, and its lower half."""
    layer = squares(0)
    layer.dataProvider().truncate()
    for top, bottom in ((0, 10), (BEGIN, ROWS)):
        feature = QgsFeature()
        box = QgsRectangle(WEST, NORTH - bottom * 10, WEST + 320, NORTH - top * 10)
        feature.setGeometry(QgsGeometry.fromRect(box))
        layer.dataProvider().addFeatures([feature])
    return layer.id()


def expected(raster: Path, model: Path, **more):
    """What the first look finds."""
    from geoaware.ui.run_window.estimate import preview

    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    parameters = {"INPUT": shown(raster).id(), "MODEL": str(model), "THREADS": 1, "PROVIDER": "cpu", **more}
    plan = QgsApplication.processingRegistry().createAlgorithmById("geoaware:segment").plan(parameters, context)
    return preview(plan, (), [], lambda: True)


def pixels(rows: int = ROWS) -> np.ndarray:
    return np.full((3, rows, 32), 9, np.uint8)


def test_tiles_outside_the_polygons_take_no_time(ran, model, tmp_path):
    found = expected(rasters.write(tmp_path / "a.tif", pixels()), model, MASK=above_and_below())
    assert 0 < sum(ran) < 0.4 * found.tiles  # it did not go through them all
    wanted = PER_TILE * found.tiles * (ROWS - BEGIN) / ROWS
    assert 0.9 * wanted < found.seconds < 1.5 * wanted  # a few are in work when the clock is read


def test_tiles_without_data_at_the_top_do_not_shorten_the_expected_time(ran, model, tmp_path):
    empty_above = pixels()
    empty_above[:, :BEGIN] = 0
    found = expected(rasters.write(tmp_path / "a.tif", empty_above, nodata=0), model)
    assert 0 < sum(ran) < 0.4 * found.tiles
    assert found.seconds > 0.9 * PER_TILE * found.tiles * (ROWS - BEGIN) / ROWS


def test_raster_without_any_data_is_expected_to_take_no_time(ran, model, tmp_path):
    found = expected(rasters.write(tmp_path / "a.tif", 0 * pixels(), nodata=0), model)
    assert ran == []
    assert found.seconds == 0
    assert found.tiles > 100
