"""A graph bound to memory: call after call what the graph itself gives, and outputs in place."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from lrrun.config.base import DataFacts
from lrrun.config.models import Cnn, Gpt, Mlp, ResNet
from lrrun.training.fused.blocks import Block, blocks_of
from lrrun.training.fused.graph import clean
from lrrun.training.fused.lifetimes import Memory
from lrrun.training.fused.program import Program
from lrrun.training.fused.stack import FusedModel
from lrrun.training.fused.tracing import trace
from lrrun.training.models import build
from lrrun.training.tasks import task_for

TABLE = DataFacts(64, 16, "classification", (6,), 3)
IMAGES = DataFacts(64, 16, "classification", (2, 8, 8), 3)
TEXT = DataFacts(64, 16, "language", (8,), 11, 8)

SPECS = {
    "mlp": (Mlp(hidden=(4, 5)), TABLE),
    "cnn": (Cnn(channels=(3, 4)), IMAGES),
    "resnet": (ResNet(depth=8, width=2), IMAGES),
    "gpt": (Gpt(layers=2, width=8, heads=2), TEXT),
}


def modules(spec, facts, count=3):
    found = []
    for seed in range(count):
        torch.manual_seed(seed)
        found.append(build(spec, facts, Path()).double())
    return found


def batch(facts, rows=8):
    if facts.task == "language":
        x = torch.randint(0, facts.outputs, (rows, *facts.inputs))
        return x, torch.randint(0, facts.outputs, (rows, *facts.inputs))
    x = torch.randn(rows, *facts.inputs, dtype=torch.float64)
    return x, torch.randint(0, facts.outputs, (rows,))


def inputs_of(stack):
    return [*stack.stacked_parameters.values(), *stack.stacked_buffers.values()]


@pytest.mark.parametrize("kind", ["step", "evaluation"])
@pytest.mark.parametrize("model", SPECS)
def test_a_program_gives_what_its_graph_does_call_after_call(model, kind):
    spec, facts = SPECS[model]
    stack = FusedModel(modules(spec, facts), task_for(facts.task), shared_data=True)
    x, y = batch(facts)
    inputs = inputs_of(stack)
    graph = stack._passes.traced(kind, *inputs, x, y)
    grads = enumerate(stack.grads, start=1) if kind == "step" else ()
    program = Program(graph, inputs, x, y, dict(grads))
    for _ in range(3):
        x, y = batch(facts)
        with torch.no_grad():
            wanted = [each.clone() for each in graph.module()(*inputs, x, y)]
            found = program(x, y)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
        if kind == "step":
            for place, other in zip(stack.grads, wanted[1:], strict=False):
                torch.testing.assert_close(place, other, rtol=1e-12, atol=1e-14)


def test_weights_that_have_moved_are_read_where_they_lie():
    stack = FusedModel(modules(Mlp(hidden=(4,)), TABLE), task_for("classification"), shared_data=1)
    data = [batch(TABLE)]
    first = stack.gradients(data, 8)
    for block in stack.groups[0]:
        block.values.mul_(1.5)
    moved = stack.gradients(data, 8)
    again = FusedModel(modules(Mlp(hidden=(4,)), TABLE), task_for("classification"), shared_data=1)
    for block in again.groups[0]:
        block.values.mul_(1.5)
    assert not torch.equal(first, moved)
    assert torch.equal(moved, again.gradients(data, 8))


def traced(function, *tensors):
    return clean(trace(function, *tensors), kept=0)


def test_memory_is_taken_over_by_later_results_and_never_while_it_is_read():
    def function(w, x, y):
        a = torch.sin(x)  # read again at the end
        b = torch.cos(a)
        c = torch.exp(b)
        return [torch.tanh(c) + a, (w * y).sum().reshape(1)]

    w, x, y = (torch.randn(64, 64, dtype=torch.float64) for _ in range(3))
    graph = traced(function, w, x, y)
    program = Program(graph, [w], x, y, {})
    pieces = {each.data_ptr() for call in program._calls for each in _tensors(call)}
    assert len(pieces) < 8  # w, x, y, the sum, and fewer than one a result
    for _ in range(2):
        x, y = torch.randn_like(x), torch.randn_like(y)
        for one, other in zip(program(x, y), function(w, x, y), strict=True):
            torch.testing.assert_close(one, other)


def _tensors(call):
    values = [*getattr(call, "args", ()), *getattr(call, "keywords", {}).values()]
    return [each for each in values if isinstance(each, torch.Tensor)]


def test_memory_of_another_size_or_dtype_is_not_taken():
    memory = Memory(torch.device("cpu"))
    wide = memory.take(torch.empty(4, 3))
    memory.give_back(wide)
    assert memory.take(torch.empty(4, 3, dtype=torch.float64)).dtype == torch.float64
    assert memory.take(torch.empty(2, 3)).data_ptr() != wide.data_ptr()
    turned = memory.take(torch.empty(3, 4).T)
    assert turned.data_ptr() == wide.data_ptr()
    assert turned.stride() == (1, 4)
    assert memory.take(torch.empty(4, 3)).data_ptr() != wide.data_ptr()


class Gated(nn.Module):
    """Parameters of two dtypes, one of them frozen, and a dropped-out path of random numbers."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 6, dtype=torch.float64))
        self.gate = nn.Parameter(torch.rand(6, dtype=torch.float32))
        self.scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64), requires_grad=False)

    def forward(self, x):
        return (x * self.gate.double().sigmoid()) @ self.weight.T * self.scale


