"""Each task of core.train finetune from an encoder, and its ONNX file."""

import json
import shutil
from dataclasses import replace

import geopandas as gpd
import numpy as np
import onnx
import pandas as pd
import pytest
import rasterio
import shapely
import torch
import yaml
from PIL import Image

from benchmarks.learning import buildings
from core import train
from core.evaluation.scores import Boxes, ap50, average_precision, object_confusion, scores
from core.networks.decoders import DECODERS
from core.networks.encoders import Encoder, ModelSpec
from core.networks.heads import build as build_network
from core.networks.heads import encoder_of
from core.networks.weights import load_model, save_model
from core.prepare import main as prepare
from core.store.build import build
from core.store.read import SPLITS, ChipStore, LandClass
from core.training.labelled import IGNORED, Labelled, LabelledBatch, labelled_places, rotated
from core.training.tasks import ClassifierModule, DetectorModule, mean_by_owner
from export import predict, to_onnx
from export.model_files.quantize import real_tiles
from export.runtime.model.session import Model
from tests.conftest import call
from tests.sources import Bare, info
from tests.stac_schemas import check_model_item

pytestmark = pytest.mark.usefixtures("one_thread")


def untrained(store: ChipStore, folder):
    torch.manual_seed(0)
    spec = ModelSpec.of_store(store, "resnet18")
    path = folder / "encoder.safetensors"
    save_model(path, spec, Encoder(spec))
    return path


@pytest.fixture(scope="module")
def encoder(store, tmp_path_factory):
    return untrained(store, tmp_path_factory.mktemp("encoder"))


def finetune(store, encoder, out, *options):
    common = ["--data", store.path, "--encoder", encoder, "--out", out, "--precision", "32-true", "--device", "cpu"]
    assert call(train.main, "finetune", *common, *options) == 0
    return json.loads((out / "metrics.json").read_text())


def test_a_sequence_is_named_from_all_its_dates(store, encoder, tmp_path):
    out = tmp_path / "run"
    result = finetune(store, encoder, out, "--task", "sequence", "--epochs", 4, "--batch-size", 30)
    assert result["accuracy"] > result["majority_class"] + 0.2
    assert np.sum(result["confusion"]) == result["test_places"]  # places are counted, not images

    assert call(to_onnx.main, out, "--out", tmp_path / "m.onnx") == 0
    rows = np.arange(3)  # the dates of one place
    dates = torch.from_numpy(store.pixels(rows))
    _, model = load_model(out / "model.safetensors")
    with torch.inference_mode():
        place = mean_by_owner(model(dates), torch.zeros(3, dtype=torch.long), 1).softmax(dim=1)[0].numpy()
    logs = np.log(Model(tmp_path / "m.onnx").run(dates.numpy())).mean(axis=0)
    np.testing.assert_allclose(np.exp(logs) / np.exp(logs).sum(), place, atol=1e-4)
    item = json.loads((tmp_path / "m.mlm.json").read_text())
    check_model_item(item)
    assert "average the logarithms of the probabilities" in item["properties"]["geoaware:answer"]


def test_the_answer_to_a_place_is_the_mean_of_its_dates():
    answers = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 5.0]])
    means = mean_by_owner(answers, torch.tensor([0, 0, 1]), 2)
    assert means.tolist() == [[2.0, 1.0], [5.0, 5.0]]


@pytest.mark.parametrize("decoder", [name for name in DECODERS if name != "unet"])
def test_every_decoder_learns_and_is_exported(store, encoder, tmp_path, decoder):
    out = tmp_path / "run"
    options = ["--decoder", decoder, "--epochs", 3, "--batch-size", 16, "--labels-fraction", 0.6]
    result = finetune(store, encoder, out, *options)
    assert result["accuracy"] > result["majority_class"] + 0.2
    assert call(to_onnx.main, out, "--out", tmp_path / "m.onnx", "--tile-size", 64) == 0
    tiles = real_tiles(store, 64)
    spec, network = load_model(out / "model.safetensors")
    assert spec.decoder == decoder
    with torch.inference_mode():
        expected = network(torch.from_numpy(tiles)).softmax(1).numpy()
    np.testing.assert_allclose(Model(tmp_path / "m.onnx").run(tiles), expected, atol=1e-4)
    item = json.loads((tmp_path / "m.mlm.json").read_text())
    check_model_item(item)
    assert item["properties"]["mlm:architecture"] == f"{DECODERS[decoder]} resnet18"
    assert item["properties"]["geoaware:overlap"] == Model(tmp_path / "m.onnx").card.overlap == 32  # half a tile
    assert 0 < item["properties"]["geoaware:seams"]["pixels_equal"] <= 1
    (output,) = onnx.load(tmp_path / "m.onnx").graph.output  # states its shape, so that no tile is run to know it
    batch, *shape = output.type.tensor_type.shape.dim
    assert batch.dim_param == "batch"
    assert [size.dim_value for size in shape] == [len(spec.classes), 64, 64]


