"""What a batch consists of: the settings that its units share, the units, their outcomes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from export.batch.manifest import Files
from export.rasterio_io.dated import SceneFile
from export.rasterio_io.run import Request
from export.runtime.messages import Message
from export.runtime.model.card import ModelCard
from export.runtime.model.session import Model
from export.runtime.raster.window import Window


@dataclass(frozen=True)
class Settings:
    """What all units of a run share; small, because it is sent with each.

    Attributes:
        card: of the opened model, so that all processes use the same tile size.
        merge: whether blocks are merged into one file.
        threads: tiles that a process runs in parallel; None: as many as fit.
        run: id of the run, by which the output folder knows it.
    """

    model: Path
    card: ModelCard
    request: Request
    out: Path
    run: str
    merge: bool = False
    provider: str = "auto"
    precision: str | None = None
    threads: int | None = None

    def open(self) -> Model:
        """The model, loaded."""
        output = self.request.options.run.output
        return Model(self.model, self.provider, self.card, self.threads, self.precision, output)

    @property
    def block_request(self) -> Request:
        """The request for a block; polygons, areas and legend are made after joining."""
        asked = {*self.request.beside}
        needed = asked | {"confidence"} if "polygons" in asked else asked
        beside = tuple(role for role in ("confidence", "probabilities", "dates") if role in needed)
        return replace(self.request, beside=beside, min_area=0.0, style=False)


@dataclass(frozen=True)
class Unit:
    """A piece of work with its own result files.

    Attributes:
        name: of its results: a path below the output folder, without a suffix.
        raster: GDAL name of the input; of a series its name for messages.
        scenes: the files of a series, or the raster with its mask.
        checksum: of input, model, options and block.
        input: checksum of the raster.
        options: checksum of the options.
        block: window of the map; None for the whole map.
        parts: name and window of the blocks to join, for a unit that only joins.
        of: for a block, name of the whole map's results.
        runner: what runs the model, as ``Model.runner`` names it, and ``why``; empty: what the settings name.
    """

    name: str
    raster: str
    checksum: str
    input: str
    options: str
    block: Window | None = None
    scenes: tuple[SceneFile, ...] = ()
    parts: tuple[tuple[str, Window], ...] = ()
    of: str = ""
    runner: str = ""
    why: Message | None = None


@dataclass(frozen=True)
class Outcome:
    """Result of a unit; ``reason`` is empty unless it failed."""

    unit: Unit
    files: Files
    reason: str = ""
    notes: tuple[Message, ...] = ()
    provider: str = ""
    seconds: float = 0.0


def blocks_folder(target: Path) -> Path:
    """Folder for the blocks of a map."""
    return target.with_name(f"{target.name}_blocks")
