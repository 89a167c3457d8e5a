"""The algorithm on rasters whose answer is known, run through Processing as QGIS runs it."""

from __future__ import annotations

from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from osgeo import gdal, osr
from qgis.core import (
    Qgis,
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsGeometry,
    QgsPointXY,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProject,
    QgsRasterLayer,
    QgsRasterRange,
)
from qgis.PyQt.QtCore import QEvent, QPoint
from qgis.PyQt.QtGui import QHelpEvent
from qgis.PyQt.QtWidgets import QApplication, QToolTip

from tests.models import CLASSES, card_item, write_model, write_strongest_band
from tests.qgis import rasters
from tests.qgis.conftest import BLUE, GREEN, NODATA, RED


def run(raster, model, out, feedback=None, load=False, **more):
    """Run it; with ``load``, add the result to the project as the dialog does, and return its layer."""
    import processing

    parameters = {"INPUT": raster, "MODEL": str(model), "OUTPUT": str(out), **more}
    call = processing.runAndLoadResults if load else processing.run
    answer = call("geoaware:segment", parameters, feedback=feedback or QgsProcessingFeedback())
    if not load:
        return answer
    (layer,) = [x for x in QgsProject.instance().mapLayers().values() if x.source() == str(out)]
    return layer


def refusal(raster, model, out) -> str:
    """The one sentence with which a run is refused."""
    from qgis.core import QgsApplication

    algorithm = QgsApplication.processingRegistry().algorithmById("geoaware:segment").create()
    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    fine, text = algorithm.checkParameterValues({"INPUT": raster, "MODEL": str(model), "OUTPUT": str(out)}, context)
    assert not fine
    assert "\n" not in text
    return text


class Feedback(QgsProcessingFeedback):
    """Keeps warnings and can cancel after some progress."""

    def __init__(self, cancel_at: float = 1000) -> None:
        super().__init__()
        self.warnings, self.infos = [], []
        self.cancel_at = cancel_at
        self.progressChanged.connect(self.look)

    def look(self, progress):
        if progress >= self.cancel_at:
            self.cancel()

    def pushWarning(self, text):
        self.warnings.append(text)

    def pushInfo(self, text):
        self.infos.append(text)


@pytest.fixture
def raster(tmp_path, scene) -> Path:
    return rasters.write(tmp_path / "scene.tif", scene[0], nodata=0)


def test_classes_are_exact_and_nodata_stays_nodata(running, raster, model, scene, tmp_path):
    run(str(raster), model, tmp_path / "out.tif")
    np.testing.assert_array_equal(rasters.band(tmp_path / "out.tif"), scene[1])


def test_result_is_a_cog_at_the_same_place(running, raster, model, tmp_path):
    run(str(raster), model, tmp_path / "out.tif")
    source, result = gdal.Open(str(raster)), gdal.Open(str(tmp_path / "out.tif"))
    assert result.GetGeoTransform() == source.GetGeoTransform()
    assert result.GetSpatialRef().GetAuthorityCode(None) == "32633"
    assert (result.RasterXSize, result.RasterYSize, result.RasterCount) == (90, 70, 1)
    assert result.GetMetadataItem("LAYOUT", "IMAGE_STRUCTURE") == "COG"
    assert result.GetRasterBand(1).GetNoDataValue() == NODATA


def test_names_and_colours_are_in_the_file(running, raster, model, tmp_path):
    run(str(raster), model, tmp_path / "out.tif")
    result = gdal.Open(str(tmp_path / "out.tif"))
    band = result.GetRasterBand(1)
    assert band.GetDescription() == "land cover"
    for value, name, color in CLASSES:
        assert band.GetCategoryNames()[value] == name
        assert "{:02X}{:02X}{:02X}".format(*band.GetColorTable().GetColorEntry(value)[:3]) == color


