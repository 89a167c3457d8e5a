"""Encoders of others: exact small copies of their files, read and fitted to a store's bands and unit."""

import os
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torchvision.transforms.v2 import Normalize

from core import train
from core.errors import UserError
from core.networks.adapt import SENTINEL2, PixelUnit, adapt_filters, match_bands
from core.networks.encoders import Encoder, ModelSpec, check_arch
from core.networks.weights import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    _normalisation,
    _torchgeo_unit,
    load_encoder,
    load_model,
    save_model,
)
from core.store.build import build
from export import to_onnx
from export.model_files.quantize import real_tiles
from export.runtime.model.session import Model
from tests.conftest import call
from tests.sources import Bare, info

RGB = ("red", "green", "blue")
BYTES = "8-bit values, 0 to 255"


@dataclass(frozen=True)
class Scaled(Bare):
    """Chips whose values go up to about 200 times a factor."""

    factor: float = 1.0

    def chips(self, task, tally):
        for chip in super().chips(task, tally):
            yield replace(chip, pixels=(chip.pixels * self.factor).astype(self.info.dtype))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Makes a store of given bands, unit and size of values."""
    made = {}

    def make(bands=RGB, unit=BYTES, dtype="uint8", factor=1.0):
        key = (bands, unit, dtype, factor)
        if key not in made:
            source = Scaled(info(bands=bands, unit=unit, dtype="float32", chip_size=32), factor=factor)
            source = replace(source, info=replace(source.info, dtype=dtype))
            made[key] = build(source, tmp_path_factory.mktemp("stores") / "s", workers=1)[0]
        return made[key]

    return make


def resnet(arch="resnet18", bands=3):
    """A ResNet of torchvision with weights and statistics that no initialisation gives."""
    torch.manual_seed(0)
    model = getattr(torchvision.models, arch)()
    model.conv1 = torch.nn.Conv2d(bands, 64, 7, stride=2, padding=3, bias=False)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def without_head(model):
    model.fc = torch.nn.Identity()
    return model


def authors_checkpoint(model, module="module.", geo=True):
    """Their layout: query and key encoder with a head, queue, optimizer; the key encoder is all zeros here."""
    width = model.fc.in_features
    query = {key: value for key, value in model.state_dict().items() if not key.startswith("fc.")}
    query |= {"fc.0.weight": torch.randn(width, width), "fc.0.bias": torch.randn(width)}
    query |= {"fc.2.weight": torch.randn(128, width), "fc.2.bias": torch.randn(128)}
    state = {f"{module}encoder_q.{key}": value for key, value in query.items()}
    state |= {f"{module}encoder_k.{key}": value.new_zeros(()).expand_as(value) for key, value in query.items()}
    state |= {f"{module}queue": torch.randn(128, 64), f"{module}queue_ptr": torch.zeros(1, dtype=torch.long)}
    optimizer = torch.optim.SGD(model.parameters(), 0.03, momentum=0.9).state_dict()
    checkpoint = {"epoch": 200, "arch": "resnet50", "state_dict": state, "optimizer": optimizer}
    heads = {"module.layers.1.weight": torch.randn(100, 128), "module.layers.1.bias": torch.randn(100)}
    return checkpoint | ({"geo_dict": heads} if geo else {})


@torch.inference_mode()
def features(model, pixels):
    return model(pixels)


def imagenet(pixels):
    """Raw values 0 to 255, scaled as torchvision's weights want them."""
    mean, std = (
        torch.tensor([255 * value for value in values]).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return (pixels - mean) / std


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float()


@pytest.mark.parametrize(("module", "geo"), [("module.", True), ("", False)])
def test_the_authors_checkpoints_give_torchvisions_features(module, geo, stores, pixels, tmp_path, capsys):
    model = resnet("resnet50")
    torch.save(authors_checkpoint(model, module, geo), tmp_path / "moco_geo+tp.pth.tar")
    spec, encoder = load_encoder(tmp_path / "moco_geo+tp.pth.tar", stores())
    reference = without_head(model)
    torch.testing.assert_close(features(encoder, pixels), features(reference, imagenet(pixels)), rtol=1e-3, atol=1e-3)
    by_the_book = Normalize(IMAGENET_MEAN, IMAGENET_STD)(pixels / 255)
    torch.testing.assert_close(features(encoder, pixels), features(reference, by_the_book), rtol=1e-3, atol=1e-3)
    assert (spec.arch, spec.bands, spec.unit) == ("resnet50", RGB, BYTES)
    said = capsys.readouterr().out
    assert "scaled as in training: '8-bit values, 0 to 255', mean 123.675, 116.28, 103.53" in said


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("arch", ["resnet18", "resnet34"])
def test_a_plain_state_dict_is_recognised_by_its_keys(arch, suffix, stores, pixels, tmp_path):
    model, path = resnet(arch), tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(model.state_dict(), path)
    spec, encoder = load_encoder(path, stores())
    assert spec.arch == arch
    torch.testing.assert_close(
        features(encoder, pixels), features(without_head(model), imagenet(pixels)), rtol=1e-3, atol=1e-3
    )


def test_files_from_before_batches_were_counted_are_read(stores, pixels, tmp_path):
    model = resnet()
    state = {key: value for key, value in model.state_dict().items() if "num_batches" not in key}
    torch.save(state, tmp_path / "old.pth")
    encoder = load_encoder(tmp_path / "old.pth", stores())[1]
    torch.testing.assert_close(
        features(encoder, pixels), features(without_head(model), imagenet(pixels)), rtol=1e-3, atol=1e-3
    )


class Malice:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_code_is_refused(stores, tmp_path):
    torch.save({"state_dict": Malice(tmp_path / "ran")}, tmp_path / "evil.pth.tar")
    with pytest.raises(UserError, match=r"evil.pth.tar: not loaded, it could execute code"):
        load_encoder(tmp_path / "evil.pth.tar", stores())
    assert not (tmp_path / "ran").exists()


def test_wrong_keys_are_named_and_counted(stores, tmp_path):
    state = resnet().state_dict()
    state["layer1.0.conv1.weight"] = torch.zeros(64, 64, 1, 1)
    for key in [key for key in state if key.startswith("layer2.0.")]:
        del state[key]
    torch.save(state, tmp_path / "wrong.pth")
    with pytest.raises(UserError) as refusal:
        load_encoder(tmp_path / "wrong.pth", stores())
    said = str(refusal.value)
    assert "does not match resnet18: 19 wrong keys: layer2.0.conv1.weight is missing; " in said
    assert said.count(" is missing") == 5


def test_wrong_shapes_are_named(stores, tmp_path):
    torch.save(resnet(bands=5).state_dict(), tmp_path / "five.pth")
    with pytest.raises(UserError, match=r"1 wrong keys: conv1.weight is \[64, 5, 7, 7\], not \[64, 3, 7, 7\]"):
        load_encoder(tmp_path / "five.pth", stores())


@pytest.mark.parametrize("content", [b"no weights", b"an error page", b"", b"PK\x03\x04 cut off"])
def test_damaged_files_are_refused(content, stores, tmp_path):
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(UserError, match=r"file.pth: not a weights file, or a corrupt one"):
        load_encoder(tmp_path / "file.pth", stores())


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {"conv1.weight": 3}}, {"state_dict": None}])
def test_a_file_without_weights_is_refused(content, stores, tmp_path):
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(UserError, match=r"file.pth: contains no state dict"):
        load_encoder(tmp_path / "file.pth", stores())


