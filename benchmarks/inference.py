"""Benchmark of batch prediction: ``python -m benchmarks.inference``; writes docs/benchmarks/inference.md.

U-Net ResNet-18, 5 classes, 512 px tiles, 15 % overlap, on a deflate-compressed uint8 RGB raster. Measures in turns the
whole process of ``export.predict``, onnxruntime alone on the same tiles in its own process, and the loops that a user
would write instead, so that the ratios do not depend on the load of the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks" / "inference.md"
TILE, OVERLAP, CLASSES = 512, 77, 5
PEERS = {
    "loop": "rasterio windows in a loop, onnxruntime, tiles cropped",
    "torch": "the same loop, torch on the same weights",
    "torchgeo": "torchgeo's grid sampler, torch on the same weights",
}


def main() -> None:
    """Measure and write the page; with ``--child`` do one of the things that are measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference", description="Speed and memory of prediction."
    )
    parser.add_argument("--side", type=int, default=4096, help="rows and columns of the raster (default: 4096)")
    parser.add_argument("--large", type=int, default=16384, help="side of the raster whose memory is measured; 0: none")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions (default: 3)")
    parser.add_argument("--predict", default="", help="further options of export.predict, e.g. '--tta'")
    parser.add_argument("--peers", action="store_true", help="also measure the loops that a user would write")
    parser.add_argument(
        "--real",
        nargs=2,
        type=Path,
        metavar=("MODEL", "RASTER"),
        help="also compare classes with those of the CPU in fp32",
    )
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _child(*arguments.child)
        return
    with tempfile.TemporaryDirectory() as name:
        text = _measure(Path(name), arguments)
    print(text)
    arguments.page.parent.mkdir(parents=True, exist_ok=True)
    arguments.page.write_text(text)


def _measure(folder: Path, arguments: argparse.Namespace) -> str:
    from export.runtime.model.devices.known import fast_units
    from export.runtime.model.providers import provider_of
    from export.runtime.raster.window import TileGrid

    _python("--child", "model", folder)  # torch stays out of this process
    model = folder / "unet.onnx"
    raster = write_raster(folder / "raster.tif", arguments.side)
    tiles = len(TileGrid(arguments.side, arguments.side, TILE, OVERLAP))
    options = arguments.predict.split()
    peers = list(PEERS) if arguments.peers else []
    item = folder / "out" / "raster.stac.json"
    kinds = ("help", "exact", "first", "auto", "bare", "bare auto", *peers)
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    memory: dict[str, list[float]] = {kind: [] for kind in kinds}
    predict = ["-m", "export.predict", model, raster, "--out", folder / "out", *options]
    for number in range(arguments.rounds):
        os.environ["XDG_CACHE_HOME"] = str(folder / f"cache{number}")  # where auto keeps what it found
        for kind in kinds:
            if kind.startswith("bare"):
                runner = provider_of(_run_by(item)["provider"]) if kind == "bare auto" else ("cpu", "fp32")
                seconds[kind].append(float(_python("--child", "bare", model, tiles, *runner)))
                continue
            command = {"help": ["-m", "export.predict", "--help"], "exact": [*predict, "--exact"]}.get(kind)
            command = command or (
                ["-m", "benchmarks.inference", "--child", kind, folder, raster] if kind in PEERS else predict
            )
            took, peak, said = run(command)
            seconds[kind].append(float(said) if kind in PEERS else took)
            memory[kind].append(peak)
    start = median(seconds["help"])
    took = {
        kind: median(values) - (start if kind in ("exact", "first", "auto") else 0) for kind, values in seconds.items()
    }
    facts = _run_by(item)
    names = {
        "bare": "onnxruntime alone, the same tiles",
        "exact": "`export.predict --exact`",
        "bare auto": f"{facts['provider']} alone, the same tiles",
        "first": "`export.predict`, the first time with this raster",
        "auto": "`export.predict` again",
        **PEERS,
    }
    lines = [
        "# Batch prediction",
        "",
        f"Made by `python -m benchmarks.inference {shlex.join(sys.argv[1:])}`: U-Net ResNet-18, {CLASSES} classes, "
        f"{TILE} px tiles, {OVERLAP} px overlap, its file states the shape of its answer as those of `export.to_onnx` do; "
        f"{arguments.side} x {arguments.side} uint8 RGB in deflate: {tiles} tiles; "
        f"{os.cpu_count()} CPU cores ({' '.join(fast_units())}); medians of {arguments.rounds} interleaved rounds. The time of "
        f"`export.predict --help` is subtracted from that of whole processes ({start:.1f} s); the others count from when their packages "
        "are imported and their model is loaded.",
        "",
        f"`--provider auto`: {facts['chosen']}.",
        "",
        "| what | seconds | speed, `--exact` is 1 | peak memory |",
        "|---|---|---|---|",
    ]
    for kind in ("bare", "exact", "bare auto", "first", "auto", *peers):
        peak = f"{median(memory[kind]):.0f} MB" if memory[kind] else ""
        lines.append(f"| {names[kind]} | {took[kind]:.1f} | {took['exact'] / took[kind]:.2f} | {peak} |")
    if arguments.large:
        raster = folder / "large.tif"
        _python("--child", "raster", raster, arguments.large)  # a process counts the memory of the one that started it
        whole, peak, _ = run(["-m", "export.predict", model, raster, "--out", folder / "out", *options])
        many = len(TileGrid(arguments.large, arguments.large, TILE, OVERLAP))
        speed = took["exact"] / tiles * many / (whole - start)
        lines.append(
            f"| `export.predict`, {arguments.large} x {arguments.large}, {many} tiles | {whole - start:.1f} | {speed:.2f} | {peak:.0f} MB |"
        )
    if arguments.real:
        lines += ["", _same(folder, *arguments.real, options)]
    return "\n".join(lines) + "\n"


