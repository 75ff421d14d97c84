"""The house rules, held by a walk over the source: who imports whom, torch's place, sizes."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lrrun

PACKAGE = Path(lrrun.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

LEVELS = [
    {"batches", "errors", "records", "registry", "units"},
    {"schedules"},
    {"runlog", "config"},
    {"training"},
    {"analysis"},
    {"search"},
    {"render"},
    {"cli"},
    {"__main__"},
]
"""From the ground up: a room imports from below; on the ground they may know each other."""

PURE = {"schedules", "analysis", "batches", "units", "records", "errors"}
"""Rooms that do no I/O and read no clock."""


def room(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


def level(name: str) -> int:
    return next(k for k, rooms in enumerate(LEVELS) if name in rooms)


def imports(tree: ast.AST, everywhere: bool = True) -> list[str]:
    """The modules that a file imports: anywhere, or while it is being imported."""
    nodes = list(ast.walk(tree)) if everywhere else _at_import(tree)
    found = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def _at_import(tree: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        found += [node, *_at_import(node)]
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_keeps_the_house_rules(file: Path) -> None:
    text = file.read_text("utf-8")
    tree = ast.parse(text)
    own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own != "__init__":
        for module in imports(tree):
            other = room(module)
            ours = module.startswith("lrrun.") and other != "__version__"
            if ours and other != own:
                below = level(other) < level(own) or (own in LEVELS[0] and other in LEVELS[0])
                assert below, f"{own} imports {module}, which is not below it"
    heavy = {"torch", "matplotlib", "sklearn", "optuna", "ray"}
    heavy -= {"torch"} if own == "training" else set()
    loaded = {module.split(".")[0] for module in imports(tree, everywhere=False)}
    assert not loaded & heavy
    if own in PURE:
        assert not {"time", "datetime", "subprocess", "socket", "os"} & loaded
        assert not any(_is_open(node) for node in ast.walk(tree))
    assert len(text.splitlines()) <= 300
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert _length(node) <= 50, f"{node.name} has {_length(node)} lines"


def _is_open(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"


def _length(node: ast.FunctionDef) -> int:
    """Lines of a function's body, its docstring left out; a signature has the lines it needs."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_the_loop_and_the_log_meet_in_the_runner_alone() -> None:
    for name in ("loop", "update", "trainee", "watch"):
        tree = ast.parse((PACKAGE / "training" / f"{name}.py").read_text("utf-8"))
        assert not any(module.startswith("lrrun.runlog") for module in imports(tree))
    for file in (PACKAGE / "runlog").glob("*.py"):
        assert "lrrun.training" not in file.read_text("utf-8")


def test_the_command_never_loads_torch_to_read(tmp_path: Path) -> None:
    """--help, schedule, check, list, components and schema, in one fresh interpreter each."""
    config = tmp_path / "c.yaml"
    config.write_text(
        "model: mlp\ndataset: digits\noptimizer: {name: sgd, lr: 0.1}\ntrain: {epochs: 1}\n"
    )
    code = (
        "import sys; sys.argv = ['lrrun', *sys.argv[1:]]\n"
        "from lrrun.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'torch', 'matplotlib', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    commands = [["--help"], ["schedule", "cosine"], ["check", str(config)], ["list"], ["schema"]]
    for arguments in [*commands, ["components", "--all"], ["init", "--list"]]:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, (arguments, done.stderr)


def test_help_loads_nothing_that_it_does_not_need() -> None:
    code = (
        "import sys; sys.argv = ['lrrun', '--version']\n"
        "from lrrun.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit:\n    pass\n"
        "print(*sorted({'numpy', 'pydantic', 'yaml', 'torch'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_an_eager_run_loads_neither_the_compiler_nor_what_it_does_not_name(tmp_path: Path) -> None:
    """Torch's compiler alone takes as long to load as torch: a run begins that much sooner."""
    code = (
        "import sys; command = sys.argv[1:]\n"
        "from lrrun.cli.main import run\n"
        "for model in ('mlp', 'cnn', 'mlp train.precision=fp16',\n"
        "              'mlp --fuse seeds=[0,1]', 'cnn --fuse seeds=[0,1]'):\n"
        "    sys.argv = ['lrrun', *command, *f'model={model}'.split()]\n"
        "    try:\n        run()\n"
        "    except SystemExit as end:\n        assert not end.code, end.code\n"
        "heavy = {'matplotlib', 'optuna', 'pandas', 'ray', 'scipy', 'sklearn', 'sympy'}\n"
        "heavy |= {'torch._dynamo', 'torch._inductor', 'torch.utils.tensorboard'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    config = tmp_path / "c.yaml"
    config.write_text(
        "model: mlp\ndataset: digits\noptimizer: {name: sgd, lr: 0.1, momentum: 0.9}\n"
        "scheduler: {name: cosine, warmup: 1}\n"
        "train: {steps: 2, device: cpu, clip_norm: 1.0, ema: 0.9}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "train", str(config), "--quiet"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
