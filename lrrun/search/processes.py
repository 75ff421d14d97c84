"""Chunks trained in processes of one machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from lrrun.errors import EnvironmentFault, UsageError
from lrrun.search.launch import Ended, Happening, Order, train_chunk

if TYPE_CHECKING:
    from lrrun.training.signals import StopOnSignals

ATTEMPTS = 2
"""How often a chunk is trained whose worker dies."""

_POLL_SECONDS = 0.2


@dataclass
class _Worker:
    """A process, and what it has still to do; None while it waits for an order."""

    process: BaseProcess
    pipe: Connection
    order: Order | None = None
    attempt: int = 0


class Processes:
    """`workers` chunks at a time, each in a process of its own.

    A worker that is killed, or alone told to stop, costs its chunk alone: what it had finished
    stays, the rest is trained again by another, or gone on with.
    """

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise UsageError(f"--processes {workers}: expected at least 1")
        self.workers = workers

    def run(self, orders: Iterator[Order], stop: StopOnSignals) -> Iterator[Happening]:
        """Train what is ordered; happenings come as the workers tell them."""
        pool: list[_Worker] = []
        again: list[tuple[Order, int]] = []
        try:
            while True:
                if not stop.requested():
                    self._employ(pool, orders, again)
                busy = [worker for worker in pool if worker.order is not None]
                if not busy:
                    return
                if stop.requested():
                    _pass_on(stop, busy)
                for worker in _ready(busy):
                    yield from _heard(worker, pool, again, stop)
        finally:
            for worker in pool:
                worker.pipe.close()
                worker.process.terminate()
            for worker in pool:
                worker.process.join()

    def _employ(
        self, pool: list[_Worker], orders: Iterator[Order], again: list[tuple[Order, int]]
    ) -> None:
        """Give every free worker an order, and start workers as long as there are orders."""
        while True:
            free = next((worker for worker in pool if worker.order is None), None)
            if free is None and len(pool) == self.workers:
                return
            following = again.pop(0) if again else _first_attempt(orders)
            if following is None:
                return
            if free is None:
                free = _started(threads=max(1, (os.cpu_count() or 1) // self.workers))
                pool.append(free)
            free.order, free.attempt = following
            with contextlib.suppress(OSError):  # it has died; that is heard of next
                free.pipe.send(free.order)


def _started(threads: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, threads), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _first_attempt(orders: Iterator[Order]) -> tuple[Order, int] | None:
    order = next(orders, None)
    return None if order is None else (order, 1)


def _ready(busy: list[_Worker]) -> list[_Worker]:
    ready: list[Any] = wait([worker.pipe for worker in busy], timeout=_POLL_SECONDS)
    return [worker for worker in busy if worker.pipe in ready]


def _pass_on(stop: StopOnSignals, busy: list[_Worker]) -> None:
    """Let every worker stop at its next step, as a run in this process would."""
    for worker in busy:
        if worker.process.is_alive() and worker.process.pid and stop.received is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.process.pid, stop.received)


def _heard(
    worker: _Worker, pool: list[_Worker], again: list[tuple[Order, int]], stop: StopOnSignals
) -> Iterator[Happening]:
    """What a worker tells: what happens, that it is done (None), or by silence that it is dead."""
    try:
        event = worker.pipe.recv()
    except (EOFError, OSError):
        pool.remove(worker)
        yield from _buried(worker, again, stop)
        return
    if event is None:
        worker.order = None
    elif isinstance(event, Exception):
        raise event
    else:
        stopped = isinstance(event, Ended) and event.status == "interrupted"
        if isinstance(event, Ended) and worker.order is not None and not stopped:
            worker.order = worker.order.without(event.trial)
        yield event


def _buried(
    worker: _Worker, again: list[tuple[Order, int]], stop: StopOnSignals
) -> Iterator[Happening]:
    """A worker has died: what it left is ordered again, or given up."""
    worker.process.join()
    worker.pipe.close()
    if worker.order is None or not worker.order.trials or stop.requested():
        return
    if worker.attempt < ATTEMPTS:
        again.append((worker.order, worker.attempt + 1))
    else:
        yield from given_up(worker.order, _cause(worker.process.exitcode))


def given_up(order: Order, cause: str) -> Iterator[Ended]:
    """The end of the trials of a chunk whose workers died too often."""
    for trial in order.trials:
        yield Ended(
            trial.number, "failed", f"its worker died {ATTEMPTS} times, the last time {cause}"
        )


def _cause(code: int | None) -> str:
    return f"of signal {-code}" if code is not None and code < 0 else f"with exit code {code}"


def _work(pipe: Connection, threads: int) -> None:
    """What a worker does: trains chunk after chunk, and tells.

    A signal ends it at its next step, whoever sent it: what it leaves is the parent's to give away.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    _end_with_parent()
    from lrrun.training.signals import StopOnSignals

    with StopOnSignals() as stop, contextlib.suppress(EOFError):
        while not stop.requested():
            order = pipe.recv()
            try:
                for event in train_chunk(order, stop):
                    pipe.send(event)
            except EnvironmentFault as fault:
                pipe.send(fault)
            if not stop.requested():
                pipe.send(None)
    if stop.received is not None:
        sys.exit(128 + stop.received)


def _end_with_parent() -> None:
    """A worker whose sweep was killed ends too, and leaves its runs to whoever goes on with it."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
