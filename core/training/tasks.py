"""What is learned in each task: its batches, its loss, how it is counted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import lightning as L
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from core.errors import UserError
from core.evaluation.scores import Boxes, ap50, object_confusion, per_class, scores
from core.method.views import Views, colour_jitter
from core.store.read import UNLABELLED, ChipStore

TASKS = ("segmentation", "classification", "sequence", "detection")
DATES = 8  # of a place in a training step of a sequence, at most: memory; the test sees all
IGNORED = -100  # a pixel that is not labelled; torch's own mark (255 is a class, where there are thousands)
# Of images that have one class: parts of at least half the area, so that the middle is always seen.
PARTS = Views(scale=0.5)
_MOST_CONFUSED = 300  # classes; the matrix of more would be hundreds of megabytes of JSON

NO_BOXES = Boxes(np.empty((0, 4), np.float32), np.empty(0, np.int64), np.empty(0, np.float32))


# Of a batch: class numbers, or a dictionary an image with its objects.
Targets = TypeVar("Targets", Tensor, list[dict[str, Tensor]])


class Batch(NamedTuple, Generic[Targets]):
    """Images with what is known of them.

    Attributes:
        pixels: (N, bands, size, size) raw values.
        targets: class numbers: (N, size, size) of masks, (N,) of images, (places,) of sequences; of detection a
            dictionary an image, with ``boxes`` (M, 4) and ``labels`` (M,).
        owner: (N,) of a sequence: which of the places an image shows; else None.
    """

    pixels: Tensor
    targets: Targets
    owner: Tensor | None = None


class Labelled(Dataset):
    """Images of places with their labels; an item is an image, of a sequence a place."""

    def __init__(self, store: ChipStore, places: list[np.ndarray], task: str) -> None:
        self.store, self.task = store, task
        self.items = places if task == "sequence" else list(np.concatenate(places)[:, None])
        self.labels = store.column("label")
        self.boxes = read_boxes(store) if task == "detection" else {}

    def __len__(self) -> int:
        """Number of items."""
        return len(self.items)

    def __getitems__(self, items: list[int]) -> Batch:
        """One batch, with all dates of its places."""
        return self.batch([self.items[item] for item in items])

    def batch(self, groups: list[np.ndarray]) -> Batch:
        """The images of these index rows, one array an item."""
        rows = np.concatenate(groups)
        pixels = torch.from_numpy(self.store.pixels(rows))
        if self.task == "detection":
            return Batch(pixels, [self._objects(int(row)) for row in rows])
        if self.task == "segmentation":
            masks = self.store.masks(rows).astype(np.int64)
            masks[masks == UNLABELLED] = IGNORED
            return Batch(pixels, torch.from_numpy(masks))
        targets = torch.from_numpy(self.labels[[group[0] for group in groups]].astype(np.int64))
        if self.task == "classification":
            return Batch(pixels, targets)
        owner = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        return Batch(pixels, targets, torch.from_numpy(owner))

    def _objects(self, row: int) -> dict[str, Tensor]:
        objects = self.boxes.get(row, NO_BOXES)
        return {"boxes": torch.from_numpy(objects.corners), "labels": torch.from_numpy(objects.labels)}

    def loader(self, images: int) -> DataLoader:
        """All items in order, in batches of about so many images."""
        return DataLoader(self, max(1, images // self._longest()), collate_fn=_whole)

    def _longest(self) -> int:
        return max(map(len, self.items))


class Training(Labelled):
    """The same to learn from: in random order, and of a long sequence a few dates, others each time."""

    def __getitems__(self, items: list[int]) -> Batch:
        """One batch."""
        groups = [self.items[item] for item in items]
        return self.batch([group[torch.randperm(len(group))[:DATES].numpy()] for group in groups])

    def shuffled(self, images: int, seed: int) -> Shuffled:
        """Batches of about so many images; never of one alone, which batch norm cannot learn from."""
        if len(self.items) == 1:
            self.items = self.items * 2
        return Shuffled(self, max(2, images // min(DATES, self._longest())), seed)


class Shuffled:
    """Batches in random order, the last incomplete one of an epoch left out.

    The order is a function of the seed and the epoch, so that a run can go on in the middle of one.
    """

    def __init__(self, data: Training, size: int, seed: int) -> None:
        """Batches of ``size`` items, or of all where there are fewer."""
        self.data, self.size, self.seed = data, min(size, len(data)), seed
        self.step = 0  # batches handed over since the start of the run

    def __len__(self) -> int:
        """Steps in an epoch."""
        return len(self.data) // self.size

    def __iter__(self) -> Iterator[Batch]:
        """What is left of the epoch."""
        epoch, start = divmod(self.step, len(self))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.data))
        for number in range(start, len(self)):
            self.step += 1
            yield self.data.__getitems__(order[number * self.size : (number + 1) * self.size].tolist())

    def state_dict(self) -> dict[str, int]:
        """Where the run is, and what it learns from."""
        return {"step": self.step, "items": len(self.data)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on there.

        Raises:
            UserError: the store has changed.
        """
        if state["items"] != len(self.data):
            raise UserError(
                f"--resume: {state['items']} labelled items are now {len(self.data)}; go on with the same store"
            )
        self.step = state["step"]


