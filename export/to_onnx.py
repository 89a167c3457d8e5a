"""``python -m export.to_onnx``: exports a trained model to one ONNX file with its model card.

A model that reads a series of dates becomes a graph with the inputs ``pixels``, ``valid`` and ``day_of_year``, and with
``longitude`` and ``latitude`` if it was trained with them; ``--single-date`` also writes the same weights as a model of one
date, for programs that know no others. With ``--onefile`` it brings the weights of any ONNX file into one file instead.

Opset 17 and IR 8, because QGIS plugins still ship onnxruntime 1.17. The graph includes the scaling: raw pixel values in,
probabilities out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from core.errors import UserError, run_command
from core.files import write_json
from core.networks.encoders import Encoder, ModelSpec
from core.networks.heads import NETWORKS, encoder_of
from core.networks.series import SeriesNetwork
from core.networks.weights import check_fit, load_model
from core.runs import settings_of
from core.store.read import ChipStore
from export.model_files.dense import TILE, DenseFeatures, drop_stages, properties
from export.model_files.mlm import metadata, model_item
from export.model_files.onefile import one_file
from export.model_files.overlap import Inputs, Seams, least_overlap
from export.model_files.quantize import MAX_LOSS, MIN_SPEEDUP, Comparison, quantize, real_tiles, training_tiles
from export.model_files.series import SUMMER, OneDate, input_names, of_one_date, real_series
from export.runtime.errors import RuntimeFault
from export.runtime.model.item import FILE_EXTENSION, multihash
from export.runtime.model.session import Model

OPSET, IR = 17, 8
MAP_TILE = 512  # px: of large tiles a smaller share is computed twice
SMALL_TILE = 256  # px, where memory asks for it: of a series, and to calibrate 8-bit integers
# Maximum difference between torch and onnxruntime: of probabilities and scores; of boxes in px.
TOLERANCE = 1e-3
WEIGHTS = ("model.safetensors", "encoder.safetensors")  # of a finetune and a pretrain run
OUTPUTS = {"detection": ("boxes", "scores", "labels"), "embedding": ("features",)}  # of other tasks: probabilities


class _Probabilities(nn.Module):
    """The network with softmax over the classes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> Tensor:
        """(N, classes, ...)."""
        logits = self.model(*inputs)
        # onnxruntime's softmax over the channels of a map takes a quarter of a U-Net's time; written out, a tenth of that
        exponentials = (logits - logits.amax(dim=1, keepdim=True)).exp()
        return exponentials / exponentials.sum(dim=1, keepdim=True)


