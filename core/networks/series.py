"""Networks that read a series of dates of one place: an encoder shared by the dates, and a head that pools them.

``ModelSpec.temporal`` says how. "composite": the encoder reads the mean of the dates, one image, at the cost of one date.
"attention": each date is encoded on its own, and attention weighs the dates: lightweight temporal attention, whose queries
are learned and the same for all places (L-TAE: Garnot and Landrieu 2020, https://arxiv.org/abs/2007.00586), computed on the
map at stride 16 and brought to every level of the pyramid, where each head weighs a group of channels (U-TAE: Garnot and
Landrieu 2021, https://arxiv.org/abs/2107.07933); the decoder runs once, on the pooled pyramid. Beside either, the pixels' own
course of the year goes to the last layer (``MonthlyComposites``). The baseline is "mean": every date encoded, and the mean
over the valid ones.

The number of dates is free, their order does not matter, and a date counts at a place as far as it holds data there: dates
without any have weight 0. Where no date holds data the output means nothing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.networks.decoders import decoder_of
from core.networks.encoders import Encoder, ModelSpec

TEMPORAL = ("composite", "attention", "mean")
HEADS = 16  # fewer where the channels of an encoder cannot be split so
PLACES = 4  # level of the pyramid whose pixels are the places of the attention: stride 16, or less for small chips
VALUES = 3  # levels from this one on (stride 8) have value projections; finer ones would cost more than they say
HIDDEN = 64
YEAR = 365.25
HARMONICS = 6  # of the year: enough to tell months
OCTAVES = 4  # of the unit vector
SEASON = 1.5  # logit of a head's own season at first; that of the opposite season is its negative
MONTHS = 12
SHARPNESS = 22.0  # a date counts in a month 1/19 at 30 days from its middle, and 1/60,000 at 60
REST = 1e-3  # weight of any date in any month: a month without dates gets the mean of those there are
_NEVER = -1e4  # logit of a date without data; finite, so that a place without any date gives no NaN


class DayEncoding(nn.Module):
    """Days of the year (...,), 1 to 366, to sines and cosines of the year's harmonics (..., ``WIDTH``): December ends at January."""

    WIDTH = 2 * HARMONICS

    def forward(self, day_of_year: Tensor) -> Tensor:
        """See the class."""
        turns = torch.arange(1, HARMONICS + 1, device=day_of_year.device, dtype=torch.float32) * (2 * math.pi / YEAR)
        angles = day_of_year.float().unsqueeze(-1) * turns
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class LocationEncoding(nn.Module):
    """Longitude and latitude in degrees to ``WIDTH`` channels: the unit vector, its harmonics, and a small network.

    A vector on the sphere has no seam at the antimeridian and no stretched poles.
    """

    WIDTH = 32

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 + 6 * OCTAVES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, self.WIDTH), nn.ReLU()
        )

    def forward(self, longitude: Tensor, latitude: Tensor) -> Tensor:
        """(..., ``WIDTH``) of (...,) degrees."""
        lon, lat = (degrees.float() * (math.pi / 180) for degrees in (longitude, latitude))
        vector = torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=-1)
        waves = [vector * (math.pi * 2**octave) for octave in range(OCTAVES)]
        return self.layers(torch.cat([vector, *(f(wave) for wave in waves for f in (torch.sin, torch.cos))], dim=-1))


