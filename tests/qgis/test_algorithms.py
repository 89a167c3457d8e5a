"""The other algorithms, their outputs chained, and layers that go away while a run goes on."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsProcessing,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterFile,
    QgsProcessingParameterRasterLayer,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import Qt

from tests.models import CLASSES, card_item, write_given, write_graph, write_model
from tests.qgis import rasters
from tests.qgis.conftest import BLUE, GREEN, NODATA, RED
from tests.qgis.test_segment import Feedback
from tests.test_runtime_scenes import detector, scene_model, scene_with

NAMES = [
    "areas",
    "assess",
    "change",
    "classifyscenes",
    "detect",
    "embed",
    "fitmodel",
    "modelinfo",
    "sample",
    "segment",
    "similar",
]


def run(name: str, load: bool = False, feedback=None, **parameters) -> dict:
    import processing

    call = processing.runAndLoadResults if load else processing.run
    texts = {key: str(value) if isinstance(value, Path) else value for key, value in parameters.items()}
    return call(f"geoaware:{name}", texts, feedback=feedback or QgsProcessingFeedback())


def polygons(*texts: str, kind: str = "Polygon") -> QgsVectorLayer:
    layer = QgsVectorLayer(f"{kind}?crs=EPSG:32633&field=class:string", "sample", "memory")
    features = []
    for text in texts:
        shape, _, truth = text.partition("|")
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromWkt(shape))
        feature.setAttributes([truth])
        features.append(feature)
    layer.dataProvider().addFeatures(features)
    QgsProject.instance().addMapLayer(layer)
    return layer


@pytest.fixture
def raster(tmp_path, scene) -> Path:
    return rasters.write(tmp_path / "scene.tif", scene[0], nodata=0)


@pytest.fixture
def encoder(tmp_path) -> Path:
    """Features: each band's mean over a tile of 32 px, in another order."""
    nodes = [
        ("GlobalAveragePool", ["image"], ["mean"], {}),
        ("Gather", ["mean", "order"], ["turned"], {"axis": 1}),
        ("Flatten", ["turned"], ["out"], {}),
    ]
    weights = {"order": np.array([2, 0, 1, 1])}
    path = write_graph(tmp_path / "encoder.onnx", nodes, {"out": (1, ["batch", 4])}, weights)
    return write_given(path, task="embedding", classes=None)


def test_each_algorithm_has_help_and_outputs(running):
    found = {a.name(): a for a in QgsApplication.processingRegistry().providerById("geoaware").algorithms()}
    assert sorted(found) == NAMES
    advanced = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    for algorithm in found.values():
        assert len(algorithm.shortHelpString()) > 80
        assert algorithm.outputDefinitions()
        for parameter in algorithm.parameterDefinitions():
            assert parameter.help() or parameter.name() in ("INPUT", "OUTPUT"), parameter.name()
            if parameter.flags() & advanced and not parameter.isDestination():
                assert parameter.checkValueIsAcceptable(parameter.defaultValue()), parameter.name()
    shown = [p.name() for p in found["segment"].parameterDefinitions() if not p.flags() & advanced]
    assert shown == [
        "INPUT", "SERIES", "DATES", "MODEL", "EXTENT", "MASK", "OUTPUT", "CONFIDENCE", "PROBABILITIES", "POLYGONS",
        "DATE_COUNT", "AREAS",
    ]  # fmt: skip


def test_scenes_become_a_coarse_map(running, raster, tmp_path):
    scene_model(tmp_path / "scenes.onnx")
    where = {"INPUT": raster, "MODEL": tmp_path / "scenes.onnx", "STRIDE": 16, "OUTPUT": tmp_path / "s.tif"}
    run("classifyscenes", True, **where)
    made = gdal.Open(str(tmp_path / "s.tif"))
    assert (made.RasterXSize, made.RasterYSize) == (6, 5)
    assert made.GetGeoTransform() == (500_000, 160, 0, 5_000_000, 0, -160)
    (layer,) = QgsProject.instance().mapLayers().values()
    assert [entry.label for entry in layer.renderer().classes()] == [name for _, name, _ in CLASSES]
    areas = [one.attributes() for one in run("classifyscenes", AREAS="memory:", **where)["AREAS"].getFeatures()]
    assert {row[0]: row[2] for row in areas} == {
        value: int((made.ReadAsArray() == value).sum()) for value, _, _ in CLASSES
    }


