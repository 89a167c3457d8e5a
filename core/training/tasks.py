"""Fine-tuning modules: loss, augmentation and metrics of each task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, cast

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from core.evaluation.scores import Boxes, ap50, object_confusion, per_class, scores
from core.method.views import Views, colour_jitter
from core.networks.series import SeriesNetwork
from core.training.labelled import IGNORED, LabelledBatch, Targets, rotated
from core.training.series import augmented

CROPS = Views(scale=0.5)  # for images with one class: at least half the area, so that the centre is always visible
_MAX_CONFUSION = 300  # classes: a larger matrix would be hundreds of megabytes of JSON


class FineTuning(L.LightningModule, ABC, Generic[Targets]):
    """AdamW with a one-cycle learning rate over all parameters that are not frozen."""

    headline: str  # the metric that validation logs

    def __init__(self, model: nn.Module, names: list[str], lr: float, steps: int, frozen: nn.Module | None) -> None:
        super().__init__()
        self.model, self.names, self.lr, self.steps, self.frozen = model, names, lr, steps, frozen

    def on_train_epoch_start(self) -> None:
        """Keep the batch-norm statistics of a frozen encoder."""
        if self.frozen is not None:
            self.frozen.eval()

    def training_step(self, batch: LabelledBatch[Targets], batch_idx: int) -> Tensor:
        """Loss of one augmented batch."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            batch = self.augmented(batch)
        loss = self.loss(batch)
        self.log("loss", loss.detach(), prog_bar=True, batch_size=len(batch.pixels))
        return loss

    def validation_step(self, batch: LabelledBatch[Targets], batch_idx: int) -> None:
        """Update the metrics."""
        self.update(batch)

    def on_validation_epoch_start(self) -> None:
        """Reset the metrics."""
        self.reset()

    def on_validation_epoch_end(self) -> None:
        """Log the headline metric of the validation places."""
        self.log(f"val_{self.headline}", self.result()[self.headline], prog_bar=True)

    # The test is evaluated like validation but logs nothing: its metrics go to metrics.json.
    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with a one-cycle schedule per step."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, self.lr, weight_decay=1e-2, fused=True)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}

    def augmented(self, batch: LabelledBatch[Targets]) -> LabelledBatch[Targets]:
        """Random flip, rotation and colour jitter of the batch, with its masks or boxes."""
        batch = rotated(batch, int(torch.randint(0, 4, ())), bool(torch.randint(0, 2, ())))
        return batch._replace(pixels=colour_jitter(batch.pixels, 0.1))

    @abstractmethod
    def loss(self, batch: LabelledBatch[Targets]) -> Tensor:
        """Scalar training loss."""

    @abstractmethod
    def reset(self) -> None:
        """Reset the metrics."""

    @abstractmethod
    def update(self, batch: LabelledBatch[Targets]) -> None:
        """Add a batch to the metrics."""

    @abstractmethod
    def result(self) -> dict:
        """The metrics as in metrics.json."""


