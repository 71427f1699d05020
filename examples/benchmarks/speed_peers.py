# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Over-samplers side by side: seconds of `fit_resample`, and what a head learns of it.

Every peer runs in a process of its own, with its own defaults, on the same rows and as
many threads as this process has. A peer that is not done after a while is stopped; it
is not run on more rows then.
"""

import functools
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from accuracy import linear_head
from generators_of_tables import FromTables, ctgan, forest_diffusion, tab_dm, tvae
from imblearn.over_sampling import (
    ADASYN,
    SMOTE,
    SVMSMOTE,
    BorderlineSMOTE,
    RandomOverSampler,
)
from sklearn.decomposition import PCA
from sklearn.metrics import balanced_accuracy_score

import ldmlr_sklearn
from ldmlr_sklearn import LatentDiffusionOversampler

OURS = "LatentDiffusionOversampler"
# Peers differ in how much they learn in how long; ours without a network, which draws
# by the denoiser in closed form, stands beside the fast ones.
OURS_UNTRAINED = f"{OURS}, max_steps=0"
# Rows, columns and classes of the rounds; None: all there are.
ROUNDS = ((400, 8, 4), (2_000, 16, None), (None, None, None))
MIN_ROWS = 8  # of a class: SMOTE looks for five neighbours, ForestDiffusion wants some
MIN_LIMIT = 180.0  # seconds after which a peer is stopped, if 11 times ours are fewer


class Peer(NamedTuple):
    """How to make an over-sampler, and the package it comes from."""

    make: Callable
    package: str
    generative: bool = False


def from_tables(fit, package):
    def make(n_threads):
        return FromTables(functools.partial(fit, n_threads=n_threads))

    return Peer(make, package, generative=True)


def from_imblearn(kind):
    return Peer(lambda n_threads: kind(random_state=0), "imbalanced-learn")


def from_ours(**params):
    def make(n_threads):
        return LatentDiffusionOversampler(device="cpu", random_state=0, **params)

    return Peer(make, ldmlr_sklearn.__name__, generative=True)


PEERS = {
    OURS: from_ours(),
    OURS_UNTRAINED: from_ours(max_steps=0),
    "RandomOverSampler": from_imblearn(RandomOverSampler),
    "SMOTE": from_imblearn(SMOTE),
    "BorderlineSMOTE": from_imblearn(BorderlineSMOTE),
    "SVMSMOTE": from_imblearn(SVMSMOTE),
    "ADASYN": from_imblearn(ADASYN),
    "TabDM": from_tables(tab_dm, "tabdm"),
    "ForestDiffusion": from_tables(forest_diffusion, "ForestDiffusion"),
    "CTGAN": from_tables(ctgan, "ctgan"),
    "TVAE": from_tables(tvae, "ctgan"),
}


def subset(data, n_rows, n_columns, n_classes):
    """Fewer rows, as unevenly shared out, of fewer classes and principal components."""
    data = dict(data)
    counts = np.bincount(data["y_train"])
    if n_classes is not None:
        # Classes from the largest to the smallest, renumbered.
        kept = np.linspace(0, len(counts) - 1, n_classes).round().astype(int)
        kept = np.argsort(-counts, kind="stable")[kept]
        for part in ("train", "test"):
            y = data[f"y_{part}"]
            data[f"X_{part}"] = data[f"X_{part}"][np.isin(y, kept)]
            data[f"y_{part}"] = np.argsort(kept)[
                np.searchsorted(np.sort(kept), y[np.isin(y, kept)])
            ]
    if n_rows is not None:
        y = data["y_train"]
        counts = np.bincount(y)
        share = np.maximum(MIN_ROWS, counts * n_rows // len(y))
        chosen = np.concatenate(
            [np.flatnonzero(y == c)[:n] for c, n in enumerate(share)]
        )
        data["X_train"], data["y_train"] = data["X_train"][chosen], y[chosen]
    if n_columns is not None:
        components = PCA(n_columns, random_state=0).fit(data["X_train"])
        for name in ("X_train", "X_test"):
            data[name] = components.transform(data[name]).astype(np.float32)
    return data


def measure(name, data):
    """Seconds of `fit_resample`, rows that came of it, and balanced accuracy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the packages' own, of their dependencies
        sampler = PEERS[name].make(torch.get_num_threads())
        start = time.perf_counter()
        X, y = sampler.fit_resample(data["X_train"], data["y_train"])
        used = time.perf_counter() - start
        head = linear_head(len(y), 0).fit(X, y)
    right = balanced_accuracy_score(data["y_test"], head.predict(data["X_test"]))
    return {"seconds": used, "n_rows": len(y), "accuracy": float(right)}


