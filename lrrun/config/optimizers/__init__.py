"""What a config may say of an optimizer: torch.optim's names and arguments, without torch."""

from lrrun.config.optimizers.groups import GroupSpec
from lrrun.config.optimizers.spec import OptimizerSpec
from lrrun.config.optimizers.table import OPTIMIZERS, Optimizer, canonical

__all__ = ["OPTIMIZERS", "GroupSpec", "Optimizer", "OptimizerSpec", "canonical"]