def test_objects_are_outlined_in_the_models_colours(running, tmp_path):
    detector(tmp_path / "boxes.onnx")
    raster = rasters.write(tmp_path / "objects.tif", scene_with((20, 10, 44, 30)))
    made = run("detect", True, INPUT=raster, MODEL=tmp_path / "boxes.onnx", OUTPUT=tmp_path / "o.gpkg")
    assert made["COUNT"] == 1
    (layer,) = QgsProject.instance().mapLayers().values()
    (feature,) = layer.getFeatures()
    assert feature.attributes()[1:3] == [GREEN, "green land"]
    assert feature.geometry().boundingBox().toString(0) == "500200,4999700 : 500440,4999900"
    category = layer.renderer().categories()[1]  # kept: its symbol dies with it
    symbol = category.symbol().symbolLayer(0)
    assert (symbol.strokeColor().getRgb(), symbol.brushStyle()) == ((48, 160, 64, 255), Qt.BrushStyle.NoBrush)
    low = run("detect", INPUT=raster, MODEL=tmp_path / "boxes.onnx", THRESHOLD=0.9, OUTPUT=tmp_path / "low.gpkg")
    assert low["COUNT"] == 0


def test_features_come_with_a_picture(running, raster, encoder, scene, tmp_path):
    files = {"OUTPUT": tmp_path / "f.tif", "PICTURE": tmp_path / "p.tif"}
    run("embed", INPUT=raster, MODEL=encoder, STRIDE=8, **files)
    features, picture = gdal.Open(str(files["OUTPUT"])).ReadAsArray(), gdal.Open(str(files["PICTURE"])).ReadAsArray()
    assert (features.shape, picture.shape) == ((4, 9, 12), (3, 9, 12))
    assert np.isnan(features[:, :, 0]).all()  # the first ten columns hold no data
    assert (picture[:, :, 0] == 0).all()
    seen = picture[:, :, 2:].astype(int)
    assert seen.min() >= 1
    assert seen.std(axis=(1, 2))[:2].min() > 20  # three bands that exclude each other have two main directions
    alike = np.abs(features[2] - features[3]).max()
    assert alike == 0 or np.isnan(alike)


def test_areas_of_a_map_within_polygons(running, raster, model, scene, tmp_path):
    run("segment", INPUT=raster, MODEL=model, OUTPUT=tmp_path / "map.tif")
    whole = run("areas", INPUT=tmp_path / "map.tif", OUTPUT="memory:")
    rows = [feature.attributes() for feature in whole["OUTPUT"].getFeatures()]
    counts = {value: int((scene[1] == value).sum()) for value in (RED, GREEN, BLUE)}
    assert [row[:4] for row in rows] == [
        [value, name, counts[value], pytest.approx(counts[value] / 100)] for value, name, _ in CLASSES
    ]
    assert whole["TOTAL"] == pytest.approx(sum(counts.values()) / 100)
    ring = "500200 5000000, 500300 5000000, 500300 4999900, 500200 4999900, 500200 5000000"
    layer = polygons(
        f"Polygon (({ring}))", "Polygon ((500500 5000000, 500600 5000000, 500600 4999300, 500500 5000000))"
    )
    layer.selectByIds([1])
    selected = QgsProcessingFeatureSourceDefinition(layer.id(), selectedFeaturesOnly=True)
    part = run("areas", INPUT=tmp_path / "map.tif", MASK=selected, OUTPUT="memory:")
    assert part["TOTAL"] == pytest.approx(1.0)


