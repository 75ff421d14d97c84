"""The bare script that lrrun's start is held against: import torch, read the digits, train.

    python benchmarks/speed/bare.py TABLE

It says a line after its first epoch of one batch, as lrrun writes one, and goes on.
"""

import gzip
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

with gzip.open(sys.argv[1], "rt", encoding="ascii") as lines:
    rows = torch.from_numpy(np.loadtxt(lines, delimiter=",", dtype=np.uint8))
x, y = rows[:, :-1].float() / 16, rows[:, -1].long()
torch.manual_seed(0)
order = torch.randperm(len(x))
train, val = order[360:], order[:360]
model = nn.Sequential(
    nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for step in range(690):
    rows = train[torch.randint(len(train), (64,))]
    loss = F.cross_entropy(model(x[rows]), y[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        F.cross_entropy(model(x[val]), y[val]).item()
    print(f"step {step + 1}: {loss.item():.4f}", flush=True)
