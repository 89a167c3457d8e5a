"""Which pixels hold no data. All that a raster says about it counts together; libraries give one of several sources."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RULES = ("any", "all")  # a nodata value in any band that is read makes a gap, or only in all of them
SOME_SHARE = 0.01  # of a raster that is at its nodata values in some bands and not in all: worth a sentence
_BETWEEN = 0.1  # share of an alpha channel's visible pixels that may be half transparent
_HUGE, _ROUNDED = 1e30, 1e-5  # values beyond it are written as text with few digits


def is_mask(flags: int) -> bool:
    """Whether a band's mask, by GDAL's flags of it, is one of its own: not its nodata value's, nor an alpha band."""
    all_valid, of_file, alpha, nodata = 1, 2, 4, 8
    return bool(flags & of_file) if flags & nodata else not flags & (all_valid | alpha)


def nodata_of(stated: float | None, dtype: str) -> float | None:
    """A band's nodata value, None where none of its values can be it: NaN never is data anyway."""
    if stated is None or np.isnan(stated):
        return None
    if dtype and np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        if stated == float(limits.max):  # of 64 bits: as a float it is one more
            return limits.max
        return int(stated) if limits.min <= stated <= limits.max and float(stated).is_integer() else None
    return stated


def holds_data(pixels: np.ndarray, nodata: Sequence[float | None], rule: str = "any") -> np.ndarray:
    """Where (bands, ...) pixels are finite and, by one of ``RULES``, not at their nodata values: (...) bool.

    ``nodata`` holds one value a band, None where there is none; such bands do not count for the rule.
    """
    valid = np.ones(pixels.shape[1:], bool)
    if pixels.dtype.kind in "fc":
        valid = np.isfinite(pixels).all(axis=0)
    empty = [_equals(values, value) for values, value in zip(pixels, nodata) if value is not None]
    if empty:
        valid &= ~(np.logical_or if rule == "any" else np.logical_and).reduce(empty)
    return valid


def _equals(values: np.ndarray, value: float) -> np.ndarray:
    """Where they are a value; where real numbers are that but for rounding, as GDAL compares them."""
    if values.dtype.kind != "f":
        return values == value
    most = np.finfo(values.dtype)
    slack = abs(value) * (_ROUNDED if abs(value) >= _HUGE else 4 * float(most.eps))
    low, high = (values.dtype.type(np.clip(edge, most.min, most.max)) for edge in (value - slack, value + slack))
    return (values >= low) & (values <= high)


def is_alpha(values: np.ndarray) -> bool:
    """Whether a band that a file calls alpha is one: what it shows, it shows fully, nearly everywhere.

    GDAL takes the fourth of four 8-bit bands for alpha, also where it is near infrared.
    """
    shown = values[values > 0]
    if not shown.size:
        return True
    opaque = shown.max() * (1 - 1e-3 * (values.dtype.kind == "f"))
    return bool((shown < opaque).mean() <= _BETWEEN)


def single(pixels: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real and complex numbers as float32; of complex ones, such as radar measures, the magnitude. Whole numbers as they are.

    What float32 cannot hold is no data either.
    """
    pixels = magnitude(pixels)
    if pixels.dtype == np.float64:
        valid = valid & (np.abs(pixels) <= np.finfo(np.float32).max).all(axis=0)
        pixels = np.where(valid, pixels, 0)
    return pixels.astype(np.float32) if pixels.dtype.kind == "f" else pixels, valid


def magnitude(pixels: np.ndarray) -> np.ndarray:
    """Of complex numbers; others as they are."""
    return np.abs(pixels) if pixels.dtype.kind == "c" else pixels