def _whole(batch: Any) -> Any:
    """Batches come whole from ``__getitems__``."""
    return batch


def read_boxes(store: ChipStore) -> dict[int, Boxes]:
    """Objects by index row, those of a known class that have an area."""
    table = pd.read_parquet(store.path / "boxes.parquet")
    table = table[(table["label"] >= 0) & (table["xmax"] > table["xmin"]) & (table["ymax"] > table["ymin"])]
    table = table.sort_values("image", kind="stable")
    rows, starts = np.unique(table["image"].to_numpy(), return_index=True)
    corners = np.split(np.array(table[["xmin", "ymin", "xmax", "ymax"]], np.float32), starts[1:])
    labels = np.split(np.array(table["label"], np.int64), starts[1:])
    return {int(r): Boxes(c, n, np.ones(len(n), np.float32)) for r, c, n in zip(rows, corners, labels)}


class FineTuning(L.LightningModule, ABC, Generic[Targets]):
    """AdamW with a one-cycle rate over what is not frozen."""

    headline: str  # what validation logs

    def __init__(self, model: nn.Module, names: list[str], lr: float, steps: int, frozen: nn.Module | None) -> None:
        super().__init__()
        self.model, self.names, self.lr, self.steps, self.frozen = model, names, lr, steps, frozen

    def on_train_epoch_start(self) -> None:
        """A frozen encoder keeps its batch-norm statistics."""
        if self.frozen is not None:
            self.frozen.eval()

    def training_step(self, batch: Batch[Targets], batch_idx: int) -> Tensor:
        """One batch, changed a little at random."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            batch = self.varied(batch)
        loss = self.loss(batch)
        self.log("loss", loss.detach(), prog_bar=True, batch_size=len(batch.pixels))
        return loss

    def validation_step(self, batch: Batch[Targets], batch_idx: int) -> None:
        """Count a batch."""
        self.count(batch)

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self.reset()

    def on_validation_epoch_end(self) -> None:
        """Log one number about the validation places."""
        self.log(f"val_{self.headline}", self.result()[self.headline], prog_bar=True)

    # The test counts as validation does, but logs nothing: its numbers go to metrics.json.
    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over what is not frozen."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, self.lr, weight_decay=1e-2)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}

    def varied(self, batch: Batch[Targets]) -> Batch[Targets]:
        """The batch mirrored, turned and coloured at random, with its masks or boxes."""
        batch = turned(batch, int(torch.randint(0, 4, ())), bool(torch.randint(0, 2, ())))
        return batch._replace(pixels=colour_jitter(batch.pixels, 0.1))

    @abstractmethod
    def loss(self, batch: Batch[Targets]) -> Tensor:
        """To be made small, a scalar."""

    @abstractmethod
    def reset(self) -> None:
        """Forget what was counted."""

    @abstractmethod
    def count(self, batch: Batch[Targets]) -> None:
        """Count what is right and wrong in a batch."""

    @abstractmethod
    def result(self) -> dict:
        """What was counted, as metrics.json has it."""


class Naming(FineTuning[Tensor]):
    """One class a pixel, an image or a sequence: cross-entropy over what is labelled."""

    headline = "accuracy"

    def varied(self, batch: Batch[Tensor]) -> Batch[Tensor]:
        """Images that have one class are cropped, mirrored, turned and coloured each by itself."""
        return super().varied(batch) if batch.targets.ndim == 3 else batch._replace(pixels=PARTS(batch.pixels))

    def logits(self, batch: Batch[Tensor]) -> Tensor:
        """Logits (N, classes, ...); of a sequence (places, classes), the mean over the dates."""
        answer = self.model(batch.pixels).float()
        return answer if batch.owner is None else mean_by_owner(answer, batch.owner, len(batch.targets))

    def loss(self, batch: Batch[Tensor]) -> Tensor:
        """Mean over the labelled; 0 where nothing is."""
        total = F.cross_entropy(self.logits(batch), batch.targets, ignore_index=IGNORED, reduction="sum")
        return total / (batch.targets != IGNORED).sum().clamp(min=1)

    def reset(self) -> None:
        """Forget what was counted."""
        self.confusion = np.zeros((len(self.names), len(self.names)), np.int64)
        self.in_five: int | None = None  # of images and sequences, where there are more than five classes

    def count(self, batch: Batch[Tensor]) -> None:
        """Count a batch into the confusion matrix."""
        logits, known = self.logits(batch), batch.targets != IGNORED
        truth, said = batch.targets[known].cpu().numpy(), logits.argmax(dim=1)[known].cpu().numpy()
        np.add.at(self.confusion, (truth, said), 1)
        if logits.ndim == 2 and len(self.names) > 5:
            self.in_five = (self.in_five or 0) + int((logits.topk(5, dim=1).indices == batch.targets[:, None]).sum())

    def result(self) -> dict:
        """Scores, a row a class, and the confusion matrix where it is not too large."""
        result: dict = scores(self.confusion)
        if self.in_five is not None:
            result["top5_accuracy"] = self.in_five / int(self.confusion.sum())
        result["per_class"] = per_class(self.confusion, self.names)
        if len(self.names) <= _MOST_CONFUSED:
            result["confusion"] = self.confusion.tolist()
        return result


def mean_by_owner(answers: Tensor, owner: Tensor, places: int) -> Tensor:
    """Mean over the dates of each place: (N, classes) and (N,) to (places, classes).

    The head is linear, so this is the answer to the mean of the features too; and its softmax is that of the mean
    of the dates' log-probabilities, which an exported model of one date gives.
    """
    total = answers.new_zeros(places, answers.shape[1]).index_add_(0, owner, answers)
    return total / torch.bincount(owner, minlength=places)[:, None]


class Finding(FineTuning[list[dict[str, Tensor]]]):
    """Objects: RetinaNet's losses; average precision at IoU 0.5."""

    headline = "ap50"

    def loss(self, batch: Batch[list[dict[str, Tensor]]]) -> Tensor:
        """Sum of the loss of classes and the loss of boxes."""
        return torch.stack(list(self.model(batch.pixels, batch.targets).values())).sum()

    def reset(self) -> None:
        """Forget what was counted."""
        self.found: list[Boxes] = []
        self.truth: list[Boxes] = []

    def count(self, batch: Batch[list[dict[str, Tensor]]]) -> None:
        """Keep what was found beside what is there."""
        self.found += [as_boxes(answer) for answer in self.model(batch.pixels)]
        self.truth += [as_boxes(target) for target in batch.targets]

    def result(self) -> dict:
        """AP50, a row a class, and what was taken for what."""
        classes = len(self.names)
        precision = ap50(self.found, self.truth, classes)
        confusion = object_confusion(self.found, self.truth, classes)
        rows = per_class(confusion, self.names)
        for row, value in zip(rows, precision):
            del row["iou"]  # of pixels; boxes have their average precision
            row["ap50"] = None if np.isnan(value) else float(value)
        return {
            "ap50": float(np.nanmean(precision)) if not np.isnan(precision).all() else 0.0,
            "objects": int(confusion[:-1].sum()),
            "images": len(self.truth),
            "per_class": rows,
            "confusion": confusion.tolist(),
        }


