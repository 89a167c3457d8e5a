"""Random views of chips, computed on the device in batches, with parameters per image.

They work with any number of bands and any unit: every operation is a crop, a blend or a gain, and none depends on the
value of white.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import UserError

PAIR_VIEWS = ("whole", "shared", "jittered", "independent")  # geometry of two dates of a place
PAIR_VIEW = "whole"
MOVED = 2.0  # px between the crops of two dates, at most, where they are jittered


class Draw:
    """Random numbers, one per image: a process draws for the whole batch and takes its part of it.

    The view of an image therefore does not depend on the number of processes.
    """

    def __init__(
        self, total: int, device: torch.device, part: slice = slice(None), generator: torch.Generator | None = None
    ) -> None:
        """Draw for ``total`` images and return ``part``; the generator is on ``device``, torch's global one by default."""
        self.total, self.device, self.part, self.generator = total, device, part, generator

    def __call__(self, low: float, high: float) -> Tensor:
        """(n,) uniform numbers."""
        return torch.empty(self.total, device=self.device).uniform_(low, high, generator=self.generator)[self.part]

    def of_all(self) -> Draw:
        """The same numbers for all images of the batch."""
        return Draw(self.total, self.device, generator=self.generator)


def as_float(chips: Tensor, valid: Tensor | None) -> Tensor:
    """Chips as stored, (N, bands, rows, cols), to float32; NaN where ``valid`` (N, rows, cols) is False.

    Called on the device, so that fewer bytes are copied.
    """
    pixels = chips.to(torch.float32)
    return pixels if valid is None else pixels.masked_fill(~valid[:, None], torch.nan)


