"""Networks that read a series: numbers and order of dates, gaps, location, and the exported form."""

import numpy as np
import onnxruntime
import pytest
import torch

from core.networks.encoders import Encoder, ModelSpec
from core.networks.heads import build
from core.networks.series import TEMPORAL, DatePooling, DateWeights, DayEncoding, LocationEncoding, MonthlyComposites
from core.networks.weights import load_model, save_model
from core.store.read import LandClass

CLASSES = tuple(LandClass(value, f"class {value}", "000000") for value in (10, 20, 30))


def spec_of(task: str, **more) -> ModelSpec:
    fields = {"arch": "resnet18", "bands": ("red", "nir"), "unit": "counts", "value_range": (0, 100), "gsd": 10.0}
    fields |= {"mean": (50.0, 40.0), "std": (20.0, 10.0), "chip_size": 32, "classes": CLASSES, "dates": 6}
    return ModelSpec(task, **(fields | more))


def network(task: str, seed: int = 0, **more) -> torch.nn.Module:
    """One whose attention is far from even, and whose batch norm is not that of one image."""
    torch.manual_seed(seed)
    model = build(spec_of(task, **more))
    for part in model.modules():
        if isinstance(part, DateWeights):
            torch.nn.init.normal_(part.queries.weight, std=1.0)
        if isinstance(part, DatePooling) and part.day is not None:
            torch.nn.init.normal_(part.day.weight, std=0.5)
    return model.eval()


