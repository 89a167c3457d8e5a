"""``core.train pretrain``: learns an encoder from unlabelled, located, dated chips."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import numpy as np
import pandas as pd
import torch
import torch.distributed as dist

from core.errors import UserError
from core.files import write_json
from core.method import moco
from core.method.moco import MoCo
from core.method.pairs import MAX_GAP_DAYS, Gap, PairLoader, Pairs
from core.method.views import PAIR_VIEW, PAIR_VIEWS, Views
from core.networks.encoders import Encoder, ModelSpec, check_size, stride_for
from core.networks.weights import save_model
from core.runs import check_positive, check_seed, pick_device, start_run
from core.store.read import ChipStore
from core.training.moco_module import OPTIMIZERS, Pretraining, Watch, out_of_memory, scaled_lr
from core.training.trainer import check_choice, fit, join_processes, make_loggers, pick_precision, processes
from core.version import version_and_commit

# Options that define the network, the queue or the pairs: they cannot change on resume.
_FIXED = (
    "variant", "arch", "stride", "batch_size", "queue", "geo_loss", "clusters", "geo_head", "season", "min_gap", "max_gap", "optimizer", "seed",
)  # fmt: skip


def pretrain(
    data: Path,
    out: Path,
    variant: str = "moco-geo-tp",
    arch: str = "resnet18",
    stride: int | None = None,
    epochs: int = 100,
    batch_size: int = 64,
    optimizer: str = "adamw",
    lr: float | None = None,
    temperature: float = moco.TEMPERATURE,
    momentum: float = moco.MOMENTUM,
    queue: int = moco.QUEUE_LENGTH,
    geo_loss: str = "clusters",
    clusters: int = 100,
    geo_head: str = "projection",
    alpha: float = 1.0,
    beta: float = 1.0,
    mask_same_place: bool = False,
    min_gap: float = 0.0,
    max_gap: float | None = None,
    season: str = moco.SEASON,
    ignore_weight: float = moco.IGNORE_WEIGHT,
    pair_views: str = PAIR_VIEW,
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

    Under torchrun each batch is distributed over the processes. Returns the encoder's file; None after SIGTERM.

    Args:
        data: Folder of the chip store.
        out: Folder of the run; the result is encoder.safetensors.
        variant: moco, moco-geo, moco-tp or moco-geo-tp. "tp" pairs two dates of a place, "geo" adds the geo-location pretext.
        arch: resnet18, resnet34, resnet50, torchgeo:swin_v2_t, or a timm model with feature maps at strides 4 to 32, such as convnext_atto.
        stride: Of a ResNet's last map, 32, 16 or 8 px: smaller ones suit small chips, and cost more; by default from the size of the views.
        epochs: Passes over all images.
        batch_size: Pairs per step, over all processes.
        optimizer: adamw, which warms up over the first twentieth of the run, or sgd (as in the paper).
        lr: Learning rate for a batch of 256, scaled with the batch size, with adamw with its root; by default 0.06 for sgd, 0.001 for adamw.
        temperature: Divisor of the cosine similarities (0.02 in the authors' code).
        momentum: Of the key encoder (0.999 in the paper, for runs of hundreds of thousands of steps).
        queue: Number of negatives, at least the batch size (65,536 in the paper).
        geo_loss: Of the geo-location pretext: predict a cluster of places (clusters, as in the paper) or GeoRank's (rank), without a head.
        clusters: Number of geo clusters.
        geo_head: Input of the geo head: projection (128 numbers, as in the authors' code) or trunk (features, as in the paper).
        alpha: Weight of the contrastive loss.
        beta: Weight of the geo-location loss.
        mask_same_place: Do not use other keys of the query's own place as negatives.
        min_gap: Minimum number of days between the two dates of a temporal pair.
        max_gap: Maximum number of days between them; unlimited by default.
        season: Two dates of a place are a positive pair (ignore, as in the paper), different (keep: another view of the image is the positive) or both.
        ignore_weight: Share of the pairs of two dates in the loss with --season both: more of it finds places again, less of it suits labels.
        pair_views: Crops, flips and turns of two dates of a place: none (whole), shared, jittered (shared, up to 2 px apart) or independent (as in the paper).
        views: Strength of the augmentations.
        precision: auto (bf16 where it is faster), 32-true or bf16-mixed.
        compile: Compile the encoders with torch.compile; the first steps are slow, so use it for long runs, but not on a CPU for ResNets and chips up to 64 px.
        device: auto, cpu, cuda, cuda:1 and so on, or mps.
        seed: Random seed of weights, order, partners and views.
        loggers: Lightning loggers in addition to CSV and TensorBoard, each a class_path with its init_args.
        checkpoint_every: Steps between checkpoints; by default every two minutes and ten times a run.
        resume: Continue from the last checkpoint in the run's folder.
        overwrite: Replace the run's folder.
    """
    return _start(SimpleNamespace(**locals()))


