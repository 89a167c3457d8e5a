"""The benchmarks run from end to end on tiny data; what they say there means nothing."""

import io
import json
import tarfile
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.few_labels import __main__ as few_labels
from benchmarks.learning import __main__ as learning
from benchmarks.learning import choices, eurosat, jobs, page
from tests.conftest import call, make_small_sample, write_raster


def make_eurosat(folder):
    """Two classes of three times ten images, in a tar with split files."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    lists = {"train": [], "valid": [], "test": []}
    with tarfile.open(folder / "eurosat.tar", "w") as archive:
        for number in range(60):
            kind = "Forest" if number % 2 else "River"
            name = f"{kind}/{kind}_{number}.jpg"
            buffer = io.BytesIO()
            pixels = rng.integers(0, 100 + 100 * (number % 2), (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(buffer, "jpeg")
            entry = tarfile.TarInfo(f"2750/{name}")
            entry.size = buffer.tell()
            archive.addfile(entry, io.BytesIO(buffer.getvalue()))
            list(lists.values())[number // 2 % 3].append(name)
    for side, names in lists.items():
        (folder / f"split_{side}.txt").write_text("\n".join(names) + "\n")
    return folder


def make_peru(folder):
    """Two dated scenes."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for year in (1985, 2020):
        pixels = rng.integers(1, 255, (4, 256, 256), dtype=np.uint8)
        place = {"crs": "EPSG:4326", "origin": (-75, -8), "pixel": 0.001}
        write_raster(folder / f"{year}.tif", pixels, **place, nodata=0, photometric="MINISBLACK")
    return folder


@pytest.fixture
def tiny_plan(monkeypatch):
    """One variant beside plain moco where all go the same way, and one of everything else."""
    monkeypatch.setattr(jobs, "VARIANTS", ("moco", "moco-geo-tp"))
    monkeypatch.setattr(jobs, "FRACTIONS", {1.0: 1})
    for module in (jobs, page):
        monkeypatch.setattr(module, "CHANGES", {"no quarter turns": jobs.CHANGES["no quarter turns"]})
    monkeypatch.setattr(page, "FRACTIONS", {1.0: 1})


def test_the_learning_benchmark_runs_and_goes_on_where_it_stopped(tmp_path, tiny_plan, capfd):
    results, written = tmp_path / "work" / "results.jsonl", tmp_path / "learning.md"
    arguments = [
        "--quick", "--seeds", "1", "--curve", "--device", "cpu", "--lanes", "1",
        "--sample", make_small_sample(tmp_path / "sample", months=2, rows=10), "--peru", make_peru(tmp_path / "peru"),
        "--eurosat", make_eurosat(tmp_path / "eurosat"), "--work", tmp_path / "work", "--page", written,
    ]  # fmt: skip
    assert call(learning.main, *arguments) == 0
    first = written.read_text()
    for expected in ("## Blue Marble", "## Landsat", "## EuroSAT", "recall at 10", "| 100% |", "stacked"):
        assert expected in first
    assert "are done" not in first
    assert (tmp_path / "learning-bluemarble.png").stat().st_size > 0
    whole = results.read_text()
    assert json.loads(whole.splitlines()[-1])["hits"]

    results.write_text(whole[:-20])  # a kill in the middle of the last line
    assert call(learning.main, *arguments, "--only-page") == 0
    planned = len(whole.splitlines()) - 1
    assert f"**{planned - 1} of {planned} runs are done" in written.read_text()
    assert call(learning.main, *arguments) == 0
    assert len(results.read_text().splitlines()) == len(whole.splitlines()) + 1  # the one that was cut off
    assert written.read_text() == first


