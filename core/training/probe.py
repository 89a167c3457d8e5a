"""``core.train probe``: measures the frozen features of an encoder, and says whether it is worth using."""

from __future__ import annotations

from pathlib import Path

from core.evaluation.probe import measure, questions
from core.evaluation.words import text_table
from core.files import write_json
from core.networks.weights import load_encoder
from core.report.encoder_report import write_encoder_report
from core.runs import check_seed, pick_device, settings_of, start_run
from core.store.read import ChipStore

# Options that the report speaks of.
PRETRAINING = ("variant", "arch", "epochs", "optimizer", "pair_views", "season", "ignore_weight")


def probe(
    data: Path,
    encoder: str,
    out: Path | None = None,
    device: str = "auto",
    seed: int = 0,
    overwrite: bool = False,
) -> dict:
    """Evaluate the frozen features of an encoder against an untrained encoder, colour statistics and coordinates.

    Args:
        data: Folder of a chip store; without labels only retrieval across dates is evaluated.
        encoder: encoder.safetensors of a pretraining run, third-party weights (.pth.tar, .pth, .safetensors), or torchgeo:ResNet50_Weights.NAME and the like.
        out: Folder for probe.json, report.html and neighbours.png; optional.
        device: auto, cpu, cuda, cuda:1 and so on, or mps.
        seed: Random seed of the chosen dates and of the untrained encoder.
        overwrite: Replace the folder.
    """
    settings = dict(locals())
    check_seed(seed)
    store = ChipStore(data)
    spec, trained = load_encoder(encoder, store)
    asked, target = questions(store, seed), pick_device(device)
    if out is not None:
        start_run(out, settings, overwrite=overwrite)
    probed = measure(store, spec, trained, asked, seed, target)
    options = settings_of(Path(encoder).parent) if Path(encoder).suffix == ".safetensors" else {}
    if "variant" in options:  # a run of pretrain
        probed.result["pretraining"] = {name: options[name] for name in PRETRAINING if name in options}
    print(text_table(probed.result))
    if out is not None:
        write_json(out / "probe.json", probed.result)
        write_encoder_report(out, store, probed)
    return probed.result
