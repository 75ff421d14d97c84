"""Moving averages of the weights of K replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lrrun.training.fused.arithmetic import along, choose, spread

if TYPE_CHECKING:
    from lrrun.training.fused.stack import FusedModel


class FusedEma:
    """Each replica's AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay)).

    average += (1 - decay) · (weights - average); the first update copies. Buffers are the model's
    own. `averages` are stacked like the model's parameters, by name.
    """

    def __init__(self, model: FusedModel, decays: Sequence[float]) -> None:
        """The averages begin as the model's present weights."""
        self.model = model
        self._memory = [each.clone() for each in model.memory]
        self.averages = model.named(self._memory)
        self.counts_K = torch.zeros(model.replicas, dtype=torch.int64, device=model.device)
        decays_K = torch.tensor(list(decays), dtype=torch.float64, device=model.device)
        self._shares_K = 1 - decays_K

    def update(self, active_K: Tensor | None = None) -> None:
        """Average the model's present weights in, where active; the first update copies."""
        present = self.model.memory
        weights_K = choose(self.counts_K == 0, 1.0, self._shares_K)
        with torch.no_grad():
            if active_K is None:
                torch._foreach_lerp_(self._memory, present, spread(weights_K, present))
                self.counts_K += 1
                return
            new = torch._foreach_lerp(self._memory, present, spread(weights_K, present))
            for old, each in zip(self._memory, new, strict=True):
                old.copy_(torch.where(along(active_K, old), each, old))
            self.counts_K += active_K

    def state_dict(self, k: int) -> dict[str, Tensor]:
        """Replica k's AveragedModel.state_dict(): n_averaged and module.*, of own memory."""
        state = {"n_averaged": self.counts_K[k].clone()}
        for name, each in self.model.state_dict(k, self.averages).items():
            state[f"module.{name}"] = each
        return state

    def load(self, k: int, state: Mapping[str, Any]) -> None:
        """Put replica k into such a state."""
        self.counts_K[k] = state["n_averaged"]
        for name, average in self.averages.items():
            average[k].copy_(state[f"module.{name}"])
