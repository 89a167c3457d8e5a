"""``core.train pretrain``: learns an encoder from unlabelled, located, dated chips."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import torch

from core.checkpoints import Checkpoints, fit, going_on
from core.errors import UserError
from core.files import write_json
from core.method.moco import GEO_HEADS, VARIANTS, MoCo
from core.method.pairs import MOST_DAYS, Gap, Loader, Pairs
from core.method.sphere import assign_geo_clusters, fit_geo_clusters
from core.method.views import Views
from core.networks.encoders import Encoder, ModelSpec, check_size, save_model
from core.runs import (
    check_positive,
    check_seed,
    from_first,
    join_processes,
    make_loggers,
    make_trainer,
    pick_device,
    pick_precision,
    processes,
    start_run,
)
from core.store.read import ChipStore
from core.training.memory import too_large
from core.training.moco_module import Pretraining
from core.training.watch import Watch
from core.version import version_and_commit

# Options that shape the network, the queue or the pairs: a run that goes on keeps them.
_LASTING = ("variant", "arch", "batch_size", "queue", "clusters", "geo_head", "min_gap", "max_gap", "seed")


def pretrain(
    data: Path,
    out: Path,
    variant: str = "moco-geo-tp",
    arch: str = "resnet18",
    epochs: int = 100,
    batch_size: int = 256,
    lr: float = 0.06,
    temperature: float = 0.2,
    momentum: float = 0.99,
    queue: int = 4096,
    clusters: int = 100,
    geo_head: str = "projection",
    alpha: float = 1.0,
    beta: float = 1.0,
    mask_same_place: bool = False,
    min_gap: float = 0.0,
    max_gap: float | None = None,
    views: Views = Views(),  # noqa: B008 - frozen
    precision: str = "auto",
    compile: bool = False,
    device: str = "auto",
    seed: int = 0,
    loggers: list[dict] = [],  # noqa: B006 - only read
    checkpoint_every: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Path | None:
    """Learn an encoder from the training places of a chip store, without labels.

    Under torchrun the processes share each batch.

    Args:
        data: Folder of the chip store.
        out: Folder of the run; encoder.safetensors is the result.
        variant: moco, moco-geo, moco-tp or moco-geo-tp. "tp" pairs two dates of a place, "geo" adds the geo-location pretext.
        arch: resnet18, resnet34, resnet50 or a timm model that yields feature maps at strides 4 to 32, such as convnext_atto.
        epochs: Passes over all images.
        batch_size: Pairs in a step, of all processes together.
        lr: Learning rate of SGD for a batch of 256; it is scaled with the batch size.
        temperature: Divisor of the cosine similarities (0.02 in the authors' code).
        momentum: Of the key encoder (0.999 in the paper, for runs of hundreds of thousands of steps).
        queue: Number of negatives (65,536 in the paper).
        clusters: Number of geo clusters.
        geo_head: What the geo head reads: projection (128 numbers, as in the authors' code) or trunk (features, as in the paper).
        alpha: Weight of the contrastive loss.
        beta: Weight of the geo-location loss.
        mask_same_place: Other keys of the query's own place are no negatives.
        min_gap: Least number of days between the two dates of a temporal pair.
        max_gap: Greatest number of days between them; any by default.
        views: How strongly the two views of a pair differ.
        precision: auto (bf16 where it is faster), 32-true or bf16-mixed.
        compile: Compile the encoders with torch.compile: the first steps take long, so only for long runs.
        device: auto, cpu, cuda, cuda:1 and so on, or mps.
        seed: Of weights, order, partners and views.
        loggers: Lightning loggers beside CSV and TensorBoard, each a class_path with its init_args.
        checkpoint_every: Steps from one checkpoint to the next; by default every two minutes and ten times a run.
        resume: Go on from the last checkpoint in the run's folder.
        overwrite: Replace the run's folder.

    Returns:
        The encoder's file; None where the run was stopped (SIGTERM).
    """
    settings = dict(locals())
    rank, count = processes()
    check_positive(epochs=epochs, batch_size=batch_size, lr=lr, temperature=temperature, queue=queue, clusters=clusters)
    if checkpoint_every is not None:
        check_positive(checkpoint_every=checkpoint_every)
    check_seed(seed)
    gap = Gap(min_gap, max_gap)
    _check(variant, geo_head, gap, queue, batch_size, count)
    _check_weights(momentum, alpha, beta)
    views.check()
    store, places = _training_places(data, variant, count)
    spec, size = ModelSpec.of_store(store, arch), views.size or store.info.chip_size
    check_size(arch, len(spec.bands), size)
    target = pick_device(device)
    precision = pick_precision(precision, target, size)
    more_loggers = make_loggers(loggers)
    if rank == 0:
        start_run(out, settings, overwrite=overwrite, resume=resume, lasting=_LASTING)
    target = join_processes(target)
    L.seed_everything(seed, verbose=False)

    cluster_of, known = np.zeros(len(places), int), 0
    if "geo" in variant:
        cluster_of, known = _geo_clusters(places, clusters, seed, out / "geo_clusters.npy", resume)
    pairs = Pairs(store, places, cluster_of, "tp" in variant, seed, gap)
    share = np.bincount(cluster_of[pairs.place_of]).max() / len(pairs) if known else None  # of the largest cluster
    pairs_a_step = min(batch_size, len(pairs) // count * count)
    loader = Loader(pairs, pairs_a_step, rank=rank, processes=count, pinned=target.type == "cuda")
    if rank == 0:
        _announce(variant, places, pairs, target)
        if pairs_a_step < batch_size:
            print(f"--batch-size {batch_size}: there are {len(pairs)} images only, so a step has {pairs_a_step} pairs")

    encoder = Encoder(spec).to(memory_format=torch.channels_last)
    moco = MoCo(
        encoder,
        encoder.width,
        K=queue,
        m=momentum,
        T=temperature,
        clusters=known,
        alpha=alpha,
        beta=beta,
        geo_head=geo_head,
        mask_same_place=mask_same_place,
    )
    if compile:  # the trunks only: the rest is a few small matrices
        moco.encoder_q[0].compile()
        moco.encoder_k[0].compile()
    steps = epochs * len(loader)
    module = Pretraining(moco, views, loader, lr * pairs_a_step / 256, steps)
    trainer = make_trainer(
        out,
        epochs=epochs,
        steps=len(loader),
        device=target,
        precision=precision,
        callbacks=[Watch(out, share, steps), Checkpoints(out / "last.ckpt", loader, steps, checkpoint_every)],
        loggers=more_loggers,
    )
    if not _fit(trainer, module, queue, out, resume):
        return None
    made = out / "encoder.safetensors"
    if "loss" not in trainer.callback_metrics and _is_newer(made, out / "last.ckpt"):
        raise UserError(f"{out}: has run its {epochs} epochs already; give more --epochs to go on")
    if rank == 0:
        learned = f"{variant}, {epochs} epochs over {len(pairs)} images of {len(places)} places"
        description = f"{learned}; {store.info.provenance}; GeoAware {version_and_commit()}"
        _write_metrics(out / "metrics.json", trainer, loader, precision=precision, device=str(target), processes=count)
        save_model(made, replace(spec, description=description), encoder)
        print(f"encoder: {made}")
    return made


def _training_places(data: Path, variant: str, count: int) -> tuple[ChipStore, pd.DataFrame]:
    """The store, and its training places.

    Raises:
        UserError: there are too few images, or no coordinates for a variant that learns them.
    """
    store = ChipStore(data)
    places = store.places_of("train")
    if "geo" in variant and not np.isfinite(places[["lon", "lat"]].to_numpy()).all():
        raise UserError(
            f"{data}: some places have no coordinates, which --variant {variant} learns; take moco or moco-tp"
        )
    if (images := int(places["count"].sum())) < 2 * count:
        raise UserError(f"{data}: has {images} training images, but a step needs {2 * count}; use more imagery")
    return store, places


def _is_newer(made: Path, last: Path) -> bool:
    """Whether a file is there and was made after another: a kill may come between the two."""
    return made.is_file() and made.stat().st_mtime >= last.stat().st_mtime


def _write_metrics(path: Path, trainer: L.Trainer, loader: Loader, **about: str | int) -> None:
    """What the last step, and the last look at the validation places, measured."""
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name != "total"}
    write_json(path, metrics | {"data_wait": loader.data_wait, "steps": trainer.global_step} | about)


def _check(variant: str, geo_head: str, gap: Gap, queue: int, batch_size: int, count: int) -> None:
    """Refuse options that do not go together."""
    if variant not in VARIANTS:
        raise UserError(f"--variant {variant}: choose one of {', '.join(VARIANTS)}")
    if geo_head not in GEO_HEADS:
        raise UserError(f"--geo-head {geo_head}: choose one of {', '.join(GEO_HEADS)}")
    if not 0 <= gap.least <= MOST_DAYS or (gap.most is not None and not gap.least <= gap.most <= MOST_DAYS):
        raise UserError(
            f"--min-gap {gap.least:g}, --max-gap {gap.most}: give days from 0 to {MOST_DAYS:,}, the second not below the first"
        )
    if gap != Gap() and "tp" not in variant:
        raise UserError(
            f"--min-gap, --max-gap: choose temporal pairs, which --variant {variant} has not; leave them out"
        )
    if queue % batch_size:
        raise UserError(f"--queue {queue}: must be a multiple of the batch size {batch_size}")
    if batch_size % count:
        raise UserError(f"--batch-size {batch_size}: must be a multiple of the {count} processes")
    if batch_size < 2 * count:
        raise UserError(f"--batch-size {batch_size}: batch norm needs at least 2 pairs in each process")


def _check_weights(momentum: float, alpha: float, beta: float) -> None:
    """Refuse numbers that make no sense in the objective."""
    if not 0 <= momentum <= 1:
        raise UserError(f"--momentum {momentum}: must lie between 0 and 1")
    for name, value in {"alpha": alpha, "beta": beta}.items():
        if not 0 <= value < math.inf:
            raise UserError(f"--{name} {value}: must be at least 0")


def _geo_clusters(places: pd.DataFrame, clusters: int, seed: int, path: Path, resume: bool) -> tuple[np.ndarray, int]:
    """Geo cluster of each place, and how many there are; fitted once for all processes and all parts of a run."""
    lonlat = places[["lon", "lat"]].to_numpy()
    centres = None
    if processes()[0] == 0:
        centres = np.load(path) if resume and path.exists() else fit_geo_clusters(lonlat, clusters, seed)
        np.save(path, centres)
    centres = from_first(centres)
    return assign_geo_clusters(lonlat, centres), len(centres)


def _fit(trainer: L.Trainer, module: Pretraining, queue: int, out: Path, resume: bool) -> bool:
    """Train; whether the run came to its end.

    Raises:
        UserError: the device has too little memory.
    """
    try:
        return fit(trainer, module, module.loader, None, command="pretrain", resume=resume)
    except torch.OutOfMemoryError:
        pass  # what the step held goes with its traceback; only then can smaller steps be measured
    raise too_large(trainer, module, queue, going_on(out / "last.ckpt"))


def _announce(variant: str, places: pd.DataFrame, pairs: Pairs, device: torch.device) -> None:
    several = int((places["count"] > 1).sum())
    print(
        f"{variant} on {device}: {len(pairs)} images of {len(places)} training places, {several} places with more than one date"
    )
    if "tp" not in variant:
        return
    if several == 0:
        print(
            "warning: no place has two dates, so temporal positives fall back to two views of one image, as plain moco does"
        )
    elif pairs.gap and (alone := pairs.alone()):
        print(f"{alone} images have no other date within --min-gap and --max-gap: they are paired with themselves")
