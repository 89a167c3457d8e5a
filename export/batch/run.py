"""Plans and runs a batch: splits rasters into units, skips what the manifest lists as done, submits the rest, records outcomes.

A block is computed from all tiles that overlap it, on the tile grid of the whole raster, so its pixels equal those of an
unsplit run bit for bit. Cutting where a tile begins computes only one row of tiles twice. A narrow map is cut into
bands, a wide one into a grid: k x k tiles share fewer tiles with their neighbours than a band of as many.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import rasterio
from tqdm import tqdm

from export.batch.inputs import Raster
from export.batch.join import withdraw
from export.batch.manifest import Manifest, checksum, input_checksum, unchanged
from export.batch.units import Outcome, Settings, Unit, blocks_folder
from export.batch.workers import Workers
from export.rasterio_io.dated import SceneFile, members_of, open_input
from export.rasterio_io.grid import Grid
from export.rasterio_io.opening import RASTER_ERRORS
from export.rasterio_io.pixels import RasterPixels
from export.rasterio_io.run import Request, reading
from export.rasterio_io.stac import model_hash
from export.rasterio_io.vrt import Layer, described, stacked
from export.runtime.errors import InputFault, RuntimeFault, first_line
from export.runtime.files import clear_leftovers, sha256
from export.runtime.infer.inputs.series import Series, opened
from export.runtime.infer.job import Job
from export.runtime.infer.layout import Layout
from export.runtime.infer.scenes import cell_size
from export.runtime.infer.source import Pixels
from export.runtime.infer.sweep import Sweep, place_grid
from export.runtime.infer.timing.trial import decided, told
from export.runtime.messages import Message
from export.runtime.model.providers import available, provider_of
from export.runtime.model.session import Model
from export.runtime.raster.names import absolute, is_far
from export.runtime.raster.window import Window
from export.wording import words

_LEAST = 1024  # px: below it most tiles are computed twice
SIDE = 16384  # px: 1,444 tiles of 512 px, of which 5 % are computed twice; 5 minutes on four cores


@dataclass
class Whole:
    """A raster whose blocks are being computed: what joins them, names of missing ones, why others failed."""

    join: Unit
    left: set[str]
    reasons: list[str] = field(default_factory=list)


class Plan:
    """The units of a run, planned raster by raster.

    ``cut`` holds rasters whose blocks are being made, and ``made_of`` the files of all that are, by name; ``notes`` what the user
    should read of the raster that was planned last.
    """

    def __init__(
        self, settings: Settings, model: Model, manifest: Manifest, side: int | None = None, memory: float = math.inf
    ) -> None:
        """Prepare to cut into blocks of ``side`` px; None: what is usual, or less where a worker has less ``memory``.

        Raises:
            InputFault: the polygons of ``--mask`` cannot be read.
        """
        self.settings, self.manifest, self._opened = settings, manifest, model
        self._side, self._memory = side, memory
        output = settings.request.options.run.output
        self.model = checksum(model_hash(settings.model), settings.card, settings.precision, output)
        self._one, self._block = request_checksum(settings.request), request_checksum(settings.block_request)
        self._cut = checksum(self._one, side, settings.merge)
        self.cut: dict[str, Whole] = {}
        self.made_of: dict[str, tuple[str, ...]] = {}
        self.notes: list[Message] = []

    def is_done(self, raster: Raster) -> bool:
        """Whether a raster's map is up to date and complete; the raster itself is not opened."""
        return self._is_done(
            raster.name,
            lambda entry: (
                entry["model"] == self.model
                and entry["options"] in (self._with(self._one, raster), self._with(self._cut, raster))
                and entry["input"] == input_checksum(entry["files"])
            ),
        )

    def _is_done(self, name: str, matches: Callable[[dict[str, Any]], bool]) -> bool:
        entry = self.manifest.entries.get(name, {})
        try:
            return entry.get("state") == "done" and matches(entry) and unchanged(self.settings.out, entry["outputs"])
        except (KeyError, TypeError, ValueError, OSError):  # a line that somebody changed
            return False

    def units(self, raster: Raster) -> list[Unit]:
        """The units left for a raster: itself, or its missing blocks, with the raster in ``cut``.

        Raises:
            RuntimeFault: it cannot be read, or does not fit the model.
        """
        where, scenes = placed(raster, self.stacked)
        request, out = self.settings.request, self.settings.out
        with reading(*raster.read), closing(open_input(where, scenes, request.area)) as pixels:
            cut = self._blocks(pixels)
            suffix = ".vrt" if cut and not self.settings.merge else ".tif"
            request.targets(out / raster.name, self._opened.card.task, suffix).check(request.sources(pixels))
            files = tuple(members_of(pixels)) or (where,)
        self.made_of[raster.name] = files
        options = self._with(self._cut if cut else self._one, raster)
        runner, why = self._runner(raster, where, scenes, cut)
        made = Unit(raster.name, where, "", input_checksum(files), options, scenes=scenes, runner=runner, why=why)
        whole = self._unit(made)
        if not cut:
            return [whole]
        folder = blocks_folder(Path(whole.name)).as_posix()
        parts = tuple((f"{folder}/{block.row:07d}_{block.column:07d}", block) for block in cut)
        block = replace(whole, options=self._with(self._block, raster), of=whole.name)
        units = [self._unit(replace(block, name=name, block=window)) for name, window in parts]
        sums = {unit.name: unit.checksum for unit in units}
        units = [
            unit
            for unit in units
            if not self._is_done(unit.name, lambda entry: entry["checksum"] == sums[entry["unit"]])
        ]
        if units:
            withdraw(out / whole.name)
        self.cut[whole.name] = Whole(replace(whole, parts=parts), {unit.name for unit in units})
        return units

    def _runner(
        self, raster: Raster, where: str, scenes: Sequence[SceneFile], cut: list[Window]
    ) -> tuple[str, Message | None]:
        """What runs a raster, the same for all its blocks: of an interrupted run what made the others; and why."""
        if not self._opened.undecided:
            return "", None
        before = self.manifest.provider_in(blocks_folder(Path(raster.name)).as_posix()) if cut else ""
        here = before and provider_of(before)[0] in available()
        self.notes = [Message("trial_before" if here else "trial_gone", {"runner": before})] if before else []
        if here:
            return before, self.notes[0]
        request = self.settings.request
        with reading(*raster.read), closing(open_input(where, scenes, request.area)) as pixels:
            job = decided(Job(self._opened, pixels, request.on(pixels), cut[0] if cut else None))
        self.notes += told(job)
        return job.model.runner, job.why

    def _with(self, options: str, raster: Raster) -> str:
        """Checksum of options, and of what dates and masks a raster has."""
        scenes = [(one.date.isoformat(), one.raster.read, one.bands, one.mask) for one in raster.dates]
        return checksum(options, scenes, raster.mask) if scenes or raster.mask else options

    def stacked(self, raster: Raster, number: int | None = None) -> Path:
        """Where the bands of an Item are put together; ``number`` is that of the date of a series, from 0."""
        end = "_input" if number is None else f"_input_{number + 1}"
        return (self.settings.out / raster.name).with_name(f"{Path(raster.name).name}{end}.vrt")

    def all_stacked(self, raster: Raster) -> list[Path]:
        """Every such file of a raster or a series."""
        own = [self.stacked(raster)] if raster.parts else []
        return own + [self.stacked(raster, number) for number, one in enumerate(raster.dates) if one.raster.parts]

    def is_cut(self, raster: Raster) -> bool:
        """Whether a raster will be cut into blocks; one of several files counts as if.

        Raises:
            RuntimeFault: it cannot be read, or does not fit the model.
        """
        if raster.parts or raster.dates:
            return True
        with reading(raster.where), closing(RasterPixels(raster.where, self.settings.request.area)) as pixels:
            return bool(self._blocks(pixels))

    def files(self, raster: Raster) -> Sequence[str]:
        """The files on this machine that a raster is made of, from the manifest where they are unchanged."""
        entry = self.manifest.entries.get(raster.name, {})
        known = entry.get("files")
        if known and not (raster.parts or raster.dates) and entry.get("input") == input_checksum(known):
            return list(known)
        files: list[str] = []
        for where in raster.read:
            files.append(where)
            with suppress(RuntimeFault):  # which is reported when its turn comes
                if not is_far(where):
                    with closing(RasterPixels(where, self.settings.request.area)) as pixels:
                        files += pixels.members()
        return files

    def _blocks(self, pixels: Pixels | Series) -> list[Window]:
        model, options = self._opened, self.settings.request.on(pixels)
        with closing(opened(pixels, model.card, options.choice)) as source:
            layout = Layout(source, model.card, options, cell_size(model, options.run))
            side = self._side or block_side(model, layout, options.run, self._memory)
            return blocks(model, layout, options.run, side)

    def _unit(self, unit: Unit) -> Unit:
        return replace(unit, checksum=checksum(unit.input, self.model, unit.options, unit.block))


