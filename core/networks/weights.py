"""``--encoder``: reads trained weights, ours and others', and fits them to a chip store.

Ours are the encoder.safetensors of a pretraining run. Others': the checkpoints of the paper's authors
(Ayush et al. 2021), a state dict with torchvision's names for a ResNet, and torchgeo's ResNet weights.
Nothing that a file holds is run: pickles are read as plain weights only.
"""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import Normalize

from core.errors import UserError, first_line
from core.networks.adapt import LANDSAT_OLI, LANDSAT_TM, SENTINEL2, Unit, adapt_filters, match_bands, to_bands, to_unit
from core.networks.encoders import ARCHS, Encoder, ModelSpec, build, load_model, misfits, read_safetensors
from core.store.read import ChipStore

RGB = ("red", "green", "blue")
BYTES = "8-bit values, 0 to 255"
REFLECTANCE = "reflectance x 10000"
# Of RGB / 255, as torchvision's own weights and the authors' take it.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
TORCHGEO = "torchgeo:"
# What torch's reader raises on bytes that are no weights.
_UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError,
)  # fmt: skip


@dataclass(frozen=True)
class Weights:
    """What a source of weights holds.

    Attributes:
        spec: bands, unit and scaling that the weights were trained with.
        state: of the ``Encoder`` of that specification, without its scaling.
        sensor: what the band numbers among the bands mean, see ``core.networks.adapt``.
        ours: from a run of ours, which says its unit and range for certain.
    """

    spec: ModelSpec
    state: dict[str, Tensor]
    sensor: Mapping[str, str]
    ours: bool = False


def load_encoder(name: str | Path, store: ChipStore) -> tuple[ModelSpec, Encoder]:
    """Read an encoder and fit it to the imagery of a store; each thing that had to be fitted is printed.

    Args:
        name: our encoder.safetensors; a ``.pth.tar`` of the paper's authors; a ``.pth`` or ``.safetensors``
            with torchvision's names for a ResNet; or ``torchgeo:ResNet50_Weights.FMOW_RGB_GASSL`` and
            torchgeo's other ResNet weights.
        store: whose bands and unit the encoder must take.

    Returns:
        The specification for the store's imagery, and the encoder in eval mode, on the CPU.

    Raises:
        UserError: nothing there, no encoder, keys missing or of the wrong shape, another unit, or no network.
    """
    label, info = str(name), store.info
    found = _read(label)
    spec, measured = _in_unit_of(store, found, label)
    positions = match_bands(spec.bands, found.sensor, info.bands)
    spec = to_bands(spec, label, store, positions, measured=measured)
    if not found.ours:
        spec = replace(spec, value_range=info.value_range, gsd=info.gsd, chip_size=info.chip_size, license=info.license)

    encoder = Encoder(spec)
    state = dict(found.state)
    if positions != list(range(len(found.spec.bands))):
        for key in _input_filters(spec.arch, len(found.spec.bands)):
            state[key] = adapt_filters(state[key], positions)
    scaling = {f"standardise.{key}": tensor for key, tensor in encoder.standardise.state_dict().items()}
    encoder.load_state_dict(state | scaling)
    return spec, encoder.eval()


def _in_unit_of(store: ChipStore, found: Weights, label: str) -> tuple[ModelSpec, bool]:
    """The specification in the store's unit, and whether the store's own statistics have to scale it.

    A network that saw bands of zero mean and unit deviation takes any unit that is brought to those; one
    that saw bare quotients (/ 255, / 10000) does not, and ours is never fed what it was not trained on.
    """
    spec, unit = found.spec, store.info.unit
    if found.ours:
        return to_unit(spec, label, store), False
    same = Unit.of(spec.unit).quantity == Unit.of(unit).quantity
    if not same and any(spec.mean):
        _say(label, f"{spec.description}, was trained on '{spec.unit}', {store.path} holds '{unit}': "
             "scaled by the store's own mean and deviation of each band")  # fmt: skip
        return replace(spec, unit=unit), True
    fitted = to_unit(spec, label, store)
    _say(label, f"{spec.description}, scaled as it was trained: '{spec.unit}', "
         f"mean {_few(spec.mean)}, deviation {_few(spec.std)}")  # fmt: skip
    return fitted, False