def _run_by(item: Path) -> dict[str, str]:
    """What ran a map, and why."""
    return json.loads(item.read_text())["properties"]["geoaware:run_by"]


def _same(folder: Path, model: Path, raster: Path, options: list[str]) -> str:
    """How many pixels of a real raster get the class that the CPU gives them in fp32."""
    import rasterio

    maps = []
    for name, chosen in (("cpu", ["--exact"]), ("given", options)):
        run(["-m", "export.predict", model.resolve(), raster.resolve(), "--out", folder / name, *chosen])
        with rasterio.open(folder / name / f"{raster.stem}.tif") as source:
            maps.append(source.read(1, masked=True))
    equal = (maps[0] == maps[1]).compressed()
    return f"On a real image (`{model.name}`, `{raster.name}`) {100 * equal.mean():.2f} % of {equal.size:,} pixels get the class of the CPU in fp32."


def write_raster(path: Path, side: int) -> Path:
    """A square raster of 8-bit colour in deflate, 512 px blocks, 10 m; smooth shapes with noise of 4 bits."""
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    rng, waves = np.random.default_rng(0), _waves(side)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "height": side, "width": side, "tiled": True}
    place = {"crs": "EPSG:32633", "transform": from_origin(0, 0, 10, 10), "blockxsize": 512, "blockysize": 512}
    with rasterio.open(path, "w", compress="deflate", bigtiff="IF_SAFER", **profile, **place) as target:
        for top in range(0, side, 512):
            rows = min(512, side - top)
            pixels = _smooth(waves, slice(top, top + rows)) + rng.integers(0, 16, (3, rows, side))
            target.write(pixels.astype(np.uint8), window=Window(0, top, side, rows))
    return path


def _waves(side: int) -> np.ndarray:
    return np.sin(np.arange(side)[None] / np.array([[97.0], [151.0], [211.0]]))


def _smooth(waves: np.ndarray, rows: slice) -> np.ndarray:
    """(3, rows, side) of the raster without its noise."""
    return 120 + 50 * waves[:, None, :] + 50 * waves[::-1, rows, None]


