"""``core.train pretrain``: learns an encoder from unlabelled, located, dated chips."""

from __future__ import annotations

import gc
import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler

from core.checkpoints import Checkpoints, Stopped, going_on
from core.errors import UserError
from core.files import write_json
from core.geo import assign_geo_clusters, fit_geo_clusters
from core.memory import fitting_batch
from core.moco import GEO_HEADS, VARIANTS, Losses, MoCo
from core.models import Encoder, ModelSpec, save_model
from core.pairs import Batch, Gap, Loader, Pairs
from core.probe import knn_accuracy
from core.runs import (
    check_positive,
    from_first,
    join_processes,
    make_loggers,
    make_trainer,
    pick_device,
    pick_precision,
    processes,
    start_run,
    version,
)
from core.store import ChipStore
from core.views import Draw, Views, as_float
from core.watch import Watch


class Pretraining(L.LightningModule):
    """MoCo in Lightning's loop: views on the device, SGD with a cosine schedule. No step waits for the device."""

    losses: Losses  # of the last step, for those who watch

    def __init__(self, moco: MoCo, views: Views, loader: Loader, lr: float, steps: int) -> None:
        super().__init__()
        self.moco, self.views, self.loader, self.lr, self.steps = moco, views, loader, lr, steps

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """One batch of pairs."""
        im_q, im_k = self.pair_of_views(batch)
        losses = self.moco(im_q, im_k, batch.cluster, batch.places, batch.order)
        self.losses = replace(losses, total=losses.total.detach())
        self.log_dict(_named(self.losses), sync_dist=self.trainer.world_size > 1)
        self.log("total", self.losses.total, prog_bar=True, logger=False)
        if (batch.step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.log("data_wait", self.loader.data_wait, rank_zero_only=True)
        return losses.total

    @torch.no_grad()
    def pair_of_views(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, bands, rows, cols) float32 twice; their parameters are a function of the seed and the step."""
        generator = torch.Generator(self.device)
        seeds = np.random.SeedSequence([self.loader.pairs.seed, batch.step]).generate_state(1, np.uint64)
        generator.manual_seed(int(seeds[0] >> np.uint64(1)))
        draw = Draw(len(batch.order), self.device, self.loader.share, generator)
        with torch.autocast(self.device.type, enabled=False):
            im_q = self.views(as_float(batch.queries, batch.query_valid), draw)
            return im_q, self.views(as_float(batch.keys, batch.key_valid), draw)

    def on_train_epoch_end(self) -> None:
        """The kNN probe on the validation places, so that progress can be seen without the test places."""
        done, every = self.current_epoch + 1, self.trainer.check_val_every_n_epoch or 1
        if done % every and done != self.trainer.max_epochs:
            return
        if self.trainer.is_global_zero:
            # Compiling for one look would not pay; and asking for that loads torch's compiler.
            compiled = getattr(self.moco.encoder_q[0], "_compiled_call_impl", None) is not None
            with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
                accuracy = validation_knn(self.moco.encoder_q[0], self.loader.pairs.store, self.device)
            if accuracy is not None:
                self.log("val_knn", accuracy, prog_bar=True, rank_zero_only=True)
        self.moco.train()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep where the data stands."""
        checkpoint["loader"] = self.loader.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on there: Lightning does that by itself only in the middle of an epoch."""
        self.loader.load_state_dict(checkpoint["loader"])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """SGD as in the paper; the rate falls along a cosine, step by step."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(parameters, self.lr, momentum=0.9, weight_decay=1e-4)
        # A function of the step alone, so that a resumed run with more epochs follows its own cosine.
        cosine = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cosine, "interval": "step"}}


def validation_knn(encoder: torch.nn.Module, store: ChipStore, device: torch.device) -> float | None:
    """KNN accuracy on the validation places, one date each; None where the store has no labels."""
    places = store.places[store.places["label"] >= 0]
    train, val = places[places["split"] == "train"], places[places["split"] == "val"]
    if train.empty or val.empty:
        return None
    sides = [(side["first"].to_numpy(), side["label"].to_numpy()) for side in (train, val)]
    return knn_accuracy(encoder, store, sides[0], sides[1], device)


