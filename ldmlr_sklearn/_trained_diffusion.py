# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""A trained diffusion model of rows: what training yields, and drawing from it."""

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend

from ldmlr_sklearn._class_posterior import ClassPosterior, choose
from ldmlr_sklearn._columns import Columns
from ldmlr_sklearn._diffusion_parameters import TrainingParameters
from ldmlr_sklearn._guidance import guidance_from_recall
from ldmlr_sklearn._torch_utils import (
    generator_from,
    product_dtype,
    to_numpy,
    to_tensor,
)
from ldmlr_sklearn.diffusion import (
    Denoiser,
    GaussianMixture,
    NoiseSchedule,
    denoised_by,
    guided,
    sample_ddim,
)

# Rows drawn at a time, and numbers of them: many, so that starting an operation costs
# little beside it; few enough for what the network makes of them to stay in a cache.
CHUNK_ROWS = 32_768
CHUNK_NUMBERS = 2**21


@dataclass(frozen=True, eq=False)
class TrainedDiffusion:
    """A trained diffusion model of rows of classes 0, …, K − 1.

    Parameters
    ----------
    parameters : TrainingParameters
        Those it was trained with, resolved.
    columns : Columns
        Maps rows to standardised ones and back.
    posterior : ClassPosterior
        Which class a standardised row belongs to.
    mixture : GaussianMixture
        The classes as Gaussians, on the CPU.
    expected_recall : float
        Cross-validated recall of the rare classes.
    denoiser : Denoiser
        The network with averaged weights, on the CPU.
    loss_curve : ndarray of shape (n_steps,)
        Training loss of every step.
    """

    parameters: TrainingParameters
    columns: Columns
    posterior: ClassPosterior
    mixture: GaussianMixture
    expected_recall: float
    denoiser: Denoiser
    loss_curve: np.ndarray

    def draw(self, codes, sampling, seed, device, n_jobs=None, out=None):
        """Draw one row for every class index.

        Rows are drawn in chunks of fixed size, each with a seed of its own: they do
        not depend on which worker draws which chunk.

        Parameters
        ----------
        codes : ndarray of shape (n_rows,)
            Class indices 0, …, K − 1.
        sampling : SamplingParameters
        seed : int
        device : torch.device
        n_jobs : int or None
            Number of workers of joblib.
        out : ndarray of shape (n_rows, n_features), optional
            Where the rows go, in place of a new array.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            In the dtype of the training rows.
        """
        rows = out
        if rows is None:
            rows = np.empty((len(codes), len(self.columns.integer)), self.columns.dtype)
        order = np.argsort(codes, kind="stable")  # candidates of a class lie together
        n_candidates = min(CHUNK_ROWS, max(1024, CHUNK_NUMBERS // rows.shape[1]))
        size = max(1, n_candidates // sampling.n_candidates)
        chunks = [order[chunk] for chunk in _chunks(codes[order], size)]
        # At the noisiest times an estimate of x0 is ε's error a thousandfold.
        exact = self.parameters.prediction_type == "epsilon"
        dtype = torch.float32 if exact else product_dtype(device)
        network = copy.deepcopy(self.denoiser).to(device, dtype)
        tasks = (
            delayed(replace(self, denoiser=network)._draw_chunk)(
                codes[chunk], sampling, _seed_of_chunk(seed, number), device
            )
            for number, chunk in enumerate(chunks)
        )
        if get_active_backend()[0].supports_return_generator:
            drawn = Parallel(n_jobs=n_jobs, return_as="generator")(tasks)
        else:
            # "multiprocessing" forks, which beside torch's threads may never end.
            drawn = (draw(*args, **keywords) for draw, args, keywords in tasks)
        for chunk, part in zip(chunks, drawn, strict=True):
            rows[chunk] = part
        return rows

    def _draw_chunk(self, codes, sampling, seed, device):
        """Draw rows for class indices in ascending order, all at once."""
        generator = generator_from(seed, device)
        schedule = self._schedule().to(device)
        estimate = self._estimate(sampling, schedule, device)
        low, high = (
            to_tensor(bound).to(device)
            for bound in (self.columns.low, self.columns.high)
        )

        def denoise(xt, t, labels):
            return estimate(xt, t, labels).clamp_(low, high)

        candidates = np.repeat(codes, sampling.n_candidates)
        alone = codes[0] == codes[-1]
        labels = to_tensor(candidates[:1] if alone else candidates, torch.int64)
        labels = labels.to(device)
        noise = low.new_empty(len(candidates), len(low))
        x0 = to_numpy(
            sample_ddim(
                denoise,
                schedule,
                labels,
                noise.normal_(generator=generator),
                n_steps=sampling.n_inference_steps,
                eta=sampling.eta,
                generator=generator,
            )
        )
        if sampling.n_candidates > 1:
            weights = self.posterior.log_proba(x0, candidates)
            n_chosen = np.bincount(codes, minlength=self.denoiser.null_label)
            choice = np.random.RandomState(seed)
            x0 = x0[choose(weights, candidates, n_chosen, choice)]
        return self.columns.inverse_transform(x0)

    def _estimate(self, sampling, schedule, device):
        """Return the denoise callable: of the network, the Gaussians, or between."""
        scale = sampling.guidance_scale
        if scale == "auto":
            scale = guidance_from_recall(self.expected_recall)
        is_trained = len(self.loss_curve) > 0
        share = sampling.gaussian_share if is_trained else 1.0
        by_gaussians = self.mixture.to(device).denoised_by(schedule, float(scale))
        if share == 1:
            return by_gaussians
        by_network = denoised_by(
            guided(self.denoiser, float(scale), self.denoiser.null_label),
            schedule,
            self.parameters.prediction_type,
        )
        if share == 0:
            return by_network

        def between(xt, t, labels):
            estimates = (make(xt, t, labels) for make in (by_network, by_gaussians))
            return torch.lerp(*estimates, share)

        return between

    def _schedule(self):
        name, n_timesteps = (
            self.parameters.noise_schedule,
            self.parameters.n_train_timesteps,
        )
        return NoiseSchedule.from_name(name, n_timesteps)

    def to_plain(self):
        """Return all of it as named arrays and plain values, to be stored."""
        parts = {
            "columns": self.columns.to_arrays(),
            "posterior": self.posterior.to_arrays(),
            "mixture": {n: to_numpy(part) for n, part in vars(self.mixture).items()},
            "denoiser": self.denoiser.state_dict(),
        }
        arrays = {
            f"{part}.{name}": array
            for part, named in parts.items()
            for name, array in named.items()
        }
        arrays["loss_curve"] = self.loss_curve
        values = {
            "training": self.parameters._asdict(),
            "dtype": self.columns.dtype.str,
            "expected_recall": self.expected_recall,
        }
        return arrays, values

    @classmethod
    def from_plain(cls, arrays, values):
        """Make a model of what `to_plain` returned.

        Raises
        ------
        ValueError
            If this version builds another network, or misses a part.
        """

        def part(prefix):
            return {
                name.removeprefix(prefix): array
                for name, array in arrays.items()
                if name.startswith(prefix)
            }

        try:
            parameters = TrainingParameters(**values["training"])
            columns = Columns.from_arrays(part("columns."), values["dtype"])
            posterior = ClassPosterior.from_arrays(part("posterior."))
            denoiser = parameters.network(
                len(columns.integer), len(posterior.bias), generator_from(0)
            )
            denoiser.load_state_dict(_tensors(part("denoiser.")))
            return cls(
                parameters,
                columns,
                posterior,
                GaussianMixture(**_tensors(part("mixture."))),
                values["expected_recall"],
                denoiser.eval().requires_grad_(False),
                arrays["loss_curve"],
            )
        except (KeyError, RuntimeError, TypeError) as error:
            raise ValueError(
                "The model that was stored is not built as this version of the "
                "library builds it. Fit again, or install the version that stored it."
            ) from error


def _tensors(arrays):
    return {name: to_tensor(array) for name, array in arrays.items()}


def _chunks(codes, size):
    """Cut ascending class indices into slices of at most `size`.

    Where much of a class is left it has slices of its own, which cost least to draw.
    """
    chunks, start = [], 0
    while start < len(codes):
        stop = min(start + size, len(codes))
        rest = np.searchsorted(codes[start:stop], codes[start], side="right")
        if rest >= size / 8:
            stop = start + rest
        chunks.append(slice(start, stop))
        start = stop
    return chunks


def _seed_of_chunk(seed, number):
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