# Bands.


def test_bands_are_matched_by_name_whatever_their_order(stores, pixels, tmp_path, capsys):
    model = resnet()
    torch.save(model.state_dict(), tmp_path / "w.pth")
    encoder = load_encoder(tmp_path / "w.pth", stores(("blue", "B03", "B4")))[1]
    expected = features(without_head(model), imagenet(pixels))
    torch.testing.assert_close(features(encoder, pixels.flip(1)), expected, rtol=1e-3, atol=1e-4)
    assert "uses blue as blue, B03 as green, B4 as red" in capsys.readouterr().out


def test_more_bands_adapt_the_first_convolution_and_say_how(stores, tmp_path, capsys):
    model = resnet()
    torch.save(model.state_dict(), tmp_path / "w.pth")
    store = stores(("B02", "B03", "B04", "B08"))
    spec, encoder = load_encoder(tmp_path / "w.pth", store)
    old, new = model.conv1.weight, encoder.trunk.conv1.weight
    assert torch.equal(new[:, :3], old.flip(1) * 0.75)
    torch.testing.assert_close(new[:, 3], old.mean(1) * 0.75)
    assert spec.mean[:3] == pytest.approx([255 * value for value in reversed(IMAGENET_MEAN)])
    assert spec.mean[3] == store.info.mean[3]
    assert spec.bands == store.info.bands
    said = capsys.readouterr().out
    assert "uses B02 as blue, B03 as green, B04 as red; B08 with the mean of all filters" in said
    assert "all filters of the first convolution x 3/4" in said


