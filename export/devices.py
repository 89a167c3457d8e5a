"""What can run models on this computer: ``python -m export.devices [MODEL.onnx]``.

Lists the processor, what is installed with its devices, and what could be installed for others; with a model how many tiles a
second each of them runs, on noise. Nothing is changed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from export.fit import run
from export.runtime.errors import ModelFault
from export.runtime.model.devices.known import processor
from export.runtime.model.devices.openvino import is_installed, is_openvino, reduced_precisions
from export.runtime.model.devices.plugins import installed, plugin_devices
from export.runtime.model.providers import available, candidates, cores, onnxruntime_module, runner_of
from export.runtime.model.session import Model
from export.wording import words

# What is worth installing: for which devices, the package, and its size with what it needs (2026).
PACKAGES = (
    ("CPUs, GPUs and NPUs of Intel, CPUs of others", "openvino", "60 MB"),
    ("any GPU, through Vulkan, Direct3D 12 or Metal", "onnxruntime-ep-webgpu", "7 MB"),
    ("GPUs of NVIDIA from the RTX series on", "onnxruntime-ep-nv-tensorrt-rtx", "150 MB"),
    ("NPUs of Qualcomm", "onnxruntime-qnn", "100 MB"),
)
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimd", "bf16")
_SECONDS = 2.0  # of each measurement


def main() -> int:
    """Parse the command line and list; 2 after bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m export.devices", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "model", type=Path, nargs="?", metavar="MODEL.onnx", help="also measure the speed of this model"
    )
    arguments = parser.parse_args()

    def work() -> None:
        for line in listed():
            print(line, flush=True)
        if arguments.model:
            print()
            for line in measured(arguments.model):
                print(line, flush=True)

    return run(work)


def listed() -> Iterator[str]:
    """What is there, and what could be."""
    onnxruntime = onnxruntime_module()
    yield f"processor: {processor()[0]}, cores used: {cores()}; {' '.join(flags())}".rstrip("; ")
    yield f"onnxruntime {onnxruntime.__version__}: {', '.join(onnxruntime.get_available_providers())}"
    for plugin in installed():
        yield f"{plugin.replace('_', '-')}: installed"
    for provider, devices in plugin_devices(onnxruntime).items():
        kinds = sorted({f"{one.device.type.name} of {one.device.vendor}" for one in devices})
        yield f"  {provider}: {', '.join(kinds)}"
    if is_installed():
        for provider in filter(is_openvino, available()):
            yield f"{provider}: {', '.join([*reduced_precisions(provider), 'fp32'])}"
    yield f"--provider auto chooses among: {', '.join(available())}"
    there = {"openvino"} if is_installed() else set()
    there |= {name.replace("_", "-") for name in installed()}
    left = [one for one in PACKAGES if one[1] not in there]
    if left:
        yield "not installed:"
    for what, package, size in left:
        yield f"  pip install {package}  ({size}; {what})"


def measured(path: Path) -> Iterator[str]:
    """Tiles a second of a model on each provider, all cores at work, on noise; the CPU in fp32 first.

    Raises:
        ModelFault: the model is refused.
    """
    model = Model(path, "cpu")
    if model.card.dates or model.card.task == "detection":
        raise ModelFault.worded(f"{path}: only models of one date that are no detectors are measured")
    speed = slowest = _speed(model)
    yield f"{model.card.name}, tiles of {model.card.tile_size} px"
    yield f"  {model.runner}: {speed:.1f} tiles/s"
    for provider, precision in candidates():
        try:
            speed = _speed(model.on(provider, precision))
        except ModelFault as fault:
            yield f"  {runner_of(provider, precision)}: {words(fault)}"
            continue
        yield f"  {runner_of(provider, precision)}: {speed:.1f} tiles/s, {speed / slowest:.1f} x"


def _speed(model: Model) -> float:
    low, high = model.card.value_range
    side, bands = model.card.tile_size, len(model.card.bands)
    tiles = np.random.default_rng(0).uniform(low, high, (model.batch, bands, side, side)).astype(np.float32)
    with ThreadPoolExecutor(model.threads) as pool:
        list(pool.map(model.run, [tiles] * model.threads))  # the first calls are slow
        done, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < _SECONDS:
            list(pool.map(model.run, [tiles] * model.threads * 2))
            done += 2 * model.threads * model.batch
        return done / (time.perf_counter() - begun)


def flags() -> list[str]:
    """What the processor has of the units that make models faster."""
    return [flag for flag in _FLAGS if flag in processor()[1]]


if __name__ == "__main__":
    raise SystemExit(main())
