"""The built-in models: shapes, sizes, starting points, and what they may look at."""

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from lrrun.config.base import DataFacts
from lrrun.config.models import Cnn, CustomModel, Gpt, Linear, Mlp, ResNet
from lrrun.errors import ConfigError
from lrrun.training.models import build, build_shapes

DIGITS = DataFacts(1437, 360, "classification", (1, 8, 8), 10)
CIFAR = DataFacts(50_000, 10_000, "classification", (3, 32, 32), 10)
TARGETS = DataFacts(800, 200, "regression", (20,), 2)
TEXT = DataFacts(1000, 100, "language", (16,), 256, 16)

EVERY = [
    (Linear(), DIGITS),
    (Linear(), TARGETS),
    (Mlp(), DIGITS),
    (Mlp(hidden=(8,), dropout=0.5), TARGETS),
    (Cnn(channels=(4, 6, 8)), DIGITS),
    (Cnn(channels=(4,), dropout=0.5), DataFacts(9, 9, "classification", (2, 9, 11), 3)),
    (ResNet(depth=8, width=4), DIGITS),
    (ResNet(depth=14, width=4), CIFAR),
    (Gpt(layers=2, width=32), TEXT),
    (Gpt(layers=1, width=32, dropout=0.5), TEXT),
]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(spec, facts, tmp_path, seed=0):
    torch.manual_seed(seed)
    return build(spec, facts, tmp_path)


def inputs(facts, rows=5):
    generator = torch.Generator().manual_seed(1)
    if facts.task == "language":
        return torch.randint(facts.outputs, (rows, *facts.inputs), generator=generator)
    return torch.randn(rows, *facts.inputs, generator=generator)


def size(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("spec", "facts"), EVERY)
def test_one_output_a_sample_or_a_token(spec, facts, tmp_path):
    outputs = make(spec, facts, tmp_path)(inputs(facts))
    rows = (5, 16) if facts.task == "language" else (5,)
    assert outputs.shape == (*rows, facts.outputs)


@pytest.mark.parametrize(("spec", "facts"), EVERY)
def test_weights_depend_on_the_seed_alone(spec, facts, tmp_path):
    one, same, other = (make(spec, facts, tmp_path, seed).state_dict() for seed in (7, 7, 8))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(("spec", "facts"), EVERY)
def test_shapes_alone_take_nothing_from_the_generator(spec, facts, tmp_path):
    whole = make(spec, facts, tmp_path)
    before = torch.get_rng_state()
    outline = build_shapes(spec, facts, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(each.is_meta for each in outline.parameters())
    shapes = [
        [(name, each.shape, each.dtype) for name, each in model.named_parameters()]
        for model in (whole, outline)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("spec", "facts"), EVERY)
def test_every_parameter_gets_a_gradient(spec, facts, tmp_path):
    model = make(spec, facts, tmp_path)
    model(inputs(facts)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("depth", "count"),
    [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)],
)
def test_a_resnet_is_as_large_as_the_papers(depth, count, tmp_path):
    """He et al. (2015), table 6: 0.27M, 0.46M, 0.66M, 0.85M and 1.7M parameters."""
    n = (depth - 2) // 6
    convolutions = 9 * (3 * 16 + 16 * 16 * 2 * n)
    for wide in (32, 64):
        convolutions += 9 * (wide // 2 * wide + wide * wide * (2 * n - 1))
    norms = 2 * (16 + 2 * n * (16 + 32 + 64))
    head = 64 * 10 + 10
    assert convolutions + norms + head == count
    assert size(make(ResNet(depth=depth), CIFAR, tmp_path)) == count


def test_a_resnet_has_as_many_layers_as_it_says(tmp_path):
    model = make(ResNet(depth=20), CIFAR, tmp_path)
    assert sum(isinstance(each, nn.Conv2d | nn.Linear) for each in model.modules()) == 20


def test_a_shortcut_pads_with_zeros(tmp_path):
    """With both convolutions at 0 a block is its shortcut: every second pixel, then zeros."""
    block = make(ResNet(depth=8, width=4), CIFAR, tmp_path).body[1].eval()
    nn.init.zeros_(block.conv2.weight)
    x = inputs(DataFacts(1, 1, "classification", (4, 8, 8), 1))
    y = block(x)
    assert y.shape == (5, 8, 4, 4)
    assert torch.equal(y[:, :4], x[:, :, ::2, ::2].relu())
    assert y[:, 4:].count_nonzero() == 0


def test_sizes_of_the_simple_models(tmp_path):
    assert size(make(Linear(), DIGITS, tmp_path)) == 64 * 10 + 10
    assert size(make(Mlp(), DIGITS, tmp_path)) == 65 * 128 + 129 * 128 + 129 * 10
    assert size(make(Cnn(), DIGITS, tmp_path)) == 10 * 16 + (9 * 16 + 1) * 32 + 2 * 2 * 32 * 10 + 10


def test_mlp_is_relu_between_linear_layers(tmp_path):
    model, x = make(Mlp(hidden=(7,)), TARGETS, tmp_path), inputs(TARGETS)
    first = model.body[0]
    hidden = (x @ first.weight.T + first.bias).clamp(min=0)
    torch.testing.assert_close(model(x), hidden @ model.head.weight.T + model.head.bias)


def test_gpt_size(tmp_path):
    layers, width, context = 3, 32, 16
    block = 12 * width * width + 13 * width  # 4 matrices' worth, their biases, two norms
    expected = layers * block + (256 + context) * width + 2 * width
    model = make(Gpt(layers=layers, width=width), TEXT, tmp_path)
    assert size(model) == expected  # the output matrix is the token embedding: not counted twice


def test_gpt_does_not_see_the_future(tmp_path):
    model, tokens = make(Gpt(layers=2, width=32), TEXT, tmp_path).eval(), inputs(TEXT)
    changed = tokens.clone()
    changed[:, 9] = (changed[:, 9] + 1) % 256
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :9], after[:, :9], rtol=0, atol=1e-6)
    assert (before[:, 9:] - after[:, 9:]).abs().amax((0, 2)).min() > 1e-4


