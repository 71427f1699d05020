# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""All methods on many data sets.

    python examples/benchmarks/accuracy.py [FEATURES.npz ...] [--seeds 5]
        [--data-sets ecoli,yeast] [--methods none,SMOTE] [--json OUT] [--missing]

Every method has its constructor defaults besides the seed (and at most n - 1 neighbours
where the smallest class has n rows), and every over-sampler is followed by the same
head. Nothing is chosen by the test rows, which are predicted once. A seed is one split
into halves, the same for all methods; on FEATURES.npz (X_train, y_train, X_test,
y_test and, optionally, head_weight and head_bias), whose split is given, seeds vary the
method alone. All scores count every class alike; where as many rows of each are tested,
balanced accuracy is accuracy. Results go to accuracy.json and, as tables, to
accuracy.rst beside this file, after each data set: a record can be made in pieces, and
what it holds of a data set that is run again is replaced.
"""

import argparse
import datetime
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import imblearn
import numpy as np
import sklearn
import torch
from accuracy_data import PACKAGE, TABULAR, load_features
from accuracy_scores import bootstrap_interval, corrected_interval, score
from accuracy_tables import as_rst, as_text, differences, overview, tables_of
from gaussian_samplers import CalibratedGaussianSampler, PooledGaussianSampler
from imblearn.over_sampling import (
    ADASYN,
    SMOTE,
    SVMSMOTE,
    BorderlineSMOTE,
    RandomOverSampler,
)
from scipy.special import softmax
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from ldmlr_sklearn import LatentDiffusionOversampler, LDMLRClassifier

OURS = (
    "LatentDiffusionOversampler",
    "LDMLRClassifier",
    "LDMLRClassifier from published head",
)
WITHOUT_NETWORK = "LatentDiffusionOversampler without network"
RIVALS = (
    *("none", "label shift", "SMOTE", "published head + label shift"),
    WITHOUT_NETWORK,
)


def linear_head(n_rows, seed, class_weight=None):
    """Softmax regression on standardised features; L2 of 2e-3 a row, whatever n is."""
    return make_pipeline(
        StandardScaler(),
        LogisticRegression(
            C=1 / (2e-3 * n_rows), class_weight=class_weight, max_iter=200
        ),
    )


def boosted_trees(n_rows, seed, class_weight=None):
    return HistGradientBoostingClassifier(random_state=seed, class_weight=class_weight)


HEADS = {"linear": linear_head, "boosted trees": boosted_trees}


class PublishedHead:
    """The linear head that came with the features, its prior made uniform."""

    def __init__(self, weight, bias):
        self.weight, self.bias = weight, bias

    def fit(self, X, y):
        self.log_prior = np.log(np.bincount(y) / len(y))
        return self

    def predict_proba(self, X):
        return softmax(X @ self.weight.T + self.bias - self.log_prior, axis=1)


class Method(NamedTuple):
    """An over-sampler before the head, a change to the head, or a whole classifier."""

    sampler: Callable | None = None  # (seed, neighbours) -> over-sampler
    class_weight: str | None = None
    label_shift: bool = False
    classifier: Callable | None = None  # (seed, published head) -> classifier
    takes_head: bool = False


METHODS = {
    "none": Method(),
    "class weights": Method(class_weight="balanced"),
    "label shift": Method(label_shift=True),
    "RandomOverSampler": Method(lambda seed, k: RandomOverSampler(random_state=seed)),
    "SMOTE": Method(lambda seed, k: SMOTE(random_state=seed, k_neighbors=k)),
    "BorderlineSMOTE": Method(
        lambda seed, k: BorderlineSMOTE(random_state=seed, k_neighbors=k)
    ),
    "SVMSMOTE": Method(lambda seed, k: SVMSMOTE(random_state=seed, k_neighbors=k)),
    "ADASYN": Method(lambda seed, k: ADASYN(random_state=seed, n_neighbors=k)),
    "calibrated Gaussian": Method(
        lambda seed, k: CalibratedGaussianSampler(random_state=seed)
    ),
    "pooled Gaussian": Method(lambda seed, k: PooledGaussianSampler(random_state=seed)),
    WITHOUT_NETWORK: Method(
        lambda seed, k: LatentDiffusionOversampler(max_steps=0, random_state=seed)
    ),
    "LatentDiffusionOversampler": Method(
        lambda seed, k: LatentDiffusionOversampler(random_state=seed)
    ),
    "LDMLRClassifier": Method(
        classifier=lambda seed, head: LDMLRClassifier(random_state=seed)
    ),
    "published head + label shift": Method(
        classifier=lambda seed, head: PublishedHead(*head), takes_head=True
    ),
    "LDMLRClassifier from published head": Method(
        classifier=lambda seed, head: LDMLRClassifier(
            init_head=head, random_state=seed
        ),
        takes_head=True,
    ),
}


def predict(method, split, seed, heads, published=None):
    """Name of the head -> class probabilities of the test rows, and seconds.

    The seconds are those of resampling and fitting. Whole classifiers count as linear.
    """
    X, y = split.X_train, split.y_train
    counts = np.bincount(y)
    start = time.perf_counter()
    if method.classifier is not None:
        model = method.classifier(seed, published).fit(X, y)
        seconds = time.perf_counter() - start
        return {"linear": (model.predict_proba(split.X_test), seconds)}
    if method.sampler is not None:
        k = max(1, min(5, int(counts.min()) - 1))
        X, y = method.sampler(seed, k).fit_resample(X, y)
    resampled = time.perf_counter()
    predicted = {}
    for name in heads:
        begun = time.perf_counter()
        model = HEADS[name](len(y), seed, method.class_weight).fit(X, y)
        seconds = resampled - start + time.perf_counter() - begun
        proba = model.predict_proba(split.X_test)
        if method.label_shift:
            proba = proba / counts
            proba /= proba.sum(axis=1, keepdims=True)
        predicted[name] = proba, seconds
    return predicted


def run(name, data_set, methods, seeds):
    """Fit and score all methods for all seeds; return what the record holds of it."""
    heads = tuple(HEADS) if data_set.tabular else ("linear",)
    names = [m for m in methods if data_set.head or not METHODS[m].takes_head]
    results = {head: {} for head in heads}
    right = {}  # (head, method) -> share of seeds with a right prediction, a test row
    with tqdm(total=seeds * len(names), leave=False) as bar:
        for seed in range(seeds):
            split = data_set.draw(seed)
            for method in names:
                bar.set_description(f"{name}, seed {seed}, {method}")
                whole = METHODS[method].classifier is not None
                own_heads = ("linear",) if whole else heads
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", ConvergenceWarning)
                        predicted = predict(
                            METHODS[method], split, seed, own_heads, data_set.head
                        )
                except (ValueError, RuntimeError) as error:
                    for head in own_heads:
                        failure = {"fails": f"{type(error).__name__}: {error}"}
                        results[head].setdefault(method, []).append(failure)
                else:
                    for head, (proba, seconds) in predicted.items():
                        row = score(proba, seconds, split)
                        results[head].setdefault(method, []).append(row)
                        hits = (proba.argmax(axis=1) == split.y_test) / seeds
                        if data_set.fixed:
                            right[head, method] = right.get((head, method), 0) + hits
                bar.update()
    first = data_set.draw(0)
    return {
        "source": data_set.source,
        "split": "given" if data_set.fixed else "random, one a seed",
        "n_columns": first.X_train.shape[1],
        "n_train": len(first.y_train),
        "n_test": len(first.y_test),
        "train_counts": sorted(np.bincount(first.y_train).tolist(), reverse=True),
        # Where it is, balanced accuracy is accuracy.
        "test_is_balanced": len(set(np.bincount(first.y_test).tolist())) == 1,
        "n_seeds": seeds,
        "machine": machine(),
        "results": results,
        "differences": compare(results, right, first),
    }


def compare(results, right, split):
    """Ours minus the rivals in percentage points, with 95 % intervals."""
    test_ratio = len(split.y_test) / split.n_pool
    found = {}
    for head, rows in results.items():
        for ours in OURS:
            for rival in RIVALS:
                pair = [rows.get(method) for method in (ours, rival)]
                if None in pair or any("fails" in r for row in pair for r in row):
                    continue
                if right:
                    gap = 100 * (right[head, ours] - right[head, rival])
                    interval = bootstrap_interval(gap, split.y_test)
                else:
                    scores = [[r["balanced_accuracy"] for r in row] for row in pair]
                    interval = corrected_interval(np.subtract(*scores), test_ratio)
                rounded = [None if v is None else round(v, 3) for v in interval]
                found.setdefault(head, {})[f"{ours} - {rival}"] = rounded
    return found


def machine():
    """Where and with what the numbers were made."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if "model name" in line]
        model = lines[0].split(":")[1].strip() if lines else model
    modules = (torch, sklearn, imblearn, np)
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {module.__name__: module.__version__ for module in modules},
    }


