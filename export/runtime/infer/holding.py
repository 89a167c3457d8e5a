"""Rasters that already hold features: which ones are recognised, and how their numbers are read.

Sources of the rules: AlphaEarth, Google Earth Engine's catalogue, "Satellite Embedding V1" (8 bits, the file format of its
Cloud Storage copy); TESSERA, ``geotessera.core.dequantize_embedding`` (version 0.7.5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..messages import Message
from ..model.graph import Graph
from .source import Pixels, alpha_bands

ALPHAEARTH, TESSERA = 64, 128  # bands
_ALPHAEARTH_NODATA = -128.0
_ALPHAEARTH_NAME, _TESSERA_NAME = re.compile(r"A\d\d", re.I), re.compile(r"tessera[_ ]band[_ ]\d+", re.I)
_EMBEDDED_NAME = re.compile(r"value \d+")


@dataclass(frozen=True)
class Holding:
    """What a raster holds.

    Attributes:
        bands: numbers of those that are read, from 1: the features, then the scale if there is one.
        features: how many of these bands are features.
        rule: "square" (AlphaEarth's bytes), "scale" (times the last band), "direction" (bytes whose scale is missing: vectors
            of length 1), or "" (as they are).
        nodata: the value that means no data, where the file need not say so.
        note: what was recognised, for the user.
        known: whether a published product, or our own, was recognised.
    """

    bands: tuple[int, ...]
    features: int
    rule: str
    nodata: float | None
    note: Message
    known: bool = True


def holding_of(pixels: Pixels) -> Holding:
    """What the bands of an open raster are, taken for features; alpha channels are left out."""
    _, others = alpha_bands(pixels)
    bands = tuple(sorted([*pixels.usable, *others]))
    names = [pixels.bands[band - 1].name for band in bands]
    kinds = [pixels.dtype(band) for band in bands]
    count, whole = len(bands), {*kinds[: min(len(kinds), TESSERA)]} == {"int8"}
    facts = {"count": count}

    def called(pattern: re.Pattern[str], first: int) -> bool:
        return count >= first and all(pattern.fullmatch(name.strip()) for name in names[:first])

    if count == ALPHAEARTH and whole:
        note = Message("holds_alphaearth", facts)
        return Holding(bands, count, "square", _ALPHAEARTH_NODATA, note)
    if count == ALPHAEARTH and called(_ALPHAEARTH_NAME, count):
        return Holding(bands, count, "", None, Message("holds_alphaearth_real", facts))
    if count == TESSERA + 1 and (whole or called(_TESSERA_NAME, TESSERA)):
        return Holding(bands, TESSERA, "scale", None, Message("holds_tessera_scaled", facts))
    if count == TESSERA and whole:
        return Holding(bands, count, "direction", None, Message("holds_tessera_bytes", facts))
    if count == TESSERA and (called(_TESSERA_NAME, count) or any(tag.startswith("TESSERA_") for tag in pixels.tags)):
        return Holding(bands, count, "", None, Message("holds_tessera", facts))
    if called(_EMBEDDED_NAME, count) and {*kinds} == {"float32"}:
        return Holding(bands, count, "", None, Message("holds_embedding", facts))
    return Holding(bands, count, "", None, Message("holds_features", facts), known=False)


def read_by(graph: Graph, image: str, holding: Holding) -> str:
    """Add the nodes that make features (N, C, T, T) of the stored values of ``holding.bands``."""
    if holding.rule == "square":
        share = graph.node("Div", image, 127.5)
        return graph.node("Mul", share, graph.node("Abs", share))
    if holding.rule == "scale":
        features, scale = graph.nodes("Split", image, [holding.features, 1], outputs=2, axis=1)
        return graph.node("Mul", features, scale)
    if holding.rule == "direction":
        length = graph.node("ReduceL2", image, axes=[1], keepdims=1)
        return graph.node("Div", image, graph.node("Max", length, 1e-6))
    return image
