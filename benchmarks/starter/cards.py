"""Documentation of a starter model: its card, the Item beside it, and models/README.md."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx

from benchmarks.starter.recipes import Made
from core.errors import UserError
from core.files import write_json
from export.model_files.quantize import MAX_LOSS
from export.runtime.model.item import multihash
from export.runtime.model.session import Model

COMMAND = "make starter-models EUROSAT=folder"
LICENSE = "MIT"
MOST_BYTES = 20_000_000  # of all models together: the plugin's zip may have 25


def publish(made: list[Made], folder: Path) -> None:
    """Describe models and put them into a folder, with a README about all that lie there.

    Raises:
        UserError: a model is not right often enough, lost too much in eight bits, or all together are too large.
    """
    for one in made:
        _check(one)
        amend(one.path, _about(one))
    folder.mkdir(parents=True, exist_ok=True)
    new = {one.path.name: one.path for one in made}
    size = sum(path.stat().st_size for path in ({path.name: path for path in folder.glob("*.onnx")} | new).values())
    if size > MOST_BYTES:
        raise UserError(f"{folder}: the models would have {size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}")
    for one in made:
        for path in (one.path, one.path.with_suffix(".mlm.json")):
            partial = folder / f"{path.name}.partial"
            shutil.copyfile(path, partial)
            partial.replace(folder / path.name)
        print(f"{folder / one.path.name}: {one.score} {one.of}")
    (folder / "README.md").write_text(readme(folder), "utf-8")


def _check(made: Made) -> None:
    if made.score.value < made.least:
        raise UserError(
            f"{made.path}: not published, {made.score} {made.of}; at least {100 * made.least:g} % are wanted"
        )
    compared = _item(made.path)["properties"]["geoaware:int8"]
    lost = compared["accuracy_fp32"] - compared["accuracy_int8"]
    if lost > MAX_LOSS:
        raise UserError(f"{made.path}: not published, eight bits cost {100 * lost:.1f} points")


def _about(made: Made) -> dict[str, Any]:
    return {
        "description": made.about,
        "license": LICENSE,
        "geoaware:accuracy": {name: round(value, 4) for name, value in asdict(made.score).items()} | {"of": made.of},
        "geoaware:made_with": [COMMAND, *made.lines],
    }


def amend(model: Path, properties: dict[str, Any]) -> None:
    """Set properties of a model's card, in the file and in the Item beside it, whose checksum follows."""
    graph = onnx.load(str(model))
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    inside = json.loads(metadata["mlm"])
    inside["properties"] |= properties
    onnx.helper.set_model_props(graph, metadata | {"mlm": json.dumps(inside)})
    partial = model.with_name(model.name + ".partial")
    onnx.save(graph, str(partial))
    beside = _item(model)
    beside["properties"] = inside["properties"]
    beside["assets"]["model"] |= {"file:checksum": multihash(partial), "file:size": partial.stat().st_size}
    partial.replace(model)
    write_json(model.with_suffix(".mlm.json"), beside)


def _item(model: Path) -> dict[str, Any]:
    return json.loads(model.with_suffix(".mlm.json").read_text())


def readme(folder: Path) -> str:
    """What lies in the folder, how right it is, and how it is made."""
    paths = sorted(folder.glob("*.onnx"))
    lines = [
        "# Starter models",
        "",
        f"They come with the project and inside the plugin's zip. `{COMMAND}` makes them anew (docs/models.md). Eight-bit",
        "integers; accuracies are of these files in onnxruntime, with 95 % intervals (over images or places).",
        "",
        "| file | MB | accuracy | licence |",
        "|---|---|---|---|",
    ]
    cards = {path: Model(path, "cpu", threads=1).card for path in paths}
    for path, card in cards.items():
        lines.append(f"| `{path.name}` | {path.stat().st_size / 1e6:.1f} | {card.accuracy} | {card.license} |")
    for path, card in cards.items():
        commands = [f"    {line}" for line in _item(path)["properties"]["geoaware:made_with"]]
        lines += ["", f"## {card.name}", "", f"{card.description}.", "", *commands]
    return "\n".join(lines) + "\n"
