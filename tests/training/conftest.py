"""CUDA graphs without CUDA: what a capture records on the CPU, a replay carries out again.

As on a device, a capture computes nothing and draws nothing; what would make the host wait for the
device, or copy from its memory, ends it; a replay runs no Python, and finds its operands where they
lay at the capture, if they are still there. Tensors in `host` stand for those that a CUDA run keeps
on the CPU, as the counts of moving averages are: their operations belong to Python.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from lrrun.training import trainee, tuning, updates

aten = torch.ops.aten

WAITS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
"""Operations whose result the host has to know."""

NOT_PERMITTED = "CUDA error: operation not permitted when stream is capturing"
INVALIDATED = "CUDA error: operation failed due to a previous error during capture"


class SimulatedCuda:
    """Stands in for torch.cuda, counts captures and replays; where `broken`, captures fail."""

    def __init__(self) -> None:
        self.captures = self.replays = 0
        self.broken = False
        self.host: list[Tensor] = []
        self.current = self.default = Stream(torch.device("cpu"))

    def put_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Capture the steps of runs on the CPU, which are then not waited for."""
        monkeypatch.setattr(torch.cuda, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self.current)
        monkeypatch.setattr(torch.cuda, "stream", self.stream)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: Graph(self))
        monkeypatch.setattr(torch.cuda, "graph", self.graph)
        monkeypatch.setattr(updates, "is_waited_for", lambda device: False)
        monkeypatch.setattr(trainee, "AveragedModel", self.averaged_model)
        monkeypatch.setattr(tuning, "choose_capturing", lambda written, *_: written is not False)

    def averaged_model(self, *arguments: Any, **options: Any) -> AveragedModel:
        made = AveragedModel(*arguments, **options)
        self.host.append(made.n_averaged)
        return made

    @contextlib.contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextlib.contextmanager
    def graph(
        self, graph: Graph, *, stream: Stream, capture_error_mode: str = "global"
    ) -> Iterator[None]:
        """A capture; one that fails hides its reason, and leaves its stream current, as torch's."""
        assert stream is not self.default, "captures need a stream of their own"
        assert capture_error_mode == "thread_local", "another thread may pin memory meanwhile"
        self.current = stream
        chance = torch.get_rng_state()
        recorder = Recorder(graph, self.host)
        try:
            with recorder:
                yield
                if self.broken:
                    raise RuntimeError(f"{NOT_PERMITTED}\nand more")
        except RuntimeError:
            raise RuntimeError(INVALIDATED)  # noqa: B904 - nor does torch say from what
        finally:
            recorder.put_back()
            torch.set_rng_state(chance)
        self.captures += 1


class Stream:
    def __init__(self, device: torch.device) -> None:
        self.device = device

    def wait_stream(self, other: Stream) -> None:
        assert isinstance(other, Stream)


class Graph:
    """What a capture has recorded: operations, with what each of their tensors is."""

    def __init__(self, cuda: SimulatedCuda) -> None:
        self.cuda = cuda
        self.calls: list[tuple[Callable[..., Any], Any, Any, Any]] = []
        self.memory: dict[int, Tensor] = {}
        """Results in memory of their own, which they keep from replay to replay."""
        self.outside: dict[int, weakref.ref[Tensor]] = {}
        """Operands that were there before."""

    def replay(self) -> None:
        self.cuda.replays += 1
        with torch._C._AutoDispatchBelowAutograd():
            self._carry_out()

    def _carry_out(self) -> None:
        shown: dict[int, Tensor] = {}

        def operand(each: Any) -> Any:
            if not isinstance(each, Named):
                return each
            if each.number in self.outside:
                tensor = self.outside[each.number]()
                assert tensor is not None, "an operand's memory has been freed since the capture"
                return tensor
            return shown.get(each.number, self.memory.get(each.number))

        for function, args, kwargs, results in self.calls:
            found = function(*tree_map(operand, args), **tree_map(operand, kwargs))
            for name, new in zip(results, tree_leaves(found), strict=True):
                if not isinstance(name, Named):
                    continue
                if name.number in self.memory:
                    self.memory[name.number].copy_(new)
                elif name.number not in self.outside:
                    shown[name.number] = new


class Named:
    """A tensor of a recorded operation."""

    def __init__(self, number: int) -> None:
        self.number = number


class Recorder(TorchDispatchMode):
    """Records a capture, and afterwards puts its operands back to what they were."""

    def __init__(self, graph: Graph, host: list[Tensor]) -> None:
        super().__init__()
        self.graph = graph
        self._host = {_place(each) for each in host}
        self._known: dict[int, int] = {}
        self._alive: list[Tensor] = []
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        self._own: dict[int, Tensor] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operands = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        on_host = operands and all(_place(each) in self._host for each in operands)
        if func.namespace == "profiler" or on_host:
            found = func(*args, **kwargs)
            if on_host and isinstance(found, Tensor):
                self._host.add(_place(found))
                self._alive.append(found)
            return found
        from_host = any(_place(each) in self._host for each in operands)
        if WAITS & {*func.tags} or from_host or func is aten.lift_fresh.default:
            raise RuntimeError(f"{NOT_PERMITTED}: {func}\nand more")
        for each in operands:
            self._name(each, outside=True)
            if _place(each) not in self._own:  # not all that write into an operand say so
                whole = _bytes(each)
                self._before.setdefault(_place(each), (whole, whole.clone()))
        named = tree_map(self._named, (args, kwargs))
        found = func(*args, **kwargs)
        places = {_place(each) for each in operands}
        for each in tree_leaves(found):
            if isinstance(each, Tensor) and id(each) not in self._known:
                number = self._name(each)
                if _place(each) not in places:
                    self.graph.memory[number] = each
                    self._own[_place(each)] = each
        results = [self._named(each) for each in tree_leaves(found)]
        self.graph.calls.append((func, *named, results))
        return found

    def put_back(self) -> None:
        """Nothing has been computed: results are whatever lay in their memory."""
        for whole, before in self._before.values():
            whole.copy_(before)
        for each in self._own.values():
            _bytes(each).fill_(255)  # nan, as a float

    def _name(self, tensor: Tensor, outside: bool = False) -> int:
        if id(tensor) not in self._known:
            self._known[id(tensor)] = len(self._alive)
            if outside:
                self.graph.outside[len(self._alive)] = weakref.ref(tensor)
            self._alive.append(tensor)
        return self._known[id(tensor)]

    def _named(self, each: Any) -> Any:
        return Named(self._known[id(each)]) if isinstance(each, Tensor) else each


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _bytes(tensor: Tensor) -> Tensor:
    """All the memory that a tensor lies in."""
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> SimulatedCuda:
    """Runs on the CPU are captured as they are on CUDA, unless train.cuda_graph is false."""
    simulated = SimulatedCuda()
    simulated.put_in(monkeypatch)
    return simulated
