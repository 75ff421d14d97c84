"""Cleaning a traced graph: the same values from fewer operations."""

import pytest
import torch

from lrrun.training.fused.graph import clean
from lrrun.training.fused.tracing import trace

aten = torch.ops.aten
X = torch.randn(3, 4, 5)
W = torch.randn(3, 6, 5)
B = torch.randn(3, 6)


def operations(traced):
    return [node.target for node in traced.graph.nodes if node.op == "call_function"]


def cleaned(function, *tensors, kept=0):
    """The cleaned trace, after a look that it gives what the function gives."""
    traced = clean(trace(function, *tensors), kept)
    for found, expected in zip(traced.module()(*tensors), function(*tensors), strict=True):
        torch.testing.assert_close(found, expected)
        assert found.stride() == torch.empty_like(found).contiguous().stride()
    return traced


def test_a_product_and_a_bias_are_one_operation():
    traced = cleaned(lambda x, w, b: [torch.bmm(x, w.mT) + b[:, None]], X, W, B)
    assert aten.baddbmm.default in operations(traced)
    assert aten.add.Tensor not in operations(traced)


def test_a_bias_is_added_under_other_leading_dimensions():
    traced = cleaned(
        lambda x, w, b: [torch.bmm(x, w.mT).view(3, 2, 2, 6) + b.view(3, 1, 1, 6)], X, W, B
    )
    assert aten.baddbmm.default in operations(traced)


def test_what_is_no_bias_stays_a_sum():
    traced = cleaned(lambda x, w, c: [torch.bmm(x, w.mT) + c], X, W, torch.randn(4, 1))
    assert aten.bmm.default in operations(traced)


def test_a_transposed_product_is_made_the_other_way_round():
    traced = cleaned(lambda x, w: [torch.bmm(x, w.mT).mT], X, W)
    assert aten.clone.default not in operations(traced)


def test_views_that_cancel_and_products_by_one_are_dropped():
    traced = cleaned(lambda x: [x.mT.mT.expand(3, 4, 5).view(3, 4, 5).mul(1).exp()], X)
    assert operations(traced) == [aten.exp.default]


def test_equal_operations_are_carried_out_once():
    traced = cleaned(lambda x: [x.exp() * 2 + x.exp() * 2], X)
    assert operations(traced).count(aten.exp.default) == 1


def test_random_numbers_are_drawn_each_time():
    traced = clean(trace(lambda x: [torch.rand_like(x) - torch.rand_like(x)], X))
    module = traced.module()
    (first,), (second,) = module(X), module(X)
    assert first.any()
    assert not torch.equal(first, second)


def test_what_depends_on_no_input_is_computed_once():
    traced = cleaned(lambda x: [x + torch.arange(5).mul(2).float()], X)
    assert operations(traced) == [aten.add.Tensor]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: [x.exp(), x.exp()],
        lambda x: [x],
        lambda x: [x.exp()[0]],
        lambda x: [x.exp().mT],
    ],
    ids=["twice", "input", "part", "transposed"],
)
def test_outputs_have_contiguous_memory_of_their_own(function):
    found = cleaned(function, X).module()(X)
    assert len({each.untyped_storage().data_ptr() for each in (*found, X)}) == len(found) + 1
    assert all(each.untyped_storage().nbytes() == each.nbytes for each in found)


def test_inputs_and_values_that_are_read_later_are_not_overwritten():
    before = X.clone()

    def function(x):
        y = x.exp()
        z = y.relu()
        return [z + y, x.relu()]

    cleaned(function, X)
    assert torch.equal(X, before)


def test_a_value_nobody_else_reads_is_overwritten():
    assert operations(cleaned(lambda x: [x.exp().relu()], X))[-1] is aten.relu_.default


def test_mutations_in_the_traced_function_are_resolved():
    def function(x):
        y = x.clone()
        y.add_(1)
        return [y * 2, y.mul_(3).clone()]

    cleaned(function, X)