@pytest.mark.parametrize("positions", [[0, 1, 2, None, None], [2, 1, 0], [1], [None, None]])
def test_adapted_filters_answer_a_grey_image_as_before_up_to_the_choice_of_bands(positions):
    filters = torch.ones(4, 3, 7, 7)
    assert adapt_filters(filters, positions).sum() == pytest.approx(filters.sum().item())


def test_unnamed_bands_are_taken_in_their_order():
    assert match_bands(RGB, SENTINEL2, ("band 1", "band 2", "band 3")) == [0, 1, 2]
    assert match_bands(RGB, SENTINEL2, ("nir", "red", "green")) == [None, 0, 1]
    assert match_bands(RGB, SENTINEL2, ("SR_B4", "VV")) == [0, None]


@pytest.mark.parametrize("name", ["B05", "B5", "rededge1", "rededge071"])
def test_red_edge_bands_are_matched_by_all_their_names(name):
    assert match_bands(("B4", "B5"), SENTINEL2, (name, "VV", "red")) == [1, None, 0]


@pytest.fixture(scope="module")
def ours(stores, tmp_path_factory):
    """An encoder of ours for a store, as pretraining writes it."""

    def make(**options):
        store = stores(**options)
        path = tmp_path_factory.mktemp("ours") / "encoder.safetensors"
        spec = ModelSpec.of_store(store, "resnet18")
        save_model(path, spec, Encoder(spec))
        return path

    return make


def test_our_encoder_takes_more_bands_too(ours, stores, capsys):
    path = ours()
    spec, encoder = load_encoder(path, stores(("red", "green", "blue", "nir")))
    assert encoder.trunk.conv1.weight.shape[1] == len(spec.mean) == 4
    assert "nir with the mean of all filters" in capsys.readouterr().out


def test_our_encoder_on_its_own_imagery_is_as_it_was_and_silent(ours, stores, pixels, capsys):
    path = ours()
    spec, encoder = load_encoder(path, stores())
    known, model = load_model(path)
    assert spec == known
    assert torch.equal(features(encoder, pixels), features(model, pixels))
    assert capsys.readouterr().out == ""


# Units.


def test_reflectance_is_converted_and_said(ours, stores, pixels, capsys):
    path = ours(unit="reflectance x 10000", dtype="uint16", factor=40)
    _, encoder = load_encoder(path, stores(unit="surface reflectance, 0 to 1", dtype="float32", factor=0.004))
    assert "converted from 'reflectance x 10000' to 'surface reflectance, 0 to 1'" in capsys.readouterr().out
    raw = pixels * 40
    expected = features(load_model(path)[1], raw)
    torch.testing.assert_close(features(encoder, raw / 10000), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            {"unit": "reflectance x 10000", "dtype": "uint16", "factor": 40},
            "was trained on '8-bit values, 0 to 255', but",
        ),
        ({"dtype": "float32", "factor": 0.004}, "was trained on values up to 199, but those of .* go up to 0.796"),
        ({"unit": "digital numbers of type uint16", "dtype": "uint16"}, "is 'digital numbers of type uint16'"),
    ],
)
def test_our_encoder_is_refused_other_units(options, why, ours, stores):
    path = ours()
    with pytest.raises(UserError, match=why):
        load_encoder(path, stores(**options))