def test_attribute_table_of_the_raster_counts_the_classes(running, raster, model, scene, tmp_path):
    run(str(raster), model, tmp_path / "out.tif")
    result = gdal.Open(str(tmp_path / "out.tif"))  # kept: the table goes with it
    table = result.GetRasterBand(1).GetDefaultRAT()
    columns = [table.GetNameOfCol(column) for column in range(table.GetColumnCount())]
    assert columns == ["value", "count", "class", "red", "green", "blue", "area_ha"]
    usages = [gdal.GFU_MinMax, gdal.GFU_PixelCount, gdal.GFU_Name, gdal.GFU_Red, gdal.GFU_Green, gdal.GFU_Blue]
    assert [table.GetUsageOfCol(column) for column in range(7)] == [*usages, gdal.GFU_Generic]
    for row, (value, name, color) in enumerate(CLASSES):
        count = int((scene[1] == value).sum())
        assert [table.GetValueAsInt(row, column) for column in (0, 1)] == [value, count]
        assert table.GetValueAsString(row, 2) == name
        assert "{:02X}{:02X}{:02X}".format(*(table.GetValueAsInt(row, column) for column in (3, 4, 5))) == color
        assert table.GetValueAsDouble(row, 6) == pytest.approx(count / 100)
    assert table.GetRowCount() == len(CLASSES)


def test_loaded_layer_shows_classes_in_the_models_colours(running, raster, model, tmp_path):
    layer = run(str(raster), model, tmp_path / "out.tif", load=True)
    renderer = layer.renderer()
    assert renderer.type() == "paletted"
    assert (renderer.inputBand if hasattr(renderer, "inputBand") else renderer.band)() == 1
    shown = [(int(c.value), c.label, c.color.name().upper()[1:]) for c in renderer.classes()]
    assert shown == list(CLASSES)
    assert layer.crs().authid() == "EPSG:32633"
    assert layer.extent() == QgsRasterLayer(str(raster)).extent()


def test_loaded_layer_is_grouped_after_model_and_source(running, raster, model, tmp_path):
    source = QgsRasterLayer(str(raster), "my scene")
    QgsProject.instance().addMapLayer(source)
    layer = run(source, model, tmp_path / "out.tif", load=True)
    assert layer.name() == "my scene: land cover"
    root = QgsProject.instance().layerTreeRoot()
    assert root.findLayer(layer.id()).parent().name() == "GeoAware: tiny colours – my scene"  # noqa: RUF001
    assert [node.layerId() for node in root.findLayers()] == [layer.id(), source.id()]
    from geoaware import layers

    assert layers._Styler.alive == []


def test_style_beside_the_file_serves_when_it_is_opened_again(running, raster, model, tmp_path):
    run(str(raster), model, tmp_path / "out.tif")
    again = QgsRasterLayer(str(tmp_path / "out.tif"), "again")
    assert [c.label for c in again.renderer().classes()] == [name for _, name, _ in CLASSES]
    from geoaware.layers import class_names

    assert class_names(again) == {value: name for value, name, _ in CLASSES}


def test_confidence_is_a_veil_over_what_is_unsure(running, raster, model, scene, tmp_path):
    run(str(raster), model, tmp_path / "out.tif", load=True, CONFIDENCE=str(tmp_path / "sure.tif"))
    confidence = rasters.band(tmp_path / "sure.tif")
    empty = scene[1] == NODATA
    assert (confidence[empty] == NODATA).all()
    assert (confidence[~empty] == 100).all()  # 200 against 40: certain
    assert gdal.Open(str(tmp_path / "sure.tif")).GetRasterBand(1).GetDescription() == "confidence, per cent"
    (layer,) = [x for x in QgsProject.instance().mapLayers().values() if x.source().endswith("sure.tif")]
    ramp = layer.renderer().shader().rasterShaderFunction().colorRampItemList()
    alpha = {item.value: item.color.alpha() for item in ramp}
    assert len({item.color.name() for item in ramp}) == 1
    assert 255 > alpha[0] > alpha[50] > alpha[90] == alpha[100] == 0  # the class shows through even where unsure


