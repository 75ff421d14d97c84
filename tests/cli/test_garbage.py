"""The collector is off while torch is loaded, forgets what was loaded, and is on afterwards."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from lrrun.cli.garbage import load_training, uncollected

IN_A_PROCESS_OF_ITS_OWN = """
import gc, sys
from lrrun.cli.garbage import load_training
passes = []
gc.callbacks.append(lambda phase, info: passes.append(phase))
load_training()
print(len(passes), "torch" in sys.modules, gc.isenabled(), gc.get_freeze_count() > 100_000)
"""


def test_loading_torch_is_not_interrupted_and_what_it_made_is_let_be() -> None:
    command = [sys.executable, "-c", IN_A_PROCESS_OF_ITS_OWN]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert told == ["0", "True", "True", "True"]


def test_a_process_that_has_torch_keeps_what_is_its_own() -> None:
    import torch  # noqa: F401

    frozen = gc.get_freeze_count()
    load_training()
    assert gc.get_freeze_count() == frozen


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_is_afterwards_what_it_was_before(on: bool) -> None:
    was_on = gc.isenabled()
    try:
        (gc.enable if on else gc.disable)()
        with uncollected():
            assert not gc.isenabled()
        assert gc.isenabled() == on
    finally:
        (gc.enable if was_on else gc.disable)()
