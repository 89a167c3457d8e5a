"""One run of a model over a layer: planned on the layer's thread, done on any other.

The seam for whoever starts runs: make a ``Plan`` where the layer lives, then an ``OpenRun`` in a worker, and take
its rows or objects. Neither knows Processing.
"""

from dataclasses import dataclass, field, replace
from typing import Callable, Iterator, List, Optional

from ..runtime.errors import InputFault
from ..runtime.files import free_memory, size_text
from ..runtime.infer.layout import Layout
from ..runtime.infer.objects import detect
from ..runtime.infer.scenes import cell_size, windows
from ..runtime.infer.sweep import Progress, Sweep, sweep
from ..runtime.model.card import ModelCard
from ..runtime.model.guard import read_header
from ..runtime.model.session import Model, card_of
from ..runtime.raster.lattice import Bounds
from ..runtime.raster.window import TileGrid, Window
from ..runtime.results.rows import Objects, Rows
from ..texts import tr, words
from .mask import Mask
from .source import Choice, Layer, Source

_SAMPLE = 2000  # tiles that are compared with the polygons


@dataclass(frozen=True)
class Limits:
    """The area that is wanted.

    Attributes:
        bounds: west, south, east, north in the layer's CRS.
        mask: polygons in the layer's CRS.
    """

    bounds: Optional[Bounds] = None
    mask: Optional[Mask] = None

    @property
    def box(self) -> Optional[Bounds]:
        """Both together; None for the whole layer."""
        boxes = [box for box in (self.bounds, self.mask and self.mask.bounds) if box]
        if not boxes:
            return None
        west, south, east, north = zip(*boxes)
        return max(west), max(south), min(east), min(north)


@dataclass(frozen=True)
class Plan:
    """All that a worker needs.

    Attributes:
        model: file.
        card: as the file tells it before it is opened.
        layer: snapshot.
        choice: what the user says of the layer.
        limits: of the area.
        run: of the sweep.
        resample: whether pixels are brought to the model's size.
        model_grid: whether the result keeps that size.
        provider: of onnxruntime, "auto" for the quickest.
        threads: on the CPU; None for as many as fit.
    """

    model: str
    card: ModelCard
    layer: Layer
    choice: Choice = field(default_factory=Choice)
    limits: Limits = field(default_factory=Limits)
    run: Sweep = field(default_factory=Sweep)
    resample: bool = True
    model_grid: bool = False
    provider: str = "auto"
    threads: Optional[int] = None

    def source(self) -> Source:
        """The layer, opened anew: a GDAL dataset belongs to one thread.

        Raises:
            InputFault: it does not fit the model.
        """
        return Source(self.layer.open(self.card.gsd, self.limits.box), self.card, self.choice)

    def layout(self, source: Source, cell: int = 1) -> Layout:
        """What the model will see of it.

        Raises:
            InputFault: the area lies outside the layer.
        """
        window: Optional[Window] = source.grid.whole
        for box in (self.limits.bounds, self.limits.mask and self.limits.mask.bounds):
            if box and window:
                window = window.intersection(source.grid.window_inside(box))
        if window is None:
            raise InputFault(tr("The area lies outside the layer '{name}'.").format(name=source.where))
        gsd = None if source.pixels.sized or not self.resample else self.card.gsd
        return Layout(source, gsd, window, self.limits.mask, self.model_grid, cell)

    def tiles(self) -> int:
        """How many tiles the run will take, those outside the polygons included; 0 where only the model can tell."""
        if not self.card.tile_size:
            return 0
        source = self.source()
        try:
            return len(_tiles(self.layout(source), self.card, self.run))
        finally:
            source.close()


def _tiles(layout: Layout, card: ModelCard, run: Sweep) -> TileGrid:
    """Those of a run, but for the borders that some models leave out."""
    overlap = card.overlap if run.overlap is None else run.overlap
    if card.task in ("classification", "embedding"):
        overlap = card.tile_size - (run.stride or card.tile_size)
    return TileGrid(layout.seen.height, layout.seen.width, card.tile_size, overlap)


def card_in(path: str) -> ModelCard:
    """The card of a model file, which is checked but not run.

    Raises:
        ModelFault: it is refused.
    """
    return card_of(path, read_header(path))


class OpenRun:
    """A run whose model and layer are open.

    Attributes:
        card: completed by what the model itself tells.
        layout: grids of the run; ``layout.result`` is that of a map.
        notes: sentences that the user should read.
    """

    def __init__(self, plan: Plan) -> None:
        """Open both.

        Raises:
            RuntimeFault: they cannot be opened or do not fit.
        """
        self.model = Model(plan.model, plan.provider, threads=plan.threads).choose(plan.run.output)
        self.card, self.plan = self.model.card, plan
        self.source = plan.source()
        self.source.settle(self.card, plan.choice)
        coarse = self.card.task in ("classification", "embedding")
        self.layout = plan.layout(self.source, cell_size(self.model, plan.run) if coarse else 1)
        if self.layout.bytes_needed(self.model, plan.run) > free_memory():
            text = tr("The layer '{name}' is {width} px wide, which takes {size} of memory: choose a smaller extent.")
            size = size_text(self.layout.bytes_needed(self.model, plan.run))
            raise InputFault(text.format(name=self.source.where, width=self.layout.seen.width, size=size))

    def notes(self, measured: bool) -> List[str]:
        """Sentences to read before a long run; looks at a sample of the layer."""
        gsd = None if self.source.pixels.sized else self.card.gsd
        notes = [*self.source.notes, *self.source.look(self.card), *self.layout.notes(gsd, measured)]
        return [words(note.about(self.source.where)) for note in notes]

    def rows(self, progress: Progress) -> Iterator[Rows]:
        """Finished rows of ``layout.result``, from top to bottom."""
        coarse = self.card.task in ("classification", "embedding")
        return self.layout.finish((windows if coarse else sweep)(*self._place(progress)))

    def objects(self, progress: Progress) -> Objects:
        """Objects in pixels of ``layout.seen``."""
        return detect(*self._place(progress))

    def share_touched(self) -> float:
        """Which share of the tiles polygons reach into; from a sample where there are many."""
        if self.layout.mask is None:
            return 1.0
        grid = _tiles(self.layout, self.card, self.plan.run)
        side, seen = grid.tile_size, self.layout.seen
        corners = [(top, left) for top in grid.tops for left in grid.lefts][:: len(grid) // _SAMPLE + 1]
        windows = [Window(t, x, min(side, seen.height - t), min(side, seen.width - x)) for t, x in corners]
        return sum(map(self.layout.touches, windows)) / len(windows)

    def on_cancel(self) -> Optional[Callable[[], None]]:
        """What ends a request that is under way; None where files are read."""
        feedback = getattr(self.source.pixels, "feedback", None)
        return feedback.cancel if feedback else None

    def _place(self, progress: Progress):
        seen, layout = self.layout.seen, self.layout
        run = replace(self.plan.run, read_ahead=self.source.pixels.read_ahead)
        return self.model, layout.read, seen.height, seen.width, run, progress, layout.touches

    def close(self) -> None:
        """Give the file back."""
        self.source.close()
