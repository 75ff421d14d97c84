"""What a checkpoint may hold: plain values and dense tensors in memory of their own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_SCALARS = (type(None), bool, int, float, str)
_EXPECTED = "expected None, bool, int, float, str, list, tuple, dict or a dense CPU tensor"
_DEPTH = 50


def plain(value: Any, path: str = "checkpoint") -> Any:
    """A copy of the containers of `value`, ready to be saved.

    Types are taken exactly: an np.float64 is a float to isinstance, and makes the whole file
    unreadable under `weights_only=True`. A tensor that shows a part of a larger memory gets its
    own. Raises TypeError, naming the key path, for anything else.

    >>> plain({"lr": [0.1], "step": 3})
    {'lr': [0.1], 'step': 3}
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is Tensor:
        return _own(value, path)
    if kind in (list, tuple):
        return kind(plain(each, f"{path}[{k}]") for k, each in enumerate(value))
    if kind is dict or kind is OrderedDict:
        copy: Any = kind(
            (_key(key, path), plain(each, f"{path}.{key}")) for key, each in value.items()
        )
        if hasattr(value, "_metadata"):  # the versions of a state_dict's modules
            copy._metadata = plain(value._metadata, f"{path}._metadata")
        return copy
    raise TypeError(f"{path}: {_EXPECTED}, got {kind.__module__}.{kind.__qualname__}")


def _key(key: Any, path: str) -> str | int:
    if type(key) is str or type(key) is int:
        return key
    raise TypeError(f"{path}: a key is str or int, got {type(key).__name__} {key!r}")


def _own(tensor: Tensor, path: str) -> Tensor:
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise TypeError(
            f"{path}: {_EXPECTED}, got one with layout {tensor.layout} on {tensor.device}"
        )
    tensor = tensor.detach().resolve_conj().resolve_neg()
    return tensor if is_dense(tensor) else tensor.clone(memory_format=torch.contiguous_format)


def is_dense(tensor: Tensor) -> bool:
    """True for a strided CPU tensor whose elements fill its memory, each once.

    >>> is_dense(torch.zeros(2, 3).T), is_dense(torch.zeros(4)[:2])
    (True, False)
    """
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        return False
    if tensor.is_conj() or tensor.is_neg():
        return False
    if tensor.numel() * tensor.itemsize != tensor.untyped_storage().nbytes():
        return False
    step = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if tensor.numel() and size > 1:
            if stride != step:
                return False
            step *= size
    return True


def problem_of(value: Any) -> str | None:
    """What in a loaded checkpoint is not what `plain` lets through, or None.

    `plain` copies every container, so a list or dict that occurs twice (a cycle, or a few bytes
    that stand for billions) was not written by it.
    """
    return _problem(value, "", set(), 0)


def _problem(value: Any, path: str, seen: set[int], depth: int) -> str | None:
    kind = type(value)
    if kind in _SCALARS:
        return None
    if kind is Tensor:
        return None if is_dense(value) else f"{path}: not a dense tensor in memory of its own"
    if kind not in (list, tuple, dict, OrderedDict):
        return f"{path}: a {kind.__name__}"
    if value and (id(value) in seen or depth > _DEPTH):
        return f"{path}: nested too deep, or into itself"
    seen.add(id(value))
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str and type(key) is not int:
                return f"{path}: a key of type {type(key).__name__}"
        inside = [(f"{path}.{key}", each) for key, each in value.items()]
        inside.append((f"{path}._metadata", getattr(value, "_metadata", None)))
    else:
        inside = [(f"{path}[{k}]", each) for k, each in enumerate(value)]
    found = (_problem(each, name, seen, depth + 1) for name, each in inside)
    return next((problem for problem in found if problem is not None), None)


def shapes_problems(state: Any, model_state: Mapping[str, Tensor]) -> list[str]:
    """How a checkpoint's tensors do not fit a model's state_dict: every name, shape and dtype.

    Look before anything is copied: an empty list means that each tensor has its place.

    >>> shapes_problems({"w": torch.zeros(64, 128)}, {"w": torch.zeros(64, 256)})
    ['w is 64x128, this model needs 64x256']
    """
    if not isinstance(state, Mapping):
        return [f"expected tensors by name, got a {type(state).__name__}"]
    problems = [f"{name} is missing" for name in model_state if name not in state]
    for name, value in state.items():
        if name not in model_state:
            problems.append(f"{name} is not in this model")
        elif not isinstance(value, Tensor):
            problems.append(f"{name} is a {type(value).__name__}, this model needs a tensor")
        elif value.shape != model_state[name].shape:
            needed = _shape(model_state[name])
            problems.append(f"{name} is {_shape(value)}, this model needs {needed}")
        elif value.dtype != model_state[name].dtype:
            problems.append(f"{name} is {value.dtype}, this model needs {model_state[name].dtype}")
    return problems


def non_finite(state: Mapping[str, Tensor], model_state: Mapping[str, Tensor]) -> list[str]:
    """The names of tensors that hold nan or inf where the fresh model has a finite number.

    >>> mask = torch.tensor([0.0, -float("inf")])
    >>> non_finite({"w": mask, "mask": mask}, {"w": torch.zeros(2), "mask": mask})
    ['w']
    """
    return [
        name
        for name, fresh in model_state.items()
        if bool((~torch.isfinite(state[name]) & torch.isfinite(fresh.to("cpu"))).any())
    ]


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
