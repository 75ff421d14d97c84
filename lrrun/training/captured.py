"""A function of tensors as a CUDA graph: all its kernels in one launch.

Source: V. Nguyen et al., "Accelerating PyTorch with CUDA Graphs", 2021,
https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs/.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Outputs = tuple[Tensor, ...]


class Captured:
    """Calls `step` as it is the first time, captures it the second time, then replays the capture.

    The first call is the warm-up that a capture needs: libraries choose algorithms and take memory
    in it, an optimizer makes its state. `inputs` are arguments like those of every call, which are
    copied. All else that the step works on is read and written where it lies, and has to stay
    there. What a call returns is overwritten by the next. Where the capture fails, `failed` says
    why, and every call is made as it is.
    """

    def __init__(self, step: Callable[..., Outputs], inputs: Sequence[Tensor]) -> None:
        self.failed: str | None = None
        self._step = step  # kept, for the graph reads its constants
        self._inputs = [each.clone() for each in inputs]
        self._stream = _own_stream(inputs[0].device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outputs: Outputs = ()
        self._is_warm = False

    def __call__(self, *inputs: Tensor) -> Outputs:
        """What the step gives for these, on the device and not waited for."""
        for own, new in zip(self._inputs, inputs, strict=True):
            own.copy_(new)
        if not self._is_warm:
            return self._warm_up()
        if self._graph is None and self.failed is None:
            self._capture()
        if self._graph is None:
            return self._step(*self._inputs)
        self._graph.replay()
        return self._outputs

    def _warm_up(self) -> Outputs:
        """Call the step on the stream of the capture: libraries keep memory for every stream."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            outputs = self._step(*self._inputs)
        current.wait_stream(self._stream)
        self._is_warm = True
        return outputs

    def _capture(self) -> None:
        """Record what the step launches; nothing is computed.

        Other threads go on meanwhile: the one that pins batches in memory must not end the capture.
        A capture that fails does not give the stream back, so that is done here.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            with (
                torch.cuda.stream(self._stream),
                torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"),
            ):
                self._outputs = self._step(*self._inputs)
        except RuntimeError as error:
            self.failed = reason(error)
            return
        self._graph = graph


@functools.cache
def _own_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of all captures on a device, which cannot be the one that all else runs on."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def not_captured(why: str) -> str:
    """What is said of a step that cannot be captured, or could not."""
    return f"the step is not captured as a CUDA graph: {why}"


def reason(error: BaseException) -> str:
    """The first line of what went wrong first: ending a capture that has failed fails as well."""
    while error.__context__ is not None:
        error = error.__context__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
