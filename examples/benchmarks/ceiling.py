# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What a linear head would gain by knowing how unseen rows are distributed.

    python examples/benchmarks/ceiling.py FEATURES.npz [...] [--seeds 3] [--json OUT]

A diagnosis, no method: every line but the first ones is told something of rows like the
test rows of FEATURES.npz (X_train, y_train, X_test, y_test and, optionally, head_weight
and head_bias). So that nothing is told of the rows that are scored, the test rows are
dealt to five folds: what a line knows comes from four of them, the fifth is scored. A
line that knows moments learns from as many rows of every class as the largest has,
drawn from Gaussians with these moments and, where one is not known, with that of the
class's training rows; covariances are shrunk (OAS), values kept in the range of the
training rows. A line that knows offsets scales the logits of a method by one number and
adds another to each class, both of maximum likelihood. The head is that of
``accuracy.py``. Differences to the over-sampler have 95 % intervals, a bootstrap over
the test rows. Results go to ceiling.json and, as tables, to ceiling.rst beside this
file.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from accuracy import METHODS, OURS, linear_head, machine, predict
from accuracy_data import load_features
from accuracy_scores import balanced_weights, bootstrap_interval
from accuracy_tables import as_rst, as_text
from gaussian_samplers import factor_of
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.covariance import oas
from sklearn.model_selection import StratifiedKFold

METHODS_SHOWN = ("label shift", "published head + label shift", *OURS)
FOLDS = StratifiedKFold(5, shuffle=True, random_state=0)


def moments(X, y):
    """Means (K, d) and shrunk covariances (K, d, d) of the classes."""
    rows = [X[y == label].astype(np.float64) for label in np.unique(y)]
    return np.stack([r.mean(axis=0) for r in rows]), np.stack([oas(r)[0] for r in rows])


def drawn(means, covariances, n_rows, low, high, rng):
    """Draw n_rows rows of every class from its Gaussian, within bounds."""
    rows = [
        mean + rng.standard_normal((n_rows, len(mean))) @ factor_of(covariance).T
        for mean, covariance in zip(means, covariances, strict=True)
    ]
    X = np.clip(np.concatenate(rows), low, high).astype(np.float32)
    return X, np.repeat(np.arange(len(means)), n_rows)


def with_offsets(logits, y, new_logits):
    """Scale logits and add offsets, of maximum likelihood for logits (n, K) and y."""
    rows, weights = np.arange(len(y)), balanced_weights(y)

    def loss(parameters):
        moved = np.exp(parameters[0]) * logits + parameters[1:]
        residual = softmax(moved, axis=1)
        residual[rows, y] -= 1
        residual *= weights[:, None]
        slope = np.exp(parameters[0]) * (residual * logits).sum()
        own = log_softmax(moved, axis=1)[rows, y]
        return -weights @ own, np.r_[slope, residual.sum(axis=0)]

    start = np.zeros(1 + logits.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B").x
    return np.exp(found[0]) * new_logits + found[1:]


def fitted_logits(X, y, rows):
    return linear_head(len(y), 0).fit(X, y).decision_function(rows)


def told(split, known, rows, rng):
    """Yield line and logits of `rows` for all that other `known` rows may tell."""
    means, covariances = moments(split.X_train, split.y_train)
    true_means, true_covariances = moments(*known)
    pooled = np.broadcast_to(true_covariances.mean(axis=0), true_covariances.shape)
    n_rows = np.bincount(split.y_train).max()
    bounds = split.X_train.min(axis=0), split.X_train.max(axis=0)
    for name, *gaussians in (
        ("means of the classes", true_means, covariances),
        ("covariances of the classes", means, true_covariances),
        ("means, and the mean of the covariances", true_means, pooled),
        ("means and covariances", true_means, true_covariances),
    ):
        X, y = drawn(*gaussians, n_rows, *bounds, rng)
        yield ("Gaussians", name), fitted_logits(X, y, rows)
    yield ("rows like the test rows", "all"), fitted_logits(*known, rows)


def hits_of(data_set, seeds):
    """Line -> whether each test row is recognised, (seeds, n)."""
    split = data_set.draw(0)
    X, y = split.X_test, split.y_test
    hits = {}

    def note(line, seed, rows, logits):
        found = hits.setdefault(line, np.zeros((seeds, len(y)), dtype=bool))
        found[seed, rows] = logits.argmax(axis=1) == y[rows]

    shown = [m for m in METHODS_SHOWN if data_set.head or not METHODS[m].takes_head]
    for seed in range(seeds):
        logits = {}
        for name in shown:
            predicted = predict(METHODS[name], split, seed, ("linear",), data_set.head)
            proba, _ = predicted["linear"]
            logits[name] = np.log(np.maximum(proba, np.finfo(proba.dtype).tiny))
            note((name, "nothing"), seed, slice(None), logits[name])
        rng = np.random.default_rng(seed)
        for known, scored in FOLDS.split(X, y):
            for name, found in logits.items():
                moved = with_offsets(found[known], y[known], found[scored])
                note((name, "offsets of the classes"), seed, scored, moved)
            for line, found in told(split, (X[known], y[known]), X[scored], rng):
                note(line, seed, scored, found)
    return hits, y


def run(data_set, seeds):
    """Return what the record holds of a data set."""
    hits, y = hits_of(data_set, seeds)
    reference = hits[OURS[0], "nothing"].mean(axis=0)
    lines = []
    for (method, known), found in hits.items():
        scores = 100 * found @ balanced_weights(y)
        gap = bootstrap_interval(100 * (found.mean(axis=0) - reference), y)
        lines.append(
            {
                "method": method,
                "known": known,
                "balanced_accuracy": np.round(scores, 3).tolist(),
                "difference": [round(value, 3) for value in gap],
            }
        )
    return {"machine": machine(), "n_seeds": seeds, "lines": lines}


def table(name, entry):
    rows = [["learns from", "knows of unseen rows", "balanced acc.", "difference"]]
    for line in entry["lines"]:
        scores = line["balanced_accuracy"]
        mean, low, high = line["difference"]
        rows.append(
            [
                line["method"],
                line["known"],
                f"{np.mean(scores):.2f} ± {np.std(scores):.2f}",
                "" if low == high == 0 else f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]",
            ]
        )
    return f"{name}, {entry['n_seeds']} seeds", rows


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).with_suffix(".json")
    )
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1. Got {options.seeds}")
    record = json.loads(options.json.read_text()) if options.json.exists() else {}
    for path in options.features:
        record[path.stem] = run(load_features(path), options.seeds)
        options.json.write_text(json.dumps(record, indent=1) + "\n")
        shown = [as_rst(*table(*item)) for item in record.items()]
        options.json.with_suffix(".rst").write_text("\n".join(shown))
        print(as_text(*table(path.stem, record[path.stem])), flush=True)


if __name__ == "__main__":
    main()