def test_gpt_knows_positions(tmp_path):
    logits = make(Gpt(layers=1, width=32), TEXT, tmp_path)(torch.zeros(1, 16, dtype=torch.long))
    assert (logits[0, 0] - logits[0, 1]).abs().max() > 1e-3


def test_gpt_takes_windows_shorter_than_its_context(tmp_path):
    model, tokens = make(Gpt(layers=1, width=32), TEXT, tmp_path).eval(), inputs(TEXT)
    torch.testing.assert_close(model(tokens[:, :4]), model(tokens)[:, :4], rtol=0, atol=1e-6)


def test_gpt_starts_from_a_uniform_guess(tmp_path):
    """At the start all bytes are about equally likely: ln 256 = 5.545 nats."""
    model, tokens = make(Gpt(), TEXT, tmp_path), inputs(TEXT, rows=64)
    loss = F.cross_entropy(model(tokens).flatten(0, 1), tokens.roll(1, 0).flatten())
    assert abs(loss.item() - math.log(256)) < 0.1


def test_gpt_scales_what_writes_into_the_residual_stream(tmp_path):
    model = make(Gpt(layers=8, width=128), TEXT, tmp_path)
    for block in model.blocks:
        assert block.up.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert block.down.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
        assert block.attention.out.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
        assert block.attention.qkv.bias.count_nonzero() == 0


@pytest.mark.parametrize(
    ("spec", "facts"),
    [
        (Mlp(dropout=0.5), DIGITS),
        (Cnn(dropout=0.5), DIGITS),
        (Gpt(layers=1, width=32, dropout=0.5), TEXT),
    ],
)
def test_dropout_acts_in_training_alone(spec, facts, tmp_path):
    model, x = make(spec, facts, tmp_path), inputs(facts)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize(
    ("spec", "facts"),
    [
        (Linear(), DIGITS),
        (Mlp(), DIGITS),
        (Cnn(), DIGITS),
        (ResNet(depth=8, width=4), DIGITS),
        (Gpt(layers=1, width=32), TEXT),
    ],
)
def test_replicas_can_be_stacked(spec, facts, tmp_path):
    """A stack under vmap computes each replica's own outputs and gradients."""
    replicas = [make(spec, facts, tmp_path, seed) for seed in range(3)]
    x = inputs(facts)

    def outputs(parameters, buffers):
        return functional_call(replicas[0], (parameters, buffers), (x,))

    def loss(parameters, buffers):
        return outputs(parameters, buffers).square().mean()

    parameters, buffers = stack_module_state(replicas)
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernel has no batching rule on the CPU
        gradients = vmap(grad(loss))(parameters, buffers)
        stacked = vmap(outputs)(parameters, buffers)
        for k, replica in enumerate(replicas):
            alone = replica(x)
            torch.testing.assert_close(stacked[k], alone)
            alone.square().mean().backward()
            for name, parameter in replica.named_parameters():
                torch.testing.assert_close(gradients[name][k], parameter.grad, rtol=1e-3, atol=1e-5)


def test_data_that_a_model_cannot_take_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="use linear or mlp"):
        build(Cnn(), TARGETS, tmp_path)


NETS = """
from torch import nn

def net(size, depth=1):
    if depth > 3:
        raise RuntimeError("too deep")
    return nn.Linear(size, 2)

def text(size):
    return "a net"

constant = 3
"""


def custom(tmp_path, thing, **arguments):
    (tmp_path / "own_nets_for_tests.py").write_text(NETS)
    spec = CustomModel(name=f"own_nets_for_tests:{thing}", **arguments)
    return build(spec, TARGETS, tmp_path)


def test_a_custom_model_lies_next_to_the_config(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    assert custom(tmp_path, "net", size=20).weight.shape == (2, 20)


@pytest.mark.parametrize(
    ("thing", "arguments", "path", "message"),
    [
        ("nett", {}, "model.name", "did you mean net?"),
        ("constant", {}, "model.name", "expected a class or function"),
        ("net", {"sise": 3}, "model.sise", "did you mean size?"),
        ("net", {}, "model", "size is missing"),
        ("net", {"size": 3, "depth": 4}, "model.name", "RuntimeError: too deep"),
        ("text", {"size": 3}, "model.name", "expected a torch.nn.Module"),
    ],
)
def test_a_custom_model_that_fails_says_why(thing, arguments, path, message, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        custom(tmp_path, thing, **arguments)
    assert any(str(each).startswith(f"{path}: ") for each in caught.value.problems)
    assert message in str(caught.value)
