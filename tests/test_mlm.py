"""Cards of models are valid STAC Items by the official schemas, also for other readers; older cards of ours are read."""

import json
import re
from pathlib import Path

import onnx
import pystac
import pytest
from pystac.errors import STACValidationError
from pystac.extensions.mlm import MLMExtension
from stac_model.schema import MLModelProperties

from export.model_files.mlm import mlm_name
from export.runtime.model.session import Model
from tests.models import card_item, write_strongest_band
from tests.stac_schemas import FOLDER, MLM, check_model_item

MODELS = sorted((Path(__file__).parents[1] / "models").glob("*.onnx"))


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Land use (EuroSAT), Sentinel-2 RGB, 10 m", "Land use EuroSAT Sentinel-2 RGB 10 m"),
        ("map_v1.2", "map_v1.2"),
        ("Wälder & Seen – 2024!", "Walder Seen 2024"),  # noqa: RUF001
        ("3 classes", "model 3 classes"),
        ("m", "model m"),
        ("карта", "model"),
        ("_-.", "model"),
        ("a\nb\tc", "a b c"),
    ],
)
def test_names_have_the_letters_that_mlm_allows(title, name):
    pattern = json.loads((FOLDER / "mlm-1.4.0.json").read_text())["$defs"]["mlm:name"]["pattern"]
    assert mlm_name(title) == name
    assert re.fullmatch(pattern, name)


@pytest.mark.skipif(not MODELS, reason="models/ is empty here: 'make starter-models' fills it")
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "beside"])
def test_cards_of_starter_models_are_valid(path, inside):
    text = path.with_suffix(".mlm.json").read_text()
    if inside:
        text = next(entry.value for entry in onnx.load(path).metadata_props if entry.key == "mlm")
    item = json.loads(text)
    check_model_item(item)
    assert item["properties"]["mlm:hyperparameters"]["epochs"] > 1
    assert Model(path, "cpu", threads=1).card.name == item["properties"]["title"]
    read = pystac.Item.from_dict(item)
    assert read.properties["bands"] == [{"name": name} for name in ("red", "green", "blue")]
    assert MLModelProperties.model_validate(read.properties).name == item["properties"]["mlm:name"]
    theirs = pystac.Item.from_dict(json.loads(text.replace(MLM, MLMExtension.get_schema_uri())))
    assert MLMExtension.ext(theirs).hyperparameters.to_dict() == item["properties"]["mlm:hyperparameters"]


@pytest.mark.parametrize("change", ["commas", "no bands", "bands of the asset alone", "empty hyperparameters"])
def test_what_is_not_valid_is_found(change):
    """So the schemas are really asked."""
    bands = [{"name": "red"}, {"name": "green"}]
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [MLM],
        "id": "m",
        "geometry": None,
        "links": [],
        "assets": {
            "model": {"href": "./m.onnx", "roles": ["mlm:model"], "mlm:artifact_type": "onnx", "bands": bands},
        },
        "properties": {
            "datetime": "2024-06-01T00:00:00Z",
            "bands": bands,
            "mlm:name": "Land use",
            "mlm:architecture": "ResNet",
            "mlm:tasks": ["semantic-segmentation"],
            "mlm:hyperparameters": {"epochs": 3},
            "mlm:input": [
                {
                    "name": "image",
                    "bands": ["red", "green"],
                    "input": {
                        "shape": [-1, 2, 8, 8],
                        "dim_order": ["batch", "bands", "height", "width"],
                        "data_type": "float32",
                    },
                }
            ],
            "mlm:output": [
                {
                    "name": "map",
                    "tasks": ["semantic-segmentation"],
                    "result": {"shape": [-1, 2], "dim_order": ["batch", "class"], "data_type": "float32"},
                }
            ],
        },
    }
    check_model_item(item)
    properties = item["properties"]
    if change == "commas":
        properties["mlm:name"] = "Land use (EuroSAT), 10 m"
    elif change == "no bands":
        del properties["bands"], item["assets"]["model"]["bands"]
    elif change == "bands of the asset alone":
        del properties["bands"]
    else:
        properties["mlm:hyperparameters"] = {}
    with pytest.raises((STACValidationError, KeyError)):
        check_model_item(item)


def test_an_older_card_without_a_title_is_read(tmp_path):
    assert "title" not in card_item()["properties"]
    path = write_strongest_band(tmp_path / "m.onnx")
    assert Model(path).card.name == "tiny colours"
    graph = onnx.load(path)
    item = card_item()
    people = {"title": "Tiny colours, for people (and tests)", "license": "other", "geoaware:license": "ask us"}
    item["properties"] |= people
    onnx.helper.set_model_props(graph, {"mlm": json.dumps(item)})
    onnx.save(graph, path)
    card = Model(path).card
    assert (card.name, card.license) == (people["title"], "ask us")
