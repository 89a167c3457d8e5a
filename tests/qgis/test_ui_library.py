"""The model library: what is added is checked, what is refused leaves nothing behind."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qgis.core", reason="QGIS's Python packages are not installed here")
import onnx
from qgis.core import QgsApplication, QgsProcessingContext, QgsRasterLayer
from qgis.PyQt.QtCore import QCoreApplication
from qgis.PyQt.QtTest import QTest
from qgis.PyQt.QtWidgets import QDialog

from tests.models import card_item, write_model, write_strongest_band
from tests.qgis import rasters


@pytest.fixture
def library(running, tmp_path, monkeypatch):
    from geoaware.ui import models as library

    monkeypatch.setattr(library, "folder", lambda: tmp_path / "profile" / "models")
    monkeypatch.setattr(library, "STARTERS", tmp_path / "starters")
    return library


def names(library) -> list[str]:
    return sorted(path.name for path in library.folder().iterdir()) if library.folder().is_dir() else []


def test_added_model_is_offered_with_its_card(library, model):
    path = library.add(model)
    (entry,) = library.entries()
    assert entry.path == path == library.folder() / "colours.onnx"
    assert entry.title == "tiny colours"
    assert names(library) == ["colours.onnx"]


def test_model_in_upper_case_is_listed_and_named_when_it_was_added(library, model):
    from geoaware.ui.library_window import LibraryWindow

    path = library.add(model.rename(model.with_name("COLOURS.ONNX")))
    window = LibraryWindow()
    window._added(str(path))
    assert window.entry.path == path == library.folder() / "COLOURS.ONNX"
    assert window.message.text() == "'tiny colours' was added."
    window.close()


def test_card_beside_a_model_comes_along(library, tmp_path):
    path = write_model(tmp_path / "bare.onnx", np.eye(2, dtype=np.float32)[..., None, None], item={})
    card = {"task": "segmentation", "bands": ["a", "b"], "value_range": [0, 1], "classes": ["no", "yes"]}
    path.with_suffix(".card.json").write_text(json.dumps(card))
    library.add(path)
    assert library.entries()[0].card.bands == ("a", "b")
    library.remove(library.entries()[0])
    assert names(library) == []


@pytest.mark.parametrize("checksum", ["", "right", "upper"])
def test_right_checksum_is_accepted(library, model, checksum):
    right = hashlib.sha256(model.read_bytes()).hexdigest()
    library.add(model, {"": "", "right": right, "upper": f" {right.upper()} "}[checksum])
    assert names(library) == ["colours.onnx"]


def test_wrong_checksum_is_refused(library, model):
    from geoaware.runtime.errors import ModelFault

    with pytest.raises(ModelFault, match="the checksum is"):
        library.add(model, "0" * 64)
    assert names(library) == []


def test_hostile_model_is_refused_before_it_is_run(library, model):
    from geoaware.runtime.errors import ModelFault

    hostile = onnx.load(str(model))
    hostile.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    hostile.graph.initializer[0].external_data.add(key="location", value="../../etc/passwd")
    model.write_bytes(hostile.SerializeToString())
    with pytest.raises(ModelFault, match="refused, its weights are in another file"):
        library.add(model)
    assert names(library) == []


def test_another_model_of_the_same_name_is_not_overwritten(library, model, tmp_path):
    from geoaware.runtime.errors import InputFault

    library.add(model)
    before = (library.folder() / "colours.onnx").read_bytes()
    (tmp_path / "other").mkdir()
    other = write_model(tmp_path / "other" / "colours.onnx", np.ones((3, 3, 1, 1), np.float32), card_item(), np.ones(3))
    with pytest.raises(InputFault, match="another model named"):
        library.add(other)
    assert (library.folder() / "colours.onnx").read_bytes() == before
    library.add(model)  # the same again changes nothing
    assert names(library) == ["colours.onnx"]


@pytest.mark.parametrize(("kind", "runs"), [("Segmentor", True), ("Detector", False), ("Superresolution", False)])
def test_deepness_models_of_known_types_are_offered_and_others_refused_by_name(library, model, kind, runs):
    deepness = onnx.load(str(model))
    del deepness.metadata_props[:]
    onnx.helper.set_model_props(
        deepness, {"model_type": json.dumps(kind), "class_names": json.dumps({0: "a", 1: "b", 2: "c"})}
    )
    onnx.save(deepness, str(model))
    from geoaware.runtime.errors import ModelFault

    if runs:
        library.add(model)
        assert library.entries()[0].card.source == "deepness"
    else:
        with pytest.raises(ModelFault, match=f"of the type '{kind}'"):
            library.add(model)


def test_starter_models_come_first_and_stay(library, model, tmp_path):
    from geoaware.runtime.errors import InputFault

    (tmp_path / "starters").mkdir()
    write_strongest_band(tmp_path / "starters" / "zz.onnx")
    library.add(model)
    first, second = library.entries()
    assert (first.starter, second.starter) == (True, False)
    with pytest.raises(InputFault, match="comes with the plugin"):
        library.remove(first)


def test_damaged_file_in_the_folder_is_listed_with_its_fault(library):
    library.folder().mkdir(parents=True)
    (library.folder() / "bad.onnx").write_bytes(b"no model at all, only words")
    (entry,) = library.entries()
    assert entry.card is None
    assert "not an ONNX file" in entry.fault


@pytest.mark.parametrize(
    "card",
    [
        {"mlm": json.dumps(card_item(gsd=-10.0))},
        {"mlm": "[" * 100_000},
        {"model_type": '"Segmentor"', "class_names": "road surface"},
    ],
)
def test_model_with_a_bad_card_is_listed_and_keeps_no_other_from_being_suggested(library, model, tmp_path, card):
    from geoaware.ui.models import suggested

    library.add(model)
    bad = onnx.load(str(model))
    del bad.metadata_props[:]
    onnx.helper.set_model_props(bad, card)
    onnx.save(bad, str(library.folder() / "a.onnx"))
    first, second = library.entries()
    assert (first.card, first.fault != "") == (None, True)
    assert suggested([first, second], layer_of(tmp_path / "layer.tif", 3, 10.0), Path()) == 1


@pytest.fixture
def server(tmp_path):
    """Serves a folder; gives its address."""
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: handler(*given, directory=str(tmp_path)))
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    thread.join()
    made.server_close()


def fetched(library, address: str, checksum: str) -> str:
    """What the window would say."""
    from geoaware.ui.library_window import Fetching

    said: list[str] = []
    fetching = Fetching()
    fetching.added.connect(lambda path: said.append(Path(path).name))
    fetching.refused.connect(said.append)
    fetching.add_url(address, checksum)
    for _ in range(200):
        if said and not fetching.busy:
            break
        QTest.qWait(20)
    QCoreApplication.processEvents()
    return said[0]


def test_model_is_downloaded_and_checked(library, model, server):
    right = hashlib.sha256(model.read_bytes()).hexdigest()
    assert fetched(library, f"{server}/colours.onnx", right) == "colours.onnx"
    assert names(library) == ["colours.onnx"]


@pytest.mark.parametrize(
    ("name", "checksum", "said"),
    [
        ("colours.onnx", "0" * 64, "the checksum is"),
        ("colours.onnx", "", "Enter the SHA-256 checksum"),
        ("absent.onnx", "0" * 64, "could not be downloaded"),
        ("colours.exe", "0" * 64, "ends in .onnx"),
    ],
)
def test_failed_download_is_told_and_leaves_nothing(library, model, server, name, checksum, said):
    assert said in fetched(library, f"{server}/{name}", checksum)
    assert names(library) == []
    assert QgsApplication.taskManager().countActiveTasks() == 0


def layer_of(path: Path, bands: int, pixel: float, epsg: int = rasters.UTM) -> QgsRasterLayer:
    """A raster layer of so many bands, with pixels of that size."""
    rasters.write(path, np.zeros((bands, 30, 40), np.uint8), epsg=epsg, transform=(10, pixel, 0, 50, 0, -pixel))
    return QgsRasterLayer(str(path), path.stem)


@pytest.fixture
def starters(library, tmp_path):
    """A model for pixels of 7 km, an encoder and a model for 10 m, in this order."""
    from geoaware.ui.models import STARTERS

    STARTERS.mkdir()
    write_strongest_band(STARTERS / "a.onnx", gsd=7400.0)
    write_strongest_band(STARTERS / "b.onnx", gsd=10.0, task="similarity-search", classes=())
    write_strongest_band(STARTERS / "c.onnx", gsd=10.0)
    return library.entries()


@pytest.mark.parametrize(
    ("bands", "pixel", "epsg", "expected"),
    [
        (3, 10.0, 32633, "c"),
        (4, 15.0, 32633, "c"),
        (3, 0.0667, 4326, "a"),
        (3, 30.0, 32633, "c"),  # three times, not a thousand times as large
        (1, 10.0, 32633, "c"),
    ],
)
def test_model_that_fits_the_layer_is_suggested(starters, tmp_path, bands, pixel, epsg, expected):
    from geoaware.ui.models import suggested

    layer = layer_of(tmp_path / "layer.tif", bands, pixel, epsg)
    assert starters[suggested(starters, layer, Path())].path.stem == expected


def test_last_model_is_suggested_among_those_that_fit(starters, tmp_path):
    from geoaware.ui.models import suggested

    fine = layer_of(tmp_path / "fine.tif", 3, 10.0)
    paths = [entry.path for entry in starters]
    assert suggested(starters, fine, paths[1]) == 1
    assert suggested(starters, fine, paths[0]) == 2
    assert suggested(starters, None, paths[1]) == 1
    assert suggested(starters, None, Path()) == 0


def test_library_says_which_models_came_with_the_plugin(starters, library, model):
    from geoaware.ui.library_window import LibraryWindow

    library.add(model)
    window = LibraryWindow()
    titles = [window.list.item(row).text() for row in range(window.list.count())]
    assert titles == ["tiny colours (comes with the plugin)"] * 3 + ["tiny colours"]
    assert not window.remove_button.isEnabled()
    window.list.setCurrentRow(3)
    assert window.remove_button.isEnabled()
    window.close()


def test_toolbox_offers_the_models_of_a_task_and_any_other_file(starters, library, model, qgis_processing, monkeypatch):
    from processing.gui import ParametersPanel
    from processing.gui.AlgorithmDialog import AlgorithmDialog

    monkeypatch.setattr(ParametersPanel, "iface", None)  # a stand-in here, which has no browser
    library.add(model)
    algorithm = QgsApplication.processingRegistry().algorithmById("geoaware:segment").create()
    dialog = AlgorithmDialog(algorithm)
    wrapper = dialog.mainWidget().wrappers["MODEL"]
    listed = [wrapper.widget.models.itemText(row) for row in range(wrapper.widget.models.count())]
    assert listed == ["tiny colours"] * 3  # two starters and the one that was added; the encoder is of another task
    assert wrapper.parameterValue() == str(starters[0].path)
    other = write_strongest_band(model.with_name("other.onnx"))
    wrapper.setParameterValue(str(other), QgsProcessingContext())
    assert wrapper.parameterValue() == str(other)
    dialog.close()


def test_model_designer_keeps_its_own_widget_for_a_model(library, qgis_processing):
    from processing.gui.wrappers import WidgetWrapperFactory
    from qgis.core import QgsProcessingModelAlgorithm
    from qgis.gui import QgsProcessingModelerParameterWidget

    class ModelerParametersDialog(QDialog):
        """Has the name by which Processing knows its own."""

        model, childId, context = QgsProcessingModelAlgorithm(), "child", QgsProcessingContext()

    parameter = QgsApplication.processingRegistry().algorithmById("geoaware:segment").parameterDefinition("MODEL")
    wrapper = WidgetWrapperFactory.create_wrapper(parameter, ModelerParametersDialog())
    assert isinstance(wrapper, QgsProcessingModelerParameterWidget)