def version(name):
    """Version of the package of a peer, None where it is not installed."""
    package = PEERS[name].package
    if package == ldmlr_sklearn.__name__:  # used as it is here, installed or not
        return ldmlr_sklearn.__version__
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def run(name, path, limit):
    """What `measure` finds in a process of its own, or why it finds nothing."""
    command = [sys.executable, __file__, name, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"stopped_after": limit}
    if done.returncode:
        return {"fails": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def compare(data, rounds=ROUNDS, min_limit=MIN_LIMIT):
    """Run all peers on more and more rows; return what the record holds of it.

    Parameters
    ----------
    data : dict of arrays
        X_train, y_train, X_test and y_test; labels count from 0.
    rounds : sequence of tuples
        What `subset` takes.
    min_limit : float
        Seconds after which a peer is stopped, or 11 times ours where that is more.
    """
    found, slow = [], set()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npz"
        for wanted in rounds:
            rows = subset(data, *wanted)
            np.savez(path, **rows)
            results, limit = {}, None
            for name in PEERS:
                if version(name) is None:
                    results[name] = {"skipped": "not installed"}
                elif name in slow:
                    results[name] = {"skipped": "too slow with fewer rows"}
                else:
                    results[name] = run(name, path, limit)
                    if "stopped_after" in results[name]:
                        slow.add(name)
                if name == OURS:
                    limit = max(min_limit, 11 * results[name]["seconds"])
            counts = np.bincount(rows["y_train"])
            found.append(
                {
                    "n_rows": len(rows["y_train"]),
                    "n_columns": rows["X_train"].shape[1],
                    "n_classes": len(counts),
                    "n_after": int(counts.max() * len(counts)),
                    "results": results,
                }
            )
    versions = {name: version(name) for name in PEERS}
    return {"threads": torch.get_num_threads(), "versions": versions, "rounds": found}


def tables(found):
    """Yield title and rows of a table a round."""
    for entry in found["rounds"]:
        ours = entry["results"][OURS]["seconds"]
        lines = []
        for name, result in entry["results"].items():
            cells = ["–"] * 3
            if "seconds" in result:
                ratio = result["seconds"] / ours
                accuracy = f"{100 * result['accuracy']:.1f}"
                cells = [f"{result['seconds']:.2f}", f"{ratio:.2f}", accuracy]
            elif "stopped_after" in result:
                limit = result["stopped_after"]
                cells = [f"> {limit:.0f}", f"> {limit / ours:.0f}", "–"]
            elif "skipped" in result:
                cells[0] = result["skipped"]
            else:
                cells[0] = "fails"
            kind = "yes" if PEERS[name].generative else "no"
            lines.append([name, kind, *cells])
        title = (
            f"{entry['n_rows']:,} rows of {entry['n_columns']} columns in "
            f"{entry['n_classes']} classes to {entry['n_after']:,}, threads: "
            f"{found['threads']}"
        )
        head = ["over-sampler", "learns a model", "seconds", "over ours"]
        yield title, [[*head, "balanced accuracy, %"], *lines]


if __name__ == "__main__":
    with np.load(sys.argv[2]) as file:
        print(json.dumps(measure(sys.argv[1], dict(file))))