def _named(losses: Losses) -> dict[str, torch.Tensor]:
    return {
        "loss": losses.total,
        "contrast": losses.contrast,
        "geo": losses.geo,
        "geo_accuracy": losses.geo_accuracy,
        "feature_std": losses.feature_std,
    }


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
        device: auto, cpu, cuda or another name that torch knows.
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
    gap = Gap(min_gap, max_gap)
    _check(variant, geo_head, gap, queue, batch_size, count)
    check_positive(epochs=epochs, batch_size=batch_size, lr=lr, temperature=temperature, queue=queue, clusters=clusters)
    if seed < 0:
        raise UserError(f"--seed {seed}: must be at least 0")
    if checkpoint_every is not None:
        check_positive(checkpoint_every=checkpoint_every)
    store = ChipStore(data)
    places = store.places_of("train")
    if "geo" in variant and not np.isfinite(places[["lon", "lat"]].to_numpy()).all():
        raise UserError(
            f"{data}: some places have no coordinates, which --variant {variant} learns; take moco or moco-tp"
        )
    target = pick_device(device)
    precision = pick_precision(precision, target)
    spec = ModelSpec.of_store(store, arch)
    more_loggers = make_loggers(loggers)
    if rank == 0:
        start_run(out, settings, overwrite=overwrite, resume=resume)
    target = join_processes(target)
    L.seed_everything(seed, verbose=False)

    cluster_of, known = np.zeros(len(places), int), 0
    if "geo" in variant:
        cluster_of, known = _geo_clusters(places, clusters, seed, out / "geo_clusters.npy", resume)
    pairs = Pairs(store, places, cluster_of, "tp" in variant, seed, gap)
    batch_size = min(batch_size, len(pairs) // count * count)
    loader = Loader(pairs, batch_size, rank=rank, processes=count, pinned=target.type == "cuda")
    if rank == 0:
        _announce(variant, places, pairs, target)

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
    module = Pretraining(moco, views, loader, lr * batch_size / 256, steps)
    share = np.bincount(cluster_of[pairs.place_of]).max() / len(pairs) if known else None
    watching = [Watch(out, share, steps), Checkpoints(out / "last.ckpt", steps, checkpoint_every)]
    trainer = make_trainer(
        out,
        epochs=epochs,
        steps=len(loader),
        device=target,
        precision=precision,
        callbacks=watching,
        loggers=more_loggers,
    )
    if not _fit(trainer, module, queue, out, resume):
        return None
    if "loss" not in trainer.callback_metrics:
        raise UserError(f"{out}: has run its {epochs} epochs already; give more --epochs to go on")
    if rank:
        return out / "encoder.safetensors"

    description = f"{variant}, {epochs} epochs over {len(pairs)} images of {len(places)} places; {store.info.provenance}; GeoAware {version()}"
    save_model(out / "encoder.safetensors", replace(spec, description=description), moco.encoder_q[0])
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name != "total"}
    about = {"steps": trainer.global_step, "precision": precision, "device": str(target), "processes": count}
    write_json(out / "metrics.json", metrics | {"data_wait": loader.data_wait} | about)
    print(f"encoder: {out / 'encoder.safetensors'}")
    return out / "encoder.safetensors"


def _check(variant: str, geo_head: str, gap: Gap, queue: int, batch_size: int, count: int) -> None:
    """Refuse options that do not go together."""
    if variant not in VARIANTS:
        raise UserError(f"--variant {variant}: choose one of {', '.join(VARIANTS)}")
    if geo_head not in GEO_HEADS:
        raise UserError(f"--geo-head {geo_head}: choose one of {', '.join(GEO_HEADS)}")
    if gap.least < 0 or (gap.most is not None and gap.most < gap.least):
        raise UserError(
            f"--min-gap {gap.least:g}, --max-gap {gap.most}: give days of at least 0, the second not below the first"
        )
    if gap != Gap() and "tp" not in variant:
        raise UserError(
            f"--min-gap, --max-gap: choose temporal pairs, which --variant {variant} has not; leave them out"
        )
    if batch_size > 0 and queue % batch_size:
        raise UserError(f"--queue {queue}: must be a multiple of the batch size {batch_size}")
    if batch_size % count:
        raise UserError(f"--batch-size {batch_size}: must be a multiple of the {count} processes")


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
    last = out / "last.ckpt"
    try:
        trainer.fit(module, module.loader, ckpt_path=str(last) if resume else None, weights_only=False)
        return True
    except Stopped:
        if trainer.is_global_zero:
            again = f"python -m core.train pretrain --config {out / 'config.yaml'} --resume"
            print(
                f"\nstopped after step {trainer.global_step} of {module.steps}, saved; go on with: {again}", flush=True
            )
        return False
    except torch.OutOfMemoryError:
        pass  # what the step held goes with its traceback; only then can smaller steps be measured
    asked = module.loader.batch_size
    share = asked // trainer.world_size
    fits = fitting_batch(lambda n: _peak(module, n), share, _memory(module), queue // trainer.world_size)
    if fits is None:
        raise UserError(
            f"--batch-size {asked}: no batch fits into the memory of {module.device}; take a smaller --arch"
        )
    fits *= trainer.world_size
    raise UserError(
        f"--batch-size {asked}: too much for the memory of {module.device}; about {fits} fit: give --batch-size {fits} "
        f"(the learning rate follows by itself), or --precision bf16-mixed; {going_on(last)}"
    )


def _memory(module: Pretraining) -> int:
    """Bytes of the device that this process has or could have."""
    if module.device.type != "cuda":
        return 0  # a simulated device: the sizes that ran are all that is known
    gc.collect()
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(module.device)[0] + torch.cuda.memory_allocated(module.device)


def _peak(module: Pretraining, pairs: int) -> int:
    """Most memory, bytes, of a step with so many pairs; the run is over, so what it changes does not matter."""
    info = module.loader.pairs.store.info
    chips = torch.zeros(pairs, len(info.bands), info.chip_size, info.chip_size, device=module.device)
    if module.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(module.device)
    views = module.views(chips)
    nowhere = torch.zeros(pairs, dtype=torch.long, device=module.device)
    with module.trainer.precision_plugin.forward_context():
        module.moco(views, module.views(chips), nowhere).total.backward()
    module.zero_grad()
    return torch.cuda.max_memory_allocated(module.device) if module.device.type == "cuda" else 0


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