class Batch:
    """A run over several rasters: how many it skipped and made, and the reason of each failure by name."""

    def __init__(self, rasters: Sequence[Raster], plan: Plan, workers: Workers) -> None:
        self.rasters, self.plan = rasters, plan
        self.skipped = self.made = 0
        self.failed: dict[str, str] = {}
        self._workers, self._units = workers, self._planned()
        self._joins: deque[Unit] = deque()
        self._shown: set[str] = set()
        self._providers: set[str] = set()
        self._bar = tqdm(total=len(rasters), unit="map", disable=None)

    def run(self) -> None:
        """Map every raster that is not mapped yet."""
        self._clear()
        try:
            with closing(self._workers(self._next)) as outcomes:
                for outcome in outcomes:
                    self._record(outcome)
        finally:
            self._bar.close()
            self._clear()  # what lost workers left

    def _next(self) -> Unit | None:
        unit = None if self._joins else next(self._units, None)  # planning a raster may add to the joins
        return self._joins.popleft() if self._joins and not unit else unit

    def _planned(self) -> Iterator[Unit]:
        for raster in self.rasters:
            if self.plan.is_done(raster):
                self.skipped += 1
                self._bar.update()
                continue
            try:
                units = self.plan.units(raster)
            except RuntimeFault as fault:
                self._fail(raster.name, words(fault))
                continue
            for note in self.plan.notes:
                self._show(f"{raster.name}: {words(note)}")
            self.plan.notes.clear()
            whole = self.plan.cut.get(raster.name)
            if whole:
                self._bar.total += len(whole.join.parts)
                self._bar.update(len(whole.join.parts) - len(units))
                self._join_when_complete(raster.name)
            yield from units

    def _record(self, outcome: Outcome) -> None:
        """Add the outcome of a unit to the manifest, and show it."""
        unit, reason, outputs = outcome.unit, outcome.reason, dict(outcome.files)
        for note in map(words, outcome.notes):
            if note not in self._shown:  # each block of a raster has the same notes
                self._shown.add(note)
                self._show(f"warning: {note}")
        if outcome.provider:
            self._providers.add(outcome.provider)
        if reason and not unit.of:
            self._fail(unit.name, reason)
            return
        manifest, out = self.plan.manifest, self.plan.settings.out
        for part, _ in unit.parts:  # a virtual raster needs its blocks
            blocks = manifest.entries[part]["outputs"]
            outputs |= {name: known for name, known in blocks.items() if (out / name).exists()}
        if reason:
            manifest.add(unit.name, "failed", reason=reason)
        else:
            files = {} if unit.of else {"files": self.plan.made_of.pop(unit.name)}  # those of a block are its raster's
            manifest.add(
                unit.name, "done", input=unit.input, model=self.plan.model, options=unit.options,
                checksum=unit.checksum, **files, outputs=outputs, provider=outcome.provider, seconds=outcome.seconds,
            )  # fmt: skip
        self._bar.update()
        if unit.of:
            whole = self.plan.cut[unit.of]
            whole.left.discard(unit.name)
            whole.reasons += [reason] if reason else []
            self._join_when_complete(unit.of)
        else:
            self.plan.cut.pop(unit.name, None)
            self.made += 1
            self._show(f"map: {out / next(iter(outcome.files), unit.name)}", sys.stdout)

    def _join_when_complete(self, name: str) -> None:
        whole = self.plan.cut[name]
        if whole.left:
            return
        if whole.reasons:
            self._fail(name, f"{len(whole.reasons)} of {len(whole.join.parts)} blocks: {whole.reasons[0]}")
        else:
            self._joins.append(whole.join)

    def _fail(self, name: str, reason: str) -> None:
        """Record a raster that could not be mapped."""
        self.plan.cut.pop(name, None)
        self.failed[name] = reason
        self.plan.manifest.add(name, "failed", reason=reason)
        self._bar.update()
        self._show(f"error: {reason}")

    def _show(self, line: str, stream: TextIO | None = None) -> None:
        self._bar.clear()
        print(line, file=stream or sys.stderr, flush=True)
        self._bar.refresh()

    def _clear(self) -> None:
        """Remove what killed runs left in the output folders."""
        targets = [self.plan.settings.out / raster.name for raster in self.rasters]
        for folder in {path.parent for path in targets} | {blocks_folder(path) for path in targets}:
            clear_leftovers(folder)

    def summary(self) -> list[str]:
        """Closing lines for the user: failures with reasons, then counts."""
        lines, total = [], len(self.rasters)
        if self.failed and total > 1:
            lines += ["failed:", *(f"  {name}: {reason}" for name, reason in self.failed.items())]
        if len(self._providers) > 1:
            providers = ", ".join(sorted(self._providers))
            lines.append(
                f"warning: {providers} ran the model; results differ in the last bits, choose one with --provider"
            )
        counts = {"mapped": self.made, "already mapped": self.skipped, "failed": len(self.failed)}
        text = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        return [*lines, f"{total} rasters in {self.plan.settings.out}: {text}"]