def test_a_segmentation_takes_images_of_any_size(store, encoder):
    spec = replace(ModelSpec.of_store(store, "resnet18"), task="segmentation", classes=store.info.classes)
    model = build_network(spec).eval()
    with torch.inference_mode():
        assert model(torch.rand(1, 3, 50, 71)).shape == (1, 3, 50, 71)


def test_a_tuned_model_takes_images_of_the_size_it_was_tuned_on(store, tmp_path):
    spec = ModelSpec.of_store(store, "resnet18")
    save_model(tmp_path / "e.safetensors", replace(spec, chip_size=2 * spec.chip_size, gsd=7.0), Encoder(spec))
    finetune(
        store,
        tmp_path / "e.safetensors",
        tmp_path / "run",
        "--task",
        "classification",
        "--labels-fraction",
        0.2,
        "--epochs",
        1,
    )
    tuned = load_model(tmp_path / "run" / "model.safetensors")[0]
    assert (tuned.chip_size, tuned.gsd) == (store.info.chip_size, store.info.gsd)


def test_images_without_any_label_do_not_spoil_the_loss():
    module = ClassifierModule(torch.nn.Conv2d(1, 2, 1), ["a", "b"], 0.1, 1, None)
    pixels, nothing = torch.rand(2, 1, 4, 4), torch.full((2, 4, 4), IGNORED)
    assert module.loss(LabelledBatch(pixels, nothing)) == 0
    some = nothing.clone()
    some[0, 0, 0] = 1
    alone = torch.nn.functional.cross_entropy(module.model(pixels)[:1, :, 0, 0], torch.tensor([1]))
    torch.testing.assert_close(module.loss(LabelledBatch(pixels, some)), alone)


def test_ten_polygons_make_a_map(world, tmp_path):
    """Most pixels are unlabelled; the map is compared with the whole truth, which training never saw."""
    paths, labels = world
    with rasterio.open(labels) as source:
        truth, place = source.read(1), source.transform
    cells = [(row, column) for row in range(10) for column in range(10)]
    chosen = [cells[i] for i in np.random.default_rng(3).permutation(100)[:10]]
    names = {10: "wood", 20: "sand", 30: "sea"}
    shapes = [
        shapely.box(*(place * (c * 32 + 6, r * 32 + 26)), *(place * (c * 32 + 26, r * 32 + 6))) for r, c in chosen
    ]
    kinds = [names[int(truth[r * 32 + 16, c * 32 + 16])] for r, c in chosen]
    polygons = tmp_path / "polygons.gpkg"
    gpd.GeoDataFrame({"kind": kinds}, geometry=shapes, crs="EPSG:32633").to_file(polygons)
    options = ["--size", 64, "--labels", polygons, "--class-field", "kind", "--out", tmp_path / "store"]
    assert call(prepare, "rasters", *paths, *options) == 0
    store = ChipStore(tmp_path / "store")
    encoder = untrained(store, tmp_path)
    result = finetune(store, encoder, tmp_path / "run", "--epochs", 8, "--batch-size", 8)
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000

    assert call(to_onnx.main, tmp_path / "run", "--out", tmp_path / "m.onnx", "--tile-size", 64) == 0
    assert call(predict.main, tmp_path / "m.onnx", paths[0], "--out", tmp_path / "maps") == 0
    with rasterio.open(tmp_path / "maps" / f"{paths[0].stem}.tif") as source:
        said = source.read(1)
    meant = {entry.value: entry.name for entry in store.info.classes}
    right = np.vectorize(meant.get)(said) == np.vectorize(names.get)(truth)
    majority = np.bincount(truth.ravel()).max() / truth.size
    assert right.mean() > majority + 0.25
    assert result["labelled_places"] <= 10