def write(record, path):
    path.write_text(json.dumps(record, indent=1) + "\n")
    tables = [make(record, h) for h in HEADS for make in (overview, differences)]
    tables += [table for item in record.items() for table in tables_of(*item)]
    shown = [as_rst(title, rows) for title, rows in tables if len(rows) > 1]
    path.with_suffix(".rst").write_text("\n".join(shown))


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features", nargs="*", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--data-sets",
        default=",".join(TABULAR),
        help="of those that are not files; '' for none (default: %(default)s)",
    )
    parser.add_argument(
        "--methods", default=",".join(METHODS), help="default: %(default)s"
    )
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).with_suffix(".json")
    )
    parser.add_argument(
        "--missing", action="store_true", help="skip what the record holds"
    )
    options = parser.parse_args(arguments)
    options.data_sets = [name for name in options.data_sets.split(",") if name]
    options.methods = options.methods.split(",")
    for kind, known in (("data_sets", TABULAR), ("methods", METHODS)):
        unknown = [name for name in getattr(options, kind) if name not in known]
        if unknown:
            parser.error(f"no such {kind}: {unknown}. There are: {', '.join(known)}")
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1. Got {options.seeds}")
    return options


def main(arguments=None):
    options = parse(arguments)
    record = json.loads(options.json.read_text()) if options.json.exists() else {}
    loaders = {name: TABULAR[name] for name in options.data_sets}
    for path in options.features:
        loaders[path.stem] = lambda path=path: load_features(path)
    for name, load in loaders.items():
        if options.missing and name in record:
            print(f"{name}: in the record\n")
            continue
        data_set = load()
        if data_set is None:
            print(f"{name}: skipped, for {PACKAGE} is not installed\n")
            continue
        record[name] = run(name, data_set, options.methods, options.seeds)
        write(record, options.json)
        for table in tables_of(name, record[name]):
            print(as_text(*table), flush=True)
    for head in HEADS:
        for title, rows in (overview(record, head), differences(record, head)):
            if len(rows) > 1:
                print(as_text(title, rows))


if __name__ == "__main__":
    main()
