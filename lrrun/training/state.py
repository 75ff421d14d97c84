"""The state of a run as one value: plain data and tensors, from which it goes on bit for bit.

What is not in it is a function of the step: the learning rates, the rows of every update and their
augmentation.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrrun.errors import UnusableFile
from lrrun.training.bare_optimizer import bare
from lrrun.training.chance import chance, restore_chance
from lrrun.training.checkpoint_values import non_finite, shapes_problems
from lrrun.training.loop import Loop
from lrrun.training.standing import Standing
from lrrun.training.tally import Tally

State = dict[str, Any]

_WATCH = ("first", "average", "count")
_SHOWN = 4


def capture(loop: Standing) -> State:
    """The state of a loop that is at rest; its tensors are those that training goes on with.

    On an accelerator they are copied to the CPU.
    """
    trainee, updates = loop.trainee, loop.updates
    watch, early = updates.watch, loop.early_stop
    state = {
        "step": trainee.step,
        "samples": trainee.samples,
        "row_at": loop.row_at,
        "model": trainee.model.state_dict(),
        "optimizer": bare(trainee.optimizer.state_dict)(),
        "schedules": {name: each.state() for name, each in trainee.schedules.items()},
        "co_schedules": {name: each.state() for name, each in trainee.co_schedules.items()},
        "ema": None if trainee.ema is None else trainee.ema.state_dict(),
        "scaler": None if trainee.scaler is None else trainee.scaler.state_dict(),
        "watch": {name: getattr(watch, name) for name in _WATCH},
        "early_stop": None if early is None else {"best": early.best, "bad": early.bad},
        "tally": updates.tally.state(),
        "skips": updates.skips,
        "trail": updates.trail,
        "chance": chance(trainee.device),
    }
    on_cpu: State = _mapped(state, lambda tensor: tensor.detach().to("cpu"))
    return on_cpu


def copied(state: State) -> State:
    """The same with tensors of its own, for keeping in memory while training goes on."""
    copy_: State = _mapped(state, lambda tensor: tensor.clone())
    return copy_


def restore(loop: Loop, state: Mapping[str, Any]) -> None:
    """Put a loop that has not begun into `state`; raises UnusableFile where it does not fit."""
    trainee = loop.trainee
    try:
        check_fit(state, loop)
        restore_weights(loop, state)
        bare(trainee.optimizer.load_state_dict)(copy.copy(state["optimizer"]))
        restore_feedback(loop, state)
        restore_watches(loop, state)
        restore_place(loop, state)
        restore_chance(state["chance"], trainee.device)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UnusableFile(f"the checkpoint does not fit this run: {text}") from error


def check_fit(state: Mapping[str, Any], loop: Standing) -> None:
    """Raise UnusableFile, naming tensors and shapes, where the model is not the one that was saved,
    or where what was saved is not finite.
    """
    own = loop.trainee.model.state_dict()
    problems = shapes_problems(state["model"], own)
    if problems:
        rest = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        shown = "; ".join(problems[:_SHOWN])
        raise UnusableFile(f"the checkpoint does not fit this model: {shown}{rest}")
    wrong = non_finite(state["model"], own)
    if wrong:
        raise UnusableFile(f"the checkpoint holds non-finite weights: {', '.join(wrong[:_SHOWN])}")


def restore_weights(loop: Loop, state: Mapping[str, Any]) -> None:
    """The model, its moving average and the loss scale."""
    trainee = loop.trainee
    trainee.model.load_state_dict(state["model"])
    if trainee.ema is not None:
        if state["ema"] is None:  # the average begins here, as it would begin at step 0
            trainee.ema.module.load_state_dict(state["model"])
        else:
            trainee.ema.load_state_dict(state["ema"])
    if trainee.scaler is not None and state["scaler"] is not None:
        trainee.scaler.load_state_dict(state["scaler"])


def restore_feedback(loop: Standing, state: Mapping[str, Any]) -> None:
    """What the schedules have learnt from metrics."""
    for name, schedule in loop.trainee.schedules.items():
        schedule.restore(state["schedules"][name])
    for name, schedule in loop.trainee.co_schedules.items():
        schedule.restore(state["co_schedules"][name])


def restore_watches(loop: Standing, state: Mapping[str, Any]) -> None:
    """What is known of the losses so far, and the evaluations that brought nothing."""
    for name in _WATCH:
        setattr(loop.updates.watch, name, state["watch"][name])
    if loop.early_stop is not None and state["early_stop"] is not None:
        loop.early_stop.best = state["early_stop"]["best"]
        loop.early_stop.bad = state["early_stop"]["bad"]


def restore_place(loop: Standing, state: Mapping[str, Any]) -> None:
    """How far the run is, and what it has summed up since the last row."""
    loop.trainee.step, loop.trainee.samples = state["step"], state["samples"]
    loop.row_at = state["row_at"]
    loop.updates.tally = Tally.of(state["tally"])
    loop.updates.skips, loop.updates.trail = state["skips"], state["trail"]


def moments_only(saved: Mapping[str, Any], fresh: Optimizer, keys: set[str]) -> dict[str, Any]:
    """A state for an optimizer with settings of its own: saved moments, and what it keeps in its
    groups beside `keys`, which are the settings that its config decides.
    """
    groups = [
        {**old, **{key: value for key, value in new.items() if key in keys}}
        for old, new in zip(
            saved["param_groups"], bare(fresh.state_dict)()["param_groups"], strict=True
        )
    ]
    return {"state": saved["state"], "param_groups": groups}


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """The key paths at which two states differ in any bit; nan equals nan."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return [] if _same_bits(one, other) else [path]
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return [
            found
            for key in dict.fromkeys([*one, *other])
            for found in differences(one.get(key), other.get(key), f"{path}.{key}".lstrip("."))
        ]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        if len(one) != len(other):
            return [path]
        pairs = enumerate(zip(one, other, strict=True))
        return [found for k, (a, b) in pairs for found in differences(a, b, f"{path}[{k}]")]
    return [] if repr(one) == repr(other) else [path]


def _same_bits(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    a, b = (each.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for each in (one, other))
    return torch.equal(a, b)


def _mapped(value: Any, change: Any) -> Any:
    """The same containers, each tensor changed; what else hangs on a state_dict is kept."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        mapped = type(value)((key, _mapped(each, change)) for key, each in value.items())
        if hasattr(value, "_metadata"):
            mapped._metadata = value._metadata  # type: ignore[attr-defined]
        return mapped
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(each, change) for each in value)
    return value
