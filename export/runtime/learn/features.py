"""Learns which features of a layer are kept: one graph from raw pixels to 8-bit channels, exact whatever tile it runs on.

Where the features come from (an encoder, filters, or the raster itself) ends in stages of one or more strides. The main
directions of a sample of the layer, half whitened, make at most 16 channels of them; as a 1 x 1 convolution and resampling can
change places, each stage is projected at its own stride, brought to ``factor`` px and added.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import Cancelled, InputFault, ModelFault
from ..infer.aligned import AlignedTiles
from ..infer.holding import holding_of, read_by
from ..infer.inputs.tile import Tile, padded
from ..infer.layout import Layout, Limits, Options
from ..infer.source import Choice, Pixels, Source, alpha_bands
from ..infer.sweep import Progress, mapped
from ..messages import Message
from ..model.card import RAW, ModelCard
from ..model.filters import REACH, STEP, STRIDE, FeatureStage, brought, filter_bank, projected
from ..model.graph import Graph
from ..model.guard import read_header
from ..model.session import Model
from ..raster.lattice import stated_size
from ..results.pca import FLAT, Directions, main_axes, projection, short

KINDS = ("encoder", "texture", "both", "raster")
CHANNELS = 16  # at 4 px: with their margins less than 1.2 bytes a pixel
MARGIN = 1  # places around the inner part of a tile, where places are larger than pixels
STEPS = (
    24.0  # of 8 bits that a standard deviation of the first channel takes: 5.3 of them fit at either side of the mean
)
_MOST_OF_RASTER = 32  # channels of a raster that holds features, at every pixel
_TILE, _PLAIN_TILE = 512, 256  # px of filters, and of rasters that hold features
_SAMPLE, _SAMPLE_SLOW = 9, 4  # tiles that are looked at, and of a slow service
_SAMPLE_BYTES = 256 * 2**20
_MOST_BANDS = 6  # that filters are computed of: of more their main directions
_FARTHEST = 8.0  # standard deviations: brighter pixels count as these
_PIXEL, _PLACE = 4, 2  # one of so many pixels, and of places, in a row is looked at
_FEW = 1000  # places of a tile, of which all are looked at
_REFLECTANCE, _COLOUR = "reflectance x 10000", "8-bit colour, 0 to 255"


@dataclass(frozen=True)
class FeatureChoice:
    """Where features come from: ``kind`` is one of ``KINDS``, ``model`` the encoder's file for the first and the third."""

    kind: str
    model: str | Path | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS or (self.kind in ("encoder", "both")) != (self.model is not None):
            raise ValueError(f"{self.kind} with the model {self.model}")


@dataclass(frozen=True)
class FeatureSet:
    """A graph from raw pixels (N, bands, tile, tile) to features (N, D, tile / factor, tile / factor).

    Features are whole numbers from 1 to 255, as float32.

    Attributes:
        graph: an ONNX file.
        card: its card, of the task embedding; ``tile_size`` is the side of a tile.
        channels: D.
        factor: px of a place, along a side.
        border: px at each edge of a tile that it does not answer for.
        margin: places around that part which a record holds.
        exact: whether features are known not to depend on the tile.
        nodata: a value that means no data, though a file need not say so.
        notes: what was found out, for the user.
    """

    graph: bytes = field(repr=False)
    card: ModelCard
    channels: int
    factor: int
    border: int
    margin: int
    exact: bool
    nodata: float | None = None
    notes: tuple[Message, ...] = ()

    @property
    def tile(self) -> int:
        """Side of a tile, px."""
        return self.card.tile_size

    @property
    def key(self) -> str:
        """Tells sets apart whose features differ."""
        facts = repr((self.card, self.factor, self.border, self.margin, self.nodata))
        return hashlib.sha256(facts.encode() + self.graph).hexdigest()

    def layout(self, pixels: Pixels, options: Options) -> Layout:
        """A whole raster as the graph sees it; limits in the options do not count.

        Raises:
            InputFault: its bands or its unit do not fit.
        """
        return _layout(pixels, self.card, options, self.nodata)


@dataclass
class _Base:
    """What features are made of, before their main directions are known.

    ``groups`` are numbers of channels whose parts count alike, see ``projection``; None leaves all as they are.
    """

    graph: Graph
    stages: list[FeatureStage]
    card: ModelCard
    factor: int
    border: int
    most: int
    exact: bool = True
    groups: tuple[int, ...] | None = None
    nodata: float | None = None
    notes: list[Message] = field(default_factory=list)