def test_images_of_one_class_are_varied_each_by_itself():
    torch.manual_seed(0)
    naming = ClassifierModule(torch.nn.Identity(), ["a", "b"], 1e-3, 10, None)
    pixels = torch.rand(1, 3, 16, 16).expand(12, -1, -1, -1).clone()
    varied = naming.augmented(LabelledBatch(pixels, torch.zeros(12, dtype=torch.long))).pixels
    assert varied.shape == pixels.shape
    assert len(varied.flatten(1).unique(dim=0)) == 12
    masks = naming.augmented(LabelledBatch(pixels, torch.zeros(12, 16, 16, dtype=torch.long)))
    assert masks.targets.shape == (12, 16, 16)


def test_more_than_five_classes_are_counted_among_the_first_five(tmp_path):
    many = tuple(LandClass(number, f"kind {number}", "808080") for number in range(300))
    bare = Bare(info(chip_size=32, bands=("red", "green", "blue"), dtype="uint8", classes=many))
    store, _ = build(bare, tmp_path / "store", workers=1)
    result = finetune(store, untrained(store, tmp_path), tmp_path / "run", "--task", "classification", "--epochs", 1)
    assert result["accuracy"] <= result["top5_accuracy"] <= 1
    assert len(result["per_class"]) == 300


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """Photographs of bright and dark squares on grey ground, as COCO, 40 images."""
    folder, rng = tmp_path_factory.mktemp("squares"), np.random.default_rng(0)
    images, annotations = [], []
    for number in range(40):
        picture = rng.normal(120, 8, (64, 64, 3))
        for kind, (row, column) in enumerate(
            ((rng.integers(0, 12), rng.integers(0, 40)), (rng.integers(34, 42), rng.integers(0, 40)))
        ):
            side = int(rng.integers(16, 22))
            picture[row : row + side, column : column + side] = (230, 30)[kind]
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": kind + 1,
                    "bbox": [int(column), int(row), side, side],
                }
            )
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{number:02}.png")
        images.append({"id": number, "file_name": f"{number:02}.png", "width": 64, "height": 64})
    kinds = [{"id": 1, "name": "roof"}, {"id": 2, "name": "pool"}]
    (folder / "coco.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": kinds}))
    out = folder / "store"
    assert (
        call(prepare, "detections", "--images", folder, "--labels", folder / "coco.json", "--size", 64, "--out", out)
        == 0
    )
    return ChipStore(out)


@pytest.fixture(scope="module")
def detector(squares, tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    options = ["--task", "detection", "--epochs", 4, "--batch-size", 4, "--lr", 5e-4]
    finetune(squares, untrained(squares, folder), folder / "run", *options)
    return folder / "run"


def test_a_detector_learns_its_objects(squares):
    spec = replace(ModelSpec.of_store(squares, "resnet18"), task="detection", classes=squares.info.classes)
    torch.manual_seed(0)
    module = DetectorModule(build_network(spec), ["roof", "pool"], 1e-3, 1, None).train()
    batch = Labelled(squares, [np.arange(4)], "detection").batch([np.arange(4)])
    optimizer = torch.optim.AdamW(module.parameters(), 5e-4)
    losses = []
    for _ in range(25):
        loss = module.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach().item())
    assert min(losses[-5:]) < 0.6 * losses[0]


def found_in(store, module):
    """AP50 over the test places."""
    module.eval().reset()
    with torch.inference_mode():
        for batch in Labelled(store, labelled_places(store, "test", "detection"), "detection").loader(8):
            module.update(batch)
    return module.result()


def test_a_short_fine_tuning_finds_easy_objects(squares, tmp_path):
    untaught = untrained(squares, tmp_path)
    options = ["--task", "detection", "--epochs", 8, "--batch-size", 4, "--lr", 5e-4]
    assert finetune(squares, untaught, tmp_path / "run", *options)["ap50"] > 0.5


def test_a_detector_that_learnt_nothing_finds_nothing(squares):
    spec = replace(ModelSpec.of_store(squares, "resnet18"), task="detection", classes=squares.info.classes)
    torch.manual_seed(0)
    model = build_network(spec)
    model.score_thresh = 0.0  # else there is nothing to count
    assert found_in(squares, DetectorModule(model, ["roof", "pool"], 1e-3, 1, None))["ap50"] < 0.1


