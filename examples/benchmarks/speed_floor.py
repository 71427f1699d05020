# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""How little time a piece of work could take: its matrix products and bytes alone.

Products are timed at the shapes, layouts and dtypes they have; the bytes that all other
operations move, as copies in pieces of the same size. Merged operations move less.
"""

import time
from collections import Counter
from typing import NamedTuple

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PRODUCTS = ("mm", "addmm", "addmm_", "bmm", "baddbmm")
MIN_BYTES = 4096  # what is smaller costs a call, not a transfer


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


def counted(function):
    """Work of one call."""
    with Work() as work:
        function()
    return work


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