def test_weights_of_others_are_refused_values_that_their_unit_denies(stores, tmp_path):
    torch.save(resnet().state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"up to 255, but those of .* go up to 0.796 although its unit is '8-bit"):
        load_encoder(tmp_path / "w.pth", stores(dtype="float32", factor=0.004))


def test_standardised_weights_of_others_take_any_unit_by_the_stores_statistics(stores, tmp_path, capsys):
    torch.save(resnet().state_dict(), tmp_path / "w.pth")
    store = stores(unit="reflectance x 10000", dtype="uint16", factor=40)
    spec, _ = load_encoder(tmp_path / "w.pth", store)
    assert (spec.mean, spec.std, spec.unit) == (store.info.mean, store.info.std, store.info.unit)
    assert "scaled by the store's mean and std per band" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "raw", "quantity"),
    [
        ("8-bit colour, 0 to 255", 255, 1.0),
        ("Landsat surface reflectance scaled to 8 bits", 51, 0.2),
        ("top-of-atmosphere reflectance x 10000 (Sentinel-2 L1C)", 2500, 0.25),
        ("reflectance = 2.75e-05 x stored -0.2", 10000, 0.075),
        ("digital numbers of type uint16", 7, 7),
    ],
)
def test_units_are_read_from_what_stores_say(text, raw, quantity):
    unit = PixelUnit.of(text)
    assert unit.convert(raw, PixelUnit(unit.quantity)) == pytest.approx(quantity)


@pytest.mark.parametrize("text", ["counts, 0 to 100", "0 to 1023", "0 to 1.5"])
def test_other_ranges_are_not_taken_for_0_to_1(text):
    assert PixelUnit.of(text).quantity == text


@pytest.mark.parametrize("text", ["0 to 1", "brightness, 0 to 1.", "0 to 1 (float)"])
def test_0_to_1_is_brightness(text):
    assert PixelUnit.of(text) == PixelUnit("brightness")


# torchgeo.


def torchgeo_weights():
    import torchgeo.models as models

    resnets = (models.ResNet18_Weights, models.ResNet50_Weights, models.ResNet152_Weights)
    return [w for kind in (*resnets, models.Swin_V2_T_Weights, models.Swin_V2_B_Weights) for w in kind]


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Lets torchgeo's addresses lead to a local file; downloading, caching and reading are the real ones."""
    from torchvision.models import WeightsEnum

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))

    def serve(state):
        path = tmp_path / "served.pth"
        if isinstance(state, bytes):
            path.write_bytes(state)
        elif state is not None:
            torch.save(state, path)
        monkeypatch.setattr(WeightsEnum, "url", property(lambda _: path.as_uri()))

    return serve


def test_torchgeos_weights_come_with_their_own_scaling_and_bands(served, stores, pixels, capsys):
    model = resnet()
    served(model.state_dict())
    store = stores(("B02", "B03", "B04"), "reflectance x 10000", "uint16", 40)
    spec, encoder = load_encoder("torchgeo:ResNet18_Weights.SENTINEL2_RGB_MOCO", store)
    raw = pixels * 40
    expected = features(without_head(model), raw.flip(1) / 10000)
    torch.testing.assert_close(features(encoder, raw), expected, rtol=1e-3, atol=1e-4)
    assert (spec.mean, spec.std) == ((0.0,) * 3, (10000.0,) * 3)
    assert "torchgeo's ResNet18_Weights.SENTINEL2_RGB_MOCO, scaled as in training" in capsys.readouterr().out


