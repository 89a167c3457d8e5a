"""The networks, and the one file each is kept in (safetensors with its specification).

Every network takes raw pixel values: the scaling is its first layer, so that nobody can feed it the
wrong unit by forgetting a step.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from core.errors import UserError
from core.files import flush
from core.store.read import ChipStore, LandClass

ARCHS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")  # torchvision's; timm has the others


@dataclass(frozen=True)
class ModelSpec:
    """What a file of weights must say about itself.

    Attributes:
        task: embedding, classification, sequence, segmentation or detection.
        arch: one of ``ARCHS``, or the name of a timm model.
        bands: names of the input bands, in order.
        unit: what a pixel value means.
        value_range: lowest and highest value seen in training.
        mean: per band, raw units.
        std: per band, raw units.
        gsd: pixel size in metres, or None.
        chip_size: rows = columns seen in training, px.
        classes: the legend, in the order of the output; empty for an embedding.
        description: how and on what it was trained.
        license: of the imagery it was trained on.
        decoder: of a segmentation: unet, deeplabv3plus or fpn.
    """

    task: str
    arch: str
    bands: tuple[str, ...]
    unit: str
    value_range: tuple[float, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    gsd: float | None
    chip_size: int
    classes: tuple[LandClass, ...] = ()
    description: str = ""
    license: str = ""
    decoder: str = "unet"

    @classmethod
    def of_store(cls, store: ChipStore, arch: str) -> ModelSpec:
        """An embedding model for the imagery of a store, scaled by its training places."""
        check_arch(arch)
        return cls(
            task="embedding",
            arch=arch,
            bands=store.info.bands,
            unit=store.info.unit,
            value_range=store.info.value_range,
            mean=store.info.mean,
            std=store.info.std,
            gsd=store.info.gsd,
            chip_size=store.info.chip_size,
            license=store.info.license,
        )

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read what ``asdict`` wrote."""
        fields = json.loads(text)
        for name in ("bands", "value_range", "mean", "std"):
            fields[name] = tuple(fields[name])
        fields["classes"] = tuple(LandClass(**entry) for entry in fields["classes"])
        return cls(**fields)


def check_arch(arch: str) -> None:
    """Refuse what is neither one of ``ARCHS`` nor a timm model that yields a feature pyramid.

    Raises:
        UserError: likewise; it names models that are spelt alike.
    """
    if arch in ARCHS:
        return
    import timm

    if not timm.is_model(arch):
        alike = difflib.get_close_matches(arch, timm.list_models(), cutoff=0.5)
        hint = f"; spelt alike: {', '.join(alike)}" if alike else ""
        raise UserError(f"--arch {arch}: choose {', '.join(ARCHS)} or a timm model with a feature pyramid{hint}")
    try:
        with torch.device("meta"), torch.inference_mode():  # shapes alone: no memory, no time
            maps = _timm_trunk(arch, 3).eval()(torch.zeros(1, 3, 64, 64))
        pyramid = [64 // size.shape[-1] for size in maps] == [1, 2, 4, 8, 16, 32]
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError):
        pyramid = False  # plain transformers have one stride, others take one image size only
    if not pyramid:
        raise UserError(
            f"--arch {arch}: yields no feature maps at strides 4, 8, 16 and 32 for chips of any size; take another model"
        )


def check_size(arch: str, bands: int, size: int) -> None:
    """Refuse images that a network cannot take because they are too small; a ResNet takes any.

    Raises:
        UserError: likewise.
    """
    if arch in ARCHS:
        return
    try:
        with torch.device("meta"), torch.inference_mode():
            _timm_trunk(arch, bands).eval()(torch.zeros(1, bands, size, size))
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError) as error:
        raise UserError(
            f"--arch {arch}: does not take images of {size} px; make the chips or the views larger, 32 px or more, "
            "or take a ResNet"
        ) from error


class Standardise(nn.Module):
    """Raw pixel values to zero mean and unit deviation; pixels without data (NaN) become the mean."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(spec.mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(spec.std).view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Scale (N, bands, rows, cols)."""
        scaled = (pixels - self.mean) / self.std
        return torch.where(torch.isnan(scaled), 0.0, scaled)


