"""The update rules of torch.optim for stacked replicas, in torch's own order of operations.

A rule updates the parameters w of one group in place; g is the gradient, t the number of the
update, and what the other symbols mean, and which paper a rule is from, torch's documentation says:
https://docs.pytorch.org/docs/stable/optim.html. Any number may be one for all replicas, or each
replica's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lrrun.training.fused.arithmetic import (
    Tensors,
    add_,
    add_quotients_,
    add_squares_,
    along,
    as_tensor,
    choose,
    fade_and_add_,
    is_zero,
    lerp_,
    plus,
    quotients,
    rounded,
    scale_,
    shift_,
    spread,
)
from lrrun.training.fused.group import Group


def sgd(group: Group) -> None:
    """SGD: b = μ b + (1 - d) g with dampening d, the first b = g; w -= lr b, or, by Nesterov,
    lr (g + μ b).
    """
    grads = group.decayed()
    momentum, lr = group.numbers["momentum"], group.numbers["lr"]
    if not is_zero(momentum):
        idle, fresh = momentum == 0, group.counter("fresh")
        begun = 1 - choose(idle, 1.0, fresh)  # without momentum there is no buffer: b is g
        buffers = group.moment("momentum_buffer")
        dampening = group.numbers["dampening"]
        share = 1.0 if is_zero(dampening) else 1 - dampening * begun
        fade_and_add_(buffers, momentum * begun, grads, share)
        group.counters["fresh"] = choose(idle, fresh, 0.0)
        grads = plus(grads, buffers, momentum) if group.switches["nesterov"] else buffers
    add_(group.parameters, grads, -lr)


def _adam_moments(group: Group, grads: Tensors) -> tuple[Tensors, Tensors]:
    """The moments m += (1 - β1) (g - m) and v = β2 v + (1 - β2) g²."""
    beta1, beta2 = group.numbers["beta1"], group.numbers["beta2"]
    means, squares = group.moment("exp_avg"), group.moment("exp_avg_sq")
    lerp_(means, grads, 1 - beta1)
    scale_(squares, beta2)
    add_squares_(squares, grads, 1 - beta2)
    return means, squares


def adam(group: Group) -> None:
    """Adam: w -= lr / (1 - β1^t) · m / (√v / √(1 - β2^t) + ε)."""
    step, grads = group.count(), group.decayed()
    means, squares = _adam_moments(group, grads)
    if group.switches["amsgrad"]:
        largest = group.moment("max_exp_avg_sq")
        torch._foreach_maximum_(largest, squares)
        squares = largest
    numbers = group.numbers
    roots = list(torch._foreach_sqrt(squares))
    below = quotients(roots, (1 - numbers["beta2"] ** step) ** 0.5)
    shift_(below, numbers["eps"])
    rate = numbers["lr"] / (1 - numbers["beta1"] ** step)
    add_quotients_(group.parameters, means, below, -rate)


def nadam(group: Group) -> None:
    """NAdam: with μ_t = β1 (1 - 0.96^(t ψ) / 2) and P_t = μ_1 ··· μ_t,
    w -= lr ((1 - μ_t) / (1 - P_t) · g + μ_{t+1} / (1 - P_{t+1}) · m) / (√(v / (1 - β2^t)) + ε).
    """
    step, grads = group.count(), group.decayed()
    numbers = group.numbers
    beta1, lr, decay = numbers["beta1"], numbers["lr"], numbers["momentum_decay"]
    mu = beta1 * (1.0 - 0.5 * 0.96 ** (step * decay))
    mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * decay))
    product = rounded(group.counter("mu_product") * rounded(mu))
    group.counters["mu_product"] = product
    means, squares = _adam_moments(group, grads)
    below = quotients(squares, 1 - numbers["beta2"] ** step)
    torch._foreach_sqrt_(below)
    shift_(below, numbers["eps"])
    add_quotients_(group.parameters, grads, below, -lr * (1.0 - mu) / (1.0 - product))
    add_quotients_(group.parameters, means, below, -lr * mu_next / (1.0 - product * mu_next))


def radam(group: Group) -> None:
    """RAdam: w -= lr m / (1 - β1^t), times r √(1 - β2^t) / (√v + ε) once v can be trusted:
    ρ_t > 5, with ρ_∞ = 2 / (1 - β2) - 1 and ρ_t = ρ_∞ - 2 t β2^t / (1 - β2^t).
    """
    step, grads = group.count(), group.decayed()
    means, squares = _adam_moments(group, grads)
    beta2 = group.numbers["beta2"]
    left = 1 - beta2**step
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * step * beta2**step / left
    tractable = length > 5.0
    share = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    adapted = choose(tractable, share, 1.0) ** 0.5 * choose(tractable, left, 1.0) ** 0.5
    rate = group.numbers["lr"] / (1 - group.numbers["beta1"] ** step) * adapted
    if tractable is False:
        add_(group.parameters, means, -rate)
        return
    below = list(torch._foreach_sqrt(squares))
    shift_(below, group.numbers["eps"])
    if isinstance(tractable, Tensor):
        below = [torch.where(along(tractable, each), each, 1) for each in below]
    add_quotients_(group.parameters, means, below, -rate)


def rmsprop(group: Group) -> None:
    """RMSprop: v = α v + (1 - α) g²; w -= lr g / (√v + ε), where the centered v is less the square
    of g's mean.
    """
    group.count()
    grads, numbers = group.decayed(), group.numbers
    squares, alpha = group.moment("square_avg"), numbers["alpha"]
    scale_(squares, alpha)
    add_squares_(squares, grads, 1 - alpha)
    if group.switches["centered"]:
        means = group.moment("grad_avg")
        lerp_(means, grads, 1 - alpha)
        squares = list(torch._foreach_addcmul(squares, means, means, value=-1))
    below = list(torch._foreach_sqrt(squares))
    shift_(below, numbers["eps"])
    if is_zero(numbers["momentum"]):
        add_quotients_(group.parameters, grads, below, -numbers["lr"])
        return
    buffers = group.moment("momentum_buffer")
    scale_(buffers, numbers["momentum"])
    torch._foreach_addcdiv_(buffers, grads, below)
    add_(group.parameters, buffers, -numbers["lr"])


def adagrad(group: Group) -> None:
    """Adagrad: s += g²; w -= lr / (1 + (t - 1) η) · g / (√s + ε)."""
    step, grads = group.count(), group.decayed()
    sums = group.moment("sum")
    add_squares_(sums, grads, 1.0)
    below = list(torch._foreach_sqrt(sums))
    shift_(below, group.numbers["eps"])
    rate = group.numbers["lr"] / (1 + (step - 1) * group.numbers["lr_decay"])
    add_quotients_(group.parameters, grads, below, -rate)


def adamax(group: Group) -> None:
    """Adamax: u = max(β2 u, |g| + ε); w -= lr / (1 - β1^t) · m / u."""
    step, grads = group.count(), group.decayed()
    numbers = group.numbers
    means, largest = group.moment("exp_avg"), group.moment("exp_inf")
    lerp_(means, grads, 1 - numbers["beta1"])
    scale_(largest, numbers["beta2"])
    sizes = list(torch._foreach_abs(grads))
    shift_(sizes, numbers["eps"])
    torch._foreach_maximum_(largest, sizes)
    rate = numbers["lr"] / (1 - numbers["beta1"] ** step)
    add_quotients_(group.parameters, means, largest, -rate)


def adadelta(group: Group) -> None:
    """Adadelta: v = ρ v + (1 - ρ) g²; d = √(u + ε) / √(v + ε) · g; w -= lr d, and
    u = ρ u + (1 - ρ) d².
    """
    group.count()
    grads, numbers = group.decayed(), group.numbers
    squares, changes = group.moment("square_avg"), group.moment("acc_delta")
    rho, eps = numbers["rho"], spread(numbers["eps"], squares)
    scale_(squares, rho)
    add_squares_(squares, grads, 1 - rho)
    below, deltas = torch._foreach_add(squares, eps), torch._foreach_add(changes, eps)
    torch._foreach_sqrt_(below)
    torch._foreach_sqrt_(deltas)
    torch._foreach_div_(deltas, below)
    torch._foreach_mul_(deltas, grads)
    scale_(changes, rho)
    add_squares_(changes, list(deltas), 1 - rho)
    add_(group.parameters, list(deltas), -numbers["lr"])


def asgd(group: Group) -> None:
    """ASGD: w = (1 - λ η_t) w - η_t g, and a += μ_t (w - a); η_{t+1} = lr / (1 + λ lr t)^α."""
    step, grads = group.count(), group.decayed()
    numbers, eta, mu = group.numbers, group.counter("eta"), group.counter("mu")
    scale_(group.parameters, 1 - numbers["lambd"] * eta)
    add_(group.parameters, grads, -eta)
    averages = group.moment("ax")
    ahead = list(torch._foreach_sub(group.parameters, averages))
    add_(averages, ahead, mu)
    rate = numbers["lr"]
    fallen = (1 + numbers["lambd"] * rate * step) ** numbers["alpha"]
    group.counters["eta"] = rounded(rate / fallen)
    past = step - numbers["t0"]
    group.counters["mu"] = rounded(1 / choose(past > 1, past, 1.0))


def rprop(group: Group) -> None:
    """Rprop: steps grow by η+ while g keeps its sign; where it turns, by η-, and w waits."""
    group.count()
    numbers = group.numbers
    steps, before = group.moment("step_size"), group.moment("prev")
    names = ("eta_minus", "eta_plus", "least", "most")
    for index, grad in enumerate(group.decayed()):
        shrink, grow, least, most = (
            along(as_tensor(numbers[name], grad.dtype, grad.device), grad) for name in names
        )
        turn = (grad * before[index]).sign()
        factor = torch.where(turn < 0, shrink, torch.where(turn > 0, grow, 1.0))
        steps[index].mul_(factor).clamp_(least, most)
        kept = torch.where(turn < 0, 0.0, grad)
        group.parameters[index].addcmul_(kept.sign(), steps[index], value=-1)
        before[index].copy_(kept)


@dataclass(frozen=True)
class Rule:
    """An update rule, what its moments and counters begin with where that is not 0, and the state
    that torch keeps only where the number or switch named is not 0.
    """

    update: Callable[[Group], None]
    starts: Mapping[str, float | str] = field(default_factory=dict)
    only_with: Mapping[str, str] = field(default_factory=dict)


COUNTERS = {"step", "mu_product", "eta", "mu", "fresh"}
"""The numbers among what rules remember; all but `fresh` are torch's."""

RULES: dict[type[torch.optim.Optimizer], Rule] = {
    torch.optim.SGD: Rule(sgd, {"fresh": 1.0}),
    torch.optim.Adam: Rule(adam),
    torch.optim.AdamW: Rule(adam),
    torch.optim.NAdam: Rule(nadam, {"mu_product": 1.0}),
    torch.optim.RAdam: Rule(radam),
    torch.optim.RMSprop: Rule(rmsprop, {}, {"momentum_buffer": "momentum"}),
    torch.optim.Adagrad: Rule(adagrad, {"sum": "initial_accumulator_value"}),
    torch.optim.Adamax: Rule(adamax),
    torch.optim.Adadelta: Rule(adadelta),
    torch.optim.ASGD: Rule(asgd, {"eta": "lr", "mu": 1.0}),
    torch.optim.Rprop: Rule(rprop, {"step_size": "lr"}),
}
"""By the class itself: a subclass may do something else."""
