"""Part 4: a U-Net, trained and exported here, over a raster in memory: each provider's speed through the pipeline and alone.

The pipeline is that of ``export.predict`` between reading and writing: tiles read ahead, run in batches, blended, decided.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from benchmarks.gpu.chips import world
from benchmarks.gpu.notes import Notes, Setup
from core.networks.encoders import Encoder, ModelSpec
from core.networks.weights import save_model
from core.store.read import ChipStore
from core.training.finetune import finetune
from export.runtime.errors import RuntimeFault
from export.runtime.infer.sweep import Scan, Sweep, sweep
from export.runtime.model.providers import BATCHED, CPU, provider_options
from export.runtime.model.session import Model
from export.runtime.raster.window import Read, TileGrid, Window
from export.to_onnx import export_onnx

ROOT = Path(__file__).parents[2]
TRIED = (("cuda", "fp32"), ("cuda", "fp16"), ("tensorrt", "fp32"), ("tensorrt", "fp16"))
OVERLAP = 0.15  # of a tile


def measure(setup: Setup, notes: Notes) -> None:
    """Make the model; run it on each provider; compare with the CPU's classes."""
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA's libraries come with torch's packages
    notes.add(onnxruntime=onnxruntime.__version__, providers=onnxruntime.get_available_providers())
    side, tile, small = (256, 64, 192) if setup.small else (8192, 512, 1024)
    model = _model(setup, notes, tile)
    image = _image(setup, side)
    part = image[:, :small, :small]
    with notes.attempt("cpu"):
        cpu = Model(model, "cpu")
        expected, seconds = _classes(cpu, part)
        notes.add(cpu={"MPx/s": round(small**2 / 1e6 / seconds, 2), "threads": cpu.threads})
    first = "cpu" if setup.small else "cuda"
    with notes.attempt(f"{first} in a process without torch"):
        code = f"from export.runtime.model.session import Model; print(Model({str(model)!r}, {first!r}).provider)"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().split("\n")[-1])
        notes.add(without_torch=done.stdout.strip())
    with notes.attempt("torch"):
        notes.add(torch=_torch(setup, tile))
    for provider, precision in [("cpu", "fp32")] if setup.small else TRIED:
        with notes.attempt(f"{provider} {precision}"):
            try:
                runner = Model(model, provider, precision=precision)
            except RuntimeFault as fault:
                raise RuntimeError(f"refused: {fault}") from fault
            classes, _ = _classes(runner, part)  # starts it too
            bare = _bare(model, runner, 3 if setup.small else 40)
            _, seconds = _classes(runner, image)
            speed = side**2 / 1e6 / seconds
            tiles = len(TileGrid(side, side, tile, int(OVERLAP * tile)))
            alone = bare * side**2 / tiles / tile**2  # of the raster's pixels: overlapping ones count once
            notes.add(**{f"{provider}_{precision}": {
                "MPx/s": round(speed, 2), "bare_MPx/s": round(alone, 2), "of_bare": round(speed / alone, 3),
                "pixels_of_the_cpu": round(float((classes == expected).mean()), 6), "batch": runner.batch,
            }})  # fmt: skip


def _model(setup: Setup, notes: Notes, tile: int) -> Path:
    """A U-Net of two epochs on generated land, as one ONNX file."""
    store = ChipStore(world(setup.work / "land", 40 if setup.small else 400, 64))
    encoder, spec = setup.work / "encoder.safetensors", ModelSpec.of_store(store, setup.arch)
    torch.manual_seed(0)
    save_model(encoder, spec, Encoder(spec))
    began = time.monotonic()
    trained = finetune(
        store.path, str(encoder), setup.work / "map", epochs=2, batch_size=16, device=setup.device, overwrite=True
    )
    if trained is None:
        raise RuntimeError("fine-tuning was stopped")
    tuned, began = time.monotonic() - began, time.monotonic()
    path = setup.work / "map.onnx"
    difference = export_onnx(trained, path, tile_size=tile)
    notes.add(fine_tuning_seconds=round(tuned, 1), export_seconds=round(time.monotonic() - began, 1),
              torch_minus_onnx=float(difference), megabytes=round(path.stat().st_size / 1e6, 1))  # fmt: skip
    return path


def _image(setup: Setup, side: int) -> np.ndarray:
    """(3, side, side) uint8: land in patches of 64 px, with noise."""
    rng = np.random.default_rng(1)
    colours = np.array([[60, 120, 40], [180, 150, 90], [40, 60, 160]], np.uint8)
    kinds = rng.integers(0, 3, (side // 64 + 1, side // 64 + 1)).repeat(64, axis=0).repeat(64, axis=1)[:side, :side]
    image = np.ascontiguousarray(colours[kinds].transpose(2, 0, 1))
    image += np.frombuffer(rng.bytes(image.size), np.uint8).reshape(image.shape) >> 4
    return image


def _reader(image: np.ndarray) -> Read:
    def read(window: Window) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = (
            slice(window.row, window.row + window.height),
            slice(window.column, window.column + window.width),
        )
        return image[:, rows, columns].astype(np.float32), np.ones((window.height, window.width), bool)

    return read


def _classes(model: Model, image: np.ndarray) -> tuple[np.ndarray, float]:
    """The map of an image, and the seconds it took."""
    side = model.card.tile_size
    scan = Scan(model, _reader(image), *image.shape[1:], Sweep(overlap=int(OVERLAP * side)))
    began = time.perf_counter()
    classes = np.concatenate([rows.classes for rows in sweep(scan)])
    return classes, time.perf_counter() - began


def _bare(path: Path, model: Model, calls: int) -> float:
    """MPx/s of onnxruntime alone on the same batches, input and output in the memory of the host."""
    side, name = model.card.tile_size, model.provider
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if name == CPU:
        options.intra_op_num_threads = model.threads
    settings = [provider_options(name, model.precision)]
    session = onnxruntime.InferenceSession(str(path), options, providers=[name], provider_options=settings)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (BATCHED.get(name, 1), len(model.card.bands), side, side)).astype(np.float32)
    return _speed(lambda: session.run(None, {session.get_inputs()[0].name: pixels}), pixels.size / 3, calls)


def _torch(setup: Setup, tile: int) -> dict[str, float]:
    """MPx/s of the same architecture in torch on the device: what the hardware gives without onnxruntime."""
    import segmentation_models_pytorch as smp

    network = (
        smp.Unet(setup.arch, encoder_weights=None, classes=3).to(setup.device).to(memory_format=torch.channels_last)
    )
    network.eval()
    found = {}
    kinds = (
        {"fp32": torch.float32}
        if setup.small
        else {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    )
    for name, kind in kinds.items():
        batch = 1 if setup.small else 16
        pixels = torch.randn(batch, 3, tile, tile, device=setup.device).to(memory_format=torch.channels_last)

        def step() -> None:
            with torch.inference_mode(), torch.autocast(setup.device, kind, enabled=kind != torch.float32):  # noqa: B023
                network(pixels)  # noqa: B023
            if setup.device == "cuda":
                torch.cuda.synchronize()

        found[f"{name}_MPx/s"] = round(_speed(step, batch * tile**2, 3 if setup.small else 20), 2)
    return found


def _speed(call: Callable[[], object], pixels: float, calls: int) -> float:
    """MPx/s after three calls to warm up."""
    for _ in range(3):
        call()
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return calls * pixels / 1e6 / (time.perf_counter() - began)
