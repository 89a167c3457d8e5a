"""One entry of a legend: what a class value means and how it is drawn; shared by chip stores, models and maps."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass


@dataclass(frozen=True)
class LandClass:
    """One class: its value in the raster, its name, its colour as ``RRGGBB``."""

    value: int
    name: str
    color: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, 0 to 255."""
        return int(self.color[0:2], 16), int(self.color[2:4], 16), int(self.color[4:6], 16)


def palette(number: int) -> str:
    """A colour for a class that has none: hues a golden angle apart, so that neighbours differ."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.61803399 % 1, 0.65, 0.85 - 0.25 * (number % 2))
    return f"{round(red * 255):02X}{round(green * 255):02X}{round(blue * 255):02X}"
