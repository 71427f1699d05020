# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The over-sampler: validate, standardise, seed, call the diffusion core, undo."""

import copy
from numbers import Integral, Real

import numpy as np
import torch
from imblearn.over_sampling.base import BaseOverSampler
from imblearn.utils import check_sampling_strategy
from scipy import sparse
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

from ldmlr_sklearn._class_posterior import ClassPosterior, choose
from ldmlr_sklearn._columns import Columns
from ldmlr_sklearn._documentation import DocumentationLinkMixin
from ldmlr_sklearn._fitting import fit_context, spawn_seeds, unchanged_on_failure
from ldmlr_sklearn._guidance import cross_validated_recall, guidance_from_recall
from ldmlr_sklearn._torch_utils import (
    generator_from,
    resolve_device,
    to_numpy,
    to_tensor,
)
from ldmlr_sklearn.diffusion import (
    NOISE_SCHEDULES,
    PREDICTION_TYPES,
    Denoiser,
    NoiseSchedule,
    denoised_by,
    guided,
    sample_ddim,
    train,
)

# Rows drawn at a time: what the network makes of them stays in the cache.
CHUNK_ROWS = 8192


def _dense(X):
    return X.toarray() if sparse.issparse(X) else X


def _rising_average(decay):
    """Make an update of averaged weights whose decay rises from 0.18 to `decay`."""
    n_updates = 0

    def update(averaged, current, _):
        nonlocal n_updates
        n_updates += 1
        rising = min(decay, (1 + n_updates) / (10 + n_updates))
        torch._foreach_lerp_(averaged, current, 1 - rising)

    return update


def _copy_on(module, device):
    return module if device.type == "cpu" else copy.deepcopy(module).to(device)


