"""Pure parts of ``make test-systems``; building the systems is left to it."""

import pytest

from tests import systems

LOG = """
tests/test_a.py::test_b FAILED: 3 passed before
1090 passed, 12 skipped in 600.12s (0:10:00)
setting up .venv-qgis beside the system's QGIS
2 failed, 205 passed, 5 skipped in 230.44s (0:03:50)
make: *** [Makefile:54: test-qgis] Error 1
"""
ROW = {"System": "Debian 13 (trixie)", "Core tests": "1 passed", "Seconds": "9"}
HEAD = ["Text.", "", "| System | Core tests | Seconds |", "|---|---|---|"]


def test_counts_are_the_closing_lines_of_pytest():
    assert systems.counts(LOG) == ["1090 passed, 12 skipped", "2 failed, 205 passed, 5 skipped"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], ["| Debian 13 (trixie) | 1 passed | 9 |"]),
        (["| Debian 12 (bookworm) | 2 passed | 8 |"], ["| Debian 12 (bookworm) | 2 passed | 8 |", "| Debian 13 (trixie) | 1 passed | 9 |"]),
        (["| Debian 13 (trixie) | old | 7 |", "| other | - | 6 |"], ["| Debian 13 (trixie) | 1 passed | 9 |", "| other | - | 6 |"]),
    ],
)  # fmt: skip
def test_row_of_a_system_replaces_its_older_one(rows, expected):
    page = systems.with_row("\n".join([*HEAD, *rows, "", "More."]) + "\n", ROW)
    assert page.splitlines() == [*HEAD, *expected, "", "More."]


def test_page_has_the_table_that_is_filled():
    titles = ["System", "Python", "torchgeo", "rasterio", "QGIS", "GDAL", "Qt", "Core tests", "QGIS tests", "Seconds"]
    page = systems.with_row(systems.PAGE.read_text(), dict.fromkeys(titles, "x"))
    assert "| x | x | x | x | x | x | x | x | x | x |" in page.splitlines()


def test_unknown_system_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["systems", "buster"])
    with pytest.raises(SystemExit) as error:
        systems.main()
    assert error.value.code == 2
    assert "unknown system buster: choose from bookworm, trixie, testing" in capsys.readouterr().err
