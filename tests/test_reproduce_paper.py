# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Each table and figure of the paper, on tiny data."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from ldmlr_sklearn import _feature_encoder
from ldmlr_sklearn._backbones._paper_networks import cifar_resnet32

QUICK = ["--seeds", "1", "--head-epochs", "2", "--max-steps", "5", "--out", "out"]


@pytest.fixture
def reproduce(script, tmp_path):
    module = script("reproduce_paper")

    def run(command, *options, data="features"):
        module.main([command, *map(str, options), *QUICK])
        stem = Path("out") / f"{command.replace('-', '_')}_{data}"
        run.contents = json.loads(stem.with_suffix(".json").read_text())
        return run.contents["records"], stem.with_suffix(".rst").read_text()

    run.module = module
    return run


def rows(counts, n_features=6, seed=0):
    y = np.repeat(np.arange(len(counts)), counts)
    X = np.random.default_rng(seed).normal(size=(len(y), n_features)) + 2 * y[:, None]
    return X.astype(np.float32), y


def features(path="features.npz", counts=(40, 12, 4), head=True):
    X, y = rows(counts)
    X_test, y_test = rows((10,) * len(counts), seed=1)
    arrays = dict(X_train=X, y_train=y, X_test=X_test, y_test=y_test)
    if head:
        arrays |= dict(head_weight=np.eye(3, 6), head_bias=np.zeros(3))
    np.savez(path, **arrays)
    return path


def images(path="images.npz", counts=(12, 6, 3)):
    rng = np.random.default_rng(0)
    y, y_test = np.repeat(np.arange(3), counts), np.repeat(np.arange(3), 4)
    arrays = {"y_train": y, "y_test": y_test}
    for part, labels in (("train", y), ("test", y_test)):
        pixels = rng.integers(256, size=(len(labels), 32, 32, 3), dtype=np.uint8)
        arrays[f"X_{part}"] = pixels
    np.savez(path, **arrays)
    return path


def weights(path="encoder.safetensors"):
    torch.manual_seed(0)
    save_file(cifar_resnet32(num_classes=3).state_dict(), path)
    return path


def test_table_1_on_features(reproduce):
    run = reproduce
    records, table = reproduce("table1", features())
    found = {record["row"] for record in records}
    for head in ("CE", "label shift", "WCDAS"):
        for sampler in ("", " + LDMLR", " + replay", " + Gaussian"):
            assert head + sampler in found
    assert "label shift + LDMLR, from the encoder's head" in found
    assert "CE, the encoder's head" in found
    for record in records:
        assert 0 <= record["all"] <= 100
        assert record.get("picked", 100) >= record["all"] - 1e-9
        assert record["paper"] is None  # not one of the paper's data sets
    assert '"", "ours", "picked"' in table
    gains = run.contents["differences"]["features"]
    assert "WCDAS + LDMLR - WCDAS + replay" in gains
    assert "label shift + LDMLR, from the encoder's head - label shift, from" in str(
        gains
    )
    by_row = {record["row"]: record for record in records}
    for pair, parts in gains.items():
        ours, rival = (by_row[row] for row in pair.split(" - "))
        assert list(parts) == ["all", "many", "medium", "few"]
        for part, (mean, low, high) in parts.items():
            assert mean == pytest.approx(ours[part] - rival[part], abs=0.01)
            assert low <= mean <= high
    assert '"CE + LDMLR", "CE", "' in table


def test_every_data_set_has_a_record_of_its_own(reproduce):
    other = features("other.npz", counts=(30, 9, 5))
    reproduce("table1", features(), other)
    for name in ("features", "other"):
        contents = json.loads(Path(f"out/table1_{name}.json").read_text())
        assert {record["data"] for record in contents["records"]} == {name}
        assert list(contents["differences"]) == [name]
        assert name in Path(f"out/table1_{name}.rst").read_text()


def test_rows_of_the_paper_stand_beside_ours(reproduce, script):
    numbers = script("paper_numbers")
    counts = np.floor(5000 * 100.0 ** (-np.arange(10) / 9) * (1 + 1e-9)).astype(int)
    y = np.repeat(np.arange(10), counts)
    assert numbers.data_set_of(y) == "CIFAR-10-LT IF 100"
    assert numbers.data_set_of(y[1:]) is None
    record = {"data": "a", "seed": 0, "paper": 72.46}
    for seconds, shown in ((0, "0 ± 0"), (0.054, "0.05 ± 0.00"), (9.08, "9.1 ± 0.0"),
                           (42.4, "42 ± 0"), (420.4, "420 ± 0")):  # fmt: skip
        record |= reproduce.module.line("CE", {"all": 72.0}, seconds)
        other = record | {"seed": 1, "all": 74.0}
        ((_, lines),) = reproduce.module.tables([record, other])
        assert lines[1] == ["CE", "72.46", "73.00 ± 1.00", shown]


