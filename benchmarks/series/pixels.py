"""Models of a class per pixel, encoder and head trained together: on pixels of the map store, and as a vote over places."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from benchmarks.series.heads import Places
from core.networks.series import SeriesNetwork
from core.networks.weights import load_model
from core.store.read import ChipStore
from core.training.finetune import finetune
from core.training.series import LabelledSeries

VOTE = "composite, vote of the pixels"
VOTE_EPOCHS, VOTE_BATCH = 16, 32
# Each sees about as many images through its encoder as the next, 8,000, or one date twice as many.
MAPS: dict[str, dict] = {
    "one date": {"epochs": 6, "batch_size": 32},
    "temporal attention, 6 dates in a step": {"dates": 6, "epochs": 5, "batch_size": 32},
    "composite": {"dates": 12, "temporal": "composite", "epochs": 36, "batch_size": 16},
}


def of_map(store: ChipStore, encoder: str, out: Path, name: str, seed: int) -> dict[str, float]:
    """Shares of the test places' pixels that a model names rightly, all and those on land, and the images its encoder read."""
    options = MAPS[name]
    finetune(store.path, encoder, out, labels_fraction=0.5, seed=seed, overwrite=True, **options)
    found = json.loads((out / "metrics.json").read_text())
    confusion = np.array(found["confusion"])
    result = {"accuracy": float(confusion.trace() / confusion.sum())}
    assert store.info.background is not None
    confusion[store.info.background] = 0
    items = found["labelled_places"] if "dates" in options else found["labelled_images"]
    each = 1 if options.get("temporal") == "composite" else options.get("dates", 1)
    batch = options["batch_size"] // each
    images = items // batch * batch * each * options["epochs"]
    return result | {"land": float(confusion.trace() / confusion.sum()), "images": images}


def vote(store: ChipStore, places: Places, encoder: str, out: Path, seed: int, *, location: bool) -> np.ndarray:
    """(test places,) bool: whether the class with the most probability over a place's pixels is that of the place."""
    kept = finetune(
        store.path, encoder, out, dates=places.rows.shape[1], temporal="composite", location=location,
        epochs=VOTE_EPOCHS, batch_size=VOTE_BATCH, seed=seed, overwrite=True,
    )  # fmt: skip
    assert kept is not None
    _, network = load_model(kept)
    assert isinstance(network, SeriesNetwork)
    rows = list(places.rows[places.test])
    data = LabelledSeries(store, rows, "classification", places.rows.shape[1], location, composite=True)
    possible = torch.zeros(len(store.info.classes))
    possible[np.unique(places.labels)] = 1  # a place of land is never called water
    said = []
    with torch.inference_mode():
        for start in range(0, len(rows), 64):
            batch = data.batch(rows[start : start + 64])
            assert batch.moments is not None
            logits = network.of_places(batch.pixels, *batch.moments)
            said.append((logits.softmax(dim=1).mean(dim=(2, 3)) * possible).argmax(dim=1).numpy())
    return np.concatenate(said) == places.labels[places.test]
