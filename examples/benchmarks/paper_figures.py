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
    """Draw what generators gain over no row added, with 95 % intervals.

    A row of plots for each head, a column for each way to spread the added rows over
    the classes.
    """
    hits = {}  # (head, way, sampler) -> rows added -> right test rows, a seed each
    for found in records:
        head, _, case = found["row"].partition(", ")
        amount, _, sampler = case.partition(": ")
        way = amount.rpartition(" ")[0]
        curve = hits.setdefault((head, way, sampler), {})
        curve.setdefault(found["n_added"], []).append(found["_hits"])
    heads, ways = (list(dict.fromkeys(key[i] for key in hits)) for i in (0, 1))
    ways.remove("")  # no row added
    figure = Figure(figsize=(10, 6), layout="constrained")
    plots = figure.subplots(
        len(heads), len(ways), sharex=True, sharey="row", squeeze=False
    )
    for head, row in zip(heads, plots, strict=True):
        nothing = np.mean(hits[head, "", ""][0], axis=0)
        for way, ax in zip(ways, row, strict=True):
            for sampler, shape in zip(SAMPLERS, "os^", strict=True):
                points = [
                    (
                        n,
                        *bootstrap_interval(
                            100 * (np.mean(each, axis=0) - nothing), y_test
                        ),
                    )
                    for n, each in sorted(hits[head, way, sampler].items())
                ]
                added, gain, low, high = np.transpose(points)
                spread = gain - low, high - gain
                ax.errorbar(added, gain, spread, fmt=f"{shape}-", ms=4, label=sampler)
            ax.axhline(0, color="0.6", lw=0.8)
            ax.set_title(f"{head}, {way}")
        row[0].set_ylabel("gain in points, 95 % interval")
    for ax in plots[-1]:
        ax.set_xlabel("rows added")
        ax.locator_params(axis="x", nbins=4)
    plots[0, 0].legend()
    figure.savefig(path, dpi=90)


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
