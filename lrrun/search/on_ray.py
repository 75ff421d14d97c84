"""Chunks trained as tasks of Ray, on this machine or on many that share the runs' folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lrrun.errors import EnvironmentFault, MissingExtra
from lrrun.search.launch import Happening, Order, Progress, train_chunk
from lrrun.search.processes import ATTEMPTS, given_up

if TYPE_CHECKING:
    from lrrun.training.signals import StopOnSignals

_POLL_SECONDS = 0.5
_ANSWER_SECONDS = 10.0
_STOP_SECONDS = 30.0
"""How long a worker that is asked to stop has for its checkpoint."""

_ALIKE = "every machine of the cluster needs the same Python, with the same lrrun and its extras"
_NOT_JOINED = (
    "something listens there: is it the head of a Ray cluster, of this Ray's version? One that "
    "asks for a token is joined with RAY_AUTH_MODE=token"
)


class OnRay:
    """A chunk is a task; as many run at a time as the cluster has room for.

    Without an address, RAY_ADDRESS names the cluster; where that is empty, a Ray of this machine is
    started, and ended with the sweep. The runs' folder lies where all machines see it, under the
    same path. A worker that is killed costs its chunk alone, which is trained again.
    """

    def __init__(self, address: str | None = None) -> None:
        os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # those of tasks that were left
        try:
            import ray
        except ImportError:
            instead = "use --processes N on this machine"
            raise MissingExtra("--ray", "Ray", "ray", instead) from None
        self._ray: Any = ray
        self.address = address or os.environ.get("RAY_ADDRESS") or None

    @property
    def workers(self) -> int:
        """Chunks at a time: one for each GPU of the cluster, or for each core."""
        if self.address is None:
            return _cores()
        self._connect()
        found = self._ray.cluster_resources()
        return max(1, int(found.get("GPU", 0) or found.get("CPU", 1)))

    def run(self, orders: Iterator[Order], stop: StopOnSignals) -> Iterator[Happening]:
        """Train what is ordered; a chunk tells of its trials when it has ended."""
        self._connect()
        ray = self._ray
        train = ray.remote(max_retries=0, num_gpus=self._gpus())(_train)
        waiting: list[tuple[Order, int]] = []
        running: dict[Any, tuple[Order, int]] = {}
        try:
            while True:
                while len(running) < self.workers and not stop.requested():
                    order = waiting.pop(0) if waiting else _next(orders)
                    if order is None:
                        break
                    running[train.remote(order[0])] = order
                if not running:
                    return
                if stop.requested():
                    self._cancel(list(running))
                done, _ = ray.wait(list(running), timeout=_POLL_SECONDS)
                for task in done:
                    yield from self._result(task, *running.pop(task), waiting, stop)
        finally:
            if self.address is None:
                ray.shutdown()

    def _connect(self) -> None:
        if self._ray.is_initialized():
            return
        quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
        try:
            if self.address is None:
                self._ray.init(num_cpus=_cores(), include_dashboard=False, **quiet)
            else:
                _refuse_silence(self.address)
                self._ray.init(address=self.address, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            where = self.address or "this machine"
            hint = "" if self.address is None or isinstance(error, OSError) else f"; {_NOT_JOINED}"
            raise EnvironmentFault(f"cannot reach Ray on {where}: {error}{hint}") from error

    def _gpus(self) -> int:
        return 1 if self._ray.cluster_resources().get("GPU") else 0

    def _cancel(self, tasks: list[Any]) -> None:
        """Interrupt the workers, which save their runs, and wait for that."""
        for task in tasks:
            self._ray.cancel(task, force=False)
        self._ray.wait(tasks, num_returns=len(tasks), timeout=_STOP_SECONDS)

    def _result(
        self,
        task: Any,
        order: Order,
        attempt: int,
        waiting: list[tuple[Order, int]],
        stop: StopOnSignals,
    ) -> Iterator[Happening]:
        """What a chunk told, or its second attempt where its worker died."""
        errors = self._ray.exceptions
        try:
            yield from self._ray.get(task)
        except (errors.TaskCancelledError, KeyboardInterrupt):
            return
        except EnvironmentFault as error:  # Ray's own kind of it, whose text is a traceback
            raise EnvironmentFault(_reason(error)) from error
        except errors.RayTaskError as error:
            text = f"a Ray worker cannot train: {_reason(error)}; {_ALIKE}"
            raise EnvironmentFault(text) from error
        except errors.RayError as error:
            if stop.requested():
                return
            if attempt < ATTEMPTS:
                waiting.append((order, attempt + 1))
            else:
                yield from given_up(order, type(error).__name__)


def _reason(error: Exception) -> str:
    """What went wrong in a worker, in one line."""
    return str(getattr(error, "cause", error)).partition("\n")[0]


def _refuse_silence(address: str) -> None:
    """Raise OSError where nobody listens at `host:port`: Ray itself would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()


def _next(orders: Iterator[Order]) -> tuple[Order, int] | None:
    order = next(orders, None)
    return None if order is None else (replace(order, sweep=order.sweep.resolve()), 1)


def _cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _train(order: Order) -> list[Happening]:
    """What a worker does: trains a chunk; it is interrupted as Ctrl-C interrupts a run.

    Raises EnvironmentFault where the worker's machine does not see the sweep's folder.
    """
    if not order.sweep.is_dir():
        raise EnvironmentFault(
            f"{socket.gethostname()}, a machine of the cluster, has no {str(order.sweep)!r}; "
            "choose with --runs-dir a folder that all its machines see under the same path"
        )
    from lrrun.training.signals import StopOnSignals

    with StopOnSignals() as stop:
        return [each for each in train_chunk(order, stop) if not isinstance(each, Progress)]