def test_result_equals_the_runtimes_own_answer(running, tmp_path):
    from geoaware.runtime.infer.sweep import Scan, sweep
    from geoaware.runtime.model.session import Model

    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, (3, 101, 77)).astype(np.uint8)
    kernel = rng.normal(0, 0.01, (3, 3, 5, 5))
    model = write_model(tmp_path / "wide.onnx", kernel, card_item(overlap=12))
    run(
        str(rasters.write(tmp_path / "noise.tif", pixels)),
        model,
        tmp_path / "out.tif",
        CONFIDENCE=str(tmp_path / "c.tif"),
    )

    def read(window):
        part = pixels[:, window.row : window.row + window.height, window.column : window.column + window.width]
        return part, np.ones(part.shape[1:], bool)

    rows = list(sweep(Scan(Model(model), read, 101, 77)))
    np.testing.assert_array_equal(rasters.band(tmp_path / "out.tif"), np.concatenate([r.classes for r in rows]))
    np.testing.assert_array_equal(rasters.band(tmp_path / "c.tif"), np.concatenate([r.confidence for r in rows]))


def test_nodata_that_the_user_set_is_respected(running, model, scene, tmp_path):
    layer = QgsRasterLayer(str(rasters.write(tmp_path / "plain.tif", scene[0])), "plain")
    QgsProject.instance().addMapLayer(layer)
    layer.dataProvider().setUserNoDataValue(2, [QgsRasterRange(200, 200)])
    run(layer, model, tmp_path / "out.tif")
    found = rasters.band(tmp_path / "out.tif")
    np.testing.assert_array_equal(found == NODATA, scene[0][1] == 200)


def test_values_that_the_user_declares_empty_are_those_that_qgis_shows(running, model, scene, tmp_path):
    path = rasters.write(tmp_path / "scaled.tif", scene[0])
    file = gdal.Open(str(path), gdal.GA_Update)
    file.GetRasterBand(2).SetScale(0.25)
    file.GetRasterBand(2).SetOffset(-10)
    file = None
    layer = QgsRasterLayer(str(path), "scaled")
    QgsProject.instance().addMapLayer(layer)
    layer.dataProvider().setUserNoDataValue(2, [QgsRasterRange(40, 40)])  # 200 in the file
    run(layer, model, tmp_path / "out.tif")
    np.testing.assert_array_equal(rasters.band(tmp_path / "out.tif") == NODATA, scene[0][1] == 200)


def test_nodata_that_the_user_switched_off_is_read(running, raster, model, tmp_path):
    layer = QgsRasterLayer(str(raster), "scene")
    QgsProject.instance().addMapLayer(layer)
    for number in (1, 2, 3):
        layer.dataProvider().setUseSourceNoDataValue(number, False)
    run(layer, model, tmp_path / "out.tif")
    assert not (rasters.band(tmp_path / "out.tif") == NODATA).any()


