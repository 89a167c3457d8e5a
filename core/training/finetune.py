"""``core.train finetune``: a model for a task from an encoder and few labels."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import lightning as L
import numpy as np
import torch
from torch import nn

from core.checkpoints import Checkpoints, fit
from core.errors import UserError
from core.files import write_json
from core.networks.encoders import ModelSpec, check_size, encoder_of, for_task, save_model
from core.networks.heads import DECODERS, STRIDE
from core.networks.weights import load_encoder
from core.runs import (
    check_positive,
    check_seed,
    make_trainer,
    pick_device,
    pick_precision,
    processes,
    start_run,
)
from core.store.read import SPLITS, ChipStore, images_of
from core.training.tasks import TASKS, Finding, FineTuning, Labelled, Naming, Training, read_boxes
from core.version import version_and_commit

_LABEL = {"segmentation": "mask", "classification": "label", "sequence": "label"}  # columns of the index
# The rate of the one cycle is planned for the whole run.
_LASTING = ("task", "decoder", "mode", "labels_fraction", "epochs", "batch_size", "lr", "seed")
_FILLED_UP = ("segmentation", "detection")  # their images grow to multiples of the stride
_TEST_IMAGES = 256  # in a batch without gradients


def labelled_places(store: ChipStore, side: str, task: str) -> list[np.ndarray]:
    """Images of each place of a side that has a label: a mask, or a class; where objects are marked, all images."""
    if task == "detection" and not (store.path / "boxes.parquet").exists():
        raise UserError(f"{store.path}: has no boxes; make the store with 'core.prepare detections'")
    known = np.ones(len(store), bool) if task == "detection" else store.column(_LABEL[task]) >= 0
    places = store.places[store.places["split"] == side]
    return [rows[known[rows]] for rows in images_of(places) if known[rows].any()]


def few(places: list[np.ndarray], fraction: float, seed: int) -> list[np.ndarray]:
    """A random share of the places, at least one."""
    chosen = np.random.default_rng(seed).permutation(len(places))[: max(1, round(fraction * len(places)))]
    return [places[i] for i in np.sort(chosen)]


def finetune(
    data: Path,
    encoder: str,
    out: Path,
    task: str = "segmentation",
    decoder: str = "unet",
    mode: str = "full",
    labels_fraction: float = 1.0,
    epochs: int = 20,
    batch_size: int = 64,
    lr: float = 1e-3,
    precision: str = "auto",
    device: str = "auto",
    seed: int = 0,
    checkpoint_every: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Path | None:
    """Train a model for a task from an encoder and a share of the labels, and test it in other spatial blocks.

    Args:
        data: Folder of a chip store with labels.
        encoder: encoder.safetensors of a pretraining run, weights of others (.pth.tar, .pth, .safetensors), or torchgeo:ResNet50_Weights.NAME.
        out: Folder of the run; model.safetensors is the result, report.html shows it.
        task: segmentation (a class a pixel), classification (a class an image), sequence (a class a place, from all
            its dates) or detection (boxes of objects).
        decoder: Of a segmentation: unet, deeplabv3plus or fpn.
        mode: full (all weights learn) or linear (the encoder stays as it is, the rest learns).
        labels_fraction: Share of the training places whose labels are used, above 0 up to 1.
        epochs: Passes over the labelled images.
        batch_size: Images in a step.
        lr: Highest learning rate of AdamW.
        precision: auto (bf16 where it is faster), 32-true or bf16-mixed.
        device: auto, cpu, cuda, cuda:1 and so on, or mps.
        seed: Of the labelled places, weights and order.
        checkpoint_every: Steps from one checkpoint to the next; by default every two minutes and ten times a run.
        resume: Go on from the last checkpoint in the run's folder.
        overwrite: Replace the run's folder.

    Returns:
        The model's file; None where the run was stopped (SIGTERM).
    """
    settings = dict(locals())
    _check_options(task, decoder, mode, labels_fraction, batch_size)
    check_positive(epochs=epochs, lr=lr)
    if checkpoint_every is not None:
        check_positive(checkpoint_every=checkpoint_every)
    check_seed(seed)
    store = ChipStore(data)
    places = _sides(store, task, labels_fraction, seed)
    spec, trunk = load_encoder(encoder, store)
    size = store.info.chip_size  # the encoder may have seen other sizes
    spec = replace(
        spec, task=task, decoder=decoder, classes=store.info.classes, chip_size=size, gsd=store.info.gsd or spec.gsd
    )
    target = pick_device(device)
    if task in _FILLED_UP:
        size = -(-size // STRIDE) * STRIDE
    check_size(spec.arch, len(spec.bands), size)
    precision = pick_precision(precision, target, size)
    L.seed_everything(seed, verbose=False)
    model = for_task(spec, trunk)
    start_run(out, settings, overwrite=overwrite, resume=resume, lasting=_LASTING)

    train = Training(store, places["train"], task).shuffled(batch_size, seed)
    steps = epochs * len(train)
    module = _module(model, spec, lr, steps, frozen=mode == "linear")
    learnt = {"labelled_places": len(places["train"]), "labelled_images": sum(map(len, places["train"]))}
    print(
        f"{task}, {mode}, on {target}: labels of {learnt['labelled_places']} training places ({labels_fraction:.0%}), "
        f"{learnt['labelled_images']} images"
    )
    keeping = Checkpoints(out / "last.ckpt", train, steps, checkpoint_every)
    seen, looked_at = epochs * learnt["labelled_images"], sum(map(len, places["val"]))
    trainer = make_trainer(
        out,
        epochs=epochs,
        steps=len(train),
        device=target,
        precision=precision,
        callbacks=[keeping],
        looks=seen // max(1, looked_at),  # with few labels, validation would take most of the time
    )
    at_once = min(_TEST_IMAGES, batch_size) if task == "detection" else _TEST_IMAGES  # its maps are large
    val, test = (
        Labelled(store, places[side], task).loader(at_once) if places[side] else None for side in ("val", "test")
    )
    warnings.filterwarnings("ignore", ".*no `val_dataloader`")  # a few polygons may leave the side empty
    if not fit(trainer, module, train, val, command="finetune", resume=resume):
        return None
    description = f"{spec.description}; fine-tuned ({mode}) with labels of {learnt['labelled_places']} places"
    spec = replace(spec, description=f"{description}; GeoAware {version_and_commit()}")
    save_model(out / "model.safetensors", spec, module.model)

    result: dict = {"task": task}
    if test is not None:
        trainer.test(module, test, verbose=False)
        result |= module.result()
    result |= learnt | {"test_places": len(places["test"])}
    write_json(out / "metrics.json", result)
    _show(out, store, module.to(target), task, places["test"], result)
    print(
        said(result) if test is not None else f"{data}: no place of the 'test' split has a label: nothing is measured"
    )
    print(f"model: {out / 'model.safetensors'}, report: {out / 'report.html'}")
    return out / "model.safetensors"


def _sides(store: ChipStore, task: str, fraction: float, seed: int) -> dict[str, list[np.ndarray]]:
    """Images of the places to learn from, to validate and to test with.

    Raises:
        UserError: there is nothing to learn.
    """
    if not store.info.classes:
        raise UserError(f"{store.path}: has no classes to learn; make the store with labels")
    places = {side: labelled_places(store, side, task) for side in SPLITS}
    if not places["train"]:
        raise UserError(
            f"{store.path}: no place of the 'train' split has a label; make the store with --labels, or with more imagery"
        )
    places["train"] = few(places["train"], fraction, seed)
    if task == "detection" and read_boxes(store).keys().isdisjoint(np.concatenate(places["train"]).tolist()):
        raise UserError(
            f"{store.path}: none of the {len(places['train'])} places to learn from shows an object; "
            "raise --labels-fraction, or make the store with more imagery"
        )
    if task != "sequence":  # validation, after each epoch, sees one date a place; the test, once, sees every date
        places["val"] = [rows[:1] for rows in places["val"]]
    return places


def _module(model: nn.Module, spec: ModelSpec, lr: float, steps: int, *, frozen: bool) -> FineTuning:
    """What learns, with or without the encoder."""
    encoder = encoder_of(model).requires_grad_(False) if frozen else None
    kind = Finding if spec.task == "detection" else Naming
    names = [entry.name for entry in spec.classes]
    return kind(model.to(memory_format=torch.channels_last), names, lr, steps, encoder)


def _check_options(task: str, decoder: str, mode: str, labels_fraction: float, batch_size: int) -> None:
    if task not in TASKS or mode not in ("full", "linear"):
        raise UserError(f"--task {task} --mode {mode}: choose {', '.join(TASKS[:-1])} or {TASKS[-1]}, full or linear")
    if decoder not in DECODERS:
        raise UserError(f"--decoder {decoder}: choose one of {', '.join(DECODERS)}")
    if not 0 < labels_fraction <= 1:
        raise UserError(f"--labels-fraction {labels_fraction}: must lie above 0 and up to 1")
    if processes()[1] > 1:
        raise UserError("torchrun: fine-tuning runs in one process; start it without")
    if batch_size < 2:
        raise UserError(f"--batch-size {batch_size}: batch norm needs at least 2 images in a step")


def _show(out: Path, store: ChipStore, module: FineTuning, task: str, places: list[np.ndarray], result: dict) -> None:
    from core.report.finetuning_report import write_run_report  # matplotlib is slow to import

    write_run_report(out, store, module, task, places, result)


def said(result: dict) -> str:
    """The numbers of metrics.json in a line."""
    if result["task"] == "detection":
        return f"test images: AP50 {result['ap50']:.1%} over {result['objects']} objects in {result['images']} images"
    five = f", top-5 {result['top5_accuracy']:.1%}" if "top5_accuracy" in result else ""
    iou = f", mean IoU {result['mean_iou']:.1%}" if result["task"] == "segmentation" else ""
    return (
        f"test places: accuracy {result['accuracy']:.1%}{five}, macro-F1 {result['macro_f1']:.1%}{iou}; "
        f"always the majority class would be right in {result['majority_class']:.1%}"
    )
