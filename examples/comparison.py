# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The comparison that ``demo.py`` and ``cifar_lt.py`` print.

Rules that every method obeys: constructor defaults (besides the seed), the same linear
head on the same features, no early stopping and no choice by the test rows, which are
predicted once.
"""

import time
from typing import NamedTuple

import numpy as np
from imblearn.over_sampling import SMOTE, RandomOverSampler
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from ldmlr_sklearn import LatentDiffusionOversampler, LDMLRClassifier
from ldmlr_sklearn.metrics import SHOT_GROUPS, shot_accuracy, shot_groups

COLUMNS = ("balanced acc.", *(f"{group}-shot" for group in SHOT_GROUPS), "seconds")
# Okabe and Ito's colours, which everybody can tell apart; the markers differ as well.
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"


class Split(NamedTuple):
    """Rows to learn from and rows to test on: images or features."""

    X_train: object
    y_train: np.ndarray
    X_test: object
    y_test: np.ndarray


class Comparison(NamedTuple):
    """Scores of every method, and what the figure shows of the first seed."""

    scores: dict  # name -> one row of COLUMNS a seed
    split: Split
    oversampler: LatentDiffusionOversampler


def linear_head(n_rows, class_weight=None):
    """Softmax regression on standardised features; L2 of 2e-3 a row, whatever n is."""
    return make_pipeline(
        StandardScaler(),
        LogisticRegression(
            C=1 / (2e-3 * n_rows), class_weight=class_weight, max_iter=1000
        ),
    )


def competitors(y_train, seed):
    """Name -> head, over-sampler or classifier, not yet fitted."""
    n_rows, smallest = len(y_train), np.unique(y_train, return_counts=True)[1].min()
    methods = {
        "no resampling": linear_head(n_rows),
        "class weights": linear_head(n_rows, class_weight="balanced"),
        "RandomOverSampler": RandomOverSampler(random_state=seed),
    }
    if smallest > 1:  # SMOTE needs a neighbour
        k_neighbors = min(5, int(smallest) - 1)
        methods["SMOTE"] = SMOTE(random_state=seed, k_neighbors=k_neighbors)
    methods["LatentDiffusionOversampler"] = LatentDiffusionOversampler(
        random_state=seed
    )
    methods["LDMLRClassifier"] = LDMLRClassifier(random_state=seed)
    return methods


def fit_predict(method, split):
    """Predict the test rows; an over-sampler is followed by the linear head."""
    X, y = split.X_train, split.y_train
    if hasattr(method, "fit_resample"):
        X, y = method.fit_resample(X, y)
        method = linear_head(len(y))
    return method.fit(X, y).predict(split.X_test)


def compare(draw, n_seeds):
    """Score all methods on ``draw(seed)``, a `Split` of features, for every seed."""
    scores, first = {}, None
    with tqdm(total=n_seeds, bar_format="{desc}{bar} {elapsed}<{remaining}") as bar:
        for seed in range(n_seeds):
            bar.set_description_str(f"seed {seed + 1}/{n_seeds}, features".ljust(44))
            split = draw(seed)
            methods = competitors(split.y_train, seed)
            for position, (name, method) in enumerate(methods.items(), start=1):
                bar.set_description_str(f"seed {seed + 1}/{n_seeds}, {name}".ljust(44))
                start = time.perf_counter()
                y_pred = fit_predict(method, split)
                seconds = time.perf_counter() - start
                accuracy = shot_accuracy(split.y_test, y_pred, split.y_train)
                percent = [100 * accuracy[group] for group in ("all", *SHOT_GROUPS)]
                scores.setdefault(name, []).append([*percent, seconds])
                bar.n = seed + position / len(methods)
            if seed == 0:
                first = split, methods["LatentDiffusionOversampler"]
    return Comparison(scores, *first)


def describe(split):
    """One line on the rows, the classes and their shot groups."""
    _, counts = np.unique(split.y_train, return_counts=True)
    groups = list(shot_groups(split.y_train).values())
    sizes = ", ".join(f"{groups.count(group)} {group}-shot" for group in SHOT_GROUPS)
    return (
        f"{len(split.y_train)} training rows, {len(counts)} classes of {counts.max()} "
        f"to {counts.min()} rows ({sizes}); {len(split.y_test)} test rows"
    )


def table(scores):
    """Mean and standard deviation over the seeds, one row a method."""
    lines = [" " * 27 + "".join(f"{column:>14}" for column in COLUMNS)]
    for name, rows in scores.items():
        cells = [
            "–" if np.isnan(mean) else f"{mean:.1f} ± {std:.1f}"
            for mean, std in zip(np.mean(rows, 0), np.std(rows, 0), strict=True)
        ]
        lines.append(f"{name:27}" + "".join(f"{cell:>14}" for cell in cells))
    n_seeds = len(rows)
    lines += [
        "",
        f"Mean ± standard deviation over {n_seeds} seed(s); recall in %, averaged over",
        "the classes of a group: many-shot ones have at least 100 training rows,",
        "few-shot ones fewer than 20. Seconds: resampling, fitting the head and",
        "predicting, without encoding.",
    ]
    if "SMOTE" not in scores:
        lines.append("SMOTE is left out: a class has one row, and no neighbour.")
    return "\n".join(lines)


def draw_tail(comparison, names, path, n_panels=3, n_shown=100):
    """Draw real and generated features of the rarest classes in one plane.

    `names` maps a class to its title. The plane is spanned by the first two principal
    components of the real test rows. Of every kind, `n_shown` rows at most are drawn.
    """
    _, split, oversampler = comparison
    classes, counts = np.unique(split.y_train, return_counts=True)
    rarest = np.argsort(counts, kind="stable")[:n_panels]
    generator = np.random.RandomState(0)

    def some(X, mask):
        rows = np.flatnonzero(mask)
        return X[generator.permutation(rows)[:n_shown]]

    scale = StandardScaler().fit(split.X_train)
    plane = make_pipeline(scale, PCA(2)).fit(split.X_test)

    figure = Figure(figsize=(4 * len(rarest), 4.6), layout="constrained")
    axes = figure.subplots(1, len(rarest), squeeze=False, sharex=True, sharey=True)[0]
    for ax, class_, count in zip(axes, classes[rarest], counts[rarest], strict=True):
        generated = oversampler.sample(np.repeat(class_, n_shown), random_state=0)
        layers = {  # label: rows, marker, colour, size
            "all training rows": (split.X_train, ".", "0.85", 12),
            "real, unseen": (some(split.X_test, split.y_test == class_), "o", BLUE, 22),
            "generated": (generated, "x", ORANGE, 22),
            "real, training": (
                some(split.X_train, split.y_train == class_),
                "^",
                GREEN,
                70 if count < 20 else 25,
            ),
        }
        for label, (rows, marker, colour, size) in layers.items():
            x, y = plane.transform(rows).T if len(rows) else ([], [])
            edge = {"edgecolor": "black"} if marker == "^" else {}
            ax.scatter(x, y, marker=marker, color=colour, s=size, label=label, **edge)
        ax.set(title=f"{names[class_]}: {count} training rows", xticks=[], yticks=[])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    figure.savefig(path, dpi=120)
