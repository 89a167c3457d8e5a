"""Places of the layer on the map canvas."""

from typing import Optional

from qgis.core import (  # type: ignore[attr-defined]  # QgsCsException is not in qgis-stubs
    QgsCoordinateTransform,
    QgsCsException,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRectangle,
)


def near(engine, place, across: int) -> None:
    """Show a pixel of the layer (row, column) in the middle of the canvas, with ``across`` px around it.

    Of a small layer it is a third.
    """
    canvas, seen = engine.canvas, engine.opened.seen
    row, column = place
    half = min(across, max(seen.shape) / 3) / 2
    points = [QgsPointXY(*seen.at(column + x, row + y)) for x, y in ((-half, -half), (half, half))]
    transform = QgsCoordinateTransform(engine.layer.crs(), canvas.mapSettings().destinationCrs(), QgsProject.instance())
    try:
        box = transform.transformBoundingBox(QgsRectangle(*points))
    except QgsCsException:  # the CRS of the canvas has no such place
        return
    canvas.setExtent(box)
    canvas.refresh()


def transformed(shape: QgsGeometry, transform: QgsCoordinateTransform) -> Optional[QgsGeometry]:
    """A copy of a shape in another CRS; None where that has no such place."""
    copy = QgsGeometry(shape)
    try:
        return copy if int(copy.transform(transform)) == 0 else None
    except QgsCsException:
        return None
