"""``python -m export.change``: what changed between two dates or periods of one area. Needs no torch."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any

import rasterio
import shapely
from tqdm import tqdm

from export.batch.inputs import Raster, is_file_name
from export.batch.series import masked
from export.fit import run, warn
from export.rasterio_io.cog import RasterioWriter
from export.rasterio_io.dated import SceneFile
from export.rasterio_io.grid import Grid
from export.rasterio_io.polygons import placed, read_features
from export.rasterio_io.run import reading, room_for_blocks, shown_on
from export.rasterio_io.stac import Inputs, write_item
from export.rasterio_io.vectors import Area
from export.runtime.change.decision import KnownPlaces, truths
from export.runtime.change.job import ChangeJob
from export.runtime.change.results import ChangeResults, ChangeTargets, truth_names
from export.runtime.change.sides import reached, side_on
from export.runtime.errors import InputFault
from export.runtime.files import clear_leftovers
from export.runtime.infer.layout import Options
from export.runtime.infer.source import Choice
from export.runtime.infer.sweep import Sweep
from export.runtime.infer.timing.trial import told
from export.runtime.model.card import ModelCard
from export.runtime.model.providers import PROVIDERS
from export.runtime.model.read_card import card_of_file
from export.runtime.model.session import Model
from export.runtime.model.units import INPUTS
from export.runtime.raster.dates import date_in_name, date_in_tags
from export.runtime.raster.mask_band import MaskBand, mask_band
from export.runtime.raster.names import absolute, short, stem
from export.runtime.results.assessment import true_field
from export.wording import words

DESCRIPTION = """Compares two dates of an area. With a model of classes: what each pixel was and is, and the probability that this
differs, 1 - sum over c of p_before(c) p_after(c). With an encoder: the cosine distance of its features, cut by a threshold."""
EPILOG = """Writes to DIR, for classes: NAME.tif (from-to map), NAME_before.tif, NAME_after.tif, NAME_probability.tif (per cent);
for features: NAME.tif (1 unchanged, 2 changed), NAME_distance.tif; and for both NAME_matrix.csv and .json (hectares),
NAME_report.html, NAME.stac.json and styles. The pixels are those of the first raster before, where it overlaps the rasters
after. Areas of counted pixels are biased: docs/change.md. Exit code: 0 done, 2 invalid input (nothing is written), 130
interrupted."""
SUFFIXES = {
    "map": ".tif", "before": "_before.tif", "after": "_after.tif", "probability": "_probability.tif",
    "distance": "_distance.tif", "matrix": "_matrix.csv", "report": "_report.html",
}  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m export.change", description=DESCRIPTION, epilog=EPILOG)
    add = parser.add_argument
    add("rasters", nargs="*", metavar="RASTER", help="the raster before and the raster after")
    add(
        "--before", nargs="+", default=[], metavar="RASTER",
        help="several dates of the period before, instead: the mean of their probabilities or features, or, by a model of "
        "series, all at once",
    )  # fmt: skip
    add("--after", nargs="+", default=[], metavar="RASTER", help="several dates of the period after")
    add("--model", type=Path, required=True, metavar="MODEL.onnx", help="model of classes, or encoder (docs/models.md)")
    add("--out", type=Path, required=True, metavar="DIR", help="output folder")
    add("--name", help="file name of the results without suffix (default: BEFORE_to_AFTER)")
    add = parser.add_argument_group("what is known").add_argument
    add(
        "--reference", type=Path, metavar="FILE",
        help="points or polygons (a place inside each) whose truth is known, random or drawn from a map of change: calibrates "
        "the probability (Platt 1999), or sets the threshold that keeps 90 %% of the changed ones",
    )  # fmt: skip
    add("--field", help="its attribute: yes or no, 1 or 0, or a class of the from-to map (default: class)")
    add(
        "--threshold", type=float, metavar="D",
        help="distance of features, 0 to 2, from which on a place has changed (default: Otsu's rule)",
    )  # fmt: skip
    add = parser.add_argument_group("input values").add_argument
    add("--bands", nargs="+", metavar="BAND", help="band names or numbers (from 1), in the model's order")
    add("--nodata", type=float, metavar="V", help="nodata value, if the files do not declare one")
    add("--input", choices=INPUTS, default="auto", help="pixel values, as in export.predict (default: auto)")
    add("--offset", type=float, metavar="V", help="added to Sentinel-2 values (default: from each file)")
    add("--mask-band", metavar="BAND", help="band that hides pixels, such as clouds, as in export.predict")
    add("--mask-values", nargs="+", metavar="V", help="values of it that hide a pixel (default: the preset's)")
    add = parser.add_argument_group("area").add_argument
    add("--bounds", type=float, nargs=4, metavar=("W", "S", "E", "N"), help="compare only this area")
    add("--crs", help="CRS of --bounds, e.g. EPSG:4326 (default: that of the first raster before)")
    add("--mask", type=Path, metavar="FILE", help="compare only inside these polygons")
    add = parser.add_argument_group("inference").add_argument
    add("--overlap", type=int, metavar="PX", help="overlap of neighbouring tiles (default: the model's)")
    add("--stride", type=int, metavar="PX", help="step between windows of models that answer once a tile")
    add("--card", type=Path, metavar="FILE", help="model card as JSON (default: as in export.predict)")
    add("--provider", choices=("auto", *PROVIDERS), default="auto", help="ONNX Runtime execution provider")
    add("--threads", type=int, metavar="N", help="tiles run in parallel on the CPU")
    return parser


@dataclass(frozen=True)
class Period:
    """Rasters of one side, opened."""

    pixels: tuple[Any, ...]

    @classmethod
    def opened(cls, names: Sequence[str], mask: MaskBand | None, stack: ExitStack) -> Period:
        """Open rasters, without what a mask band hides; ``stack`` closes them.

        Raises:
            InputFault: one cannot be read, or has no such band.
        """
        given = [Raster(stem(name), name) for name in names]
        if mask:
            given = masked(given, mask)
            if len(given) < len(names):
                raise InputFault.worded(f"{', '.join(names)}: one of them is a mask; name the rasters that it hides")
        scenes = (SceneFile(None, one.where, (), one.mask) for one in given)
        return cls(tuple(stack.enter_context(closing(one.open())) for one in scenes))

    @property
    def name(self) -> str:
        """For people."""
        return ", ".join(short(one.name) for one in self.pixels)

    @property
    def days(self) -> list[date | None]:
        """When each was taken, None where nothing tells."""
        return [_day_of(one) for one in self.pixels]


def _order_of(sides: Sequence[Period]) -> list[str]:
    """What is wrong with the order of the sides, as far as their days are known."""
    before, after = ([day for day in side.days if day] for side in sides)
    if not (before and after) or max(before) <= min(after):
        return []
    return [
        f"the rasters before are of {max(before)}, later than those after ({min(after)}): the map shows changes from the later to the earlier date"
    ]


def _day_of(pixels: Any) -> date | None:
    try:
        return date_in_name(short(pixels.name)).date()
    except InputFault:
        found = date_in_tags(pixels.tags)
    return found.date.date() if found else None


def compare(arguments: argparse.Namespace) -> None:
    """Compare, as the command line says.

    Raises:
        RuntimeFault: nothing was written.
    """
    card = card_of_file(arguments.card) if arguments.card else None
    given = [absolute(name) for name in (*arguments.before, *arguments.after)]
    for name in given:
        if given.count(name) > 1:
            raise InputFault.worded(f"{name}: is given twice; give each raster once, before or after")
    mask = mask_band(arguments.mask_band, arguments.mask_values or ()) if arguments.mask_band else None
    with ExitStack() as stack:
        stack.enter_context(reading(arguments.before[0]))
        sides = tuple(Period.opened(names, mask, stack) for names in (arguments.before, arguments.after))
        model = Model(arguments.model, arguments.provider, card, arguments.threads)
        grid = sides[0].pixels[0].grid
        targets = _targets(arguments, model.card)
        read = [str(path) for path in (arguments.model, arguments.reference, arguments.mask) if path]
        targets.check([*read, *chain.from_iterable(one.members() for side in sides for one in side.pixels)])
        sample = _sample(arguments, grid, model.card) if arguments.reference else None
        bands = tuple(name.strip() for text in arguments.bands or () for name in text.split(",") if name.strip())
        area = Area(tuple(arguments.bounds) if arguments.bounds else None, arguments.crs, arguments.mask)
        rasters = [side.pixels for side in sides]
        options = Options(
            Choice(bands, arguments.nodata, arguments.input, arguments.offset),
            reached(area.on(grid, sides[0].pixels[0].name), rasters, grid),
            Sweep(overlap=arguments.overlap, stride=arguments.stride),
        )
        before, after = (side_on(side.pixels, side.days, grid, model.card.dates > 0) for side in sides)
        job = stack.enter_context(closing(ChangeJob(model, before, after, options)))
        for message in told(job.before):
            print(words(message), file=sys.stderr)
        for text in _order_of(sides):
            print(f"warning: {text}", file=sys.stderr)
        for note in job.notes():
            warn(note)
        _write(arguments, job, targets, sides, sample, f"{mask.name}: {mask.said}" if mask else "")


def _write(
    arguments: argparse.Namespace,
    job: ChangeJob,
    targets: ChangeTargets,
    sides: Sequence[Period],
    sample: KnownPlaces | None,
    mask: str,
) -> None:
    names = sides[0].name, sides[1].name
    clear_leftovers(arguments.out)
    rows = job.card.tile_size * (job.before.layout.scale.rows if job.before.layout.scale else 1)
    under = sum(one.bytes_under(one.usable, rows) for side in sides for one in side.pixels)
    with (
        rasterio.Env(**room_for_blocks(under)),
        ChangeResults(targets, job, RasterioWriter, sample, arguments.threshold, names, words) as results,
        tqdm(desc=targets.item.name.removesuffix(".stac.json"), unit="tile", disable=None) as bar,
    ):
        item = results.keep(targets.item)  # first: it takes its place last
        for part in job.rows(shown_on(bar)):
            results.add_change(part)
        files = results.finish(lambda: True)
        asked: dict[str, Any] = {
            "before": [short(one.name) for one in sides[0].pixels], "after": [short(one.name) for one in sides[1].pixels],
            "decision": results.report.decision(),
        }  # fmt: skip
        shown = replace(job.card, task="segmentation", classes=results.shown)
        write_item(item, job.grid, shown, arguments.model, Inputs(" to ".join(names), mask=mask), files, asked)
        results.commit()
    for note in results.report.notes():
        warn(note)
    print(f"changed: {results.report.changed_m2 / 1e4:,.1f} ha (counted pixels)")
    for role in ("map", "report"):
        print(f"{role}: {targets.files[role]}")


def _targets(arguments: argparse.Namespace, card: ModelCard) -> ChangeTargets:
    name = arguments.name or f"{stem(arguments.before[0])}_to_{stem(arguments.after[0])}"
    left_out = ("before", "after", "probability") if card.task == "embedding" else ("distance",)
    files = {role: arguments.out / f"{name}{end}" for role, end in SUFFIXES.items() if role not in left_out}
    return ChangeTargets(files, item=arguments.out / f"{name}.stac.json")


def _sample(arguments: argparse.Namespace, grid: Grid, card: ModelCard) -> KnownPlaces:
    """The places whose truth is known."""
    path = arguments.reference
    features = read_features(path)
    at = true_field(str(path), features.fields, arguments.field)
    changed = truths(str(path), features.fields[at], features.columns[at].tolist(), truth_names(card))
    return KnownPlaces(str(path), placed(shapely.point_on_surface(features.shapes), features.crs, grid), changed)


def _check(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    if arguments.rasters and (arguments.before or arguments.after):
        parser.error("give either two rasters, or --before and --after")
    if arguments.rasters:
        if len(arguments.rasters) != 2:
            parser.error("give two rasters: before and after; several dates of a period with --before and --after")
        arguments.before, arguments.after = [arguments.rasters[0]], [arguments.rasters[1]]
    if not (arguments.before and arguments.after):
        parser.error("give two rasters, before and after, or --before and --after")
    if arguments.name is not None and not is_file_name(arguments.name):
        parser.error(f"--name {arguments.name}: is no file name; give one without folders, such as change")
    if arguments.mask_values and not arguments.mask_band:
        parser.error("--mask-values requires --mask-band")
    if arguments.crs and not arguments.bounds:
        parser.error("--crs requires --bounds")
    if arguments.threshold is not None and not 0 <= arguments.threshold <= 2:
        parser.error("--threshold must be from 0 to 2")
    if arguments.threshold is not None and arguments.reference:
        parser.error("--threshold and --reference exclude each other")
    if arguments.field and not arguments.reference:
        parser.error("--field requires --reference")


def main() -> int:
    """Parse the command line and compare; 2 after bad input."""
    parser = _parser()
    arguments = parser.parse_args()
    _check(arguments, parser)
    logging.getLogger("rasterio").addHandler(logging.NullHandler())
    return run(lambda: compare(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
