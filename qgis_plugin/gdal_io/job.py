"""A run of a model over a layer: planned on the layer's thread, opened and done on any other."""

from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Optional, Union

from qgis.core import QgsCoordinateReferenceSystem

from ..runtime.errors import InputFault
from ..runtime.files import with_members
from ..runtime.infer.job import Job, tile_grid
from ..runtime.infer.layout import Layout, Options
from ..runtime.infer.source import Source
from ..runtime.model.card import ModelCard
from ..runtime.model.guard import read_header
from ..runtime.model.read_card import card_of
from ..runtime.model.session import Model
from ..texts import tr
from .files import FileLayer, files_of
from .grid import LayerGrid
from .services import ServiceLayer

Layer = Union[FileLayer, ServiceLayer]
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
class RunPlan:
    """All that a worker needs.

    Attributes:
        card: as the file tells it before it is opened.
        bands: numbers of the layer's bands, from 1, in the model's order.
        tiles: that the run will take, those outside the polygons included; 0 where only the model can tell.
        files: that the layer consists of.
    """

    model: str
    card: ModelCard
    layer: Layer
    options: Options = field(default_factory=Options)
    provider: str = "auto"
    threads: Optional[int] = None
    bands: tuple[int, ...] = ()
    tiles: int = 0
    files: tuple[str, ...] = ()

    @classmethod
    def checked(cls, model: str, card: ModelCard, layer: Layer, options: Options, **run) -> "RunPlan":
        """Plan a run whose model, layer and area fit; no pixels are read.

        Raises:
            InputFault: they do not fit.
        """
        plan = cls(model, card, layer, options, **run)
        source = Source(plan.pixels(), card, options.choice)
        try:
            grid = tile_grid(Layout(source, card, options), card, options.run)
            files = tuple(with_members(source.pixels.files, files_of))
            return replace(plan, bands=tuple(source.bands), tiles=len(grid) if grid else 0, files=files)
        finally:
            source.close()

    def pixels(self):
        """The layer, opened anew: a GDAL dataset belongs to one thread.

        Raises:
            InputFault: it cannot be read.
        """
        return self.layer.open(self.card.gsd, self.options.limits.box)


def card_in(path: str) -> ModelCard:
    """The card of a model file, which is checked but not run.

    Raises:
        ModelFault: it is refused.
    """
    return card_of(path, read_header(path))


def open_job(plan: RunPlan) -> Job:
    """Open the model and the layer of a plan.

    Raises:
        RuntimeFault: they cannot be opened or do not fit.
    """
    pixels = plan.pixels()
    try:
        return Job(Model(plan.model, plan.provider, threads=plan.threads), pixels, plan.options)
    except Exception:
        pixels.close()
        raise
