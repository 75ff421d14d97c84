"""The state of every global random generator, as plain data and tensors."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


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
