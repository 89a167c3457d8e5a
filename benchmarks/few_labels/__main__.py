"""Benchmark of maps from a few labels: ``python -m benchmarks.few_labels accuracy --dubai folder ...``.

Writes its part of docs/benchmarks/few_labels.md; results are kept in ``--work``, and what is there is not measured again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.few_labels import accuracy, page
from benchmarks.few_labels.scenes import Scene, dubai, eurosat, terramind

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Measure one part and write it into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.few_labels", description=__doc__.split(":")[0])
    parser.add_argument("--page", type=Path, default=page.PAGE, help="(default: docs/benchmarks/few_labels.md)")
    parts = parser.add_subparsers(dest="part", required=True)
    of_accuracy = parts.add_parser(
        "accuracy", help="accuracy beside random forests, on scenes whose every pixel is known"
    )
    of_accuracy.add_argument("--dubai", type=Path, help="folder of the aerial images of Dubai and their masks")
    of_accuracy.add_argument("--terramind", type=Path, help="folder with LULC and S2RGB")
    of_accuracy.add_argument("--eurosat", type=Path, help="folder of EuroSAT's RGB chips and their splits")
    of_accuracy.add_argument(
        "--encoder", action="append", default=[], metavar="NAME=MODEL", help="dense encoder; repeat for several"
    )
    of_accuracy.add_argument("--scenes", type=int, default=16, help="images of Dubai (default: %(default)s)")
    of_accuracy.add_argument("--draws", type=int, default=3, help="draws of labels (default: %(default)s)")
    of_accuracy.add_argument(
        "--work", type=Path, default=ROOT / "build" / "few_labels", help="(default: build/few_labels)"
    )
    arguments = parser.parse_args()
    encoders = {name: Path(model) for name, _, model in (text.partition("=") for text in arguments.encoder)}
    accuracy.measure(_scenes(arguments), encoders, arguments.draws, arguments.work / "accuracy.jsonl")
    page.write(arguments.page, "Accuracy", accuracy.lines(accuracy.results(arguments.work / "accuracy.jsonl")))


def _scenes(arguments: argparse.Namespace) -> list[tuple[str, Scene]]:
    found: list[tuple[str, Scene]] = []
    if arguments.terramind:
        found += [("Sentinel-2", scene) for scene in terramind(arguments.terramind)]
    if arguments.dubai:
        found += [("Dubai", scene) for scene in dubai(arguments.dubai, arguments.scenes)]
    if arguments.eurosat:
        found += [("EuroSAT", scene) for scene in eurosat(arguments.eurosat)]
    return found


if __name__ == "__main__":
    main()
