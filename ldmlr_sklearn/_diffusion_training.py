# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Rows, labels, training parameters and seeds to a trained diffusion model."""

import copy

import numpy as np
import torch

from ldmlr_sklearn._class_gaussians import class_gaussians
from ldmlr_sklearn._class_posterior import ClassPosterior
from ldmlr_sklearn._columns import Columns
from ldmlr_sklearn._guidance import cross_validated_recall
from ldmlr_sklearn._torch_utils import (
    generator_from,
    product_dtype,
    to_numpy,
    to_tensor,
)
from ldmlr_sklearn._trained_diffusion import TrainedDiffusion
from ldmlr_sklearn.diffusion import NoiseSchedule, train

# Parameters that a network can only be trained further with if they are as they were.
ARCHITECTURE = (
    *("n_train_timesteps", "noise_schedule", "prediction_type"),
    *("hidden_dim", "n_blocks"),
)


# Numbers of X up to which all of it is standardised at once, and kept on the device.
MAX_RESIDENT = 2**26


class _StandardisedRows:
    """Rows in another order, standardised when they are asked for."""

    dtype = np.dtype(np.float32)

    def __init__(self, X, columns, order):
        self._X, self._columns, self._order = X, columns, order

    def __len__(self):
        return len(self._order)

    def __getitem__(self, index):
        return self._columns.transform(self._X[self._order[index]])


class _Batches:
    """What training takes of a tensor, made of rows batch by batch."""

    def __init__(self, rows, device):
        self._rows, self.device = rows, device

    def index_select(self, dim, index):
        return to_tensor(self._rows[to_numpy(index)]).to(self.device)


def unwatched(losses, so_far):
    """Watch nothing."""
    return losses


def train_diffusion(
    X,
    codes,
    parameters,
    *,
    seeds,
    device,
    sample_weight=None,
    start=None,
    watch=unwatched,
):
    """Train a diffusion model.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Finite rows of any numeric dtype.
    codes : ndarray of shape (n_samples,)
        Their labels 0, …, K − 1; all of them occur.
    parameters : TrainingParameters
        Resolved.
    seeds : tuple of two int
        Of the initial weights, and of the batches.
    device : torch.device
    sample_weight : ndarray of shape (n_samples,), optional
        Rows of a class are drawn in proportion to it; all are above 0.
    start : TrainedDiffusion, optional
        Its weights are where training starts, in place of random ones.
    watch : callable, optional
        (iterator over the losses of the steps, callable that returns the model so far)
        -> iterator over the same losses. It may end before: training stops then.

    Returns
    -------
    TrainedDiffusion

    Raises
    ------
    ValueError
        If training diverges.
    """
    init_seed, batch_seed = seeds
    counts = np.bincount(codes)
    columns = Columns(X)
    order = np.argsort(codes, kind="stable")
    rows, codes = _StandardisedRows(X, columns, order), codes[order]
    batches = _Batches(rows, device)
    if X.size <= MAX_RESIDENT:
        rows = rows[:]
        batches = to_tensor(rows).to(device)
    weights = None if sample_weight is None else sample_weight[order]
    deal = np.random.RandomState(batch_seed)
    recall = cross_validated_recall(rows, codes, counts, deal)
    posterior = ClassPosterior(rows, codes, deal, weights)
    mixture = class_gaussians(
        rows,
        codes,
        deal,
        class_sampling=parameters.class_sampling,
        sample_weight=weights,
    )

    network = parameters.network(X.shape[1], len(counts), generator_from(init_seed))
    if start is not None:
        network.load_state_dict(start.denoiser.state_dict())
        batch_seed += len(start.loss_curve)  # not the same batches again
    network = network.to(device)
    average = _Average(network, parameters.ema_decay)
    schedule = NoiseSchedule.from_name(
        parameters.noise_schedule, parameters.n_train_timesteps
    )
    losses = train(
        network,
        schedule.to(device),
        batches,
        to_tensor(counts, torch.int64).to(device),
        n_steps=parameters.max_steps,
        batch_size=parameters.batch_size,
        learning_rate=parameters.learning_rate,
        class_sampling=parameters.class_sampling,
        label_dropout=parameters.label_dropout,
        prediction_type=parameters.prediction_type,
        generator=generator_from(batch_seed, device),
        bfloat16=product_dtype(device) == torch.bfloat16,
        row_weight=None if weights is None else to_tensor(weights, torch.float64),
    )
    before = [] if start is None else [start.loss_curve]
    loss_curve = []

    def averaged():
        for loss in losses:
            average.update()
            loss_curve.append(loss)
            yield loss

    def so_far():
        denoiser = copy.deepcopy(average.network).cpu()
        now = [to_numpy(torch.stack(loss_curve))] if loss_curve else []
        return TrainedDiffusion(
            parameters,
            columns,
            posterior,
            mixture,
            recall,
            denoiser,
            np.concatenate([np.empty(0, np.float32), *before, *now]),
        )

    for _ in watch(averaged(), so_far):
        pass
    trained = so_far()
    if not np.isfinite(trained.loss_curve).all():
        raise ValueError(
            f"Training diverged: the loss is {trained.loss_curve[-1]} after "
            f"{len(loss_curve)} steps with learning_rate={parameters.learning_rate}. "
            "Lower the learning_rate."
        )
    return trained


class _Average:
    """A network with the moving average of another one's weights.

    The decay rises from 0.18 to `decay`. All weights are averaged in one call, which
    is several times quicker than `torch.optim.swa_utils.AveragedModel`.
    """

    def __init__(self, network, decay):
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._weights = list(self.network.parameters())
        self._current = [weight.detach() for weight in network.parameters()]
        self._decay, self._n_updates = decay, 0

    def update(self):
        self._n_updates += 1
        rising = (1 + self._n_updates) / (10 + self._n_updates)
        share = 1 - min(self._decay, rising)
        torch._foreach_lerp_(self._weights, self._current, share)
