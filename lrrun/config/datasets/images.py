"""Image datasets whose sizes are published: digits, MNIST, Fashion-MNIST, CIFAR-10, CIFAR-100."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lrrun.config.base import DataFacts
from lrrun.config.datasets.base import Dataset, PathText


class Digits(Dataset):
    """Handwritten digits, 8×8, that come with scikit-learn; nothing is downloaded.

    1,437 training and 360 validation rows, stratified, the same for every seed. Pixels 0..16 are
    divided by 16. Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits",
    UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49 (the test set).
    """

    name: Literal["digits"] = "digits"
    """The dataset's name."""

    def facts(self, folder: Path) -> DataFacts:
        """1,437 and 360 rows of (1, 8, 8), 10 classes.

        >>> Digits().facts(Path("."))
        DataFacts(train_rows=1437, val_rows=360, task='classification', inputs=(1, 8, 8), \
outputs=10, tokens_per_row=None)
        """
        return DataFacts(1437, 360, "classification", (1, 8, 8), 10)


class Downloaded(Dataset):
    """A published dataset, downloaded once, checked against its MD5 sum, and kept."""

    root: PathText | None = None
    """Where the downloaded files are kept, each dataset in a folder of its own name; the default
    is the user's cache folder. Files put there by hand are used."""


class Mnist(Downloaded):
    """Handwritten digits, 28×28; validation is the published test set.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to
    document recognition", Proc. IEEE 86(11), 1998.
    """

    name: Literal["mnist"] = "mnist"
    """The dataset's name."""

    def facts(self, folder: Path) -> DataFacts:
        """60,000 and 10,000 rows of (1, 28, 28), 10 classes."""
        return DataFacts(60_000, 10_000, "classification", (1, 28, 28), 10)


class FashionMnist(Downloaded):
    """Articles of clothing, 28×28; validation is the published test set.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking
    Machine Learning Algorithms", 2017, https://arxiv.org/abs/1708.07747.
    """

    name: Literal["fashion-mnist"] = "fashion-mnist"
    """The dataset's name."""

    def facts(self, folder: Path) -> DataFacts:
        """60,000 and 10,000 rows of (1, 28, 28), 10 classes."""
        return DataFacts(60_000, 10_000, "classification", (1, 28, 28), 10)


class _Cifar(Downloaded):
    """What CIFAR-10 and CIFAR-100 share.

    Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
    https://www.cs.toronto.edu/~kriz/cifar.html.
    """

    augment: bool = True
    """Training images are cropped at random out of a frame of 4 pixels and flipped at random."""


class Cifar10(_Cifar):
    """Colour photographs, 32×32, 10 classes; validation is the published test set."""

    name: Literal["cifar10"] = "cifar10"
    """The dataset's name."""

    def facts(self, folder: Path) -> DataFacts:
        """50,000 and 10,000 rows of (3, 32, 32), 10 classes."""
        return DataFacts(50_000, 10_000, "classification", (3, 32, 32), 10)


class Cifar100(_Cifar):
    """Colour photographs, 32×32, 100 (fine) classes; validation is the published test set."""

    name: Literal["cifar100"] = "cifar100"
    """The dataset's name."""

    def facts(self, folder: Path) -> DataFacts:
        """50,000 and 10,000 rows of (3, 32, 32), 100 classes."""
        return DataFacts(50_000, 10_000, "classification", (3, 32, 32), 100)
