"""Every kind of raster that people have gives the map that its pixels say; with GDAL in QGIS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
pytest.importorskip("hypothesis", reason="the tests of many kinds of rasters are made with the hypothesis package")
from hypothesis import given
from osgeo import gdal, osr
from qgis.core import QgsProcessingFeedback, QgsRasterLayer

from tests.models import write_strongest_band
from tests.qgis.rasters import TYPES
from tests.real_files import KINDS, PIXEL, Kind, budget

TYPES = {
    **TYPES, "int32": gdal.GDT_Int32, "uint32": gdal.GDT_UInt32, "int64": gdal.GDT_Int64, "uint64": gdal.GDT_UInt64,
    "float64": gdal.GDT_Float64,
}  # fmt: skip
COLORS = {
    "gray": gdal.GCI_GrayIndex, "red": gdal.GCI_RedBand, "green": gdal.GCI_GreenBand, "blue": gdal.GCI_BlueBand,
    "alpha": gdal.GCI_AlphaBand, "undefined": gdal.GCI_Undefined,
}  # fmt: skip


def srs_of(text: str) -> osr.SpatialReference:
    srs = osr.SpatialReference()
    srs.SetFromUserInput(text)
    return srs


def written(path: Path, kind: Kind) -> Path:
    """The raster as a GeoTIFF."""
    bands = kind.bands if kind.alpha is None else np.concatenate([kind.bands, kind.alpha[None]])
    count, height, width = bands.shape
    gdal.SetConfigOption("GDAL_TIFF_INTERNAL_MASK", "YES")
    shape = (width, height, count, TYPES[kind.dtype], ["PHOTOMETRIC=MINISBLACK", "ALPHA=NO"])
    target = gdal.GetDriverByName("GTiff").Create(str(path), *shape)
    target.SetSpatialRef(srs_of(kind.crs))
    a, b, c, d, e, f = kind.transform
    target.SetGeoTransform((c, a, b, f, d, e))
    for number, color in enumerate(kind.colors or (), start=1):  # before pixels are written
        target.GetRasterBand(number).SetColorInterpretation(COLORS[color])
    for number, values in enumerate(bands, start=1):
        band = target.GetRasterBand(number)
        if kind.value is not None:
            band.SetNoDataValue(kind.bands.dtype.type(kind.value).item())
        if kind.descriptions and number <= len(kind.descriptions):
            band.SetDescription(kind.descriptions[number - 1])
        band.WriteArray(values)
    if kind.mask is not None:
        target.CreateMaskBand(gdal.GMF_PER_DATASET)
        target.GetRasterBand(1).GetMaskBand().WriteArray(np.where(kind.mask, 255, 0).astype(np.uint8))
    target.FlushCache()
    gdal.SetConfigOption("GDAL_TIFF_INTERNAL_MASK", None)
    if kind.values is None:
        return path
    path.with_suffix(".vrt").write_text(kind.vrt(path.name))
    return path.with_suffix(".vrt")


@pytest.fixture(scope="module")
def colours(tmp_path_factory) -> Path:
    return write_strongest_band(tmp_path_factory.mktemp("model") / "model.onnx", gsd=PIXEL)


@given(kind=KINDS)
@budget(40)
def test_every_kind_of_raster_gives_the_map_that_its_pixels_say(running, colours, tmp_path, kind):
    import processing

    for path in tmp_path.iterdir():
        path.unlink()
    layer = QgsRasterLayer(str(written(tmp_path / "scene.tif", kind)), "scene")
    more = {} if kind.told is None else {"NODATA": kind.told}
    more |= {"NODATA_RULE": "all"} if kind.gaps == "in all bands" else {}
    parameters = {
        "INPUT": layer,
        "MODEL": str(colours),
        "OUTPUT": str(tmp_path / "out.tif"),
        "PROVIDER": "cpu",
        "THREADS": 1,
    }
    made = processing.run(
        "geoaware:segment", {**parameters, "AREAS": "memory:", **more}, feedback=QgsProcessingFeedback()
    )
    source, result = gdal.Open(str(tmp_path / "scene.tif")), gdal.Open(str(tmp_path / "out.tif"))
    np.testing.assert_array_equal(result.ReadAsArray(), kind.classes)
    assert result.GetGeoTransform() == source.GetGeoTransform()
    assert result.GetSpatialRef().IsSame(source.GetSpatialRef())
    found = sum(feature["hectares"] for feature in made["AREAS"].getFeatures())
    assert found == pytest.approx(kind.hectares, rel=1e-4, abs=1e-4)
