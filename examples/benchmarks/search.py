# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""A search over sampling parameters for about the price of one training a fold.

    OMP_NUM_THREADS=1 python examples/benchmarks/search.py FEATURES.npz
        [--uncached 6] [--rows N] [--max-steps N] [--json OUT]

`GridSearchCV` over 24 candidates in 3 folds of FEATURES.npz (X_train, y_train), in a
pipeline of imbalanced-learn with a linear head: with ``memory=`` in one process, on two
workers of loky and on two of a dask cluster, each with an empty folder, and without it.
Without it takes long: ``--uncached`` says how many candidates are tried so, the best
one of the cached search among them; the time for all is then in proportion. Times are
compared with that of three trainings, one a fold. One thread a process, so that all
ways must give the same scores to the last digit. Results go to search.json and, as a
table, to search.rst beside this file.
"""

import argparse
import contextlib
import json
import tempfile
import time
from pathlib import Path

import joblib
import numpy as np
from accuracy import linear_head, machine
from accuracy_tables import as_rst, as_text
from imblearn.pipeline import make_pipeline
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, ParameterGrid, StratifiedKFold

from ldmlr_sklearn import LatentDiffusionOversampler
from ldmlr_sklearn.sampling_strategies import TemperedStrategy

STEP = "latentdiffusionoversampler"
GRID = {
    f"{STEP}__guidance_scale": ["auto", 0.5, 1.0],
    f"{STEP}__n_inference_steps": [5, 10],
    f"{STEP}__eta": [0.0, 1.0],
    f"{STEP}__sampling_strategy": [TemperedStrategy(0.5), TemperedStrategy(0.75)],
}
FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)


def model(n_rows, memory, max_steps):
    sampler = LatentDiffusionOversampler(
        max_steps=max_steps, random_state=0, memory=memory
    )
    return make_pipeline(sampler, *(step for _, step in linear_head(n_rows, 0).steps))


def only(candidates):
    """Make a grid of the given candidates alone."""
    return [{name: [value] for name, value in one.items()} for one in candidates]


def search(X, y, grid, memory, max_steps):
    """Return the finished search and its seconds."""
    start = time.perf_counter()
    found = GridSearchCV(
        model(len(y), memory, max_steps),
        grid,
        cv=FOLDS,
        scoring="balanced_accuracy",
        refit=False,
        error_score="raise",
    ).fit(X, y)
    return found, time.perf_counter() - start


def seconds_of_trainings(X, y, max_steps):
    sampler = model(len(y), None, max_steps)[0]
    start = time.perf_counter()
    for train, _ in FOLDS.split(X, y):
        clone(sampler).fit(X[train], y[train])
    return time.perf_counter() - start


@contextlib.contextmanager
def two_dask_workers():
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        yield


WAYS = {
    "1 process": contextlib.nullcontext,
    "2 loky workers": lambda: joblib.parallel_config(backend="loky", n_jobs=2),
    "2 dask workers": two_dask_workers,
}


def scores(found):
    """Return the scores of all candidates in all folds, (n_candidates, n_folds)."""
    folds = range(FOLDS.n_splits)
    return np.stack([found.cv_results_[f"split{k}_test_score"] for k in folds], axis=1)


def run(X, y, n_uncached, max_steps):
    """Return what the record holds."""
    candidates = list(ParameterGrid(GRID))
    trainings = seconds_of_trainings(X, y, max_steps)
    entries, reference = {}, None
    for way, context in WAYS.items():
        with tempfile.TemporaryDirectory() as memory, context():
            found, seconds = search(X, y, only(candidates), memory, max_steps)
        reference = found if reference is None else reference
        entries[f"cached, {way}"] = entry(found, seconds, trainings, len(candidates))
        difference = np.abs(scores(found) - scores(reference)).max()
        entries[f"cached, {way}"]["largest_difference"] = float(difference)
    best = int(reference.best_index_)
    if n_uncached:
        spread = np.linspace(0, len(candidates) - 1, n_uncached).astype(int)
        tried = sorted({best, *spread[: n_uncached - 1].tolist()})
        found, seconds = search(
            X, y, only(candidates[i] for i in tried), None, max_steps
        )
        in_all = seconds * len(candidates) / len(tried)
        row = entry(found, in_all, trainings, len(tried))
        difference = np.abs(scores(found) - scores(reference)[tried]).max()
        entries["without cache, 1 process"] = row
        row["largest_difference"] = float(difference)
    return {
        "machine": machine(),
        "n_rows": len(y),
        "n_columns": X.shape[1],
        "max_steps": max_steps,
        "n_candidates": len(candidates),
        "n_folds": FOLDS.n_splits,
        "seconds_of_trainings": round(trainings, 2),
        "best": {name: str(value) for name, value in candidates[best].items()},
        "searches": entries,
    }


def entry(found, seconds, trainings, n_tried):
    return {
        "seconds": round(seconds, 2),
        "times_the_trainings": round(seconds / trainings, 2),
        "n_tried": n_tried,
        "best_score": float(found.best_score_),
    }


def table(record):
    head = ["search", "seconds", "× 3 trainings", "candidates tried", "best score, %"]
    rows = [
        [
            name,
            f"{row['seconds']:.0f}",
            f"{row['times_the_trainings']:.1f}",
            str(row["n_tried"]),
            f"{100 * row['best_score']:.2f}",
            f"{row['largest_difference']:.0e}" if row["largest_difference"] else "0",
        ]
        for name, row in record["searches"].items()
    ]
    title = (
        f"{record['n_candidates']} candidates in {record['n_folds']} folds of "
        f"{record['n_rows']} rows; {record['n_folds']} trainings take "
        f"{record['seconds_of_trainings']:.0f} s"
    )
    return title, [[*head, "largest difference of a score"], *rows]


def thinned(X, y, n_rows):
    """Keep about so many rows, as evenly spread as the classes allow."""
    kept = [np.flatnonzero(y == label) for label in np.unique(y)]
    share = n_rows / len(y)
    kept = [rows[: max(6, round(share * len(rows)))] for rows in kept]
    kept = np.sort(np.concatenate(kept))
    return X[kept], y[kept]


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features", type=Path)
    parser.add_argument("--uncached", type=int, default=6, help="0 for none")
    parser.add_argument("--rows", type=int, help="of the file (default: all)")
    parser.add_argument("--max-steps", type=int, help="default: the over-sampler's")
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).with_suffix(".json")
    )
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    with np.load(options.features) as file:
        X, y = file["X_train"], file["y_train"]
    if options.rows is not None:
        X, y = thinned(X, y, options.rows)
    record = run(X, y, options.uncached, options.max_steps or "auto")
    record["source"] = options.features.stem
    options.json.write_text(json.dumps(record, indent=1) + "\n")
    options.json.with_suffix(".rst").write_text(as_rst(*table(record)))
    print(as_text(*table(record)))


if __name__ == "__main__":
    main()
