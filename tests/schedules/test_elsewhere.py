"""Names of other tools: the line that is offered in their place gives their values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lrrun.config.yaml_text import parse_value
from lrrun.errors import ConfigError
from lrrun.schedules import build, parse
from lrrun.schedules.elsewhere import _TRANSLATED, meant, named_otherwise
from lrrun.units import Units

BASE, STEPS, EPOCH = 2e-3, 5000, 100
LINES = sorted(
    (name, match[0])
    for names in _TRANSLATED.values()
    for name, ours in names.items()
    if (match := re.match(r"\{.*\}", ours))
)


def rates(line: str) -> np.ndarray:
    schedule = build(parse(parse_value(line), path=()), BASE, Units(STEPS, EPOCH))
    return np.asarray(schedule(np.arange(STEPS)))


@pytest.mark.parametrize(("name", "line"), LINES, ids=[name for name, _ in LINES])
def test_every_line_that_is_offered_is_a_schedule(name: str, line: str) -> None:
    lrs = rates(line)
    assert np.all(np.isfinite(lrs)) and lrs.max() <= BASE * (1 + 1e-12)
    assert line in str(meant(name))
    assert line in str(meant(name.upper().replace("_", "-")))


def deepspeed(step: int) -> float:
    """WarmupDecayLR with warmup_type linear, 500 steps (deepspeed/runtime/lr_schedules.py)."""
    return step / 500 if step < 500 else (STEPS - step) / (STEPS - 500)


def fairseq_inverse_sqrt(step: int) -> float:
    """`lr_step = warmup_init_lr + updates · (lr - init)/W`, then `lr · √W / √updates`."""
    if step < 4000:
        return (1e-7 + step * (BASE - 1e-7) / 4000) / BASE
    return math.sqrt(4000) / math.sqrt(step)


def fairseq_polynomial(step: int) -> float:
    """polynomial_decay with power 1 and end_learning_rate 0, 500 warmup updates."""
    return step / 500 if step < 500 else 1 - (step - 500) / (STEPS - 500)


def nemo_cosine(step: int) -> float:
    """CosineAnnealing: (s+1)/(W+1), then a cosine over the rest, from min_lr = 10%."""
    if step < 500:
        return (step + 1) / 501
    progress = (step - 500) / (STEPS - 500)
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress))


def nemo_square_root(step: int) -> float:
    """SquareRootAnnealing: √((T - s)/T)."""
    return math.sqrt((STEPS - step) / STEPS)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("WarmupDecayLR", deepspeed),
        ("inverse_sqrt", fairseq_inverse_sqrt),
        ("polynomial_decay", fairseq_polynomial),
        ("CosineAnnealing", nemo_cosine),
        ("SquareRootAnnealing", nemo_square_root),
    ],
)
def test_the_line_gives_their_values(name: str, theirs: Callable[[int], float]) -> None:
    expected = [BASE * theirs(step) for step in range(STEPS)]
    np.testing.assert_allclose(rates(dict(LINES)[name]), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"type": "WarmupDecayLR", "params": {}}, "here it is written {name: linear"),
        ({"_target_": "torch.optim.lr_scheduler.StepLR"}, "write name: torch.optim.lr_scheduler."),
        ({"class_path": "a.B", "init_args": {}}, "name: a.B for class_path, and what is in init_"),
        ({"type": "MultiStepLR", "by_epoch": True}, "write name: mmengine.MultiStepLR for type"),
        ({"factor": 2}, "expected a schedule's name, got nothing"),
        ({"name": "lr_schedule.StepLR", "step_size": 2}, "unknown scheduler"),
    ],
)
def test_a_name_under_another_key_is_pointed_at(section: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(section)
    assert said in str(refused.value)


def test_a_name_that_a_library_of_ours_lacks_is_its_own_matter() -> None:
    assert meant("optax.linear_with_warmup") is None
    assert meant("nemo.core.optim.NoamAnnealing") is not None
    assert named_otherwise({"name": "cosine"}) is None


@pytest.mark.parametrize("name", ["lr_scheduler.StepLR", "optim.lr_scheduler.StepLR"])
def test_torch_may_be_imported_under_a_shorter_path(name: str) -> None:
    assert parse({"name": name, "step_size": 10})[0].entry.name == "torch.StepLR"


@pytest.mark.parametrize(
    "name", ["timm.scheduler.cosine_lr.CosineLRScheduler", "timm.scheduler.CosineLRScheduler"]
)
def test_a_librarys_inner_modules_are_passed_over(name: str) -> None:
    assert parse({"name": name, "t_initial": 10})[0].entry.name == "timm.CosineLRScheduler"


def test_a_key_that_torch_has_dropped_is_told_so() -> None:
    with pytest.raises(ConfigError, match="torch has dropped it"):
        parse({"name": "StepLR", "step_size": 10, "verbose": True})


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"name": "cosine", "min_lr": 1e-5}, "did you mean final?"),
        ({"name": "cosine", "num_warmup_steps": 10}, "did you mean warmup?"),
        ({"name": "step", "every": 3, "gamma": 0.1}, "did you mean factor?"),
        ({"name": "multistep", "milestones": [3]}, "did you mean at?"),
    ],
)
def test_keys_of_other_tools_are_translated(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(spec)
    assert said in str(refused.value)
