"""Trained weights: model files with their specification, and weights of others, adapted to a chip store (``--encoder``).

Supported are encoder.safetensors of a pretraining run, checkpoints of the paper's authors (Ayush et al. 2021), state
dicts with torchvision's names for a ResNet, and torchgeo's weights of ResNets and Swin transformers. No code in a file is executed: pickles are
loaded with ``weights_only``.
"""

from __future__ import annotations

import difflib
import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torchvision.transforms.v2 import Normalize

from core.errors import UserError, first_line
from core.files import write_whole
from core.networks import adapt
from core.networks.decoders import DECODERS
from core.networks.encoders import ARCHS, Encoder, ModelSpec, check_arch
from core.networks.heads import NETWORKS, build
from core.networks.series import SERIES_NETWORKS, TEMPORAL
from core.networks.torchgeo_swins import PREFIX as TORCHGEO
from core.networks.torchgeo_swins import SWINS
from core.store.read import ChipStore
from export.runtime.raster.sentinel2 import REFLECTANCE

RGB = ("red", "green", "blue")
BYTES = "8-bit values, 0 to 255"
# Of RGB / 255, for torchvision's own weights and the authors'.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_LETTERS = {"R": "red", "G": "green", "B": "blue"}  # torchgeo's names of NAIP's bands
_TORCHGEO_ENUMS = ("ResNet", "Swin_V2_")  # torchgeo's weights of other Swin transformers are of street scenes
_HEADS = ("fc.", "norm.", "head.")  # of ResNets and Swin transformers
# Raised by torch.load for files that hold no weights.
_UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError)


@dataclass(frozen=True)
class Weights:
    """Trained weights with what is known about their input.

    Attributes:
        state: of the ``Encoder`` of the specification, without its scaling.
        sensor: common names of the band numbers, see ``core.networks.adapt``.
        ours: written by core.train, so that unit and value range are known exactly.
    """

    spec: ModelSpec
    state: dict[str, Tensor]
    sensor: Mapping[str, str]
    ours: bool = False


def save_model(path: Path, spec: ModelSpec, model: nn.Module) -> None:
    """Write weights and specification, whole or not at all."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_whole(path, save(weights, metadata={"geoaware": json.dumps(asdict(spec))}))


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the metadata, of a safetensors file; ``UserError`` if it is missing or corrupt."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            return weights, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a safetensors file, or a corrupt one ({error})") from error


def load_model(path: Path) -> tuple[ModelSpec, nn.Module]:
    """Read a file written by ``save_model``; the model is in eval mode, on the CPU.

    Raises:
        UserError: the file is missing or of another kind, or its specification is not supported or not its weights'.
    """
    weights, metadata = read_safetensors(path)
    if "geoaware" not in metadata:
        raise UserError(f"{path}: has no GeoAware metadata; choose a file written by core.train")
    try:
        spec = ModelSpec.from_json(metadata["geoaware"])
        check_arch(spec.arch, spec.stride)
        tasks = SERIES_NETWORKS if spec.dates else NETWORKS
        for field, known in (("task", tasks), ("decoder", DECODERS), ("temporal", TEMPORAL)):
            if getattr(spec, field) not in known:
                raise ValueError(f"{field} '{getattr(spec, field)}' is not one of {', '.join(known)}")
    except (ValueError, KeyError, TypeError, UserError) as error:
        raise UserError(f"{path}: unsupported specification ({error})") from error
    model = build(spec)
    problems = mismatches(model.state_dict(), weights)
    if problems:
        raise UserError(f"{path}: does not match {spec.arch}: {len(problems)} wrong keys: {'; '.join(problems[:5])}")
    model.load_state_dict(weights)
    return spec, model.eval()


def check_fit(path: Path, spec: ModelSpec, store: ChipStore) -> None:
    """Raise ``UserError`` unless the store has the model's number of bands and its unit."""
    if len(spec.bands) != len(store.info.bands):
        raise UserError(f"{path}: was trained on {len(spec.bands)} bands, but {store.path} has {len(store.info.bands)}")
    if spec.unit != store.info.unit:
        raise UserError(f"{path}: was trained on '{spec.unit}', but the unit of {store.path} is '{store.info.unit}'")


def mismatches(expected: dict[str, Tensor], actual: dict[str, Tensor]) -> list[str]:
    """Differences of two state dicts, one phrase per key: missing, of another shape, or unknown."""
    shapes = {name: (list(actual[name].shape), list(expected[name].shape)) for name in expected if name in actual}
    problems = [f"{name} is missing" for name in expected if name not in actual]
    problems += [f"{name} is {shape}, not {right}" for name, (shape, right) in shapes.items() if shape != right]
    return problems + [f"{name} is unknown" for name in actual if name not in expected]


