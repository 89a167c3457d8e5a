"""What a run will do and why, as facts that a host shows before it: nothing is written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from ..files import free_memory
from ..messages import Message
from ..raster.bands import pairs_of
from ..raster.lattice import stated_size
from ..raster.names import short
from ..raster.window import lattice
from ..results.writing import room_needed
from .inputs.onto import is_shifted
from .inputs.series import SeriesSource
from .job import Job, tile_grid
from .scenes import COARSE
from .source import Source
from .timing.estimate import Estimate

_NAMED = 12  # bands that are listed one by one


@dataclass(frozen=True)
class Fact:
    """One line: what will be done, and why; each is one sentence or several."""

    label: Message
    value: tuple[Message, ...]
    why: tuple[Message, ...] = ()


def said(facts: Sequence[Fact], words: Callable[[Message], str]) -> list[tuple[str, str, str]]:
    """Label, value and reason of each fact as text, in a host's words."""
    return [(words(one.label), "; ".join(map(words, one.value)), "; ".join(map(words, one.why))) for one in facts]


def facts(
    job: Job, files: Sequence[str], roles: Collection[str] = (), estimate: Estimate | None = None, blocks: int = 0
) -> list[Fact]:
    """What will be done with the raster of a job, from its bands to its files.

    ``roles`` are those of the results (see ``Targets``), ``files`` their names; ``blocks`` is how many parts the map is
    made in.
    """
    grid = tile_grid(job.layout, job.card, job.run)
    estimate = estimate or Estimate(len(grid) if grid else 0)
    size = room_needed(job.layout.result, job.card, job.model.channels, roles)
    room = (Message("room", {"size": size}),) if size else ()  # of boxes it is not known
    return [
        *_dates(job.source),
        _raster(job.layout.source),
        _bands(job.layout.source, job.card.bands),
        _values(job),
        _gaps(job.layout.source),
        _pixel_size(job),
        _grid(job),
        Fact(Message("label_crs"), (_text(job.grid.crs_name),)),
        _tiles(job, estimate, blocks),
        _memory(job),
        _time(job, estimate),
        Fact(Message("label_files"), (_text(", ".join(files)),) if files else (), room),
    ]


def _text(text: str) -> Message:
    return Message("worded", {"sentence": text})


def empty_shares(source: SeriesSource) -> list[float]:
    """Of each date the share of the grid where it holds no data or a mask hides it; from a sample."""
    windows = lattice(*source.grid.shape)
    return [1 - float(np.concatenate([day.valid(window).ravel() for window in windows]).mean()) for day in source.dates]


def _dates(source: Source | SeriesSource) -> list[Fact]:
    """Each date of a series: its rasters, how much of it is missing, and whether it is warped."""
    if not isinstance(source, SeriesSource):
        return []
    shares = empty_shares(source) if source.sampled else [None] * len(source.dates)
    facts = []
    for day, rasters, share in zip(source.series.days, source.dates, shares):
        names = ", ".join(short(one.where) for one in rasters.sources)
        value = [_text(names)] + ([Message("date_empty", {"share": share})] if share is not None else [])
        warped = any(not is_shifted(one.pixels, source.grid) for one in rasters.sources)
        why = [Message("date_warped")] if warped else []
        why += {str(note): note for note in (one.conversion.note for one in rasters.sources) if note}.values()
        facts.append(Fact(_text(f"{day:%Y-%m-%d}"), tuple(value), tuple(why)))
    return facts


def _raster(source: Source) -> Fact:
    height, width = source.grid.shape
    dtypes = ", ".join(dict.fromkeys(filter(None, map(source.pixels.dtype, source.bands))))
    shape = {"rows": height, "columns": width, "count": len(source.pixels.bands), "dtype": dtypes}
    return Fact(Message("label_raster"), (Message("raster_shape", shape),))


def _bands(source: Source, needed: Sequence[str]) -> Fact:
    pairs = pairs_of(source.pixels.bands, needed, source.bands)
    if len(pairs) > _NAMED:
        pairs = [*pairs[: _NAMED - 2], "...", pairs[-1]]
    return Fact(Message("label_bands"), (_text(", ".join(pairs)),), (source.matched,))