def series(dates: int, size: int = 64, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Pixels, valid pixels and days of one series, with a gap in the first date."""
    random = np.random.default_rng(seed)
    pixels = torch.from_numpy(random.normal(50, 20, (dates, 2, size, size)).astype(np.float32))
    valid = torch.ones(dates, size, size, dtype=torch.bool)
    if dates > 1:
        valid[0, : size // 2] = False
    return pixels, valid, torch.from_numpy(random.integers(1, 367, dates).astype(np.float32))


def degrees(size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    return torch.from_numpy(columns / 10 - 70), torch.from_numpy(-rows / 10 - 9)


EVERY = [
    (task, temporal, location)
    for task in ("segmentation", "classification")
    for temporal in TEMPORAL
    for location in (False, True)
]


@pytest.mark.parametrize(("task", "temporal", "location"), EVERY)
@torch.inference_mode()
def test_any_number_and_order_of_dates(task, temporal, location):
    model, where = network(task, temporal=temporal, location=location), degrees() if location else ()
    for dates in (1, 2, 7):
        pixels, valid, days = series(dates)
        logits = model(pixels, valid, days, *where)
        assert logits.shape == ((1, 3, 64, 64) if task == "segmentation" else (1, 3))
        order = torch.from_numpy(np.random.default_rng(1).permutation(dates))
        torch.testing.assert_close(
            model(pixels[order], valid[order], days[order], *where), logits, atol=1e-4, rtol=1e-4
        )
    changed = [part + 5 for part in where]
    assert not where or not torch.allclose(model(pixels, valid, days, *changed), logits)


@pytest.mark.parametrize("task", ["segmentation", "classification"])
@pytest.mark.parametrize("temporal", TEMPORAL)
@torch.inference_mode()
def test_what_is_not_valid_does_not_count(task, temporal):
    model = network(task, temporal=temporal)
    pixels, valid, days = series(3)
    logits = model(pixels, valid, days)
    wild = torch.where(valid[:, None], pixels, torch.tensor(1e6))
    torch.testing.assert_close(model(wild, valid, days), logits)
    nothing = torch.zeros(1, *valid.shape[1:], dtype=torch.bool)
    more = (torch.cat([pixels, wild[:1]]), torch.cat([valid, nothing]), torch.cat([days, days[:1] + 30]))
    torch.testing.assert_close(model(*more), logits, atol=1e-5, rtol=1e-4)
    empty = model(pixels, torch.zeros_like(valid), days)
    assert torch.isfinite(empty).all()


@torch.inference_mode()
def test_where_one_date_alone_holds_data_it_has_all_the_weight():
    model = network("segmentation")
    _, valid, days = series(3, size=128)
    valid[:] = True
    valid[1:, :, :64] = False
    features = torch.randn(1, 3, 256, 8, 8)
    for level, weights in enumerate(model.date_weights(features, model.days(days[None]), valid[None]), start=1):
        side = 128 >> level
        assert weights.shape == (1, 3, model.heads, side, side)
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
        np.testing.assert_allclose(weights[0, 0, :, :, : side // 2], 1, atol=1e-5)
        assert (weights[0, 1:, :, :, : side // 2] == 0).all()


def test_untrained_heads_look_at_a_season_each():
    torch.manual_seed(0)
    weights = DateWeights(8, 4)
    days = DayEncoding()(torch.tensor([[0.0, 91.3, 182.6, 273.9]]))
    said = weights(torch.zeros(1, 4, 1, 8), days, torch.ones(1, 4, 1))[0, :, 0]
    assert said.argmax(0).tolist() == [0, 1, 2, 3]
    assert (said.amax(0) > 0.5).all()


@pytest.mark.parametrize(("task", "temporal", "location"), EVERY)
@torch.inference_mode()
def test_batches_with_unequal_numbers_of_dates_say_the_same(task, temporal, location):
    model, where = network(task, temporal=temporal, location=location), degrees() if location else ()
    short, long = series(2), series(5, seed=1)
    filled = [torch.cat([part, part.new_zeros(3, *part.shape[1:])]) for part in short]
    batch = [torch.stack(parts) for parts in zip(filled, long)]
    more = [torch.stack([part, part]) for part in where]
    both = model.of_places(*batch, *more)
    for number, one in enumerate((short, long)):
        torch.testing.assert_close(both[number : number + 1], model(*one, *where), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_monthly_composites_are_weighted_means_of_the_dates_near_a_month():
    torch.manual_seed(0)
    composites = MonthlyComposites(2)
    seen = []
    composites.layers.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    days = torch.tensor([[15.2, 45.7, 196.3]])
    scaled, valid = torch.randn(1, 3, 2, 4, 4), torch.ones(1, 3, 4, 4, dtype=torch.bool)
    valid[0, 0, 0, 0] = valid[0, :, 1, 1] = False
    assert composites(scaled, valid, days).shape == (1, MonthlyComposites.WIDTH, 4, 4)
    months = seen[0].reshape(12, 2, 4, 4)
    middles = (np.arange(12) + 0.5) * 365.25 / 12
    apart = np.cos((days.numpy() - middles[:, None]) / 365.25 * 2 * np.pi)
    weights = np.exp(22.0 * (apart - 1)) + 1e-3  # (months, dates)
    held = valid[0].numpy()[None, :] * weights[:, :, None, None]
    total = np.maximum(held.sum(1), 1e-9)
    expected = (held[:, :, None] * scaled[0].numpy()[None]).sum(1) / total[:, None]
    np.testing.assert_allclose(months, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(months[6, :, 2, 2], scaled[0, 2, :, 2, 2], atol=0.01, rtol=0.01)
    torch.testing.assert_close(
        months[0, :, 0, 0], scaled[0, 1, :, 0, 0], atol=0.1, rtol=0.1
    )  # the next date fills its gap
    assert (months[:, :, 1, 1] == 0).all()


@torch.inference_mode()
def test_the_encoder_reads_one_image_of_a_composite():
    model = network("segmentation", temporal="composite")
    images = []
    model.encoder.standardise.register_forward_hook(lambda _, inputs, __: images.append(inputs[0]))
    pixels, valid, days = series(5)
    model(pixels, valid, days)
    assert images[-1].shape == (1, 2, 64, 64)
    mean = np.nanmean(np.where(valid[:, None], pixels, np.nan), axis=0)
    np.testing.assert_allclose(images[-1][0], mean, rtol=1e-5, atol=1e-4)


def test_dates_without_data_leave_batch_norm_alone():
    model = network("segmentation").train()
    pixels, valid, days = (part[None].repeat(2, *[1] * part.ndim) for part in series(3))
    again = build(spec_of("segmentation")).train()
    again.load_state_dict(model.state_dict())
    model.of_places(pixels, valid, days)
    nothing = [torch.cat([part, torch.zeros_like(part)], dim=1) for part in (pixels, valid, days)]
    again.of_places(*nothing)
    torch.testing.assert_close(again.encoder.state_dict(), model.encoder.state_dict())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(("task", "temporal", "location"), EVERY)
def test_the_exported_file_takes_any_number_of_dates(task, temporal, location, tmp_path):
    model, where = network(task, temporal=temporal, location=location), degrees() if location else ()
    names = ["pixels", "valid", "day_of_year", *(("longitude", "latitude") if location else ())]
    path = tmp_path / "series.onnx"
    torch.onnx.export(
        model, (*series(3), *where), str(path), input_names=names, output_names=["logits"], opset_version=17, dynamo=False,
        dynamic_axes={name: {0: "dates"} for name in names[:3]},
    )  # fmt: skip
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for dates in (1, 4):
        inputs = (*series(dates, seed=dates), *where)
        fed = {name: part.numpy() for name, part in zip(names, inputs)}
        with torch.inference_mode():
            expected = model(*inputs).numpy()
        np.testing.assert_allclose(session.run(None, fed)[0], expected, atol=2e-4, rtol=1e-3)


def test_weights_and_specification_are_read_again(tmp_path):
    model, path = network("segmentation", location=True), tmp_path / "model.safetensors"
    save_model(path, spec_of("segmentation", location=True), model)
    spec, again = load_model(path)
    assert (spec.dates, spec.temporal, spec.location) == (6, "attention", True)
    with torch.inference_mode():
        torch.testing.assert_close(again(*series(2), *degrees()), model(*series(2), *degrees()))


def test_every_decoder_and_a_timm_encoder(tmp_path):
    for more in ({"decoder": "fpn"}, {"decoder": "deeplabv3plus"}, {"arch": "convnext_atto"}):
        model = network("segmentation", **more)
        assert isinstance(model.encoder, Encoder)
        with torch.inference_mode():
            assert model(*series(2)).shape == (1, 3, 64, 64)


def test_the_encodings_have_no_seams():
    days = DayEncoding()
    start, end, summer = (days(torch.tensor([day])) for day in (1.0, 366.0, 183.0))
    assert (start - end).norm() < 0.1 * (start - summer).norm()
    torch.manual_seed(0)
    place = LocationEncoding()
    west, east, pole, same = (
        place(torch.tensor([lon]), torch.tensor([lat]))
        for lon, lat in ((-180.0, 10), (180.0, 10), (0.0, 90), (120.0, 90))
    )
    torch.testing.assert_close(west, east, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(pole, same, atol=1e-4, rtol=1e-4)