def load_encoder(name: str | Path, store: ChipStore) -> tuple[ModelSpec, Encoder]:
    """Read an encoder and adapt it to the imagery of a store; prints each adaptation.

    ``name`` is a file, or torchgeo weights such as ``torchgeo:ResNet50_Weights.FMOW_RGB_GASSL``.
    Returns the specification for the store's imagery, and the encoder in eval mode, on the CPU.

    Raises:
        UserError: no such file, not an encoder, missing or wrong keys, an incompatible unit, or a failed download.
    """
    label, info = str(name), store.info
    weights = _read(label)
    spec, measured = _in_unit_of(store, weights, label)
    positions = adapt.match_bands(spec.bands, weights.sensor, info.bands)
    spec = adapt.to_bands(spec, label, store, positions, measured=measured)
    if not weights.ours:
        spec = replace(spec, value_range=info.value_range, gsd=info.gsd, chip_size=info.chip_size, license=info.license)

    encoder = Encoder(spec)
    state = dict(weights.state)
    bands = len(weights.spec.bands)
    if positions != list(range(bands)):
        fewer, more = _expected(spec.arch, bands), _expected(spec.arch, bands + 1)
        for key in [f"trunk.{key}" for key in fewer if fewer[key].shape != more[key].shape]:  # depend on the bands
            state[key] = adapt.adapt_filters(state[key], positions)
    scaling = {f"standardise.{key}": tensor for key, tensor in encoder.standardise.state_dict().items()}
    encoder.load_state_dict(state | scaling)
    return spec, encoder.eval()


def _in_unit_of(store: ChipStore, weights: Weights, label: str) -> tuple[ModelSpec, bool]:
    """The specification in the store's unit, and whether to scale by the store's statistics.

    Third-party weights trained on standardised bands accept any unit that is standardised too. Those trained on plain
    quotients (/ 255, / 10000), and our own, only accept units that can be converted.
    """
    spec, unit = weights.spec, store.info.unit
    same = adapt.PixelUnit.of(spec.unit).quantity == adapt.PixelUnit.of(unit).quantity
    measured = not (weights.ours or same) and any(spec.mean)
    adapted = replace(spec, unit=unit) if measured else adapt.to_unit(spec, label, store)
    how = f"scaled as in training: '{spec.unit}', mean {_unique(spec.mean)}, std {_unique(spec.std)}"
    if measured:
        how = f"was trained on '{spec.unit}', the unit of {store.path} is '{unit}': scaled by the store's mean and std per band"
    if not weights.ours:
        print(f"{label}: {spec.description}, {how}", flush=True)
    return adapted, measured


def _read(name: str) -> Weights:
    if name.startswith(TORCHGEO):
        return _from_torchgeo(name)
    path = Path(name)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix != ".safetensors":
        return _plain(name, _unpickle(path))
    tensors, metadata = read_safetensors(path)
    if "geoaware" not in metadata:
        return _plain(name, tensors)
    spec, model = load_model(path)
    if not isinstance(model, Encoder):
        raise UserError(f"{path}: is a {spec.task} model; choose the encoder.safetensors of a pretraining run")
    state = {key: tensor for key, tensor in model.state_dict().items() if not key.startswith("standardise.")}
    return Weights(spec, state, adapt.SENTINEL2, ours=True)


def _unpickle(path: Path) -> Any:
    """Read a file of ``torch.save`` without executing code from it."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        if "GLOBAL " in str(error):  # the pickle refers to a class or function
            raise UserError(f"{path}: not loaded, it could execute code; save its state dict alone") from error
        raise UserError(f"{path}: not a weights file, or a corrupt one") from error


def _plain(name: str, content: Any) -> Weights:
    """A state dict with torchvision's names, or a checkpoint of the authors that contains one."""
    trunk, is_query = _trunk_of(name, content)
    kind = "query encoder of a checkpoint" if is_query else "state dict of a ResNet"
    mean, std = (tuple(255 * value for value in values) for values in (IMAGENET_MEAN, IMAGENET_STD))
    spec = _spec(RGB, BYTES, mean, std, f"{kind}, {Path(name).name}")
    return _identify(name, trunk, spec, adapt.SENTINEL2, ARCHS)


def _spec(
    bands: tuple[str, ...], unit: str, mean: tuple[float, ...], std: tuple[float, ...], description: str
) -> ModelSpec:
    """Specification without architecture; chip size and pixel size are taken from the store later."""
    value_range = {BYTES: (0.0, 255.0), REFLECTANCE: (0.0, 10000.0)}.get(unit, (0.0, 0.0))
    return ModelSpec("embedding", "", bands, unit, value_range, mean, std, None, 224, description=description)


def _trunk_of(name: str, content: Any) -> tuple[dict[str, Tensor], bool]:
    """The backbone's tensors by torchvision's names, and whether they are the query encoder of a checkpoint.

    The authors' files hold ``state_dict``, ``epoch``, ``arch``, ``optimizer`` and ``geo_dict``; the state dict has
    ``module.encoder_q.*`` with the head at ``fc``, ``module.encoder_k.*`` and the queue.
    """
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise UserError(f"{name}: contains no state dict; expected weights with torchvision's names for a ResNet")
    tensors = {str(key).removeprefix("module."): tensor for key, tensor in state.items()}
    query = {key.removeprefix("encoder_q."): t for key, t in tensors.items() if key.startswith("encoder_q.")}
    trunk = {key: tensor for key, tensor in (query or tensors).items() if not key.startswith(_HEADS)}
    return trunk, bool(query)


