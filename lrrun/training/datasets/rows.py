"""Rows that are made one by one, by somebody's code: in this process, or ahead in workers.

Whatever a row draws from the global generators of torch (on the CPU), numpy or Python is a function
of (seed, step, chunk) alone, so that neither the number of workers nor a resume changes a number.
For the same end rows are always made on one thread, outside autocast, and without gradients. (A
generator that a dataset keeps for itself is not seen, and is different in every worker.)
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from lrrun.batches import Batches
from lrrun.config.datasets.custom import IN_PROCESS, Workers
from lrrun.errors import ConfigError, EnvironmentFault, LrrunError, Problem
from lrrun.training.chance import drawing_by
from lrrun.training.datasets.base import Source, Splits, as_input, as_target
from lrrun.training.datasets.order import epoch_order, key
from lrrun.training.datasets.workers import GO_ON, WorkerPool

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Request:
    """The rows of a batch, and the key, 0..2^64-1, of all that is drawn while they are made."""

    indices: list[int]
    chance: int


@dataclass(frozen=True, eq=False)
class MapStyle:
    """Any map-style torch Dataset of (x, y) pairs: rows are made one by one, then collated.

    `called` is what a message calls a row.
    """

    rows: Any
    device: torch.device
    called: str = "row"
    workers: Workers = IN_PROCESS
    _pools: list[WorkerPool] = field(default_factory=list, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices_B: Tensor) -> Batch:
        """The collated rows; floats become float32, a target of one float a row becomes (B, 1).

        Raises ConfigError, or EnvironmentFault for a file or the memory, naming the row.
        """
        return self._here(Request(indices_B.tolist(), key("rows")))

    def stream(self, requests: Iterable[Request]) -> Iterator[Batch]:
        """A batch for every request, in order; where there are workers, made ahead of need.

        Raises as `batch` and `WorkerPool.serve`.
        """
        if not self.workers.count:
            yield from map(self._here, requests)
            return
        with contextlib.closing(self._idle_pool().serve(requests)) as batches:
            for made in batches:
                if isinstance(made, _Failure):
                    raise made.error()
                yield self._moved(made)

    def to(self, device: torch.device) -> MapStyle:
        """The same rows, with batches on another device."""
        return self if device == self.device else replace(self, device=device)

    def close(self) -> None:
        """End the worker processes; they are started again where they are needed."""
        while self._pools:
            self._pools.pop().close()

    def _here(self, request: Request) -> Batch:
        return self._moved(_make(self.rows, self.called, request))

    def _moved(self, batch: Batch) -> Batch:
        x, y = batch
        there = self.device.type == "cuda"
        return x.to(self.device, non_blocking=there), y.to(self.device, non_blocking=there)

    def _idle_pool(self) -> WorkerPool:
        """A pool that serves nobody: two streams at a time have one each."""
        for pool in self._pools:
            if not pool.busy and not pool.closed:
                return pool
        make = functools.partial(_make_or_say, self.rows, self.called)
        pool = WorkerPool(make, self.workers, pin=self.device.type == "cuda")
        self._pools.append(pool)
        return pool


class RowsAhead:
    """The training batches of update after update, asked for in the order of a run.

    The update after the last one is being made already; any other begins a new stream.
    """

    def __init__(
        self, source: MapStyle, plan: Batches, batch_size: int, seed: int, last: int | None
    ) -> None:
        """`last` is the number of updates of the run: nothing is made for later ones."""
        self.source = source
        self.plan = plan
        self.batch_size = batch_size
        self.seed = seed
        self.last = last
        self._next = -1
        self._stream: Any = iter(())

    def of_update(self, step: int) -> list[Batch]:
        """The batches of update `step`, of at most `batch_size` rows each."""
        if step != self._next:
            if self._next >= 0:
                self._stream.close()
            self._stream = self.source.stream(self._requests(step))
        self._next = -1
        chunks = -(-self.plan.at(step)[2] // self.batch_size)
        batches = [*itertools.islice(self._stream, chunks)]
        self._next = step + 1
        return batches

    def _requests(self, first: int) -> Iterator[Request]:
        epoch, order = -1, torch.empty(0)
        for step in itertools.count(first) if self.last is None else range(first, self.last):
            of_step, begin, samples = self.plan.at(step)
            if of_step != epoch:
                epoch, order = of_step, epoch_order(len(self.source), self.seed, of_step)
            rows = order[begin : begin + samples]
            for number, chunk in enumerate(torch.split(rows, self.batch_size)):
                yield Request(chunk.tolist(), key("rows", self.seed, step, number))


def in_order(source: Source, count: int, size: int, device: torch.device) -> Iterator[Batch]:
    """The first `count` rows of a source, `size` a batch.

    Rows that draw do so alike in every evaluation, and under every seed.
    """
    if not isinstance(source, MapStyle):
        yield from map(source.batch, torch.split(torch.arange(count, device=device), size))
        return
    begins = range(0, count, size)
    yield from source.stream(
        Request([*range(begin, min(begin + size, count))], key("validation rows", begin))
        for begin in begins
    )


def close_workers(data: Splits) -> None:
    """End every worker process of a dataset."""
    for part in (data.train, data.val):
        if isinstance(part, MapStyle):
            part.close()


@dataclass(frozen=True, slots=True)
class _Failure:
    """What went wrong in a worker, as a value: an exception from there would lose its words."""

    kind: type[LrrunError]
    message: str

    def error(self) -> LrrunError:
        if self.kind is ConfigError:
            return ConfigError([Problem(("dataset", "name"), self.message)])
        return self.kind(self.message)


def _make_or_say(rows: Any, called: str, request: Request) -> Batch | _Failure:
    try:
        return _make(rows, called, request)
    except ConfigError as error:
        return _Failure(ConfigError, error.problems[0].message)
    except LrrunError as error:
        return _Failure(type(error), str(error))


def _make(rows: Any, called: str, request: Request) -> Batch:
    """Make the rows of a request into a batch, with no other chance than its key says."""
    with _apart(request.chance):
        made = [_row(rows, called, index) for index in request.indices]
        try:
            x, y = default_collate(made)
            return as_input(x), as_target(y)
        except Exception as error:  # rows that are not alike, or no pairs of numbers
            others = " and the others of its batch" if len(made) > 1 else ""
            raise _named(f"{called} {request.indices[0]}{others}", error) from error


@contextlib.contextmanager
def _apart(chance: int) -> Iterator[None]:
    """A block that computes the same bits wherever and whenever it runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker; more would sum in another order
    try:
        with drawing_by(chance), torch.no_grad(), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_num_threads(threads)


def _row(rows: Any, called: str, index: int) -> Any:
    try:
        return rows[index]
    except LrrunError:
        raise
    except Exception as error:  # somebody's code: whatever it raises is their message
        raise _named(f"{called} {index}", error) from error


def _named(what: str, error: Exception) -> LrrunError:
    """What somebody's code raised, with its place in that code."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    text = f"{what} cannot be made into a batch: {type(error).__name__}: {error} ({where})"
    if isinstance(error, OSError | MemoryError):
        return EnvironmentFault(f"{text}; {GO_ON}")
    return ConfigError([Problem(("dataset", "name"), text)])
