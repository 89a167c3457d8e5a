"""``core.train finetune``: a model for a task from an encoder and few labels."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import numpy as np
import torch

from core.errors import UserError
from core.files import write_json
from core.networks.encoders import Encoder, ModelSpec, check_size
from core.networks.heads import DECODERS, STRIDE, encoder_of, for_task
from core.networks.model_file import save_model
from core.networks.weights import load_encoder
from core.runs import check_positive, check_seed, pick_device, start_run
from core.store.read import SPLITS, ChipStore
from core.training.checkpoints import Checkpoints, fit
from core.training.finetuning_report import write_run_report
from core.training.labelled import TASKS, Labelled, TrainingSet, labelled_places, random_subset, read_objects
from core.training.tasks import ClassifierModule, DetectorModule, FineTuning
from core.training.trainer import make_trainer, pick_precision, processes
from core.version import version_and_commit

# The one-cycle schedule is planned for the whole run.
_FIXED = ("task", "decoder", "mode", "labels_fraction", "epochs", "batch_size", "lr", "seed")
_PADDED = ("segmentation", "detection")  # their images are padded to multiples of the stride
_TEST_BATCH = 256  # images in a batch without gradients


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
    """Train a model for a task from an encoder and a fraction of the labels, and test it on other spatial blocks.

    Args:
        data: Folder of a chip store with labels.
        encoder: encoder.safetensors of a pretraining run, third-party weights (.pth.tar, .pth, .safetensors), or torchgeo:ResNet50_Weights.NAME.
        out: Folder of the run; the results are model.safetensors and report.html.
        task: segmentation (a class per pixel), classification (a class per image), sequence (a class per place, from all
            its dates) or detection (bounding boxes).
        decoder: For segmentation: unet, deeplabv3plus or fpn.
        mode: full (train all weights) or linear (freeze the encoder).
        labels_fraction: Fraction of the training places whose labels are used, above 0 and at most 1.
        epochs: Passes over the labelled images.
        batch_size: Images per step.
        lr: Maximum learning rate of AdamW.
        precision: auto (bf16 where it is faster), 32-true or bf16-mixed.
        device: auto, cpu, cuda, cuda:1 and so on, or mps.
        seed: Random seed of the labelled places, weights and order.
        checkpoint_every: Steps between checkpoints; by default every two minutes and ten times a run.
        resume: Continue from the last checkpoint in the run's folder.
        overwrite: Replace the run's folder.

    Returns:
        The model's file; None if the run was stopped by SIGTERM.
    """
    options = SimpleNamespace(**locals())
    _check(options)
    store = ChipStore(data)
    places = _places(store, options)
    spec, trunk = load_encoder(encoder, store)
    size = store.info.chip_size  # the encoder may have been trained on another size
    gsd = store.info.gsd or spec.gsd
    spec = replace(spec, task=task, decoder=decoder, classes=store.info.classes, chip_size=size, gsd=gsd)
    target = pick_device(device)
    size = -(-size // STRIDE) * STRIDE if task in _PADDED else size
    check_size(spec.arch, len(spec.bands), size)
    chosen = pick_precision(precision, target, size)
    L.seed_everything(seed, verbose=False)
    start_run(out, vars(options), overwrite=overwrite, resume=resume, fixed=_FIXED)
    return _run(options, store, places, spec, trunk, target, chosen)


def _run(
    options: SimpleNamespace,
    store: ChipStore,
    places: dict[str, list[np.ndarray]],
    spec: ModelSpec,
    trunk: Encoder,
    device: torch.device,
    precision: str,
) -> Path | None:
    """Train, test, write model and report; None if the run was stopped by SIGTERM."""
    out, task = options.out, options.task
    train = TrainingSet(store, places["train"], task).shuffled(options.batch_size, options.seed)
    steps = options.epochs * len(train)
    module = _module(spec, trunk, options, steps)
    counts = {"labelled_places": len(places["train"]), "labelled_images": sum(map(len, places["train"]))}
    print(
        f"{task}, {options.mode}, on {device}: labels of {counts['labelled_places']} training places "
        f"({options.labels_fraction:.0%}), {counts['labelled_images']} images"
    )
    trained, validated = options.epochs * counts["labelled_images"], sum(map(len, places["val"]))
    trainer = make_trainer(
        out,
        epochs=options.epochs,
        steps=len(train),
        device=device,
        precision=precision,
        callbacks=[Checkpoints(out / "last.ckpt", train, steps, options.checkpoint_every)],
        validations=trained // max(1, validated),  # with few labels, validation would take most of the time
    )
    at_once = min(_TEST_BATCH, options.batch_size) if task == "detection" else _TEST_BATCH  # its maps are large
    val, test = (
        Labelled(store, places[side], task).loader(at_once) if places[side] else None for side in ("val", "test")
    )
    warnings.filterwarnings("ignore", ".*no `val_dataloader`")  # a store with few labels may have none there
    if not fit(trainer, module, train, val, command="finetune", resume=options.resume):
        return None
    model = out / "model.safetensors"
    description = f"{spec.description}; fine-tuned ({options.mode}) with labels of {counts['labelled_places']} places"
    save_model(model, replace(spec, description=f"{description}; GeoAware {version_and_commit()}"), module.model)

    result: dict = {"task": task}
    if test is not None:
        trainer.test(module, test, verbose=False)
        result |= module.result()
    result |= counts | {"test_places": len(places["test"])}
    write_json(out / "metrics.json", result)
    write_run_report(out, store, module.to(device), task, places["test"], result)
    print(
        summary(result) if test is not None else f"{store.path}: no place of the 'test' split has a label: no metrics"
    )
    print(f"model: {model}, report: {out / 'report.html'}")
    return model


def _places(store: ChipStore, options: SimpleNamespace) -> dict[str, list[np.ndarray]]:
    """Index rows of the images of each labelled place, by side.

    Raises:
        UserError: there are no labels to train on.
    """
    if not store.info.classes:
        raise UserError(f"{store.path}: has no classes; make the store with labels")
    places = {side: labelled_places(store, side, options.task) for side in SPLITS}
    if not places["train"]:
        raise UserError(
            f"{store.path}: no place of the 'train' split has a label; make the store with --labels, or with more imagery"
        )
    places["train"] = random_subset(places["train"], options.labels_fraction, options.seed)
    if options.task == "detection" and read_objects(store).keys().isdisjoint(np.concatenate(places["train"]).tolist()):
        raise UserError(
            f"{store.path}: none of the {len(places['train'])} training places contains an object; "
            "raise --labels-fraction, or make the store with more imagery"
        )
    if options.task != "sequence":  # validation, after each epoch, uses one date per place; the test uses all dates
        places["val"] = [rows[:1] for rows in places["val"]]
    return places


def _module(spec: ModelSpec, trunk: Encoder, options: SimpleNamespace, steps: int) -> FineTuning:
    model = for_task(spec, trunk)
    frozen = encoder_of(model).requires_grad_(False) if options.mode == "linear" else None
    kind = DetectorModule if spec.task == "detection" else ClassifierModule
    names = [entry.name for entry in spec.classes]
    return kind(model.to(memory_format=torch.channels_last), names, options.lr, steps, frozen)


def _check(options: SimpleNamespace) -> None:
    """Raise ``UserError`` for options that are out of range."""
    if options.task not in TASKS:
        raise UserError(f"--task {options.task}: choose one of {', '.join(TASKS)}")
    if options.mode not in ("full", "linear"):
        raise UserError(f"--mode {options.mode}: choose full or linear")
    if options.decoder not in DECODERS:
        raise UserError(f"--decoder {options.decoder}: choose one of {', '.join(DECODERS)}")
    if not 0 < options.labels_fraction <= 1:
        raise UserError(f"--labels-fraction {options.labels_fraction}: must be above 0 and at most 1")
    if processes()[1] > 1:
        raise UserError("torchrun: fine-tuning runs in one process; start it without torchrun")
    if options.batch_size < 2:
        raise UserError(f"--batch-size {options.batch_size}: batch norm needs at least 2 images per step")
    check_positive(epochs=options.epochs, lr=options.lr, checkpoint_every=options.checkpoint_every)
    check_seed(options.seed)


def summary(result: dict) -> str:
    """The metrics in one line."""
    if result["task"] == "detection":
        return f"test images: AP50 {result['ap50']:.1%} over {result['objects']} objects in {result['images']} images"
    top5 = f", top-5 {result['top5_accuracy']:.1%}" if "top5_accuracy" in result else ""
    iou = f", mean IoU {result['mean_iou']:.1%}" if result["task"] == "segmentation" else ""
    return (
        f"test places: accuracy {result['accuracy']:.1%}{top5}, macro-F1 {result['macro_f1']:.1%}{iou}; "
        f"majority class: {result['majority_class']:.1%}"
    )