def run(command: list) -> tuple[float, float, str]:
    """Seconds and peak memory (MB) of a Python process, and what it printed."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        child = subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, stdout=said, stderr=errors)
        _, status, usage = os.wait4(child.pid, 0)
        took = time.perf_counter() - start
        child.returncode = status
        for file in (said, errors):
            file.seek(0)
        if status:
            reason = errors.read().decode(errors="replace")[-2000:]
            raise SystemExit(f"{' '.join(map(str, command))} failed:\n{reason}")
        return took, usage.ru_maxrss / 1024, said.read().decode()


def _python(*arguments: object) -> str:
    command = [sys.executable, "-m", "benchmarks.inference", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


# What runs in processes of its own


def _child(kind: str, *arguments: str) -> None:
    if kind == "model":
        _write_model(Path(arguments[0]))
    elif kind == "raster":
        write_raster(Path(arguments[0]), int(arguments[1]))
    elif kind == "bare":
        print(_bare(Path(arguments[0]), int(arguments[1]), arguments[2], arguments[3]))
    else:
        peer = {"loop": _loop, "torch": _torch, "torchgeo": _torchgeo}[kind]
        start = peer(Path(arguments[0]), Path(arguments[1]))
        print(time.perf_counter() - start)


def _unet():  # type: ignore[no-untyped-def]
    import segmentation_models_pytorch as smp
    import torch

    class Probabilities(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = smp.Unet("resnet18", encoder_weights=None, classes=CLASSES)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.network((pixels - 120) / 60).softmax(dim=1)

    torch.manual_seed(0)
    return Probabilities().eval()


def _trained(network):  # type: ignore[no-untyped-def]
    """The network, trained to tell five levels of the raster's red without its noise."""
    import torch

    rng, waves, steps = np.random.default_rng(1), _waves(4096), 60
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    network.train()
    for _ in range(steps):
        images, labels = [], []
        for top, left in rng.integers(0, 4096 - 192, (4, 2)):
            smooth = _smooth(waves, slice(top, top + 192))[:, :, left : left + 192]
            images.append((smooth + rng.integers(0, 16, smooth.shape)).astype(np.uint8))
            labels.append(((smooth[0] - 20) / 200 * CLASSES).clip(0, CLASSES - 1))
        said = network(torch.from_numpy(np.stack(images)).float()).clamp_min(1e-6).log()
        loss = torch.nn.functional.nll_loss(said, torch.from_numpy(np.stack(labels)).long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def _write_model(folder: Path) -> None:
    """``unet.onnx`` with a card, and ``unet.pt``: trained for a minute, so that its classes mean something where precisions differ."""
    import warnings

    import onnx
    import torch

    from export.to_onnx import state_shapes

    network = _trained(_unet())
    torch.save(network.state_dict(), folder / "unet.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the newer exporter writes IR 10
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, TILE, TILE),),
            str(folder / "unet.onnx"),
            opset_version=17,
            dynamo=False,
            input_names=["pixels"],
            output_names=["probabilities"],
            dynamic_axes={"pixels": {0: "batch"}, "probabilities": {0: "batch"}},
        )
    graph = onnx.load(folder / "unet.onnx")
    state_shapes(graph, [(1, CLASSES, TILE, TILE)])
    onnx.save(graph, folder / "unet.onnx")
    card = {
        "task": "segmentation",
        "bands": ["red", "green", "blue"],
        "unit": "8-bit colour, 0 to 255",
        "value_range": [0, 255],
        "classes": [f"class {number}" for number in range(CLASSES)],
        "tile_size": TILE,
        "overlap": OVERLAP,
        "activation": "softmax",
        "gsd": 10,
    }
    (folder / "unet.card.json").write_text(json.dumps(card))


def _bare(model: Path, tiles: int, provider: str, precision: str) -> float:
    """Seconds for so many tiles in onnxruntime or OpenVINO, with their own settings, after one to warm up."""
    import onnxruntime

    from export.runtime.model.devices.openvino import PRECISIONS, is_openvino
    from export.runtime.model.providers import chosen, provider_options

    name = chosen(provider)
    if is_openvino(name):
        return _bare_openvino(model, tiles, PRECISIONS[precision])
    settings = provider_options(name, precision)
    session = onnxruntime.InferenceSession(str(model), providers=[name], provider_options=[settings])
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, TILE, TILE)).astype(np.float32)
    session.run(None, {"pixels": pixels})
    start = time.perf_counter()
    for _ in range(tiles):
        session.run(None, {"pixels": pixels})
    return time.perf_counter() - start


