"""``python -m export.to_onnx``: a trained model to one ONNX file with its card.

Opset 17 and IR 8, because QGIS plugins still carry onnxruntime 1.17. The scaling lies inside the graph:
raw pixel values in, probabilities out.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import yaml
from torch import Tensor, nn

from core.errors import UserError, run_command
from core.files import write_json
from core.networks.encoders import Encoder, ModelSpec, check_fit, encoder_of, load_model
from core.store.read import ChipStore
from export.mlm import metadata, model_item
from export.quantize import LARGEST_LOSS, LEAST_SPEED, check_task, quantize
from export.rasterio_io.stac import multihash
from export.runtime.errors import RuntimeFault
from export.runtime.model.session import Model
from export.tiles import real_tiles

OPSET, IR = 17, 8
# Largest difference between torch and onnxruntime: of a probability or a score; of a box in px.
TOLERANCE = 1e-3
FILE_EXTENSION = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
FILE_OF_TASK = {
    "segmentation": "model.safetensors",
    "classification": "model.safetensors",
    "sequence": "model.safetensors",
    "detection": "model.safetensors",
    "embedding": "encoder.safetensors",
}
OUTPUTS = {"detection": ("boxes", "scores", "labels"), "embedding": ("features",)}  # the others: probabilities


class _Probabilities(nn.Module):
    """The network with softmax over the classes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        logits = self.model(pixels)
        # onnxruntime's own softmax over the channels of a map takes a quarter of a U-Net's time; written out, a tenth of that
        parts = (logits - logits.amax(dim=1, keepdim=True)).exp()
        return parts / parts.sum(dim=1, keepdim=True)


class _Objects(nn.Module):
    """Boxes, scores and labels of one image."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self.model(pixels)[0]
        return found["boxes"], found["scores"], found["labels"]


class _DenseFeatures(nn.Module):
    """The encoder's last map: features of each 32 x 32 px."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor) -> Tensor:
        return self.encoder.pyramid(pixels)[-1]


def export_onnx(
    source: Path,
    out: Path,
    data: Path | None = None,
    tile_size: int | None = None,
    name: str | None = None,
    dense: bool = False,
    int8: bool = False,
    force: bool = False,
    task: str | None = None,
) -> float:
    """Write the ONNX file and its Item, after comparing torch and onnxruntime on real chips.

    Args:
        source: a run's folder, or its safetensors file.
        out: the ONNX file; ``<out>.mlm.json`` is written beside it.
        data: the chip store it was trained on; by default the one that the run's config.yaml names.
        tile_size: rows = columns of the input, px; by default 256 for a segmentation, else the chips' size.
        name: title of the model; by default the file's name.
        dense: an encoder's features as a map at stride 32 instead of one vector a chip.
        int8: in 8-bit integers; prints what that costs and gains.
        force: also where it does not pay.
        task: "embedding" exports the encoder of a model for another task.

    Returns:
        The largest difference between torch's answer and onnxruntime's, in fp32.

    Raises:
        UserError: a file is missing or does not fit, the difference exceeds ``TOLERANCE``, or int8 does not pay.
    """
    weights = _weights_file(source)
    spec, network = load_model(weights)
    if task == "embedding":
        spec, network = _encoder_alone(spec, network)
    store = ChipStore(data or _store_of(weights))
    check_fit(weights, spec, store)
    if dense and spec.task != "embedding":
        raise UserError(f"--dense: {weights} is a model for {spec.task}; only an encoder has a map of features")
    if int8:
        check_task(spec.task)
    tile = _tile_size(spec, tile_size, dense)
    overlap = tile // 4 if spec.task == "segmentation" else 0
    model = _as_exported(spec, network, dense).eval()
    tiles = real_tiles(store, tile)
    with torch.inference_mode():
        expected = [_run_torch(model, tiles[i : i + 1]) for i in range(len(tiles))]
    item = model_item(
        spec,
        store,
        name=name or out.stem,
        file_name=out.name,
        tile_size=tile,
        overlap=overlap,
        output_shape=list(expected[0][0].shape),
        parameters=sum(p.numel() for p in network.parameters()),
        data_sha256=_checksum(store),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    try:
        _write(model, spec, tile, partial, metadata(spec, item, tile, overlap))
        runtime = Model(partial)  # its guard and its card are tested with it
        found = [runtime.outputs(tiles[i : i + 1]) for i in range(len(tiles))]
        difference = max(map(_difference, found, expected))
        if spec.task == "embedding":  # it has no fixed scale: relative to the largest value
            difference /= max(float(np.abs(answer[0]).max()) for answer in expected)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{out}: not written, onnxruntime's answer differs from torch's by {difference:.1e} (limit {TOLERANCE:g})"
            )
        if int8:
            _in_int8(partial, out, spec, store, item, force=force)
        checksum, size = multihash(partial), partial.stat().st_size
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    item["assets"]["model"] |= {"file:checksum": checksum, "file:size": size}
    item["stac_extensions"].append(FILE_EXTENSION)
    write_json(out.with_suffix(".mlm.json"), item)
    return difference