def test_blocks_hold_what_their_parameters_were_by_dtype():
    models = [Gated() for _ in range(3)]
    stack = FusedModel(models, task_for("classification"), shared_data=True)
    assert [each.names for each in stack.groups[0]] == [("weight",), ("gate",)]
    assert {each.values.dtype for each in stack.groups[0]} == {torch.float64, torch.float32}
    x, y = batch(TABLE)
    stack.gradients([(x, y)], 8)
    for k, model in enumerate(models):
        torch.nn.functional.cross_entropy(model(x), y).backward()
        torch.testing.assert_close(stack.grads[0][k], model.weight.grad)
        torch.testing.assert_close(stack.grads[1][k], model.gate.grad)
    assert stack.stacked_parameters["scale"].tolist() == [2.0, 2.0, 2.0]


def test_parameters_begin_at_cache_lines_and_gaps_stay_zero():
    tensors = {"a": torch.randn(2, 3, 3), "b": torch.randn(2, 5), "none": torch.randn(2, 0)}
    block = Block(tensors)
    views = block.views(block.values)
    assert {name: view.data_ptr() % 64 for name, view in views.items() if view.numel()} == {
        "a": block.values.data_ptr() % 64,
        "b": block.values.data_ptr() % 64,
    }
    for name, view in views.items():
        assert torch.equal(view, tensors[name])
    total = sum(each.abs().sum() for each in tensors.values())
    torch.testing.assert_close(block.values.abs().sum(), total)
    assert [each.names for each in blocks_of(tensors, ["b", "a"])] == [("b", "a")]


def test_what_writes_through_a_view_is_seen_by_whoever_reads_the_whole():
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Flatten(0), nn.ReLU())
    weights = {name: torch.stack([each, -each]) for name, each in module.named_parameters()}

    def function(*tensors):
        given = dict(zip(weights, tensors[:2], strict=True))
        return [vmap(lambda w, x: functional_call(module, w, (x,)), (0, None))(given, tensors[2])]

    x = torch.randn(4, 6)
    with torch.no_grad():
        graph = traced(function, *weights.values(), x, x)
        program = Program(graph, list(weights.values()), x, x, {})
        x = torch.randn(4, 6)
        for k, sign in enumerate((1, -1)):
            own = {name: sign * each for name, each in module.named_parameters()}
            torch.testing.assert_close(program(x, x)[0][k], functional_call(module, own, (x,)))