def test_choices_are_measured_with_what_they_name_and_written_beside_the_rest_of_the_page(tmp_path, monkeypatch):
    used = []
    plain = jobs.pretrain
    monkeypatch.setattr(jobs, "pretrain", lambda *a, **more: used.append(more) or plain(*a, **more))
    written = tmp_path / "learning.md"
    written.write_text("# What pretraining gains\n\n## EuroSAT\n\n1\n")
    names = ("moco", "moco-geo-tp, whole, ignore")
    arguments = [
        "--quick", "--seeds", "1", "--sample", make_small_sample(tmp_path / "sample", months=2, rows=10),
        "--work", tmp_path / "work", "--page", written,
    ]  # fmt: skip
    for _ in range(2):  # the second time nothing is measured
        assert call(choices.main, *arguments, "--choices", *names) == 0
    assert [each["variant"] for each in used] == ["moco", "moco-geo-tp"]
    assert used[1] | {"pair_views": "whole", "season": "ignore"} == used[1]
    text = written.read_text()
    assert text.startswith("# What pretraining gains\n\n## EuroSAT\n\n1\n\n## Views of two dates")
    assert text.count("## Views of two dates") == 1
    assert "| untrained | 1 |" in text
    assert all(f"| points over {base} |" in text for base in ("moco", "untrained"))
    assert all(f"| {name} | 1 |" in text for name in names)


def test_a_comparison_is_settled_only_where_its_interval_says_so():
    rng = np.random.default_rng(0)
    base = (rng.random((3, 200)) < 0.5).astype(int)
    runs = {
        "moco": [{"hits": {"kNN": "".join(map(str, row))}} for row in base],
        "same": [{"hits": {"kNN": "".join(map(str, rng.permutation(row)))}} for row in base],
        "right": [{"hits": {"kNN": "1" * 200}} for _ in base],
    }
    lines = page._comparisons(runs).splitlines()
    assert lines[2].startswith("| same |")
    assert "**" not in lines[2]
    assert lines[3].startswith("| right | **+")


