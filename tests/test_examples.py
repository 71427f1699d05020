# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The scripts that users run first, on tiny data."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from imblearn.over_sampling import RandomOverSampler
from PIL import Image
from safetensors.torch import save_file
from sklearn.base import clone

from ldmlr_sklearn._backbones._paper_networks import cifar_resnet32

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def quick(script, monkeypatch):
    """The same with a few training steps in place of the defaults."""
    comparison = script("comparison")
    competitors = comparison.competitors

    def quick_competitors(y_train, seed):
        methods = competitors(y_train, seed)
        sampler = methods["LatentDiffusionOversampler"].set_params(max_steps=5)
        methods["LDMLRClassifier"].set_params(oversampler=clone(sampler))
        return methods

    monkeypatch.setattr(comparison, "competitors", quick_competitors)
    return script


def features(n_features=4, counts=(40, 12, 3), seed=0):
    y = np.repeat(np.arange(len(counts)), counts)
    X = np.random.default_rng(seed).normal(size=(len(y), n_features)) + 2 * y[:, None]
    return X.astype(np.float32), y


def test_demo_is_a_script_and_fails_like_one(tmp_path):
    command = [sys.executable, EXAMPLES / "demo.py", "--data", "nowhere"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("demo.py: There is no folder 'nowhere'.")


def test_demo_runs_on_the_digits(quick, tmp_path, capsys):
    quick("demo").main(["--seeds", "1", "--epochs", "1"])
    printed = capsys.readouterr().out
    assert "10 classes of" in printed
    assert "Encoder test_resnet, trained for 1 epochs" in printed
    for name in ("no resampling", "SMOTE", "LatentDiffusionOversampler"):
        assert f"\n{name}  " in printed
    assert "over 1 seed(s)" in printed
    with Image.open(tmp_path / "demo_features.png") as figure:
        assert figure.width > figure.height


def test_demo_takes_features(quick, tmp_path, capsys):
    X, y = features()
    X_test, y_test = features(counts=(9, 9, 9), seed=1)
    names = np.array(["ant", "bee", "cat"])
    np.savez(
        tmp_path / "data.npz",
        **dict(X_train=X, y_train=names[y], X_test=X_test, y_test=names[y_test]),
    )
    quick("demo").main(["--data", str(tmp_path / "data.npz"), "--seeds", "1"])
    printed = capsys.readouterr().out
    assert "55 training rows, 3 classes of 40 to 3 rows" in printed
    assert "27 test rows" in printed
    assert "Encoder" not in printed
    assert (tmp_path / "demo_features.png").exists()


def write_images(folder, counts, seed=0):
    rng = np.random.default_rng(seed)
    for class_, count in counts.items():
        (folder / class_).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(256, size=(9, 7, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / class_ / f"{number}.png")


@pytest.mark.parametrize("parts", [[""], ["train", "test"]], ids=["whole", "split"])
def test_demo_takes_folders_of_images(quick, tmp_path, capsys, parts):
    folder = tmp_path / "images"
    for seed, part in enumerate(parts):
        write_images(folder / part, {"cat": 12, "dog": 1}, seed)
    options = ["--data", str(folder), "--seeds", "1", "--epochs", "0"]
    quick("demo").main([*options, "--image-size", "16"])
    printed = capsys.readouterr().out
    assert "Encoder test_resnet, frozen" in printed
    assert "SMOTE is left out: a class has one row" in printed
    n_rows = (9, 4) if parts == [""] else (13, 13)
    assert f"{n_rows[0]} training rows, 2 classes" in printed
    assert f"{n_rows[1]} test rows" in printed


def test_split_sets_aside_a_share_of_every_class(script):
    split_rows = script("demo").split_rows
    y = np.repeat([0, 1, 2, 3], [20, 10, 2, 1])
    rows = [f"{row}.png" for row in range(len(y))]
    split = split_rows(rows, y, seed=0)
    assert np.bincount(split.y_test, minlength=4).tolist() == [6, 3, 1, 0]
    assert sorted(split.X_train + split.X_test) == sorted(rows)
    assert [y[rows.index(row)] for row in split.X_test] == split.y_test.tolist()
    assert split_rows(rows, y, seed=1).X_test != split.X_test


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones((4, 2))}, r"must hold the arrays X and y, .* Got \['X'\]"),
        ({"X": np.ones((4, 2)), "y": [0, 1, 0]}, r"one label for every row of X"),
        ({"X": np.ones((4, 2)), "y": np.ones((4, 1))}, r"one label for every row of X"),
        ({"X": np.ones((4, 2)), "y": np.ones(4)}, r"at least two classes .* Got 1"),
        ({"X": np.ones((4, 2)), "y": [None] * 4}, r"not a readable .npz file: Object"),
    ],
)
def test_demo_refuses_arrays(script, tmp_path, arrays, message):
    path = tmp_path / "data.npz"
    np.savez(path, **{name: np.asarray(array) for name, array in arrays.items()})
    with pytest.raises(SystemExit, match=message):
        script("demo").main(["--data", str(path)])


