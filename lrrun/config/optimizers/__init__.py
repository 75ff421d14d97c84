"""What a config may say of an optimizer: torch.optim's names and arguments, without torch."""

from lrrun.config.optimizers.groups import DEFAULT, GroupSpec
from lrrun.config.optimizers.mup import Mup
from lrrun.config.optimizers.spec import OptimizerSpec
from lrrun.config.optimizers.table import OPTIMIZERS, Optimizer, canonical

__all__ = ["DEFAULT", "OPTIMIZERS", "GroupSpec", "Mup", "Optimizer", "OptimizerSpec", "canonical"]
