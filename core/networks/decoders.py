"""Decoders of segmentation-models-pytorch, on the feature pyramid of any of our encoders."""

from __future__ import annotations

from torch import nn

DECODERS = {"unet": "U-Net", "deeplabv3plus": "DeepLabV3+", "fpn": "FPN"}
STRIDE = 32  # of the last map of the pyramid


def decoder_of(name: str, channels: list[int]) -> tuple[nn.Module, int, int, int]:
    """A decoder, its output channels, and the head's kernel size and upsampling as in segmentation-models-pytorch."""
    from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
    from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
    from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

    if name == "unet":
        widths = (256, 128, 64, 32, 16)
        return UnetDecoder(channels, widths), widths[-1], 3, 1
    if name == "fpn":
        return FPNDecoder(channels), 128, 1, 4
    decoder = DeepLabV3PlusDecoder(
        channels, 5, 256, atrous_rates=(6, 12, 18), output_stride=16, aspp_separable=True, aspp_dropout=0.5
    )
    # The encoder ends at stride 32, not 16: half the atrous rates and twice the upsampling, to match the map at stride 4.
    decoder.up = nn.UpsamplingBilinear2d(scale_factor=8)
    return decoder, 256, 1, 4