class DateWeights(nn.Module):
    """How much each date counts at each place, for each head: learned queries on features and day of year.

    At first each head looks at a season of its own, so that what sets two seasons apart can be learned from the first step.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.keys, self.day = nn.Linear(channels, HIDDEN), nn.Linear(DayEncoding.WIDTH, HIDDEN)
        self.queries, self.season = (
            nn.Linear(HIDDEN, heads, bias=False),
            nn.Linear(DayEncoding.WIDTH, heads, bias=False),
        )
        phases = torch.arange(heads) * (2 * math.pi / heads)
        with torch.no_grad():
            self.season.weight.zero_()
            self.season.weight[:, 0], self.season.weight[:, HARMONICS] = SEASON * phases.sin(), SEASON * phases.cos()

    def forward(self, features: Tensor, days: Tensor, cover: Tensor) -> Tensor:
        """Weights (N, T, places, heads), 1 in sum over the dates.

        Args:
            features: (N, T, places, channels).
            days: (N, T, ``DayEncoding.WIDTH``).
            cover: share of valid pixels, (N, T, places).
        """
        keys = torch.relu(self.keys(self.norm(features)) + self.day(days).unsqueeze(2))
        logits = (
            (self.queries(keys) + self.season(days).unsqueeze(2))
            .float()
            .masked_fill((cover <= 0).unsqueeze(-1), _NEVER)
        )
        return logits.softmax(dim=1)


class DatePooling(nn.Module):
    """The dates of a level, (N, T, channels, rows, cols), to their weighted mean; values may be projected first.

    The projection begins as the identity, so that what the encoder has learned is kept.
    """

    def __init__(self, channels: int, *, projected: bool) -> None:
        super().__init__()
        self.values = self.day = None
        if projected:
            self.values, self.day = nn.Conv2d(channels, channels, 1), nn.Linear(DayEncoding.WIDTH, channels)
            nn.init.dirac_(self.values.weight)
            for zero in (self.values.bias, self.day.weight, self.day.bias):
                nn.init.zeros_(zero)  # type: ignore[arg-type]

    def forward(self, maps: Tensor, days: Tensor, weights: Tensor) -> Tensor:
        """(N, channels, rows, cols) with ``weights`` (N, T, heads, rows, cols)."""
        places, dates, channels, rows, columns = maps.shape
        if self.values is not None and self.day is not None:
            values = self.values(maps.flatten(0, 1)).reshape(maps.shape)
            maps = values + self.day(days)[..., None, None]
        heads = weights.shape[2]
        grouped = maps.reshape(places, dates, heads, channels // heads, rows, columns)
        return (grouped * weights.unsqueeze(3)).sum(dim=1).reshape(places, channels, rows, columns)


class MonthlyComposites(nn.Module):
    """Composites of the twelve months of each pixel, at full resolution, and two layers on each pixel: ``WIDTH`` channels.

    Attention weighs dates at a place of 16 px; the course of the year of a pixel tells apart what is smaller. A date counts in
    a month by its distance within the year, and the gaps of a pixel are filled by the dates next to them.
    """

    WIDTH = 32

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(MONTHS * bands, HIDDEN, 1), nn.BatchNorm2d(HIDDEN), nn.ReLU(),
            nn.Conv2d(HIDDEN, self.WIDTH, 1), nn.BatchNorm2d(self.WIDTH), nn.ReLU(),
        )  # fmt: skip

    def forward(self, scaled: Tensor, valid: Tensor, day_of_year: Tensor) -> Tensor:
        """(N, ``WIDTH``, rows, cols).

        Args:
            scaled: standardised pixels, finite, (N, T, bands, rows, cols).
            valid: (N, T, rows, cols) bool.
            day_of_year: (N, T), 1 to 366.
        """
        places, _, bands, rows, columns = scaled.shape
        middles = (torch.arange(MONTHS, device=scaled.device) + 0.5) * (2 * math.pi / MONTHS)
        apart = day_of_year.float().unsqueeze(1) * (2 * math.pi / YEAR) - middles.view(1, -1, 1)
        weights = ((apart.cos() - 1) * SHARPNESS).exp() + REST  # (N, months, T)
        held = valid.to(scaled.dtype)
        sums = weights @ (scaled * held.unsqueeze(2)).flatten(2)
        counts = (weights @ held.flatten(2)).clamp(min=REST / 2)
        months = sums.reshape(places, MONTHS, bands, -1) / counts.unsqueeze(2)
        return self.layers(months.reshape(places, MONTHS * bands, rows, columns))


class SeriesNetwork(nn.Module, ABC):
    """What both tasks share: encoding of the dates, composites of the months, the head's optional location."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.encoder = Encoder(spec)
        self.composite, self.attentive = (spec.temporal == name for name in TEMPORAL[:2])
        self.days = DayEncoding()
        self.months = MonthlyComposites(len(spec.bands)) if self.attentive or self.composite else None
        self.location = LocationEncoding() if spec.location else None
        self.more = MonthlyComposites.WIDTH if self.months else 0  # channels of the head that no decoder gives it
        self.more += LocationEncoding.WIDTH if self.location else 0
        self.heads = math.gcd(HEADS, *self.encoder.channels[1:])

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor,
        day_of_year: Tensor,
        longitude: Tensor | None = None,
        latitude: Tensor | None = None,
    ) -> Tensor:
        """Logits of one series, as the exported file computes them: (1, classes, rows, cols), or (1, classes).

        Args:
            pixels: (T, bands, rows, cols), raw values.
            valid: (T, rows, cols) bool, where a date holds data.
            day_of_year: (T,), 1 to 366.
            longitude: (rows, cols), degrees; only of a network with location.
            latitude: (rows, cols), degrees; only of a network with location.
        """
        more = [part if part is None else part[None] for part in (longitude, latitude)]
        logits = self.of_places(pixels[None], valid[None], day_of_year[None], *more)
        # An exported mean has the same inputs, though it does not look at the days.
        return logits if self.months else logits + 0 * day_of_year.sum()

    def of_places(
        self,
        pixels: Tensor,
        valid: Tensor,
        day_of_year: Tensor,
        longitude: Tensor | None = None,
        latitude: Tensor | None = None,
    ) -> Tensor:
        """Logits of N series with one dimension more in front of every argument of ``forward``.

        A series with fewer dates than the longest is filled up with dates that hold nothing.
        """
        months = None
        if self.months is not None:
            scaled = self.encoder.standardise(torch.where(valid.unsqueeze(2), pixels, torch.nan))
            months = self.months(scaled, valid, day_of_year)
        if self.composite:
            pixels, valid, day_of_year = _one_composite(pixels, valid, day_of_year)
        return self.of_maps(self.encoded(pixels, valid), valid, day_of_year, months, longitude, latitude)

    @abstractmethod
    def of_maps(
        self,
        maps: list[Tensor],
        valid: Tensor,
        day_of_year: Tensor,
        months: Tensor | None = None,
        longitude: Tensor | None = None,
        latitude: Tensor | None = None,
    ) -> Tensor:
        """Logits of N series whose dates are encoded: ``maps`` of each date as (N, T, channels, rows, cols).

        ``months`` are those of ``MonthlyComposites``, (N, channels, rows, cols), of a network that has them.
        """

    def encoded(self, pixels: Tensor, valid: Tensor) -> list[Tensor]:
        """Maps of the encoder, each (N, T, channels, rows, cols); dates that hold nothing are zeros."""
        flat = torch.where(valid.unsqueeze(2), pixels, torch.nan).flatten(0, 1)
        seen = None
        if not torch.onnx.is_in_onnx_export() and not (held := valid.flatten(2).any(dim=2).flatten()).all():
            seen, flat = held.nonzero()[:, 0], flat[held]  # padding must not enter the statistics of batch norm
        maps = []
        for part in self.maps(flat):
            if seen is not None:
                part = part.new_zeros(len(held), *part.shape[1:]).index_copy(0, seen, part)
            maps.append(part.reshape(*pixels.shape[:2], *part.shape[1:]))
        return maps

    @abstractmethod
    def maps(self, images: Tensor) -> list[Tensor]:
        """What the head reads of (M, bands, rows, cols) images."""


