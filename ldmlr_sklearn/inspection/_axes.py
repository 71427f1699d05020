# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What the displays share: axes to draw on, colours, and classes along an axis."""

from itertools import cycle, islice
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.container
    import matplotlib.figure
    import matplotlib.lines

# Strings, so that nothing is loaded for the sake of a type.
Axes: TypeAlias = "matplotlib.axes.Axes"
AxesOrNone: TypeAlias = "matplotlib.axes.Axes | None"
# A figure, unless axes of a part of one were given.
Figure: TypeAlias = "matplotlib.figure.Figure | Any"
Line: TypeAlias = "matplotlib.lines.Line2D"
Lines: TypeAlias = "list[matplotlib.lines.Line2D]"
ErrorBars: TypeAlias = "matplotlib.container.ErrorbarContainer"

# Okabe and Ito's colours without yellow, which is faint on white. They can be told
# apart by everybody, and markers and dashes tell them apart in print.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")
GREY = "0.75"

# Longer names of classes are cut: they would leave no room for what is drawn.
MAX_NAME_LENGTH = 20
LETTERS_PER_LINE = 72  # of a legend over a figure of usual width
# More classes than this are averaged in groups: their names would not fit.
MAX_NAMED_CLASSES = 40
N_GROUPS = 20


def resolve_axes(owner, ax):
    """Return the axes to draw on, new ones if there are none."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(owner).__name__}.plot needs matplotlib, which is not installed. "
            'Install it with: pip install "ldmlr_sklearn[plot]"'
        ) from error
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    return ax


def legend_above(ax):
    """Explain what is drawn above the axes: inside them it would hide points."""
    longest = max(len(label) for label in ax.get_legend_handles_labels()[1])
    ax.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=min(4, max(1, LETTERS_PER_LINE // (longest + 6))),  # 6 for the line
        frameon=False,
    )


def line_styles(n_lines):
    """Return as many line styles, of which no two within 28 are alike."""
    markers, colours, dashes = cycle(MARKERS), cycle(COLOURS), cycle(DASHES)
    styles = zip(colours, markers, dashes, strict=False)
    return [
        {"color": colour, "marker": marker, "linestyle": dash}
        for colour, marker, dash in islice(styles, n_lines)
    ]


def group_classes(counts):
    """Divide classes, most frequent first, into groups that are drawn as one point.

    Parameters
    ----------
    counts : ndarray of shape (n_classes,)

    Returns
    -------
    list of ndarray
        Indices of classes, one in each group unless there are too many classes.
    """
    order = np.argsort(-np.asarray(counts), kind="stable")
    n_groups = len(order) if len(order) <= MAX_NAMED_CLASSES else N_GROUPS
    return np.array_split(order, n_groups)


def mean_of_groups(values, groups):
    """Average values of classes over groups; nan is left out, and stands for none."""
    values = np.asarray(values, dtype=float)
    means = np.full(len(groups), np.nan)
    for position, group in enumerate(groups):
        known = values[group][~np.isnan(values[group])]
        if len(known):
            means[position] = known.mean()
    return means


def _shortened(name):
    name = str(name)
    if len(name) > MAX_NAME_LENGTH:
        # Names of a data set often begin alike, and differ at their ends.
        half = MAX_NAME_LENGTH // 2
        name = f"{name[: half - 1]}…{name[-half:]}"
    return literally(name)


def literally(text):
    """Return text that matplotlib shows as it is: two $ would enclose a formula."""
    return str(text).replace("$", r"\$")


def label_classes(ax, classes, counts, groups):
    """Name the groups along the x axis: each class and its rows, or ranks of classes.

    Returns
    -------
    ndarray of shape (n_groups,)
        Positions of the groups on the axis.
    """
    if len(groups) == len(classes):
        names = [
            f"{_shortened(classes[group[0]])}\n({counts[group[0]]})" for group in groups
        ]
        positions = np.arange(len(groups))
        crowded = len(names) > 10 or max(len(str(name)) for name in classes) > 8
        rotation = {"rotation": 90, "fontsize": "small"} if crowded else {}
        if crowded:
            names = [name.replace("\n", " ") for name in names]
        ax.set_xticks(positions, names, **rotation)
        ax.set_xlabel("class (training rows), most frequent first")
        return positions
    sizes = np.array([len(group) for group in groups])
    positions = np.cumsum(sizes) - (sizes - 1) / 2  # mean rank, from 1 on
    ax.set_xlabel(
        f"rank of the class by training rows; each point: {sizes.min()} classes"
        if sizes.min() == sizes.max()
        else f"rank of the class by training rows; each point: {sizes.min()} or "
        f"{sizes.max()} classes"
    )
    return positions


def sampler_of(estimator, method=None):
    """Return the over-sampler of an `LDMLRClassifier`, or what is one itself.

    Raises
    ------
    AttributeError
        If it lacks the method.
    """
    sampler = getattr(estimator, "oversampler_", estimator)
    if method is not None and not hasattr(sampler, method):
        raise AttributeError(
            f"This {type(sampler).__name__} has no method {method!r}. Expected a "
            "fitted LatentDiffusionOversampler, or an LDMLRClassifier that has one; "
            "of a pipeline, pass that step."
        )
    return sampler
