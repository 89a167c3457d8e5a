"""Layers of several dates on one grid: QGIS says how coordinates move, the runtime does the rest."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsPointXY,
    QgsRasterLayer,
)

from tests.qgis.rasters import write

ZONES = {32633: (500_000, 10, 0, 5_000_000, 0, -10), 32634: (27_000, 10, 0, 5_018_000, 0, -10)}
SHAPES = {32633: (60, 80), 32634: (200, 200)}


def moved(x: np.ndarray, y: np.ndarray, own: int, to: int) -> np.ndarray:
    systems = [QgsCoordinateReferenceSystem(f"EPSG:{code}") for code in (own, to)]
    transform = QgsCoordinateTransform(*systems, QgsCoordinateTransformContext())
    points = [transform.transform(QgsPointXY(*one)) for one in zip(x.ravel().tolist(), y.ravel().tolist())]
    return np.array([(point.x(), point.y()) for point in points]).T.reshape(2, *x.shape)


def middles(epsg: int) -> tuple[np.ndarray, np.ndarray]:
    west, width, _, north, _, height = ZONES[epsg]
    rows, columns = np.mgrid[: SHAPES[epsg][0], : SHAPES[epsg][1]] + 0.5
    return west + width * columns, north + height * rows


def ramp(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values that grow evenly with coordinates of zone 33: so they are right between pixels too."""
    return np.stack([x - 500_000, 5_000_000 - y, x - 500_000 + y - 5_000_000]).astype(np.float32) / 10


@pytest.fixture
def series(tmp_path, geoaware, qgis_app):
    from geoaware.gdal_io.job import snapshot
    from geoaware.runtime.infer.inputs.series import Dated, Series

    dated = []
    for month, epsg in enumerate((32633, 32633, 32634), start=1):
        x, y = middles(epsg)
        values = ramp(*(moved(x, y, epsg, 32633) if epsg != 32633 else (x, y)))
        path = write(tmp_path / f"{month}.tif", values, epsg=epsg, transform=ZONES[epsg])
        layer = QgsRasterLayer(str(path), f"month {month}")
        dated.append(Dated(date(2023, month, 5), snapshot(layer).open()))
    made = Series(dated)
    yield made
    made.close()


def test_layers_of_two_zones_lie_on_the_grid_of_most(series):
    from geoaware.runtime.infer.inputs.onto import degrees_of, onto

    assert series.grid.crs_text == "EPSG:32633"
    assert series.grid.height > 60
    rows, columns = np.mgrid[: series.grid.height, : series.grid.width] + 0.5
    x, y = series.grid.at(columns, rows)
    expected = ramp(x, y)
    seen = []
    for one in series.dated:
        read = onto(lambda window, pixels=one.pixels: pixels.read([1, 2, 3], window), one.pixels, series.grid)
        values, valid = read(series.grid.whole)
        inner = valid.copy()
        inner[1:] &= valid[:-1]
        inner[:-1] &= valid[1:]
        inner[:, 1:] &= valid[:, :-1]
        inner[:, :-1] &= valid[:, 1:]
        assert np.abs(values - expected)[:, inner].max() < 0.1  # px
        seen.append(int(valid.sum()))
    assert seen[0] == seen[1] == 60 * 80
    assert seen[2] > 30_000
    degrees = degrees_of(series.dated[-1].pixels, series.grid)(series.grid.whole)
    true = moved(x[::40, ::40], y[::40, ::40], 32633, 4326)
    assert np.abs(degrees[:, ::40, ::40] - true).max() < 1e-4
