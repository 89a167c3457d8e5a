"""The networks of the tasks: an encoder (always ``model.encoder``) with a head.

The detector is torchvision's RetinaNet; it uses the encoder's feature pyramid as the decoders do, so that any encoder
works for every task.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from core.networks.decoders import decoder_of
from core.networks.encoders import Encoder, ModelSpec
from core.networks.series import SERIES_NETWORKS

ANCHOR = 2  # pixels of its map in the smallest anchor: half of RetinaNet's own, because objects in overhead imagery are small
PYRAMID_CHANNELS = 256  # as in the RetinaNet paper


class Classifier(nn.Module):
    """An encoder and one linear layer: raw pixels to logits (N, classes)."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.encoder = Encoder(spec)
        self.head = nn.Linear(self.encoder.width, len(spec.classes))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, classes)."""
        return self.head(self.encoder(pixels))


class Segmenter(nn.Module):
    """A decoder on the encoder's pyramid: raw pixels of any size to logits (N, classes, rows, cols)."""

    def __init__(self, spec: ModelSpec) -> None:
        from segmentation_models_pytorch.base import SegmentationHead  # slow to import, only needed here
        from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head

        super().__init__()
        self.encoder = Encoder(spec)
        self.decoder, width, kernel, upsampling = decoder_of(spec.decoder, self.encoder)
        self.head = SegmentationHead(width, len(spec.classes), kernel_size=kernel, upsampling=upsampling)
        initialize_decoder(self.decoder)
        initialize_head(self.head)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (N, classes, rows, cols)."""
        rows, columns = pixels.shape[-2:]
        maps = self.encoder.pyramid(pad_to_stride(pixels, self.encoder.stride))
        return self.head(self.decoder(maps))[..., :rows, :columns]


def pad_to_stride(pixels: Tensor, stride: int) -> Tensor:
    """Pad images (N, bands, rows, cols) at the bottom and right with NaN to multiples of ``stride``, px."""
    rows, columns = pixels.shape[-2:]
    if rows % stride == 0 and columns % stride == 0:
        return pixels
    return F.pad(pixels, (0, -columns % stride, 0, -rows % stride), value=torch.nan)


class Detector(RetinaNet):
    """RetinaNet on the encoder's pyramid, for raw pixels (N, bands, rows, cols).

    In training mode ``forward(pixels, targets)`` returns the losses; otherwise ``forward(pixels)`` returns for each image
    ``boxes`` (M, 4) as xmin, ymin, xmax, ymax in px, ``scores`` (M,), best first, and ``labels`` (M,).
    """

    def __init__(self, spec: ModelSpec) -> None:
        encoder = Encoder(spec)
        strides = [*encoder.strides[3:], 2 * encoder.stride, 4 * encoder.stride]
        # Group norm keeps activations from vanishing at the start, as in torchvision's retinanet_resnet50_fpn_v2.
        anchors = AnchorGenerator(
            tuple(tuple(round(ANCHOR * stride * 2 ** (third / 3)) for third in range(3)) for stride in strides),
            ((0.5, 1.0, 2.0),) * len(strides),
        )
        super().__init__(
            _Pyramid(encoder),
            len(spec.classes),
            anchor_generator=anchors,
            head=_Head(
                PYRAMID_CHANNELS, anchors.num_anchors_per_location()[0], len(spec.classes), partial(nn.GroupNorm, 32)
            ),
        )
        self.transform = _PadOnly(1, 1, [], [], encoder.stride)  # its scaling and its sizes are not used

    @property
    def encoder(self) -> Encoder:
        """The pretrained part."""
        return self.backbone.encoder


class _Pyramid(nn.Module):
    """Feature pyramid network on the encoder's last three maps (strides 8, 16 and 32, or less for small chips), and two coarser levels."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.fpn = FeaturePyramidNetwork(
            encoder.channels[3:], PYRAMID_CHANNELS, LastLevelP6P7(PYRAMID_CHANNELS, PYRAMID_CHANNELS)
        )
        self.out_channels = PYRAMID_CHANNELS

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return self.fpn({str(level): maps for level, maps in enumerate(self.encoder.pyramid(pixels)[3:])})


class _PadOnly(GeneralizedRCNNTransform):
    """Keeps the size and values of images, where torchvision's own would enlarge and normalise them."""

    def normalize(self, image: Tensor) -> Tensor:
        return image

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        return image, target

    def batch_images(self, images: list[Tensor], size_divisible: int = 32) -> Tensor:
        return pad_to_stride(torch.stack(images), self.size_divisible)


class _Head(RetinaNetHead):
    """Outputs in fp32, bf16 is too coarse for boxes."""

    def forward(self, x: list[Tensor]) -> dict[str, Tensor]:
        return {name: output.float() for name, output in super().forward(x).items()}


NETWORKS: dict[str, type[nn.Module]] = {
    "embedding": Encoder,
    "classification": Classifier,
    "sequence": Classifier,  # of one date; training and evaluation average the logits of the dates of a place
    "segmentation": Segmenter,
    "detection": Detector,
}


def build(spec: ModelSpec) -> nn.Module:
    """The untrained network of a specification."""
    return (SERIES_NETWORKS if spec.dates else NETWORKS)[spec.task](spec)


def encoder_of(model: nn.Module) -> Encoder:
    """The encoder of a network of any task."""
    return model.encoder  # type: ignore[return-value]
