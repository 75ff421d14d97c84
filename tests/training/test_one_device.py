"""No update mixes devices, or moves a tensor between them: the meta device stands for CUDA.

Its tensors have no data, so that whatever would fetch a number from it fails.
"""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lrrun.config.reading import experiment_from_text
from lrrun.training import optimizers, preparation, tuning
from lrrun.training.datasets import in_order
from lrrun.training.devices import resolve_device
from lrrun.training.loop import Loop
from lrrun.training.preparation import Prepared, prepare

ELSEWHERE = torch.device("meta")

CONFIG = """
model: {name: mlp, hidden: [16]}
dataset: {name: digits, batch_size: 500}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
train: {steps: 6, threads: 1}
"""

COPIES = (torch.ops.aten.copy_, torch.ops.aten._to_copy)


class Devices(TorchDispatchMode):
    """Refuses operations on tensors of two devices, and notes what is copied between them.

    Numbers on the CPU go as arguments; torch's fused kernels, which the meta device has not, take
    nothing but tensors of the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.moved: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operands = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        kinds = {each.device.type for each in operands}
        if func.overloadpacket in COPIES:
            kinds.add(torch.device(kwargs.get("device") or operands[0].device).type)
        elif len(kinds) > 1:
            whole = [each.shape for each in operands if each.device.type == "cpu" and each.ndim]
            assert not whole, f"{func} takes {whole} on the CPU"
        if func.overloadpacket in COPIES and len(kinds) > 1:
            self.moved.append(f"{func} {[tuple(each.shape) for each in operands]}")
        if "_fused_" in str(func):
            assert kinds == {"meta"}, f"{func} takes tensors on {kinds}"
            return None
        return func(*args, **kwargs)


class Numbers(TorchFunctionMode):
    """Notes what is made of Python's numbers on a device, which is a copy as well."""

    def __init__(self, moved: list[str]) -> None:
        super().__init__()
        self.moved = moved

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        makes = func in (torch.tensor, torch.as_tensor, Tensor.new_tensor)
        if makes and made.is_meta and not isinstance(args[-1], Tensor):
            self.moved.append(f"{func.__name__} of {args[-1]}")
        return made


@pytest.mark.parametrize(
    ("written", "expected"), [("cuda", "cuda:0"), ("auto", "cuda:0"), ("cuda:1", "cuda:1")]
)
def test_a_device_has_the_number_that_its_tensors_name(
    monkeypatch: pytest.MonkeyPatch, written: str, expected: str
) -> None:
    """torch.device("cuda") equals the device of no tensor."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device(written) == torch.device(expected)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Build experiments on a device that is not the CPU."""

    def build(*overrides: str) -> Prepared:
        experiment = experiment_from_text(CONFIG, overrides)
        here = prepare(experiment_from_text(CONFIG, [*overrides, "train.device=cpu"]))
        monkeypatch.setattr(preparation, "resolve_device", lambda written: ELSEWHERE)
        monkeypatch.setattr(preparation, "refuse_if_too_large", lambda *_: None)
        monkeypatch.setattr(tuning, "choose_capturing", lambda written, *_: written is not False)
        monkeypatch.setattr(tuning, "_untraceable", lambda *_: None)
        monkeypatch.setattr(optimizers, "FUSED_DEVICES", ("cpu", "meta"))
        base = importlib.import_module("torch.optim.optimizer")
        monkeypatch.setattr(base, "_get_fused_kernels_supported_devices", lambda: ["meta"])
        return preparation._build(experiment, here.data, here.fingerprint, tuning.UNDECIDED)

    return build


CASES: dict[str, tuple[str, ...]] = {
    "sgd": (),
    "adamw, groups": (
        "optimizer={name: adamw, lr: 0.1, groups: [{match: '*bias', lr_factor: 10%}]}",
    ),
    "adagrad": ("optimizer={name: adagrad, lr: 0.1}",),
    "averaged": ("train.ema=0.9",),
    "skipping": ("train.on_divergence=skip", "train.ema=0.9", "optimizer={name: adam, lr: 0.1}"),
    "clipped": ("train.clip_norm=1.0", "train.grad_norm=true"),
    "accumulated": ("train.accumulate=2", "dataset.batch_size=200"),
    "batch norm": ("model={name: resnet, depth: 8, width: 2}", "dataset.batch_size=8"),
    "gpt": (
        "model={name: gpt, layers: 1, heads: 2, width: 8}",
        "dataset={name: text, path: python-stdlib, max_bytes: 20000, context: 16, batch_size: 8}",
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("captured", [True, False])
def test_an_update_stays_on_its_device(elsewhere: Any, name: str, captured: bool) -> None:
    how = () if captured else ("train.cuda_graph=false",)
    with Devices() as devices, Numbers(devices.moved):
        ready = elsewhere(*CASES[name], *how)
        ready.trainee.traced = None  # how operations are recorded is another question
        experiment = ready.experiment
        loop = Loop(
            ready.trainee,
            ready.data,
            experiment.train,
            experiment.dataset.batch_size,
            ready.clock,
            0,
        )
        updates = loop.updates
        rates = updates._rates(0, 4)
        updates.feed.batches(0)
        numbers = updates._numbers(rates, 1.0)
        for step in range(3):
            devices.moved.clear()
            batches, samples = updates._batches(rates, step)
            if captured:
                assert updates.whole is not None
                inputs = [each for batch in batches for each in batch]
                (told,) = updates.whole._make(*inputs, numbers[step])
                assert told.device == ELSEWHERE
            else:
                loss = updates.update.gradients(batches, samples)
                _, good = updates.update.apply_unseen(loss, 1.0)
                assert good.device == ELSEWHERE
            assert devices.moved == []


@pytest.mark.parametrize("name", ["nadam", "radam", "rmsprop", "adadelta", "rprop"])
def test_an_update_of_an_optimizer_that_counts_on_the_cpu_mixes_no_devices(
    elsewhere: Any, name: str
) -> None:
    with Devices() as devices, Numbers(devices.moved):
        ready = elsewhere(f"optimizer={{name: {name}, lr: 0.1}}", "train.cuda_graph=false")
        loop = Loop(ready.trainee, ready.data, ready.experiment.train, 500, ready.clock, 0)
        rates = loop.updates._rates(0, 3)
        loop.updates.feed.batches(0)
        for step in range(2):
            devices.moved.clear()
            batches, samples = loop.updates._batches(rates, step)
            loss = loop.updates.update.gradients(batches, samples)
            loop.updates.update.apply_unseen(loss, 1.0)
            assert devices.moved == []


def test_an_evaluation_stays_on_its_device(elsewhere: Any) -> None:
    with Devices() as devices, torch.no_grad():
        ready = elsewhere("train.ema=0.9")
        trainee, val = ready.trainee, ready.data.val
        devices.moved.clear()
        for x, y in in_order(val, len(val), 100, trainee.device):
            sums = trainee.task.evaluate_batch(trainee.evaluated(x), y)
            assert sums.device == ELSEWHERE
        assert devices.moved == []