def test_signed_bytes_keep_a_nodata_value_below_zero(running, model, scene, tmp_path):
    pixels = np.where(scene[0] == 0, -1, scene[0] // 2).astype(np.int8)
    newer = hasattr(gdal, "GDT_Int8")
    kind, options = (gdal.GDT_Int8, []) if newer else (gdal.GDT_Byte, ["PIXELTYPE=SIGNEDBYTE"])
    path = str(tmp_path / "signed.tif")
    target = gdal.GetDriverByName("GTiff").Create(path, 90, 70, 3, kind, options)
    srs = osr.SpatialReference()
    srs.ImportFromEPSG(rasters.UTM)
    target.SetSpatialRef(srs)
    target.SetGeoTransform(rasters.TRANSFORM)
    for number, values in enumerate(pixels, start=1):
        target.GetRasterBand(number).SetNoDataValue(-1)
        target.GetRasterBand(number).WriteArray(values if newer else values.view(np.uint8))
    target = None
    run(path, model, tmp_path / "out.tif")
    np.testing.assert_array_equal(rasters.band(tmp_path / "out.tif"), scene[1])


def test_transparent_pixels_are_nodata(running, model, scene, tmp_path):
    pixels = np.concatenate([scene[0], np.full((1, 70, 90), 255, np.uint8)])
    pixels[3, :20] = 0
    run(str(rasters.write(tmp_path / "rgba.tif", pixels, alpha=True)), model, tmp_path / "out.tif")
    np.testing.assert_array_equal((rasters.band(tmp_path / "out.tif") == NODATA).all(axis=1), np.arange(70) < 20)


def test_sixteen_bits_and_float_with_nan_give_the_same_classes(running, model, scene, tmp_path):
    wide = rasters.write(tmp_path / "wide.tif", scene[0].astype(np.uint16), nodata=0)
    run(str(wide), model, tmp_path / "wide_out.tif")
    np.testing.assert_array_equal(rasters.band(tmp_path / "wide_out.tif"), scene[1])
    pixels = scene[0].astype(np.float32)
    pixels[1, scene[1] == NODATA] = np.nan
    run(str(rasters.write(tmp_path / "float.tif", pixels)), model, tmp_path / "float_out.tif")
    np.testing.assert_array_equal(rasters.band(tmp_path / "float_out.tif"), scene[1])


def test_bands_are_matched_by_name_and_can_be_chosen(running, model, scene, tmp_path):
    turned = np.ascontiguousarray(scene[0][[2, 0, 1]])
    named = rasters.write(tmp_path / "named.tif", turned, nodata=0, names=("Blue", "Red", "Green"))
    run(str(named), model, tmp_path / "named_out.tif")
    np.testing.assert_array_equal(rasters.band(tmp_path / "named_out.tif"), scene[1])
    plain = rasters.write(tmp_path / "plain.tif", turned, nodata=0)
    run(str(plain), model, tmp_path / "chosen_out.tif", BANDS=[2, 3, 1])
    np.testing.assert_array_equal(rasters.band(tmp_path / "chosen_out.tif"), scene[1])


def test_log_names_the_execution_provider_and_the_bands(running, raster, model, tmp_path):
    feedback = Feedback()
    run(str(raster), model, tmp_path / "out.tif", feedback)
    assert "Model: tiny colours, run by CPUExecutionProvider" in feedback.infos
    assert any(text.startswith("bands: red = 1, green = 2, blue = 3 (") for text in feedback.infos)
    assert any(text.startswith("grid: 70 rows, 90 columns, west 500000") for text in feedback.infos)
    assert feedback.warnings == []


def test_openvino_runs_a_large_layer_once_its_classes_agree_there(running, model, scene, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    from geoaware.runtime.infer.timing import agreement, trial

    monkeypatch.setattr(trial, "WORTH", 64)
    monkeypatch.setattr(trial, "FASTER", 0.0)  # how fast this computer is now does not count
    large = rasters.write(tmp_path / "large.tif", np.tile(scene[0], (1, 6, 5)), nodata=0)
    feedback = Feedback()
    run(str(large), model, tmp_path / "out.tif", feedback)
    assert any(text.startswith("Model: tiny colours, run by OpenVINO") for text in feedback.infos)
    assert any("% of the pixels equal on" in text for text in feedback.infos)
    run(str(large), model, tmp_path / "exact.tif", PROVIDER="cpu")
    exact = rasters.band(tmp_path / "exact.tif")
    assert (rasters.band(tmp_path / "out.tif") == exact).mean() >= agreement.EQUAL[0]


def test_another_pixel_size_is_said_and_resampled(running, raster, scene, tmp_path):
    feedback = Feedback()
    run(str(raster), write_strongest_band(tmp_path / "m.onnx", gsd=20.0), tmp_path / "out.tif", feedback, GRID="model")
    assert feedback.warnings == ["scene: its pixels are 10 m, the model learned from 20 m: resampled on the way in"]
    assert gdal.Open(str(tmp_path / "out.tif")).GetGeoTransform() == (500_000, 20, 0, 5_000_000, 0, -20)


def test_pixel_size_of_degrees_is_taken_in_metres(running, scene, tmp_path):
    step = 10 / 111320
    path = rasters.write(tmp_path / "deg.tif", scene[0], nodata=0, epsg=4326, transform=(13, step, 0, 48, 0, -step))
    feedback = Feedback()
    run(str(path), write_strongest_band(tmp_path / "m.onnx", gsd=10.0), tmp_path / "out.tif", feedback)
    assert feedback.warnings == []


@pytest.mark.parametrize(("factor", "said"), [(20, "reach 4000"), (1 / 255, "reach 0.7843")])
def test_values_of_another_unit_are_warned_of(running, model, scene, tmp_path, factor, said):
    path = rasters.write(tmp_path / "unit.tif", scene[0].astype(np.float32) * factor, nodata=0)
    feedback = Feedback()
    run(str(path), model, tmp_path / "out.tif", feedback)
    (warning,) = feedback.warnings
    assert warning.startswith(f"unit: its values {said}, the model learned from 0 to 255 (8-bit colour, 0 to 255)")
    assert "--" not in warning


def test_cancel_leaves_no_file(running, model, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    path = rasters.write(tmp_path / "big.tif", np.full((3, 400, 400), 9, np.uint8))
    feedback = Feedback(cancel_at=20)
    run(str(path), model, folder / "out.tif", feedback)
    assert feedback.isCanceled()
    assert feedback.progress() < 25
    assert list(folder.iterdir()) == []


def test_failure_in_the_middle_leaves_no_file_and_keeps_the_old_one(running, model, tmp_path, monkeypatch):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "out.tif").write_text("old")
    path = rasters.write(
        tmp_path / "big.tif", np.random.default_rng(0).integers(0, 255, (3, 300, 300)).astype(np.uint8)
    )
    data = bytearray(path.read_bytes())
    path.write_bytes(bytes(data[: len(data) // 2]))  # a copy that was cut off
    with pytest.raises(QgsProcessingException, match="corrupt or truncated file"):
        run(str(path), model, folder / "out.tif")
    assert [p.name for p in folder.iterdir()] == ["out.tif"]
    assert (folder / "out.tif").read_text() == "old"


@pytest.mark.parametrize("before", [False, True])
def test_gdal_exception_setting_of_qgis_is_kept(running, raster, model, tmp_path, before):
    was = gdal.GetUseExceptions()
    try:
        (gdal.UseExceptions if before else gdal.DontUseExceptions)()
        run(str(raster), model, tmp_path / "out.tif")
        assert bool(gdal.GetUseExceptions()) is before
    finally:
        (gdal.UseExceptions if was else gdal.DontUseExceptions)()


def test_missing_model_is_named(running, raster, tmp_path):
    assert refusal(str(raster), tmp_path / "no.onnx", tmp_path / "out.tif") == f"{tmp_path / 'no.onnx'}: no such file"


def test_model_without_card_is_refused(running, raster, tmp_path):
    model = write_model(tmp_path / "bare.onnx", np.ones((3, 3, 1, 1)), {})
    assert "has no model card" in refusal(str(raster), model, tmp_path / "out.tif")


def test_renamed_text_file_is_refused(running, raster, tmp_path):
    text = tmp_path / "text.onnx"
    text.write_text("this is not a model, it is a text file")
    assert "not an ONNX file" in refusal(str(raster), text, tmp_path / "out.tif")


def test_model_of_another_task_is_refused(running, raster, tmp_path):
    model = write_strongest_band(tmp_path / "scenes.onnx", task="scene-classification")
    assert "a segmentation or regression model is needed" in refusal(str(raster), model, tmp_path / "out.tif")


def test_model_with_weights_elsewhere_is_refused(running, raster, model, tmp_path):
    loaded = onnx.load(str(model))
    loaded.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    model.write_bytes(loaded.SerializeToString())
    said = refusal(str(raster), model, tmp_path / "out.tif")
    assert "its weights are in another file" in said
    assert f"python -m export.to_onnx --onefile {model}" in said


def test_too_few_bands_are_counted(running, model, scene, tmp_path):
    path = rasters.write(tmp_path / "two.tif", np.ascontiguousarray(scene[0][:2]))
    found = refusal(str(path), model, tmp_path / "out.tif")
    assert found == "two: has 2 bands, but the model needs 3 (red, green, blue)"


def test_raster_without_crs_is_refused_unless_the_layer_has_one(running, model, scene, tmp_path):
    path = rasters.write(tmp_path / "bare.tif", scene[0], epsg=None)
    layer = QgsRasterLayer(str(path), "bare")
    layer.setCrs(QgsCoordinateReferenceSystem())
    QgsProject.instance().addMapLayer(layer)
    assert "has no CRS" in refusal(layer, model, tmp_path / "out.tif")
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
    run(layer, model, tmp_path / "out.tif")
    assert gdal.Open(str(tmp_path / "out.tif")).GetSpatialRef().GetAuthorityCode(None) == "3857"


def test_polygons_never_overwrite_the_geopackage_that_is_read(running, raster, model, tmp_path):
    package = tmp_path / "scene.gpkg"
    gdal.Translate(str(package), str(raster), format="GPKG").FlushCache()
    before = package.read_bytes()
    table = QgsRasterLayer(f"GPKG:{package}:scene", "table")
    assert table.isValid()
    for source in (str(package), table):
        with pytest.raises(QgsProcessingException, match="would overwrite"):
            run(source, model, tmp_path / "out.tif", POLYGONS=str(package))
    mask = tmp_path / "mask.gpkg"
    run(str(raster), model, tmp_path / "out.tif", POLYGONS=str(mask))
    with pytest.raises(QgsProcessingException, match="would overwrite"):
        run(str(raster), model, tmp_path / "out.tif", MASK=f"{mask}|layerid=0", POLYGONS=str(mask))
    assert package.read_bytes() == before


def test_run_without_polygons_opens_no_layer_that_is_not_there(running, raster, model, tmp_path, capfd):
    warnings = []

    def keep(text, _, level):
        warnings.extend([text] if level != Qgis.MessageLevel.Info else [])

    received = QgsApplication.messageLog().messageReceived[str, str, Qgis.MessageLevel]
    received.connect(keep)
    run(str(raster), model, tmp_path / "out.tif")
    received.disconnect(keep)
    assert warnings == []
    assert "None" not in capfd.readouterr().err


def test_result_never_overwrites_its_source(running, raster, model):
    before = raster.read_bytes()
    with pytest.raises(QgsProcessingException, match="would overwrite"):
        run(str(raster), model, raster)
    assert raster.read_bytes() == before


def test_no_output_takes_the_place_of_a_member_of_the_source_or_of_another_output(running, raster, model, tmp_path):
    before, member = raster.read_bytes(), raster
    for name in ("one.vrt", "two.vrt"):  # a virtual raster of a virtual raster
        gdal.Translate(str(tmp_path / name), str(member), format="VRT").FlushCache()
        member = tmp_path / name
    with pytest.raises(QgsProcessingException, match="which is read"):
        run(str(member), model, tmp_path / "out.tif", CONFIDENCE=str(raster))
    with pytest.raises(QgsProcessingException, match="two results have this name"):
        run(str(raster), model, tmp_path / "out.tif", CONFIDENCE=str(tmp_path / "out.tiff"))
    assert raster.read_bytes() == before
    assert not (tmp_path / "out.tif").exists()


def test_map_tip_names_the_class_under_the_cursor(running, desktop, raster, model, scene, tmp_path):
    layer = run(str(raster), model, tmp_path / "out.tif", load=True, CONFIDENCE=str(tmp_path / "sure.tif"))
    desktop.layer = layer
    desktop.mapCanvas().setDestinationCrs(layer.crs())
    row, column = np.argwhere(scene[1] == GREEN)[0]
    point = QgsPointXY(500_005 + 10 * column, 4_999_995 - 10 * row)
    assert running.map_tips.text_at(point) == "green land (100 %)"
    assert running.map_tips.text_at(QgsPointXY(500_005, 4_999_995)) == ""  # no data
    assert running.map_tips.text_at(QgsPointXY(0, 0)) == ""  # beside the raster
    desktop.layer = QgsRasterLayer(str(raster), "source")
    assert running.map_tips.text_at(point) == ""
    assert {RED, GREEN, BLUE} <= set(np.unique(scene[1]))


def map_tip_at(template: str, layer: QgsRasterLayer, point: QgsPointXY) -> str:
    """What QGIS makes of a map tip template of a layer."""
    context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    context.lastScope().setVariable("layer_cursor_point", QgsGeometry.fromPointXY(point))
    return QgsExpression.replaceExpressionText(template, context)


@pytest.fixture
def odd_names(tmp_path) -> Path:
    """A model whose class names hold all that has a meaning in HTML or in an expression."""
    classes = [(RED, "a 'b' %] <i>c</i>", "CC3020"), (GREEN, "d \\ & [% 1 %]", "30A040"), (BLUE, "blue", "2040CC")]
    return write_strongest_band(tmp_path / "odd.onnx", classes=classes)


def test_map_tip_template_of_qgis_shows_class_and_confidence(running, raster, odd_names, scene, tmp_path):
    files = {"CONFIDENCE": str(tmp_path / "it's 5%] sure.tif")}
    layer = run(str(raster), odd_names, tmp_path / "out.tif", load=True, **files)
    project = QgsProject.instance()
    (confidence,) = [one for one in project.mapLayers().values() if one.source() == files["CONFIDENCE"]]
    beside_the_file = ElementTree.parse(tmp_path / "out.qml").findtext("mapTip")
    templates = [beside_the_file, layer.mapTipTemplate() if hasattr(layer, "mapTipTemplate") else beside_the_file]
    shown = {RED: "a &#x27;b&#x27; &#37;] &lt;i&gt;c&lt;/i&gt;", GREEN: "d &#92; &amp; [&#37; 1 &#37;]", BLUE: "blue"}
    points = {}
    for value in shown:
        row, column = np.argwhere(scene[1] == value)[0]
        points[value] = QgsPointXY(500_005 + 10 * column, 4_999_995 - 10 * row)
    confidence.setName("it's 5%] sure")  # as when the file is opened by hand
    for template in templates:
        for value, name in shown.items():
            assert map_tip_at(template, layer, points[value]) == f"{name} (100 %)"
        assert map_tip_at(template, layer, QgsPointXY(500_005, 4_999_995)) == ""  # no data
        assert map_tip_at(template, layer, QgsPointXY(0, 0)) == ""
    project.removeMapLayer(confidence.id())
    for template in templates:
        assert map_tip_at(template, layer, points[BLUE]) == "blue"


def test_resting_cursor_shows_the_map_tip(running, desktop, raster, model, tmp_path):
    layer = run(str(raster), model, tmp_path / "out.tif", load=True)
    desktop.layer, canvas = layer, desktop.mapCanvas()
    canvas.setDestinationCrs(layer.crs())
    canvas.setExtent(layer.extent())
    pixel = canvas.getCoordinateTransform().transform(layer.extent().center())
    at = QPoint(round(pixel.x()), round(pixel.y()))
    help_event = QHelpEvent(QEvent.Type.ToolTip, at, canvas.viewport().mapToGlobal(at))
    with mock.patch.object(QToolTip, "showText") as show:
        QApplication.sendEvent(canvas.viewport(), help_event)
    assert show.call_args.args[1] in [name for _, name, _ in CLASSES]
    desktop.map_tips_action.setChecked(True)  # newer QGIS then shows the layer's own map tip
    with mock.patch.object(QToolTip, "showText") as show:
        QApplication.sendEvent(canvas.viewport(), help_event)
    assert show.called != hasattr(layer, "mapTipTemplate")


def test_map_tip_follows_a_map_in_another_crs(running, desktop, raster, model, tmp_path):
    desktop.layer = run(str(raster), model, tmp_path / "out.tif", load=True)
    desktop.mapCanvas().setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:4326"))
    assert running.map_tips.text_at(QgsPointXY(15.0015, 45.1534)) in [name for _, name, _ in CLASSES]
