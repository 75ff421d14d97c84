"""What a run was made with: versions, machine, commit. Facts only, and no secrets."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lrrun import __version__
from lrrun.training.devices import available_cores, available_devices, describe


def provenance(device: torch.device, folder: Path) -> dict[str, Any]:
    """Versions, device, threads and the git state of `folder`, as plain data."""
    return {
        "versions": {
            "lrrun": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "platform": platform.platform(),
        "device": describe(device),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "git": git_state(folder),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit that `folder` stands at and whether its tracked files were changed, or None."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {
        "commit": commit,
        "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no")),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def environment() -> dict[str, str]:
    """The machine as a person wants to see it: versions, devices, threads."""
    versions = {name: _version(name) for name in ("scikit-learn", "matplotlib")}
    return {
        "lrrun": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "torch": torch.__version__,
        "numpy": np.__version__,
        **versions,
        "devices": "; ".join(describe(torch.device(name)) for name in available_devices()),
        "threads": f"{torch.get_num_threads()} of {available_cores()} cores"
        + (f" (OMP_NUM_THREADS={omp})" if (omp := os.environ.get("OMP_NUM_THREADS")) else ""),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