def request_checksum(request: Request) -> str:
    """Checksum of all options that change a result.

    Raises:
        InputFault: the polygons cannot be read.
    """
    mask = request.area.mask
    try:
        polygons = sha256(mask) if mask else None
    except OSError as error:
        raise InputFault("not_readable", where=f"--mask {mask}", reason=error.strerror) from error
    return checksum(replace(request, area=replace(request.area, mask=None)), polygons)


def placed(raster: Raster, path_of: Callable[..., Path]) -> tuple[str, tuple[SceneFile, ...]]:
    """What is opened of a raster, and of a series or of a raster with a mask the files.

    ``path_of`` gives the path of the virtual raster of an Item's bands; see ``Plan.stacked``.

    Raises:
        InputFault: an Item's bands cannot be put together.
    """

    def where_of(one: Raster, *number: int) -> str:
        return stack(one, path_of(raster, *number)) if one.parts else one.where

    if raster.dates:
        return raster.where, tuple(
            SceneFile(one.date, where_of(one.raster, number), one.bands, one.mask, one.raster.where)
            for number, one in enumerate(raster.dates)
        )
    where = where_of(raster)
    return where, (SceneFile(None, where, (), raster.mask, raster.where),) if raster.mask else ()


def stack(raster: Raster, path: Path) -> str:
    """Write a virtual raster of an Item's bands; the same text is not written again.

    Raises:
        InputFault: they cannot be read, or cover different areas.
    """
    try:
        near = next((part.where for part in raster.parts if not is_far(part.where)), raster.parts[0].where)
        with reading(near), ExitStack() as opened:  # what lies beside a file on a disk counts, such as masks
            datasets = [opened.enter_context(rasterio.open(part.where)) for part in raster.parts]
            finest = max(datasets, key=lambda dataset: dataset.width)
            for dataset in datasets:
                apart = max(abs(mine - its) for mine, its in zip(dataset.bounds, finest.bounds))
                if dataset.crs != finest.crs or apart > max(finest.res):
                    raise InputFault.worded(f"{raster.where}: its bands cover different areas")
            grid = Grid(finest.crs, finest.transform, *finest.shape)
            first = raster.parts[0]
            if first.number:
                bands = [
                    Layer(part.band, _gdal_name(part.where), one, part.number, part.stated[0])
                    for part, one in zip(raster.parts, datasets)
                ]
                text = stacked(grid, bands, raster.baseline)
            else:
                text = described(finest, _gdal_name(first.where), raster.baseline, first.stated)
        if not (path.exists() and path.read_text("utf-8") == text):
            path.write_text(text, "utf-8")
    except RASTER_ERRORS as error:
        raise InputFault("not_readable", where=raster.where, reason=first_line(error)) from error
    return str(path)


