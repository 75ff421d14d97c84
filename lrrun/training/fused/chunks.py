"""How many replicas are trained at once: as many as fit, in chunks of one size.

A function of the config and of the machine's free memory; nothing is timed.
"""

from __future__ import annotations

import gc
from pathlib import Path

import torch
from torch import Tensor, nn

from lrrun.training import tuning
from lrrun.training.memory import device_memory
from lrrun.training.preparation import Prepared

COPIES = 7
"""Of the weights: the module, the stack, gradients, two moments, and two temporaries of a step."""

SHARE = {"cuda": 0.9, "cpu": 0.5}
"""Of the memory that is free now, what a chunk may take: other programs use a CPU's too."""

MANY = 8
"""From so many replicas on, a step splits well among cores even where it is small."""

SMALL_STEP_FLOPS = 5e7
"""Below this much work a step of many replicas, a second thread gains nothing when it has a core
of its own, and costs dearly when it has not.
"""

LARGE_STEP_FLOPS = 2e8
"""From so much work a step on, matrix products fill a CPU alone, and stacking gains nothing."""

CACHE_BYTES = 32 << 20
"""On a CPU, replicas that take more than this together are slower than in two chunks: a step finds
nothing of the last one in the cache. MANY of them are worth a chunk all the same.
"""

_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "bad allocation")


def chunk_sizes(count: int, replica_bytes: int, room: int | None) -> list[int]:
    """`count` replicas in chunks that fit into `room` bytes (None: they all do), as even as can be.

    >>> chunk_sizes(10, replica_bytes=2, room=9)
    [4, 3, 3]
    """
    fit = count if room is None else max(1, room // max(1, replica_bytes))
    chunks = -(-count // fit)
    return [count // chunks + (k < count % chunks) for k in range(chunks)]


def replica_bytes(prepared: Prepared) -> int:
    """What one replica takes while it trains.

    Weights and buffers are counted, activations are measured in one forward pass, after which the
    model and torch's random numbers are as they were. A backward pass keeps about as much again.
    """
    model = prepared.trainee.model
    ema = prepared.trainee.ema is not None
    weights = sum(each.nbytes for each in model.parameters())
    buffers = sum(each.nbytes for each in model.buffers())
    return (COPIES + ema) * weights + 3 * buffers + 2 * _activation_bytes(prepared)


def _activation_bytes(prepared: Prepared) -> int:
    """The tensors that a forward pass over one batch keeps for the backward pass, and the batch."""
    trainee, train = prepared.trainee, prepared.data.train
    rows = min(prepared.experiment.dataset.batch_size, len(train))
    x, y = train.batch(torch.arange(rows, device=trainee.device))
    parameters = {each.untyped_storage().data_ptr() for each in trainee.model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    before = [each.clone() for each in trainee.model.buffers()]
    devices = [trainee.device] if trainee.device.type == "cuda" else []
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, _same)
    with torch.random.fork_rng(devices), hooks, trainee.autocast():
        trainee.task.loss(trainee.model(x), y)
    with torch.no_grad():
        for buffer, old in zip(trainee.model.buffers(), before, strict=True):
            buffer.copy_(old)
    return sum(kept.values()) + x.nbytes + y.nbytes


def _same(tensor: Tensor) -> Tensor:
    return tensor


def room_for(device: torch.device, replica_bytes: int) -> int | None:
    """What a chunk may take; None where nobody says how much there is."""
    free = free_bytes(device)
    if device.type != "cpu" or free is None:
        return free
    return min(free, max(CACHE_BYTES, MANY * replica_bytes))


def free_bytes(device: torch.device) -> int | None:
    """What a chunk may take of the device's memory; None where nobody says how much there is.

    What torch holds of a GPU's memory and does not use is free as well.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free * SHARE["cuda"])
    if device.type == "cpu":
        known = [each for each in (_available(), device_memory(device)) if each is not None]
        return int(min(known) * SHARE["cpu"]) if known else None
    return device_memory(device)


def _available() -> int | None:
    """What Linux says a program may still take, and a container's own limit; None elsewhere."""
    found = []
    for file, key in ((Path("/proc/meminfo"), "MemAvailable:"),):
        lines = _words(file)
        found += [int(words[1]) * 1024 for words in lines if words[:1] == [key]]
    limit, used = (_words(Path("/sys/fs/cgroup") / name) for name in _CGROUP)
    if limit and used and limit[0][0].isdigit():
        found.append(max(0, int(limit[0][0]) - int(used[0][0])))
    return min(found, default=None)


_CGROUP = ("memory.max", "memory.current")


def _words(file: Path) -> list[list[str]]:
    try:
        return [line.split() for line in file.read_text("ascii").splitlines()]
    except OSError:
        return []


def fills_the_processor(prepared: Prepared) -> bool:
    """Is a step of one replica so much work that a stack would be no faster?

    Six operations a parameter and row (or token), as `tuning.choose_threads` counts; convolutions
    are small products even in large models, and an accelerator has room for many.
    """
    model, facts = prepared.trainee.model, prepared.data.facts
    if prepared.trainee.device.type != "cpu":
        return False
    if any(isinstance(each, nn.Conv2d) for each in model.modules()):
        return False
    rows = prepared.experiment.dataset.batch_size * (facts.tokens_per_row or 1)
    return 6 * prepared.parameters * rows >= LARGE_STEP_FLOPS


def stacked_threads(prepared: Prepared, replicas: int) -> int:
    """CPU threads for so many replicas: by the rule of a run alone, or of many small products."""
    settings, facts = prepared.experiment.train, prepared.data.facts
    rows = prepared.experiment.dataset.batch_size * (facts.tokens_per_row or 1) * replicas
    small = tuning.SMALL_STEP_FLOPS if replicas < MANY else SMALL_STEP_FLOPS
    return tuning.choose_threads(settings.threads, prepared.trainee.model, rows, small)


def free_memory() -> None:
    """Give back what nothing needs any more: stacks that only refer to themselves, and then what
    torch keeps of a GPU's memory for later.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Did the device, or the machine, have no memory left?"""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(each in str(error) for each in _NO_MEMORY)
