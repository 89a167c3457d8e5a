"""A run of a model over a layer or a series of them: planned on the layer's thread, opened and done on any other."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Optional, Union

from qgis.core import QgsCoordinateReferenceSystem

from ..runtime.errors import InputFault
from ..runtime.files import with_members
from ..runtime.infer.inputs.days import check_days
from ..runtime.infer.inputs.series import Dated, Series, SeriesSource
from ..runtime.infer.inputs.views import Masked
from ..runtime.infer.job import Job, tile_grid
from ..runtime.infer.layout import Layout, Options
from ..runtime.infer.source import Pixels, Source
from ..runtime.model.card import ModelCard
from ..runtime.model.guard import read_header
from ..runtime.model.read_card import card_of
from ..runtime.model.session import Model
from ..runtime.raster.mask_band import MaskBand
from ..texts import tr
from .files import FileLayer, files_of
from .grid import LayerGrid
from .services import ServiceLayer

Layer = Union[FileLayer, ServiceLayer]
_GRIDS: dict[tuple, LayerGrid] = {}  # of the last series: it is asked for again before the same series is run
_EXACT_M = 0.01  # on a service, whose pixels are as small as a model needs them


def snapshot(layer) -> Layer:
    """Copy from a raster layer all that a worker needs, on the layer's thread.

    Raises:
        InputFault: the layer is broken or has no CRS.
    """
    if layer is None or not layer.isValid():
        raise InputFault.worded(tr("The raster layer cannot be read."))
    if not layer.crs().isValid():
        text = tr("The layer '{name}' has no CRS: set it with Layer > Set CRS of Layer.")
        raise InputFault.worded(text.format(name=layer.name()))
    crs = layer.crs().toWkt(QgsCoordinateReferenceSystem.WktVariant.WKT_PREFERRED_GDAL)  # type: ignore[attr-defined]  # not in qgis-stubs
    return (FileLayer if layer.providerType() == "gdal" else ServiceLayer).of(layer, crs)


def grid_of(layer) -> tuple[LayerGrid, float]:
    """The grid of a raster layer, on its thread, and how exactly shapes must be placed on it: see ``Way``.

    Of a service without pixels of its own it is a coarse one.

    Raises:
        InputFault: the layer is broken or has no CRS.
    """
    copy = snapshot(layer)
    if isinstance(copy, ServiceLayer):
        grid = copy.own_grid()
        if grid:
            return grid, 0.0
        coarse = copy.coarse_grid()
        return coarse, _EXACT_M / coarse.units.metres
    with closing(copy.open()) as pixels:
        return pixels.grid, 0.0


@dataclass(frozen=True)
class DatedLayer:
    """A copied layer and the day on which it was taken; a sentence where that is doubtful."""

    day: date
    layer: Layer
    note: str = ""


@dataclass(frozen=True)
class RunPlan:
    """All that a worker needs.

    Attributes:
        layer: of a series the first that was given.
        series: layers of several dates, ``layer`` among them; empty for a run over one.
        hides: the band of each layer whose values hide pixels.
        card: as the file tells it before it is opened.
        bands: numbers of the layer's bands, from 1, in the model's order.
        tiles: that the run will take, those outside the polygons included; 0 where only the model can tell.
        files: that the layer consists of.
    """

    model: str
    card: ModelCard
    layer: Layer
    options: Options = field(default_factory=Options)
    series: tuple[DatedLayer, ...] = ()
    hides: Optional[MaskBand] = None
    provider: str = "auto"
    threads: Optional[int] = None
    bands: tuple[int, ...] = ()
    tiles: int = 0
    files: tuple[str, ...] = ()

    @classmethod
    def checked(cls, model: str, card: ModelCard, layer: Layer, options: Options, **run) -> "RunPlan":
        """Plan a run whose model, layer and area fit; no pixels are read.

        Of a series only the first layer is opened here, on the layers' thread; ``open_job`` opens and checks all of them.

        Raises:
            InputFault: they do not fit.
        """
        plan = cls(model, card, layer, options, **run)
        box = () if plan.series else (card.gsd, options.limits.box)
        with closing(masked(layer.open(*box), plan.hides)) as pixels:
            source = Source(pixels, card, options.choice)
            grid = None if plan.series else tile_grid(Layout(source, card, options), card, options.run)
            others = (one.layer.uri for one in plan.series if isinstance(one.layer, FileLayer))
            files = tuple(dict.fromkeys([*with_members(pixels.files, files_of), *others]))
            return replace(plan, bands=tuple(source.bands), tiles=len(grid) if grid else 0, files=files)

    @property
    def name(self) -> str:
        """Of the layer, and how many others are read with it."""
        others = len(self.series) - 1
        return f"{self.layer.name} (+{others})" if others > 0 else self.layer.name

    @property
    def remarks(self) -> list[str]:
        """Sentences on dates that are doubtful, and on how a model of one date answers for a series."""
        doubts = [one.note for one in self.series if one.note]
        if not self.series or self.card.dates:
            return doubts
        text = tr(
            "The model reads one date: it is run on each of the {count} dates, and the probabilities are averaged."
        )
        return [*doubts, text.format(count=len({one.day for one in self.series}))]

    def raster(self) -> Union[Pixels, Series]:
        """The layer or the series, opened anew: a GDAL dataset belongs to one thread.

        Raises:
            InputFault: a layer cannot be read, has no such mask band, or does not belong to the others.
        """
        return open_series(self.series, self.hides) if self.series else self.pixels()

    def pixels(self) -> Pixels:
        """The layer alone, opened anew; see ``raster``."""
        return masked(self.layer.open(self.card.gsd, self.options.limits.box), self.hides)


def open_series(layers: Sequence[DatedLayer], hides: Optional[MaskBand] = None) -> Series:
    """Open layers on one grid.

    Raises:
        InputFault: one cannot be read, has no such mask band, or does not belong to the others.
    """
    with ExitStack() as stack:
        dated = []
        for one in layers:
            pixels = one.layer.open()
            stack.callback(pixels.close)
            dated.append(Dated(one.day, masked(pixels, hides)))
        series = Series(dated)
        stack.pop_all()
        return series


def series_grid(layers: Sequence[DatedLayer]) -> LayerGrid:
    """The grid that layers are read on together; see ``open_series``. It is kept until their files change."""
    key = tuple((one.day, repr(one.layer), *_state(one.layer)) for one in layers)
    if key not in _GRIDS:
        with closing(open_series(layers)) as series:
            _GRIDS.clear()
            _GRIDS[key] = series.grid
    return _GRIDS[key]


def _state(layer: Layer) -> tuple[int, ...]:
    """Time and size of a layer's file, where it is one."""
    try:
        found = Path(layer.uri).stat() if isinstance(layer, FileLayer) else None
    except OSError:
        found = None
    return (found.st_mtime_ns, found.st_size) if found else ()


