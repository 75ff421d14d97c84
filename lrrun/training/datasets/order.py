"""The order of the data, and other chance, as pure functions of the seed and a position."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

CPU = torch.device("cpu")


def generator(purpose: str, *position: int, device: torch.device = CPU) -> torch.Generator:
    """A generator that depends on its arguments alone: ("augment", seed, step), for example.

    The arguments are hashed (BLAKE2b), so that neighbouring seeds and steps are unrelated; neither
    torch's global generator nor Python's per-process hash has a say.

    >>> torch.equal(torch.rand(3, generator=generator("augment", 0, 7)),
    ...             torch.rand(3, generator=generator("augment", 0, 7)))
    True
    """
    key = "/".join((purpose, *map(str, position)))
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little"))


def augmentation_generator(seed: int, step: int, device: torch.device = CPU) -> torch.Generator:
    """The chance that one optimizer step's augmentation has, so that a resume repeats it."""
    return generator("augment", seed, step, device=device)


def epoch_order(rows: int, seed: int, epoch: int) -> Tensor:
    """A permutation of 0..rows-1, int64 on the CPU, that is a function of (seed, epoch) alone.

    >>> sorted(epoch_order(5, seed=0, epoch=1).tolist())
    [0, 1, 2, 3, 4]
    """
    return torch.randperm(rows, generator=generator("order", seed, epoch))