def _in_int8(partial: Path, out: Path, spec: ModelSpec, store: ChipStore, item: dict[str, Any], *, force: bool) -> None:
    """Replace the model by its quantised self, and say so in its card.

    Raises:
        UserError: it does not pay.
    """
    graph, comparison = quantize(partial, store, spec.task)
    print(comparison)
    if not (comparison.pays or force):
        raise UserError(
            f"{out}: not written, int8 should be {LEAST_SPEED:g} times as fast and lose {LARGEST_LOSS * 100:g} point at most; "
            "export it in fp32, or give --force"
        )
    tile, overlap = Model(partial).card.tile_size, item["properties"]["geoaware:overlap"]
    item["properties"] |= {"geoaware:precision": "int8", "geoaware:int8": comparison.as_json()}
    onnx.helper.set_model_props(graph, metadata(spec, item, tile, overlap))
    onnx.save(graph, str(partial))


def _tile_size(spec: ModelSpec, wanted: int | None, dense: bool) -> int:
    if wanted is not None and (wanted < 32 or wanted % 32):
        raise UserError(f"--tile-size {wanted}: must be a multiple of 32, the network's stride")
    if wanted is not None:
        return wanted
    if spec.task == "segmentation":
        return 256
    return -(-spec.chip_size // 32) * 32 if dense else spec.chip_size


def _encoder_alone(spec: ModelSpec, network: nn.Module) -> tuple[ModelSpec, nn.Module]:
    """An encoder as it is; of a model for another task, its encoder."""
    if isinstance(network, Encoder):
        return spec, network
    description = f"{spec.description}; the encoder alone"
    return replace(spec, task="embedding", classes=(), description=description), encoder_of(network)


def _as_exported(spec: ModelSpec, network: nn.Module, dense: bool) -> nn.Module:
    if isinstance(network, Encoder):
        return _DenseFeatures(network) if dense else network
    return _Objects(network) if spec.task == "detection" else _Probabilities(network)


def _run_torch(model: nn.Module, tile: np.ndarray) -> list[np.ndarray]:
    answer = model(torch.from_numpy(tile))
    return [part.numpy() for part in (answer if isinstance(answer, tuple) else (answer,))]


def _difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Largest of all outputs; infinite where they differ in shape."""
    if any(left.shape != right.shape for left, right in zip(found, expected)):
        return float("inf")
    return max((float(np.abs(left - right).max(initial=0)) for left, right in zip(found, expected)), default=0.0)


def _weights_file(source: Path) -> Path:
    if not source.is_dir():
        return source
    for name in dict.fromkeys(FILE_OF_TASK.values()):
        if (source / name).is_file():
            return source / name
    raise UserError(
        f"{source}: holds neither {' nor '.join(dict.fromkeys(FILE_OF_TASK.values()))}; is it a finished run?"
    )


def _store_of(weights: Path) -> Path:
    config = weights.parent / "config.yaml"
    if not config.is_file():
        raise UserError(f"{weights}: has no config.yaml beside it that names its chip store; name it with --data")
    settings = yaml.safe_load(config.read_text()) or {}
    if not settings.get("data"):
        raise UserError(f"{config}: names no chip store; name it with --data")
    return Path(settings["data"])


def _checksum(store: ChipStore) -> str:
    """Of the list of checksums: it stands for every chip, label and row of the index."""
    return hashlib.sha256((store.path / "SHA256SUMS").read_bytes()).hexdigest()


def _write(model: nn.Module, spec: ModelSpec, tile: int, path: Path, card: dict[str, str]) -> None:
    outputs = list(OUTPUTS.get(spec.task, ("probabilities",)))
    # A detection is of one image; how many objects it has is free.
    free = outputs if spec.task == "detection" else ["image", *outputs]
    axis = "objects" if spec.task == "detection" else "batch"
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        # The newer exporter writes IR 10, which onnxruntime 1.17 refuses.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # decoders compare shapes in Python
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)  # as are these
        warnings.filterwarnings("ignore", "To copy construct from a tensor", UserWarning)  # torchvision's detectors
        raw = Path(folder) / "raw.onnx"
        torch.onnx.export(
            model,
            (torch.zeros(1, len(spec.bands), tile, tile),),
            str(raw),
            input_names=["image"],
            output_names=outputs,
            dynamic_axes={name: {0: axis} for name in free},
            opset_version=OPSET,
            dynamo=False,
        )
        graph = onnx.load(raw)
    graph.ir_version = IR
    onnx.helper.set_model_props(graph, card)
    onnx.checker.check_model(graph)
    if graph.opset_import[0].version != OPSET:
        raise UserError(f"the exporter wrote opset {graph.opset_import[0].version} instead of {OPSET}")
    onnx.save(graph, str(path))


def main() -> int:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(
        prog="python -m export.to_onnx", description="Export a trained model to one ONNX file with its card."
    )
    parser.add_argument(
        "source", type=Path, metavar="RUN", help="folder of a pretrain or finetune run, or a safetensors file"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx")
    parser.add_argument(
        "--task", choices=FILE_OF_TASK, help="what the file must hold; 'embedding' takes the encoder out of any model"
    )
    parser.add_argument(
        "--data", type=Path, metavar="STORE", help="chip store it was trained on (default: as in the run's config.yaml)"
    )
    parser.add_argument("--tile-size", type=int, help="rows = columns of the input (default: 256, or the chips' size)")
    parser.add_argument(
        "--dense", action="store_true", help="an encoder's features as a map at stride 32, not one vector a chip"
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="8-bit integers, calibrated on training places; says what is gained and lost on held-out chips",
    )
    parser.add_argument("--force", action="store_true", help="with --int8: also where it does not pay")
    parser.add_argument("--name", help="title of the model (default: the file's name)")
    arguments = parser.parse_args()

    def export() -> None:
        if arguments.force and not arguments.int8:
            raise UserError("--force goes with --int8")
        if arguments.out.suffix != ".onnx":
            raise UserError(f"--out {arguments.out}: must end in .onnx")
        weights = _weights_file(arguments.source)
        held = load_model(weights)[0].task
        if arguments.task not in (None, "embedding", held):
            raise UserError(f"{weights}: is a model for {held}, not for {arguments.task}")
        difference = export_onnx(
            weights, arguments.out, arguments.data, arguments.tile_size, arguments.name, arguments.dense,
            arguments.int8, arguments.force, arguments.task,
        )  # fmt: skip
        print(f"torch and onnxruntime agree on real chips: largest difference {difference:.1e} (limit {TOLERANCE:g})")
        print(f"model: {arguments.out}, card: {arguments.out.with_suffix('.mlm.json')}")

    try:
        return run_command(export)
    except RuntimeFault as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
