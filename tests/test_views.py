import pytest
import torch

from core.views import Views


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_views_keep_shape_and_stay_finite_for_any_number_of_bands(bands):
    chips = torch.rand(6, bands, 32, 32) * 3000
    views = Views(jitter=0.4, grey=0.5, blur=0.5)(chips)
    assert views.shape == chips.shape
    assert views.isfinite().all()


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
