"""``core.train finetune``: a land-cover model from an encoder and few labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from core.errors import UserError
from core.files import write_json
from core.models import encoder_of, for_task, save_model
from core.runs import check_positive, make_trainer, pick_device, pick_precision, start_run, version
from core.store import UNLABELLED, ChipStore, images_of
from core.views import colour_jitter
from core.weights import load_encoder

TASKS = ("segmentation", "classification")


class Labelled(Dataset):
    """Images with their label masks (segmentation) or their class numbers (classification)."""

    def __init__(self, store: ChipStore, rows: np.ndarray, task: str) -> None:
        self.store, self.rows, self.task = store, rows, task
        self.labels = store.column("label")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.rows)

    def __getitems__(self, items: list[int]) -> tuple[Tensor, Tensor]:
        """One batch: raw chips (N, bands, size, size), targets (N, size, size) or (N,)."""
        rows = self.rows[items]
        targets = self.store.masks(rows) if self.task == "segmentation" else self.labels[rows]
        return torch.from_numpy(self.store.pixels(rows)), torch.from_numpy(targets.astype(np.int64))

    def loader(self, batch_size: int, seed: int | None = None) -> DataLoader:
        """Batches; in random order where a seed is given."""
        order = None if seed is None else torch.Generator().manual_seed(seed)
        return DataLoader(
            self, batch_size, shuffle=seed is not None, drop_last=seed is not None and len(self) > batch_size,
            generator=order, collate_fn=lambda batch: batch,
        )  # fmt: skip


class FineTuning(L.LightningModule):
    """Cross-entropy over labelled pixels or images; AdamW with a one-cycle rate."""

    def __init__(self, model: nn.Module, classes: int, lr: float, steps: int, frozen: nn.Module | None) -> None:
        super().__init__()
        self.model, self.classes, self.lr, self.steps, self.frozen = model, classes, lr, steps, frozen
        self.confusion = np.zeros((classes, classes), np.int64)

    def on_train_epoch_start(self) -> None:
        """A frozen encoder keeps its batch-norm statistics."""
        if self.frozen is not None:
            self.frozen.eval()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """One batch, mirrored and turned at random."""
        pixels, targets = _turned(*batch)
        loss = F.cross_entropy(self.model(colour_jitter(pixels, 0.1)).float(), targets, ignore_index=UNLABELLED)
        self.log("loss", loss.detach(), prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self.confusion[:] = 0

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Count a batch into the confusion matrix."""
        pixels, targets = batch
        predicted = self.model(pixels).argmax(dim=1)
        known = targets != UNLABELLED
        pairs = (targets[known] * self.classes + predicted[known]).cpu().numpy()
        self.confusion += np.bincount(pairs, minlength=self.classes**2).reshape(self.classes, self.classes)

    def on_validation_epoch_end(self) -> None:
        """Log the accuracy of the validation places."""
        self.log("val_accuracy", float(np.trace(self.confusion) / max(self.confusion.sum(), 1)), prog_bar=True)

    # The test counts as validation does, but logs nothing: its numbers go to metrics.json.
    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over what is not frozen."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, self.lr, weight_decay=1e-2)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


