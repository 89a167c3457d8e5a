"""One run of a model over a raster, the same for every library: its options, and the open model and raster.

A host opens the raster as ``Pixels``, makes a ``Job`` and hands its rows or objects to ``Results``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..errors import InputFault
from ..files import free_memory
from ..messages import Message
from ..model.card import ModelCard
from ..model.session import Model
from ..raster.shapes.patches import BYTES, BYTES_MERGING
from ..raster.window import TileGrid, Window
from ..results.rows import Objects, Rows
from ..results.vectors import KeepGoing
from ..results.writing import Results
from .inputs.series import Series, SeriesSource, opened
from .inputs.tile import Dates
from .layout import Layout, Options
from .objects import detect
from .scenes import COARSE, cell_size, scene_grid, windows
from .source import Pixels
from .sweep import COLOURS, Progress, Scan, Sweep, sweep, tile_overlap

_SAMPLE = 2000  # tiles that are compared with the polygons


def tile_grid(layout: Layout, card: ModelCard, run: Sweep) -> TileGrid | None:
    """The tiles of a run, but for the borders that some models leave out; None where only the model can tell.

    Raises:
        InputFault: the overlap or the stride does not fit the tile.
    """
    if not card.tile_size:
        return None
    if card.border:
        side = card.tile_size - tile_overlap(card, run)
        return TileGrid(layout.seen.height, layout.seen.width, side, 0, aligned=True)
    if card.task in COARSE:
        stride = run.stride or card.tile_size
        scene_grid(layout.seen.height, layout.seen.width, card.tile_size, stride)
        overlap = card.tile_size - stride
    else:
        overlap = tile_overlap(card, run)
    return TileGrid(layout.seen.height, layout.seen.width, card.tile_size, overlap)


class Job:
    """A run whose model and raster are open.

    Attributes:
        model: with the output and the threshold that the options name.
        card: completed by what the model itself tells.
        grid: of the result.
        why: of what runs it, where that was to be decided.
        against: what spoke against others, where some were tried.
        colours: see ``Scan``.
    """

    why: Message | None = None
    against: tuple[Message, ...] = ()
    colours: int = COLOURS

    def __init__(self, model: Model, raster: Pixels | Series, options: Options, block: Window | None = None) -> None:
        """Prepare; ``close`` releases the raster, or the rasters of a series.

        A model of one date answers for a series with the mean over its dates.

        ``block`` is the only part of the map that is made; it has the same bits as in the whole map.

        Raises:
            RuntimeFault: model, raster and options do not fit.
        """
        self.model = model.choose(options.run.output, options.run.threshold)
        self.card, self.options, self.block = self.model.card, options, block
        self.source = opened(raster, self.card, options.choice)
        self.model = self.model.for_dates(len(self.source.dates))
        self.source.settle()
        self.layout = Layout(self.source, self.card, options, cell_size(self.model, options.run))
        self.run = replace(options.run, read_ahead=min(options.run.read_ahead, self.source.read_ahead))
        if block:
            self.run = replace(self.run, area=self.layout.area_of(block))
        self.grid = self.layout.result.crop(block) if block else self.layout.result
        self._check_memory()

    def notes(self, measured: bool, polygons: bool = False, merging: bool = False) -> list[Message]:
        """What the user should know before a long run; looks at a sample of the raster.

        It depends on whether areas will be ``measured``, patches outlined (``polygons``), and small ones merged.
        """
        self.source.look()
        notes = self.layout.notes(measured)
        if self.model.whole_numbers:
            (low, high), (least, most) = self.model.limits, self.source.reach
            if least < low or most > high:
                notes.append(Message("input_clipped", {"low": low, "high": high}))
        most, free = self.grid.height * self.grid.width * (BYTES_MERGING if merging else BYTES), free_memory()
        if polygons and self.card.task != "detection" and most > free:
            notes.append(Message("polygons_may_not_fit", {"most": most, "free": free}))
        return [*self.source.notes, *(note.about(self.source.where) for note in notes)]

    def at(self, block: Window) -> Job:
        """The same run for another part of its whole map, with the rasters that are open; only one of them is closed."""
        other = copy.copy(self)
        other.block, other.run = block, replace(self.run, area=self.layout.area_of(block))
        other.grid = self.layout.result.crop(block)
        return other

    def run_by(self, model: Model, why: Message, against: Iterable[Message] = ()) -> Job:
        """The same run by the same model on another provider."""
        other = copy.copy(self)
        other.why, other.against = why, tuple(against)
        other.model = model.for_dates(len(self.source.dates))
        return other

    def rows(self, progress: Progress) -> Iterator[Rows]:
        """Finished rows of ``grid``, from top to bottom."""
        answer = windows if self.card.task in COARSE else sweep
        return self.layout.finish(answer(self.scan(progress)), self.block)

    def objects(self, progress: Progress) -> Objects:
        """Objects in pixels of ``layout.seen``."""
        return detect(self.scan(progress))

    def write(self, results: Results, progress: Progress, keep_going: KeepGoing) -> None:
        """Run the model and hand its answer to the results, which are not finished here."""
        if self.card.task == "detection":
            results.add_objects(self.objects(progress), self.layout.seen, self.options.limits.mask, keep_going)
            return
        for part in self.rows(progress):
            results.add(part)

    def share_touched(self) -> float:
        """Which share of the tiles polygons reach into; from a sample where there are many."""
        grid = tile_grid(self.layout, self.card, self.options.run)
        if self.layout.mask is None or grid is None:
            return 1.0
        side, seen = grid.tile_size, self.layout.seen
        corners = [(top, left) for top in grid.tops for left in grid.lefts][:: len(grid) // _SAMPLE + 1]
        tiles = [Window(t, x, min(side, seen.height - t), min(side, seen.width - x)) for t, x in corners]
        return sum(map(self.layout.touches, tiles)) / len(tiles)

    def close(self) -> None:
        """Release the raster."""
        self.source.close()

    def scan(self, progress: Progress = lambda done, total: True) -> Scan:
        """The raster and the model, as they meet tile by tile."""
        layout, seen = self.layout, self.layout.seen
        shape = seen.height, seen.width
        return Scan(self.model, layout.read, *shape, self.run, progress, layout.touches, self._dates(), self.colours)

    def _dates(self) -> Dates | None:
        if not isinstance(self.source, SeriesSource):
            return None
        places = self.source.places(self.layout.seen) if self.card.location else None
        return Dates(self.source.day_of_year, places)

    def _check_memory(self) -> None:
        """Refuse what cannot fit before the system ends the run."""
        needed, free = self.layout.bytes_needed(self.model, self.run), free_memory()
        if needed > free:
            width = self.layout.seen.width
            raise InputFault("too_wide", where=self.source.where, width=width, needed=needed, free=free)
