"""Benchmark of pretraining: ``python -m benchmarks.training``; writes docs/benchmarks/training.md.

Compares whole training loops on the same chips, encoder, size and batch, in turns: ``core.train pretrain``, torchgeo's
MoCoTask with its own augmentations, and lightly's MoCo v2 with per-sample torchvision views and two workers (``pip install
-e .[benchmark]``). On a CPU the processor time of one thread counts, with that of workers, so that other programs on the
machine change little; on a GPU the clock of each run's TensorBoard log. Both from the first logged step (already warm) to
the last. A profile of one step says what it is spent on, beside the same step with torch's own convolutions.

With a CUDA device also ResNet-50 at 224 px: compared with the same step on tensors already on the device, memory, and the
fraction of peak bf16 throughput.
"""

from __future__ import annotations

import argparse
import copy
import gc
import os
import resource
import shlex
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
import torchvision
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.logs import Log, ProcessorTime, pairs_per_second, read_log
from core.method.moco import MoCo
from core.method.pairs import PairBatch, PairLoader, Pairs
from core.method.views import Views, as_float
from core.networks import small_maps
from core.networks.encoders import Encoder, ModelSpec, faster_in_bf16
from core.store.read import ChipStore
from core.training.moco_module import Pretraining
from core.training.pretrain import pretrain

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "training.md"
QUEUE, DIM, TEMPERATURE, MOMENTUM = 4096, 128, 0.2, 0.99
LOGGER = "benchmarks.logs.ProcessorTime"


# --- three loops ---


def ours(store: ChipStore, out: Path, batch: int, precision: str, device: str, **options: Any) -> Log:
    """``core.train pretrain``, one epoch, with the pairs, views and optimiser of the paper, as the peers have them."""
    pretrain(
        store.path, out, variant="moco-geo-tp", season="ignore", pair_views="independent", optimizer="sgd", epochs=1, batch_size=batch, queue=QUEUE,
        precision=precision, device=device, loggers=[{"class_path": LOGGER}], **options,
    )  # fmt: skip
    return read_log(out)


class Glued(Dataset):
    """Pairs as MoCoTask takes them: two dates glued on the channel axis."""

    def __init__(self, store: ChipStore) -> None:
        places = store.places_of("train")
        self.pairs = Pairs(store, places, np.zeros(len(places)), True, 0)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pairs)

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        """One pair, 0 to 1."""
        both = np.array([item, self.pairs.partners(np.array([item]))[0]])
        return {"image": torch.cat(list(as_float(*self.pairs.read(both)))) / 255}


def torchgeo(
    store: ChipStore, out: Path, batch: int, precision: str, device: str, arch: str = "resnet18", workers: int = 0
) -> Log:
    """MoCoTask, version 2, with its own augmentations; the chips are read in the training process."""
    from torchgeo.trainers import MoCoTask

    task = MoCoTask(
        model=arch, in_channels=3, version=2, layers=2, hidden_dim=512, output_dim=DIM, lr=0.03, weight_decay=1e-4,
        temperature=TEMPERATURE, memory_bank_size=QUEUE, moco_momentum=MOMENTUM, size=store.info.chip_size,
    )  # fmt: skip
    loader = DataLoader(
        Glued(store), batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )
    return _fit(task, loader, out, precision, device)


class Pictures(Dataset):
    """Single images as lightly takes them, with two views each."""

    def __init__(self, store: ChipStore, transform: Callable[[Image.Image], list[Tensor]]) -> None:
        self.transform = transform
        places = store.places_of("train")
        self.pairs = Pairs(store, places, np.zeros(len(places)), False, 0)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pairs)

    def __getitem__(self, item: int) -> list[Tensor]:
        """Two views."""
        chips, _ = self.pairs.read(np.array([item]))
        return self.transform(Image.fromarray(chips[0].numpy().transpose(1, 2, 0)))


class LightlyMoCo(L.LightningModule):
    """MoCo v2 of lightly's parts, as its documentation puts them together."""

    def __init__(self, arch: str = "resnet18") -> None:
        from lightly.loss import NTXentLoss
        from lightly.models.modules import MoCoProjectionHead

        super().__init__()
        trunk = getattr(torchvision.models, arch)()
        width, trunk.fc = trunk.fc.in_features, nn.Identity()
        self.query = nn.Sequential(trunk, MoCoProjectionHead(width, width, DIM))
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.criterion = NTXentLoss(TEMPERATURE, memory_bank_size=(QUEUE, DIM))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """One batch of two views."""
        from lightly.models.utils import update_momentum

        update_momentum(self.query, self.key, MOMENTUM)
        query = self.query(batch[0])
        with torch.no_grad():
            key = self.key(batch[1])
        loss = self.criterion(query, key)
        self.log("train_loss", loss.detach())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD as in the paper."""
        return torch.optim.SGD(self.query.parameters(), 0.03, momentum=0.9, weight_decay=1e-4)


def lightly(
    store: ChipStore, out: Path, batch: int, precision: str, device: str, arch: str = "resnet18", workers: int = 2
) -> Log:
    """Lightly's MoCo v2 with its torchvision views."""
    from lightly.transforms import MoCoV2Transform

    pictures = Pictures(store, MoCoV2Transform(input_size=store.info.chip_size))
    loader = DataLoader(pictures, batch, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True)
    return _fit(LightlyMoCo(arch), loader, out, precision, device)


