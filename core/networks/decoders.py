"""Decoders of segmentation-models-pytorch, on the feature pyramid of any of our encoders."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from core.networks import small_maps
from core.networks.encoders import Encoder

DECODERS = {"unet": "U-Net", "deeplabv3plus": "DeepLabV3+", "fpn": "FPN"}


def decoder_of(name: str, encoder: Encoder) -> tuple[nn.Module, int, int, int]:
    """A decoder, its output channels, and the head's kernel size and upsampling as in segmentation-models-pytorch.

    U-Net's enlarges each map to the size of the next, whatever that is. The others expect maps at certain strides.
    """
    channels, strides = encoder.channels, encoder.strides
    from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
    from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
    from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

    if name == "unet":
        widths = (256, 128, 64, 32, 16)
        unet = UnetDecoder(channels, widths)
        small_maps.convert(unet)
        return unet, widths[-1], 3, 1
    if name == "fpn":
        decoder = FPNDecoder(channels)
        decoder.register_forward_pre_hook(_Halving(strides))
        return decoder, 128, 1, strides[-1] // 8
    decoder = DeepLabV3PlusDecoder(
        channels, 5, 256, atrous_rates=(6, 12, 18), output_stride=16, aspp_separable=True, aspp_dropout=0.5
    )
    # The encoder ends at stride 32, not 16: half the atrous rates and twice the upsampling, to match the map at stride 4.
    decoder.up = nn.UpsamplingBilinear2d(scale_factor=strides[-1] // strides[2])
    return decoder, 256, 1, strides[2]


class _Halving:
    """Enlarges maps of a pyramid where they are not twice as large as the next, which FPN's decoder takes for granted."""

    def __init__(self, strides: list[int]) -> None:
        wanted = [strides[-1] // n for n in (8, 4, 2, 1)]
        self.factors = [1, 1, *(own // other for own, other in zip(strides[-4:], wanted))]  # it reads the last four

    def __call__(self, decoder: nn.Module, inputs: tuple[list[Tensor]]) -> tuple[list[Tensor]]:
        maps = [F.interpolate(part, scale_factor=n) if n > 1 else part for part, n in zip(inputs[0], self.factors)]
        return (maps,)