def test_images_without_objects_are_tested_too(squares, tmp_path):
    """Neither validation, nor the test, nor the report needs an object; training does."""
    bare = tmp_path / "store"
    shutil.copytree(squares.path, bare)
    table = pd.read_parquet(bare / "boxes.parquet")
    learnt = np.flatnonzero(squares.column("split") == SPLITS.index("train"))
    table[table["image"].isin(learnt)].to_parquet(bare / "boxes.parquet")
    store = ChipStore(bare)
    options = ["--task", "detection", "--epochs", 1, "--batch-size", 8, "--labels-fraction", 0.3]
    result = finetune(store, untrained(store, tmp_path), tmp_path / "run", *options)
    assert (result["ap50"], result["objects"]) == (0.0, 0)
    assert (tmp_path / "run" / "report.html").exists()


def test_a_training_without_any_object_is_refused(squares, tmp_path, capsys):
    bare = tmp_path / "store"
    shutil.copytree(squares.path, bare)
    pd.read_parquet(bare / "boxes.parquet")[:0].to_parquet(bare / "boxes.parquet")
    options = ["--data", bare, "--encoder", untrained(squares, tmp_path), "--out", tmp_path / "run"]
    assert call(train.main, "finetune", *options, "--task", "detection") == 2
    assert "training places contains an object" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_detectors_run_reports_what_it_found(detector):
    result = json.loads((detector / "metrics.json").read_text())
    assert 0 <= result["ap50"] <= 1
    assert {row["class"]: row["support"] for row in result["per_class"]}.keys() == {"roof", "pool"}
    assert result["objects"] == sum(row["support"] for row in result["per_class"])
    page = (detector / "report.html").read_text()
    assert "AP50" in page
    assert page.count("data:image/png") == 3  # examples, curves, confusion


def test_boxes_come_decoded_from_the_onnx_file(detector, squares, tmp_path, capsys):
    out = tmp_path / "m.onnx"
    assert call(to_onnx.main, detector, "--out", out) == 0
    written = onnx.load(out)
    assert (written.ir_version, written.opset_import[0].version) == (8, 17)
    assert b"NonMaxSuppression" in out.read_bytes()  # it stands in a branch: there may be no box at all
    model, (_, network) = Model(out), load_model(detector / "model.safetensors")
    total = 0
    for row in range(8):
        tile = squares.pixels(np.array([row]))
        with torch.inference_mode():
            expected = network(torch.from_numpy(tile))[0]
        boxes, certainty, labels = model.outputs(tile)
        assert len(boxes) == len(expected["boxes"])
        total += len(boxes)
        np.testing.assert_allclose(boxes, expected["boxes"], atol=1e-3)
        np.testing.assert_allclose(certainty, expected["scores"], atol=1e-3)
        np.testing.assert_array_equal(labels, expected["labels"])
    assert total > 0
    assert model.card.task == "detection"
    item = json.loads(out.with_suffix(".mlm.json").read_text())
    check_model_item(item)
    assert item["properties"]["mlm:tasks"] == ["object-detection"]
    assert "model_type" not in {p.key for p in written.metadata_props}  # Deepness's detectors decode boxes themselves
    (tmp_path / "r.tif").touch()
    assert call(predict.main, out, tmp_path / "r.tif", "--out", tmp_path / "maps") == 2


def test_the_encoder_of_every_task_is_the_same(detector, squares):
    spec, model = load_model(detector / "model.safetensors")
    assert isinstance(encoder_of(model), Encoder)
    assert spec.task == "detection"


def test_bad_options_of_a_task_get_one_sentence(store, encoder, tmp_path, capsys):
    cases = {
        "--decoder psanet: choose one of unet, deeplabv3plus, fpn": ["--decoder", "psanet"],
        "has no boxes; make the store with 'core.prepare detections'": ["--task", "detection"],
        "--batch-size 1: batch norm needs at least 2 images": ["--batch-size", 1],
    }
    for message, options in cases.items():
        arguments = ["--data", store.path, "--encoder", encoder, "--out", tmp_path / "x", *options]
        assert call(train.main, "finetune", *arguments) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "x").exists()


# Boxes and their counting.


