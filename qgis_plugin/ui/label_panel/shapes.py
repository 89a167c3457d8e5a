"""What the labels make of the shapes that are painted."""

from contextlib import suppress
from typing import Callable

from qgis.core import (  # type: ignore[attr-defined]  # QgsCsException is not in qgis-stubs
    QgsCoordinateTransform,
    QgsCsException,
    QgsGeometry,
    QgsProject,
    QgsRectangle,
)

from ...runtime.errors import InputFault
from ...texts import tr


def shapes_on(raster, crs, to) -> Callable[[QgsGeometry], QgsGeometry]:
    """A function that takes polygons in ``crs``, or a point, to the part that lies on a raster layer, in the CRS ``to``.

    That function raises InputFault where there is none.
    """
    project, frame = QgsProject.instance(), QgsGeometry.fromRect(raster.extent())
    move = QgsCoordinateTransform(crs, to, project)
    with suppress(QgsCsException):  # then nothing lies on it
        frame.transform(QgsCoordinateTransform(raster.crs(), to, project))
    engine = QgsGeometry.createGeometryEngine(frame.constGet())
    engine.prepareGeometry()
    # half a pixel wide: wherever in a pixel a point lies, it is the label of this one pixel
    side, name = raster.rasterUnitsPerPixelX() / 2, raster.name()

    def inside(shape: QgsGeometry) -> QgsGeometry:
        shape = QgsGeometry(shape)
        try:
            shape.transform(move)
        except QgsCsException:
            shape = QgsGeometry()
        if not shape.isEmpty() and shape.constGet().dimension() == 0:
            at = shape.centroid().asPoint()
            shape = QgsGeometry.fromRect(QgsRectangle.fromCenterAndSize(at, side, side))
        shape = shape.makeValid()
        if not shape.isEmpty() and not engine.contains(shape.constGet()):
            shape = shape.intersection(frame)
        part = polygons(shape)
        if part.isEmpty():
            raise InputFault.worded(tr("That place lies outside '{name}'.").format(name=name))
        return part

    return inside


def polygons(shape: QgsGeometry) -> QgsGeometry:
    """The polygons of any geometry as one multipolygon; empty if there are none."""
    parts = [part for part in shape.asGeometryCollection() if part.constGet().dimension() == 2]
    made = QgsGeometry.collectGeometry(parts)
    made.convertToMultiType()
    return made