def as_boxes(objects: dict[str, Tensor]) -> Boxes:
    """Objects of an image as numpy; the truth has no scores, so it is sure."""
    certainty = objects.get("scores", torch.ones(len(objects["labels"])))
    return Boxes(*(part.cpu().numpy() for part in (objects["boxes"], objects["labels"], certainty)))


def turned(batch: Batch[Targets], quarters: int, mirror: bool) -> Batch[Targets]:
    """Turn a batch by quarters, then mirror it left to right; masks and boxes alike."""

    def turn(grid: Tensor) -> Tensor:
        grid = torch.rot90(grid, quarters, dims=(-2, -1))
        return grid.flip(-1) if mirror else grid

    pixels, targets = turn(batch.pixels), batch.targets
    if isinstance(targets, list):
        size = pixels.shape[-1]
        targets = [target | {"boxes": _turned_boxes(target["boxes"], quarters, mirror, size)} for target in targets]
    elif targets.ndim == 3:
        targets = turn(targets)
    return batch._replace(pixels=pixels, targets=targets)


def _turned_boxes(boxes: Tensor, quarters: int, mirror: bool, size: int) -> Tensor:
    left, top, right, bottom = boxes.unbind(dim=1)
    for _ in range(quarters):  # against the clock: what was right is above
        left, top, right, bottom = top, size - right, bottom, size - left
    if mirror:
        left, right = size - right, size - left
    return torch.stack([left, top, right, bottom], dim=1)
