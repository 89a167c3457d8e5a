"""Published encoders for Sentinel-2 as references: Galileo-nano and Presto, by the classes of rslearn (``pip install rslearn``).

Both are given what the other methods see and no more: the red, green and blue of one image, and its month where the store
has dates (June where it has none, as in rslearn); no location, elevation, weather or further bands. The colours are no
reflectance, so each band gets the mean and standard deviation that it has in Galileo's training data
(Tseng et al. 2025, https://arxiv.org/abs/2502.09356; Presto: Tseng et al. 2023, https://arxiv.org/abs/2304.14065).
Galileo describes an image by the mean of its tokens, Presto, which reads pixels, by the mean and the standard deviation of 256.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from core.errors import UserError, first_line
from core.networks.encoders import ModelSpec, Standardise
from core.store.read import ChipStore

COLOURS = (("blue", "B02", "B2"), ("green", "B03", "B3"), ("red", "B04", "B4"))  # in the order of both models
JUNE = 5  # months are counted from 0
# A side of the image: of Galileo's patches, at most 8 px each, and of the pixels that Presto reads.
TOKENS, PIXELS = 8, 16


class Galileo(nn.Module):
    """Galileo-nano of a folder with encoder.pt and config.json."""

    def __init__(self, folder: Path) -> None:
        from rslearn.models.galileo import single_file_galileo as code

        super().__init__()
        self.code = code
        self.encoder = code.Encoder.load_from_folder(folder / "galileo_nano", torch.device("cpu"))

    def forward(self, reflectance: Tensor, months: Tensor) -> Tensor:
        """(N, 128) of blue, green and red reflectance x 10000 (N, 3, rows, cols), and months (N,) from 0."""
        code, (count, _, rows, columns) = self.code, reflectance.shape
        at = [code.SPACE_TIME_BANDS.index(names[-1]) for names in COLOURS]
        values = np.zeros((count, rows, columns, 1, len(code.SPACE_TIME_BANDS)), np.float32)
        values[..., 0, at] = reflectance.permute(0, 2, 3, 1).cpu().numpy()
        device = reflectance.device
        seen = torch.from_numpy(code.Normalizer()(values)).float().to(device)
        hidden = torch.ones(count, rows, columns, 1, len(code.SPACE_TIME_BANDS_GROUPS_IDX), device=device)
        hidden[..., list(code.SPACE_TIME_BANDS_GROUPS_IDX).index("S2_RGB")] = 0
        others = (
            ((count, rows, columns), code.SPACE_BANDS, code.SPACE_BAND_GROUPS_IDX),
            ((count, 1), code.TIME_BANDS, code.TIME_BAND_GROUPS_IDX),
            ((count,), code.STATIC_BANDS, code.STATIC_BAND_GROUPS_IDX),
        )
        nothing = [torch.zeros(*shape, len(bands), device=device) for shape, bands, _ in others]
        masked = [torch.ones(*shape, len(groups), device=device) for shape, _, groups in others]
        tokens = self.encoder(
            seen, *nothing, hidden, *masked, months=months[:, None], patch_size=max(1, rows // TOKENS)
        )
        return self.encoder.average_tokens(*tokens[:-1])


class Presto(nn.Module):
    """Presto of a folder with default_model.pt."""

    def __init__(self, folder: Path) -> None:
        from rslearn.models.presto import single_file_presto as code

        super().__init__()
        self.code = code
        network = code.Presto.construct()
        network.load_state_dict(
            torch.load(folder / "presto" / "default_model.pt", map_location="cpu", weights_only=True)
        )
        self.encoder = network.encoder

    def forward(self, reflectance: Tensor, months: Tensor) -> Tensor:
        """(N, 256), see ``Galileo``."""
        step = max(1, reflectance.shape[-1] // PIXELS)
        pixels = reflectance[..., step // 2 :: step, step // 2 :: step].flatten(2).transpose(1, 2)  # (N, pixels, 3)
        count, each, _ = pixels.shape
        group = list(self.code.BANDS_GROUPS_IDX["S2_RGB"])
        seen = torch.zeros(count * each, 1, len(self.code.PRESTO_DIV_BY), device=pixels.device)
        hidden = torch.ones_like(seen)
        seen[:, 0, group] = pixels.flatten(0, 1) / self.code.PRESTO_DIV_BY[group].to(pixels.device)
        hidden[:, 0, group] = 0
        no_class = torch.full((count * each, 1), self.code.NUM_DYNAMIC_WORLD_CLASSES, device=pixels.device)
        month = months.repeat_interleave(each)[:, None]
        found = self.encoder(seen, no_class, mask=hidden, month=month).reshape(count, each, -1)
        return torch.cat([found.mean(dim=1), found.std(dim=1)], dim=1)


REFERENCES: dict[str, type[nn.Module]] = {"Galileo-nano": Galileo, "Presto": Presto}


def add_option(parser: argparse.ArgumentParser) -> None:
    """``--references``, of every command that can measure them."""
    parser.add_argument(
        "--references",
        type=Path,
        metavar="DIR",
        help="folder of the weights of Galileo-nano and Presto (galileo_nano, presto), measured once; needs rslearn",
    )


def read_reference(name: str, folder: Path) -> nn.Module:
    """The model of a name, from the folder of ``galileo_nano`` and ``presto``.

    Raises:
        UserError: rslearn or a file is missing.
    """
    try:
        return REFERENCES[name](folder).eval()
    except ImportError as error:
        raise UserError(f"--references: {name} needs rslearn ({first_line(error)}); pip install rslearn") from error
    except (OSError, ValueError) as error:  # rslearn's own check raises ValueError
        raise UserError(f"--references {folder}: does not hold the files of {name} ({first_line(error)})") from error


@torch.inference_mode()
def described(
    network: nn.Module, store: ChipStore, rows: np.ndarray, device: torch.device, batch_size: int = 64
) -> np.ndarray:
    """(N, D) float32 features of the images of (N,) index rows."""
    from rslearn.models.galileo.single_file_galileo import NORMALIZING_DICT, SPACE_TIME_BANDS

    info = store.info
    positions = [next((i for i, band in enumerate(info.bands) if band in names), None) for names in COLOURS]
    if None in positions:
        raise UserError(f"{store.path}: has no bands named red, green and blue, which the references need")
    of_colours = [SPACE_TIME_BANDS.index(names[-1]) for names in COLOURS]
    mean, std = (
        torch.tensor([NORMALIZING_DICT["13"][key][at] for at in of_colours], device=device).view(-1, 1, 1)  # type: ignore[index]
        for key in ("mean", "std")
    )
    standardise, network = Standardise(ModelSpec.of_store(store, "resnet18")).to(device), network.to(device)
    months = months_of(store, rows)
    parts = []
    for start in tqdm(range(0, len(rows), batch_size), desc=type(network).__name__, unit="batch"):
        some = slice(start, start + batch_size)
        scaled = standardise(torch.from_numpy(store.pixels(rows[some])).to(device))[:, positions]
        parts.append(network(scaled * std + mean, torch.from_numpy(months[some]).to(device)).float().cpu().numpy())
    return np.concatenate(parts)


def months_of(store: ChipStore, rows: np.ndarray) -> np.ndarray:
    """Months (N,) of the images of index rows, from 0; June where there is no date."""
    months = pd.DatetimeIndex(pd.to_datetime(store.column("datetime")[rows], utc=True)).month - 1
    return np.where(months.isna(), JUNE, months).astype(np.int64)
