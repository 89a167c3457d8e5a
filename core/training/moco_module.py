"""MoCo as a Lightning module: views on the device, SGD, cosine schedule, kNN validation."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler

from core.evaluation.probe import knn_accuracy
from core.method.moco import Losses, MoCo
from core.method.pairs import PairBatch, PairLoader
from core.method.views import Draw, Views, as_float
from core.store.read import ChipStore


class Pretraining(L.LightningModule):
    """MoCo pretraining. No step synchronises with the device."""

    losses: Losses  # of the last step, for callbacks

    def __init__(self, moco: MoCo, views: Views, loader: PairLoader, lr: float, steps: int) -> None:
        super().__init__()
        self.moco, self.views, self.loader, self.lr, self.steps = moco, views, loader, lr, steps

    def training_step(self, batch: PairBatch, batch_idx: int) -> torch.Tensor:
        """One batch of pairs."""
        im_q, im_k = self.pair_of_views(batch)
        losses = self.moco(im_q, im_k, batch.cluster, batch.places, batch.order)
        self.losses = replace(losses, total=losses.total.detach())
        names = {"loss": "total", **{name: name for name in ("contrast", "geo", "geo_accuracy", "feature_std")}}
        logged = {name: getattr(self.losses, field) for name, field in names.items()}
        self.log_dict(logged, sync_dist=self.trainer.world_size > 1)
        self.log("total", self.losses.total, prog_bar=True, logger=False)
        if (batch.step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.log("data_wait", self.loader.data_wait, rank_zero_only=True)
        return losses.total

    @torch.no_grad()
    def pair_of_views(self, batch: PairBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Two (n, bands, rows, cols) float32 batches; their parameters are a function of the seed and the step."""
        generator = torch.Generator(self.device)
        seeds = np.random.SeedSequence([self.loader.pairs.seed, batch.step]).generate_state(1, np.uint64)
        generator.manual_seed(int(seeds[0] >> np.uint64(1)))
        draw = Draw(len(batch.order), self.device, self.loader.share, generator)
        with torch.autocast(self.device.type, enabled=False):
            im_q = self.views(as_float(batch.queries, batch.query_valid), draw)
            return im_q, self.views(as_float(batch.keys, batch.key_valid), draw)

    def on_train_epoch_end(self) -> None:
        """Log the kNN accuracy on the validation places."""
        done, every = self.current_epoch + 1, self.trainer.check_val_every_n_epoch or 1
        if done % every and done != self.trainer.max_epochs:
            return
        if self.trainer.is_global_zero:
            # Compiling again for one evaluation would be slow; set_stance itself imports torch's compiler.
            compiled = getattr(self.moco.encoder_q[0], "_compiled_call_impl", None) is not None
            with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
                accuracy = validation_knn(self.moco.encoder_q[0], self.loader.pairs.store, self.device)
            if accuracy is not None:
                self.log("val_knn", accuracy, prog_bar=True, rank_zero_only=True)
        self.moco.train()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """SGD as in the paper, with a cosine schedule per step."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(parameters, self.lr, momentum=0.9, weight_decay=1e-4)
        # A function of the step only, so that a resumed run with more epochs follows its own cosine.
        cosine = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cosine, "interval": "step"}}


def validation_knn(encoder: torch.nn.Module, store: ChipStore, device: torch.device) -> float | None:
    """KNN accuracy on validation places, one date each; None if the store has no labels.

    Large stores are sampled, always in the same way: it shows progress, ten times a run.
    """
    places = store.places[store.places["label"] >= 0]
    sides = []
    for name, most in (("train", 4096), ("val", 1024)):
        side = places[places["split"] == name]
        if side.empty:
            return None
        side = side.sample(min(most, len(side)), random_state=0)
        sides.append((side["first"].to_numpy(), side["label"].to_numpy()))
    return knn_accuracy(encoder, store, sides[0], sides[1], device)