def _fit(module: L.LightningModule, loader: Any, out: Path, precision: str, device: str) -> Log:
    trainer = L.Trainer(
        max_epochs=1, accelerator=device, devices=1, precision=precision, logger=[TensorBoardLogger(out), ProcessorTime()],
        enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False,
        log_every_n_steps=max(1, min(10, len(loader) // 2)),
    )  # fmt: skip
    trainer.fit(module, loader)
    return read_log(out)


LOOPS = {
    "GeoAware": (ours, "loss"),
    "torchgeo `MoCoTask`": (torchgeo, "train_loss"),
    "lightly": (lightly, "train_loss"),
}
PEERS = list(LOOPS)[1:]


def processor_rate(batch: int, workers: float) -> float:
    """Pairs per second of processor time of the newest run; ``workers`` is that of its other processes, s, all steps."""
    (first, start), (last, end) = ProcessorTime.marks[0], ProcessorTime.marks[-1]
    if last == first:
        raise SystemExit("too few steps to time: give a larger --side or a smaller --batch")
    share = (last - first) / (last + 1)
    return batch * (last - first) / (end - start + share * workers)


def _of_others() -> float:
    """Processor time of processes that have ended, s."""
    gc.collect()  # a loader's workers end with it
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare(store: ChipStore, work: Path, batch: int, repeats: int, device: str) -> str:
    """The three in turn, so that changes of the machine's speed affect all of them."""
    rates: dict[tuple[str, str], list[float]] = {}
    waits: dict[str, list[float]] = {}
    fast = faster_in_bf16(torch.device(device), store.info.chip_size)
    precisions = ("bf16-mixed", "32-true") if fast else ("32-true",)
    for repeat in range(repeats):
        for precision in precisions:
            for name, (loop, scalar) in LOOPS.items():
                before = _of_others()
                log = loop(store, work / f"{loop.__name__}-{precision}-{repeat}", batch, precision, device)
                on_clock = device == "cuda"
                rate = (
                    pairs_per_second(log, scalar, batch) if on_clock else processor_rate(batch, _of_others() - before)
                )
                rates.setdefault((precision, name), []).append(rate)
                waits.setdefault(precision, []).extend(value for _, _, value in log.get("data_wait", [])[1:])
                print(f"{precision}, {name}: {rate:.0f} pairs/s", flush=True)
    pixels = store.info.chip_size**2
    parameters = sum(part.numel() for part in Encoder(ModelSpec.of_store(store, "resnet18")).parameters())
    head = ["precision", *LOOPS, "ours / the faster peer", "images x pixels x parameters per second, ours"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for precision in precisions:
        each = {name: np.array(rates[precision, name]) for name in LOOPS}
        faster = np.max([each[name] for name in PEERS], axis=0)
        ratio = np.median(each["GeoAware"] / faster)  # within a repeat
        cells = " | ".join(f"{np.median(rate):.0f} pairs/s" for rate in each.values())
        work_done = 2 * np.median(each["GeoAware"]) * pixels * parameters
        lines.append(f"| {precision} | {cells} | {ratio:.2f} | {work_done:.2g} |")
    waited = "; ".join(f"{precision} {100 * np.mean(values):.2f} %" for precision, values in waits.items() if values)
    time_of = "clock" if device == "cuda" else "processor time of one thread and of loaders' workers"
    return (
        f"ResNet-18 ({parameters / 1e6:.1f} million parameters), {store.info.chip_size} px, batch {batch}, queue {QUEUE}, {device}, "
        f"{time_of}; medians of {repeats} repeats.\n\n"
        + "\n".join(lines)
        + f"\n\nShare of our steps spent waiting for data (`data_wait` of the log): {waited or 'not logged'}."
    )


# --- a step on a CPU ---

PARTS = (  # of a step, by the names of torch's operations in the profile
    ("convolutions of the stages: products of matrices and their transforms", ("bmm", "baddbmm", "mm", "addmm")),
    ("first convolution", ("convolution",)),
    ("batch norm", ("batch_norm",)),
    ("ReLU and max pooling", ("clamp_min", "threshold", "max_pool")),
    ("optimiser and key encoder's momentum", ("_fused", "lerp", "Optimizer")),
)


def profile(store: ChipStore, batch: int, repeats: int) -> str:
    """What a step of ``moco-geo-tp`` is spent on, against torch's own convolutions, and against its arithmetic."""
    loader = _loader(store, batch)
    torch.manual_seed(0)
    module = _module(loader, "resnet18", 1000, clusters=100)
    optimizer: Any = module.configure_optimizers()
    optimizer, pairs, pays = optimizer["optimizer"], next(iter(loader)), small_maps.pays

    def step() -> None:
        module.moco(*module.pair_of_views(pairs), pairs.cluster, pairs.places, pairs.order).total.backward()
        optimizer.step()
        optimizer.zero_grad()

    def measured() -> float:
        start = time.process_time()
        step()
        return time.process_time() - start

    times: dict[str, list[float]] = {"ours": [], "torch's": []}
    try:
        for number in range(2 * repeats + 2):
            plain = number % 2 == 1
            small_maps.pays = (lambda maps: False) if plain else pays  # type: ignore[assignment]
            seconds = measured()
            if number > 1:  # the first of each warms up
                times["torch's" if plain else "ours"].append(seconds)
    finally:
        small_maps.pays = pays  # type: ignore[assignment]
    with torch.profiler.profile() as profiled:
        step()
    spent: dict[str, float] = {}
    for event in profiled.key_averages():
        part = next((part for part, names in PARTS if any(name in event.key for name in names)), "everything else")
        spent[part] = spent.get(part, 0.0) + event.self_cpu_time_total
    total, rate = sum(spent.values()), matrix_rate()
    ours_, torchs = (float(np.median(values)) for values in times.values())
    ratio = float(np.median(np.array(times["torch's"]) / np.array(times["ours"])))
    small, plain_flops = operations(store, batch, pays), operations(store, batch, lambda maps: False)
    rows = "\n".join(
        f"| {part} | {100 * value / total:.0f} % |" for part, value in sorted(spent.items(), key=lambda x: -x[1])
    )
    return (
        f"A step of `moco-geo-tp`, ResNet-18, {store.info.chip_size} px, {batch} pairs, one thread, in turns: {ours_:.2f} s of processor "
        f"time, and {torchs:.2f} s with torch's convolutions (oneDNN), the same network: **{ratio:.2f} times as fast**. It takes "
        f"{small / 1e9:.0f} billion operations of multiplication and addition (torch's: {plain_flops / 1e9:.0f}, most of them with the "
        f"padding of small maps); a large fp32 product of matrices reaches {rate / 1e9:.0f} billion a second here, so that no step of this "
        f"arithmetic takes less than {small / rate:.2f} s: {100 * small / rate / ours_:.0f} % of ours.\n\n"
        f"| part of our step | time |\n|---|---|\n{rows}"
    )


def operations(store: ChipStore, batch: int, pays: Callable[[Tensor], bool]) -> float:
    """Operations of a step in convolutions and products of matrices, forward and backward; a multiply-add is two."""
    from torch.utils.flop_counter import FlopCounterMode

    loader = _loader(store, batch)
    module, pairs, kept = _module(loader, "resnet18", 1), next(iter(loader)), small_maps.pays
    small_maps.pays = pays  # type: ignore[assignment]
    try:
        with FlopCounterMode(display=False) as counter:
            module.moco(*module.pair_of_views(pairs), pairs.cluster).total.backward()
    finally:
        small_maps.pays = kept  # type: ignore[assignment]
    return counter.get_total_flops()


def matrix_rate(side: int = 2048, repeats: int = 5) -> float:
    """What a large fp32 matrix product reaches on one thread, operations per second of processor time, at best."""
    a, best = torch.randn(side, side), np.inf
    for _ in range(repeats):
        start = time.process_time()
        a @ a
        best = min(best, time.process_time() - start)
    return 2 * side**3 / best


# --- a GPU ---


class Again:
    """The same batch, on the device already, a number of times."""

    def __init__(self, batch: Any, times: int) -> None:
        self.batch, self.times = batch, times

    def __len__(self) -> int:
        """Number of batches."""
        return self.times

    def __iter__(self) -> Iterator[Any]:
        """The batch again and again."""
        for _ in range(self.times):
            yield self.batch


def _module(loader: PairLoader, arch: str, steps: int, clusters: int = 0) -> Pretraining:
    encoder = Encoder(ModelSpec.of_store(loader.pairs.store, arch)).to(memory_format=torch.channels_last)
    moco = MoCo(encoder, encoder.width, K=QUEUE, m=MOMENTUM, T=TEMPERATURE, clusters=clusters, season="ignore")
    return Pretraining(moco, Views(), loader, 0.03, steps)


def _loader(store: ChipStore, size: int) -> PairLoader:
    places = store.places_of("train")
    return PairLoader(Pairs(store, places, np.zeros(len(places)), True, 0), size)


def flops_per_pair(store: ChipStore, arch: str) -> float:
    """Operations of a step, forward and backward, counted by torch; a multiply-add is two."""
    from torch.utils.flop_counter import FlopCounterMode

    loader = _loader(store, 2)
    module, batch = _module(loader, arch, 1), next(iter(loader))
    with FlopCounterMode(display=False) as counter:
        module.moco(*module.pair_of_views(batch), batch.cluster).total.backward()
    return counter.get_total_flops() / 2


def peak_flops() -> float:
    """What a large bf16 matrix product reaches on this device, operations a second."""
    side = 8192
    a = torch.randn(side, side, device="cuda", dtype=torch.bfloat16)
    for _ in range(10):
        a @ a
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(50):
        a @ a
    torch.cuda.synchronize()
    return 50 * 2 * side**3 / (time.perf_counter() - start)


def gpu(store: ChipStore, work: Path, batch: int, repeats: int, arch: str = "resnet50") -> str:
    """The whole loop against the bare step, memory, share of the peak."""
    whole, bare, waits = [], [], []
    torch.cuda.reset_peak_memory_stats()
    for repeat in range(repeats):
        log = ours(store, work / f"gpu-{repeat}", batch, "bf16-mixed", "cuda", arch=arch)
        whole.append(pairs_per_second(log, "loss", batch))
        waits += [value for _, _, value in log.get("data_wait", [])[1:]]
        loader, steps = _loader(store, batch), log["loss"][-1][0] + 1
        on_device = PairBatch(*(part.cuda() if isinstance(part, Tensor) else part for part in next(iter(loader))))
        again = _fit(
            _module(loader, arch, steps), Again(on_device, steps), work / f"bare-{repeat}", "bf16-mixed", "cuda"
        )
        bare.append(pairs_per_second(again, "loss", batch))
    memory = torch.cuda.max_memory_allocated() / 2**30
    share = np.median(whole) * flops_per_pair(store, arch) / peak_flops()
    return (
        f"{torch.cuda.get_device_name()}, {arch}, {store.info.chip_size} px, batch {batch}, bf16: "
        f"{np.median(whole):.0f} pairs/s, {100 * np.median(np.array(whole) / bare):.1f} % of the speed of the same step on tensors "
        f"already on the device; {memory:.1f} GiB at the peak; {100 * share:.0f} % of what a large bf16 matrix product reaches here; "
        f"waiting for data {f'{100 * np.mean(waits):.2f} %' if waits else 'not logged'} of the time."
    )


def main() -> None:
    """Measure and write the page."""
    from benchmarks.data import make_rasters, make_store  # they need rasterio, which the GPU's part does without

    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument(
        "--side", type=int, default=4096, help="side of the generated rasters in px; larger means longer runs"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64], help="sizes of a chip on a CPU, px")
    parser.add_argument("--gpu-batch", type=int, default=256, help="batch size of ResNet-50 at 224 px")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # the other libraries' own
    sections = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        torch.set_num_threads(1)
        for size in options.sizes:  # as many chips of either size
            part = work / f"{size}"
            part.mkdir()
            make_store(make_rasters(part / "scenes", None, options.side * size // 64), part / "store", size=size)
            small = ChipStore(part / "store")
            sections.append(f"## Chips of {size} px, CPU")
            sections += [
                compare(small, part, options.batch, options.repeats, "cpu"),
                profile(small, options.batch, options.repeats),
            ]
        if torch.cuda.is_available():
            paths = make_rasters(work / "scenes", None, options.side)
            make_store(paths, work / "store")
            store = ChipStore(work / "store")
            sections.append("## GPU")
            sections.append(compare(store, work / "cuda", options.batch, options.repeats, "cuda"))
            make_store(paths, work / "store224", size=224)
            sections.append(gpu(ChipStore(work / "store224"), work, options.gpu_batch, options.repeats))
    head = (
        f"# Speed of pretraining\n\nMade by `{shlex.join(['python', '-m', 'benchmarks.training', *sys.argv[1:]])}` on "
        f"{os.cpu_count()} CPU cores: whole training loops, "
        "from the first logged step to the last, in turn within one run. Reading pairs from the "
        "store against GeoTIFF: [data.md](data.md)."
    )
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text("\n\n".join([head, *sections]) + "\n")
    print(options.page.read_text())


if __name__ == "__main__":
    main()
