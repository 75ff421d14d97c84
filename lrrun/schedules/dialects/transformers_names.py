"""transformers: the names that get_scheduler and the Trainer's lr_scheduler_type know.

The arguments are get_scheduler's, and those of the schedule's own function, which may stand in
`scheduler_specific_kwargs`, as in the library, or directly beside the others.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from lrrun.registry import unknown_argument
from lrrun.schedules.base import BadArgument, Curve, Span
from lrrun.schedules.catalogue import Parameter, register
from lrrun.schedules.dialects import transformers
from lrrun.schedules.dialects.torch import of_group
from lrrun.schedules.dialects.torch_compositions import reduce_lr_on_plateau
from lrrun.schedules.dialects.transformers_wsd import get_wsd_schedule
from lrrun.schedules.feedback import Improvement, Reactive
from lrrun.schedules.plateau import Greedy


@register("transformers.get_greedy_schedule", holds=False, clock="step")
def get_greedy_schedule(
    span: Span,
    *,
    mode: Literal["min", "max"] = "min",
    factor: float = 0.95,
    patience: int = 10,
    threshold: float = 1e-6,
    threshold_mode: Literal["rel", "abs"] = "abs",
    cooldown: int = 0,
    warmup: int = 0,
    min_lr: float | list[float] = 1e-3,
    max_lr: float | list[float] = 1.0,
    eps: float = 1e-8,
    verbose: bool = False,
    smooth: bool = False,
    window_size: int = 50,
    reset_start: int = 500,
    metric: str = "val_loss",
) -> Curve:
    """GreedyLR: up while a metric improves, down while it does not.

    More than `patience` evaluations in a row that improve on the best make lr → min(lr / factor,
    max_lr); more than `patience` that do not make lr → max(lr · factor, min_lr). After a rise
    `warmup` evaluations are not counted, after a cut `cooldown`. `smooth` watches the mean of the
    last window_size metrics. The reset_start-th cut in a row that finds the LR at min_lr starts all
    over. `metric`, our own addition, names what is watched; `verbose` changes nothing here. Trap:
    the defaults let an LR below 1e-3 only rise.

    Source: arXiv:2512.14527.
    """
    if not 0 < factor < 1:
        raise BadArgument("factor", f"expected a factor between 0 and 1, got {factor:g}")
    if window_size < 1:
        raise BadArgument("window_size", f"expected at least 1, got {window_size}")
    rule = Greedy(
        improvement=Improvement.by(mode, threshold, threshold_mode),
        patience=patience,
        cooldown=cooldown,
        warmup=warmup,
        start=span.start,
        factor=factor,
        min_lr=of_group(span, "min_lr", min_lr),
        max_lr=of_group(span, "max_lr", max_lr),
        eps=eps,
        window=window_size if smooth else 1,
        reset=reset_start,
    )
    return Reactive(span.start, metric, rule, rule.effect)


@register("transformers.AdafactorSchedule", holds=False, clock="step", own_lr="name")
def adafactor_schedule(
    span: Span,
    *,
    initial_lr: float = 0.0,
    scale_parameter: bool = False,
    relative_step: bool = True,
    warmup_init: bool = False,
) -> Curve:
    """The relative step size that Adafactor takes when it is given no LR.

    lr(s) = min(c, 1 / √n), n = s + 1, with c = 0.01, or 1e-6 · n with `warmup_init`; the base LR
    plays no part. `scale_parameter` would multiply it by each parameter's own root mean square,
    which no schedule knows; `initial_lr` is what the library shows before the first step.

    Source: Shazeer & Stern, Adafactor, 2018, https://arxiv.org/abs/1804.04235.
    """
    if scale_parameter:
        text = "expected false: it scales the LR by each parameter's RMS, which is the optimizer's"
        raise BadArgument("scale_parameter", f"{text} to do (torch.optim.Adafactor does)")
    if not relative_step:
        text = "expected true: without it Adafactor uses the LR that it is given; write constant"
        raise BadArgument("relative_step", text)
    return lambda s: np.minimum(1e-6 * (s + 1) if warmup_init else 0.01, 1.0 / np.sqrt(s + 1))


def _by_name(name: str, function: Callable[..., Curve], *required: str) -> None:
    """Enter `function` as get_scheduler's `name`, with get_scheduler's arguments before its own."""
    span, *declared = inspect.signature(function, eval_str=True).parameters.values()
    specific = [p for p in declared if p.name not in (*_GENERAL, "last_epoch")]
    taken = {p.name for p in declared}

    @functools.wraps(function)
    def build(span: Span, **given: Any) -> Curve:
        for key in required:
            if given.get(key) is None:
                fix = transformers.whole_run(span) if key == "num_training_steps" else "0 is none"
                raise BadArgument(key, f"missing: {name} needs it; {fix}")
        nested = given.pop("scheduler_specific_kwargs", None)
        arguments = {**given, **_specific(name, nested, given, specific)}
        for p in specific:
            if p.default is p.empty and p.name not in arguments:
                raise BadArgument(p.name, f"missing: {name} needs it")
        return function(span, **{key: value for key, value in arguments.items() if key in taken})

    kept = [p.replace(default=None) if p.default is p.empty else p for p in specific]
    signature = inspect.Signature([span, *_GENERAL.values(), *kept])
    build.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    vars(build)["__signature__"] = signature
    register(f"transformers.{name}", holds=False, clock="step")(build)


_GENERAL = {
    name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
    for name, kind in (
        ("num_warmup_steps", int | None),
        ("num_training_steps", int | None),
        ("scheduler_specific_kwargs", Any),
    )
}
"""get_scheduler's own parameters; a schedule that has no use for one leaves it aside."""

