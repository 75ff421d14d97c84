"""What a config may say of a model, and which data each model takes."""

import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from lrrun.config.base import DataFacts
from lrrun.config.models import MODELS, Cnn, CustomModel, Gpt, Linear, Mlp, ModelSpec, ResNet

DIGITS = DataFacts(1437, 360, "classification", (1, 8, 8), 10)
CIFAR = DataFacts(50_000, 10_000, "classification", (3, 32, 32), 10)
TABLE = DataFacts(800, 200, "classification", (20,), 3)
TINY = DataFacts(800, 200, "classification", (1, 7, 9), 3)
TARGETS = DataFacts(800, 200, "regression", (20,), 2)
TEXT = DataFacts(1000, 100, "language", (64,), 256, 64)


def read(written):
    return TypeAdapter(ModelSpec).validate_python(written)


def refusals(written):
    with pytest.raises(ValidationError) as caught:
        read(written)
    return {each["loc"][1:]: each["msg"] for each in caught.value.errors()}


def test_a_section_is_told_apart_by_its_name():
    assert read({"name": "mlp", "hidden": [64, 32]}) == Mlp(hidden=(64, 32))
    assert {type(read({"name": each.model_fields["name"].default})) for each in MODELS} == set(
        MODELS
    )


def test_a_dumped_section_reads_back_as_itself():
    for spec in (Linear(), Mlp(hidden=(3,)), Cnn(), ResNet(depth=14), Gpt(width=32)):
        assert read(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ({"name": "mlp", "hidden": []}, ("hidden",)),
        ({"name": "mlp", "hidden": [64, 0]}, ("hidden", 1)),
        ({"name": "mlp", "hidden": ["64"]}, ("hidden", 0)),
        ({"name": "mlp", "hidden": 64}, ("hidden",)),
        ({"name": "mlp", "dropout": 1.0}, ("dropout",)),
        ({"name": "mlp", "hiden": [64]}, ("hiden",)),
        ({"name": "gpt", "layers": 0}, ("layers",)),
        ({"name": "cnn", "channels": [16.5]}, ("channels", 0)),
    ],
)
def test_a_wrong_value_is_refused_at_its_key(written, key):
    assert list(refusals(written)) == [key]


@pytest.mark.parametrize("depth", [8, 14, 20, 32, 44, 56, 110])
def test_a_resnet_has_6n_plus_2_layers(depth):
    assert ResNet(depth=depth).depth == depth


@pytest.mark.parametrize(
    ("depth", "near"), [(18, "14 and 20"), (101, "98 and 104"), (34, "32 and 38")]
)
def test_other_depths_are_refused_with_the_nearest(depth, near):
    assert near in refusals({"name": "resnet", "depth": depth})[("depth",)]


def test_heads_divide_the_width():
    message = refusals({"name": "gpt", "width": 96, "heads": 5})[("heads",)]
    assert "divisor of the width 96" in message
    assert "4 and 6" in message


@pytest.mark.parametrize(
    ("spec", "facts", "takes"),
    [
        (Linear(), DIGITS, True),
        (Linear(), TABLE, True),
        (Mlp(), TARGETS, True),
        (Mlp(), TEXT, False),
        (Linear(), TEXT, False),
        (Cnn(), DIGITS, True),
        (Cnn(), TABLE, False),
        (Cnn(), TINY, False),
        (Cnn(), TEXT, False),
        (ResNet(), CIFAR, True),
        (ResNet(), DIGITS, True),
        (ResNet(), TABLE, False),
        (Gpt(), TEXT, True),
        (Gpt(), DIGITS, False),
        (Gpt(), TARGETS, False),
    ],
)
def test_a_model_refuses_data_that_it_cannot_take(spec, facts, takes):
    problems = spec.problems(facts)
    assert [each.path for each in problems] == ([] if takes else [("model", "name")])


def test_a_refusal_says_what_to_use_instead():
    assert "use gpt" in Mlp().problems(TEXT)[0].message
    assert "(20,); use linear or mlp" in Cnn().problems(TABLE)[0].message
    assert "use mlp, cnn or resnet" in Gpt().problems(CIFAR)[0].message
    assert "use mlp" in Gpt().problems(TARGETS)[0].message
    assert "7x9" in Cnn().problems(TINY)[0].message


def test_a_cnn_cannot_halve_an_image_to_nothing():
    assert Cnn(channels=(4, 4, 4)).problems(DIGITS) == []
    (problem,) = Cnn(channels=(4, 4, 4, 4)).problems(DIGITS)
    assert problem.path == ("model", "channels")
    assert "at most 3" in problem.message


def test_a_custom_model_keeps_its_arguments():
    spec = CustomModel.model_validate({"name": "my.nets:Net", "size": 3})
    assert spec.arguments == {"size": 3}
    assert spec.problems(TEXT) == []
    with pytest.raises(ValidationError):
        CustomModel.model_validate({"name": "net"})


def test_declarations_do_not_load_torch():
    code = (
        "import sys, lrrun.config.models, lrrun.config.optimizers; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