def test_torchgeos_copy_of_the_authors_weights_is_one_of_them(served, stores, pixels):
    model = resnet("resnet50")
    served(authors_checkpoint(model)["state_dict"])
    encoder = load_encoder("torchgeo:ResNet50_Weights.FMOW_RGB_GASSL", stores())[1]
    expected = features(without_head(model), imagenet(pixels))
    torch.testing.assert_close(features(encoder, pixels), expected, rtol=1e-3, atol=1e-4)


def test_torchgeos_bands_keep_their_filters_in_a_store_with_fewer(served, stores, capsys):
    model = resnet(bands=13)
    served(model.state_dict())
    store = stores(("B08", "B04"), "reflectance x 10000", "uint16", 40)
    encoder = load_encoder("torchgeo:ResNet18_Weights.SENTINEL2_ALL_MOCO", store)[1]
    torch.testing.assert_close(encoder.trunk.conv1.weight, model.conv1.weight[:, [7, 3]] * 6.5)
    assert "uses B08 as B8, B04 as B4; all filters of the first convolution x 13/2" in capsys.readouterr().out


def test_weights_for_bare_quotients_are_refused_other_units(served, stores):
    served(resnet().state_dict())
    with pytest.raises(UserError, match="was trained on 'reflectance x 10000', but"):
        load_encoder("torchgeo:ResNet18_Weights.SENTINEL2_RGB_MOCO", stores())


def test_without_a_network_one_sentence_says_so(served, stores):
    served(None)
    with pytest.raises(
        UserError, match=r"torchgeo:ResNet50_Weights.FMOW_RGB_GASSL: download from .* failed .*checkpoints"
    ):
        load_encoder("torchgeo:ResNet50_Weights.FMOW_RGB_GASSL", stores())


def test_a_damaged_download_is_refused(served, stores):
    served(b"an error page")
    with pytest.raises(UserError, match="checkpoints is corrupt or of another version; delete it"):
        load_encoder("torchgeo:ResNet50_Weights.FMOW_RGB_GASSL", stores())


def test_an_unknown_name_of_torchgeo_is_refused_with_those_alike(stores):
    with pytest.raises(
        UserError, match=r"no such weights of a ResNet .*; similar names: ResNet50_Weights.FMOW_RGB_GASSL"
    ):
        load_encoder("torchgeo:ResNet50_Weights.FMOW_GASSL", stores())


def test_the_scaling_of_every_weight_of_torchgeo_is_read_right():
    rng = torch.Generator().manual_seed(0)
    for weight in torchgeo_weights():
        image = 1000 * torch.rand(weight.meta["in_chans"], 4, 4, generator=rng)
        expected = image.clone()
        for step in weight.transforms.modules():
            if isinstance(step, Normalize):
                expected = step(expected.clone())
        mean, std = (torch.tensor(v).view(-1, 1, 1) for v in _normalisation(weight.transforms, len(image)))
        torch.testing.assert_close((image - mean) / std, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "bands", "unit"),
    [
        ("SENTINEL1_ALL_MOCO", ("VV", "VH"), "backscatter in dB (Sentinel-1 GRD)"),
        ("LANDSAT_TM_TOA_MOCO", ("red", "nir08"), "Landsat top-of-atmosphere reflectance scaled to 8 bits"),
        ("SENTINEL2_SI_MS_SATLAS", ("B04", "B11"), "reflectance x 10000"),
        ("SENTINEL2_ALL_NDVI_SECO_ECO", ("B04", "B08"), "reflectance x 10000"),
    ],
)
def test_each_family_of_torchgeo_fits_the_stores_that_are_made_of_its_sensor(name, bands, unit, served, stores):
    weight = next(w for w in torchgeo_weights() if str(w) == f"ResNet50_Weights.{name}")
    served(resnet("resnet50", weight.meta["in_chans"]).state_dict())
    factor = 40 if "10000" in unit else 1
    spec, encoder = load_encoder(f"torchgeo:{weight}", stores(bands, unit, "float32", factor))
    assert spec.bands == bands
    assert features(encoder, torch.zeros(1, len(bands), 32, 32)).isfinite().all()