def _start(options: SimpleNamespace) -> Path | None:
    """Check everything that can be checked before the run's folder is made, and train."""
    _check(options)
    store, places = _training_places(options.data, options.variant)
    target, more_loggers = pick_device(options.device), make_loggers(options.loggers)
    spec, chosen = _specification(options, store, target)
    if processes()[0] == 0:
        start_run(options.out, vars(options), overwrite=options.overwrite, resume=options.resume, fixed=_FIXED)
    options.device, options.precision, options.loggers = join_processes(target), chosen, more_loggers
    return _run(options, store, places, spec)


def _run(options: SimpleNamespace, store: ChipStore, places: pd.DataFrame, spec: ModelSpec) -> Path | None:
    """Train and write the encoder; None if the run was stopped by SIGTERM."""
    L.seed_everything(options.seed, verbose=False)
    out, device, (rank, count) = options.out, options.device, processes()
    cluster_of, clusters, where = np.zeros(len(places), int), 0, None
    if "geo" in options.variant and options.geo_loss == "rank":
        where = places[["lon", "lat"]].to_numpy()
    elif "geo" in options.variant:
        cluster_of, clusters = _geo_clusters(options, places)
    gap, temporal = Gap(options.min_gap, options.max_gap), "tp" in options.variant
    season, pair_views = (options.season, options.pair_views) if temporal else ("ignore", "independent")
    pairs = Pairs(store, places, cluster_of, temporal, options.seed, gap)
    largest = np.bincount(cluster_of[pairs.place_of]).max() / len(pairs) if clusters else None
    batch_size = min(options.batch_size, len(pairs) // count * count)
    pinned, again = device.type == "cuda", season != "ignore"
    loader = PairLoader(pairs, batch_size, rank=rank, processes=count, pinned=pinned, again=again)
    if rank == 0:
        _print_start(options, places, pairs)
        if batch_size < options.batch_size:
            print(f"--batch-size {options.batch_size}: reduced to {batch_size}, the store has {len(pairs)} images only")

    encoder = Encoder(spec).to(memory_format=torch.channels_last)
    steps = options.epochs * len(loader)
    model = MoCo(
        encoder,
        encoder.width,
        K=options.queue,
        m=options.momentum,
        T=options.temperature,
        clusters=clusters,
        alpha=options.alpha,
        beta=options.beta,
        geo_head=options.geo_head,
        mask_same_place=options.mask_same_place,
        season=season,
        ignore_weight=options.ignore_weight,
        where=where,
    )
    if options.compile:  # only the encoders: the rest is a few small matrices
        model.encoder_q[0].compile()
        model.encoder_k[0].compile()
    module = Pretraining(
        model,
        options.views,
        loader,
        scaled_lr(options.optimizer, options.lr, batch_size),
        steps,
        optimizer=options.optimizer,
        pair_views=pair_views,
    )
    watch, loggers = Watch(out, largest, steps), options.loggers
    try:
        finished = fit(module, loader, None, options, command="pretrain", callbacks=[watch], loggers=loggers)
    except torch.OutOfMemoryError:
        finished = None  # the traceback holds the tensors of the step; smaller steps can be measured only without it
    if finished is None:
        raise out_of_memory(module, out)
    if not finished:
        return None
    result, metrics = out / "encoder.safetensors", module.trainer.callback_metrics
    # A kill may have come between the last checkpoint and the result.
    if "loss" not in metrics and result.is_file() and result.stat().st_mtime >= (out / "last.ckpt").stat().st_mtime:
        raise UserError(f"{out}: has already finished its {options.epochs} epochs; raise --epochs to continue")
    if rank == 0:
        learned = f"{options.variant}, {options.epochs} epochs over {len(pairs)} images of {len(places)} places"
        description = f"{learned}; {store.info.provenance}; GeoAware {version_and_commit()}"
        last: dict = {name: float(value) for name, value in metrics.items() if name != "total"}
        last |= {"data_wait": loader.data_wait, "steps": module.trainer.global_step, "precision": options.precision}
        write_json(out / "metrics.json", last | {"device": str(device), "processes": count})
        save_model(result, replace(spec, description=description), encoder)
        print(f"encoder: {result}")
    return result


def _check(options: SimpleNamespace) -> None:
    """Raise ``UserError`` for options that are out of range or contradict each other."""
    names = ("stride", "epochs", "batch_size", "lr", "temperature", "queue", "clusters", "checkpoint_every")
    check_positive(**{name: getattr(options, name) for name in names})
    check_seed(options.seed)
    check_choice("variant", options.variant, moco.VARIANTS)
    check_choice("geo-head", options.geo_head, moco.GEO_HEADS)
    check_choice("geo-loss", options.geo_loss, moco.GEO_LOSSES)
    if options.geo_loss == "rank" and "geo" not in options.variant:
        raise UserError(f"--geo-loss rank: --variant {options.variant} has no geo-location pretext; omit this option")
    check_choice("optimizer", options.optimizer, tuple(OPTIMIZERS))
    check_choice("season", options.season, moco.SEASONS)
    check_choice("pair-views", options.pair_views, PAIR_VIEWS)
    least, most = options.min_gap, options.max_gap
    if not 0 <= least <= MAX_GAP_DAYS or (most is not None and not least <= most <= MAX_GAP_DAYS):
        raise UserError(
            f"--min-gap {least:g}, --max-gap {most}: must be from 0 to {MAX_GAP_DAYS:,} days, the minimum first"
        )
    if (least or most is not None) and "tp" not in options.variant:
        raise UserError(f"--min-gap, --max-gap: --variant {options.variant} has no temporal pairs; omit these options")
    for name, usual in (("season", moco.SEASON), ("pair_views", PAIR_VIEW)):
        if (value := getattr(options, name)) != usual and "tp" not in options.variant:
            name = name.replace("_", "-")
            raise UserError(f"--{name} {value}: --variant {options.variant} has no temporal pairs; omit this option")
    if options.season == "keep" and options.mask_same_place:
        raise UserError(
            "--mask-same-place: with --season keep the other dates of a place are negatives; omit one of them"
        )
    if not 0 < options.ignore_weight < 1:
        raise UserError(
            f"--ignore-weight {options.ignore_weight:g}: must lie between 0 and 1; see --season ignore and keep"
        )
    if options.ignore_weight != moco.IGNORE_WEIGHT and ("tp" not in options.variant or options.season != "both"):
        raise UserError(
            f"--ignore-weight {options.ignore_weight:g}: needs temporal pairs and --season both; omit this option"
        )
    count = processes()[1]
    if options.batch_size > options.queue:
        raise UserError(f"--batch-size {options.batch_size}: must not exceed --queue {options.queue}")
    if options.batch_size % count:
        raise UserError(f"--batch-size {options.batch_size}: must be a multiple of the {count} processes")
    if options.batch_size < 2 * count:
        raise UserError(f"--batch-size {options.batch_size}: batch norm needs at least 2 pairs per process")
    if not 0 <= options.momentum <= 1:
        raise UserError(f"--momentum {options.momentum}: must be between 0 and 1")
    for name in ("alpha", "beta"):
        if not 0 <= getattr(options, name) < math.inf:
            raise UserError(f"--{name} {getattr(options, name)}: must be at least 0")
    options.views.check()


def _specification(options: SimpleNamespace, store: ChipStore, device: torch.device) -> tuple[ModelSpec, str]:
    """The encoder's specification, and the precision; the stride that is chosen becomes one of the options."""
    size = options.views.size or store.info.chip_size
    options.stride = options.stride or stride_for(options.arch, size)
    spec = ModelSpec.of_store(store, options.arch, options.stride)
    check_size(spec.arch, len(spec.bands), size)
    return spec, pick_precision(options.precision, device, size, spec.stride)


def _training_places(data: Path, variant: str) -> tuple[ChipStore, pd.DataFrame]:
    """The store, and its training places; ``UserError`` if there are too few, or without coordinates for the geo head."""
    store, needed = ChipStore(data), 2 * processes()[1]
    places = store.places_of("train")
    if "geo" in variant and not np.isfinite(places[["lon", "lat"]].to_numpy()).all():
        raise UserError(
            f"{data}: --variant {variant} needs coordinates, which some places lack; choose moco or moco-tp"
        )
    if (images := int(places["count"].sum())) < needed:
        raise UserError(f"{data}: has {images} training images, but a step needs {needed}; use more imagery")
    return store, places


def _geo_clusters(options: SimpleNamespace, places: pd.DataFrame) -> tuple[np.ndarray, int]:
    """Geo cluster of each place, and their number; fitted once for all processes and for resumed runs."""
    path, lonlat, shared = options.out / "geo_clusters.npy", places[["lon", "lat"]].to_numpy(), [np.empty((0, 3))]
    if processes()[0] == 0:
        stored = options.resume and path.exists()
        shared = [np.load(path) if stored else moco.fit_geo_clusters(lonlat, options.clusters, options.seed)]
        np.save(path, shared[0])
    if dist.is_initialized():
        dist.broadcast_object_list(shared)
    return moco.assign_geo_clusters(lonlat, shared[0]), len(shared[0])


def _print_start(options: SimpleNamespace, places: pd.DataFrame, pairs: Pairs) -> None:
    repeated = int((places["count"] > 1).sum())
    print(
        f"{options.variant} on {options.device}: {len(pairs)} images of {len(places)} training places, "
        f"{repeated} places with more than one date"
    )
    if "tp" not in options.variant:
        return
    if repeated == 0:
        print("warning: no place has two dates; temporal positives fall back to two views of one image, as in moco")
    elif pairs.gap != Gap() and (unpaired := pairs.unpaired()):
        print(f"{unpaired} images have no other date within --min-gap and --max-gap and are paired with themselves")