def _bare_openvino(model: Path, tiles: int, precision: str) -> float:
    from export.runtime.model.devices.openvino import silently_imported

    openvino = silently_imported()
    core = openvino.Core()
    graph = core.read_model(str(model))
    graph.reshape([1, 3, TILE, TILE])
    hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": precision}
    queue = openvino.AsyncInferQueue(core.compile_model(graph, "CPU", hints))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, TILE, TILE)).astype(np.float32)
    for count in (len(queue), tiles):
        start = time.perf_counter()
        for _ in range(count):
            queue.start_async({0: pixels})
        queue.wait_all()
    return time.perf_counter() - start


def _starts(side: int) -> list[int]:
    return [*range(0, side - TILE, TILE - OVERLAP), side - TILE]


def _windows(raster: Path, out: Path) -> Iterator[tuple]:
    """Each tile's pixels (1, 3, TILE, TILE) float32, and a function that writes its classes."""
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(raster) as source:
        profile = {**source.profile, "count": 1, "compress": "deflate"}
        with rasterio.open(out, "w", **profile) as target:
            for top in _starts(source.height):
                for left in _starts(source.width):
                    window = Window(left, top, TILE, TILE)

                    def write(classes: np.ndarray, where: Window = window) -> None:
                        target.write(classes.astype(np.uint8), 1, window=where)

                    yield source.read(window=window)[None].astype(np.float32), write


# Each gives the moment when all is imported and loaded.


def _loop(folder: Path, raster: Path) -> float:
    import onnxruntime
    import rasterio  # noqa: F401  before the clock starts

    session = onnxruntime.InferenceSession(str(folder / "unet.onnx"), providers=["CPUExecutionProvider"])
    start = time.perf_counter()
    for pixels, write in _windows(raster, folder / "loop.tif"):
        write(session.run(None, {"pixels": pixels})[0][0].argmax(axis=0))
    return start


def _torch_model(folder: Path):  # type: ignore[no-untyped-def]
    import torch

    network = _unet()
    network.load_state_dict(torch.load(folder / "unet.pt", weights_only=True))
    return network


def _torch(folder: Path, raster: Path) -> float:
    import rasterio  # noqa: F401  before the clock starts
    import torch

    network = _torch_model(folder)
    start = time.perf_counter()
    with torch.inference_mode():
        for pixels, write in _windows(raster, folder / "torch.tif"):
            write(network(torch.from_numpy(pixels))[0].argmax(dim=0).numpy())
    return start


def _torchgeo(folder: Path, raster: Path) -> float:
    """As its documentation shows it: a dataset, a grid sampler, a data loader; the map in memory."""
    import rasterio
    import torch
    from torch.utils.data import DataLoader
    from torchgeo.datasets import RasterDataset, stack_samples
    from torchgeo.samplers import GridGeoSampler

    network = _torch_model(folder)
    start = time.perf_counter()
    with rasterio.open(raster) as source:
        profile, transform = {**source.profile, "count": 1}, source.transform
    result = np.zeros((profile["height"], profile["width"]), np.uint8)
    dataset = RasterDataset(paths=[str(raster)])
    sampler = GridGeoSampler(dataset, size=TILE, stride=TILE - OVERLAP)
    with torch.inference_mode():
        for sample in DataLoader(dataset, batch_size=1, sampler=sampler, collate_fn=stack_samples):
            classes = network(sample["image"].float())[0].argmax(dim=0).numpy().astype(np.uint8)
            box = sample["bounds"][0]
            west, north = (float(box[0]), float(box[4])) if len(box) > 4 else (float(box[0].start), float(box[1].stop))
            left, top = (round(v) for v in ~transform @ (west, north))
            part = result[max(top, 0) : top + TILE, max(left, 0) : left + TILE]
            part[:] = classes[-min(top, 0) :, -min(left, 0) :][: part.shape[0], : part.shape[1]]
    with rasterio.open(folder / "torchgeo.tif", "w", **profile) as target:
        target.write(result, 1)
    return start


if __name__ == "__main__":
    main()