def test_mirrored_images_are_encoded_alike_under_another_name(reproduce):
    arguments = ["table1", images(), "--weights", weights(), "--out", "out"]
    for more, alike in ((["--mirror"], True), ([], False)):
        options = reproduce.module.parse([*arguments, *more])
        ((name, split),) = reproduce.module.load_all(options)
        turned = split._replace(X_train=split.X_train[:, :, ::-1])
        encode = reproduce.module.encode
        found = [encode(name, each, options)[0] for each in (split, turned)]
        assert np.allclose(found[0].X_train, found[1].X_train, atol=1e-5) == alike
        assert name == ("images_mirrored" if alike else "images")


def test_each_data_set_has_a_checkpoint_of_its_own(reproduce, monkeypatch):
    paths = []

    class Stopped(Exception):
        pass

    def make_encoder(*args, checkpoint, **more):
        paths.append(checkpoint)
        raise Stopped

    monkeypatch.setattr(reproduce.module.paper_data, "make_encoder", make_encoder)
    for data in ("one.npz", "other.npz"):
        with pytest.raises(Stopped):
            reproduce("table1", images(data), "--train")
    assert paths == [
        Path("out", f"{name}_trained_encoder_ce.ckpt") for name in ("one", "other")
    ]


@pytest.mark.parametrize("by", ["weights", "train"])
def test_table_1_on_images(reproduce, by):
    options = ["--weights", weights()] if by == "weights" else ["--train"]
    options += ["--epochs", "1"] if by == "train" else []
    data = "images" if by == "weights" else "images_trained_1_epochs"
    records, _ = reproduce("table1", images(), *options, data=data)
    found = {record["row"] for record in records}
    assert {"CE + LDMLR", "label shift + LDMLR", "WCDAS + LDMLR"} <= found
    if by == "train":
        for recipe in ("ce", "wcdas"):
            with np.load(Path("out") / f"{data}_{recipe}_features.npz") as file:
                assert file["X_train"].shape == (21, 64)
                assert ("head_weight" in file) == (recipe == "ce")
        assert not list(Path("out").glob("*.ckpt"))


