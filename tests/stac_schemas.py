"""Judges STAC Items by the official schemas of STAC and its extensions (see ``tests/schemas``), without a network."""

import json
from pathlib import Path

import pystac
from pystac.validation.stac_validator import JsonSchemaSTACValidator

FOLDER = Path(__file__).parent / "schemas"
MLM = "https://stac-extensions.github.io/mlm/v1.6.0/schema.json"
# address -> file, and the version to write in place of the file's own
_FILES = {
    MLM: ("mlm-1.4.0", ("mlm/v1.4.0", "mlm/v1.6.0")),
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json": ("raster-1.1.0", None),
    "https://stac-extensions.github.io/processing/v1.1.0/schema.json": ("processing-1.1.0", None),
    "https://stac-extensions.github.io/file/v2.1.0/schema.json": ("file-2.1.0", None),
    "https://stac-extensions.github.io/classification/v1.1.0/schema.json": (
        "classification-2.0.0",
        ("classification/v2.0.0", "classification/v1.1.0"),
    ),
}


def validator() -> JsonSchemaSTACValidator:
    """One that knows these schemas, and STAC's own, which pystac holds."""
    made = JsonSchemaSTACValidator()
    for address, (name, versions) in _FILES.items():
        text = (FOLDER / f"{name}.json").read_text("utf-8")
        made.schema_cache[address] = json.loads(text.replace(*versions) if versions else text)
    return made


def check_model_item(item: dict) -> None:
    """Raise if a model's Item is not valid; it must name MLM."""
    assert MLM in item["stac_extensions"]
    judge = validator()
    judge.validate_core(item, pystac.STACObjectType.ITEM, item["stac_version"])
    for address in item["stac_extensions"]:
        judge.validate_extension(item, pystac.STACObjectType.ITEM, item["stac_version"], address)
    bands = [band["name"] for band in item["properties"]["bands"]]
    for one in item["properties"]["mlm:input"]:
        shape = dict(zip(one["input"]["dim_order"], one["input"]["shape"]))
        assert shape.get("bands", 0) == len(one["bands"])
        named = [band if isinstance(band, str) else band["name"] for band in one["bands"]]
        assert named == (bands if one is item["properties"]["mlm:input"][0] else [])
