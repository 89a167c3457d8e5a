"""The overlap of a map's tiles is the least one that leaves no seams."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from export.model_files.overlap import OVERLAPS, Seams, least_overlap
from export.runtime.infer.timing.agreement import Agreement

TILE = 256


def blurred(reach):
    """Probabilities of two classes from the mean of what lies within ``reach`` px; beyond the tile there is nothing."""

    def run(inputs):
        image, *_ = inputs
        share = uniform_filter(image[0, 0], 2 * reach + 1, mode="constant")
        return np.stack([share, 1 - share])

    return run


@pytest.fixture
def mosaic():
    """Noise of two classes: (1, 1, rows, columns), and a vector that has no rows."""
    image = np.random.default_rng(0).random((1, 1, 2 * TILE, 2 * TILE), np.float32)
    return image, np.array([1.0], np.float32)


@pytest.mark.parametrize(("reach", "overlap"), [(0, 32), (14, 32), (15, 64), (50, 128)])
def test_the_overlap_is_as_wide_as_the_network_sees(mosaic, reach, overlap):
    seams = least_overlap(blurred(reach), mosaic, TILE)
    assert seams.overlap == overlap
    assert not seams.seen
    assert seams.found.equal == 1
    assert seams.largest < 1e-5


def test_a_network_that_sees_more_than_half_a_tile_leaves_seams_and_says_so(mosaic):
    seams = least_overlap(blurred(90), mosaic, TILE)
    assert seams.overlap == TILE // 2
    assert seams.seen
    assert "larger tiles" in str(seams)


def test_a_tile_of_32_px_has_no_overlap_to_choose(mosaic):
    assert least_overlap(blurred(0), mosaic, 32) is None


def test_larger_tiles_are_advised_only_where_they_leave_room_for_more_overlap():
    bad = Agreement("segmentation", equal=0.9, apart=0.1)
    assert "larger tiles" in str(Seams(128, bad, 0.5))
    assert "larger tiles" not in str(Seams(OVERLAPS[-1], bad, 0.5))
