"""Coordinate systems of every kind in QGIS: measured rightly, and the same in every result."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from osgeo import gdal, ogr, osr
from qgis.core import QgsProcessingFeedback

from tests.adapters import CRS_KINDS
from tests.qgis import rasters


def srs_of(text: str) -> osr.SpatialReference:
    srs = osr.SpatialReference()
    srs.SetFromUserInput(text)
    srs.SetAxisMappingStrategy(osr.OAMS_TRADITIONAL_GIS_ORDER)
    return srs


def is_same(one: osr.SpatialReference, other: osr.SpatialReference) -> bool:
    return bool(one.IsSame(other, ["IGNORE_DATA_AXIS_TO_SRS_AXIS_MAPPING=YES"]))


@pytest.mark.parametrize(("text", "size", "kept"), [pytest.param(*kind, id=name) for name, kind in CRS_KINDS.items()])
def test_every_result_has_the_crs_of_the_raster(running, model, tmp_path, text, size, kept):
    import processing

    srs, step = srs_of(text), 1e-4 if srs_of(text).IsGeographic() else 10
    place = (2, step, 0, 52, 0, -step) if step < 1 else (500_000, step, 0, 5_700_000, 0, -step)
    pixels = np.full((3, 60, 60), 50, np.uint8)
    path = tmp_path / "a.vrt"
    gdal.Translate(str(path), str(rasters.write(tmp_path / "plain.tif", pixels, transform=place)), format="VRT")
    virtual = gdal.Open(str(path), gdal.GA_Update)
    virtual.SetSpatialRef(srs)
    virtual = None

    from geoaware.gdal_io.grid import LayerGrid, transform_of

    grid = LayerGrid(srs.ExportToWkt(["FORMAT=WKT2_2019"]), transform_of(place), 60, 60)
    assert grid.pixel_size_m == pytest.approx([step * size * (111_195 if step < 1 else 1)] * 2)
    assert kept is None or kept == (not grid.wkt_beside)

    files = {name: str(tmp_path / f"{name}.tif") for name in ("OUTPUT", "CONFIDENCE", "PROBABILITIES")}
    shapes = str(tmp_path / "shapes.gpkg")
    given = {"INPUT": str(path), "MODEL": str(model), "POLYGONS": shapes, **files}
    processing.run("geoaware:segment", given, feedback=QgsProcessingFeedback())
    for name in files.values():
        assert is_same(gdal.Open(name).GetSpatialRef(), srs), name
    vectors = ogr.Open(shapes)
    assert is_same(vectors.GetLayerByName("land_cover").GetSpatialRef(), srs)


@pytest.mark.parametrize("raises", [True, False])
def test_a_site_grid_without_ellipsoid_is_measured_with_gdals_exceptions_on_or_off(geoaware, raises):
    from geoaware.gdal_io.grid import LayerGrid, transform_of

    text, _, _ = CRS_KINDS["site grid"]
    was = osr.GetUseExceptions()
    (osr.UseExceptions if raises else osr.DontUseExceptions)()
    try:
        grid = LayerGrid(srs_of(text).ExportToWkt(["FORMAT=WKT2_2019"]), transform_of((0, 2, 0, 0, 0, -2)), 5, 5)
        assert grid.pixel_size_m == (2, 2)
    finally:
        (osr.UseExceptions if was else osr.DontUseExceptions)()