class _Objects(nn.Module):
    """Boxes, scores and labels of one image."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        objects = self.model(pixels)[0]
        return objects["boxes"], objects["scores"], objects["labels"]


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
    single_date: Path | None = None,
    day_of_year: int | None = None,
) -> float:
    """Write the ONNX file and its STAC Item, after comparing torch and onnxruntime on real chips.

    Args:
        source: folder of a run, or a safetensors file.
        out: the ONNX file; ``<out>.mlm.json`` is written beside it.
        data: the chip store of training; by default that of the run's config.yaml.
        tile_size: rows = columns of the input, px; by default 512 for segmentation (256 of a series or with ``int8``) and with ``dense``, else the chip size.
        name: title of the model; by default the file name.
        dense: export maps of an encoder's stages (``export.model_files.dense``) instead of one vector per chip.
        int8: quantise to 8-bit integers; prints accuracy and speed.
        force: quantise even if it does not pay off.
        task: the task expected; "embedding" exports the encoder of a model for any task.
        single_date: of a model that reads series: another ONNX file to write, with the same weights for one date.
        day_of_year: the day that it is made for, 1 to 366; by default the middle of the year.

    Returns:
        The maximum difference between the outputs of torch and onnxruntime, in fp32.

    Raises:
        UserError: a file is missing or does not match, the difference exceeds ``TOLERANCE``, or int8 does not pay off.
    """
    weights = _weights_file(source)
    spec, network = load_model(weights)
    if task not in (None, "embedding", spec.task):
        raise UserError(f"{weights}: the task of this model is {spec.task}, not {task}")
    if task == "embedding" and not isinstance(network, Encoder):
        spec = replace(
            spec, task=task, classes=(), dates=0, location=False, description=f"{spec.description}; encoder only"
        )
        network = encoder_of(network)
    store = ChipStore(data or _store_of(weights))
    check_fit(weights, spec, store)
    if dense and spec.task != "embedding":
        raise UserError(f"--dense: {weights} is a {spec.task} model; only an encoder has a feature map")
    if int8 and spec.task == "detection":
        raise UserError(
            "--int8: not supported for detectors, whose graph computes boxes with too much precision for 8 bits; export in fp32"
        )
    _check_series(spec, weights, int8, single_date, out)
    run = _Run(store, _tile_size(spec, tile_size, dense, int8), name, settings_of(weights.parent), int8, force)
    difference = _export(run, spec, _as_exported(spec, network, dense, store), out)
    if single_date and isinstance(network, SeriesNetwork):
        day, run = day_of_year or SUMMER, replace(run, name=f"{name}, one date" if name else None)
        one = _Probabilities(OneDate(network, day)).eval()
        difference = max(difference, _export(run, of_one_date(spec, day), one, single_date))
    return difference


def _check_series(spec: ModelSpec, weights: Path, int8: bool, single_date: Path | None, out: Path) -> None:
    if spec.dates and int8:
        raise UserError("--int8: not supported for models that read a series of dates; export in fp32")
    if not single_date:
        return
    if not spec.dates:
        raise UserError(f"--single-date: {weights} is a model of one date already; leave it out")
    if spec.location:
        raise UserError(
            f"--single-date: {weights} takes the longitude and latitude of each pixel, which a model of one date is not given; "
            "train without --location"
        )
    if single_date.resolve() == out.resolve():
        raise UserError(f"--single-date {single_date}: is --out too; choose another name")


@dataclass(frozen=True)
class _Run:
    """What is the same for all files of a run."""

    store: ChipStore
    tile: int
    name: str | None
    settings: dict[str, Any]
    int8: bool
    force: bool


def _export(run: _Run, spec: ModelSpec, model: nn.Module, out: Path) -> float:
    """Write one file and its Item."""
    store, tile = run.store, run.tile
    series: list[tuple[np.ndarray, ...]] = [(one[None],) for one in real_tiles(store, tile)]
    if spec.dates:
        series = real_series(store, spec, tile)
    with torch.inference_mode():
        expected = [_run_torch(model, inputs) for inputs in series]
    item = model_item(
        spec, store, out, run.name or out.stem, tile, list(expected[0][0].shape), _parameters(model), run.settings
    )
    if isinstance(model, DenseFeatures):
        item["properties"] |= properties(model, tile)
    seams = _seams(run, spec, model)
    if seams:
        item["properties"] |= {"geoaware:overlap": seams.overlap, "geoaware:seams": seams.as_json()}
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    try:
        _write(model, spec, tile, partial, metadata(spec, item, tile), [answer.shape for answer in expected[0]])
        difference = _difference(Model(partial), series, expected, spec.task)  # checks guard and card too
        if not difference <= TOLERANCE:
            raise UserError(
                f"{out}: not written, outputs of onnxruntime and torch differ by {difference:.1e} (limit {TOLERANCE:g})"
            )
        if run.int8:
            graph, comparison = quantize(partial, store, spec.task)
            _check_gain(comparison, out, run.force)
            item["properties"] |= {"geoaware:precision": "int8", "geoaware:int8": comparison.as_json()}
            onnx.helper.set_model_props(graph, metadata(spec, item, tile))
            onnx.save(graph, str(partial))
        checksum, size = multihash(partial), partial.stat().st_size
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    item["assets"]["model"] |= {"file:checksum": checksum, "file:size": size}
    item["stac_extensions"].append(FILE_EXTENSION)
    write_json(out.with_suffix(".mlm.json"), item)
    return difference


def _check_gain(comparison: Comparison, out: Path, force: bool) -> None:
    print(comparison)
    if not (comparison.pays_off or force):
        raise UserError(
            f"{out}: not written, int8 must be {MIN_SPEEDUP:g} times as fast and lose at most "
            f"{100 * MAX_LOSS:g} percentage point of accuracy; export in fp32, or add --force"
        )


def _tile_size(spec: ModelSpec, requested: int | None, dense: bool, int8: bool = False) -> int:
    if requested is not None:
        if requested < spec.stride or requested % spec.stride:
            raise UserError(f"--tile-size {requested}: must be a multiple of {spec.stride}, the network's stride")
        return requested
    if spec.task == "segmentation":
        return SMALL_TILE if spec.dates or int8 else MAP_TILE
    return TILE if dense else spec.chip_size


def _seams(run: _Run, spec: ModelSpec, model: nn.Module) -> Seams | None:
    """The overlap of a map's tiles and what it leaves of seams; None unless the answer is a map.

    What a network sees does not grow with its tile: small ones tell it sooner, ``MAP_TILE`` has room for every overlap.
    """
    if spec.task != "segmentation":
        return None
    for tile in sorted({min(run.tile, SMALL_TILE), min(run.tile, MAP_TILE)}):
        few = real_series(run.store, spec, 2 * tile)[:2] if spec.dates else []
        mosaic: Inputs = few[-1] if few else (real_tiles(run.store, 2 * tile, 1),)
        with torch.inference_mode():
            seams = least_overlap(lambda inputs: _run_torch(model, inputs)[0][0], mosaic, tile)
        if seams and not seams.seen:
            break
    if seams:
        print(seams)
    return seams


def _as_exported(spec: ModelSpec, network: nn.Module, dense: bool, store: ChipStore) -> nn.Module:
    if not isinstance(network, Encoder):
        return (_Objects(network) if spec.task == "detection" else _Probabilities(network)).eval()
    if not dense:
        return network.eval()
    stages = DenseFeatures(network).eval()
    stages.learn(training_tiles(store))
    return stages


def _parameters(model: nn.Module) -> int:
    """Number of weights that the graph has."""
    return model.parameters_used() if isinstance(model, DenseFeatures) else sum(p.numel() for p in model.parameters())


def _run_torch(model: nn.Module, inputs: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    output = model(*map(torch.from_numpy, inputs))
    return [part.numpy() for part in (output if isinstance(output, tuple) else (output,))]


def _run_onnx(model: Model, inputs: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    if not model.card.dates:
        return model.outputs(*inputs)
    pixels, valid, days, *place = inputs
    return [model.run_series(pixels, valid, days, np.stack(place) if place else None)[None]]


def _difference(
    model: Model, given: list[tuple[np.ndarray, ...]], expected: list[list[np.ndarray]], task: str
) -> float:
    """Maximum over all outputs, for embeddings relative to the largest value; infinite if shapes differ."""
    difference = 0.0
    for inputs, outputs in zip(given, expected):
        for ours, theirs in zip(_run_onnx(model, inputs), outputs):
            if ours.shape != theirs.shape:
                return float("inf")
            # A NaN must not pass: max() of Python would drop it.
            difference = float(np.maximum(difference, np.abs(ours - theirs).max(initial=0)))
    largest = max(float(np.abs(outputs[0]).max()) for outputs in expected) if task == "embedding" else 1.0
    return difference / largest


def _weights_file(source: Path) -> Path:
    if not source.is_dir():
        return source
    for name in WEIGHTS:
        if (source / name).is_file():
            return source / name
    raise UserError(f"{source}: contains neither {' nor '.join(WEIGHTS)}; is it a finished run?")


def _store_of(weights: Path) -> Path:
    data = settings_of(weights.parent).get("data")
    if not data:
        config = weights.parent / "config.yaml"
        raise UserError(f"{config}: contains no chip store, or is not there; give the store with --data")
    return Path(data)


def _write(
    model: nn.Module, spec: ModelSpec, tile: int, path: Path, card: dict[str, str], shapes: list[tuple[int, ...]]
) -> None:
    outputs = list(OUTPUTS.get(spec.task, ("probabilities",)))
    stages = [stage.tensor for stage in model.stages] if isinstance(model, DenseFeatures) else []
    names = ["image"]
    example: tuple[Tensor, ...] = (torch.zeros(1, len(spec.bands), tile, tile),)
    # Detection runs on one image, with any number of objects.
    dynamic = outputs if spec.task == "detection" else ["image", *outputs]
    axis = "objects" if spec.task == "detection" else "batch"
    if spec.dates:
        names, axis, example = input_names(spec), "dates", _example(spec, tile)
        dynamic = names[:3]
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        # The newer exporter writes IR 10, which onnxruntime 1.17 does not support.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # decoders compare shapes in Python
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)  # also decoders
        warnings.filterwarnings("ignore", "To copy construct from a tensor", UserWarning)  # torchvision's detectors
        raw = Path(folder) / "raw.onnx"
        torch.onnx.export(
            model,
            example,
            str(raw),
            input_names=names,
            output_names=[*outputs, *stages],
            dynamic_axes={name: {0: axis} for name in dynamic},
            opset_version=OPSET,
            dynamo=False,
        )
        graph = onnx.load(raw)
    if stages:
        drop_stages(graph)
    if spec.task != "detection":  # whose number of objects is free
        state_shapes(graph, shapes)
    graph.ir_version = IR
    onnx.helper.set_model_props(graph, card)
    onnx.checker.check_model(graph)
    if graph.opset_import[0].version != OPSET:
        raise UserError(f"the exporter wrote opset {graph.opset_import[0].version} instead of {OPSET}")
    onnx.save(graph, str(path))


def state_shapes(graph: onnx.ModelProto, shapes: list[tuple[int, ...]]) -> None:
    """Write the shapes of the outputs, but for the batch, into a graph: whoever opens it need not run a tile to know them."""
    for output, shape in zip(graph.graph.output, shapes):
        for dimension, size in zip(output.type.tensor_type.shape.dim[1:], shape[1:], strict=True):
            dimension.dim_value = size


def _example(spec: ModelSpec, tile: int) -> tuple[Tensor, ...]:
    """Inputs to trace a network for series with."""
    series = torch.zeros(2, len(spec.bands), tile, tile), torch.ones(2, tile, tile, dtype=torch.bool), torch.ones(2)
    return series + (torch.zeros(tile, tile),) * (2 if spec.location else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export.to_onnx", description="Export a trained model to one ONNX file with its model card."
    )
    add = parser.add_argument
    add(
        "source",
        type=Path,
        nargs="?",
        metavar="RUN",
        help="folder of a pretrain or finetune run, or a safetensors file",
    )
    add("--out", type=Path, metavar="FILE.onnx", help="ONNX file to write")
    add(
        "--onefile", type=Path, metavar="MODEL.onnx",
        help="instead of a RUN: bring the weights of an ONNX file, which lie in other files of its folder, into one file "
        "(default of --out: MODEL.onefile.onnx)",
    )  # fmt: skip
    add("--task", choices=NETWORKS, help="expected task; 'embedding' exports the encoder of any model")
    add("--data", type=Path, metavar="STORE", help="chip store of training (default: from the run's config.yaml)")
    add(
        "--tile-size", type=int,
        help="rows = columns of the input in pixels (default: 512 for segmentation and with --dense, 256 for segmentation "
        "of a series of dates or with --int8, else the chip size)",
    )  # fmt: skip
    add(
        "--dense", action="store_true",
        help="export maps of an encoder's stages at strides 2, 4, 8 and 16, together at stride 4, instead of one vector "
        "per chip",
    )  # fmt: skip
    add(
        "--int8", action="store_true",
        help="quantise to 8-bit integers, calibrated on training places; compares accuracy and speed on held-out chips",
    )  # fmt: skip
    add(
        "--single-date", type=Path, metavar="FILE.onnx",
        help="of a model that reads a series of dates: also write its weights as a model of one date, for Deepness and other "
        "programs that know no series; less accurate",
    )  # fmt: skip
    add(
        "--day-of-year", type=int, metavar="N",
        help=f"with --single-date: the day of the year that it is made for, 1 to 366 (default: {SUMMER}, the middle)",
    )  # fmt: skip
    add("--force", action="store_true", help="with --int8: export even if it does not pay off")
    add("--name", help="title of the model (default: the file name)")
    return parser


def main(line: list[str] | None = None) -> int:
    """Parse the command line and export."""
    arguments = _parser().parse_args(line)
    onefile = vars(arguments).pop("onefile")

    def export() -> None:
        for option, path in (("--out", arguments.out), ("--single-date", arguments.single_date)):
            if path and path.suffix != ".onnx":
                raise UserError(f"{option} {path}: must end in .onnx")
        if onefile:
            others = [name for name, value in vars(arguments).items() if value and name != "out"]
            if others:
                raise UserError(f"--onefile stands alone, but for --out; leave {others[0].upper()} out")
            print(f"model: {one_file(onefile, arguments.out)}")
            return
        if not arguments.source or not arguments.out:
            raise UserError("give a RUN and --out FILE.onnx, or --onefile MODEL.onnx")
        if arguments.force and not arguments.int8:
            raise UserError("--force requires --int8")
        if arguments.day_of_year is not None:
            if not arguments.single_date:
                raise UserError("--day-of-year requires --single-date")
            if not 1 <= arguments.day_of_year <= 366:
                raise UserError(f"--day-of-year {arguments.day_of_year}: must be 1 to 366")
        difference = export_onnx(**vars(arguments))
        print(
            f"outputs of torch and onnxruntime on real chips: maximum difference {difference:.1e} (limit {TOLERANCE:g})"
        )
        for path in filter(None, (arguments.out, arguments.single_date)):
            print(f"model: {path}, card: {path.with_suffix('.mlm.json')}")

    try:
        return run_command(export)
    except RuntimeFault as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
