"""Galileo and Presto as references: what they are given, by stand-ins; by their own classes where rslearn is installed."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.learning import references
from core.errors import UserError
from core.store.build import build
from tests.sources import Bare, info


class Given(torch.nn.Module):
    """Answers with what it is given: means of the bands, their spread, and the month."""

    def forward(self, reflectance, months):
        return torch.cat([reflectance.mean(dim=(2, 3)), reflectance.std(dim=(2, 3)), months[:, None]], dim=1)


@pytest.fixture
def statistics(monkeypatch):
    """Those of Galileo's training data, in place of rslearn's module."""
    module = ModuleType("single_file_galileo")
    module.SPACE_TIME_BANDS = ["VV", "B2", "B3", "B4"]
    module.NORMALIZING_DICT = {"13": {"mean": [0, 1000, 2000, 3000], "std": [1, 100, 200, 300]}}
    for name in ("rslearn", "rslearn.models", "rslearn.models.galileo"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "rslearn.models.galileo.single_file_galileo", module)


def test_bands_are_given_in_their_order_with_the_statistics_of_the_training_data(statistics, tmp_path):
    source = Bare(info(chip_size=32, bands=("red", "green", "blue"), dtype="uint8"))
    store = build(source, tmp_path / "store", workers=1)[0]
    rows = np.arange(len(store))
    found = references.described(Given(), store, rows, torch.device("cpu"))
    scaled = (store.pixels(rows) - np.array(store.info.mean)[:, None, None]) / np.array(store.info.std)[:, None, None]
    expected = scaled.mean(axis=(2, 3))[:, ::-1] * (100, 200, 300) + (1000, 2000, 3000)
    np.testing.assert_allclose(found[:, :3], expected, rtol=1e-3, atol=0.05)
    months = references.months_of(store, rows)
    assert np.array_equal(found[:, -1], months)


def test_months_are_those_of_the_images_and_june_without_dates():
    dates = np.array(["2004-01-31T23:00:00", "2004-12-01T00:00:00", "NaT"], "datetime64[us]")
    store = SimpleNamespace(column=lambda _: dates)
    assert references.months_of(store, np.arange(3)).tolist() == [0, 11, references.JUNE]


def test_stores_without_colours_are_refused(statistics, tmp_path):
    store = build(Bare(info(chip_size=32, bands=("VV", "VH"), dtype="float32")), tmp_path / "store", workers=1)[0]
    with pytest.raises(UserError, match="no bands named red, green and blue"):
        references.described(Given(), store, np.arange(2), torch.device("cpu"))


def test_without_rslearn_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rslearn", None)
    with pytest.raises(UserError, match=r"Presto needs rslearn .*pip install rslearn"):
        references.read_reference("Presto", tmp_path)


@pytest.mark.parametrize("name", list(references.REFERENCES))
def test_missing_weights_name_the_folder(name, tmp_path):
    pytest.importorskip("rslearn")
    with pytest.raises(UserError, match=f"does not hold the files of {name}"):
        references.read_reference(name, tmp_path)


def test_galileo_sees_the_colours_that_rslearn_would_give_it(tmp_path):
    wrapper = pytest.importorskip("rslearn.models.galileo.galileo")
    code = pytest.importorskip("rslearn.models.galileo.single_file_galileo")
    torch.manual_seed(0)
    size = {"embedding_size": 16, "depth": 1, "num_heads": 2, "max_sequence_length": 24, "max_patch_size": 8}
    folder = tmp_path / "galileo_nano"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model": {"encoder": size}}))
    torch.save(code.Encoder(**size).state_dict(), folder / "encoder.pt")
    network = references.read_reference("Galileo-nano", tmp_path)
    colours, months = 3000 * torch.rand(2, 3, 32, 32), torch.tensor([0, 7])
    every = torch.zeros(2, 32, 32, 1, len(code.S2_BANDS))
    every[..., 0, :3] = colours.permute(0, 2, 3, 1)
    given = wrapper.GalileoModel.construct_galileo_input(s2=every, months=months[:, None], normalize=True)
    given.s_t_m[..., [number for number, name in enumerate(code.SPACE_TIME_BANDS_GROUPS_IDX) if name != "S2_RGB"]] = 1
    with torch.inference_mode():
        tokens = network.encoder(*given[:-1], months=given.months, patch_size=4)
        expected = network.encoder.average_tokens(*tokens[:-1])
        found = network(colours, months)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(found, network(colours, months.flip(0)), atol=1e-4)


def test_presto_describes_an_image_by_mean_and_spread_of_its_pixels(tmp_path):
    code = pytest.importorskip("rslearn.models.presto.single_file_presto")
    torch.manual_seed(0)
    (tmp_path / "presto").mkdir()
    torch.save(code.Presto.construct().state_dict(), tmp_path / "presto" / "default_model.pt")
    network = references.read_reference("Presto", tmp_path)
    colours, months = 3000 * torch.rand(2, 3, 16, 16), torch.tensor([0, 7])
    with torch.inference_mode():
        found = network(colours, months)
        for number in range(2):
            pixels = torch.zeros(256, 1, 17)
            pixels[:, 0, 2:5] = colours[number].flatten(1).T / 10000
            hidden = torch.ones(256, 1, 17)
            hidden[..., 2:5] = 0
            no_class = torch.full((256, 1), 9)
            alone = network.encoder(pixels, no_class, mask=hidden, month=int(months[number]))
            torch.testing.assert_close(
                found[number], torch.cat([alone.mean(dim=0), alone.std(dim=0)]), rtol=1e-4, atol=1e-5
            )