SWIN = "torchgeo:Swin_V2_T_Weights.SENTINEL2_SI_RGB_SATLAS"


def test_torchgeos_swin_transformers_have_the_maps_of_its_own_model(served, stores, pixels):
    from torchgeo.models import swin_v2_t

    torch.manual_seed(0)
    model = swin_v2_t().eval()
    served(model.state_dict())
    store = stores(unit="8-bit colour, 0 to 255")
    spec, encoder = load_encoder(SWIN, store)
    assert spec.arch == "torchgeo:swin_v2_t"
    with torch.inference_mode():
        maps, part = encoder.pyramid(pixels), pixels / 255
        for level, layers in enumerate(
            (model.features[:2], model.features[2:4], model.features[4:6], model.features[6:])
        ):
            part = layers(part)
            torch.testing.assert_close(maps[2 + level], part.permute(0, 3, 1, 2), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(encoder(pixels), part.mean(dim=(1, 2)), rtol=1e-4, atol=1e-5)


def test_torchgeos_swin_transformers_are_tuned_from_their_weights_and_exported(served, stores, tmp_path):
    from torchgeo.models import swin_v2_t

    served(swin_v2_t().state_dict())
    store = stores()
    given = ["--data", store.path, "--encoder", SWIN, "--out", tmp_path / "tuned", "--device", "cpu"]
    assert call(train.main, "finetune", *given, "--task", "classification", "--epochs", 1) == 0
    assert load_model(tmp_path / "tuned" / "model.safetensors")[0].arch == "torchgeo:swin_v2_t"
    assert call(to_onnx.main, tmp_path / "tuned", "--out", tmp_path / "m.onnx") == 0
    tiles = real_tiles(store, 32, count=2)
    with torch.inference_mode():
        expected = (
            load_model(tmp_path / "tuned" / "model.safetensors")[1](torch.from_numpy(tiles)).softmax(dim=1).numpy()
        )
    np.testing.assert_allclose(Model(tmp_path / "m.onnx").run(tiles), expected, atol=1e-4)


def test_torchgeos_swin_transformers_take_other_bands(served, stores, capsys):
    from torchgeo.models import swin_v2_t

    model = swin_v2_t()
    served(model.state_dict())
    encoder = load_encoder(SWIN, stores(("B08", "B04"), BYTES))[1]
    first = model.features[0][0].weight
    expected = torch.stack([first.mean(dim=1), first[:, 0]], dim=1) * 1.5
    torch.testing.assert_close(encoder.trunk.features[0][0].weight, expected)
    assert "uses B04 as B04; B08 with the mean of all filters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "unit", "why"),
    [
        (
            "SENTINEL1_SI_SATLAS",
            "backscatter in dB (Sentinel-1 GRD)",
            "'backscatter scaled to 255 as in SatlasPretrain'",
        ),
        ("SENTINEL2_SI_RGB_SATLAS", "reflectance x 10000", "'8-bit values, 0 to 255'"),
    ],
)
def test_weights_of_satlas_are_refused_other_units(name, unit, why, served, stores):
    from torchgeo.models import swin_v2_b

    model = swin_v2_b()
    bands = ("VH", "VV") if "SENTINEL1" in name else RGB
    model.features[0][0] = torch.nn.Conv2d(len(bands), 128, 4, 4)
    served(model.state_dict())
    with pytest.raises(UserError, match=f"was trained on {why}"):
        load_encoder(f"torchgeo:Swin_V2_B_Weights.{name}", stores(bands, unit, "float32", 40))


def test_landsats_digital_numbers_of_satlas_are_not_taken_for_reflectance():
    assert _torchgeo_unit("LANDSAT_SI_SATLAS", 16320) == "Landsat Level-1 digital numbers"
    assert PixelUnit.of(_torchgeo_unit("LANDSAT_OLI_SR_MOCO", 255)).quantity == "brightness"


