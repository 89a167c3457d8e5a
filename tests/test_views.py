import math

import pytest
import torch

from core.errors import UserError
from core.method.views import Draw, Views, as_float


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_views_keep_shape_and_stay_finite_for_any_number_of_bands(bands):
    chips = torch.rand(6, bands, 32, 32) * 3000
    views = Views(jitter=0.4, grey=0.5, blur=0.5)(chips)
    assert views.shape == chips.shape
    assert views.isfinite().all()


class Middle(Draw):
    """No chance: the middle of each range."""

    def __call__(self, low: float, high: float) -> torch.Tensor:
        return torch.full((self.total,), (low + high) / 2)


@pytest.mark.parametrize("size", [2, 16, 40])
def test_views_have_the_size_asked_for(size):
    chips = torch.rand(4, 3, 32, 32)
    assert Views(size=size, jitter=0.4, grey=0.5, blur=1.0)(chips).shape == (4, 3, size, size)


def test_half_the_size_is_the_mean_of_four_pixels():
    chips = torch.rand(2, 3, 32, 32)
    views = Views(size=16, scale=1.0, flip=False, turn=False, jitter=0.0)(chips, Middle(2, chips.device))
    torch.testing.assert_close(views, torch.nn.functional.avg_pool2d(chips, 2))


@pytest.mark.parametrize(
    "bad",
    [
        {"size": 0}, {"size": -8}, {"size": 1}, {"scale": 0.0}, {"scale": 1.5}, {"scale": math.nan}, {"jitter": -0.1},
        {"jitter": 2.0}, {"jitter_chance": 1.1}, {"grey": -1.0}, {"blur": math.nan},
    ],
)  # fmt: skip
def test_what_makes_no_views_is_refused_by_name(bad):
    (name,) = bad
    with pytest.raises(UserError, match=f"^--views.{name.replace('_', '-')} .*: must "):
        Views(**bad).check()


def test_every_image_of_a_batch_gets_its_own_view():
    chip = torch.rand(1, 3, 32, 32)
    views = Views()(chip.expand(4, -1, -1, -1))
    assert all((views[i] - views[0]).abs().max() > 0.01 for i in range(1, 4))


def test_mirrors_and_quarter_turns_keep_every_pixel():
    torch.manual_seed(0)
    chips = torch.arange(16.0).view(1, 1, 4, 4).repeat(64, 1, 1, 1)
    views = Views(scale=1.0, jitter=0.0)(chips)
    whole = [v for v in views if torch.equal(v.flatten().round().sort().values, torch.arange(16.0))]
    different = {tuple(v.flatten().round().tolist()) for v in whole}
    assert len(different) > 1


def test_without_changes_a_view_is_a_crop_of_its_chip():
    chips = torch.rand(8, 3, 16, 16)
    views = Views(flip=False, jitter=0.0)(chips)
    assert views.max() <= chips.max() + 1e-6
    assert views.min() >= chips.min() - 1e-6


def test_pixels_without_data_change_no_other_pixel():
    torch.manual_seed(0)
    chips = torch.full((16, 3, 64, 64), 50.0)
    chips[:, :, 16:40, 8:40] = torch.nan
    views = Views(scale=0.9, jitter=0.4, grey=0.5, blur=1.0)(chips)
    for view in views:
        known = view[~view.isnan()]
        # One colour goes in: whatever the gain, one colour comes out, and the hole is neither filled nor grown.
        assert (known - known[0]).abs().max() < 1e-3
        assert 0.1 < view.isnan().float().mean() < 0.3


def test_a_part_of_a_batch_gets_the_views_that_it_has_in_the_whole():
    chips, views = torch.rand(6, 3, 16, 16), Views(jitter=0.4, jitter_chance=0.8, grey=0.5, blur=0.5)

    def draw(part: slice) -> Draw:
        return Draw(6, chips.device, part, torch.Generator().manual_seed(3))

    whole = views(chips, draw(slice(0, 6)))
    torch.testing.assert_close(views(chips[2:4], draw(slice(2, 4))), whole[2:4])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int16, torch.float32])
def test_stored_chips_become_floats_with_holes(dtype):
    chips = torch.tensor([[[[0, 255], [3, 4]]]]).to(dtype)
    valid = torch.tensor([[[False, True], [True, True]]])
    assert as_float(chips, valid).nan_to_num(-1).flatten().tolist() == [-1.0, 255.0, 3.0, 4.0]
    assert as_float(chips, None).flatten().tolist() == [0.0, 255.0, 3.0, 4.0]
    assert as_float(torch.tensor([60000], dtype=torch.uint16), None).tolist() == [60000.0]


def test_mirrors_without_turns_leave_up_up():
    chips = torch.arange(16.0).view(1, 1, 4, 4).repeat(64, 1, 1, 1)
    views = Views(scale=1.0, turn=False, jitter=0.0)(chips)
    assert (views[:, :, 1:] - views[:, :, :-1] >= 0).all()  # rows go on rising downwards
    assert len({bool(view[0, 0, 0] > view[0, 0, 3]) for view in views}) == 2
