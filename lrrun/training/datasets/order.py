"""The order of the data, and other chance, as pure functions of the seed and a position."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

CPU = torch.device("cpu")


def key(purpose: str, *position: int) -> int:
    """A number in 0..2^64-1 that depends on its arguments alone: the first bytes of their BLAKE2b.

    Neighbouring seeds and steps give unrelated numbers.

    >>> key("rows", 0, 7) == key("rows", 0, 7) != key("rows", 7, 0)
    True
    """
    text = "/".join((purpose, *map(str, position)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def generator(purpose: str, *position: int, device: torch.device = CPU) -> torch.Generator:
    """A generator that depends on its arguments alone: ("augment", seed, step), for example.

    The arguments are hashed by `key`; neither torch's global generator nor Python's per-process
    hash has a say.

    >>> torch.equal(torch.rand(3, generator=generator("augment", 0, 7)),
    ...             torch.rand(3, generator=generator("augment", 0, 7)))
    True
    """
    return torch.Generator(device).manual_seed(key(purpose, *position))


def augmentation_generator(seed: int, step: int, device: torch.device = CPU) -> torch.Generator:
    """The chance that one optimizer step's augmentation has, so that a resume repeats it."""
    return generator("augment", seed, step, device=device)


def epoch_order(rows: int, seed: int, epoch: int) -> Tensor:
    """A permutation of 0..rows-1, int64 on the CPU, that is a function of (seed, epoch) alone.

    >>> sorted(epoch_order(5, seed=0, epoch=1).tolist())
    [0, 1, 2, 3, 4]
    """
    return torch.randperm(rows, generator=generator("order", seed, epoch))