_IGNORING = ("constant", "constant_with_warmup")
"""Names for which get_scheduler does not look at scheduler_specific_kwargs."""


def _specific(
    name: str, nested: Any, given: Mapping[str, Any], parameters: list[inspect.Parameter]
) -> dict[str, Any]:
    """The arguments in scheduler_specific_kwargs, read as those beside it are."""
    if nested is None or name in _IGNORING:
        return {}
    if not isinstance(nested, Mapping):
        raise BadArgument("scheduler_specific_kwargs", f"expected a mapping, got {nested!r}")
    known = {p.name: Parameter(p.name, p.annotation, p.default) for p in parameters}
    arguments = {}
    for key, value in nested.items():
        if key not in known:
            text = f"{key}: {unknown_argument(str(key), known)}"
            raise BadArgument("scheduler_specific_kwargs", text)
        if key in given:
            text = f"{key} stands here and beside it; write it once"
            raise BadArgument("scheduler_specific_kwargs", text)
        try:
            arguments[key] = known[key].read(value)
        except ValueError as error:
            raise BadArgument("scheduler_specific_kwargs", f"{key}: {error}") from None
    return arguments


_BOTH = ("num_warmup_steps", "num_training_steps")
_by_name("linear", transformers.get_linear_schedule_with_warmup, *_BOTH)
_by_name("cosine", transformers.get_cosine_schedule_with_warmup, *_BOTH)
_by_name(
    "cosine_with_restarts",
    transformers.get_cosine_with_hard_restarts_schedule_with_warmup,
    *_BOTH,
)
_by_name("polynomial", transformers.get_polynomial_decay_schedule_with_warmup, *_BOTH)
_by_name("constant", transformers.get_constant_schedule)
_by_name("constant_with_warmup", transformers.get_constant_schedule_with_warmup, "num_warmup_steps")
_by_name("inverse_sqrt", transformers.get_inverse_sqrt_schedule, "num_warmup_steps")
_by_name("cosine_with_min_lr", transformers.get_cosine_with_min_lr_schedule_with_warmup, *_BOTH)
_by_name(
    "cosine_warmup_with_min_lr",
    transformers.get_cosine_with_min_lr_schedule_with_warmup_lr_rate,
    *_BOTH,
)
_by_name("warmup_stable_decay", get_wsd_schedule, "num_warmup_steps")
_by_name("reduce_lr_on_plateau", reduce_lr_on_plateau)
_by_name("greedy", get_greedy_schedule)
register("transformers.get_reduce_on_plateau_schedule", holds=False, clock="step")(
    reduce_lr_on_plateau
)