def learn_features(
    choice: FeatureChoice,
    rasters: Sequence[Pixels],
    options: Options | None = None,
    progress: Progress = lambda done, total: True,
    provider: str = "cpu",
) -> FeatureSet:
    """Learn the features of rasters that are to be mapped together, from the same few tiles of them every time.

    Args:
        choice: where they come from.
        rasters: open; the first one says which bands are read and how large pixels are, if no encoder does.
        options: how rasters are read; their limits do not count.
        progress: counts tiles of the sample.
        provider: see ``Model``.

    Raises:
        ModelFault: the encoder cannot be used, or gives no features of places.
        InputFault: a raster does not fit, cannot be read, or none of them holds data.
        Cancelled: ``progress`` returned False.
    """
    options = options or Options()
    if choice.kind == "raster":
        base = _of_raster(rasters[0], options)
    elif choice.kind == "texture":
        base = _of_texture(rasters, options)
    else:
        base = _of_encoder(choice, rasters, options, provider)
    layouts = [_layout(pixels, base.card, options, base.nodata) for pixels in rasters]
    tiles = _sample(layouts, base.card.tile_size, base.border)
    if choice.kind == "raster":
        values = _pixels_of(tiles)
        fill = tuple(float(mean) for mean in values.mean(axis=1))
        base.card = replace(base.card, value_range=(float(values.min()), float(values.max())), fill=fill)
    directions = _directions(base, [tile for _, tile in tiles], provider, progress)
    if not directions.count:
        raise ModelFault("features_not_finite", name=base.card.name)
    weights, bias = projection(directions, base.most, STEPS, base.groups)
    answer = projected(base.graph, base.stages, weights, bias, base.factor)
    count, size = len(bias), base.card.tile_size
    shape = ("batch", count, size // base.factor, size // base.factor)
    margin = MARGIN if base.factor > 1 else 0
    notes = tuple(base.notes)
    content = base.graph.to_bytes({"features": (answer, shape)})
    return FeatureSet(content, base.card, count, base.factor, base.border, margin, base.exact, base.nodata, notes)


def _layout(pixels: Pixels, card: ModelCard, options: Options, nodata: float | None) -> Layout:
    choice = options.choice
    if nodata is not None and choice.nodata is None:
        choice = replace(choice, nodata=nodata)
    source = Source(pixels, card, choice)
    source.settle()
    return Layout(source, card, replace(options, choice=choice, limits=Limits(), model_grid=False))


def _of_raster(pixels: Pixels, options: Options) -> _Base:
    """The bands of a raster that holds features, at every pixel."""
    holding = holding_of(pixels)
    choice = options.choice
    if choice.bands:
        bands = _band_numbers(pixels, choice)
        if len(bands) != len(holding.bands):  # a part of a known product is no longer that
            note = Message("holds_features", {"count": len(bands)})
            holding = replace(holding, features=len(bands), rule="", nodata=None, note=note, known=False)
        holding = replace(holding, bands=tuple(bands))
    card = _card(pixels, holding.bands, options, _PLAIN_TILE, 0)
    graph = Graph("image", ("batch", len(holding.bands), _PLAIN_TILE, _PLAIN_TILE))
    names = card.bands[: holding.features]
    stages = [FeatureStage(read_by(graph, graph.input.name, holding), 1, names)]
    note = holding.note.about(pixels.name)
    return _Base(graph, stages, card, 1, 0, _MOST_OF_RASTER, nodata=holding.nodata, notes=[note])


def _of_texture(rasters: Sequence[Pixels], options: Options) -> _Base:
    """Filters over the raster's own bands."""
    border = _up(REACH + MARGIN * STRIDE, STEP)
    bands = _band_numbers(rasters[0], options.choice)
    card = _card(rasters[0], bands, options, _TILE, border)
    tiles = _sample([_layout(pixels, card, options, None) for pixels in rasters], _TILE, border)
    values = _pixels_of(tiles)
    least, most = float(values.min()), float(values.max())
    fill = tuple(float(mean) for mean in values.mean(axis=1))
    card = replace(card, value_range=(least, most), fill=fill)
    graph = Graph("image", ("batch", len(bands), _TILE, _TILE))
    stages = _filtered(graph, card, values)
    return _Base(graph, stages, card, STRIDE, border, CHANNELS, groups=(_channels(stages),))


def _of_encoder(choice: FeatureChoice, rasters: Sequence[Pixels], options: Options, provider: str) -> _Base:
    """The stages of an encoder whose answer is a map, and filters over the same bands where both are asked for."""
    path, both = str(choice.model), choice.kind == "both"
    model = Model(path, provider)
    card = model.card
    if card.task != "embedding":
        raise ModelFault("features_of_task", where=path, name=card.name, task=card.task)
    if not model.dense:
        raise ModelFault("features_once", where=path, name=card.name)
    size, step = _tile_of(model, both, path)
    factor = STRIDE if size % STRIDE == 0 else model.factor
    least = max(card.border, model.border, REACH + MARGIN * STRIDE if both else 0)
    # where nothing says how far it sees: an eighth of its tile
    border = _up(least, step) if card.border else max(size // 8 // step * step, _up(least, step), step)
    if size - 2 * border < step:
        raise ModelFault("features_small_tile", where=path, tile=size, border=border)
    exact = card.border > 0
    card = replace(card, tile_size=size, overlap=2 * border, border=0)
    graph = Graph.of_model(path, card)
    card = replace(card, scale=RAW, output=None, activation="softmax")  # the graph takes raw values now
    stages = _stages(graph, model, path)
    groups = [_channels([stage]) for stage in stages]
    if both:
        values = _pixels_of(_sample([_layout(pixels, card, options, None) for pixels in rasters], size, border))
        filters = _filtered(graph, card, values)
        stages, groups = stages + filters, [*groups, _channels(filters)]
    note = Message("features_of_model", {"name": card.name, "count": _channels(stages)})
    most = min(CHANNELS * factor**2 // STRIDE**2, 64) if factor != STRIDE else CHANNELS
    return _Base(graph, stages, card, factor, border, most, exact=exact, groups=tuple(groups), notes=[note])


def _channels(stages: Sequence[FeatureStage]) -> int:
    return sum(len(stage.names) for stage in stages)


def _stages(graph: Graph, model: Model, path: str) -> list[FeatureStage]:
    """The stages that the file names, before they are brought to one stride; else its output."""
    try:
        properties = json.loads(read_header(path).metadata.get("mlm", "{}")).get("properties", {})
        named = [
            FeatureStage(
                str(one["tensor"]), int(one["stride"]), tuple(f"{one['tensor']} {n}" for n in range(int(one["count"])))
            )
            for one in properties.get("geoaware:channels", ())
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        named = []
    if named and graph.holds(stage.tensor for stage in named):
        return named
    answer = graph.answer(model.output)
    if model.border:  # it leaves its border out
        around = [0, 0, model.border, model.border] * 2
        answer = graph.node("Pad", answer, around, mode="edge")
    return [FeatureStage(answer, model.factor, tuple(f"feature {number}" for number in range(model.channels)))]


def _tile_of(model: Model, both: bool, path: str) -> tuple[int, int]:
    """Side of a tile, and what it and its border must be a multiple of, both px."""

    def step_for(size: int) -> int:
        step = math.lcm(model.factor, STRIDE) if size % STRIDE == 0 else model.factor
        return math.lcm(step, STEP) if both else step

    size = model.card.tile_size
    if model.sizes and model.sizes.step:  # any of a series: near the usual one
        first = model.sizes.up_to(_TILE)
        fitting = (first + n * model.sizes.step for n in range(64))
        size = next((one for one in fitting if one % math.lcm(STEP, model.factor) == 0), first)
    step = step_for(size)
    if size % step or size < 3 * step:
        raise ModelFault("features_tile", where=path, tile=size, step=step)
    return size, step


def _filtered(graph: Graph, card: ModelCard, values: np.ndarray) -> list[FeatureStage]:
    """Filters over bands that are first brought to one range, learned from pixels (bands, N)."""
    low, high = np.percentile(values, (1, 99), axis=1, keepdims=True)
    values = np.clip(values, low, high)
    mean, spread = values.mean(axis=1), values.std(axis=1)
    scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0.0)
    matrix, names = np.diag(scale), card.bands
    if len(names) > _MOST_BANDS:
        scaled = (values - mean[:, None]) * scale[:, None]
        variances, axes = main_axes(scaled @ scaled.T / scaled.shape[1])
        count = min(_MOST_BANDS, int((variances > FLAT * variances[0]).sum()))
        matrix = (axes[:, :count] / np.sqrt(variances[:count])).T * scale
        names = tuple(f"component {number + 1}" for number in range(count))
    weights, bias = short(matrix)[:, :, None, None], short(-matrix @ mean)
    image = graph.node("Conv", graph.input.name, weights, bias, kernel_shape=[1, 1])
    image = graph.node("Clip", image, -_FARTHEST, _FARTHEST)
    return filter_bank(graph, image, names)


def _sample(layouts: Sequence[Layout], size: int, border: int) -> list[tuple[Layout, Tile]]:
    """Tiles all over the rasters that hold data, always the same; raises InputFault if there are none."""
    bands = len(layouts[0].source.bands)
    slow = not layouts[0].source.pixels.sampled
    count = min(_SAMPLE_SLOW if slow else _SAMPLE, max(_SAMPLE_BYTES // (4 * bands * size**2), 2))
    every = max(len(layouts) // count, 1)
    chosen = layouts[::every][:count]
    tiles: list[tuple[Layout, Tile]] = []
    for number, layout in enumerate(chosen):
        wanted = count * (number + 1) // len(chosen) - count * number // len(chosen)
        aligned = AlignedTiles(layout, size, border)
        for tile in aligned.scattered():
            if not wanted:
                break
            seen = aligned.read(tile)
            if seen.pixels is not None:
                tiles.append((layout, seen))
                wanted -= 1
    if not tiles:
        raise InputFault("features_no_data", where=layouts[0].source.where)
    return tiles


def _pixels_of(tiles: Sequence[tuple[Layout, Tile]]) -> np.ndarray:
    """(bands, N) float64 values of some pixels of a sample that hold data."""
    parts = []
    for _, tile in tiles:
        assert tile.pixels is not None  # nosec B101  # others are not in a sample
        parts.append(tile.pixels[:, ::_PIXEL, ::_PIXEL][:, tile.mask[::_PIXEL, ::_PIXEL]])
    values = np.concatenate(parts, axis=1).astype(np.float64)
    if not values.size:  # single pixels between those that were taken
        parts = [tile.pixels[:, tile.mask] for _, tile in tiles if tile.pixels is not None]
        values = np.concatenate(parts, axis=1).astype(np.float64)
    return values


def _directions(base: _Base, tiles: Sequence[Tile], provider: str, progress: Progress) -> Directions:
    """Mean and covariance of all channels over the places of a sample that mostly hold data, or hold most of all."""
    graph, factor, size = base.graph, base.factor, base.card.tile_size
    parts = [brought(graph, stage.tensor, stage.stride, factor) for stage in base.stages]
    joined = graph.node("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    count = _channels(base.stages)
    content = graph.to_bytes({"features": (joined, ("batch", count, size // factor, size // factor))})
    model = Model(content, provider, card=base.card)
    directions = Directions(count)
    answers = mapped(lambda tile: model.run(padded(tile, base.card)[None])[0], tiles, model.threads)
    with closing(answers):
        for number, (tile, answer) in enumerate(zip(tiles, answers), start=1):
            share = _share(tile.valid, factor)
            first = base.border // factor
            places = answer[:, first : first + len(share), first : first + share.shape[1]]
            held = share >= min(0.5, share.max())
            use = held & np.isfinite(places).all(axis=0)
            every = slice(None, None, _PLACE)  # enough for hundreds of channels
            if use[every, every].sum() < _FEW:
                every = slice(None)
            directions.add(places[:, every, every], use[every, every])
            if not progress(number, len(tiles)):
                raise Cancelled()
    return directions


def _share(valid: np.ndarray, factor: int) -> np.ndarray:
    """(rows, columns) of places: which share of the pixels of each holds data."""
    rows, columns = (-(-side // factor) for side in valid.shape)
    whole = np.zeros((rows * factor, columns * factor), np.float32)
    whole[: valid.shape[0], : valid.shape[1]] = valid
    return whole.reshape(rows, factor, columns, factor).mean(axis=(1, 3))


def _band_numbers(pixels: Pixels, choice: Choice) -> list[int]:
    """The bands that the user names, else all but alpha channels."""
    _, others = alpha_bands(pixels)
    usable = sorted([*pixels.usable, *others])
    if not choice.bands:
        return usable
    needed = tuple(f"band {number + 1}" for number in range(len(choice.bands)))
    source = Source(pixels, _plain(pixels.name, needed, 0, 0, None), choice)
    return source.bands


def _card(pixels: Pixels, bands: Sequence[int], options: Options, tile: int, border: int) -> ModelCard:
    """What is known of features without a model: bands by their names, or by their order where they have none."""
    names = [pixels.bands[band - 1].shown for band in bands]
    unclear = len({name.strip().lower() for name in names}) < len(names) or "" in names
    if unclear:
        names = [f"band {number}" for number in range(1, len(names) + 1)]
    gsd = stated_size(pixels.grid.pixel_size_m) if options.resample else None
    card = _plain(pixels.name, names, tile, border, gsd)
    unit = {"s2-l2a": _REFLECTANCE, "s2-l1c": _REFLECTANCE, "tci": _COLOUR}.get(options.choice.kind, card.unit)
    return replace(card, unit=unit)


def _plain(name: str, bands: Sequence[str], tile: int, border: int, gsd: float | None) -> ModelCard:
    return ModelCard(
        name=name, task="embedding", bands=tuple(bands), unit="as stored", value_range=(0.0, 0.0), fill=(0.0,) * len(bands),
        classes=(), tile_size=tile, overlap=2 * border, gsd=gsd, license="", description="",
    )  # fmt: skip


def _up(number: int, step: int) -> int:
    return -(-number // step) * step
