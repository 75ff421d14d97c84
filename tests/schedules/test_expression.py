"""Functions in a config's arguments: what they may say, and what they may not."""

import math

import pytest

from lrrun.errors import LrrunError
from lrrun.schedules.expression import MAX_LENGTH, expression


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0.5 ** (epoch // 10)", 0.25),
        ("0.5 ** (t // 10)", 0.25),
        ("lambda step: 1 / (step + 1)", 1 / 26),
        ({"expr": "1 if t < 5 else math.exp(-t)", "var": "t"}, math.exp(-25)),
        ("min(1.0, max(epoch, 2) / 50)", 0.5),
        ("0.1 ** sum(epoch >= m for m in (10, 20, 30))", 0.01),
        ("[1.0, 0.5, 0.1][epoch // 10]", 0.1),
        ("0 < epoch <= 25 and not epoch % 2 == 0", 1.0),
        ("0.95", 0.95),
        (2, 2.0),
        ("1 / epoch ** 9", 25.0**-9),
    ],
)
def test_value(written, value):
    assert expression(written, "epoch")(25) == pytest.approx(value)


def test_two_variables_keep_their_order():
    assert expression("lr if epoch < 10 else lr / 2", "epoch", "lr")(10, 0.4) == 0.2
    assert expression({"expr": "b - a", "var": "a, b"}, "epoch", "lr")(1, 3) == 2


def test_the_step_is_a_whole_number_and_may_be_large():
    assert expression("t % 3 == 0", "epoch")(9_000_000.0) == 1.0
    assert expression("t ** 2", "epoch")(9e6) == 81e12


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("__import__('os').system('x')", "dot is allowed after math"),
        ("epoch.real", "dot is allowed after math"),
        ("math.__loader__", "not known"),
        ("math.factorial(epoch)", "not known"),
        ("eval('1')", "eval is not known"),
        ("min.__self__", "dot is allowed after math"),
        ("'a' * epoch", "is not a number"),
        ("(lambda: 1)()", "not arithmetic|can be called"),
        ("[x := 1]", "NamedExpr is not arithmetic"),
        ("f'{epoch}'", "JoinedStr is not arithmetic"),
        ("1 +", "invalid syntax"),
        ("", "expected an arithmetic expression of epoch"),
        ("a * b", "a is not known; its value depends on epoch"),
        ("math.sqr(epoch)", "did you mean math.sqrt"),
        ("lambda a, b: a", "takes 2 arguments"),
        (None, "write it as a text"),
        ({"expr": "1", "var": "a, b"}, "expected var: epoch"),
        ("1" * (MAX_LENGTH + 1), f"at most {MAX_LENGTH} characters"),
    ],
)
def test_refused_before_anything_is_evaluated(written, said):
    with pytest.raises(ValueError, match=said):
        expression(written, "epoch")


@pytest.mark.parametrize(
    "written", ["1 / (epoch - 3)", "9 ** 9 ** 9 ** 9", "(-8) ** (epoch / 9)", "[0] * 10 ** 9"]
)
def test_no_value_at_a_step_is_an_error_that_names_it(written):
    with pytest.raises(LrrunError, match="has no value at epoch = 3"):
        expression(written, "epoch")(3)
