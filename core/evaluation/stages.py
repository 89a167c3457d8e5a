"""Features of an encoder's stages after average pooling: what it sees before its last map."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from core.networks.encoders import Encoder, features
from core.store.read import ChipStore

STAGES = 4


class Pooled(nn.Module):
    """The means of an encoder's last ``STAGES`` maps beside each other; of the last, its features.

    With ``deviations`` their standard deviations follow, as many numbers again: how much a texture varies within the image.
    """

    def __init__(self, encoder: Encoder, deviations: bool = False) -> None:
        super().__init__()
        self.encoder, self.deviations = encoder, deviations

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, bands, rows, cols) to (N, sum of the channels), or twice as many."""
        levels = self.encoder.pyramid(pixels)[-STAGES:]
        parts = [level.mean(dim=(2, 3)) for level in levels]
        if self.deviations:
            parts += [level.std(dim=(2, 3), correction=0) for level in levels]
        return torch.cat(parts, dim=1)


def stage_features(encoder: Encoder, store: ChipStore, rows: np.ndarray, device: torch.device) -> dict[str, np.ndarray]:
    """Features of the images of (N,) index rows, (N, D) float32 each, all from one pass.

    Returns:
        ``last``: those of the encoder; ``third``: of the stage before; ``first_three``: of stages 1 to 3 together.
    """
    pooled = features(Pooled(encoder), store, rows, device)
    ends = np.cumsum(encoder.channels[-STAGES:])
    return {"last": pooled[:, ends[2] :], "third": pooled[:, ends[1] : ends[2]], "first_three": pooled[:, : ends[2]]}
