# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Where the time of training and drawing goes, and how little it could be.

The floor is the time of the same matrix products alone, at the shapes, layouts and
dtypes they have, and of copies that move as many bytes as all other operations do, in
pieces of the same size. Operations that are merged move less.
"""

import time
from collections import Counter
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ldmlr_sklearn import LatentDiffusionOversampler

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
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")
MIN_BYTES = 4096  # what is smaller costs a call, not a transfer
N_STEPS, N_ROWS = 100, 20_000


def kind_of(operation):
    """Kind of an operation of torch, by its name."""
    for kind, words in KINDS.items():
        if any(word in operation for word in words):
            return kind
    return ELEMENTS


class Layout(NamedTuple):
    """All of a matrix that the speed of a product depends on."""

    shape: tuple
    stride: tuple
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor):
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype)

    def make(self):
        size = 1 + sum(
            (n - 1) * step for n, step in zip(self.shape, self.stride, strict=True)
        )
        ones = torch.ones(size, dtype=self.dtype)
        return ones.as_strided(self.shape, self.stride)


class Work(TorchDispatchMode):
    """Count matrix products by layout, and bytes that other operations move by size."""

    def __init__(self):
        super().__init__()
        self.products, self.pieces = Counter(), Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        name = function.overloadpacket.__name__
        if name in PRODUCTS:
            matrices = [a for a in args if isinstance(a, torch.Tensor)][-2:]
            self.products[tuple(map(Layout.of, matrices))] += 1
        elif not function.is_view and not name.startswith("empty"):
            arguments = function._schema.arguments
            written = [
                value
                for value, argument in zip(args, arguments, strict=False)
                if argument.alias_info is not None and argument.alias_info.is_write
            ]
            for tensor in tree_leaves((args, kwargs, written or result)):
                if isinstance(tensor, torch.Tensor):
                    self.pieces[tensor.numel() * tensor.element_size()] += 1
        return result


def flop(product):
    """Operations of a product of two matrices, or of two stacks of them."""
    left, right = product
    return 2 * np.prod(left.shape) * right.shape[-1]


def best(function, n_repeats=20):
    """Least seconds of some repeats: what the machine can do."""
    function()
    times = []
    for _ in range(n_repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def seconds_of_products(products):
    """Seconds of the products alone."""
    total = 0.0
    for product, count in products.items():
        left, right = (layout.make() for layout in product)
        total += count * best(lambda a=left, b=right: torch.matmul(a, b))
    return total


def seconds_of_copies(pieces):
    """Seconds of copies that read and write as many bytes, in pieces of such sizes."""
    doubled = Counter()
    for size, count in pieces.items():
        if size >= MIN_BYTES:
            doubled[2 ** round(np.log2(size))] += size * count
    total = 0.0
    for size, moved in doubled.items():
        source = torch.ones(size, dtype=torch.uint8)
        target = torch.empty_like(source)
        used = best(lambda a=target, b=source: a.copy_(b))
        total += used * moved / (2 * size)  # a copy reads and writes
    return total


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


def counted(function):
    with Work() as work:
        function()
    return work


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


def measure(X, y, rate, n_steps=N_STEPS, n_rows=N_ROWS):
    """Profile training steps and drawing on given rows.

    `rate` is that of products of 2048² matrices in the dtype that products have, in
    operations a second.
    """

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
    return {"n_steps": n_steps, "n_rows": n_rows, "loops": found}


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
    loops = found["loops"].values()

    def row(what, value, digits=3):
        return [what, *(f"{value(loop):.{digits}f}" for loop in loops)]

    def share(loop, kind):
        return 100 * loop["shares"].get(kind, 0)

    def floor(loop):
        return loop["products"] + loop["copies"]

    kinds = [*KINDS, ELEMENTS, OUTSIDE]
    lines = [
        *(row(f"{kind}, %", partial(share, kind=kind), 0) for kind in kinds),
        row("seconds", lambda loop: loop["seconds"]),
        row("10⁹ operations of products", lambda loop: loop["flop"] / 1e9, 1),
        row("they alone, as 2048² products, s", lambda loop: loop["square_products"]),
        row("they alone, at their shapes, s", lambda loop: loop["products"]),
        row("copies of as many bytes as the rest, s", lambda loop: loop["copies"]),
        row("seconds over the last two", lambda loop: loop["seconds"] / floor(loop), 2),
    ]
    head = ["", f"{found['n_steps']} steps", f"{found['n_rows']:,} rows drawn"]
    yield "Where the time goes, and the floor", [head, *lines]
