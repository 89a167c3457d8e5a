"""``core.train pretrain``: learns an encoder from unlabelled, located, dated chips."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler

from core.errors import UserError
from core.files import write_json
from core.geo import assign_geo_clusters, fit_geo_clusters
from core.moco import VARIANTS, Losses, MoCo
from core.models import Encoder, ModelSpec, save_model
from core.pairs import Batch, Pairs
from core.probe import knn_accuracy
from core.runs import check_positive, make_trainer, pick_device, pick_precision, start_run, version
from core.store import ChipStore
from core.views import Views

COLLAPSED = 0.1  # of Losses.feature_std, which is about 1 for a healthy representation


class Pretraining(L.LightningModule):
    """MoCo in Lightning's loop: views on the device, SGD with a cosine schedule, monitors."""

    def __init__(self, moco: MoCo, views: Views, store: ChipStore, lr: float, steps: int) -> None:
        super().__init__()
        self.moco, self.views, self.store, self.lr, self.steps = moco, views, store, lr, steps
        self.warned = False

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """One batch of pairs."""
        im_q, im_k, cluster = batch
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            im_q, im_k = self.views(im_q), self.views(im_k)
        losses = self.moco(im_q, im_k, cluster)
        self.log_dict(_named(losses))
        self.log("total", losses.total.detach(), prog_bar=True, logger=False)
        if batch_idx % 50 == 49:
            self._watch_collapse(float(losses.feature_std))
        return losses.total

    def _watch_collapse(self, feature_std: float) -> None:
        if feature_std < COLLAPSED and not self.warned:
            self.warned = True
            print(
                f"\nwarning: the features have collapsed (standard deviation {feature_std:.3f}, healthy is about 1): "
                "every image looks the same to the encoder; lower --lr or raise --temperature",
                flush=True,
            )

    def on_train_epoch_end(self) -> None:
        """The kNN probe on the validation places, so that progress can be seen without the test places."""
        done, every = self.current_epoch + 1, self.trainer.check_val_every_n_epoch or 1
        if done % every and done != self.trainer.max_epochs:
            return
        accuracy = validation_knn(self.moco.encoder_q[0], self.store, self.device)
        if accuracy is not None:
            self.log("val_knn", accuracy, prog_bar=True)
        self.moco.train()

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
        "loss": losses.total.detach(),
        "contrast": losses.contrast,
        "geo": losses.geo,
        "geo_accuracy": losses.geo_accuracy.detach(),
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
    alpha: float = 1.0,
    beta: float = 1.0,
    views: Views = Views(),  # noqa: B008 - frozen
    precision: str = "auto",
    device: str = "auto",
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """Learn an encoder from the training places of a chip store, without labels.

    Args:
        data: Folder of the chip store.
        out: Folder of the run; encoder.safetensors is the result.
        variant: moco, moco-geo, moco-tp or moco-geo-tp. "tp" pairs two dates of a place, "geo" adds the geo-location pretext.
        arch: resnet18, resnet34, resnet50 or a timm model that yields feature maps at strides 4 to 32, such as convnext_atto.
        epochs: Passes over all images.
        batch_size: Pairs in a step.
        lr: Learning rate of SGD for a batch of 256; it is scaled with the batch size.
        temperature: Divisor of the cosine similarities (0.02 in the authors' code).
        momentum: Of the key encoder (0.999 in the paper, for runs of hundreds of thousands of steps).
        queue: Number of negatives (65,536 in the paper).
        clusters: Number of geo clusters.
        alpha: Weight of the contrastive loss.
        beta: Weight of the geo-location loss.
        views: How strongly the two views of a pair differ.
        precision: auto (bf16 where it is faster), 32-true or bf16-mixed.
        device: auto, cpu, cuda or another name that torch knows.
        seed: Of weights, order, partners and views.
        resume: Go on from the last checkpoint in the run's folder.
        overwrite: Replace the run's folder.
    """
    settings = dict(locals())
    if variant not in VARIANTS:
        raise UserError(f"--variant {variant}: choose one of {', '.join(VARIANTS)}")
    check_positive(epochs=epochs, batch_size=batch_size, lr=lr, temperature=temperature, queue=queue, clusters=clusters)
    if queue % batch_size:
        raise UserError(f"--queue {queue}: must be a multiple of the batch size {batch_size}")
    store = ChipStore(data)
    places = store.places_of("train")
    if "geo" in variant and not np.isfinite(places[["lon", "lat"]].to_numpy()).all():
        raise UserError(
            f"{data}: some places have no coordinates, which --variant {variant} learns; take moco or moco-tp"
        )
    target = pick_device(device)
    precision = pick_precision(precision, target)
    spec = ModelSpec.of_store(store, arch)
    start_run(out, settings, overwrite=overwrite, resume=resume)
    L.seed_everything(seed, verbose=False)

    cluster_of, count = np.zeros(len(places), int), 0
    if "geo" in variant:
        lonlat = places[["lon", "lat"]].to_numpy()
        centres = fit_geo_clusters(lonlat, clusters, seed)
        np.save(out / "geo_clusters.npy", centres)
        cluster_of, count = assign_geo_clusters(lonlat, centres), len(centres)
    pairs = Pairs(store, places, cluster_of, "tp" in variant, seed)
    batch_size = min(batch_size, len(pairs))
    loader = pairs.loader(batch_size, seed)
    _announce(variant, places, len(pairs), target)

    encoder = Encoder(spec).to(memory_format=torch.channels_last)
    moco = MoCo(
        encoder,
        encoder.width,
        K=queue,
        m=momentum,
        T=temperature,
        clusters=count,
        alpha=alpha,
        beta=beta,
    )
    module = Pretraining(moco, views, store, lr * batch_size / 256, epochs * len(loader))
    trainer = make_trainer(out, epochs=epochs, steps=len(loader), device=target, precision=precision)
    trainer.fit(module, loader, ckpt_path=str(out / "last.ckpt") if resume else None, weights_only=False)
    if "loss" not in trainer.callback_metrics:
        raise UserError(f"{out}: has run its {epochs} epochs already; give more --epochs to go on")
    if not trainer.callback_metrics["loss"].isfinite():
        raise UserError(f"{out}: the loss is not a finite number; lower --lr or raise --temperature")

    description = f"{variant}, {epochs} epochs over {len(pairs)} images of {len(places)} places; {store.info.provenance}; GeoAware {version()}"
    save_model(out / "encoder.safetensors", replace(spec, description=description), moco.encoder_q[0])
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name != "total"}
    write_json(
        out / "metrics.json", metrics | {"steps": trainer.global_step, "precision": precision, "device": str(target)}
    )
    print(f"encoder: {out / 'encoder.safetensors'}")
    return out / "encoder.safetensors"


def _announce(variant: str, places: pd.DataFrame, images: int, device: torch.device) -> None:
    several = int((places["count"] > 1).sum())
    print(
        f"{variant} on {device}: {images} images of {len(places)} training places, {several} places with more than one date"
    )
    if "tp" in variant and several == 0:
        print(
            "warning: no place has two dates, so temporal positives fall back to two views of one image, as plain moco does"
        )