def _gdal_name(where: str) -> str:
    """GDAL's own name of a file; relative paths in a virtual raster would count from the virtual raster."""
    if where.startswith(("http://", "https://")):
        return f"/vsicurl/{where}"
    return f"/vsis3/{where[5:]}" if where.startswith("s3://") else absolute(where)


def block_side(model: Model, layout: Layout, run: Sweep, memory: float) -> int:
    """The usual side of blocks, or a part of it that takes half of the memory at most."""
    side = SIDE
    while side > _LEAST and 2 * layout.bytes_needed(model, replace(run, area=Window(0, 0, side, side))) > memory:
        side //= 2
    return side


def blocks(model: Model, layout: Layout, run: Sweep, side: int) -> list[Window]:
    """Blocks of about ``side`` px at the model's pixel size, from top to bottom; none if the map is not split."""
    if model.card.task == "detection" or max(layout.seen.shape) <= side:
        return []
    counts = [-(-length // side) for length in layout.seen.shape]
    rows, columns = map(_cut, _starts(model, layout, run), layout.result.shape, counts)
    windows = [Window(top, left, bottom - top, right - left) for top, bottom in rows for left, right in columns]
    return windows if len(windows) > 1 else []


def _starts(model: Model, layout: Layout, run: Sweep) -> list[Sequence[int]]:
    """Rows and columns of the result where tiles begin."""
    model = model.choose(run.output).sized(max(layout.seen.shape))
    if not model.dense:
        return [range(length) for length in layout.result.shape]
    grid, taken = place_grid(model, layout.seen.height, layout.seen.width, run), layout.came_from()
    starts: list[Sequence[int]] = [grid.tops, grid.lefts]
    if not taken:
        return starts
    # first pixel of the result that is taken from the tile
    return [np.searchsorted(pixels, begins).tolist() for pixels, begins in zip(taken, starts)]


def _cut(starts: Sequence[int], length: int, count: int) -> list[tuple[int, int]]:
    """Start and end of about ``count`` parts of equal length that begin where tiles begin."""
    begins = np.asarray(starts)
    ideal = length * np.arange(1, count) / count
    nearest = begins[np.abs(begins[None] - ideal[:, None]).argmin(axis=1)]
    edges = [0, *sorted({int(edge) for edge in nearest} - {0, length}), length]
    return list(zip(edges[:-1], edges[1:]))