def _values(job: Job) -> Fact:
    source, card = job.layout.source, job.card
    convert = source.conversion
    changed = (convert.factor, convert.offset) != (1.0, 0.0)
    value = [Message("values_changed", {"factor": convert.factor, "offset": convert.offset})] if changed else []
    value = value or [Message("values_as_stored")]
    if convert.limits:
        value.append(Message("values_clipped", {"low": convert.limits[0], "high": convert.limits[1]}))
    why = (
        [convert.note]
        if convert.note
        else [Message("values_stated" if job.options.choice.kind == "raw" else "values_plain")]
    )
    low, high = card.value_range
    why.append(Message("values_of_model", {"low": low, "high": high, "unit": card.unit}))
    return Fact(Message("label_values"), tuple(value), tuple(why))


def _gaps(source: Source) -> Fact:
    return Fact(Message("label_gaps"), tuple(source.gaps) or (Message("gaps_unknown"),))


def _pixel_size(job: Job) -> Fact:
    layout = job.layout
    own, scale = stated_size(job.source.grid.pixel_size_m), layout.scale
    if not scale:
        return Fact(Message("label_pixel_size"), (Message("pixels_as_are", {"pixel": own}),), _size_of_model(job))
    value = [Message("pixels_resampled", {"pixel": own, "model": stated_size(layout.seen.pixel_size_m)})]
    value.append(Message("pixels_averaged" if min(scale.rows, scale.columns) > 1 else "pixels_bilinear"))
    if layout.overview:
        value.append(Message("pixels_from_overviews", {"pixel": layout.overview}))
    if layout.came_from():
        value.append(Message("pixels_back"))
    return Fact(Message("label_pixel_size"), tuple(value), _size_of_model(job))


def _size_of_model(job: Job) -> tuple[Message, ...]:
    if not job.options.resample:
        return (Message("size_left"),)
    return (Message("size_of_model", {"model": job.card.gsd}) if job.card.gsd else Message("size_unknown"),)


def _grid(job: Job) -> Fact:
    grid, limits = job.layout.result, job.options.limits
    west, south, east, north = (f"{side:.10g}" for side in grid.bounds)
    value = {"rows": grid.height, "columns": grid.width, "west": west, "south": south, "east": east, "north": north}
    own = Message("grid_of_series" if isinstance(job.source, SeriesSource) else "grid_of_raster")
    why = [Message("grid_of_model") if job.options.model_grid else own]
    if job.layout.cell > 1:
        why = [Message("grid_of_cells", {"cell": job.layout.cell})]
    if limits.box:
        why.append(Message("grid_within_mask" if limits.mask else "grid_within_bounds"))
    return Fact(Message("label_grid"), (Message("grid_shape", value),), tuple(why))


def _tiles(job: Job, estimate: Estimate, blocks: int) -> Fact:
    card = job.model.sized(max(job.layout.seen.shape)).card if job.model.dense else job.card
    grid = tile_grid(job.layout, card, job.run)
    overlap = 2 * card.border or (grid.overlap if grid else 0)
    shape: dict[str, Any] = {"count": estimate.tiles, "side": card.tile_size, "overlap": overlap}
    value = [Message("tiles_shape", shape)]
    if job.layout.mask:
        value.append(Message("tiles_touched", {"share": job.share_touched()}))
    if blocks:
        value.append(Message("blocks_count", {"count": blocks}))
    given = job.run.stride if card.task in COARSE else job.run.overlap
    return Fact(
        Message("label_tiles"), tuple(value), (Message("overlap_of_card" if given is None else "overlap_stated"),)
    )


def _memory(job: Job) -> Fact:
    value = {"needed": job.layout.bytes_needed(job.model, job.run), "free": free_memory()}
    return Fact(Message("label_memory"), (Message("memory_needed", value),))


def _time(job: Job, estimate: Estimate) -> Fact:
    label, ran = Message("label_time"), {"provider": job.model.runner, "threads": job.model.threads}
    why = (*((job.why,) if job.why else ()), *job.against)
    if estimate.seconds is None:
        return Fact(label, (Message("time_unknown"),), (Message("run_by", ran), *why))
    return Fact(
        label, (Message("time_expected", {"seconds": estimate.seconds}),), (Message("time_measured", ran), *why)
    )
