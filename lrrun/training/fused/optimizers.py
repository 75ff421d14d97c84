"""The torch optimizers of K replicas as one, whose numbers may differ from replica to replica.

Shapes: K replicas, G param groups; stacked tensors are (K, ...).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lrrun.training.bare_optimizer import bare
from lrrun.training.devices import is_waited_for
from lrrun.training.fused.arithmetic import (
    Number,
    Tensors,
    along,
    as_tensor,
    choose,
    of,
    scalar_dtype,
    spread,
    with_one,
)
from lrrun.training.fused.blocks import Block
from lrrun.training.fused.group import Group
from lrrun.training.fused.group_options import flat, numbers_of, switches_of, write_number
from lrrun.training.fused.refusal import NotFusable
from lrrun.training.fused.rules import COUNTERS, RULES
from lrrun.training.fused.stack import FusedModel


class FusedOptimizer:
    """One torch.optim optimizer a replica, stepping together.

    Numbers (lr, momentum, beta1, beta2, eps, weight_decay, ...) may differ by replica and group.
    """

    def __init__(self, model: FusedModel, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """`optimizers[k]` was made by build_optimizer for the k-th module that `model` was stacked
        from; its state is not taken over (see `load`).

        Raises NotFusable: no rule for the class, or groups or switches that differ.
        """
        first = optimizers[0]
        self.model = model
        kinds = {type(each) for each in optimizers}
        if len(kinds) > 1 or type(first) not in RULES:
            names = ", ".join(sorted(each.__name__ for each in kinds))
            raise NotFusable(f"the optimizer {names}, for which there is no stacked rule")
        self.rule = RULES[type(first)]
        self._options = [
            copy.deepcopy(bare(each.state_dict)()["param_groups"]) for each in optimizers
        ]
        self._written: set[tuple[int, str]] = set()
        self._in_place = False
        alike = list(zip(*(each.param_groups for each in optimizers), strict=True))
        model.lay_out([self._trained(each[0])[1] for each in alike])
        pairs = zip(alike, model.groups, strict=True)
        self.groups = [self._group(groups, blocks) for groups, blocks in pairs]

    def _trained(self, group: Mapping[str, Any]) -> tuple[list[int], list[str]]:
        """Which of a group's parameters require a gradient, and their names."""
        names = {id(each): name for name, each in self.model.module.named_parameters()}
        places = [k for k, each in enumerate(group["params"]) if each.requires_grad]
        return places, [names[id(group["params"][k])] for k in places]

    def _group(self, groups: Sequence[Mapping[str, Any]], blocks: Sequence[Block]) -> Group:
        shapes = [each.shape for each in groups[0]["params"]]
        if any([each.shape for each in group["params"]] != shapes for group in groups[1:]):
            raise NotFusable("param groups that differ in their parameters")
        places, names = self._trained(groups[0])
        return Group(
            places=places,
            names=names,
            blocks=blocks,
            numbers=numbers_of(groups, self.model.device),
            switches=switches_of(groups),
            starts=self.rule.starts,
        )

    def set(self, group: int, name: str, values_K: Tensor) -> None:
        """Set a number of a group: lr, momentum, beta1, beta2, weight_decay, ...

        values_K is float64 and on the device; it is read at the next steps, so leave it as it is.
        """
        self.groups[group].numbers[name] = values_K
        self._written.add((group, name))

    def count_in_place(self) -> None:
        """Keep what rules count in tensors that stay where they are, for a captured step."""
        self._in_place = True
        for group in self.groups:
            self._settle(group, {})

    def step(self, active_K: Tensor | None = None) -> None:
        """Update; replicas that are not active (bool; None: all are) keep weights and state."""
        with torch.no_grad():
            for group in self.groups:
                places = dict(group.counters)
                if active_K is None:
                    self.rule.update(group)
                else:
                    self._update_some(group, active_K)
                if self._in_place:
                    self._settle(group, places)

    def _settle(self, group: Group, places: Mapping[str, Number]) -> None:
        """Put a group's counters where they were before, or into places of their own."""
        for name, value in group.counters.items():
            place = places.get(name)
            if not isinstance(place, Tensor):
                place = torch.empty(self.model.replicas, dtype=torch.float64, device=group.device)
            group.counters[name] = place.copy_(as_tensor(value, place.dtype, place.device))

    def _update_some(self, group: Group, active_K: Tensor) -> None:
        rows = _IdleRows(active_K)
        kept = rows.of(group.parameters)
        moments = {name: rows.of(group.moments[name]) for name in group.moments}
        counters = dict(group.counters)
        self.rule.update(group)
        rows.put_back(group.parameters, kept)
        for name, tensors in group.moments.items():
            before = moments.get(name) or rows.of(group.new_moment(name))
            rows.put_back(tensors, before)
        for name, value in group.counters.items():
            before_K = counters[name] if name in counters else group.start(name)
            group.counters[name] = choose(active_K, value, before_K)

    def norms(self) -> Tensor:
        """norms_K: the 2-norm of all of a replica's gradients together."""
        vector_norm = torch.linalg.vector_norm
        each_K = [vector_norm(grads_KP, dim=1) for grads_KP in self._gradients]
        total_K: Tensor = vector_norm(torch.stack(each_K), dim=0) if each_K[1:] else each_K[0]
        return total_K

    def clip(self, max_norms_K: Tensor) -> Tensor:
        """Scale gradients as clip_grad_norm_ does, by max_norm / (norm + 1e-6) where that is below
        1; norms_K before that. A max_norm of inf leaves a replica's gradients alone.
        """
        norms_K = self.norms()
        share_K = (max_norms_K / (norms_K + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(self._gradients, spread(share_K, self._gradients))
        return norms_K

    def sums(self) -> Tensor:
        """sums_K of all gradients: finite where they all are, as a solo run tells it."""
        each_K = [grads_KP.sum(1) for grads_KP in self._gradients]
        return torch.stack(each_K).sum(0) if each_K[1:] else each_K[0]

    @property
    def _gradients(self) -> Tensors:
        """Of the parameters that are trained."""
        return [each for group in self.groups for each in group.grads]

    def state_dict(self, k: int) -> dict[str, Any]:
        """What replica k's own torch optimizer would give: plain floats, tensors of own memory."""
        options = copy.deepcopy(self._options[k])
        for index, name in self._written:
            write_number(options[index], name, of(self.groups[index].numbers[name], k))
        state: dict[int, dict[str, Any]] = {}
        for group, plain in zip(self.groups, options, strict=True):
            kept = self._kept(group, k)
            if kept is None:
                continue
            counters, moments = kept
            for each, place in enumerate(group.places):
                state[plain["params"][place]] = {
                    **{name: value.clone() for name, value in counters.items()},
                    **{name: views[each][k].clone() for name, views in moments.items()},
                }
        return {"state": state, "param_groups": options}

    def _kept(self, group: Group, k: int) -> tuple[dict[str, Tensor], dict[str, Tensors]] | None:
        """What torch keeps for each parameter of a group: its scalars, and its moments as views of
        all replicas'. None before the first update.
        """
        counters = {name: of(value, k) for name, value in group.counters.items()}
        begun = counters.get("step", 1) and not counters.pop("fresh", 0)
        if not (begun and group.moments):
            return None
        moments = {}
        for name, tensors in group.moments.items():
            needs = self.rule.only_with.get(name)
            if needs is None or of(group.numbers[needs], k):
                moments[name] = group.views(tensors)
        dtype = scalar_dtype()
        scalars = {name: torch.tensor(value, dtype=dtype) for name, value in counters.items()}
        return scalars, moments

    def load(self, k: int, state: Mapping[str, Any]) -> None:
        """Put replica k into such a state."""
        self._options[k] = copy.deepcopy(state["param_groups"])
        count = self.model.replicas
        for group, plain in zip(self.groups, state["param_groups"], strict=True):
            for name, value in flat(plain).items():
                if name in group.numbers:
                    number = group.numbers[name]
                    group.numbers[name] = with_one(number, k, float(value), count, group.device)
            kept = [state["state"].get(plain["params"][place], {}) for place in group.places]
            self._load_state(group, k, kept)

    def _load_state(self, group: Group, k: int, kept: Sequence[Mapping[str, Any]]) -> None:
        """Put replica k's part of a group into the states of its parameters, one of each."""
        for name in group.moments.keys() | {each for each in kept[0] if each not in COUNTERS}:
            views, start = group.views(group.moment(name)), group.views(group.new_moment(name))
            for tensor, fresh, saved in zip(views, start, kept, strict=True):
                tensor[k].copy_(saved.get(name, fresh[k]))
        saved = {"fresh": 0.0, **kept[0]} if kept[0] else {}
        for name in group.counters.keys() | (saved.keys() & COUNTERS):
            value = float(saved.get(name, of(group.start(name), k)))
            number = group.counter(name)
            count = self.model.replicas
            group.counters[name] = with_one(number, k, value, count, group.device)


class _IdleRows:
    """The rows (K', ...) of blocks (K, ...) that replicas which are not active keep.

    On a device that is not waited for nobody knows how many they are: there all rows are kept.
    """

    def __init__(self, active_K: Tensor) -> None:
        self._active_K = active_K
        self._indices = self._count()

    def _count(self) -> Tensor | None:
        if not is_waited_for(self._active_K.device):
            return None
        return (~self._active_K).nonzero().flatten()

    def of(self, blocks: Tensors) -> Tensors:
        """These rows, in memory of their own."""
        if self._indices is None:
            return [each.clone() for each in blocks]
        return [each.index_select(0, self._indices) for each in blocks]

    def put_back(self, blocks: Tensors, kept: Tensors) -> None:
        """Make them what they were."""
        for each, old in zip(blocks, kept, strict=True):
            if self._indices is None:
                each.copy_(torch.where(along(self._active_K, each), each, old))
            else:
                each.index_copy_(0, self._indices, old)