def _say(name: str, sentence: str) -> None:
    print(f"{name}: {sentence}", flush=True)


def _input_filters(arch: str, bands: int) -> list[str]:
    """Names of the weights that see the bands: those whose shape their number changes."""
    fewer, more = _expected(arch, bands), _expected(arch, bands + 1)
    return [f"trunk.{key}" for key in fewer if fewer[key].shape != more[key].shape]


def _read(name: str) -> Weights:
    if name.startswith(TORCHGEO):
        return _from_torchgeo(name)
    path = Path(name)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix != ".safetensors":
        return _plain(name, _unpickle(path))
    weights, metadata = read_safetensors(path)
    return _ours(path) if "geoaware" in metadata else _plain(name, weights)


def _ours(path: Path) -> Weights:
    spec, model = load_model(path)
    if not isinstance(model, Encoder):
        raise UserError(f"{path}: is a model for {spec.task}; give the encoder.safetensors of a pretraining run")
    state = {key: tensor for key, tensor in model.state_dict().items() if not key.startswith("standardise.")}
    return Weights(spec, state, SENTINEL2, ours=True)


def _unpickle(path: Path) -> Any:
    """What ``torch.save`` wrote, tensors and plain values alone."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        if "GLOBAL " in str(error):  # the pickle names a class or function that is no plain weight
            raise UserError(
                f"{path}: not opened, it could run code; save its state dict alone and give that"
            ) from error
        raise UserError(f"{path}: not a weights file, or a damaged one") from error


def _plain(name: str, content: Any) -> Weights:
    """A state dict of torchvision's names, or the authors' checkpoint around one."""
    trunk, is_query = _trunk_of(name, content)
    kind = "query encoder of a checkpoint" if is_query else "state dict of a ResNet"
    mean, std = (tuple(255 * value for value in values) for values in (IMAGENET_MEAN, IMAGENET_STD))
    spec = _spec(RGB, BYTES, mean, std, f"{kind}, {Path(name).name}")
    return _fitting(name, trunk, spec, SENTINEL2, ARCHS)


def _spec(
    bands: tuple[str, ...], unit: str, mean: tuple[float, ...], std: tuple[float, ...], description: str
) -> ModelSpec:
    """Of weights whose network is still to be found out; size and pixel size come from the store."""
    value_range = {BYTES: (0.0, 255.0), REFLECTANCE: (0.0, 10000.0)}.get(unit, (0.0, 0.0))
    return ModelSpec("embedding", "", bands, unit, value_range, mean, std, None, 224, description=description)


def _trunk_of(name: str, content: Any) -> tuple[dict[str, Tensor], bool]:
    """The trunk's tensors by torchvision's names, and whether they are the query encoder of a checkpoint.

    The authors' files: ``state_dict`` beside ``epoch``, ``arch``, ``optimizer`` and ``geo_dict``; in it
    ``module.encoder_q.*`` with the head at ``fc``, ``module.encoder_k.*`` and the queue.
    """
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise UserError(f"{name}: holds no state dict; give weights with torchvision's names for a ResNet")
    tensors = {str(key).removeprefix("module."): tensor for key, tensor in state.items()}
    query = {key.removeprefix("encoder_q."): t for key, t in tensors.items() if key.startswith("encoder_q.")}
    trunk = {key: tensor for key, tensor in (query or tensors).items() if not key.startswith("fc.")}
    return trunk, bool(query)


def _fitting(
    name: str, trunk: dict[str, Tensor], spec: ModelSpec, sensor: Mapping[str, str], archs: tuple[str, ...]
) -> Weights:
    """Find out which network the tensors are of.

    Raises:
        UserError: none of them; it names the first keys that keep them from fitting the likeliest.
    """
    counters = {key.replace("running_var", "num_batches_tracked") for key in trunk if key.endswith("running_var")}
    trunk = {key: torch.tensor(0) for key in counters} | trunk  # files older than torch 0.4.1 have none
    problems = {arch: misfits(_expected(arch, len(spec.bands)), trunk) for arch in archs}
    arch = min(problems, key=lambda candidate: len(problems[candidate]))
    if problems[arch]:
        some = "; ".join(problems[arch][:5])
        raise UserError(f"{name}: does not fit {arch}, {len(problems[arch])} keys are wrong: {some}")
    spec = replace(spec, arch=arch, description=f"{arch}, {spec.description}")
    return Weights(spec, {f"trunk.{key}": tensor for key, tensor in trunk.items()}, sensor)


def _few(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in dict.fromkeys(round(value, 3) for value in values))


@cache
def _expected(arch: str, bands: int) -> dict[str, Tensor]:
    """Names and shapes of a trunk, without memory."""
    spec = ModelSpec("embedding", arch, ("",) * bands, "", (0, 1), (0.0,) * bands, (1.0,) * bands, None, 32)
    with torch.device("meta"):
        return dict(build(spec).get_submodule("trunk").state_dict())


def _from_torchgeo(name: str) -> Weights:
    weight = _torchgeo_weight(name)
    try:
        content = weight.get_state_dict(progress=True, check_hash=True, map_location="cpu", weights_only=True)
    except (OSError, HTTPException) as error:  # URLError is an OSError
        raise UserError(
            f"{name}: cannot be downloaded from {weight.url} ({first_line(error)}); fetch it once where there is a network, "
            f"into {torch.hub.get_dir()}/checkpoints"
        ) from error
    except _UNREADABLE as error:
        raise UserError(
            f"{name}: its file in {torch.hub.get_dir()}/checkpoints is damaged or not what torchgeo expects; delete it"
        ) from error
    trunk, _ = _trunk_of(name, content)
    arch = type(weight).__name__.removesuffix("_Weights").lower()  # meta["model"] is wrong for some
    bands = tuple(weight.meta.get("bands") or RGB)
    mean, std = _normalisation(weight.transforms, len(bands))
    unit = _unit_of(weight.name, mean, std)
    if "_MS_SATLAS" in weight.name:
        # Its RGB is Sentinel-2's true-colour image, whose 255 is a reflectance of 0.3558.
        std = tuple(3558.0 if value == 255 else value for value in std)
    spec = _spec(bands, unit, mean, std, f"torchgeo's {weight}")
    return _fitting(name, trunk, spec, _sensor_of(weight.name), (arch,))


def _torchgeo_weight(name: str) -> Any:
    """The entry of torchgeo's lists that ``torchgeo:ResNet50_Weights.NAME`` means."""
    import torchgeo.models  # slow to import

    lists = [getattr(torchgeo.models, entry) for entry in dir(torchgeo.models) if entry.startswith("ResNet")]
    known: dict[str, Any] = {str(weight): weight for weights in lists for weight in weights}
    wanted = name.removeprefix(TORCHGEO)
    if wanted not in known:
        alike = difflib.get_close_matches(wanted, known, cutoff=0) or list(known)[:3]
        raise UserError(f"{name}: torchgeo has no such ResNet weights; spelt alike: {', '.join(alike)}")
    return known[wanted]


def _normalisation(transforms: nn.Module, bands: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of raw values that all Normalize steps together amount to."""
    mean, std = [0.0] * bands, [1.0] * bands
    for step in transforms.modules():
        if not isinstance(step, Normalize):
            continue
        shift, scale = ([*values] * (bands // len(values)) for values in (step.mean, step.std))
        mean = [m + s * x for m, s, x in zip(mean, std, shift)]
        std = [s * x for s, x in zip(std, scale)]
    return tuple(mean), tuple(std)


def _unit_of(name: str, mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    """The unit of torchgeo's weights, which only the size of their scaling tells."""
    if name.startswith("SENTINEL1"):
        return "backscatter in dB"
    return REFLECTANCE if max(*mean, *std) > 500 else BYTES


def _sensor_of(name: str) -> Mapping[str, str]:
    if name.startswith(("LANDSAT_TM", "LANDSAT_ETM")):
        return LANDSAT_TM
    return LANDSAT_OLI if name.startswith("LANDSAT") else SENTINEL2