def test_without_torchgeo_its_architectures_name_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchgeo.models", None)
    with pytest.raises(UserError, match=r"--arch torchgeo:swin_v2_t: needs torchgeo .*pip install torchgeo"):
        check_arch("torchgeo:swin_v2_t")


# Networks.


@pytest.mark.parametrize(
    "arch",
    ["resnet34", "resnet50", "convnext_atto", "swin_tiny_patch4_window7_224", "regnetx_002", "torchgeo:swin_v2_t"],
)
def test_a_pyramid_holds_the_input_and_five_strides(arch):
    check_arch(arch)
    spec = ModelSpec("embedding", arch, ("a", "b"), "", (0, 1), (1.0, 2.0), (2.0, 2.0), None, 64)
    encoder = Encoder(spec).eval()
    pixels = torch.rand(1, 2, 64, 64)
    with torch.inference_mode():
        maps, pooled = encoder.pyramid(pixels), encoder(pixels)
    assert [list(m.shape) for m in maps] == [[1, c, 64 >> i, 64 >> i] for i, c in enumerate(encoder.channels)]
    assert torch.equal(maps[0], encoder.standardise(pixels))
    torch.testing.assert_close(maps[-1].mean(dim=(2, 3)), pooled)
    assert pooled.shape == (1, encoder.width)


@pytest.mark.parametrize(
    ("arch", "why"),
    [
        ("resnet5", "similar names: .*resnet50"),
        ("vit_tiny_patch16_224", "has no feature maps"),
        ("hf-hub:timm/resnet18.a1_in1k", "choose resnet18"),
        ("torchgeo:vit_small_patch16_224", "choose one of torchgeo's torchgeo:swin_t, .*no feature maps"),
        ("torchgeo:resnet18", "its ResNets are resnet18"),
    ],
)
def test_networks_without_a_pyramid_and_unknown_ones_are_refused(arch, why):
    with pytest.raises(UserError, match=f"--arch {arch}: .*{why}"):
        check_arch(arch)


def test_a_timm_encoder_learns_is_kept_tuned_and_exported(store, tmp_path):
    common = ["--data", store.path, "--epochs", 1, "--device", "cpu"]
    learn = ["pretrain", *common, "--arch", "regnetx_002", "--batch-size", 32, "--queue", 64, "--clusters", 5]
    assert call(train.main, *learn, "--out", tmp_path / "run") == 0
    encoder = tmp_path / "run" / "encoder.safetensors"
    tune = ["finetune", *common, "--encoder", encoder, "--task", "classification", "--out", tmp_path / "tuned"]
    assert call(train.main, *tune) == 0
    assert call(to_onnx.main, tmp_path / "run", "--out", tmp_path / "encoder.onnx") == 0
    tiles = real_tiles(store, 32, count=2)
    with torch.inference_mode():
        expected = load_model(encoder)[1](torch.from_numpy(tiles)).numpy()
    np.testing.assert_allclose(Model(tmp_path / "encoder.onnx").run(tiles), expected, atol=1e-4)


def test_probe_and_finetune_take_the_weights_of_others(store, tmp_path, capsys):
    torch.save(authors_checkpoint(resnet()), tmp_path / "moco.pth.tar")
    given = ["--data", store.path, "--encoder", tmp_path / "moco.pth.tar", "--device", "cpu"]
    assert call(train.main, "probe", *given, "--out", tmp_path / "probe") == 0
    assert "query encoder of a checkpoint" in capsys.readouterr().out
    tune = ["--task", "classification", "--epochs", 1, "--mode", "linear", "--out", tmp_path / "tuned"]
    assert call(train.main, "finetune", *given, *tune) == 0
    assert call(to_onnx.main, tmp_path / "tuned", "--out", tmp_path / "m.onnx") == 0
