"""Worker processes that make batches ahead of need and hand them over in order.

torch's DataLoader is the pool. No worker has a state that a checkpoint would need: a request says
all that its batch depends on.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing import connection
from types import FrameType
from typing import Any
from weakref import WeakSet

import torch
from torch.utils.data import DataLoader, Dataset

from lrrun.config.datasets.custom import Workers
from lrrun.errors import ConfigError, EnvironmentFault, LrrunError, Problem
from lrrun.training.signals import SIGNALS

_GRACE_SECONDS = 5.0
"""How long a process that was killed, or is about to die, may take to be gone."""

GO_ON = "lrrun resume goes on from the last checkpoint"
"""What to do after a fault of the machine."""


class WorkerPool:
    """Processes that call `make` with one request after another.

    They end with `close`, with the pool's last reference, with the interpreter, or with a fault of
    one of them. `pin` asks for batches in page-locked memory, which a CUDA device copies from
    without being waited for.
    """

    def __init__(self, make: Callable[[Any], Any], settings: Workers, pin: bool = False) -> None:
        self.settings = settings
        self.busy = self.closed = False
        self._requests = _Requests()
        with _unwarned():
            self._loader: DataLoader[Any] = DataLoader(
                _Made(make),
                batch_size=None,  # a request is a batch
                sampler=self._requests,
                num_workers=settings.count,
                prefetch_factor=settings.prefetch,
                persistent_workers=True,
                pin_memory=pin,
                timeout=settings.timeout,
                collate_fn=_as_it_is,
                worker_init_fn=_outlive_signals,
                generator=torch.Generator(),  # the global one belongs to the run
            )
        self._made: Any = None
        self._processes: set[Any] = set()
        self._owner = os.getpid()
        _open_pools.add(self)

    def serve(self, requests: Iterable[Any]) -> Generator[Any, None, None]:
        """What `make` gives for every request, in order; requests are read ahead.

        Whoever leaves early may ask again. Raises, with the pool closed, EnvironmentFault where a
        worker dies or nothing comes for `timeout` seconds, ConfigError where none can be started.
        """
        self.busy = True
        try:
            self._begin(requests)
            while True:
                with _deaths.heard(self._processes):
                    made = next(self._made, _END)
                if made is _END:
                    return
                yield made
        except (RuntimeError, OSError, EOFError) as error:  # the last two: it died sending
            fault = self._fault(error)
            self.close()
            raise fault from error
        finally:
            self.busy = False

    def _begin(self, requests: Iterable[Any]) -> None:
        self._requests.left = iter(requests)
        if self._made is not None:
            with _deaths.heard(self._processes):
                iter(self._loader)  # the same workers go over to these requests
            return
        before = set(multiprocessing.active_children())
        with _unwarned():
            try:
                self._made = iter(self._loader)
            except Exception as error:  # the system's, or whatever pickling somebody's data raises
                self.close()
                raise _no_start(error) from error
            finally:
                self._processes = set(multiprocessing.active_children()) - before
        _deaths.take_over()

    def _fault(self, error: Exception) -> EnvironmentFault:
        if "timed out" in str(error) and not self._dead():
            return EnvironmentFault(
                f"the data-loader workers made no batch for {self.settings.timeout} seconds; look "
                f"for what a row waits for, or raise dataset.worker_timeout; {GO_ON}"
            )
        gone = connection.wait([each.sentinel for each in self._processes], _GRACE_SECONDS)
        for process in self._processes:
            if process.sentinel in gone:  # its files are closed; its exit code comes a little later
                process.join(_GRACE_SECONDS)
        dead = self._dead()
        said = _how_it_ended(dead[0].exitcode) if dead else f"{type(error).__name__}: {error}"
        return EnvironmentFault(
            f"a data-loader worker failed: {said}; if memory ran out, lower dataset.workers or "
            f"dataset.prefetch; {GO_ON}"
        )

    def _dead(self) -> list[Any]:
        return [each for each in self._processes if not each.is_alive()]

    def close(self) -> None:
        """End the processes; none is left when this returns. A second call does nothing."""
        if self.closed or os.getpid() != self._owner:  # a forked worker has a copy of this
            return
        self.closed = True
        if self._made is not None:
            self._made._shutdown_workers()
        for process in self._processes:
            if process.is_alive():  # with a row that does not end
                process.kill()
            process.join(_GRACE_SECONDS)

    def __del__(self) -> None:
        self.close()


@contextlib.contextmanager
def _unwarned() -> Iterator[None]:
    """Without torch's advice on the number of workers and its words beside an error of ours, and
    without Python's on forking beside threads: workers use none.
    """
    advice = ("This DataLoader will create", "Got pickle error", ".* is multi-threaded")
    with warnings.catch_warnings():
        for words in advice:
            warnings.filterwarnings("ignore", words)
        yield


_END = object()
_open_pools: WeakSet[WorkerPool] = WeakSet()


@atexit.register  # after multiprocessing, so before what that does: it would wait for busy workers
def _close_all() -> None:
    for pool in [*_open_pools]:
        pool.close()


class _Requests:
    """What the loader takes for a sampler: the requests that are still to come."""

    left: Iterator[Any] = iter(())

    def __iter__(self) -> Iterator[Any]:
        return self.left


class _Made(Dataset[Any]):
    """What the loader takes for a dataset: a batch for every request."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self.make = make

    def __getitem__(self, request: Any) -> Any:
        return self.make(request)


_SLEEPS = ("multiprocessing.", "queue", "selectors", "threading")
"""The modules in which a wait for a batch sleeps."""

_AGAIN_SECONDS = 0.05
"""When a death that could not be told where it was heard is told again."""


class _Deaths:
    """torch's handler of SIGCHLD, which raises wherever the main thread is, made polite.

    It is heard only while a batch is waited for, not in the middle of an update or a file, and only
    in the wait itself: what is raised in a callback of the garbage collector is lost.
    """

    def __init__(self) -> None:
        self._handler: Any = None
        self._waiting = False

    def take_over(self) -> None:
        """Stand before the handler that torch has set, where it could set one."""
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD"):
            handler = signal.getsignal(signal.SIGCHLD)
            if callable(handler) and handler is not self:
                self._handler = handler
                signal.signal(signal.SIGCHLD, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self._handler(number, frame)
        except RuntimeError:
            if not self._waiting:
                return
            if frame and frame.f_globals.get("__name__", "").startswith(_SLEEPS):
                raise
            threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number)).start()

    @contextlib.contextmanager
    def heard(self, processes: Iterable[Any]) -> Iterator[None]:
        """A block that the death of one of these ends; one of before it does so at once."""
        self._waiting = True
        try:
            if not all(each.is_alive() for each in processes):
                raise RuntimeError("a worker is gone")
            yield
        finally:
            self._waiting = False


_deaths = _Deaths()


def _as_it_is(batch: Any) -> Any:
    return batch


def _outlive_signals(worker: int) -> None:
    """What ends a run is for its main process, which then ends its workers."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _how_it_ended(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _no_start(error: Exception) -> LrrunError:
    if isinstance(error, OSError):
        return EnvironmentFault(f"cannot start data-loader workers: {error}; {GO_ON}")
    text = f"the dataset cannot be sent to worker processes: {error}; set it to 0"
    return ConfigError([Problem(("dataset", "workers"), text)])
