"""K replicas of one module as one stacked model.

Shapes: K replicas, B samples; what follows depends on the model.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lrrun.training.fused.arithmetic import along
from lrrun.training.fused.blocks import blocks_of
from lrrun.training.fused.ema import FusedEma
from lrrun.training.fused.passes import Passes
from lrrun.training.fused.program import Compiled, Program
from lrrun.training.fused.refusal import NotFusable
from lrrun.training.fused.tracing import Traced
from lrrun.training.tasks import Task


@functools.lru_cache(maxsize=8)
def traced_before(stack: Hashable) -> dict[Any, Traced]:
    """The passes of stacks that are alike in all but their numbers, by the shape of the batch."""
    return {}


class FusedModel:
    """K modules of one architecture, on one device, each with weights of its own.

    `names` are the parameters' names in the model's order (a tied weight once), `trained` those
    that require a gradient; `stacked_parameters` are their tensors (K, ...), and `grads` what
    `gradients` found for those that are trained: all views of `groups`, where they lie. `replicas`
    is K, `device` where they are. The forward and backward passes of all replicas are traced once
    for each shape of batch, and carried out as that list of operations, without autograd.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        task: Task,
        *,
        shared_data: bool,
        precision: str = "fp32",
        compile: bool = False,
        architecture: Hashable = None,
    ) -> None:
        """Copies the weights; stacks of one `architecture`, if it is given, share what is traced.

        Raises NotFusable: precision fp16, modules that differ.
        """
        if precision == "fp16":
            raise NotFusable("fp16, whose loss scale is a replica's own; bf16 can be fused")
        self.replicas = len(models)
        self.shared_data = shared_data
        self.precision = precision
        self.compile = compile
        self.module = models[0]
        with torch.no_grad():
            self.stacked_parameters = _stacked([dict(each.named_parameters()) for each in models])
            self.stacked_buffers = _stacked([dict(each.named_buffers()) for each in models])
        self.names = tuple(self.stacked_parameters)
        self.trained = tuple(
            name for name, each in self.module.named_parameters() if each.requires_grad
        )
        self.device = next(iter(self.stacked_parameters.values())).device
        self._passes = Passes(
            self.module,
            task,
            self.names,
            self.trained,
            tuple(self.stacked_buffers),
            shared_data,
            precision,
        )
        self._buffers_before = [each.clone() for each in self.stacked_buffers.values()]
        self._architecture = architecture
        homes, saved = self._homes(), self.module.state_dict()
        stacked = {*self.stacked_parameters, *self.stacked_buffers}
        self._layout = {key: homes[key] for key in saved if homes.get(key) in stacked}
        self._is_whole = len(self._layout) == len(saved)
        self.lay_out([self.trained])

    def lay_out(self, groups: Sequence[Sequence[str]]) -> None:
        """Put the trained parameters side by side, those of a group together: before anything that
        keeps a tensor of theirs, because they move.
        """
        with torch.no_grad():
            self.groups = [blocks_of(self.stacked_parameters, names) for names in groups]
        blocks = [block for group in self.groups for block in group]
        laid = {name for block in blocks for name in block.names}
        self._frozen = {
            name: each for name, each in self.stacked_parameters.items() if name not in laid
        }
        self.stacked_parameters = self.named(self.memory)
        grads = {name: view for each in blocks for name, view in each.views(each.grads).items()}
        self.grads = [grads[name] for name in self.trained]
        where = tuple(block.names for block in blocks)
        kind = repr(self.module), self.replicas, self.shared_data, self.precision
        key = self._architecture, kind, self.device, where
        self._traced = {} if self._architecture is None else traced_before(key)
        self._bound: dict[Any, Program | Compiled] = {}

    @property
    def memory(self) -> list[Tensor]:
        """Where all parameters lie: blocks (K, P), then those that are in none, (K, ...)."""
        blocks = [block.values for group in self.groups for block in group]
        return [*blocks, *self._frozen.values()]

    def named(self, memory: Sequence[Tensor]) -> dict[str, Tensor]:
        """The parameters (K, ...) of memory laid out like the model's own, in the model's order."""
        blocks = [block for group in self.groups for block in group]
        found = dict(zip(self._frozen, memory[len(blocks) :], strict=True))
        for block, values in zip(blocks, memory, strict=False):
            found |= block.views(values)
        return {name: found[name] for name in self.names}

    def probe(self, x: Tensor, y: Tensor, evaluated_rows: int) -> None:
        """Trace a step of this batch, and an evaluation of so many rows like its first one.

        Raises NotFusable, naming the operation that cannot be stacked. Changes no weights, buffers
        or random numbers. The traces are kept.
        """
        self._pass("step", x, y)
        if evaluated_rows:
            x, y = (each if self.shared_data else each[0] for each in (x, y))
            x, y = (each[:1].expand(evaluated_rows, *each.shape[1:]) for each in (x, y))
            self._pass("evaluation", x.contiguous(), y.contiguous())

    def gradients(self, batches: Sequence[tuple[Tensor, Tensor]], samples: int) -> Tensor:
        """As Update.gradients: losses_K (own memory), `grads` filled, buffers moved on.

        x and y are (B, ...) with shared data, else (K, B, ...).
        """
        with torch.no_grad():
            if self._buffers_before:
                torch._foreach_copy_(self._buffers_before, list(self.stacked_buffers.values()))
            if len(batches) == 1:
                return self._forward_backward(*batches[0]).clone()
            blocks = [block for group in self.groups for block in group]
            losses_K = torch.zeros(self.replicas, device=self.device)
            sums = [torch.zeros_like(block.grads) for block in blocks]
            for x, y in batches:
                share = self.rows_of(x) / samples
                losses_K = losses_K + self._forward_backward(x, y) * share
                for total, block in zip(sums, blocks, strict=True):
                    total.add_(block.grads, alpha=share)
            for total, block in zip(sums, blocks, strict=True):
                block.grads.copy_(total)
            return losses_K

    def rows_of(self, x: Tensor) -> int:
        """How many rows a batch has for each replica."""
        return x.shape[0 if self.shared_data else 1]

    def _forward_backward(self, x: Tensor, y: Tensor) -> Tensor:
        found: list[Tensor] = self._pass("step", x, y)(x, y)
        if self.stacked_buffers:
            after = found[1 + len(self.trained) :]
            torch._foreach_copy_(list(self.stacked_buffers.values()), after)
        return found[0]

    def undo_forward(self, made_K: Tensor) -> None:
        """Put buffers back to before the last `gradients` where `made_K` (bool) is False."""
        for new, old in zip(self.stacked_buffers.values(), self._buffers_before, strict=True):
            new.copy_(torch.where(along(made_K, new), new, old))

    def evaluate(self, x: Tensor, y: Tensor, ema: FusedEma | None = None) -> Tensor:
        """Each replica's Task.evaluate_batch of a shared batch (B, ...), in eval mode: (K, ...)."""
        with torch.no_grad():
            sums: Tensor = self._pass("evaluation", x, y, ema)(x, y)[0]
            return sums.clone()

    def state_dict(self, k: int, weights: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Replica k's state, as its own module would give it (keys, order, shapes; own memory).

        `weights` are other stacked parameters than the present ones, by name.
        """
        views = self.views(k, weights)
        state = views if self._is_whole else {**self.module.state_dict(), **views}
        return {key: value.clone() if key in views else value for key, value in state.items()}

    def views(self, k: int, weights: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The tensors of `state_dict` where they lie: for a look, or one copy to another device."""
        stacked = {**self.stacked_parameters, **self.stacked_buffers}
        if weights is not None:
            stacked |= weights
        return {key: stacked[home][k] for key, home in self._layout.items()}

    def load(self, k: int, state: Mapping[str, Any]) -> None:
        """Put replica k into a state_dict of its own module."""
        stacked = {**self.stacked_parameters, **self.stacked_buffers}
        for key, home in self._homes().items():
            if key in state:
                stacked[home][k].copy_(state[key])

    def parameters(self, k: int) -> dict[str, Tensor]:
        """Replica k's parameters by name: views."""
        return {name: each[k] for name, each in self.stacked_parameters.items()}

    def _homes(self) -> dict[str, str]:
        """Each name that a parameter or buffer goes by, tied ones too → the name it is kept by."""
        tensors = [
            *self.module.named_parameters(remove_duplicate=False),
            *self.module.named_buffers(remove_duplicate=False),
        ]
        first: dict[int, str] = {}
        return {name: first.setdefault(id(each), name) for name, each in tensors}

    def _pass(
        self, kind: str, x: Tensor, y: Tensor, ema: FusedEma | None = None
    ) -> Program | Compiled:
        """The pass for batches of this shape, bound to the weights, or to their averages."""
        key = (kind, x.shape, x.dtype, y.shape, y.dtype, ema)
        if key not in self._bound:
            weights = (self.stacked_parameters if ema is None else ema.averages).values()
            inputs = [*weights, *self.stacked_buffers.values()]
            grads = enumerate(self.grads, start=1) if kind == "step" else ()
            bind = Compiled if self.compile else Program
            self._bound[key] = bind(self._graph(key[:-1], inputs, x, y), inputs, x, y, dict(grads))
        return self._bound[key]

    def _graph(self, key: Any, inputs: Sequence[Tensor], x: Tensor, y: Tensor) -> Traced:
        """What a pass does, traced once for all stacks of this architecture."""
        if key not in self._traced:
            self._traced[key] = self._passes.traced(key[0], *inputs, x, y)
        return self._traced[key]


def _stacked(each: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Names → (K, ...); raises NotFusable where the modules differ in names or shapes."""
    first = {name: (value.shape, value.dtype) for name, value in each[0].items()}
    for other in each[1:]:
        if {name: (value.shape, value.dtype) for name, value in other.items()} != first:
            raise NotFusable("models whose parameters or buffers differ in name, shape or dtype")
    return {name: torch.stack([other[name] for other in each]).detach() for name in first}