class LatentDiffusionOversampler(DocumentationLinkMixin, BaseOverSampler):
    """Over-sample with rows drawn from a class-conditional diffusion model.

    A denoising network learns the rows of all classes together; new rows of a class
    are drawn from it by DDIM [2]_ with classifier-free guidance [3]_. It stands
    wherever `imblearn.over_sampling.SMOTE` stands. This is stage (b) of LDMLR [1]_.

    Read more in the :ref:`User Guide <oversampling>`.

    Parameters
    ----------
    sampling_strategy : float, str, dict or callable, default="auto"
        How many rows each class has afterwards, exactly as in imbalanced-learn:
        "auto" tops every class up to the largest one; a dict maps classes to their
        number of rows afterwards; a callable makes such a dict of y (ready ones:
        `ldmlr_sklearn.sampling_strategies`); a float is the ratio of the minority to
        the majority in binary problems.

    guidance_scale : float or "auto", default="auto"
        Weight w of the label in D_∅ + w (D_y − D_∅). 1 imitates the rows of the
        class; below 1 the class borrows spread from all others, which is what rows of
        a rare class lack; above 1 exaggerates the class. "auto" is
        0.35 + 0.75 (1 − `expected_recall_`), at most 1: low where the rare classes
        are recognised as well as only rows that the encoder was trained on are.

    n_candidates : int, default=2
        Rows drawn for every one that is kept. Those kept are chosen with weights
        q(y | x), by a prior-corrected softmax regression on the training rows, so
        that rows which low guidance leads into another class are rarer. 1 keeps all.

    n_inference_steps : int, default=10
        Number of DDIM steps.

    eta : float, default=0.0
        Noise added while sampling, from 0 (deterministic DDIM) to 1 (as ancestral
        DDPM sampling).

    n_train_timesteps : int, default=1000
        Number T of noise levels.

    noise_schedule : {"cosine", "linear"}, default="cosine"
        How the signal fades over the noise levels.

    prediction_type : {"v_prediction", "epsilon", "sample"}, default="v_prediction"
        What the network is trained to predict.

    hidden_dim : int, default=256
        Width of the network.

    n_blocks : int, default=3
        Number of its residual blocks.

    max_steps : int or "auto", default="auto"
        Number of training steps. "auto" takes 100 passes over the rows, at least 300
        and at most 1000 steps.

    batch_size : int, default=512
        Rows per training step; with fewer rows than that, their number.

    learning_rate : float, default=4e-3
        Peak of the one-cycle schedule of AdamW.

    ema_decay : float, default=0.999
        Decay of the moving average of the weights that sampling uses; it starts lower
        and rises with the steps done.

    class_sampling : float, default=0.5
        In training a class of n_c rows is drawn with probability ∝ n_c to this power:
        1 follows the data, 0 draws all classes alike.

    label_dropout : float, default=0.1
        Share of rows that training shows without their label, which teaches D_∅.

    device : str, default="auto"
        "auto" takes CUDA, then MPS, then the CPU; or a device name of torch.

    random_state : int, RandomState instance or None, default=None
        Seeds initialisation, batches and sampling. Same seed, same rows.

    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    sampling_strategy_ : dict
        Class -> number of rows to generate.

    classes_ : ndarray of shape (n_classes,)
        The classes in sorted order.

    class_counts_ : ndarray of shape (n_classes,)
        Number of training rows of every class.

    denoiser_ : torch.nn.Module
        The network with averaged weights, on the CPU. It works on standardised rows.

    expected_recall_ : float
        Cross-validated recall of the rare classes by linear discriminant analysis.

    integer_columns_ : ndarray of shape (n_features,), bool
        Columns that hold whole numbers only, as those of new rows do.

    ranked_columns_ : ndarray of shape (n_features,), bool
        Columns with heavy tails or with one value in many rows. The network sees their
        normal scores; it sees all other columns centred and divided by the deviation.

    loss_curve_ : ndarray of shape (n_steps,)
        Training loss of every step.

    is_generated_ : ndarray of shape (n_samples_new,), bool
        Which rows of the last `fit_resample` are new. Not there after `fit`.

    n_features_in_ : int
        Number of columns.

    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where `X` has names that are all strings.

    See Also
    --------
    LDMLRClassifier : Resamples, classifies and corrects the prior in one estimator.
    imblearn.over_sampling.SMOTE : Interpolates between neighbours.

    Notes
    -----
    Training minimises E ‖v − v_θ(x_t, t, y)‖² with x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε and
    v = √ᾱ_t ε − √(1 − ᾱ_t) x_0. All of `sampling_strategy`, `guidance_scale`,
    `n_candidates`, `n_inference_steps` and `eta` act on sampling only; `fit` does not
    depend on them.

    Every estimate of x_0 is clipped to the range of the training rows, column by
    column, so that generated rows are finite and keep signs and bounds.

    References
    ----------
    .. [1] Han et al. Latent-based diffusion model for long-tailed recognition.
       CVPR workshops 2024.
    .. [2] Song, Meng, Ermon. Denoising diffusion implicit models. ICLR 2021.
    .. [3] Ho, Salimans. Classifier-free diffusion guidance. 2022.

    Examples
    --------
    >>> from collections import Counter
    >>> from sklearn.datasets import make_classification
    >>> from ldmlr_sklearn import LatentDiffusionOversampler
    >>> X, y = make_classification(
    ...     n_samples=120, weights=[0.9], flip_y=0, random_state=0
    ... )
    >>> sampler = LatentDiffusionOversampler(max_steps=50, random_state=0)
    >>> X_resampled, y_resampled = sampler.fit_resample(X, y)
    >>> sorted(Counter(y_resampled.tolist()).items())
    [(0, 109), (1, 109)]
    >>> int(sampler.is_generated_.sum())
    98
    >>> sampler.sample([1, 1, 0], random_state=0).shape
    (3, 20)
    """

    _parameter_constraints: dict = {
        **BaseOverSampler._parameter_constraints,
        "guidance_scale": [
            Interval(Real, 0, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "n_inference_steps": [Interval(Integral, 1, None, closed="left")],
        "eta": [Interval(Real, 0, 1, closed="both")],
        "n_train_timesteps": [Interval(Integral, 2, None, closed="left")],
        "noise_schedule": [StrOptions(set(NOISE_SCHEDULES))],
        "prediction_type": [StrOptions(set(PREDICTION_TYPES))],
        "hidden_dim": [Interval(Integral, 1, None, closed="left")],
        "n_blocks": [Interval(Integral, 0, None, closed="left")],
        "max_steps": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "ema_decay": [Interval(Real, 0, 1, closed="left")],
        "class_sampling": [Interval(Real, 0, 1, closed="both")],
        "label_dropout": [Interval(Real, 0, 1, closed="left")],
        "device": [str],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        sampling_strategy="auto",
        guidance_scale="auto",
        n_candidates=2,
        n_inference_steps=10,
        eta=0.0,
        n_train_timesteps=1000,
        noise_schedule="cosine",
        prediction_type="v_prediction",
        hidden_dim=256,
        n_blocks=3,
        max_steps="auto",
        batch_size=512,
        learning_rate=4e-3,
        ema_decay=0.999,
        class_sampling=0.5,
        label_dropout=0.1,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.guidance_scale = guidance_scale
        self.n_candidates = n_candidates
        self.n_inference_steps = n_inference_steps
        self.eta = eta
        self.n_train_timesteps = n_train_timesteps
        self.noise_schedule = noise_schedule
        self.prediction_type = prediction_type
        self.hidden_dim = hidden_dim
        self.n_blocks = n_blocks
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.ema_decay = ema_decay
        self.class_sampling = class_sampling
        self.label_dropout = label_dropout
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @fit_context
    def fit(self, X, y):
        """Train the diffusion model; draw from it with `sample`.

        Parameters
        ----------
        X : {array-like, dataframe, sparse matrix} of shape (n_samples, n_features)
            Numeric features without missing values.

        y : array-like of shape (n_samples,)
            Labels.

        Returns
        -------
        self : object
            The fitted over-sampler.

        Raises
        ------
        ValueError
            If `X` is not 2-D, not numeric or not finite, if `y` has one class only,
            if `sampling_strategy` does not fit `y`, or if training diverges.
        """
        with unchanged_on_failure(self):
            check_classification_targets(y)
            X, y, _ = self._check_X_y(X, y)
            self.sampling_strategy_ = check_sampling_strategy(
                self.sampling_strategy, y, self._sampling_type
            )
            init_seed, batch_seed, _ = spawn_seeds(self.random_state, 3)
            self._train(_dense(X), y, init_seed, batch_seed)
            vars(self).pop("is_generated_", None)
        return self

    def fit_resample(self, X, y):
        """Train the diffusion model and return the rows with new ones appended.

        Parameters
        ----------
        X : {array-like, dataframe, sparse matrix} of shape (n_samples, n_features)
            Numeric features without missing values.

        y : array-like of shape (n_samples,)
            Labels.

        Returns
        -------
        X_resampled : {array-like, dataframe, sparse matrix} of shape \
                (n_samples_new, n_features)
            The rows of `X`, untouched and in their order, then the new ones class by
            class, in the type and dtype of `X`.

        y_resampled : array-like of shape (n_samples_new,)
            Their labels, in the type and dtype of `y`.

        Raises
        ------
        ValueError
            As in `fit`.
        """
        with unchanged_on_failure(self):
            return super().fit_resample(X, y)

    def sample(self, y, *, random_state=None):
        """Draw one new row for every label.

        Parameters
        ----------
        y : array-like of shape (n_rows,)
            Labels, each one of `classes_`.

        random_state : int, RandomState instance or None, default=None
            Seeds this draw.

        Returns
        -------
        X : ndarray of shape (n_rows, n_features)
            New rows, in the dtype of the training rows.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If no diffusion model was trained.
        ValueError
            If a label is not one of `classes_`.
        """
        check_is_fitted(self, "denoiser_")
        y = column_or_1d(y)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"y has the labels {unknown[:5].tolist()}, which were not in training. "
                f"Expected labels among {self.classes_.tolist()}."
            )
        (seed,) = spawn_seeds(random_state, 1)
        return self._draw(np.searchsorted(self.classes_, y), seed)

    def _check_X_y(self, X, y, accept_sparse=None):
        if getattr(X, "ndim", 2) > 2:
            raise ValueError(
                f"Expected features of shape (n_samples, n_features), got an array of "
                f"shape {X.shape}. Encode images first: make_pipeline("
                "FeatureEncoder(), LatentDiffusionOversampler(), ...)."
            )
        return super()._check_X_y(X, y, accept_sparse)

    def _fit_resample(self, X, y):
        init_seed, batch_seed, sample_seed = spawn_seeds(self.random_state, 3)
        rows = _dense(X)
        n_new = np.array(list(self.sampling_strategy_.values()), dtype=int)
        self._train(rows, y, init_seed, batch_seed)
        new_classes = np.array(list(self.sampling_strategy_), dtype=self.classes_.dtype)
        labels = np.repeat(np.searchsorted(self.classes_, new_classes), n_new)
        new_rows = self._draw(labels, sample_seed)
        self.is_generated_ = np.arange(len(rows) + len(labels)) >= len(rows)
        if sparse.issparse(X):
            X_resampled = sparse.vstack([X, type(X)(new_rows)], format=X.format)
        else:
            X_resampled = np.concatenate([X, new_rows])
        return X_resampled, np.concatenate([y, self.classes_[labels]])

    def _train(self, X, y, init_seed, batch_seed):
        """Fit the denoiser to dense rows and set the fitted attributes."""
        device = resolve_device(self.device)
        self.classes_, codes, self.class_counts_ = np.unique(
            y, return_inverse=True, return_counts=True
        )
        self._columns = Columns(X)
        self.integer_columns_ = self._columns.integer
        self.ranked_columns_ = self._columns.ranked

        order = np.argsort(codes, kind="stable")
        rows = self._columns.transform(X[order])
        deal = np.random.RandomState(batch_seed)
        self.expected_recall_ = cross_validated_recall(
            rows, codes[order], self.class_counts_, deal
        )
        self._posterior = ClassPosterior(rows, codes[order], deal)
        x0 = to_tensor(rows).to(device)
        batch_size = min(self.batch_size, len(X))
        n_steps = self.max_steps
        if n_steps == "auto":
            n_steps = int(np.clip(100 * len(X) // batch_size, 300, 1000))
        network = Denoiser(
            X.shape[1],
            len(self.classes_),
            self.n_train_timesteps,
            hidden_dim=self.hidden_dim,
            n_blocks=self.n_blocks,
            generator=generator_from(init_seed),
        ).to(device)
        # Kept, so that parameters set after training cannot garble what is drawn.
        self._prediction_type = self.prediction_type
        self._schedule = NoiseSchedule.from_name(
            self.noise_schedule, self.n_train_timesteps
        )
        average = AveragedModel(network, multi_avg_fn=_rising_average(self.ema_decay))
        losses = train(
            network,
            self._schedule.to(device),
            x0,
            to_tensor(self.class_counts_, torch.int64).to(device),
            n_steps=n_steps,
            batch_size=batch_size,
            learning_rate=self.learning_rate,
            class_sampling=self.class_sampling,
            label_dropout=self.label_dropout,
            prediction_type=self._prediction_type,
            generator=generator_from(batch_seed, device),
        )
        loss_curve = []
        progress = dict(total=n_steps, desc="diffusion", disable=not self.verbose)
        for loss in tqdm(losses, **progress):
            average.update_parameters(network)
            loss_curve.append(loss)
        self.loss_curve_ = to_numpy(torch.stack(loss_curve))
        if not np.isfinite(self.loss_curve_).all():
            raise ValueError(
                f"Training diverged: the loss is {self.loss_curve_[-1]} after "
                f"{n_steps} steps with learning_rate={self.learning_rate}. "
                "Lower the learning_rate."
            )
        self.denoiser_ = average.module.cpu().eval().requires_grad_(False)

    def _draw(self, codes, seed):
        """Draw rows for class indices (n_rows,) from the fitted denoiser."""
        device = resolve_device(self.device)
        generator = generator_from(seed, device)
        choice = np.random.RandomState(seed)
        schedule = self._schedule.to(device)
        network = _copy_on(self.denoiser_, device)
        low, high = (
            to_tensor(bound).to(device)
            for bound in (self._columns.low, self._columns.high)
        )
        mixed = guided(
            denoised_by(network, schedule, self._prediction_type),
            self._resolve_guidance(),
            network.null_label,
        )

        def denoise(xt, t, labels):
            return mixed(xt, t, labels).clamp(low, high)

        rows = np.empty((len(codes), self.n_features_in_), dtype=self._columns.dtype)
        order = np.argsort(codes, kind="stable")  # candidates of a class lie together
        size = max(1, CHUNK_ROWS // self.n_candidates)
        for start in range(0, len(codes), size):
            chunk = order[start : start + size]
            candidates = np.repeat(codes[chunk], self.n_candidates)
            labels = to_tensor(candidates, torch.int64).to(device)
            noise = torch.empty(len(labels), rows.shape[1], device=device)
            x0 = to_numpy(
                sample_ddim(
                    denoise,
                    schedule,
                    labels,
                    noise.normal_(generator=generator),
                    n_steps=self.n_inference_steps,
                    eta=self.eta,
                    generator=generator,
                )
            )
            if self.n_candidates > 1:
                weights = self._posterior.log_proba(x0, candidates)
                n_chosen = np.bincount(codes[chunk], minlength=len(self.classes_))
                x0 = x0[choose(weights, candidates, n_chosen, choice)]
            rows[chunk] = self._columns.inverse_transform(x0)
        return rows

    def _resolve_guidance(self):
        if self.guidance_scale == "auto":
            return guidance_from_recall(self.expected_recall_)
        return float(self.guidance_scale)