class Encoder(nn.Module):
    """A trunk without its head: raw pixels (N, bands, rows, cols) to features (N, D) after average pooling.

    Attributes:
        width: D.
        channels: of each map that ``pyramid`` gives.
    """

    channels: list[int]

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.standardise = Standardise(spec)
        bands = len(spec.bands)
        if spec.arch in ARCHS:
            self.trunk = getattr(torchvision.models, spec.arch)()
            self.trunk.conv1 = nn.Conv2d(bands, 64, 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.trunk.conv1.weight, mode="fan_out", nonlinearity="relu")
            width = self.trunk.fc.in_features
            self.trunk.fc = nn.Identity()
            self.channels = [bands, 64, *(width // 2**n for n in (3, 2, 1, 0))]
        else:
            self.trunk = _timm_trunk(spec.arch, bands)
            self.channels = list(self.trunk.out_channels)
        self.is_resnet = spec.arch in ARCHS
        self.width = self.channels[-1]

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (N, D)."""
        scaled = self.standardise(pixels)
        return self.trunk(scaled) if self.is_resnet else self.trunk(scaled)[-1].mean(dim=(2, 3))

    def pyramid(self, pixels: Tensor) -> list[Tensor]:
        """Feature maps as the decoders of segmentation-models-pytorch take them.

        Args:
            pixels: (N, bands, rows, cols) raw values; rows and cols multiples of 32.

        Returns:
            The standardised input, then maps at strides 2, 4, 8, 16, 32; map i has ``channels[i]`` channels.
            Networks that begin with stride 4 give an empty map, of 0 channels, at stride 2; VGGs give their
            own first map in place of the input.
        """
        scaled = self.standardise(pixels)
        if not self.is_resnet:
            return self.trunk(scaled)
        trunk = self.trunk
        stem = trunk.relu(trunk.bn1(trunk.conv1(scaled)))
        maps = [scaled, stem]
        below = trunk.maxpool(stem)
        for layer in (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4):
            below = layer(below)
            maps.append(below)
        return maps


def _timm_trunk(arch: str, bands: int) -> nn.Module:
    """A timm model, untrained, whose output is the list of maps that ``Encoder.pyramid`` promises."""
    import segmentation_models_pytorch as smp  # slow to import, and ResNets do without

    options = {"dynamic_img_size": True} if arch.startswith("swin") else {}
    return smp.encoders.TimmUniversalEncoder(arch, pretrained=False, in_channels=bands, **options)


def check_task(spec: ModelSpec) -> None:
    """Refuse a task or a decoder that no network serves.

    Raises:
        UserError: likewise; it names what there is.
    """
    from core.networks.heads import DECODERS, NETWORKS

    if spec.task not in NETWORKS:
        raise UserError(f"task '{spec.task}' is none of {', '.join(NETWORKS)}")
    if spec.decoder not in DECODERS:
        raise UserError(f"decoder '{spec.decoder}' is none of {', '.join(DECODERS)}")


def build(spec: ModelSpec) -> nn.Module:
    """The untrained network of a specification."""
    from core.networks.heads import NETWORKS  # they stand on the encoder above

    return NETWORKS[spec.task](spec)


def for_task(spec: ModelSpec, encoder: Encoder) -> nn.Module:
    """The network of a specification on a trained encoder; its head is untrained."""
    model = build(spec)
    encoder_of(model).load_state_dict(encoder.state_dict())
    return model


def encoder_of(model: nn.Module) -> Encoder:
    """The part of a task's network that pretraining gave."""
    return model.encoder  # type: ignore[return-value]


def save_model(path: Path, spec: ModelSpec, model: nn.Module) -> None:
    """Write weights and specification, under a temporary name first."""
    partial = path.with_name(path.name + ".partial")
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, partial, metadata={"geoaware": json.dumps(asdict(spec))})
    flush(partial)
    partial.replace(path)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the metadata, of a safetensors file.

    Raises:
        UserError: no such file, or another kind of file.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            return weights, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a safetensors file, or a damaged one ({error})") from error


def load_model(path: Path) -> tuple[ModelSpec, nn.Module]:
    """Read a file that ``save_model`` wrote; the model comes in eval mode, on the CPU.

    Raises:
        UserError: no such file, another kind of file, a specification of what this version does not know, or
            weights that do not fit it.
    """
    weights, metadata = read_safetensors(path)
    if "geoaware" not in metadata:
        raise UserError(f"{path}: does not say what it holds; give a file that core.train wrote")
    try:
        spec = ModelSpec.from_json(metadata["geoaware"])
        check_arch(spec.arch)
        check_task(spec)
    except (ValueError, KeyError, TypeError, UserError) as error:
        raise UserError(f"{path}: its specification cannot be read ({error})") from error
    model = build(spec)
    problems = misfits(model.state_dict(), weights)
    if problems:
        raise UserError(f"{path}: does not fit {spec.arch}, {len(problems)} keys are wrong: {'; '.join(problems[:5])}")
    model.load_state_dict(weights)
    return spec, model.eval()


def check_fit(path: Path, spec: ModelSpec, store: ChipStore) -> None:
    """Refuse a model whose bands or unit are not the store's."""
    if len(spec.bands) != len(store.info.bands):
        raise UserError(f"{path}: was trained on {len(spec.bands)} bands, but {store.path} has {len(store.info.bands)}")
    if spec.unit != store.info.unit:
        raise UserError(f"{path}: was trained on '{spec.unit}', but {store.path} holds '{store.info.unit}'")


def misfits(wanted: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """What is wrong with a state dict, a phrase a key: missing, of another shape, or unknown."""
    problems = [f"{name} is missing" for name in wanted if name not in found]
    problems += [
        f"{name} is {list(found[name].shape)}, not {list(wanted[name].shape)}"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    return problems + [f"{name} is unknown" for name in found if name not in wanted]


@cache
def faster_in_bf16(device: torch.device) -> bool:
    """Whether bf16 pays: a GPU says so itself; a CPU needs instructions for it (AMX or AVX-512 BF16)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    cpuinfo = Path("/proc/cpuinfo")  # Linux only; elsewhere fp32 is the safe choice
    flags = cpuinfo.read_text() if device.type == "cpu" and cpuinfo.exists() else ""
    return "amx_bf16" in flags or "avx512_bf16" in flags


@torch.inference_mode()
def features(
    model: nn.Module, store: ChipStore, rows: np.ndarray, device: torch.device, batch_size: int = 512
) -> np.ndarray:
    """Run the images of these index rows through an encoder, (N, D) float32."""
    model = model.to(device).to(memory_format=torch.channels_last).eval()
    parts = []
    bf16 = faster_in_bf16(device)
    for start in range(0, len(rows), batch_size):
        pixels = torch.from_numpy(store.pixels(rows[start : start + batch_size])).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            parts.append(model(pixels).float().cpu().numpy())
    return np.concatenate(parts)
