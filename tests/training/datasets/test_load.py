"""Loading the built-in datasets: what is loaded is what the declaration said it would be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lrrun.config.datasets import (
    DATASETS,
    Csv,
    CustomDataset,
    Dataset,
    Digits,
    SyntheticClassification,
    SyntheticRegression,
    Text,
)
from lrrun.errors import UnusableFile
from lrrun.training.datasets import LOADERS, Splits, Table, load


def check_facts(spec: Dataset, folder: Path) -> Splits:
    """Load, and hold what was loaded against what the declaration knew without loading."""
    splits = load(spec, folder)
    facts = spec.facts(folder)
    assert splits.facts == facts
    assert facts is not None
    for source, rows in ((splits.train, facts.train_rows), (splits.val, facts.val_rows)):
        assert len(source) == rows
        x, y = source.batch(torch.tensor([0, rows - 1]))
        assert x.shape == (2, *facts.inputs)
        if facts.task == "language":
            assert (x.dtype, y.dtype, y.shape) == (torch.int64, torch.int64, x.shape)
        elif facts.task == "classification":
            assert (x.dtype, y.dtype, y.shape) == (torch.float32, torch.int64, (2,))
        else:
            assert (x.dtype, y.dtype) == (torch.float32, torch.float32)
            assert y.shape == (2, facts.outputs)
    return splits


def tables(splits: Splits) -> tuple[Table, Table]:
    assert isinstance(splits.train, Table)
    assert isinstance(splits.val, Table)
    return splits.train, splits.val


def test_every_declaration_has_a_loader():
    assert set(LOADERS) == {*DATASETS, CustomDataset}


def test_digits():
    from sklearn.datasets import load_digits

    train, val = tables(check_facts(Digits(), Path()))
    x, y = torch.cat([train.x, val.x]), torch.cat([train.y, val.y])
    bunch = load_digits()
    # the same images with the same labels, whatever the order
    got = torch.hstack([x.flatten(1) * 16, y[:, None]]).tolist()
    assert sorted(got) == sorted(np.column_stack([bunch.data, bunch.target]).tolist())
    share = torch.bincount(val.y) / torch.bincount(y)
    assert (share - 360 / 1797).abs().max() < 1 / 170
    assert (train.x.min(), train.x.max()) == (0, 1)


def test_digits_split_knows_no_seed():
    torch.manual_seed(1)
    np.random.seed(1)
    (first, _), (again, _) = tables(load(Digits(), Path())), tables(load(Digits(), Path()))
    assert torch.equal(first.x, again.x)


def test_clusters_stand_where_they_should():
    spec = SyntheticClassification(rows=8000, features=5, classes=3, separation=7.0)
    train, val = tables(check_facts(spec, Path()))
    x, y = torch.cat([train.x, val.x]), torch.cat([train.y, val.y])
    for label in range(3):
        cluster = x[y == label]
        assert len(cluster) in (2666, 2667)
        assert cluster.mean(0).norm() == pytest.approx(7, abs=0.15)
        torch.testing.assert_close(cluster.std(0), torch.ones(5), atol=0.08, rtol=0)
    assert (torch.bincount(val.y) - 1600 / 3).abs().max() < 1


@pytest.mark.parametrize("nonlinear", [False, True])
def test_regression_has_a_teacher_and_its_noise(nonlinear):
    declared = {"rows": 4000, "features": 8, "targets": 2, "nonlinear": nonlinear}
    noisy = SyntheticRegression(**declared, noise=0.5)
    train, _ = tables(check_facts(noisy, Path()))
    clean, _ = tables(load(SyntheticRegression(**declared, noise=0.0), Path()))
    torch.testing.assert_close(train.x, clean.x)
    assert (train.y - clean.y).std() == pytest.approx(0.5, rel=0.05)
    fit = torch.linalg.lstsq(clean.x, clean.y).solution
    left = (clean.y - clean.x @ fit).std() / clean.y.std()
    assert (left > 0.1) if nonlinear else (left < 1e-5)


@pytest.mark.parametrize("declaration", [SyntheticClassification, SyntheticRegression])
def test_synthetic_data_are_a_function_of_data_seed(declaration):
    torch.manual_seed(5)
    (a, _), (b, _), (c, _) = (
        tables(load(declaration(rows=40, data_seed=seed), Path())) for seed in (0, 0, 1)
    )
    assert torch.equal(a.x, b.x)
    assert torch.equal(a.y, b.y)
    assert not torch.equal(a.x, c.x)


# text


def test_text_is_the_bytes_of_the_files(tmp_path):
    (tmp_path / "b.txt").write_text("äöü€" * 40, encoding="utf-8")
    (tmp_path / "a.txt").write_text("0123456789" * 20)
    spec = Text(path=str(tmp_path), context=7, val_fraction=0.25, max_bytes=401)
    splits = check_facts(spec, Path())
    joined = (b"0123456789" * 20 + "äöü€".encode() * 40)[:401]
    train_bytes = 401 - 100
    x, y = splits.train.batch(torch.arange(len(splits.train)))
    covered = x.numel()
    assert bytes(x.flatten().tolist()) == joined[:covered]
    assert bytes(y.flatten().tolist()) == joined[1 : covered + 1]
    assert train_bytes - 7 <= covered + 1 <= train_bytes
    x, _ = splits.val.batch(torch.arange(len(splits.val)))
    assert bytes(x.flatten().tolist()) == joined[train_bytes : train_bytes + x.numel()]


def test_python_stdlib_loads_as_counted():
    splits = check_facts(Text(path="python-stdlib", max_bytes=300_000), Path())
    x, _ = splits.train.batch(torch.arange(50))
    assert b"import" in bytes(x.flatten().tolist())


@pytest.mark.parametrize("broken", [b"fine\nfine\nb\xe9d\n" * 40, b"fine\n" * 40 + b"\xc3"])
def test_text_must_be_utf8(tmp_path, broken):
    (tmp_path / "t.txt").write_bytes(broken)
    line = broken.decode(errors="replace").split("\ufffd")[0].count("\n") + 1
    with pytest.raises(UnusableFile, match=rf"t\.txt:{line}: byte 0x.. is not UTF-8"):
        load(Text(path="t.txt", context=4), tmp_path)


# csv


def csv(folder: Path, text: str, **more: object) -> Csv:
    (folder / "d.csv").write_text(text)
    return Csv.model_validate({"path": "d.csv", "target": "y", "task": "regression", **more})


def test_csv_classification_with_names(tmp_path):
    kinds = ["wolf", "cat", "dog"]
    text = "a,y,b\n" + "".join(f"{i},{kinds[i % 3]},{-i / 2}\n" for i in range(60))
    spec = csv(tmp_path, text, task="classification", standardize=False, val_fraction=0.3)
    train, val = tables(check_facts(spec, tmp_path))
    assert torch.bincount(val.y).tolist() == [6, 6, 6]
    x, y = torch.cat([train.x, val.x]), torch.cat([train.y, val.y])
    assert sorted(x[:, 0].tolist()) == list(range(60))
    torch.testing.assert_close(x[:, 1], -x[:, 0] / 2)
    # sorted names: cat 0, dog 1, wolf 2; rows cycle through wolf, cat, dog
    assert y.tolist() == [(2, 0, 1)[int(i) % 3] for i in x[:, 0].tolist()]


def test_csv_regression_standardizes_by_the_training_rows(tmp_path):
    rows = [(i * i, 7, 3.5 * i, i) for i in range(50)]
    text = "a,constant,y,z\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    spec = csv(tmp_path, text, target=["z", "y"])
    train, val = tables(check_facts(spec, tmp_path))
    a = torch.tensor([row[0] for row in rows]).double()
    i_train, i_val = train.y[:, 0].long(), val.y[:, 0].long()
    torch.testing.assert_close(train.y[:, 1], 3.5 * train.y[:, 0])
    mean, std = a[i_train].mean(), a[i_train].std(correction=0)
    for table, index in ((train, i_train), (val, i_val)):
        torch.testing.assert_close(table.x[:, 0], ((a[index] - mean) / std).float())
        assert (table.x[:, 1] == 0).all()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("abc", "'abc' is not a number"),
        ("", "blank"),
        ("  ", "blank"),
        ("1_0", "'1_0' is not a number"),
        ("٣", "'٣' is not a number"),
        ("0x10", "'0x10' is not a number"),
        ("nan", "nan is not finite"),
        ("-Inf", "-Inf is not finite"),
        ("1e39", "'1e39' is too large for a 32-bit float"),
        ('"1,5"', "'1,5' is not a number"),
    ],
)
def test_csv_cells_that_are_no_numbers(tmp_path, cell, message):
    good = "".join(f"{i},1e-3, +.5 \n" for i in range(39))
    for column, row in (("x3", f"1,{cell},3\n"), ("y", f"1,2,{cell}\n")):
        spec = csv(tmp_path, f"x1,x3,y\n{good}{row}")
        with pytest.raises(UnusableFile) as caught:
            load(spec, tmp_path)
        assert f"d.csv:41: column '{column}': {message}" in str(caught.value)
