"""What can run models on this computer: ``python -m export.devices [MODEL.onnx]``.

Lists the processor, what is installed with its devices, and what could be installed for others; with a model how many tiles a
second each of them runs, on noise. Nothing is changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from export.fit import run
from export.runtime.amounts import size_text
from export.runtime.infer.timing.speed import speeds
from export.runtime.model.devices.known import fast_units, processor
from export.runtime.model.devices.packages import installable
from export.runtime.model.providers import available, cores, libraries
from export.runtime.model.session import Model
from export.wording import words


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
    yield f"processor: {processor()[0]}, cores used: {cores()}; {' '.join(fast_units())}".rstrip("; ")
    there = libraries()
    for library in there:
        yield f"{library.title}{f': {words(library.fault)}' if library.fault else ''}"
        for one in library.providers:
            device = f" ({one.device})" if one.device else ""
            yield f"  {one.name}{device}: {', '.join(one.precisions) or 'not tried: a CPU only'}"
    if any(library.providers for library in there if library.name == "onnxruntime"):
        yield f"--provider auto chooses among: {', '.join(available())}"
    left = installable()
    if left:
        yield "not installed:"
    for package in left:
        yield f"  pip install {package.name}  ({size_text(package.download)}; {words(package.use)})"


def measured(path: Path) -> Iterator[str]:
    """Tiles a second of a model on each provider, all cores at work, on noise; the CPU in fp32 first.

    Raises:
        ModelFault: the model is refused.
    """
    model = Model(path, "cpu")
    dates = f" and {model.trial_dates} dates" if model.trial_dates else ""
    yield f"{model.card.name}, tiles of {model.card.tile_size} px{dates}"
    for speed in speeds(model):
        if speed.fault:
            yield f"  {speed.runner}: {words(speed.fault)}"
        else:
            yield f"  {speed.runner}: {speed.tiles:.1f} tiles/s, {speed.ratio:.1f} x"


if __name__ == "__main__":
    raise SystemExit(main())
