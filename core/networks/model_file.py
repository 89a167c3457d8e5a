"""Model files: weights with their specification, as safetensors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from core.errors import UserError
from core.files import flush
from core.networks.encoders import ModelSpec, check_arch
from core.networks.heads import DECODERS, NETWORKS, build
from core.store.read import ChipStore


def save_model(path: Path, spec: ModelSpec, model: nn.Module) -> None:
    """Write weights and specification to a temporary file, then rename it."""
    partial = path.with_name(path.name + ".partial")
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, partial, metadata={"geoaware": json.dumps(asdict(spec))})
    flush(partial)
    partial.replace(path)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the metadata, of a safetensors file.

    Raises:
        UserError: no such file, or not a valid safetensors file.
    """
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
        UserError: no such file, another kind of file, a specification that this version does not support, or weights
            that do not match it.
    """
    weights, metadata = read_safetensors(path)
    if "geoaware" not in metadata:
        raise UserError(f"{path}: has no GeoAware metadata; choose a file written by core.train")
    try:
        spec = ModelSpec.from_json(metadata["geoaware"])
        check_arch(spec.arch)
        for field, known in (("task", NETWORKS), ("decoder", DECODERS)):
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
    problems = [f"{name} is missing" for name in expected if name not in actual]
    problems += [
        f"{name} is {list(actual[name].shape)}, not {list(expected[name].shape)}"
        for name in expected
        if name in actual and actual[name].shape != expected[name].shape
    ]
    return problems + [f"{name} is unknown" for name in actual if name not in expected]