def masked(pixels: Pixels, hides: Optional[MaskBand]) -> Pixels:
    """The same, without what a mask band hides; raises InputFault where the raster has no such band."""
    return pixels if hides is None else Masked(pixels, hides)


def card_in(path: str) -> ModelCard:
    """The card of a model file, which is checked but not run.

    Raises:
        ModelFault: it is refused.
    """
    return card_of(path, read_header(path))


def open_job(plan: RunPlan) -> Job:
    """Open the model and the layers of a plan.

    Raises:
        RuntimeFault: they cannot be opened or do not fit.
    """
    raster = plan.raster()
    try:
        if isinstance(raster, Series):  # here, since it may read a sample
            check_days((one.date, one.pixels) for one in raster.dated)
        return Job(Model(plan.model, plan.provider, threads=plan.threads), raster, plan.options)
    except Exception:
        raster.close()
        raise


def requests_of(job: Job) -> list:
    """QGIS's feedback of each service that a job reads; cancelling one ends its request."""
    opened = [getattr(one.pixels, "pixels", one.pixels) for one in _sources(job)]  # behind a mask band
    return [pixels.feedback for pixels in opened if hasattr(pixels, "feedback")]


def files_read(job: Job) -> list[str]:
    """All files that a job reads."""
    return [name for one in _sources(job) for name in with_members(one.pixels.files, files_of)]


def _sources(job: Job) -> Sequence[Source]:
    return job.source.sources if isinstance(job.source, SeriesSource) else [job.source]
