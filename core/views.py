"""Random views of chips, made on the device in batches, each image with parameters of its own.

For any number of bands and any unit: every operation is a crop, a blend or a gain, none needs to know
how bright white is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Views:
    """How strongly views differ.

    Attributes:
        scale: least share of the chip's area that a crop keeps.
        flip: mirror and turn by quarters at random; imagery from above has no upright.
        jitter: brightness, contrast and saturation change by up to this share (0.4 in the paper).
        grey: probability of losing the colours (0.2 in the paper).
        blur: probability of a Gaussian blur, sigma 0.1 to 2 pixels of a 224 px view (0.5 in the paper).
    """

    scale: float = 0.2
    flip: bool = True
    jitter: float = 0.1
    grey: float = 0.0
    blur: float = 0.0

    def __call__(self, chips: Tensor) -> Tensor:
        """One random view of each chip.

        Args:
            chips: (N, bands, rows, cols) float, raw values; NaN where there is no data.

        Returns:
            The same shape.
        """
        views = _crop(chips, self.scale, self.flip)
        if self.jitter:
            views = colour_jitter(views, self.jitter)
        if self.grey:
            views = _mix(views, views.nanmean(dim=1, keepdim=True).expand_as(views), self.grey)
        if self.blur:
            views = _mix(views, _blurred(views), self.blur)
        return views


def _uniform(like: Tensor, low: float, high: float) -> Tensor:
    """(N, 1, 1, 1) random numbers, one an image."""
    return torch.empty(len(like), 1, 1, 1, device=like.device).uniform_(low, high)


def _mix(plain: Tensor, changed: Tensor, probability: float) -> Tensor:
    return torch.where(_uniform(plain, 0, 1) < probability, changed, plain)


def _crop(chips: Tensor, smallest: float, flip: bool) -> Tensor:
    """Random resized crop with aspect 3/4 to 4/3, mirrored and turned, in one bilinear sampling."""
    n, device = len(chips), chips.device
    area = torch.empty(n, device=device).uniform_(smallest, 1)
    aspect = torch.empty(n, device=device).uniform_(-0.2877, 0.2877).exp()  # log of 4/3
    height, width = (area / aspect).sqrt().clamp(max=1), (area * aspect).sqrt().clamp(max=1)
    row = (1 - height) * torch.empty(n, device=device).uniform_(-1, 1)
    column = (1 - width) * torch.empty(n, device=device).uniform_(-1, 1)
    theta = torch.zeros(n, 2, 3, device=device)
    if flip:
        mirror = torch.randint(0, 2, (n,), device=device) * 2.0 - 1
        quarter = torch.randint(0, 4, (n,), device=device) * (torch.pi / 2)
        cos, sin = quarter.cos().round(), quarter.sin().round()
    else:
        mirror, cos, sin = torch.ones(n, device=device), torch.ones(n, device=device), torch.zeros(n, device=device)
    theta[:, 0, 0], theta[:, 0, 1], theta[:, 0, 2] = width * cos * mirror, -width * sin, column
    theta[:, 1, 0], theta[:, 1, 1], theta[:, 1, 2] = height * sin * mirror, height * cos, row
    grid = F.affine_grid(theta, list(chips.shape), align_corners=False)
    return F.grid_sample(chips, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def colour_jitter(views: Tensor, strength: float) -> Tensor:
    """Brightness, contrast, saturation, each by a random factor, one an image."""
    low, high = 1 - strength, 1 + strength
    views = views * _uniform(views, low, high)
    mean = views.flatten(1).nanmean(dim=1).view(-1, 1, 1, 1)
    views = torch.lerp(mean.expand_as(views), views, _uniform(views, low, high))
    if views.shape[1] > 1:
        grey = views.nanmean(dim=1, keepdim=True)
        views = torch.lerp(grey.expand_as(views), views, _uniform(views, low, high))
    return views


def _blurred(views: Tensor) -> Tensor:
    """Separable Gaussian, sigma 0.1 to 2 at 224 px and in proportion for other sizes."""
    n, bands, size = views.shape[0], views.shape[1], views.shape[-1]
    sigma = torch.empty(n, 1, device=views.device).uniform_(0.1, 2.0) * size / 224
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
