"""Which key holds the LR, and the same experiment at another one."""

from __future__ import annotations

import pytest

from lrrun.config.reading import experiment_from_text
from lrrun.errors import UsageError
from lrrun.search.lr_key import at_lr, changed, lr_keys

CONFIG = """
model: linear
dataset: {{name: synthetic-classification, rows: 100, batch_size: 20}}
optimizer: {optimizer}
scheduler: {scheduler}
train: {{epochs: 2}}
"""
ONE_CYCLE = "{name: OneCycleLR, max_lr: 0.1, total_steps: 8}"


@pytest.mark.parametrize(
    ("optimizer", "scheduler", "keys"),
    [
        ("{name: sgd, lr: 0.1}", "cosine", ("optimizer.lr",)),
        ("{name: sgd, momentum: 0.9}", ONE_CYCLE, ("scheduler.max_lr",)),
        ("{name: sgd, lr: 0.1, momentum: 0.9}", ONE_CYCLE, ("scheduler.max_lr", "optimizer.lr")),
        (
            "{name: sgd}",
            "[{name: optax.cosine_decay_schedule, init_value: 0.1, decay_steps: 8}]",
            ("scheduler[0].init_value",),
        ),
    ],
    ids=["the optimizer's", "the schedule's", "both", "in a list"],
)
def test_the_key_that_holds_the_lr(optimizer: str, scheduler: str, keys: tuple[str, ...]) -> None:
    experiment = experiment_from_text(CONFIG.format(optimizer=optimizer, scheduler=scheduler))
    assert lr_keys(experiment) == keys
    assert changed(experiment, at_lr(experiment, 3e-7)).base_lr == 3e-7


def test_several_lrs_are_no_one_lr() -> None:
    scheduler = "{name: OneCycleLR, max_lr: [0.1], total_steps: 8}"
    text = CONFIG.format(optimizer="{name: sgd, momentum: 0.9}", scheduler=scheduler)
    with pytest.raises(UsageError, match=r"scheduler\.max_lr holds several LRs"):
        lr_keys(experiment_from_text(text))