def _one_composite(pixels: Tensor, valid: Tensor, day_of_year: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The mean of the valid dates of each pixel as a series of one date; NaN where there is none."""
    held = valid.unsqueeze(2)
    mean = torch.where(held, pixels, 0.0).sum(dim=1, keepdim=True) / held.sum(dim=1, keepdim=True)
    return mean, valid.any(dim=1, keepdim=True), day_of_year[:, :1]


class SeriesSegmenter(SeriesNetwork):
    """A class per pixel: the pooled pyramid and one decoder."""

    def __init__(self, spec: ModelSpec) -> None:
        from segmentation_models_pytorch.base import SegmentationHead  # slow to import, only needed here
        from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head

        super().__init__(spec)
        channels = self.encoder.channels
        self.weights = DateWeights(channels[PLACES], self.heads) if self.attentive else None
        self.pooling = nn.ModuleList(
            DatePooling(width, projected=self.attentive and level >= VALUES)
            for level, width in enumerate(channels[1:], start=1)
        )
        self.decoder, width, kernel, upsampling = decoder_of(spec.decoder, self.encoder)
        self.upsampling = nn.UpsamplingBilinear2d(scale_factor=upsampling) if upsampling > 1 else nn.Identity()
        self.head = SegmentationHead(width + self.more, len(spec.classes), kernel_size=kernel)
        initialize_decoder(self.decoder)
        initialize_head(self.head)

    def maps(self, images: Tensor) -> list[Tensor]:
        """The pyramid."""
        return self.encoder.pyramid(images)

    def of_places(
        self,
        pixels: Tensor,
        valid: Tensor,
        day_of_year: Tensor,
        longitude: Tensor | None = None,
        latitude: Tensor | None = None,
    ) -> Tensor:
        """Logits (N, classes, rows, cols) of N series."""
        (rows, columns), stride = pixels.shape[-2:], self.encoder.stride
        if rows % stride or columns % stride:
            padding = (0, -columns % stride, 0, -rows % stride)
            pixels, valid = F.pad(pixels, padding, value=torch.nan), F.pad(valid, padding, value=False)
            longitude, latitude = (None if part is None else F.pad(part, padding) for part in (longitude, latitude))
        return super().of_places(pixels, valid, day_of_year, longitude, latitude)[..., :rows, :columns]

    def of_maps(
        self,
        maps: list[Tensor],
        valid: Tensor,
        day_of_year: Tensor,
        months: Tensor | None = None,
        longitude: Tensor | None = None,
        latitude: Tensor | None = None,
    ) -> Tensor:
        """Logits of the encoded dates."""
        days = self.days(day_of_year)
        pooled = [maps[0][:, 0]]  # decoders ignore the input
        for weights, part, pool in zip(self.date_weights(maps[PLACES], days, valid), maps[1:], self.pooling):
            pooled.append(pool(part, days, weights))
        decoded = self.upsampling(self.decoder(pooled))
        if months is not None:
            decoded = torch.cat([decoded, months], dim=1)
        if self.location is not None and longitude is not None:
            decoded = torch.cat([decoded, self.location(longitude, latitude).permute(0, 3, 1, 2)], dim=1)
        return self.head(decoded)

    def date_weights(self, features: Tensor, days: Tensor, valid: Tensor) -> list[Tensor]:
        """Weights at the strides of the pyramid, each (N, T, heads, rows, cols) with a sum of 1 over the dates, or of 0 without data."""
        cover, covers = valid.flatten(0, 1).unsqueeze(1).float(), []
        strides = self.encoder.strides
        for finer, stride in pairwise(strides):
            cover = F.avg_pool2d(cover, stride // finer) if stride > finer else cover
            covers.append(cover)
        wanted = None
        if self.weights is not None:
            places, _, _, rows, columns = features.shape
            at = covers[PLACES - 1].reshape(places, -1, rows * columns)
            wanted = self.weights(features.flatten(3).transpose(2, 3), days, at)
            wanted = wanted.transpose(2, 3).reshape(-1, self.heads, rows, columns)
        weights = []
        for stride, cover in zip(strides[1:], covers):
            part = cover if wanted is None else _at_stride(wanted, strides[PLACES], stride) * cover
            part = part.reshape(features.shape[0], -1, *part.shape[1:])
            weights.append(part / part.sum(dim=1, keepdim=True).clamp(min=1e-6))
        return weights


def _at_stride(weights: Tensor, own: int, stride: int) -> Tensor:
    """Weights (N, heads, rows, cols) of places of ``own`` px at another stride, px."""
    if stride > own:
        return F.avg_pool2d(weights, stride // own)
    if stride == own:
        return weights
    return F.interpolate(weights, scale_factor=own / stride, mode="bilinear")


class SeriesClassifier(SeriesNetwork):
    """A class per series: attention over the features of the dates, one place."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        width = self.encoder.width
        self.weights = DateWeights(width, self.heads) if self.attentive else None
        self.pooling = DatePooling(width, projected=self.attentive)
        self.head = nn.Linear(width + self.more, len(spec.classes))

    def maps(self, images: Tensor) -> list[Tensor]:
        """The pooled features, as a map of one pixel."""
        return [self.encoder(images)[..., None, None]]

    def of_maps(
        self,
        maps: list[Tensor],
        valid: Tensor,
        day_of_year: Tensor,
        months: Tensor | None = None,
        longitude: Tensor | None = None,
        latitude: Tensor | None = None,
    ) -> Tensor:
        """Logits of the encoded dates."""
        (features,) = maps
        cover = valid.float().mean(dim=(2, 3))
        middle = None
        if longitude is not None and latitude is not None:
            middle = [part[:, part.shape[1] // 2, part.shape[2] // 2] for part in (longitude, latitude)]
        course = None if months is None else months.mean(dim=(2, 3))
        return self.of_features(features[..., 0, 0], cover, day_of_year, course, middle)

    def of_features(
        self,
        features: Tensor,
        cover: Tensor,
        day_of_year: Tensor,
        months: Tensor | None = None,
        lonlat: list[Tensor] | None = None,
    ) -> Tensor:
        """Logits (N, classes) of features.

        Args:
            features: (N, T, width).
            cover: share of valid pixels, (N, T).
            day_of_year: (N, T).
            months: mean over the pixels of ``MonthlyComposites``, (N, channels), of a network that has them.
            lonlat: degrees, 2 x (N,), of a network with location.
        """
        days, weights = self.days(day_of_year), cover.unsqueeze(-1)
        if self.weights is not None:
            weights = self.weights(features.unsqueeze(2), days, cover.unsqueeze(-1))[:, :, 0] * weights
        weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-6)
        pooled = self.pooling(features[..., None, None], days, weights[..., None, None]).flatten(1)
        if months is not None:
            pooled = torch.cat([pooled, months], dim=1)
        if self.location is not None and lonlat is not None:
            pooled = torch.cat([pooled, self.location(*lonlat)], dim=1)
        return self.head(pooled)


SERIES_NETWORKS: dict[str, type[SeriesNetwork]] = {
    "segmentation": SeriesSegmenter,
    "classification": SeriesClassifier,
}
