#!/usr/bin/env bash
# One would guess: the queue of negatives is part of MoCo's state, as in the authors' code, where it is a buffer of the checkpoint; so a run of
# lightly's or torchgeo's MoCo that is resumed from a checkpoint goes on as if it had not stopped.
# What happens (lightly 1.6.0, torchgeo 0.8.1): the memory bank is a buffer that is left out of state_dict(), and loading says nothing of a missing
# key. The resumed run contrasts with random vectors, which are easily told from images: the loss of the same batch is 0.07 instead of 4.50 here,
# and stays too low until the bank is full again. MoCoTask of torchgeo (v1 and v2 with a bank) does not keep it either.
# Who meets it: whoever trains in parts (queues of a cluster, preemptible machines): one sees a loss that falls at each resumption, and each
# time the encoder learns for a while from negatives that teach nothing. Store and restore ``memory_bank.bank`` and ``bank_ptr`` oneself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "lightly==1.6.0" "torchgeo==0.8.1" "torch==2.15.0" "torchvision==0.29.2" "requests==2.34.2"
cat > probe.py <<'PY'
from importlib.metadata import version

import torch
from lightly.loss import NTXentLoss
from torchgeo.trainers import MoCoTask

torch.manual_seed(0)
SIZE, WIDTH, BATCH = 512, 64, 32
centre = torch.randn(WIDTH)


def batch():
    """Two views of images, projected: all images look alike, as land does to a young encoder."""
    images = centre + 0.5 * torch.randn(BATCH, WIDTH)
    return images + 0.2 * torch.randn(BATCH, WIDTH), images + 0.2 * torch.randn(BATCH, WIDTH)


def loss_of(criterion, views):
    with torch.no_grad():  # the bank is not updated without a gradient
        return criterion(*views).item()


print(f"lightly {version('lightly')}, torchgeo {version('torchgeo')}, torch {torch.__version__}")
running = NTXentLoss(temperature=0.1, memory_bank_size=(SIZE, WIDTH))
for _ in range(SIZE // BATCH):
    one, other = batch()
    running(one.requires_grad_(), other)
torch.save(running.state_dict(), "last.ckpt")
resumed = NTXentLoss(temperature=0.1, memory_bank_size=(SIZE, WIDTH))
missing = resumed.load_state_dict(torch.load("last.ckpt"))
views = batch()
before, after = loss_of(running, views), loss_of(resumed, views)
print("in the checkpoint:", list(running.state_dict()) or "nothing")
print("said by load_state_dict:", missing)
print(f"loss of one batch before the stop {before:.2f}, resumed {after:.2f}")
for _ in range(SIZE // BATCH):
    one, other = batch()
    resumed(one.requires_grad_(), other)
print(f"and after {SIZE // BATCH} further batches {loss_of(resumed, views):.2f}")
task = MoCoTask(model="resnet18", in_channels=3, version=2, memory_bank_size=SIZE, size=32)
buffers = [name for name, _ in task.named_buffers() if "bank" in name]
kept = [name for name in task.state_dict() if "bank" in name]
print(f"torchgeo's MoCoTask: buffers {buffers}, in its state_dict {kept or 'none of them'}")
assert not running.state_dict()
assert not missing.missing_keys
assert after < before / 2 < loss_of(resumed, views)
assert buffers and not kept
PY
venv/bin/python -W ignore probe.py
