"""``core.train finetune``: a model for a task from an encoder and few labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import numpy as np
import torch

from core.errors import UserError
from core.files import write_json
from core.networks.decoders import DECODERS
from core.networks.encoders import Encoder, ModelSpec, check_size
from core.networks.heads import build, encoder_of
from core.networks.series import TEMPORAL
from core.networks.weights import load_encoder, save_model
from core.runs import check_positive, check_seed, pick_device, start_run
from core.store.read import SPLITS, ChipStore
from core.training.finetuning_report import headlines, write_run_report
from core.training.labelled import TASKS, Labelled, ShuffledLoader, labelled_places, read_objects
from core.training.series import TASKS_OF_SERIES, LabelledSeries, check_series, coordinates_floor, series_places
from core.training.tasks import ClassifierModule, DetectorModule, FineTuning
from core.training.trainer import check_choice, fit, pick_precision, processes
from core.version import version_and_commit

# The one-cycle schedule is planned for the whole run.
_FIXED = (
    "task",
    "decoder",
    "mode",
    "dates",
    "temporal",
    "location",
    "labels_fraction",
    "epochs",
    "batch_size",
    "lr",
    "seed",
)
_SELDOM = 6  # training reads at least so many images for each that validation reads
_TEST_BATCH = 256  # images in a batch without gradients


def finetune(
    data: Path,
    encoder: str,
    out: Path,
    task: str = "segmentation",
    decoder: str = "unet",
    mode: str = "full",
    dates: int | None = None,
    temporal: str = "composite",
    location: bool = False,
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

    Returns the model's file; None after SIGTERM.

    Args:
        data: Folder of a chip store with labels.
        encoder: encoder.safetensors of a pretraining run, third-party weights (.pth.tar, .pth, .safetensors), or torchgeo:ResNet50_Weights.NAME and the like.
        out: Folder of the run; the results are model.safetensors and report.html.
        task: segmentation (a class per pixel), classification (a class per image), sequence (a class per place, from all
            its dates) or detection (bounding boxes).
        decoder: For segmentation: unet, deeplabv3plus or fpn.
        mode: full (train all weights) or linear (freeze the encoder).
        dates: Train a model that reads a series: one result from any number of dates of a place, with gaps. The number is the
            most dates of a place in a training step, at random; for segmentation and classification.
        temporal: With --dates: composite (the mean of the dates encoded: as fast as one date), attention (each date encoded, and
            weighed by lightweight temporal attention with the day of the year) or mean (each date encoded, without its day).
            The first two read composites of the months for each pixel too.
        location: With --dates: read longitude and latitude too; the report has the accuracy of coordinates alone beside it.
        labels_fraction: Fraction of the training places whose labels are used, above 0 and at most 1.
        epochs: Passes over the labelled images.
        batch_size: Images per step; a series of 12 dates counts as 12, a composite as 1.
        lr: Maximum learning rate of AdamW.
        precision: auto (bf16 where it is faster), 32-true or bf16-mixed.
        device: auto, cpu, cuda, cuda:1 and so on, or mps.
        seed: Random seed of the labelled places, weights and order.
        checkpoint_every: Steps between checkpoints; by default every two minutes and ten times a run.
        resume: Continue from the last checkpoint in the run's folder.
        overwrite: Replace the run's folder.
    """
    options = SimpleNamespace(**locals())
    _check(options)
    store = ChipStore(data)
    if dates is not None:
        options.dates = _dates(store, options)
    places = _places(store, options)
    spec, trunk = load_encoder(encoder, store)
    size, gsd = store.info.chip_size, store.info.gsd or spec.gsd  # the encoder may have been trained on another size
    spec = replace(spec, task=task, decoder=decoder, classes=store.info.classes, chip_size=size, gsd=gsd)
    spec = replace(spec, dates=options.dates or 0, temporal=temporal, location=location)
    if task in ("segmentation", "detection"):  # images are padded
        size = -(-size // spec.stride) * spec.stride
    check_size(spec.arch, len(spec.bands), size)
    target = pick_device(device)
    chosen = pick_precision(precision, target, size, spec.stride)
    L.seed_everything(seed, verbose=False)
    start_run(out, vars(options), overwrite=overwrite, resume=resume, fixed=_FIXED)
    options.device, options.precision = target, chosen
    return _run(options, store, places, spec, trunk)


def _run(
    options: SimpleNamespace, store: ChipStore, places: dict[str, list[np.ndarray]], spec: ModelSpec, trunk: Encoder
) -> Path | None:
    """Train, test, write model and report; None if the run was stopped by SIGTERM."""
    out, task = options.out, options.task
    data = {side: _labelled(store, rows, options) for side, rows in places.items() if rows}
    train = ShuffledLoader(data["train"], options.batch_size, options.seed)
    network = build(spec)
    encoder_of(network).load_state_dict(trunk.state_dict())
    frozen = encoder_of(network).requires_grad_(False) if options.mode == "linear" else None
    kind: type[FineTuning] = DetectorModule if task == "detection" else ClassifierModule
    network, names = network.to(memory_format=torch.channels_last), [entry.name for entry in spec.classes]
    module = kind(network, names, options.lr, options.epochs * len(train), frozen)
    images = {side: sum(map(len, rows)) for side, rows in places.items()}
    counts = {"labelled_places": len(places["train"]), "labelled_images": images["train"]}
    print(
        f"{task}{_said(spec)}, {options.mode}, on {options.device}: labels of {counts['labelled_places']} training places "
        f"({options.labels_fraction:.0%}), {counts['labelled_images']} images"
    )
    at_once = min(_TEST_BATCH, options.batch_size) if task == "detection" else _TEST_BATCH  # its maps are large
    val, test = (data[side].loader(at_once) if side in data else None for side in ("val", "test"))
    # A curve to look at, no more: it may take about a twentieth of the time, and a pass without gradients takes a third.
    read = sum(min(len(rows), options.dates or len(rows)) for rows in places["train"])
    validations = options.epochs * read // max(1, _SELDOM * images["val"])
    if not fit(module, train, val, options, command="finetune", validations=validations):
        return None
    model = out / "model.safetensors"
    description = f"{spec.description}; fine-tuned ({options.mode}{_said(spec)}) with labels of {counts['labelled_places']} places"
    save_model(model, replace(spec, description=f"{description}; GeoAware {version_and_commit()}"), module.model)

    result: dict = {"task": task}
    if spec.dates:
        result |= {"dates": spec.dates, "temporal": spec.temporal, "location": spec.location}
    if test is not None:
        module.trainer.test(module, test, verbose=False)
        result |= module.result()
        known, unknown = data["train"], data["test"]
        if spec.location and isinstance(known, LabelledSeries) and isinstance(unknown, LabelledSeries):
            result["coordinates_alone"] = coordinates_floor(known, unknown, len(spec.classes), options.seed)
    result |= counts | {"test_places": len(places["test"])}
    write_json(out / "metrics.json", result)
    write_run_report(out, module.to(options.device), data["train"], data.get("test"), result)
    if test is None:
        print(f"{store.path}: no place of the 'test' split has a label: no metrics")
    else:
        print("test places:", "; ".join(f"{name} {value:.1%}, {about}" for name, value, about in headlines(result)))
    print(f"model: {model}, report: {out / 'report.html'}")
    return model


def _places(store: ChipStore, options: SimpleNamespace) -> dict[str, list[np.ndarray]]:
    """Index rows of the images of each labelled place, by side; ``UserError`` if there are no labels to train on."""
    if not store.info.classes:
        raise UserError(f"{store.path}: has no classes; make the store with labels")
    of = series_places if options.dates else labelled_places
    places = {side: of(store, side, options.task) for side in SPLITS}
    if not places["train"]:
        raise UserError(
            f"{store.path}: no place of the 'train' split has a label; make the store with --labels, or with more imagery"
        )
    order = np.random.default_rng(options.seed).permutation(len(places["train"]))
    chosen = order[: max(1, round(options.labels_fraction * len(order)))]
    places["train"] = [places["train"][number] for number in np.sort(chosen)]
    if options.task == "detection" and read_objects(store).keys().isdisjoint(np.concatenate(places["train"]).tolist()):
        raise UserError(
            f"{store.path}: none of the {len(places['train'])} training places contains an object; "
            "raise --labels-fraction, or make the store with more imagery"
        )
    if (
        options.task != "sequence" and not options.dates
    ):  # validation, after each epoch, uses one date per place; the test uses all dates
        places["val"] = [rows[:1] for rows in places["val"]]
    return places


def _labelled(store: ChipStore, rows: list[np.ndarray], options: SimpleNamespace) -> Labelled:
    if options.dates:
        return LabelledSeries(
            store, rows, options.task, options.dates, options.location, options.temporal == "composite"
        )
    return Labelled(store, rows, options.task)


def _said(spec: ModelSpec) -> str:
    if not spec.dates:
        return ""
    return f", series of up to {spec.dates} dates ({spec.temporal}{', location' if spec.location else ''})"


def _dates(store: ChipStore, options: SimpleNamespace) -> int:
    """The number of dates in a training step: at most what the places have."""
    most = check_series(store, location=options.location)
    if options.dates > most:
        print(f"--dates {options.dates}: the places of {store.path} have at most {most} images; training uses {most}")
    return min(options.dates, most)


def _check(options: SimpleNamespace) -> None:
    """Raise ``UserError`` for options that are out of range."""
    check_choice("task", options.task, TASKS)
    check_choice("mode", options.mode, ("full", "linear"))
    check_choice("decoder", options.decoder, DECODERS)
    check_choice("temporal", options.temporal, TEMPORAL)
    _check_series_options(options)
    if not 0 < options.labels_fraction <= 1:
        raise UserError(f"--labels-fraction {options.labels_fraction}: must be above 0 and at most 1")
    if processes()[1] > 1:
        raise UserError("torchrun: fine-tuning runs in one process; start it without torchrun")
    if options.batch_size < 2:
        raise UserError(f"--batch-size {options.batch_size}: batch norm needs at least 2 images per step")
    check_positive(epochs=options.epochs, lr=options.lr, checkpoint_every=options.checkpoint_every)
    check_seed(options.seed)


def _check_series_options(options: SimpleNamespace) -> None:
    if options.dates is None:
        for name, given in (
            (f"temporal {options.temporal}", options.temporal != TEMPORAL[0]),
            ("location", options.location),
        ):
            if given:
                raise UserError(f"--{name}: is of models that read a series; add --dates")
        return
    if options.task not in TASKS_OF_SERIES:
        raise UserError(
            f"--dates {options.dates}: the task {options.task} has no series; choose {' or '.join(TASKS_OF_SERIES)}, or leave --dates out"
        )
    if options.dates < 2:
        raise UserError(
            f"--dates {options.dates}: a series has at least 2 dates; leave --dates out for a model of one date"
        )
