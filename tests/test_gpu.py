"""Training and export on a GPU; what a CPU can do too is also tested there. Makes its data without rasterio.

``benchmarks/gpu`` runs this file on machines without rasterio, torchgeo and QGIS.
"""

import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers.logger import DummyLogger
from safetensors.torch import load_file

from benchmarks.gpu.chips import world
from core.errors import UserError
from core.method.moco import MoCo
from core.method.pairs import PairBatch, PairLoader, Pairs
from core.method.views import Views
from core.networks.encoders import Encoder, ModelSpec
from core.networks.weights import load_model
from core.store.read import ChipStore
from core.training.finetune import finetune
from core.training.moco_module import Pretraining
from core.training.pretrain import pretrain
from export.runtime.model.session import Model
from export.to_onnx import TOLERANCE, export_onnx

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_gpu)]
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have a deterministic implementation")
OPTIONS = {"batch_size": 16, "queue": 64, "clusters": 4, "epochs": 2, "overwrite": True}


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return ChipStore(world(tmp_path_factory.mktemp("land") / "store", 60, 32))


@pytest.fixture(autouse=True)
def exact():
    """No TF32, and no kernels whose sums depend on the order of threads."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


class Stops(DummyLogger):
    """Asks its own process to stop, as a scheduler would, once a step is logged."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def log_metrics(self, metrics: dict, step: int | None = None) -> None:
        if step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def same(one: Path, other: Path) -> bool:
    """Whether two encoders have the same bits."""
    left, right = load_file(one), load_file(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def steps_of(store: ChipStore, device: str, count: int) -> tuple[list[float], torch.Tensor]:
    """Losses of the first steps in fp32, and the weights after them."""
    places = store.places_of("train")
    loader = PairLoader(Pairs(store, places, np.arange(len(places)) % 4, True, 0), 16)
    torch.manual_seed(0)
    encoder = Encoder(ModelSpec.of_store(store, "resnet18")).to(memory_format=torch.channels_last)
    moco = MoCo(encoder, encoder.width, K=64, clusters=4, season="both")
    module = Pretraining(moco, Views(jitter=0.0, turn=False, flip=False, scale=1.0), loader, 1e-3, count).to(device)
    optimizer = torch.optim.SGD(module.parameters(), 1e-3)
    losses = []
    for batch in list(loader)[:count]:
        there = PairBatch(*(part.to(device) if isinstance(part, torch.Tensor) else part for part in batch))
        chips = there.queries.float(), there.keys.float()
        total = module.moco(*chips, there.cluster, there.places, there.order, chips[0], there.alone).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
    return losses, torch.cat([part.detach().cpu().ravel() for part in module.parameters()])


@needs_gpu
def test_a_step_on_a_gpu_is_that_of_the_processor(land):
    (ours, weights), (theirs, expected) = steps_of(land, "cuda", 3), steps_of(land, "cpu", 3)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    assert float((weights - expected).norm() / expected.norm()) < 1e-4


@pytest.mark.parametrize("device", DEVICES)
def test_a_resumed_run_has_the_bits_of_one_that_was_not_stopped(land, tmp_path, device):
    options = OPTIONS | {"device": device, "precision": "32-true", "optimizer": "sgd"}
    whole = pretrain(land.path, tmp_path / "whole", **options)
    stops = {"class_path": "tests.test_gpu.Stops", "init_args": {"step": 3}}
    assert pretrain(land.path, tmp_path / "stopped", **options, loggers=[stops]) is None
    resumed = pretrain(land.path, tmp_path / "stopped", **(options | {"overwrite": False}), resume=True)
    if device == "cuda":
        again = pretrain(land.path, tmp_path / "again", **options)
        assert same(whole, again), "two runs that were not stopped differ: some kernel is not deterministic"
    assert same(whole, resumed)


@pytest.mark.parametrize("device", DEVICES)
def test_bf16_trains_without_nan(land, tmp_path, device):
    encoder = pretrain(land.path, tmp_path / "run", **OPTIONS, device=device, precision="bf16-mixed")
    weights = load_file(encoder)
    assert all(part.isfinite().all() for part in weights.values())
    assert {part.dtype for part in weights.values()} <= {torch.float32, torch.int64}


@needs_gpu
def test_out_of_memory_names_a_batch_that_fits(tmp_path):
    store = world(tmp_path / "store", 2600, 64, dates=1)
    options = {"variant": "moco", "queue": 4096, "epochs": 1, "device": "cuda", "precision": "32-true", "stride": 8}
    free, _ = torch.cuda.mem_get_info()
    ballast = torch.empty(max(free - 3 * 2**30, 0), dtype=torch.uint8, device="cuda")
    with pytest.raises(UserError, match=r"out of memory on cuda.*about \d+ fit: use --batch-size \d+") as caught:
        pretrain(store, tmp_path / "much", batch_size=2048, **options)
    fits = int(re.search(r"use --batch-size (\d+)", str(caught.value))[1])
    assert 8 <= fits < 2048
    torch.cuda.empty_cache()
    assert pretrain(store, tmp_path / "fits", batch_size=fits, **options)
    del ballast


@pytest.mark.parametrize("device", DEVICES)
def test_what_was_trained_is_the_same_in_torch_and_in_onnxruntime(land, tmp_path, device):
    spec = ModelSpec.of_store(land, "resnet18")
    encoder = pretrain(land.path, tmp_path / "run", **(OPTIONS | {"epochs": 1}), device=device)
    tuned = finetune(land.path, str(encoder), tmp_path / "map", epochs=1, batch_size=16, device=device)
    assert export_onnx(tuned, tmp_path / "map.onnx", tile_size=64) <= TOLERANCE
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 256, (2, len(spec.bands), 64, 64)).astype(np.float32)
    network = load_model(tuned)[1].to(device).eval()
    with torch.inference_mode():
        expected = network(torch.from_numpy(pixels).to(device)).softmax(dim=1).cpu().numpy()
    np.testing.assert_allclose(Model(tmp_path / "map.onnx", "cpu").run(pixels), expected, atol=TOLERANCE)
