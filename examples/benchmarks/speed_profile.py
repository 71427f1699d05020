# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Where the time of training and drawing goes, beside the floor of each.

The same of an earlier version: its checkout comes first where Python looks for modules.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from functools import partial

import numpy as np
from speed_floor import counted, flop, seconds_of_copies, seconds_of_products
from torch.profiler import ProfilerActivity, profile

from ldmlr_sklearn import LatentDiffusionOversampler
from ldmlr_sklearn._diffusion_parameters import TrainingParameters

# The first kind that has a word in common with the name of an operation; the rest of
# them go element by element, or add up elements.
KINDS = {
    "matrix products": ("mm", "linear"),
    "random numbers": ("normal", "rand", "uniform", "multinomial"),
    "optimiser and average": ("adam", "lerp"),
    "rows by index": ("index", "embedding", "gather", "searchsorted"),
    "copies and views": (
        *("copy", "clone", "cat", "fill", "zero", "empty", "view", "strided"),
        *("transpose", "expand", "select", "squeeze", "detach", "resolve"),
    ),
}
ELEMENTS = "element by element"
OUTSIDE = "outside torch: NumPy, Python"
N_SHOWN, N_ROWS = 204_800, 20_000


def kind_of(operation):
    """Kind of an operation of torch, by its name."""
    for kind, words in KINDS.items():
        if any(word in operation for word in words):
            return kind
    return ELEMENTS


def profiled(function):
    """Seconds of one call, by kind of operation."""
    with profile(activities=[ProfilerActivity.CPU]):
        pass  # it takes its time to get ready
    with profile(activities=[ProfilerActivity.CPU]) as found:
        start = time.perf_counter()
        function()
        whole = time.perf_counter() - start
    kinds = Counter()
    for event in found.key_averages():
        if event.key.startswith("aten::"):
            kinds[kind_of(event.key)] += event.self_cpu_time_total / 1e6
    kinds[OUTSIDE] = whole - kinds.total()
    return kinds


def summary(seconds, kinds, products, pieces, rate):
    """What the record holds of a loop."""
    n_flop = sum(flop(product) * count for product, count in products.items())
    return {
        "seconds": seconds,
        "shares": {kind: used / kinds.total() for kind, used in kinds.items()},
        "flop": float(n_flop),
        "square_products": float(n_flop / rate),
        "products": seconds_of_products(products),
        "copies": seconds_of_copies(pieces),
    }


def measure(X, y, rate, n_shown=N_SHOWN, n_rows=N_ROWS):
    """Profile training on `n_shown` rows, and drawing `n_rows`.

    `rate` is that of products of 2048² matrices in the dtype that products have, in
    operations a second.
    """
    parameters = LatentDiffusionOversampler()._parameters(TrainingParameters)
    batch_size = parameters.resolved(len(X)).batch_size
    n_steps = max(1, n_shown // batch_size)

    def fit(max_steps):
        params = dict(device="cpu", random_state=0)
        return LatentDiffusionOversampler(max_steps=max_steps, **params).fit(X, y)

    fit(1)
    # What comes before the first step is taken off.
    few, many = (timed(lambda n=n: fit(n)) for n in (1, n_steps + 1))
    kinds = profiled(lambda: fit(n_steps + 1))
    kinds.subtract(profiled(lambda: fit(1)))
    before, work = (counted(lambda n=n: fit(n)) for n in (1, 2))
    products, pieces = (
        Counter({key: n_steps * count for key, count in (more - less).items()})
        for more, less in (
            (work.products, before.products),
            (work.pieces, before.pieces),
        )
    )
    found = {"training": summary(many - few, kinds, products, pieces, rate)}
    found["training"]["before"] = few

    sampler = fit(n_steps)
    labels = np.resize(sampler.classes_, n_rows)

    def draw():
        sampler.sample(labels, random_state=0)

    draw()
    seconds, kinds, work = timed(draw), profiled(draw), counted(draw)
    found["drawing"] = summary(seconds, kinds, work.products, work.pieces, rate)
    return {"n_shown": n_shown, "n_rows": n_rows, "loops": found}


def measure_version(checkout, features, rate, n_shown=N_SHOWN, n_rows=N_ROWS):
    """Measure the package of a checkout, in a process of its own."""
    numbers = map(str, (rate, n_shown, n_rows))
    done = subprocess.run(
        [sys.executable, __file__, str(features), *numbers],
        env=os.environ | {"PYTHONPATH": str(checkout)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def timed(function, n_repeats=3):
    """Median seconds of some repeats."""
    times = []
    for _ in range(n_repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def tables(found):
    """Yield title and rows of the profile."""
    earlier = found.get("earlier", {"loops": {}})["loops"]
    loops, head = [], [""]
    for name, title in (
        ("training", f"{found['n_shown']:,} rows shown in training"),
        ("drawing", f"{found['n_rows']:,} rows drawn"),
    ):
        loops.append(found["loops"][name])
        head.append(title)
        if name in earlier:
            loops.append(earlier[name])
            head.append("earlier")

    def row(what, value, digits=3):
        values = map(value, loops)
        return [what, *("–" if v is None else f"{v:.{digits}f}" for v in values)]

    def share(loop, kind):
        return 100 * loop["shares"].get(kind, 0)

    def floor(loop):
        return loop["products"] + loop["copies"]

    kinds = [*KINDS, ELEMENTS, OUTSIDE]
    lines = [
        *(row(f"{kind}, %", partial(share, kind=kind), 0) for kind in kinds),
        row("seconds before the first step", lambda loop: loop.get("before")),
        row("seconds", lambda loop: loop["seconds"]),
        row("10⁹ operations of products", lambda loop: loop["flop"] / 1e9, 1),
        row("they alone, as 2048² products, s", lambda loop: loop["square_products"]),
        row("they alone, at their shapes, s", lambda loop: loop["products"]),
        row("copies of as many bytes as the rest, s", lambda loop: loop["copies"]),
        row("seconds over the last two", lambda loop: loop["seconds"] / floor(loop), 2),
    ]
    yield "Where the time goes, and the floor", [head, *lines]


if __name__ == "__main__":
    with np.load(sys.argv[1]) as given:
        rows = given["X_train"], given["y_train"]
    counts = map(int, sys.argv[3:])
    print(json.dumps(measure(*rows, float(sys.argv[2]), *counts)))