def test_demo_refuses_what_it_cannot_read(quick, tmp_path, capsys):
    main = quick("demo").main
    (tmp_path / "broken.npz").write_text("no archive")
    (tmp_path / "photo.png").touch()
    write_images(tmp_path / "one", {"cat": 2})
    for name, message in {
        "nowhere": "There is no folder",
        "nowhere.npz": "No such file",
        "broken.npz": "not a readable .npz file",
        "photo.png": "neither a folder of class folders nor a .npz file",
        "one": "at least two classes to tell apart",
    }.items():
        with pytest.raises(SystemExit, match=message):
            main(["--data", str(tmp_path / name)])
    (tmp_path / "one" / "dog").mkdir()
    (tmp_path / "one" / "dog" / "1.png").write_text("no picture")
    with pytest.raises(SystemExit, match=r"1\.png"):
        main(["--data", str(tmp_path / "one")])
    for part, class_ in (("train", "cat"), ("train", "dog"), ("test", "fox")):
        write_images(tmp_path / "both" / part, {class_: 2})
    with pytest.raises(SystemExit, match=r"classes without training rows: \['fox'\]"):
        main(["--data", str(tmp_path / "both")])
    with pytest.raises(SystemExit):
        main(["--seeds", "0"])
    assert "--seeds must be at least 1. Got 0" in capsys.readouterr().err


def test_all_methods_share_one_head_and_their_defaults(script):
    comparison = script("comparison")
    methods = comparison.competitors(features()[1], seed=3)
    assert list(methods) == [
        "no resampling",
        "class weights",
        "RandomOverSampler",
        "SMOTE",
        "LatentDiffusionOversampler",
        "LDMLRClassifier",
    ]
    for name in ("RandomOverSampler", "LatentDiffusionOversampler", "LDMLRClassifier"):
        default = type(methods[name])(random_state=3).get_params()
        assert clone(methods[name]).get_params() == default
    assert methods["SMOTE"].k_neighbors == 2
    assert "SMOTE" not in comparison.competitors(np.array([0, 0, 1]), seed=0)


def test_oversampler_is_followed_by_the_head(script):
    comparison = script("comparison")
    split = comparison.Split(*features(), *features(counts=(9, 9, 9), seed=1))
    oversampler = RandomOverSampler(random_state=0)
    X, y = clone(oversampler).fit_resample(split.X_train, split.y_train)
    head = comparison.linear_head(len(y)).fit(X, y)
    np.testing.assert_array_equal(
        comparison.fit_predict(oversampler, split), head.predict(split.X_test)
    )


def test_table_shows_mean_and_deviation(script):
    nan = float("nan")
    scores = {"a": [[50, 80, nan, 20, 1], [60, 80, nan, 40, 2]]}
    _, row, *_ = script("comparison").table(scores).splitlines()
    cells = ["a", "55.0 ± 5.0", "80.0 ± 0.0", "–", "30.0 ± 10.0", "1.5 ± 0.5"]
    assert row.split("  ")[0] == "a"
    assert [cell.strip() for cell in row.split("  ") if cell.strip()] == cells


def test_cifar_script_goes_the_whole_way(quick, tmp_path, capsys):
    weights = tmp_path / "encoder.safetensors"
    save_file(cifar_resnet32(num_classes=3).state_dict(), weights)
    rng = np.random.default_rng(0)
    y_train, y_test = np.repeat([0, 1, 2], [20, 8, 3]), np.repeat([0, 1, 2], 4)
    np.savez(
        tmp_path / "images.npz",
        X_train=rng.integers(256, size=(31, 32, 32, 3), dtype=np.uint8),
        y_train=y_train,
        X_test=rng.integers(256, size=(12, 32, 32, 3), dtype=np.uint8),
        y_test=y_test,
        classes=["ant", "bee", "cat"],
    )
    options = [str(tmp_path / "images.npz"), "--weights", str(weights), "--seeds", "1"]
    quick("cifar_lt").main(options)
    printed = capsys.readouterr().out
    assert "31 training rows, 3 classes of 20 to 3 rows" in printed
    assert "LDMLRClassifier from images to predictions" in printed
    assert (tmp_path / "cifar_lt_features.png").exists()


def test_cifar_script_refuses_what_it_cannot_read(script, tmp_path, capsys):
    main = script("cifar_lt").main
    np.savez(
        tmp_path / "half.npz", X_train=np.zeros((3, 8, 8, 3)), y_train=np.arange(3)
    )
    for name, message in (
        ("nothing.npz", "No such file"),
        ("half.npz", r"half.npz lacks X_test, y_test\. Expected X_train"),
    ):
        with pytest.raises(SystemExit, match=f"^cifar_lt.py: .*{message}"):
            main([str(tmp_path / name), "--weights", "w.pth"])
    with pytest.raises(SystemExit):
        main(["images.npz", "--weights", "w.pth", "--seeds", "0"])
    assert "--seeds must be at least 1. Got 0" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.glob("plot_*.py")), ids=lambda p: p.stem
)
def test_page_of_the_gallery_runs_as_it_stands(path, tmp_path):
    done = subprocess.run(
        [sys.executable, path], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout, "a page prints what to conclude"
    assert not list(tmp_path.iterdir()), "a page leaves no file behind"