def _turned(pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Turn a batch by quarters and mirror it, masks alike."""
    quarters, mirror = int(torch.randint(0, 4, ())), bool(torch.randint(0, 2, ()))
    turn = [t if t.ndim < 3 else torch.rot90(t, quarters, dims=(-2, -1)) for t in (pixels, targets)]
    if mirror:
        turn = [t if t.ndim < 3 else t.flip(-1) for t in turn]
    return turn[0], turn[1]


def scores(confusion: np.ndarray) -> dict[str, float]:
    """Accuracy, macro-F1 and mean IoU (both over classes that occur), share of the majority class.

    Args:
        confusion: (K, K) counts, rows the truth, columns the prediction.
    """
    hits, truth, said = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    occurs = truth > 0
    return {
        "accuracy": float(hits.sum() / confusion.sum()),
        "macro_f1": float((2 * hits / np.maximum(truth + said, 1))[occurs].mean()),
        "mean_iou": float((hits / np.maximum(truth + said - hits, 1))[occurs].mean()),
        "majority_class": float(truth.max() / confusion.sum()),
        "classes_used": int((said > 0).sum()),
    }


def labelled_places(store: ChipStore, side: str, task: str) -> list[np.ndarray]:
    """Images of each place of a side that has a label: a mask, or a class.

    Raises:
        UserError: there is none.
    """
    known = store.column("mask" if task == "segmentation" else "label") >= 0
    images = [rows[known[rows]] for rows in images_of(store.places_of(side)) if known[rows].any()]
    if not images:
        raise UserError(
            f"{store.path}: no place of the '{side}' split has a label; make the store with --labels, or with more imagery"
        )
    return images


def few(places: list[np.ndarray], fraction: float, seed: int) -> list[np.ndarray]:
    """A random share of the places, at least one."""
    chosen = np.random.default_rng(seed).permutation(len(places))[: max(1, round(fraction * len(places)))]
    return [places[i] for i in np.sort(chosen)]


def finetune(
    data: Path,
    encoder: str,
    out: Path,
    task: str = "segmentation",
    mode: str = "full",
    labels_fraction: float = 1.0,
    epochs: int = 20,
    batch_size: int = 64,
    lr: float = 1e-3,
    precision: str = "auto",
    device: str = "auto",
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """Train a land-cover model from an encoder and a share of the labels, and test it in other spatial blocks.

    Args:
        data: Folder of a chip store with labels.
        encoder: encoder.safetensors of a pretraining run, weights of others (.pth.tar, .pth, .safetensors), or torchgeo:ResNet50_Weights.NAME.
        out: Folder of the run; model.safetensors is the result.
        task: segmentation (a U-Net, one class a pixel) or classification (one class a chip).
        mode: full (all weights learn) or linear (the encoder stays as it is, the rest learns).
        labels_fraction: Share of the training places whose labels are used, above 0 up to 1.
        epochs: Passes over the labelled images.
        batch_size: Images in a step.
        lr: Highest learning rate of AdamW.
        precision: auto (bf16 where it is faster), 32-true or bf16-mixed.
        device: auto, cpu, cuda or another name that torch knows.
        seed: Of the labelled places, weights and order.
        resume: Go on from the last checkpoint in the run's folder.
        overwrite: Replace the run's folder.
    """
    settings = dict(locals())
    if task not in TASKS or mode not in ("full", "linear"):
        raise UserError(f"--task {task} --mode {mode}: choose segmentation or classification, full or linear")
    if not 0 < labels_fraction <= 1:
        raise UserError(f"--labels-fraction {labels_fraction}: must lie above 0 and up to 1")
    check_positive(epochs=epochs, batch_size=batch_size, lr=lr)
    store = ChipStore(data)
    places = few(labelled_places(store, "train", task), labels_fraction, seed)
    # Validation, after each epoch, sees one date a place; the test, once, sees every date.
    held_out = {side: labelled_places(store, side, task) for side in ("val", "test")}
    held_out["val"] = [rows[:1] for rows in held_out["val"]]
    spec, trunk = load_encoder(encoder, store)
    target = pick_device(device)
    precision = pick_precision(precision, target)
    start_run(out, settings, overwrite=overwrite, resume=resume)
    L.seed_everything(seed, verbose=False)
    spec, model = for_task(spec, trunk, task, store.info.classes)
    frozen = encoder_of(model) if mode == "linear" else None
    if frozen is not None:
        frozen.requires_grad_(False)

    images = Labelled(store, np.concatenate(places), task)
    train = images.loader(batch_size, seed)
    print(
        f"{task}, {mode}, on {target}: labels of {len(places)} training places ({labels_fraction:.0%}), {len(images)} images"
    )
    module = FineTuning(model.to(memory_format=torch.channels_last), len(spec.classes), lr, epochs * len(train), frozen)
    trainer = make_trainer(
        out,
        epochs=epochs,
        steps=len(train),
        device=target,
        precision=precision,
    )
    loaders = {side: Labelled(store, np.concatenate(rows), task).loader(256) for side, rows in held_out.items()}
    trainer.fit(module, train, loaders["val"], ckpt_path=str(out / "last.ckpt") if resume else None, weights_only=False)
    trainer.test(module, loaders["test"], verbose=False)

    description = f"{spec.description}; fine-tuned ({mode}) with labels of {len(places)} places"
    spec = replace(spec, description=f"{description}; GeoAware {version()}")
    save_model(out / "model.safetensors", spec, module.model)
    result = scores(module.confusion) | {"labelled_places": len(places), "labelled_images": len(images)}
    write_json(out / "metrics.json", result | {"confusion": module.confusion.tolist()})
    print(
        f"test places: accuracy {result['accuracy']:.1%}, macro-F1 {result['macro_f1']:.1%}, mean IoU {result['mean_iou']:.1%}; "
        f"always the majority class would be right in {result['majority_class']:.1%}"
    )
    print(f"model: {out / 'model.safetensors'}")
    return out / "model.safetensors"
