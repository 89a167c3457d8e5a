#!/usr/bin/env bash
# One would guess: torchgeo's RCF (random convolutional features) draws other weights for each seed; without a seed each instance differs,
# and torch.manual_seed decides, as for the layers of torch.
# What happens (torchgeo 0.8.1): it draws from a generator of its own, whose state is a constant until it is seeded, and seeds it only if
# the seed is true. RCF() and RCF(seed=0) are therefore one and the same network: in every instance and process, whatever
# torch.manual_seed says. Biases are drawn in the same way. Seeds from 1 on differ as expected.
# Who meets it: loops over seeds 0, 1, 2 (seed 0 is that of no seed), and runs without a seed that are averaged to show the spread of
# random features, which is 0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "torchgeo==0.8.1" "torch==2.15.0" "torchvision==0.29.2" "requests==2.34.2"
cat > probe.py <<'PY'
import torch
import torchgeo
from torchgeo.models import RCF


def weights(process_seed, **options):
    torch.manual_seed(process_seed)
    made = RCF(in_channels=3, features=8, kernel_size=3, **options)
    return torch.cat([made.weights.flatten(), made.biases.flatten()])


print(f"torchgeo {torchgeo.__version__}, torch {torch.__version__}")
none, again = weights(1), weights(2)
zero, one, two = (weights(3, seed=seed) for seed in range(3))
torch.manual_seed(1)
layer = torch.nn.Conv2d(3, 8, 3).weight.clone()
torch.manual_seed(2)
print("two layers of torch are equal:", torch.equal(layer, torch.nn.Conv2d(3, 8, 3).weight))
print("RCF() and RCF() after another torch.manual_seed are equal:", torch.equal(none, again))
print("RCF() and RCF(seed=0) are equal:", torch.equal(none, zero))
print("RCF(seed=1) and RCF(seed=2) are equal:", torch.equal(one, two))
assert torch.equal(none, again)
assert torch.equal(none, zero)
assert not torch.equal(one, zero)
assert not torch.equal(one, two)
PY
venv/bin/python -W ignore probe.py