def test_pairs_a_second_are_read_off_a_runs_own_log(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    from benchmarks.logs import pairs_per_second, read_log

    with SummaryWriter(tmp_path / "logs") as writer:
        for step, wall in ((9, 100.0), (19, 103.0), (29, 105.0)):
            writer.add_scalar("loss", 1.0, step, walltime=wall)
    assert pairs_per_second(read_log(tmp_path), "loss", batch=64) == pytest.approx(64 * 20 / 5)


def test_the_few_labels_benchmark_measures_what_is_missing_and_writes_its_section(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for number in range(2):
        truth = np.repeat(np.repeat(rng.permutation(np.arange(1, 10)).reshape(3, 3) % 3, 40, 0), 40, 1).astype(np.uint8)
        pixels = np.clip(truth * 40 + rng.normal(60, 15, (3, 120, 120)), 0, 255).astype(np.uint8)
        for folder, bands in (("LULC", truth[None]), ("S2RGB", pixels)):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_raster(tmp_path / folder / f"{number}.tif", bands)
    page_path = tmp_path / "few_labels.md"
    page_path.write_text("# Page\n\n## Accuracy\n\nolder\n\n## Speed\n\nkept\n")
    arguments = ["few_labels", "--page", str(page_path), "accuracy", "--work", str(tmp_path / "work"), "--draws", "2"]
    monkeypatch.setattr("sys.argv", [*arguments, "--terramind", str(tmp_path)])
    few_labels.main()
    written = (tmp_path / "work" / "accuracy.jsonl").read_text()
    assert written.count("\n") == 2 * 3 * 2 * 3  # scenes, numbers of labels, draws, methods
    text = page_path.read_text()
    assert "### Sentinel-2, 2 scenes, 2 draws" in text
    assert "| bands and texture, above the random forest on pixels | " in text
    assert "of the class that was never labelled" in text
    assert "older" not in text
    assert "## Speed\n\nkept" in text
    few_labels.main()
    assert (tmp_path / "work" / "accuracy.jsonl").read_text() == written


def test_the_page_of_learning_has_the_notes_that_the_next_run_writes_into_it():
    written = (learning.ROOT / "docs" / "benchmarks" / "learning.md").read_text(encoding="utf-8")
    assert page.NOTES.read_text(encoding="utf-8").strip() in written


def test_the_spatial_split_of_eurosat_is_measured_once_and_written(tmp_path):
    folder = make_eurosat(tmp_path / "eurosat")
    for ours, theirs in (("train", "train"), ("valid", "val"), ("test", "test")):
        names = (folder / f"split_{ours}.txt").read_text().split()
        (folder / f"eurosat-spatial-{theirs}.txt").write_text("\n".join(name.split("/")[1] for name in names))
    page_path = tmp_path / "learning.md"
    page_path.write_text("# What pretraining gains\n\n## Blue Marble\n\nkept\n")
    arguments = [
        "--eurosat", folder, "--work", tmp_path / "work", "--page", page_path, "--minutes", "1", "--sizes", "64",
        "--quick", "--device", "cpu",
    ]  # fmt: skip
    assert call(eurosat.main, *arguments) == 0
    results = (tmp_path / "work" / "eurosat.jsonl").read_text()
    written = page_path.read_text()
    for expected in (
        "## Blue Marble\n\nkept",
        "| moco, 1 min | ",
        "| moco, 1 min, stages 1 to 4 | ",
        "| moco, 1 min, stages 1 to 4, means and deviations | ",
        "| moco, 1 min, stages 1 to 4, means and deviations, 64 and 128 px | ",
        "| random convolutions | ",
    ):
        assert expected in written
    assert call(eurosat.main, *arguments) == 0
    assert (tmp_path / "work" / "eurosat.jsonl").read_text() == results  # nothing was measured again
    assert page_path.read_text() == written


def test_the_linear_classifier_sees_training_and_validation_images_and_its_penalty_is_chosen():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    vectors = rng.normal(size=(3, 8))[labels] + rng.normal(0, 1.5, (300, 8))
    side = np.array(["train", "val", "test"])[np.arange(300) % 3]
    store = SimpleNamespace(
        column={"label": labels, "place_number": np.arange(300)}.get, places=pd.DataFrame({"split": side})
    )
    record = eurosat.judged(vectors, store)
    both = side != "test"
    scaled = StandardScaler().fit(vectors[both]).transform(vectors)
    expected = LogisticRegression(C=record["C"], max_iter=5000).fit(scaled[both], labels[both])
    hits = np.array([int(hit) for hit in record["hits"]["linear"]])
    assert np.mean(hits == (expected.predict(scaled[~both]) == labels[~both])) > 0.97
    chosen = [LogisticRegression(C=penalty, max_iter=5000).fit(scaled[side == "train"], labels[side == "train"])
              .score(scaled[side == "val"], labels[side == "val"]) for penalty in eurosat.PENALTIES]  # fmt: skip
    assert chosen[eurosat.PENALTIES.index(record["C"])] >= max(chosen) - 0.02


def test_few_labels_are_a_table_with_a_column_for_each_fraction():
    records = {
        f"{start} {fraction}": {"start": start, "fraction": fraction, "hits": {"fine-tuned, one date": "1110" * 20}}
        for start in ("from scratch", "moco, 15 min")
        for fraction in eurosat.FEW[:2]
    }
    (table,) = eurosat._few(records)
    assert table.splitlines()[0].startswith("| fine-tuned with | 1% of the labels, 40 epochs | 10% of the labels")
    assert table.splitlines()[2].startswith("| from scratch | 75.0 % (")
    assert table.splitlines()[3].endswith("|  |")  # not measured yet


def test_bootstraps_give_the_binomial_interval():
    hits = "".join("01"[number % 10 < 8] for number in range(5400))
    low, high = (float(part) for part in eurosat.interval([hits]).split("(")[1].rstrip(")").split(" to "))
    error = 100 * np.sqrt(0.8 * 0.2 / 5400)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.2)