def test_table_2_on_list_files(reproduce, monkeypatch):
    rng = np.random.default_rng(0)
    for part, counts in (("train", (8, 4, 2)), ("test", (3, 3, 3))):
        lines = []
        for class_, count in enumerate(counts):
            for number in range(count):
                name = f"{part}/{class_}_{number}.png"
                Path(part).mkdir(exist_ok=True)
                pixels = rng.integers(256, size=(40, 36, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(name)
                lines.append(f"{name} {class_}\n")
        Path(f"{part}.txt").write_text("".join(lines))
    options = ["--lists", "train.txt", "test.txt", "--root", "."]
    options += ["--train", "--epochs", "1", "--image-size", "32"]
    # These are not the images that the paper's numbers are of, until it is said so.
    for known in (False, True):
        if known:
            monkeypatch.setattr(reproduce.module, "is_imagenet_lt", lambda y: True)
        records, table = reproduce("table2", *options, data="train_trained_1_epochs")
        by_row = {record["row"]: record for record in records}
        paper = "57.0 / 41.2 / 23.4 / 44.8" if known else None
        assert by_row["WCDAS + LDMLR"]["paper"] == paper
        assert {"many", "medium", "few", "all"} <= by_row["CE"].keys()
        assert ("42.2" in table) == known


def test_imagenet_lt_is_known_by_its_class_counts(script):
    known = script("paper_numbers").is_imagenet_lt
    counts = np.full(1000, 5)
    counts[0] = 1280
    counts[1:135] += 812
    counts[135] += 115_846 - counts.sum()
    y = np.repeat(np.arange(1000), counts)
    assert len(y) == 115_846 and known(y)
    assert not known(y[1:])
    assert not known(y % 999)


def test_groups(reproduce):
    records, _ = reproduce("groups", features())
    added = {record["row"]: record["n_added"] for record in records}
    # Of 40, 12 and 4 rows, the classes are many, medium and few.
    assert added["CE, nothing"] == 0
    assert added["CE, few: LDMLR"] == added["CE, few: replay"] == 36
    assert added["CE, medium: LDMLR"] == 28
    assert added["CE, many"] == 0  # the largest class is full
    assert added["CE, medium and few: LDMLR"] == 64
    assert added["CE, all, to balance: Gaussian"] == 64
    assert added["label shift, all, a fifth of each: LDMLR"] == 8 + 5 + 5
    gains = reproduce.contents["differences"]["features"]
    assert "CE, few: LDMLR - CE, few: replay" in gains
    assert "few" in gains["label shift, few: LDMLR - label shift, nothing"]


def test_ratio(reproduce):
    records, table = reproduce("ratio", features())
    added = {record["row"]: record["n_added"] for record in records}
    # Of 40, 12 and 4 rows; 28 and 36 are missing to balance.
    assert added["CE, nothing"] == 0
    assert added["CE, in proportion 0.5: LDMLR"] == 20 + 6 + 2
    assert added["CE, all classes 0.5: Gaussian"] == 14 + 18
    assert added["CE, tail only 0.5: replay"] == 18
    assert added["label shift, all classes 1.0: replay"] == 64
    gains = reproduce.contents["differences"]["features"]
    for way in ("in proportion", "all classes", "tail only"):
        for share in (0.1, 0.2, 0.5, 1.0):
            for head in ("CE", "label shift"):
                row = f"{head}, {way} {share}: LDMLR"
                assert f"{row} - {row.replace('LDMLR', 'replay')}" in gains
                assert f"{row} - {head}, nothing" in gains
                assert f'"{row}", "{head}, nothing", "' in table
    assert Path("out/ratio_features.png").stat().st_size > 10_000


@pytest.fixture
def trainings(script, monkeypatch):
    """Count the diffusion models that are trained; seeds in `fail` are interrupted."""
    seeds = script("paper_seeds")

    class Counted(seeds.Generators):
        found, fail = [], set()

        def __init__(self, split, seed, *options):
            self.found.append(seed)
            if seed in self.fail:
                raise KeyboardInterrupt
            super().__init__(split, seed, *options)

    monkeypatch.setattr(seeds, "Generators", Counted)
    return Counted


def result(out, stem):
    """Read a record and its table, less dates and seconds."""
    contents = json.loads(Path(out, f"{stem}.json").read_text())
    del contents["machine"]["date"]
    for record in contents["records"]:
        del record["seconds"]
    table = Path(out, f"{stem}.rst").read_text()
    return contents, re.sub(r', "[^"]*"$', "", table, flags=re.M)


@pytest.mark.parametrize("command", ["table1", "figure3", "image-space"])
def test_an_interrupted_command_goes_on_where_it_stopped(reproduce, trainings, command):
    data = ["features.npz"]
    features()
    if command == "image-space":
        data = [images("features.npz"), "--weights", weights(), "--per-class", "2"]
        # A budget of no time, so that runs do not depend on the machine's.
        data += ["--budgets", "0"]
    if command == "figure3":
        data += ["--after", "3"]
    stem = f"{command.replace('-', '_')}_features"

    def run(out, n_seeds):
        trainings.found.clear()
        reproduce.module.main(
            [command, *map(str, data), *QUICK, "--seeds", str(n_seeds), "--out", out]
        )
        return list(trainings.found)

    assert run("whole", 2) == [0, 1]
    trainings.fail.add(1)
    with pytest.raises(KeyboardInterrupt):
        run("out", 2)
    contents, _ = result("out", stem)
    assert {record["seed"] for record in contents["records"]} == {0}
    assert not list(Path("out").glob("*.part"))
    trainings.fail.clear()
    assert run("out", 2) == [1]
    assert result("out", stem) == result("whole", stem)
    for picture in Path("whole").glob("*.png"):
        assert (Path("out") / picture.name).read_bytes() == picture.read_bytes()
    # One more seed is one more run; fewer are none.
    assert run("out", 3) == [2]
    assert run("out", 2) == []
    assert result("out", stem) == result("whole", stem)


@pytest.fixture
def encoders(monkeypatch):
    """The losses of the encoders that are trained, in their order."""
    losses, train = [], _feature_encoder.train_encoder

    def counted(*arguments, **options):
        losses.append(arguments[5].loss)
        return train(*arguments, **options)

    monkeypatch.setattr(_feature_encoder, "train_encoder", counted)
    return losses


def test_a_trained_encoder_is_not_trained_again(reproduce, trainings, encoders):
    command = ["table1", images(), "--train", "--epochs", "1"]
    trainings.fail.add(0)  # after the first encoder was trained
    with pytest.raises(KeyboardInterrupt):
        reproduce(*command)
    assert encoders == ["cross_entropy"]
    trainings.fail.clear()
    records, _ = reproduce(*command, data="images_trained_1_epochs")
    assert encoders == ["cross_entropy", "wcdas"]
    assert {"CE + LDMLR", "WCDAS + LDMLR"} <= {record["row"] for record in records}


@pytest.mark.parametrize(
    ("recipe", "loss", "other"),
    [("CE", "cross_entropy", "WCDAS"), ("WCDAS", "wcdas", "CE")],
)
def test_one_recipe_alone(reproduce, trainings, encoders, recipe, loss, other):
    command = ["table1", images(), "--epochs", "1"]
    data = f"images_trained_{recipe.lower()}_1_epochs"
    records, _ = reproduce(*command, "--recipe", recipe, data=data)
    assert encoders == [loss]
    rows = {record["row"].split(",")[0] for record in records}
    assert f"{recipe} + LDMLR" in rows
    assert other not in rows
    # Both recipes have a record of their own, and take what one of them has made.
    before = len(trainings.found)
    reproduce(*command, "--train", data="images_trained_1_epochs")
    assert len(encoders) == 2
    assert len(trainings.found) - before == before


@pytest.mark.parametrize(
    ("recipe", "loss"), [("CE", "cross_entropy"), ("WCDAS", "wcdas")]
)
def test_features_of_one_recipe_have_a_record_of_their_own(
    reproduce, encoders, recipe, loss
):
    command = ["figure3", images(), "--after", "3", "--epochs", "1"]
    data = f"images_trained_{recipe.lower()}_1_epochs"
    reproduce(*command, "--recipe", recipe, data=data)
    assert encoders == [loss]


def test_runs_of_other_data_options_or_code_are_not_taken(
    reproduce, trainings, monkeypatch
):
    def run(command, *options):
        trainings.found.clear()
        reproduce(command, "features.npz", *options)
        return list(trainings.found)

    features()
    # Both draw by the same function, but other numbers of rows.
    monkeypatch.setattr("reproduce_paper.SHARES", (1.0,))
    assert [run("groups"), run("ratio"), run("ratio")] == [[0], [0], []]
    monkeypatch.setattr("reproduce_paper.SHARES", (0.5,))
    assert [run("ratio"), run("ratio")] == [[0], []]
    once = ["--after", "3"]
    assert [run("figure3", *once), run("figure3", *once)] == [[0], []]
    assert run("figure3", "--after", "4") == [0]
    features(counts=(40, 12, 5))
    assert [run("figure3", *once), run("figure3", *once)] == [[0], []]
    monkeypatch.setattr("kept_runs.CODE", "changed")
    assert run("figure3", *once) == [0]


def test_image_space(reproduce):
    options = ["--weights", weights(), "--budgets", "0.1", "0.2", "--per-class", "4"]
    records, table = reproduce("image-space", images(), *options, data="images")
    rows = {record["row"]: record for record in records}
    spaces = ["latent space", *(f"image space, {n} × the time" for n in (0.1, 0.2))]
    for case in ("nothing", "replay", *spaces):
        assert rows[f"CE, {case}"]["n_added"] == (0 if case == "nothing" else 4 + 4)
        assert (rows[f"CE, {case}"]["n_steps"] is not None) == (case in spaces)
    assert rows["CE, latent space"]["n_steps"] == 5  # as asked for in QUICK
    assert "image space" in table
    gains = reproduce.contents["differences"]["images"]
    for case in ("nothing", "replay", *spaces[1:]):
        assert f"CE, latent space - CE, {case}" in gains
    assert Path("out/image_space_images.png").stat().st_size > 10_000
    with pytest.raises(SystemExit, match="image-space needs images"):
        reproduce("image-space", features())


def test_images_are_drawn_for_a_budget(script):
    generate = script("image_diffusion").generate_images
    rng = np.random.default_rng(0)
    # One class is dark, the other bright.
    y = np.repeat([0, 1], 24)
    pixels = rng.integers(40, size=(48, 16, 16, 3)) + 200 * y[:, None, None, None]
    drawn, n_steps = generate(
        pixels.astype(np.uint8), y, np.repeat([0, 1], 8), 3, seed=0, guidance=1.0
    )
    assert drawn.shape == (16, 16, 16, 3) and drawn.dtype == np.uint8
    assert n_steps >= 10
    assert drawn[8:].mean() > drawn[:8].mean() + 60


def test_figure_3(reproduce):
    records, table = reproduce("figure3", features(), "--after", "3", "20")
    assert [record["row"] for record in records] == [
        "training rows, to unseen",
        "generated after 3 steps, to unseen",
        "generated after 20 steps, to unseen",
    ]
    assert all(record["distance"] > 0 for record in records)
    assert '"", "Fréchet distance", "seconds"' in table
    assert "accuracy" not in table
    assert Path("out/figure3_features.png").stat().st_size > 10_000


def test_steps(reproduce):
    options = ["--ddim", "2", "--ddpm", "3", "4", "--per-class", "10"]
    records, _ = reproduce("steps", features(), *options)
    cases = ["nothing", "DDIM in 2 steps", "DDPM in 3 steps", "DDPM in 4 steps"]
    assert [record["row"] for record in records] == [
        f"{head}, {case}" for case in cases for head in ("CE", "label shift")
    ]
    assert [record["n_added"] for record in records[::2]] == [0, 20, 20, 20]
    # DDIM is compared with the longest DDPM.
    assert set(reproduce.contents["differences"]["features"]) == {
        f"{head}, DDIM in 2 steps - {head}, {case}"
        for head in ("CE", "label shift")
        for case in ("DDPM in 4 steps", "nothing")
    }


def test_groups_are_thirds_where_one_would_be_empty(script):
    runs = script("paper_runs")
    y = np.repeat(np.arange(6), [500, 400, 300, 200, 100, 90])
    assert (
        list(runs.groups_of(y).values()) == ["many"] * 2 + ["medium"] * 2 + ["few"] * 2
    )
    y = np.repeat(np.arange(3), [200, 50, 5])
    assert runs.groups_of(y) == {0: "many", 1: "medium", 2: "few"}


def test_make_paper_runs_what_the_guide_lists(reproduce):
    root = Path(__file__).parents[1]
    commands = re.findall(
        r"^\t\$\(PAPER\) (.+)$", (root / "Makefile").read_text(), re.M
    )
    commands = [re.sub(r"\$\((\w+)\)", r"\1", command) for command in commands]
    guide = (root / "docs" / "user_guide" / "reproducing.rst").read_text("utf-8")
    assert re.findall(r"^``(\w[\w-]* [A-Z]+10.*)``  ", guide, re.M) == commands
    assert {reproduce.module.parse(c.split()).command for c in commands} == (
        set(reproduce.module.COMMANDS) - {"table2"}  # ImageNet-LT has no small file
    )


def test_refusals(reproduce, capsys):
    with pytest.raises(SystemExit, match="Images need --weights"):
        reproduce("groups", images())
    for option, value in (("--seeds", "0"), ("--head-epochs", "0"), ("--epochs", "-1")):
        with pytest.raises(SystemExit):
            reproduce.module.main(["groups", "a.npz", option, value])
        told = f"argument {option}: must be at least 1, got {value}"
        assert told in capsys.readouterr().err
    with pytest.raises(SystemExit):
        reproduce.module.main(["groups", "a.npz", "--precision", "half"])
    assert "--precision: invalid choice: 'half'" in capsys.readouterr().err
    X, y = rows((4, 4))
    np.savez("odd.npz", X_train=X, y_train=y, X_test=X, y_test=y + 1)
    with pytest.raises(SystemExit, match="test rows of classes that are not trained"):
        reproduce("groups", "odd.npz")


def test_files_that_are_wrong_are_told_in_a_line(reproduce):
    np.savez("half.npz", X_train=np.eye(3), y_train=np.arange(3))
    for arguments, message in (
        (["groups", "nothing.npz"], "nothing.npz"),
        (["groups", "half.npz"], "half.npz lacks X_test, y_test. Expected X_train"),
        (["groups", "nothing.tar.gz"], "nothing.tar.gz"),
        (["table2", "--lists", "train.txt", "test.txt"], "train.txt"),
        (["groups", images(), "--weights", "nothing.pth"], "there is no such file"),
        (
            ["groups", images(), "--weights", weights(), "--backbone", "resnot"],
            "is not the name of a timm network",
        ),
    ):
        with pytest.raises(SystemExit, match=f"^reproduce_paper.py: .*{message}"):
            reproduce(*arguments)


def test_features_need_no_encoder(reproduce):
    message = "features.npz holds features, so that --train, --epochs would do nothing"
    with pytest.raises(SystemExit, match=message):
        reproduce("groups", features(), "--train", "--epochs", "3")
    assert not list(Path("out").glob("*"))
