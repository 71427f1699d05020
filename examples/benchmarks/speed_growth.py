# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""How the time of `fit` and `sample` grows with rows, columns and classes."""

import time

import numpy as np

from ldmlr_sklearn import LatentDiffusionOversampler

# What one axis of growth starts from while the other two stay at their `fixed` value.
FIRST = {"rows": 500, "columns": 8, "classes": 5}
FIXED = {"rows": 5_000, "columns": 16, "classes": 5}
FACTORS = (1, 3, 10, 30, 100)
LOOPS = ("fit", "sample")


def growth(first=FIRST, fixed=FIXED, factors=FACTORS, **params):
    """Seconds of `fit`, and of `sample` of as many rows, along each axis.

    The parameters are the defaults, so that steps and width follow the rows as they do
    for a user.
    """
    found = {}
    for axis in first:
        found[axis] = []
        for factor in factors:
            shape = fixed | {axis: first[axis] * factor}
            random = np.random.default_rng(0)
            X = random.standard_normal((shape["rows"], shape["columns"]), "float32")
            y = np.arange(len(X)) % shape["classes"]
            sampler = LatentDiffusionOversampler(device="cpu", random_state=0, **params)
            start = time.perf_counter()
            sampler.fit(X, y)
            fitted = time.perf_counter()
            sampler.sample(y, random_state=0)
            drawn = time.perf_counter()
            point = {
                "size": shape[axis],
                "fit": fitted - start,
                "sample": drawn - fitted,
            }
            found[axis].append(point)
    return found


def slope(points, loop):
    """Exponent b of seconds ∝ size^b, by least squares; 1 is linear."""
    logarithms = np.log([[point["size"], point[loop]] for point in points])
    return float(np.polyfit(*logarithms.T, 1)[0])


def tables(found):
    """Yield title and rows of a table per axis, and of the exponents."""
    for axis, points in found.items():
        lines = [
            [f"{point['size']:,}", *(f"{point[loop]:.2f}" for loop in LOOPS)]
            for point in points
        ]
        others = ", ".join(f"{n:,} {name}" for name, n in FIXED.items() if name != axis)
        yield f"Seconds as the {axis} grow, {others}", [[axis, *LOOPS], *lines]
    lines = [
        [axis, *(f"{slope(points, loop):.2f}" for loop in LOOPS)]
        for axis, points in found.items()
    ]
    yield (
        "Exponents of the growth over two decades, target ≤ 1",
        [["of", *LOOPS], *lines],
    )


def draw(found, path):
    """Draw seconds against size, a panel an axis, beside a line of linear growth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    # Okabe and Ito's blue and vermilion; markers and dashes tell them apart in print.
    styles = {
        "fit": dict(color="#0072B2", marker="o", linestyle="-"),
        "sample": dict(color="#D55E00", marker="s", linestyle="--"),
    }
    for ax, (axis, points) in zip(
        figure.subplots(1, len(found), sharey=True), found.items(), strict=True
    ):
        size = np.array([point["size"] for point in points])
        for loop, style in styles.items():
            used = [point[loop] for point in points]
            label = f"{loop}, exponent {slope(points, loop):.2f}"
            ax.plot(size, used, label=label, **style)
        linear = points[0]["sample"] * size / size[0]
        ax.plot(size, linear, color="0.6", linestyle=":", label="linear")
        ax.set(xscale="log", yscale="log", xlabel=f"number of {axis}")
        ax.legend(fontsize="small")
    figure.axes[0].set_ylabel("seconds")
    figure.savefig(path, dpi=110)