@dataclass(frozen=True)
class Views:
    """Strength of the augmentations.

    Attributes:
        size: rows = columns of a view, px; the chip size by default (224 in the paper, from images of 448). Training
            time is proportional to the area. Views are resampled without antialiasing: below half the size of a
            crop, pixels are skipped; make the store's chips smaller instead.
        scale: minimum fraction of the chip's area in a crop.
        flip: random horizontal flip.
        turn: random rotation by multiples of 90 degrees.
        jitter: maximum relative change of brightness, contrast and saturation (0.4 in the paper).
        jitter_chance: probability of that change (0.8 in the paper).
        grey: probability of conversion to greyscale (0.2 in the paper).
        blur: probability of a Gaussian blur, sigma 0.1 to 2 pixels of a 224 px view (0.5 in the paper).
    """

    size: int | None = None
    scale: float = 0.2
    flip: bool = True
    turn: bool = True
    jitter: float = 0.1
    jitter_chance: float = 1.0
    grey: float = 0.0
    blur: float = 0.0

    def check(self) -> None:
        """Raise ``UserError`` if an option is out of range."""
        if self.size is not None and self.size < 2:
            raise UserError(f"--views.size {self.size}: must be at least 2 px")
        if not 0 < self.scale <= 1:
            raise UserError(f"--views.scale {self.scale}: must be above 0 and at most 1")
        for name in ("jitter", "jitter_chance", "grey", "blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"--views.{name.replace('_', '-')} {getattr(self, name)}: must be between 0 and 1")

    def __call__(self, chips: Tensor, draw: Draw | None = None, crops: Tensor | None = None) -> Tensor:
        """One random view (N, bands, size, size) of each chip (N, bands, rows, cols): float, raw values, NaN for no data.

        ``draw`` gives the random parameters, by default from torch's global generator; ``crops``, from ``crops``, those of
        the geometry.
        """
        draw = draw or Draw(len(chips), chips.device)
        views = self._cut(chips, self.crops(draw) if crops is None else crops)
        if self.jitter:
            changed = colour_jitter(views, self.jitter, draw)
            views = changed if self.jitter_chance == 1 else _mix(views, changed, self.jitter_chance, draw)
        if self.grey:
            views = _mix(views, views.nanmean(dim=1, keepdim=True).expand_as(views), self.grey, draw)
        if self.blur:
            views = _mix(views, _blurred(views, draw), self.blur, draw)
        return views

    def crops(self, draw: Draw) -> Tensor:
        """Random geometry (n, 2, 3): a crop with aspect 3/4 to 4/3, flipped and turned.

        Affine from the view to its chip, both from -1 to 1, as ``torch.nn.functional.affine_grid`` takes it.
        """
        area, aspect = draw(self.scale, 1), draw(-0.2877, 0.2877).exp()  # log of 4/3
        height, width = (area / aspect).sqrt().clamp(max=1), (area * aspect).sqrt().clamp(max=1)
        row, column = (1 - height) * draw(-1, 1), (1 - width) * draw(-1, 1)
        mirror, quarter = torch.ones_like(area), torch.zeros_like(area)
        if self.flip:
            mirror = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)
        if self.turn:
            quarter = draw(0, 4).floor() * (torch.pi / 2)
        cos, sin = quarter.cos().round(), quarter.sin().round()
        theta = [width * cos * mirror, -width * sin, column, height * sin * mirror, height * cos, row]
        return torch.stack(theta, dim=1).view(-1, 2, 3)

    def crops_of_pairs(self, draw: Draw, alone: Tensor, how: str, size: int) -> tuple[Tensor, Tensor]:
        """Geometry of both images of each pair, (n, 2, 3) each: one of ``PAIR_VIEWS``, for chips of ``size`` px.

        Pairs that are ``alone``, (n,) bool, are of one image and always independent: nothing else tells their views apart.
        """
        one, another = self.crops(draw), self.crops(draw)
        if how == "independent":
            return one, another
        first = torch.eye(2, 3, device=one.device).expand_as(one) if how == "whole" else one
        second = moved(one, MOVED, size, draw) if how == "jittered" else first
        alone = alone[:, None, None]
        return torch.where(alone, one, first), torch.where(alone, another, second)

    def _cut(self, chips: Tensor, crops: Tensor) -> Tensor:
        """Views with the geometry (N, 2, 3), in one bilinear resampling."""
        shape = [*chips.shape[:2], *([self.size] * 2 if self.size else chips.shape[2:])]
        grid = F.affine_grid(crops, shape, align_corners=False)
        return F.grid_sample(chips, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def moved(crops: Tensor, pixels: float, size: int, draw: Draw) -> Tensor:
    """Crops (n, 2, 3) of chips of ``size`` px, each moved by up to so many pixels along rows and columns, within its chip."""
    shift = torch.stack([draw(-1, 1), draw(-1, 1)], dim=1) * (2 * pixels / size)  # a chip is 2 wide
    room = 1 - crops[:, :, :2].abs().sum(dim=2)  # on either side of a crop in the middle
    centre = torch.minimum(torch.maximum(crops[:, :, 2] + shift, -room), room)
    return torch.cat([crops[:, :, :2], centre[:, :, None]], dim=2)


def _mix(plain: Tensor, changed: Tensor, probability: float, draw: Draw) -> Tensor:
    return torch.where(draw(0, 1).view(-1, 1, 1, 1) < probability, changed, plain)


def colour_jitter(views: Tensor, strength: float, draw: Draw | None = None) -> Tensor:
    """Change brightness, contrast and saturation by a random factor per image.

    A pixel without data is NaN in every band and so in its grey, the mean of the bands.
    """
    draw, low, high = draw or Draw(len(views), views.device), 1 - strength, 1 + strength
    brightness, contrast, saturation = (draw(low, high).view(-1, 1, 1, 1) for _ in range(3))
    grey = views.mean(dim=1, keepdim=True)
    mean = grey.nanmean(dim=(2, 3), keepdim=True)
    gain = brightness * contrast
    offset = gain * (1 - saturation) * grey + (brightness - gain) * mean
    return torch.addcmul(offset, views, gain * saturation)  # all three in one pass


def _blurred(views: Tensor, draw: Draw) -> Tensor:
    """Separable Gaussian blur, sigma 0.1 to 2 px for views of 224 px and in proportion for other sizes."""
    n, bands, size = views.shape[0], views.shape[1], views.shape[-1]
    sigma = draw(0.1, 2.0)[:, None] * size / 224
    radius = max(1, round(4.0 * size / 224))
    at = torch.arange(-radius, radius + 1, device=views.device)
    kernel = (-0.5 * (at / sigma.clamp(min=1e-3)) ** 2).exp()
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(bands, dim=0)
    nodata = views.isnan()  # filled for the blur, so that it does not spread, and restored
    filled = torch.where(nodata, views.nanmean(dim=(2, 3), keepdim=True), views)
    image = F.pad(filled.reshape(1, n * bands, *views.shape[2:]), [radius] * 4, mode="reflect")
    image = F.conv2d(image, kernel.view(n * bands, 1, -1, 1), groups=n * bands)
    image = F.conv2d(image, kernel.view(n * bands, 1, 1, -1), groups=n * bands)
    return torch.where(nodata, torch.nan, image.view_as(views))