class ClassifierModule(FineTuning[Tensor]):
    """One class per pixel, image or sequence: cross-entropy over the labelled ones."""

    headline = "accuracy"

    def augmented(self, batch: LabelledBatch[Tensor]) -> LabelledBatch[Tensor]:
        """Images with one class are cropped, flipped, rotated and jittered individually."""
        if batch.moments is not None:
            return augmented(batch)
        if batch.targets.ndim == 3:
            return super().augmented(batch)
        return batch._replace(pixels=CROPS(batch.pixels))

    def logits(self, batch: LabelledBatch[Tensor]) -> Tensor:
        """Logits (N, classes, ...); for sequences (places, classes), the mean over the dates; of series one each."""
        if batch.moments is not None:
            return cast(SeriesNetwork, self.model).of_places(batch.pixels, *batch.moments).float()
        logits = self.model(batch.pixels).float()
        return logits if batch.owner is None else mean_by_owner(logits, batch.owner, len(batch.targets))

    def loss(self, batch: LabelledBatch[Tensor]) -> Tensor:
        """Mean over the labelled pixels or images; 0 if there are none."""
        total = F.cross_entropy(self.logits(batch), batch.targets, ignore_index=IGNORED, reduction="sum")
        return total / (batch.targets != IGNORED).sum().clamp(min=1)

    def reset(self) -> None:
        """Reset the confusion matrix."""
        self.confusion = np.zeros((len(self.names), len(self.names)), np.int64)
        self.in_five: int | None = None  # images or sequences, if there are more than five classes

    def update(self, batch: LabelledBatch[Tensor]) -> None:
        """Add a batch to the confusion matrix."""
        logits, known = self.logits(batch), batch.targets != IGNORED
        truth, predicted = batch.targets[known].cpu().numpy(), logits.argmax(dim=1)[known].cpu().numpy()
        np.add.at(self.confusion, (truth, predicted), 1)
        if logits.ndim == 2 and len(self.names) > 5:
            self.in_five = (self.in_five or 0) + int((logits.topk(5, dim=1).indices == batch.targets[:, None]).sum())

    def result(self) -> dict:
        """Scores, one row per class, and the confusion matrix unless it is too large."""
        result: dict = scores(self.confusion)
        if self.in_five is not None:
            result["top5_accuracy"] = self.in_five / int(self.confusion.sum())
        result["per_class"] = per_class(self.confusion, self.names)
        if len(self.names) <= _MAX_CONFUSION:
            result["confusion"] = self.confusion.tolist()
        return result


def mean_by_owner(logits: Tensor, owner: Tensor, places: int) -> Tensor:
    """Mean over the dates of each place: (N, classes) and (N,) to (places, classes).

    The head is linear, so this equals the logits of the mean features; its softmax equals that of the mean
    log-probabilities of the dates, which an exported model of one date can reproduce.
    """
    total = logits.new_zeros(places, logits.shape[1]).index_add_(0, owner, logits)
    return total / torch.bincount(owner, minlength=places)[:, None]


class DetectorModule(FineTuning[list[dict[str, Tensor]]]):
    """Objects: RetinaNet's losses; average precision at IoU 0.5."""

    headline = "ap50"

    def loss(self, batch: LabelledBatch[list[dict[str, Tensor]]]) -> Tensor:
        """Sum of the classification and the box loss."""
        return torch.stack(list(self.model(batch.pixels, batch.targets).values())).sum()

    def reset(self) -> None:
        """Forget all detections."""
        self.detections: list[Boxes] = []
        self.truth: list[Boxes] = []

    def update(self, batch: LabelledBatch[list[dict[str, Tensor]]]) -> None:
        """Keep the detections and the true objects of a batch."""
        self.detections += [as_boxes(objects) for objects in self.model(batch.pixels)]
        self.truth += [as_boxes(objects) for objects in batch.targets]

    def result(self) -> dict:
        """AP50, one row per class, and the confusion matrix."""
        classes = len(self.names)
        precision = ap50(self.detections, self.truth, classes)
        confusion = object_confusion(self.detections, self.truth, classes)
        rows = per_class(confusion, self.names)
        for row, value in zip(rows, precision):
            del row["iou"]  # a pixel metric
            row["ap50"] = None if np.isnan(value) else float(value)
        return {
            "ap50": float(np.nanmean(precision)) if not np.isnan(precision).all() else 0.0,
            "objects": int(confusion[:-1].sum()),
            "images": len(self.truth),
            "per_class": rows,
            "confusion": confusion.tolist(),
        }


def as_boxes(objects: dict[str, Tensor]) -> Boxes:
    """Objects of an image as numpy arrays; true objects have no scores and get 1."""
    certainty = objects.get("scores", torch.ones(len(objects["labels"])))
    return Boxes(*(part.cpu().numpy() for part in (objects["boxes"], objects["labels"], certainty)))