def _identify(
    name: str, trunk: dict[str, Tensor], spec: ModelSpec, sensor: Mapping[str, str], archs: tuple[str, ...]
) -> Weights:
    """Determine the architecture of the tensors; ``UserError``, with the first wrong keys, if none matches."""
    counters = {key.replace("running_var", "num_batches_tracked") for key in trunk if key.endswith("running_var")}
    trunk = {key: torch.tensor(0) for key in counters} | trunk  # files older than torch 0.4.1 have none
    problems = {arch: mismatches(_expected(arch, len(spec.bands)), trunk) for arch in archs}
    arch = min(problems, key=lambda candidate: len(problems[candidate]))
    if problems[arch]:
        some = "; ".join(problems[arch][:5])
        raise UserError(f"{name}: does not match {arch}: {len(problems[arch])} wrong keys: {some}")
    spec = replace(spec, arch=arch, description=f"{arch}, {spec.description}")
    return Weights(spec, {f"trunk.{key}": tensor for key, tensor in trunk.items()}, sensor)


def _unique(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in dict.fromkeys(round(value, 3) for value in values))


@cache
def _expected(arch: str, bands: int) -> dict[str, Tensor]:
    """Names and shapes of the backbone's tensors, without allocating memory."""
    spec = ModelSpec("embedding", arch, ("",) * bands, "", (0, 1), (0.0,) * bands, (1.0,) * bands, None, 32)
    with torch.device("meta"):
        return dict(Encoder(spec).get_submodule("trunk").state_dict())


def _from_torchgeo(name: str) -> Weights:
    weight = _torchgeo_weight(name)
    try:
        content = weight.get_state_dict(progress=True, check_hash=True, map_location="cpu", weights_only=True)
    except (OSError, HTTPException) as error:  # URLError is an OSError
        raise UserError(
            f"{name}: download from {weight.url} failed ({first_line(error)}); download it on a machine with a network "
            f"connection and copy it to {torch.hub.get_dir()}/checkpoints"
        ) from error
    except _UNREADABLE as error:
        raise UserError(
            f"{name}: its file in {torch.hub.get_dir()}/checkpoints is corrupt or of another version; delete it"
        ) from error
    trunk, _ = _trunk_of(name, content)
    arch = type(weight).__name__.removesuffix("_Weights").lower()  # meta["model"] is wrong for some
    if arch in SWINS:
        arch = TORCHGEO + arch
    bands = tuple(_LETTERS.get(band, band) for band in weight.meta.get("bands") or RGB)
    mean, std = _normalisation(weight.transforms, len(bands))
    if "_MS_SATLAS" in weight.name:
        # Its RGB is Sentinel-2's true-colour image, where 255 is a reflectance of 0.3558.
        std = tuple(3558.0 if value == 255 else value for value in std)
    spec = _spec(bands, _torchgeo_unit(weight.name, max(*mean, *std)), mean, std, f"torchgeo's {weight}")
    sensor = adapt.LANDSAT_OLI if weight.name.startswith("LANDSAT") else adapt.SENTINEL2
    if weight.name.startswith(("LANDSAT_TM", "LANDSAT_ETM")):
        sensor = adapt.LANDSAT_TM
    return _identify(name, trunk, spec, sensor, (arch,))


def _torchgeo_unit(name: str, largest: float) -> str:
    """The unit of the images that weights were trained on, from their name and the largest number of their scaling."""
    satlas = name.endswith("_SATLAS")
    if name.startswith("SENTINEL1"):
        return "backscatter scaled to 255 as in SatlasPretrain" if satlas else "backscatter in dB"
    if name.startswith("LANDSAT") and satlas:
        return "Landsat Level-1 digital numbers"
    return REFLECTANCE if largest > 500 else BYTES


def _torchgeo_weight(name: str) -> Any:
    """The entry of torchgeo's enums for ``torchgeo:ResNet50_Weights.NAME``."""
    import torchgeo.models  # slow to import

    enums = [getattr(torchgeo.models, entry) for entry in dir(torchgeo.models) if entry.startswith(_TORCHGEO_ENUMS)]
    known: dict[str, Any] = {str(weight): weight for weights in enums for weight in weights}
    entry = name.removeprefix(TORCHGEO)
    if entry not in known:
        similar = difflib.get_close_matches(entry, known, cutoff=0) or list(known)[:3]
        raise UserError(
            f"{name}: torchgeo has no such weights of a ResNet or Swin transformer; similar names: {', '.join(similar)}"
        )
    return known[entry]


def _normalisation(transforms: nn.Module, bands: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of raw values equivalent to all Normalize steps in sequence."""
    mean, std = [0.0] * bands, [1.0] * bands
    for step in transforms.modules():
        if not isinstance(step, Normalize):
            continue
        shift, scale = ([*values] * (bands // len(values)) for values in (step.mean, step.std))
        mean = [m + s * x for m, s, x in zip(mean, std, shift)]
        std = [s * x for s, x in zip(std, scale)]
    return tuple(mean), tuple(std)
