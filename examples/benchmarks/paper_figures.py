# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The figures of ``reproduce_paper.py``."""

import numpy as np
from accuracy_scores import bootstrap_interval
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

SAMPLERS = ("LDMLR", "replay", "Gaussian")
SHOWN = 200  # rows of each kind in a scatter plot


def draw_growth(path, split, unseen, real, generated):
    """Draw one class in the plane of all test rows, as training goes on.

    `generated` maps the number of training steps to generated rows.
    """
    plane = PCA(2).fit(split.X_test)
    figure = Figure(figsize=(4 * len(generated), 4.2), layout="constrained")
    axes = figure.subplots(1, len(generated), squeeze=False, sharey=True)[0]
    for ax, (n_steps, new) in zip(axes, generated.items(), strict=True):
        for rows, marker, label in (
            (unseen, "o", "real, unseen"),
            (new, "x", "generated"),
            (real, "^", "real, training"),
        ):
            x, y = plane.transform(rows[:SHOWN]).T
            ax.scatter(x, y, marker=marker, s=18, alpha=0.6, label=label)
        ax.set(title=f"after {n_steps} steps", xticks=[], yticks=[])
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=110)


def draw_ratio(path, records, y_test):
    """Draw what a generator gains over no row added, with 95 % intervals.

    Rows in proportion to the class frequencies are a line, full balance a point.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for ax, row in zip(figure.subplots(1, 2), ("CE", "label shift"), strict=True):
        hits = {}
        for found in records:
            head, _, case = found["row"].partition(", ")
            if head == row:
                hits.setdefault((case, found["n_added"]), []).append(found["_hits"])
        hits = {key: np.mean(each, axis=0) for key, each in hits.items()}
        (nothing,) = (each for (_, n), each in hits.items() if not n)
        for color, sampler in zip(("C0", "C1", "C2"), SAMPLERS, strict=True):
            own = {k: v for k, v in hits.items() if k[0].endswith(f": {sampler}")}
            for shape, balance, label in (("o-", False, sampler), ("s", True, None)):
                points = [
                    (n, *bootstrap_interval(100 * (each - nothing), y_test))
                    for (case, n), each in own.items()
                    if case.startswith("to balance") == balance
                ]
                added, gain, low, high = np.transpose(points)
                ax.errorbar(
                    added,
                    gain,
                    (gain - low, high - gain),
                    fmt=shape,
                    ms=4,
                    color=color,
                    label=label,
                )
        ax.axhline(0, color="0.6", lw=0.8)
        ax.set(
            title=f"{row}: squares are full balance",
            xlabel="rows added",
            ylabel="gain in points, 95 % interval",
        )
        ax.legend()
    figure.savefig(path, dpi=110)


def draw_images(path, X, y, new, labels):
    """Draw four real and four generated images of every class that has generated ones.

    A class is a row, real images on the left.
    """
    classes = np.unique(labels)
    figure = Figure(figsize=(4.8, 0.6 * len(classes)), layout="constrained")
    grid = figure.subplots(len(classes), 8, squeeze=False)
    for axes, class_ in zip(grid, classes, strict=True):
        real, generated = X[y == class_], new[labels == class_]
        for half, images in ((axes[:4], real), (axes[4:], generated)):
            for ax, image in zip(half, images, strict=False):  # there may be fewer
                ax.imshow(image)
        for ax in axes:
            ax.axis("off")
    figure.savefig(path, dpi=75)