def test_areas_in_degrees_are_those_on_the_ellipsoid(running, tmp_path):
    """A zone of a degree of latitude at 60 degrees, a tenth of a degree wide."""
    pixels = np.ones((1, 100, 10), np.uint8)
    path = rasters.write(tmp_path / "deg.tif", pixels, epsg=4326, transform=(10, 0.01, 0, 61, 0, -0.01))
    from qgis.core import QgsDistanceArea, QgsPointXY

    measure = QgsDistanceArea()
    measure.setEllipsoid("EPSG:7030")
    edge = np.linspace(10, 10.1, 2000)
    ring = [QgsPointXY(x, 60) for x in edge] + [QgsPointXY(x, 61) for x in edge[::-1]]
    expected = measure.measureArea(QgsGeometry.fromPolygonXY([ring])) / 1e4
    assert run("areas", INPUT=path, OUTPUT="memory:")["TOTAL"] == pytest.approx(expected, rel=1e-6)


def test_a_map_is_assessed_as_export_assess_does(running, raster, model, scene, tmp_path):
    run("segment", INPUT=raster, MODEL=model, OUTPUT=tmp_path / "map.tif")
    rng, names = np.random.default_rng(0), {value: name for value, name, _ in CLASSES}
    places = [(row, column) for row, column in zip(rng.integers(0, 70, 90), rng.integers(10, 90, 90))]
    truth = [names[int(scene[1][at])] if number % 5 else names[RED] for number, at in enumerate(places)]
    shapes = [f"Point ({500_005 + 10 * c} {4_999_995 - 10 * r})|{t}" for (r, c), t in zip(places, truth)]
    sample = polygons(*shapes, kind="Point")
    made = run("assess", INPUT=tmp_path / "map.tif", REFERENCE=sample, OUTPUT="memory:", REPORT=tmp_path / "r.html")
    from geoaware.runtime.results.estimates import estimate

    values = list(names)
    counts = np.zeros((3, 3), int)
    for at, true in zip(places, truth):
        counts[values.index(int(scene[1][at])), [names[v] for v in values].index(true)] += 1
    areas = np.array([(scene[1] == value).sum() * 100.0 for value in values])
    expected = estimate(counts, areas)
    limits = [made[name] for name in ("OVERALL", "OVERALL_LOW", "OVERALL_HIGH")]
    assert limits == pytest.approx(expected.overall.tolist())
    rows = [feature.attributeMap() for feature in made["OUTPUT"].getFeatures()]
    assert [row["area_ha"] for row in rows] == pytest.approx((expected.areas[0] / 1e4).tolist())
    for name, part in (
        ("users", expected.users),
        ("users_low", expected.users[1:]),
        ("users_high", expected.users[2:]),
    ):
        assert [row[name] for row in rows] == pytest.approx(part[0].tolist())
    assert "overall accuracy" in (tmp_path / "r.html").read_text("utf-8")


def test_numbers_below_zero_are_no_classes_of_a_map(running, tmp_path):
    classes = np.full((1, 20, 40), 3, np.int16)
    classes[:, :, 20:] = 7
    classes[:, :10] = -9999  # which the file does not declare
    path = rasters.write(tmp_path / "map.tif", classes)
    box = "Polygon ((50{0} {1}, 50{2} {1}, 50{2} {3}, 50{0} {3}, 50{0} {1}))"
    mostly, wholly = box.format("0000", 4999890, "0050", 5000000), box.format("0100", 4999950, "0150", 5000000)
    point = "Polygon ((500300 4999800, 500350 4999800, 500350 4999850, 500300 4999850, 500300 4999800))"
    feedback = Feedback()
    sample = polygons(f"{mostly}|3", f"{wholly}|3", f"{point}|3")
    made = run("assess", feedback=feedback, INPUT=path, REFERENCE=sample, OUTPUT="memory:")
    rows = [feature.attributeMap() for feature in made["OUTPUT"].getFeatures()]
    assert [(row["class"], row["sampled"]) for row in rows] == [(3, 1), (7, 1)]
    assert made["OVERALL"] == 0.5
    assert any(text.startswith("1 of 3 units lie outside the map or on nodata") for text in feedback.warnings)


def test_a_sample_without_classes_is_refused_with_the_parameters_name(running, raster, tmp_path):
    sample = QgsVectorLayer("Point?crs=EPSG:32633&field=height:double&field=slope:double", "heights", "memory")
    QgsProject.instance().addMapLayer(sample)
    with pytest.raises(QgsProcessingException, match="name it in 'Field with the class'"):
        run("assess", INPUT=raster, REFERENCE=sample, OUTPUT="memory:")


