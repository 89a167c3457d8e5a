"""Random views of chips, made on the device in batches, each image with parameters of its own.

For any number of bands and any unit: every operation is a crop, a blend or a gain, none needs to know
how bright white is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from core.errors import UserError


class Draw:
    """Random numbers, one an image.

    Processes that hold parts of one batch draw for all of it with the same seed and take their part, so
    that an image's view does not depend on how many processes there are.
    """

    def __init__(
        self, total: int, device: torch.device, part: slice = slice(None), generator: torch.Generator | None = None
    ) -> None:
        """Set up.

        Args:
            total: images in the whole batch.
            device: of the numbers, and of the generator.
            part: the images of this process.
            generator: torch's own where it is left out.
        """
        self.total, self.device, self.part, self.generator = total, device, part, generator

    def __call__(self, low: float, high: float) -> Tensor:
        """(n,) uniform numbers."""
        return torch.empty(self.total, device=self.device).uniform_(low, high, generator=self.generator)[self.part]

    def images(self, low: float, high: float) -> Tensor:
        """(n, 1, 1, 1) uniform numbers."""
        return self(low, high).view(-1, 1, 1, 1)


def as_float(chips: Tensor, valid: Tensor | None) -> Tensor:
    """Chips as stored to float32, pixels without data to NaN; meant for the device, which gets fewer bytes so.

    Args:
        chips: (N, bands, rows, cols), any dtype of a store; uint16 converts, though torch cannot compute in it.
        valid: (N, rows, cols) bool, or None where every pixel holds data.
    """
    pixels = chips.to(torch.float32)
    return pixels if valid is None else pixels.masked_fill(~valid[:, None], torch.nan)


@dataclass(frozen=True)
class Views:
    """How strongly views differ.

    Attributes:
        size: rows = columns of a view, px; the chip's by default (224 in the paper, from images of 448). Smaller
            views are quicker, in proportion to their area: the same time sees more pairs. Nothing is smoothed
            before it is made smaller: down to half its size bilinear sampling still sees every pixel of a
            crop, below that it skips some, so make the store's chips smaller instead.
        scale: least share of the chip's area that a crop keeps.
        flip: mirror at random.
        turn: turn by quarters at random; imagery from above has no upright.
        jitter: brightness, contrast and saturation change by up to this share (0.4 in the paper).
        jitter_chance: probability of that change (0.8 in the paper).
        grey: probability of losing the colours (0.2 in the paper).
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
        """Refuse what makes no views.

        Raises:
            UserError: it names the option.
        """
        if self.size is not None and self.size < 2:
            raise UserError(f"--views.size {self.size}: must be at least 2 px")
        if not 0 < self.scale <= 1:
            raise UserError(f"--views.scale {self.scale}: must lie above 0 and up to 1")
        for name in ("jitter", "jitter_chance", "grey", "blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"--views.{name.replace('_', '-')} {getattr(self, name)}: must lie between 0 and 1")

    def __call__(self, chips: Tensor, draw: Draw | None = None) -> Tensor:
        """One random view of each chip.

        Args:
            chips: (N, bands, rows, cols) float, raw values; NaN where there is no data.
            draw: of the views' parameters; by default from torch's generator.

        Returns:
            (N, bands, size, size).
        """
        draw = draw or Draw(len(chips), chips.device)
        views = self._crop(chips, draw)
        if self.jitter:
            changed = colour_jitter(views, self.jitter, draw)
            views = changed if self.jitter_chance == 1 else _mix(views, changed, self.jitter_chance, draw)
        if self.grey:
            views = _mix(views, views.nanmean(dim=1, keepdim=True).expand_as(views), self.grey, draw)
        if self.blur:
            views = _mix(views, _blurred(views, draw), self.blur, draw)
        return views

    def _crop(self, chips: Tensor, draw: Draw) -> Tensor:
        """Random resized crop with aspect 3/4 to 4/3, mirrored and turned, in one bilinear sampling."""
        area, aspect = draw(self.scale, 1), draw(-0.2877, 0.2877).exp()  # log of 4/3
        height, width = (area / aspect).sqrt().clamp(max=1), (area * aspect).sqrt().clamp(max=1)
        row, column = (1 - height) * draw(-1, 1), (1 - width) * draw(-1, 1)
        mirror, quarter = torch.ones_like(area), torch.zeros_like(area)
        if self.flip:
            mirror = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)
        if self.turn:
            quarter = draw(0, 4).floor() * (torch.pi / 2)
        cos, sin = quarter.cos().round(), quarter.sin().round()
        theta = torch.stack(
            [width * cos * mirror, -width * sin, column, height * sin * mirror, height * cos, row], dim=1
        )
        shape = [*chips.shape[:2], *([self.size] * 2 if self.size else chips.shape[2:])]
        grid = F.affine_grid(theta.view(-1, 2, 3), shape, align_corners=False)
        return F.grid_sample(chips, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _mix(plain: Tensor, changed: Tensor, probability: float, draw: Draw) -> Tensor:
    return torch.where(draw.images(0, 1) < probability, changed, plain)


def colour_jitter(views: Tensor, strength: float, draw: Draw | None = None) -> Tensor:
    """Brightness, contrast, saturation, each by a random factor, one an image.

    A pixel without data is NaN in every band, so the grey of a pixel, the mean of its bands, says where data is.
    """
    draw, low, high = draw or Draw(len(views), views.device), 1 - strength, 1 + strength
    brightness, contrast, saturation = (draw.images(low, high) for _ in range(3))
    grey = views.mean(dim=1, keepdim=True)
    mean = grey.nanmean(dim=(2, 3), keepdim=True)
    gain = brightness * contrast
    offset = gain * (1 - saturation) * grey + (brightness - gain) * mean
    return torch.addcmul(offset, views, gain * saturation)  # the three in one pass over the views


def _blurred(views: Tensor, draw: Draw) -> Tensor:
    """Separable Gaussian, sigma 0.1 to 2 at 224 px and in proportion for other sizes."""
    n, bands, size = views.shape[0], views.shape[1], views.shape[-1]
    sigma = draw(0.1, 2.0)[:, None] * size / 224
    radius = max(1, round(4.0 * size / 224))
    at = torch.arange(-radius, radius + 1, device=views.device)
    kernel = (-0.5 * (at / sigma.clamp(min=1e-3)) ** 2).exp()
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(bands, dim=0)
    hole = views.isnan()  # filled for the blur, so that it does not grow, and put back
    filled = torch.where(hole, views.nanmean(dim=(2, 3), keepdim=True), views)
    image = F.pad(filled.reshape(1, n * bands, *views.shape[2:]), [radius] * 4, mode="reflect")
    image = F.conv2d(image, kernel.view(n * bands, 1, -1, 1), groups=n * bands)
    image = F.conv2d(image, kernel.view(n * bands, 1, 1, -1), groups=n * bands)
    return torch.where(hole, torch.nan, image.view_as(views))
