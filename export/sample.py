"""``python -m export.sample``: a stratified random sample of a map, to be labelled and assessed. Needs no torch."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from export.assess import category_names
from export.fit import run, warn
from export.rasterio_io.pixels import RasterPixels
from export.rasterio_io.run import shown_on
from export.rasterio_io.vectors import PyogrioVectors
from export.runtime.errors import InputFault
from export.runtime.files import Staging, clear_leftovers, taken
from export.runtime.infer.class_map import ClassMap
from export.runtime.sampling.design import EXPECTED, MOST_BUFFER, Wanted
from export.runtime.sampling.draw import Drawn, draw
from export.runtime.sampling.sample_file import check_replaces_no_answers, summary, write_sample

DESCRIPTION = """Draws a random sample of a map of classes, for assessing its accuracy and the areas of its classes. Each class is a
stratum; on a map of change (classes named "A to B", or those of --change) the pixels around change are one too, since
that is where change is missed. Sizes: Neyman's allocation for a standard error of the overall accuracy, and at least
--least points a stratum."""
EPILOG = """Writes a GeoPackage with the points in random order, the strata, their areas and all settings. Label its field "class" (in
QGIS: Raster > GeoAware > Label a sample), then: python -m export.assess --reference OUT.gpkg. The same map, settings and
seed give the same points. Exit code: 0 done, 2 invalid input, 130 interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m export.sample", description=DESCRIPTION, epilog=EPILOG)
    add, default = parser.add_argument, Wanted()
    add("map", type=Path, metavar="MAP", help="raster of classes, as export.predict or export.change writes it")
    add("--out", type=Path, required=True, metavar="OUT.gpkg", help="file to write")
    add("--change", nargs="+", metavar="CLASS", help="names or values of the classes that are change (default: A to B)")
    add(
        "--buffer", type=int, default=default.buffer, metavar="PX",
        help=f"width of the stratum around change, 0 for none, at most {MOST_BUFFER} (default: %(default)s)",
    )  # fmt: skip
    add(
        "--accuracy", nargs="+", default=[], metavar="[CLASS=]SHARE",
        help="expected user's accuracies, of all classes or of one; the buffer's is that of 'buffer' "
        f"(default: {EXPECTED['change']} of change, {EXPECTED['stable']} of all else)",
    )  # fmt: skip
    add(
        "--error",
        type=float,
        default=default.error,
        help="standard error of the overall accuracy (default: %(default)s)",
    )
    add("--least", type=int, default=default.least, help="points of a stratum, at least (default: %(default)s)")
    add(
        "--distance",
        type=float,
        default=default.distance,
        metavar="METRES",
        help="between points, at least (default: 0)",
    )
    add("--seed", type=int, default=default.seed, help="of the draw (default: %(default)s)")
    return parser


def _accuracy(texts: list[str]) -> dict[str, float]:
    found = {}
    for text in texts:
        name, _, share = text.rpartition("=")
        try:
            found[name] = float(share)
        except ValueError as error:
            raise InputFault.worded(f"--accuracy {text}: write 0.9, or NAME=0.9 for one class") from error
    return found


def sample(path: Path, out: Path, wanted: Wanted) -> Drawn:
    """Draw a sample of a map and write its file.

    Raises:
        InputFault: the map cannot be read or has no such classes, or the file cannot be written; nothing was written.
    """
    where = str(path.absolute() if path.exists() else path)  # QGIS has another working folder
    with closing(RasterPixels(path)) as pixels:
        if taken([out], pixels.members()):
            raise InputFault("overwrites_input", where=out, source=path)
        check_replaces_no_answers(out)
        classes = ClassMap(pixels, category_names(path, pixels.files))
        with tqdm(desc=out.stem, total=1000, disable=None, bar_format="{l_bar}{bar}| {elapsed}") as bar:
            drawn = draw(classes, wanted, shown_on(bar))
        clear_leftovers(out.parent)
        with Staging(out.parent) as staging:
            write_sample(
                staging.keep(out.name), drawn, classes.names, _colors(pixels), pixels.grid, where, PyogrioVectors()
            )
            staging.commit()
    return drawn


def _colors(pixels: RasterPixels) -> dict[int, str]:
    try:
        colors = pixels.dataset.colormap(1)
    except ValueError:
        return {}
    return {value: f"{red:02X}{green:02X}{blue:02X}" for value, (red, green, blue, alpha) in colors.items() if alpha}


def main() -> int:
    """Parse the command line and draw; 2 after bad input."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.out.suffix.lower() != ".gpkg":
        parser.error(f"--out {arguments.out}: must end with .gpkg")

    def work() -> None:
        change = tuple(arguments.change) if arguments.change else None
        numbers = arguments.buffer, _accuracy(arguments.accuracy), arguments.error, arguments.least
        drawn = sample(arguments.map, arguments.out, Wanted(change, *numbers, arguments.distance, arguments.seed))
        for note in drawn.notes:
            warn(note)
        print(summary(drawn))
        print(f"sample: {arguments.out} ({len(drawn)} points)")

    return run(work)


if __name__ == "__main__":
    raise SystemExit(main())
