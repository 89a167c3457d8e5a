"""Speed of models that read a series of dates: ``python -m benchmarks.series.speed``.

Untrained networks as ``export.to_onnx`` writes them, and their parts as graphs of their own, run in onnxruntime on one thread,
in turns; times are those of the thread's own processor time, which other load does not lengthen much, the least of all
rounds. Reading of pixels is no part of them. Writes docs/benchmarks/series_speed.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.networks.encoders import ModelSpec
from core.networks.heads import build
from core.networks.series import SeriesClassifier, SeriesNetwork, SeriesSegmenter
from export.runtime.raster.legend import LandClass, palette

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks" / "series_speed.md"
DATES = 12
TARGET, HEAD = 12.5, 0.10
CASES = [  # architecture, task, px of a tile, how the dates are read
    (arch, task, tile, temporal)
    for temporal in ("composite", "attention")
    for task, tile in (("segmentation", 128), ("classification", 64))
    for arch in ("resnet18", "resnet10t")
]


class Maps(nn.Module):
    """The encoder on one date."""

    def __init__(self, network: SeriesNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """All that the head reads of it."""
        maps = self.network.maps(pixels)
        return tuple(maps[1:] if len(maps) > 1 else maps)


class Decoded(nn.Module):
    """What follows the pooled dates: one run of the decoder, or a linear layer."""

    def __init__(self, network: SeriesNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, *pooled: Tensor) -> Tensor:
        """Logits of the pyramid without its first map, or of features."""
        network = self.network
        if isinstance(network, SeriesSegmenter):
            image = pooled[0].new_zeros(1, 3, 2 * pooled[0].shape[2], 2 * pooled[0].shape[3])  # decoders ignore it
            decoded = network.upsampling(network.decoder([image, *pooled]))
            return network.head(F.pad(decoded, (0, 0, 0, 0, 0, network.more)))
        assert isinstance(network, SeriesClassifier)
        return network.head(F.pad(pooled[0].flatten(1), (0, network.more)))


def network_of(arch: str, task: str, tile: int, temporal: str) -> SeriesNetwork:
    """Untrained, with statistics as of Blue Marble."""
    classes = tuple(LandClass(number, f"class {number}", palette(number)) for number in range(12))
    spec = ModelSpec(
        task, arch, ("red", "green", "blue"), "8-bit colour", (0, 255), (80.0,) * 3, (60.0,) * 3, None, tile, classes,
        dates=DATES, temporal=temporal,
    )  # fmt: skip
    torch.manual_seed(0)
    network = build(spec).eval()
    assert isinstance(network, SeriesNetwork)
    return network


def runner(
    module: nn.Module, inputs: tuple[Tensor, ...], traced: tuple[Tensor, ...] | None = None
) -> Callable[[], Any]:
    """A call of the module's graph on these inputs; ``traced`` with fewer dates where their number is free."""
    names = [f"input_{number}" for number in range(len(inputs))]
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), traced or inputs, str(path), input_names=names, opset_version=17, dynamo=False,
            dynamic_axes={name: {0: "dates"} for name in names} if traced else None,
        )  # fmt: skip
        graph = path.read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    feed = {one.name: inputs[names.index(one.name)].numpy() for one in session.get_inputs()}
    return lambda: session.run(None, feed)


def measured(arch: str, task: str, tile: int, temporal: str, rounds: int) -> dict[str, float]:
    """Milliseconds: ``encoder`` of one date, ``encoders`` of all that it reads at once, ``decoder``, and the whole ``series``."""
    network = network_of(arch, task, tile, temporal)
    pixels = torch.rand(DATES, 3, tile, tile) * 255
    series = pixels, torch.rand(DATES, tile, tile) < 0.8, torch.linspace(1, 340, DATES)
    maps = Maps(network)
    with torch.no_grad():
        pooled = maps(pixels[:1])
    calls = {
        "encoder": runner(maps, (pixels[:1],)),
        "encoders": runner(maps, (pixels[:1] if network.composite else pixels,)),
        "decoder": runner(Decoded(network), pooled),
        "series": runner(network, series, tuple(part[:2] for part in series)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            for _ in range(4 if name in ("encoder", "decoder") else 1):
                before = time.thread_time()
                call()
                seconds[name].append(time.thread_time() - before)
    return {name: 1000 * min(times[1:]) for name, times in seconds.items()}


def row(case: tuple[str, str, int, str], ms: dict[str, float]) -> str:
    """Of the table."""
    arch, task, tile, temporal = case
    one, every, decoder, series = (ms[name] for name in ("encoder", "encoders", "decoder", "series"))
    head = series - every - decoder
    return (
        f"| {temporal}, {task}, {arch}, {tile} px | {one:.1f} | {every:.0f} | {decoder:.1f} | {series:.0f} | {series / one:.1f} | "
        f"{(series - decoder) / one:.1f} | {series / (one + decoder):.1f} | {100 * head / every:.1f} % |"
    )


def page(rows: list[str], rounds: int) -> str:
    """The text of the page."""
    return f"""# Speed of models that read a series of dates

`python -m benchmarks.series.speed`, {datetime.now(UTC):%Y-%m-%d}: untrained networks that read {DATES} dates, in
onnxruntime {onnxruntime.__version__} on one thread of a CPU; processor time, the least of {rounds} rounds in turns. Reading is not
included. The temporal head is what is left of a series without the encoder (on all dates at once, or on the one image of a composite)
and the decoder (for a class per place: a linear layer); it is compared with the encoder's part.

Targets: a series takes at most {TARGET:g} times the encoder's time of one date; the temporal head at most {HEAD:.0%} of the
encoder's. The ratios are those of the series to the encoder on one date, the same without the decoder, and of the series to a map
of one date (encoder and decoder, which runs once for a series too).

| network, tile | encoder (ms) | encoder in the series (ms) | decoder (ms) | series (ms) | to encoder | without decoder | to a map | head |
|---|---:|---:|---:|---:|---:|---:|---:|---:|
{chr(10).join(rows)}

Memory and time of whole runs, reading included: [docs/series.md](../series.md#memory).
"""


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.series.speed", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    rows = []
    for case in CASES:
        rows.append(row(case, measured(*case, given.rounds)))
        print(rows[-1], flush=True)
    given.page.write_text(page(rows, given.rounds))


if __name__ == "__main__":
    main()