def boxes(*rows):
    """(xmin, ymin, xmax, ymax, label, score) as ``Boxes``."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4].astype(int), table[:, 5])


def test_average_precision_of_a_known_curve():
    # right, wrong, right of 3 objects: precision 1 up to recall 1/3, 2/3 up to recall 2/3
    assert average_precision(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]), 3) == pytest.approx(
        (1 + 2 / 3) / 3
    )
    assert average_precision(np.empty(0, bool), np.empty(0), 2) == 0


def test_an_object_counts_once_and_each_class_for_itself():
    truth = [boxes((0, 0, 10, 10, 0, 1), (20, 20, 30, 30, 1, 1))]
    twice = [boxes((0, 0, 10, 10, 0, 0.9), (0, 0, 10, 9, 0, 0.8), (20, 20, 30, 30, 0, 0.7))]
    assert ap50(twice, truth, 3)[:2].tolist() == [1.0, 0.0]  # what comes after full recall costs nothing
    assert np.isnan(ap50(twice, truth, 3)[2])  # a class without objects has no precision
    low = [boxes((0, 0, 10, 10, 0, 0.1), (50, 50, 60, 60, 0, 0.9))]
    assert ap50(low, truth, 2)[0] == 0.5


def test_average_precision_is_that_of_the_coco_tools(capsys):
    pytest.importorskip("pycocotools", reason="the COCO tools are not a dependency")
    from torchmetrics.detection import MeanAveragePrecision

    rng = np.random.default_rng(0)

    def some(count, known=None):
        low = rng.uniform(0, 90, (count, 2)) if known is None else known.corners[:, :2] + rng.normal(0, 2, (count, 2))
        corners = np.concatenate([low, low + 12], axis=1)
        labels = rng.integers(0, 2, count) if known is None else known.labels
        return Boxes(corners, labels, rng.random(count))

    truth = [some(40) for _ in range(20)]
    found = [some(40, known=t) for t in truth]
    metric = MeanAveragePrecision(iou_thresholds=[0.5], class_metrics=True)

    def plain(objects):
        return {n: torch.from_numpy(p) for n, p in zip(("boxes", "labels", "scores"), objects)}

    metric.update([plain(f) for f in found], [plain(t) for t in truth])
    theirs = metric.compute()["map_per_class"].numpy()
    assert theirs.min() > 0.2
    np.testing.assert_allclose(ap50(found, truth, 2), theirs, atol=0.01)  # theirs samples the curve at 101 points


def test_objects_taken_for_others_missed_and_invented_are_told_apart():
    truth = [boxes((0, 0, 10, 10, 0, 1), (20, 20, 30, 30, 1, 1), (40, 40, 50, 50, 1, 1))]
    found = [
        boxes((0, 0, 10, 10, 1, 0.9), (20, 20, 30, 30, 1, 0.8), (60, 60, 70, 70, 0, 0.7), (40, 40, 50, 50, 1, 0.2))
    ]
    assert object_confusion(found, truth, 2).tolist() == [[0, 1, 0], [0, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirror", [False, True])
def test_boxes_and_masks_turn_with_their_image(quarters, mirror):
    pixels = torch.zeros(1, 1, 8, 8)
    pixels[0, 0, 1:3, 2:7] = 1
    corners = torch.tensor([[2.0, 1.0, 7.0, 3.0]])
    batch = rotated(LabelledBatch(pixels, [{"boxes": corners, "labels": torch.zeros(1)}]), quarters, mirror)
    left, top, right, bottom = batch.targets[0]["boxes"][0].int().tolist()
    assert batch.pixels[0, 0, top:bottom, left:right].sum() == batch.pixels.sum() == (bottom - top) * (right - left)
    masks = rotated(LabelledBatch(pixels, pixels[:, 0].long()), quarters, mirror)
    assert torch.equal(masks.pixels[:, 0].long(), masks.targets)


def test_scores_of_nothing_are_nothing():
    assert scores(np.zeros((2, 2), int))["accuracy"] == 0


def test_buildings_of_the_dubai_masks_go_all_the_way(real, tmp_path):
    """Masks to boxes to a store to a detector to an ONNX file: a path, not a measurement."""
    root = real / "dubai_mbrsc_seg"
    coco = buildings.write_coco(root, tmp_path / "coco.json", tiles=("Tile 1", "Tile 2"))
    out = tmp_path / "store"
    options = ["--size", 128, "--skip-empty", "--out", out]
    assert call(prepare, "detections", "--images", root, "--labels", coco, *options) == 0
    store = ChipStore(out)
    tuned = ["--task", "detection", "--epochs", 1, "--batch-size", 8, "--labels-fraction", 0.1]
    result = finetune(store, untrained(store, tmp_path), tmp_path / "run", *tuned)
    assert result["per_class"][0]["class"] == "building"
    assert result["objects"] > 100
    assert call(to_onnx.main, tmp_path / "run", "--out", tmp_path / "m.onnx") == 0
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["task"] == "detection"
