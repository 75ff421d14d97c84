"""Which rows the updates of a run took, as one hash that is chained from update to update."""

from __future__ import annotations

import hashlib

from torch import Tensor


def order_digest(order_N: Tensor) -> bytes:
    """What stands for an epoch's order of the data (int64, on the CPU) in its updates' hashes."""
    return hashlib.blake2b(order_N.numpy().tobytes(), digest_size=16).digest()


def extended(trail: str, order: bytes, begin: int, samples: int) -> str:
    """The hash after an update that took `samples` rows from place `begin` of an order.

    `trail` is the hash before it, empty at a run's begin. Two runs have the same one when, step by
    step, they took the same rows in the same order.
    """
    digest = hashlib.blake2b(trail.encode(), digest_size=16, key=order)
    digest.update(f"/{begin}/{samples}".encode())
    return digest.hexdigest()
