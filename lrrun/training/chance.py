"""The global random generators: their state as plain data and tensors, and draws apart from it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from lrrun.training.devices import resolve_device


def chance(device: torch.device) -> dict[str, Any]:
    """What torch (on the CPU and on `device`), numpy and Python would draw next."""
    version, words, gauss = random.getstate()
    name, key, position, has_gauss, cached = np.random.get_state()
    state = {
        "torch": torch.get_rng_state(),
        "numpy": {
            "name": str(name),
            "key": torch.from_numpy(np.asarray(key).astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore_chance(state: Mapping[str, Any], device: torch.device) -> None:
    """Draw on as from `chance()`; a device of another kind than then keeps its own state."""
    torch.set_rng_state(state["torch"])
    kept = state["numpy"]
    key = kept["key"].numpy().astype(np.uint32)
    np.random.set_state((kept["name"], key, kept["position"], kept["has_gauss"], kept["cached"]))
    python = state["python"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    elif device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


@contextlib.contextmanager
def drawing_by(key: int) -> Iterator[None]:
    """A block in which torch (on the CPU), numpy and Python draw what `key`, 0..2^64-1, says.

    After it they draw on as if it had not been.

    >>> with drawing_by(7):
    ...     one = random.random(), np.random.rand(), torch.rand(()).item()
    >>> with drawing_by(7):
    ...     one == (random.random(), np.random.rand(), torch.rand(()).item())
    True
    """
    torch_, numpy_, python = torch.get_rng_state(), np.random.get_state(), random.getstate()
    torch.default_generator.manual_seed(key)  # torch.manual_seed would seed the accelerators too
    np.random.seed([key >> 32, key % 2**32])
    random.seed(key)
    try:
        yield
    finally:
        torch.set_rng_state(torch_)
        np.random.set_state(numpy_)
        random.setstate(python)


@contextlib.contextmanager
def undisturbed(device: str) -> Iterator[None]:
    """Leave every global random state, the thread count and torch's choice of algorithms alone.

    `device` is what a config says; its generator is kept along with those of the CPU.
    """
    resolved = resolve_device(device)
    before, threads = chance(resolved), torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    benchmark = torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        restore_chance(before, resolved)
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = benchmark
        if strict != torch.are_deterministic_algorithms_enabled():
            torch.use_deterministic_algorithms(strict)
