# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Batches of labelled images, shuffled and shared among processes."""

import math

import torch

from ldmlr_sklearn._torch_utils import to_numpy, to_tensor


class LabelledImages(torch.utils.data.Dataset):
    """Whole batches of raw images, targets and weights, read when they are asked for.

    The weights of all rows have mean 1.
    """

    def __init__(self, source, targets, weights, shape):
        self.source = source
        self.targets = to_tensor(targets, torch.int64)
        self.weights = to_tensor(weights / weights.mean())
        self.shape = shape

    def __len__(self):
        return len(self.source)

    def __getitem__(self, rows):
        raw = self.source.read(to_numpy(rows), self.shape)
        return raw, self.targets[rows], self.weights[rows]


def count_batches(n_rows, batch_size, n_shares=1):
    """Return how many batches of equal size hold all rows.

    Each has two rows at least for each of its shares.
    """
    return max(1, min(math.ceil(n_rows / batch_size), n_rows // (2 * n_shares)))


class ShuffledBatches:
    """All rows in a new order each time they are gone through.

    Each of several processes takes its share of every batch. Batches differ by one row
    at most: BatchNorm refuses a last batch of one row, and a last batch of three
    disturbs its statistics and the weights.
    """

    def __init__(self, dataset, batch_size, generator, processes):
        self.dataset = dataset
        self.n_batches = count_batches(len(dataset), batch_size, processes.count)
        self.generator = generator
        self.processes = processes

    def __iter__(self):
        order = torch.randperm(len(self.dataset), generator=self.generator)
        for rows in order.tensor_split(self.n_batches):
            share = rows.tensor_split(self.processes.count)[self.processes.index]
            raw, targets, weights = self.dataset[share]
            # Gradients are averaged over processes, whose shares may differ by a row.
            size = len(share) * self.processes.count / len(rows)
            yield raw, targets, weights * size