def test_a_model_is_described_without_onnxruntime(running, model, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    feedback = Feedback()
    made = run("modelinfo", feedback=feedback, MODEL=model, OUTPUT=tmp_path / "about.html")
    assert (made["NAME"], made["TASK"], made["BANDS"]) == ("tiny colours", "segmentation", "red, green, blue")
    assert "Licence: MIT" in feedback.infos
    assert "#30A040" in (tmp_path / "about.html").read_text("utf-8")


def test_what_a_model_would_do_with_a_layer_is_shown_without_a_run(running, raster, model, tmp_path):
    feedback = Feedback()
    run("modelinfo", feedback=feedback, MODEL=model, INPUT=raster, OUTPUT=tmp_path / "about.html")
    said = dict(text.split(": ", 1) for text in feedback.infos)
    assert said["bands"].startswith("red = 1, green = 2, blue = 3 (")
    assert said["grid"].startswith("70 rows, 90 columns, west 500000, south 4999300, east 500900, north 5000000 (")
    assert said["tiles"] == "12 of 32 x 32 px, overlap 8 px (by the model card)"
    assert said["CRS"] == "WGS 84 / UTM zone 33N (EPSG:32633)"
    assert "measured on the first tiles" in said["time"]
    assert "WGS 84 / UTM zone 33N" in (tmp_path / "about.html").read_text("utf-8")


def test_a_regression_gives_values_and_no_confidence(running, raster, tmp_path):
    nodes = [("ReduceMean", ["image"], ["mean"], {"axes": [1], "keepdims": 1})]
    model = write_given(
        write_graph(tmp_path / "m.onnx", nodes, {"mean": (1, ("batch", 1, 32, 32))}), task="regression", classes=None
    )
    run("segment", INPUT=raster, MODEL=model, OUTPUT=tmp_path / "v.tif")
    values = rasters.band(tmp_path / "v.tif")
    assert np.isnan(values[:, :10]).all()
    assert np.allclose(values[:, 10:], 280 / 3)
    with pytest.raises(QgsProcessingException, match="has no confidence"):
        run("segment", INPUT=raster, MODEL=model, OUTPUT=tmp_path / "w.tif", CONFIDENCE=tmp_path / "c.tif")
    assert not list(tmp_path.glob("[wc].tif"))


def test_results_of_one_run_lie_in_one_group(running, raster, model, tmp_path):
    names = {"OUTPUT": "map.tif", "CONFIDENCE": "sure.tif", "POLYGONS": "p.gpkg"}
    files = {key: tmp_path / name for key, name in names.items()}
    run("segment", True, INPUT=raster, MODEL=model, AREAS="memory:", **files)
    (group,) = QgsProject.instance().layerTreeRoot().findGroups()
    assert group.name() == "GeoAware: tiny colours – scene"  # noqa: RUF001
    titles = {node.layer().name() for node in group.findLayers()}
    assert titles == {f"scene: {title}" for title in ("land cover", "confidence", "polygons", "areas")}
    (patches,) = [x for x in QgsProject.instance().mapLayers().values() if x.name() == "scene: polygons"]
    assert [entry.label() for entry in patches.renderer().categories()] == [name for _, name, _ in CLASSES]


TITLES = ["confidence", "polygons", "land cover", "probabilities", "areas"]  # from the top of the group to its bottom


@pytest.mark.parametrize("named", [True, False])
def test_results_of_a_run_are_in_a_fixed_order_above_those_of_earlier_runs(running, raster, model, tmp_path, named):
    """The names of temporary files are random, and QGIS loads results in the order of their names."""
    names = {"OUTPUT": "b.tif", "CONFIDENCE": "a.tif", "POLYGONS": "c.gpkg", "PROBABILITIES": "d.tif"}
    for number in range(3):
        files = {key: tmp_path / f"{number}{name}" for key, name in names.items()}
        files = files if named else dict.fromkeys(names, QgsProcessing.TEMPORARY_OUTPUT)
        run("segment", True, INPUT=raster, MODEL=model, AREAS=QgsProcessing.TEMPORARY_OUTPUT, **files)
    (group,) = QgsProject.instance().layerTreeRoot().findGroups()
    nodes = group.findLayers()
    assert [node.layer().name() for node in nodes] == [f"scene: {title}" for title in TITLES] * 3
    if named:
        assert [Path(nodes[at].layer().source()).name for at in (0, 5, 10)] == ["2a.tif", "1a.tif", "0a.tif"]


def test_legend_of_classes_is_open_and_that_of_the_confidence_folded(running, raster, tmp_path):
    classes = tuple((value, f"class {value}", "30A040") for value in range(12))
    many = write_model(tmp_path / "many.onnx", np.ones((12, 3, 1, 1)), card_item(classes))
    files = {"OUTPUT": tmp_path / "map.tif", "CONFIDENCE": tmp_path / "sure.tif"}
    run("segment", True, INPUT=raster, MODEL=many, **files)
    (group,) = QgsProject.instance().layerTreeRoot().findGroups()
    veil, shown = group.findLayers()
    assert len(shown.layer().renderer().classes()) == 12  # QGIS folds legends of 10 and more
    assert (veil.isExpanded(), shown.isExpanded()) == (False, True)


def test_two_results_need_two_names(running, raster, model, tmp_path):
    with pytest.raises(QgsProcessingException, match="a name of its own"):  # both styles would be map.qml
        run("segment", INPUT=raster, MODEL=model, OUTPUT=tmp_path / "map.tif", CONFIDENCE=tmp_path / "map.tiff")
    with pytest.raises(QgsProcessingException, match=r"ends in \.gpkg"):
        run("segment", INPUT=raster, MODEL=model, OUTPUT=tmp_path / "map.tif", POLYGONS=tmp_path / "p.shp")
    assert not list(tmp_path.glob("map*"))
    run("segment", INPUT=raster, MODEL=model, OUTPUT=tmp_path / "map.tif", POLYGONS=tmp_path / "map.gpkg")
    assert {path.name for path in tmp_path.glob("map*")} == {"map.tif", "map.tif.aux.xml", "map.qml", "map.gpkg"}


def test_outputs_chain_in_the_model_designer(running, raster, model, tmp_path):
    chain = QgsProcessingModelAlgorithm("chain", "tests")
    for definition in (
        QgsProcessingParameterRasterLayer("layer", "layer"),
        QgsProcessingParameterFile("model", "model"),
    ):
        chain.addModelParameter(definition, QgsProcessingModelParameter(definition.name()))
    source = QgsProcessingModelChildParameterSource
    first, second = (
        QgsProcessingModelChildAlgorithm("geoaware:segment"),
        QgsProcessingModelChildAlgorithm("geoaware:areas"),
    )
    first.setChildId("map")
    first.addParameterSources("INPUT", [source.fromModelParameter("layer")])
    first.addParameterSources("MODEL", [source.fromModelParameter("model")])
    second.setChildId("areas")
    second.addParameterSources("INPUT", [source.fromChildOutput("map", "OUTPUT")])
    result = QgsProcessingModelOutput("areas")
    result.setChildOutputName("OUTPUT")
    second.setModelOutputs({"areas": result})
    chain.addChildAlgorithm(first)
    chain.addChildAlgorithm(second)
    context, feedback = QgsProcessingContext(), QgsProcessingFeedback()
    made, fine = chain.run({"layer": str(raster), "model": str(model), "areas:areas": "memory:"}, context, feedback)
    assert fine, feedback.textLog()
    table = context.takeResultLayer(made["areas:areas"])
    assert [feature["name"] for feature in table.getFeatures()] == [name for _, name, _ in CLASSES]


def wait(task: QgsProcessingAlgRunnerTask, seconds: float = 30) -> dict:
    """Let the event loop run until the task has ended; its results."""
    ended = []
    task.executed.connect(lambda fine, results: ended.append((fine, dict(results))))
    QgsApplication.taskManager().addTask(task)
    before = time.monotonic()
    while task.progress() < 5 and not ended and time.monotonic() - before < seconds:
        QgsApplication.processEvents()
    yield
    while not ended and time.monotonic() - before < seconds:
        QgsApplication.processEvents()
    ((fine, results),) = ended
    yield fine, results


@pytest.mark.parametrize("gone", ["layer", "project"])
@pytest.mark.parametrize("kind", ["gdal", "virtualraster"])
def test_a_run_ends_well_when_its_layer_goes(running, model, tmp_path, gone, kind):
    path = rasters.write(tmp_path / "big.tif", np.full((3, 500, 500), 9, np.uint8))
    layer = QgsRasterLayer(str(path), "big")
    bands = []
    if kind == "virtualraster":
        place = "extent=500000,4995000,505000,5000000&width=500&height=500"
        uri = f'?crs=EPSG:32633&{place}&formula="big@1"&big:uri={path}&big:provider=gdal'
        layer, bands = QgsRasterLayer(uri, "calculated", "virtualraster"), [1, 1, 1]
    QgsProject.instance().addMapLayer(layer)
    context, feedback = QgsProcessingContext(), QgsProcessingFeedback()
    context.setProject(QgsProject.instance())
    out = tmp_path / "out.tif"
    parameters = {"INPUT": layer.id(), "MODEL": str(model), "OUTPUT": str(out), "BANDS": bands}
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geoaware:segment")
    steps = wait(QgsProcessingAlgRunnerTask(algorithm, parameters, context, feedback))
    next(steps)
    if gone == "layer":
        QgsProject.instance().removeMapLayer(layer.id())
    else:
        QgsProject.instance().clear()
    del layer
    fine, _ = next(steps)
    assert fine, feedback.textLog()
    assert (rasters.band(out) == RED).all()


def test_an_extent_may_be_in_the_crs_of_the_project(running, raster, model, scene, tmp_path):
    QgsProject.instance().setCrs(QgsCoordinateReferenceSystem("EPSG:4326"))
    extent = "15.002,15.006,45.1500,45.1525 [EPSG:4326]"
    run("segment", INPUT=raster, MODEL=model, EXTENT=extent, OUTPUT=tmp_path / "out.tif")
    made = gdal.Open(str(tmp_path / "out.tif"))
    x, _, _, y, _, _ = made.GetGeoTransform()
    column, row = round((x - 500_000) / 10), round((5_000_000 - y) / 10)
    part = scene[1][row : row + made.RasterYSize, column : column + made.RasterXSize]
    assert part.size
    np.testing.assert_array_equal(made.ReadAsArray(), part)


def test_an_area_beside_the_layer_is_refused(running, raster, model, tmp_path):
    with pytest.raises(QgsProcessingException, match="scene: the bounds lie outside it"):
        run("segment", INPUT=raster, MODEL=model, EXTENT="0,1,0,1 [EPSG:32633]", OUTPUT=tmp_path / "out.tif")


def test_a_polygon_with_a_spike_counts_without_it(running, raster, model, scene, tmp_path):
    square = "Polygon ((500200 4999900, 500250 4999900, 500250 5000000, 500200 5000000, 500200 4999900))"
    corners = "500300 4999900, 500400 4999900, 500400 4999950, 500500 4999950, 500400 4999950, 500400 5000000"
    spiked = f"Polygon (({corners}, 500300 5000000, 500300 4999900))"
    run("segment", INPUT=raster, MODEL=model, MASK=polygons(square, spiked), OUTPUT=tmp_path / "out.tif")
    found = rasters.band(tmp_path / "out.tif")
    expected = scene[1][:10, 20:40].copy()
    expected[:, 5:10] = NODATA
    np.testing.assert_array_equal(found, expected)


def test_polygons_cut_out_what_is_outside(running, raster, model, scene, tmp_path):
    ring = "500200 5000000, 500300 5000000, 500300 4999900, 500200 4999900, 500200 5000000"
    outside = polygons(f"Polygon (({ring}))")
    run("segment", INPUT=raster, MODEL=model, MASK=outside, OUTPUT=tmp_path / "out.tif")
    found = rasters.band(tmp_path / "out.tif")
    np.testing.assert_array_equal(found, scene[1][:10, 20:30])
    assert NODATA not in found
