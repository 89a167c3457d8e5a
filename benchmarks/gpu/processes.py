"""Part 5: two processes of ``core.train pretrain``, on a GPU each or both on the only one, against one process.

On one GPU the two are two nodes of torchrun with one process each; NCCL refuses two of a host on one GPU, so each says that it
is a host of its own (NCCL_HOSTID). The network, ConvNeXt, has no batch norm: its losses do not depend on how a batch is split.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.gpu.chips import world
from benchmarks.gpu.notes import Notes, Setup

ROOT = Path(__file__).parents[2]
ARCH = "convnext_atto"
TOLERANCE = 0.02  # of the first losses, relative: the sums of gradients are rounded in another order
FIRST = 5  # steps


def measure(setup: Setup, notes: Notes) -> None:
    """Run both, and compare the logged losses."""
    places, batch = (24, 8) if setup.small else (300, 64)
    store = world(setup.work / "store", places, 64)
    count = torch.cuda.device_count()
    notes.add(gpus=count, arch=ARCH, batch=batch)
    options = f"--epochs 2 --batch-size {batch} --queue {4 * batch} --clusters 5 --season ignore".split()
    options += ["--arch", ARCH, "--precision", "32-true", "--device", setup.device, "--data", str(store)]
    one, two = (setup.work / name for name in ("one", "two"))
    command = [*options, "--out", str(two)]
    launched = [_start(setup, [], {}, [*options, "--out", str(one)], "one")]
    if count > 1:
        launched.append(_start(setup, ["--standalone", "--nproc-per-node", "2"], {}, command, "two"))
    else:
        point = f"127.0.0.1:{_free_port()}"
        nodes = (
            f"--nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint {point} --local-addr 127.0.0.1".split()
        )
        here = {"NCCL_SOCKET_IFNAME": "lo", "NCCL_IB_DISABLE": "1", "GLOO_SOCKET_IFNAME": "lo"}
        for rank in range(2):
            node = [*nodes, "--node-rank", str(rank), "--rdzv-conf", f"is_host={int(rank == 0)}"]
            launched.append(_start(setup, node, here | {"NCCL_HOSTID": f"host{rank}"}, command, f"two-{rank}"))
    _wait(launched, setup, notes)
    losses = [_losses(folder) for folder in (one, two)]
    steps = min(map(len, losses))
    first, second = (part[:steps] for part in losses)
    difference = np.abs(first - second) / np.abs(first)
    notes.add(steps=steps, losses_of_one=first[:FIRST].tolist(), losses_of_two=second[:FIRST].tolist(),
              largest_difference=float(difference.max()), largest_in_the_first=float(difference[:FIRST].max()))  # fmt: skip
    if difference[:FIRST].max() > TOLERANCE:
        notes.fail(
            "losses", f"differ by {difference[:FIRST].max():.3g} in the first {FIRST} steps (limit {TOLERANCE:g})"
        )


def _start(setup: Setup, launcher: list[str], more: dict[str, str], options: list[str], name: str) -> subprocess.Popen:
    run = ["-m", "torch.distributed.run", *launcher] if launcher else []
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"} | more
    with open(setup.work / f"{name}.log", "wb") as log:
        command = [sys.executable, *run, "-m", "core.train", "pretrain", *options]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)


def _wait(started: list[subprocess.Popen], setup: Setup, notes: Notes) -> None:
    """Wait for all; the log of each is part of this one's."""
    try:
        codes = [process.wait(max(setup.seconds - notes.seconds, 1)) for process in started]
    finally:
        for process in started:
            process.kill()
        for log in sorted(setup.work.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-6000:]}", flush=True)
            log.unlink()
    if any(codes):
        raise RuntimeError(f"exit codes {codes}; see the log")


def _losses(run: Path) -> np.ndarray:
    """Logged losses of a run, by step."""
    table = pd.read_csv(run / "logs" / "metrics.csv")
    return table.dropna(subset="loss").set_index("step")["loss"].sort_index().to_numpy()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
