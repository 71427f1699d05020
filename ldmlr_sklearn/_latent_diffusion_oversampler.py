# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The over-sampler: validate, standardise, seed, call the diffusion core, undo."""

import os
import warnings
from numbers import Integral, Real
from typing import Literal, Self

import joblib
import numpy as np
import torch
from imblearn.over_sampling.base import BaseOverSampler
from imblearn.utils import check_sampling_strategy
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_is_fitted,
    check_non_negative,
    column_or_1d,
)
from tqdm.auto import tqdm

from ldmlr_sklearn._cached_training import recall_or_train
from ldmlr_sklearn._callbacks import CallbackSupportMixin, FitTask, with_callbacks
from ldmlr_sklearn._diffusion_parameters import SamplingParameters, TrainingParameters
from ldmlr_sklearn._diffusion_training import ARCHITECTURE
from ldmlr_sklearn._documentation import DocumentationLinkMixin
from ldmlr_sklearn._fitting import (
    check_labels,
    check_sample_weight,
    class_weights,
    fit_context,
    spawn_seeds,
    unchanged_on_failure,
    validate_data,
)
from ldmlr_sklearn._frames import Containers, check_containers, is_polars
from ldmlr_sklearn._oversampler_file import load_oversampler, save_oversampler
from ldmlr_sklearn._result_cache import cache_folder
from ldmlr_sklearn._torch_utils import resolve_device
from ldmlr_sklearn._typing import (
    Counts,
    FilePath,
    LabelsT,
    Memory,
    RandomState,
    Rows,
    RowsT,
    SamplingStrategy,
    Verbose,
)
from ldmlr_sklearn.diffusion import NOISE_SCHEDULES, PREDICTION_TYPES


def _dense(X):
    # Row by row in memory: sums over columns of another layout end in other digits.
    return np.ascontiguousarray(X.toarray() if sparse.issparse(X) else X)


class LatentDiffusionOversampler(
    DocumentationLinkMixin, CallbackSupportMixin, BaseOverSampler
):
    """Over-sample with rows drawn from a class-conditional diffusion model.

    A denoising network learns the rows of all classes together; new rows of a class
    are drawn from it by DDIM [2]_ with classifier-free guidance [3]_. It stands
    wherever `imblearn.over_sampling.SMOTE` stands. This is stage (b) of LDMLR [1]_.

    `sampling_strategy`, `guidance_scale`, `gaussian_share`, `n_candidates`,
    `n_inference_steps`, `eta` and `sampling_random_state` are *sampling parameters*:
    other values need no new training, and with `memory` none is done. All that stand
    after them are *training parameters*, up to `device`.

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

    gaussian_share : float, default=0.0
        Share, from 0 to 1, of a denoiser in closed form in every estimate of x_0; the
        rest is the network's. It takes the classes for Gaussians of one covariance
        [5]_. Around 0.5 it steadies a network that was trained on few rows. Without a
        network (`max_steps=0`) it makes no difference.

    n_candidates : int, default=2
        Rows drawn for every one that is kept. Those kept are chosen with weights
        q(y | x), by a prior-corrected softmax regression on the training rows, so
        that rows which low guidance leads into another class are rarer. 1 keeps all.

    n_inference_steps : int, default=10
        Number of DDIM steps.

    eta : float, default=0.0
        Noise added while sampling, from 0 (deterministic DDIM) to 1 (as ancestral
        DDPM sampling).

    sampling_random_state : int, RandomState instance or None, default=None
        Seeds the rows that `fit_resample` draws. None leaves that to `random_state`,
        together with all else; a seed of its own lets a search draw again without
        training again.

    n_train_timesteps : int, default=1000
        Number T of noise levels.

    noise_schedule : {"cosine", "linear"}, default="cosine"
        How the signal fades over the noise levels.

    prediction_type : {"v_prediction", "epsilon", "sample"}, default="v_prediction"
        What the network is trained to predict.

    hidden_dim : int, default=128
        Width of the network.

    n_blocks : int, default=3
        Number of its residual blocks.

    max_steps : int or "auto", default="auto"
        Number of training steps. "auto" takes 100 passes over the rows, at least 300
        and at most 1000 steps; with batches of more than 512 rows, as many fewer. 0
        trains no network: rows are drawn by the denoiser in closed form alone, in a
        few times the seconds of SMOTE, which suits features of networks.

    batch_size : int or "auto", default="auto"
        Rows per training step; with fewer rows than that, their number. "auto" is 512
        up to 5,000 rows, and 1024 beyond.

    learning_rate : float or "auto", default="auto"
        Peak of the one-cycle schedule of AdamW. "auto" is 8e-3 for batches of 512 rows
        or more, and falls with the square root of smaller ones [4]_.

    ema_decay : float, default=0.999
        Decay of the moving average of the weights that sampling uses; it starts lower
        and rises with the steps done.

    class_sampling : float, default=0.5
        In training a class of n_c rows is drawn with probability ∝ n_c to this power:
        1 follows the data, 0 draws all classes alike.

    label_dropout : float, default=0.1
        Share of rows that training shows without their label, which teaches D_∅.

    warm_start : bool, default=False
        Whether a further fit starts from the fitted weights of the network in place of
        random ones. It runs for another `max_steps` steps through a whole cycle of the
        learning rate, and lengthens `loss_curve_`. All else that is told from the rows
        is told anew, so that rows may be added; columns, classes and network must stay
        the same.

    device : str, default="auto"
        "auto" takes CUDA, then MPS, then the CPU; or a device name of torch.

    random_state : int, RandomState instance or None, default=None
        Seeds initialisation, batches and sampling. Same seed, same rows.

    memory : str, path-like, joblib.Memory or None, default=None
        Folder in which trained models are kept: a fit to the same rows and labels with
        the same training parameters, seed and versions of the libraries takes what is
        there in place of training. It takes an integer `random_state` to be of use. Of
        a `joblib.Memory` the location is used. The files hold no code, and several
        processes may share the folder.

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
        With `max_steps=0`, one that nothing was taught.

    expected_recall_ : float
        Cross-validated recall of the rare classes by linear discriminant analysis.

    integer_columns_ : ndarray of shape (n_features,), bool
        Columns that hold whole numbers only, as those of new rows do.

    ranked_columns_ : ndarray of shape (n_features,), bool
        Columns with heavy tails or with one value in many rows. The network sees their
        normal scores; it sees all other columns centred and divided by the deviation.

    loss_curve_ : ndarray of shape (n_steps,)
        Training loss of every step.

    sample_weight_ : ndarray of shape (n_samples_new,)
        Weights of the rows of the last `fit_resample`: the given ones, and for new
        rows the mean of those of their class, where zeros do not count. Only there if
        weights were given.

    is_generated_ : ndarray of shape (n_samples_new,), bool
        Which rows of the last `fit_resample` are new. Not there after `fit`.

    n_features_in_ : int
        Number of columns.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where `X` has names that are all strings.

    See Also
    --------
    LDMLRClassifier : Resamples, classifies and corrects the prior in one estimator.
    imblearn.over_sampling.SMOTE : Interpolates between neighbours.

    Notes
    -----
    Training minimises E ‖v − v_θ(x_t, t, y)‖² with x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε and
    v = √ᾱ_t ε − √(1 − ᾱ_t) x_0.

    With `sample_weight`, training draws the rows of a class in proportion to their
    weight, and those of weight zero are left out. How often a class is drawn, and how
    many rows it has afterwards, does not depend on weights.

    Callbacks of scikit-learn (`set_callbacks`, from version 1.9 on) see every training
    step and may stop training; what a callback has stopped is not kept in `memory`.

    Every estimate of x_0 is clipped to the range of the training rows, column by
    column, so that generated rows are finite and keep signs and bounds.

    References
    ----------
    .. [1] Han et al. Latent-based diffusion model for long-tailed recognition.
       CVPR workshops 2024.
    .. [2] Song, Meng, Ermon. Denoising diffusion implicit models. ICLR 2021.
    .. [3] Ho, Salimans. Classifier-free diffusion guidance. 2022.
    .. [4] Malladi et al. On the SDEs and scaling rules for adaptive gradient
       algorithms. NeurIPS 2022.
    .. [5] Efron. Tweedie's formula and selection bias. JASA 2011.

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

    sampling_strategy_: Counts
    classes_: np.ndarray
    class_counts_: np.ndarray
    denoiser_: torch.nn.Module
    expected_recall_: float
    integer_columns_: np.ndarray
    ranked_columns_: np.ndarray
    loss_curve_: np.ndarray
    sample_weight_: np.ndarray
    is_generated_: np.ndarray
    n_features_in_: int
    feature_names_in_: np.ndarray

    _parameter_constraints: dict = {
        **BaseOverSampler._parameter_constraints,
        "guidance_scale": [
            # Beyond, it does not fit the network's float32.
            Interval(Real, 0, float(np.finfo(np.float32).max), closed="both"),
            StrOptions({"auto"}),
        ],
        "gaussian_share": [Interval(Real, 0, 1, closed="both")],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "n_inference_steps": [Interval(Integral, 1, None, closed="left")],
        "eta": [Interval(Real, 0, 1, closed="both")],
        "sampling_random_state": ["random_state"],
        "n_train_timesteps": [Interval(Integral, 2, None, closed="left")],
        "noise_schedule": [StrOptions(set(NOISE_SCHEDULES))],
        "prediction_type": [StrOptions(set(PREDICTION_TYPES))],
        "hidden_dim": [Interval(Integral, 1, None, closed="left")],
        "n_blocks": [Interval(Integral, 0, None, closed="left")],
        "max_steps": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "learning_rate": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "ema_decay": [Interval(Real, 0, 1, closed="left")],
        "class_sampling": [Interval(Real, 0, 1, closed="both")],
        "label_dropout": [Interval(Real, 0, 1, closed="left")],
        "warm_start": ["boolean"],
        "device": [str],
        "memory": [str, os.PathLike, joblib.Memory, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        sampling_strategy: SamplingStrategy = "auto",
        guidance_scale: float | Literal["auto"] = "auto",
        gaussian_share: float = 0.0,
        n_candidates: int = 2,
        n_inference_steps: int = 10,
        eta: float = 0.0,
        sampling_random_state: RandomState = None,
        n_train_timesteps: int = 1000,
        noise_schedule: Literal["cosine", "linear"] = "cosine",
        prediction_type: Literal["v_prediction", "epsilon", "sample"] = "v_prediction",
        hidden_dim: int = 128,
        n_blocks: int = 3,
        max_steps: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: float | Literal["auto"] = "auto",
        ema_decay: float = 0.999,
        class_sampling: float = 0.5,
        label_dropout: float = 0.1,
        warm_start: bool = False,
        device: str = "auto",
        random_state: RandomState = None,
        memory: Memory = None,
        verbose: Verbose = 0,
    ) -> None:
        super().__init__(sampling_strategy=sampling_strategy)
        self.guidance_scale = guidance_scale
        self.gaussian_share = gaussian_share
        self.n_candidates = n_candidates
        self.n_inference_steps = n_inference_steps
        self.eta = eta
        self.sampling_random_state = sampling_random_state
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
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.memory = memory
        self.verbose = verbose

    @fit_context
    def fit(
        self, X: Rows, y: ArrayLike, *, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train the diffusion model; draw from it with `sample`.

        Parameters
        ----------
        X : {array-like, dataframe, sparse matrix} of shape (n_samples, n_features)
            Numeric features without missing values. Frames are of pandas or polars.

        y : array-like of shape (n_samples,)
            Labels.

        sample_weight : array-like of shape (n_samples,), default=None
            How often a row is drawn in training, beside others of its class.

        Returns
        -------
        self : object
            The fitted over-sampler.

        Raises
        ------
        ValueError
            If `X` is not 2-D, not numeric or not finite, if `y` has one class only or
            missing labels, if `sampling_strategy` does not fit `y`, if a weight is
            below 0 or all of a class are 0, if training diverges, or if it cannot go on
            where `warm_start` says so.
        """
        with unchanged_on_failure(self):
            X, y, _ = self._check(X, y)
            self._train(_dense(X), y, sample_weight)
            for name in ("is_generated_", "sample_weight_"):
                self.__dict__.pop(name, None)
        return self

    @fit_context
    def fit_resample(
        self, X: RowsT, y: LabelsT, *, sample_weight: ArrayLike | None = None
    ) -> tuple[RowsT, LabelsT]:
        """Train the diffusion model and return the rows with new ones appended.

        Parameters
        ----------
        X : {array-like, dataframe, sparse matrix} of shape (n_samples, n_features)
            Numeric features without missing values. Frames are of pandas or polars.

        y : array-like of shape (n_samples,)
            Labels.

        sample_weight : array-like of shape (n_samples,), default=None
            How often a row is drawn in training, beside others of its class. The
            weights of the rows returned are in `sample_weight_`.

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
            containers = Containers(X, y)
            X, labels, is_one_hot = self._check(X, y)
            X_resampled, y_resampled = self._fit_resample(X, labels, sample_weight)
            if is_one_hot:
                every = np.arange(np.asarray(y).shape[1])
                y_resampled = np.equal.outer(y_resampled, every).astype(int)
            return containers.restore(X_resampled, y_resampled)

    def sample(
        self,
        y: ArrayLike,
        *,
        random_state: RandomState = None,
        n_jobs: int | None = None,
    ) -> np.ndarray:
        """Draw one new row for every label.

        Parameters
        ----------
        y : array-like of shape (n_rows,)
            Labels, each one of `classes_`.

        random_state : int, RandomState instance or None, default=None
            Seeds this draw.

        n_jobs : int or None, default=None
            Number of workers of joblib that share the rows in chunks of fixed size.
            Which rows are drawn does not depend on it.

        Returns
        -------
        X : ndarray of shape (n_rows, n_features)
            New rows, in the dtype of the training rows.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If no diffusion model was trained.
        ValueError
            If a label is not one of `classes_`, or a parameter is not valid.
        """
        check_is_fitted(self, "denoiser_")
        self._validate_params()  # `set_params` may have come after `fit`
        y = column_or_1d(y)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"y has the labels {unknown[:5].tolist()}, which were not in training. "
                f"Expected labels among {self.classes_.tolist()}."
            )
        (seed,) = spawn_seeds(random_state, 1)
        return self._draw(np.searchsorted(self.classes_, y), seed, n_jobs)

    def save(self, path: FilePath) -> None:
        """Save the fitted over-sampler as a file that holds no code.

        It is a safetensors file with the parameters and the fitted state, and can be
        loaded on any machine. `memory`, which belongs to a machine, is left out.

        Parameters
        ----------
        path : str or path-like
            File to write, or to replace, such as "sampler.safetensors".

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If no diffusion model was trained.
        TypeError
            If a parameter is a function or a `RandomState` instance, or if the classes
            are neither text nor numbers.
        FileNotFoundError, IsADirectoryError
            If there is no such folder, or `path` is one.
        """
        check_is_fitted(self, "denoiser_")
        save_oversampler(self, path)

    @classmethod
    def load(cls, path: FilePath) -> Self:
        """Load an over-sampler that `save` has saved; no code is executed.

        Parameters
        ----------
        path : str or path-like
            The file.

        Returns
        -------
        LatentDiffusionOversampler
            The fitted over-sampler, with `memory` at None.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, not one of `save`, from a later major version, or
            holds a network that this version does not build.
        """
        sampler, trained = load_oversampler(cls, path)
        vars(sampler).update(_attributes_of(trained))
        return sampler

    def _check(self, X, y):
        """Return rows and labels as arrays, and whether the labels are one-hot."""
        check_containers(X, y)
        check_labels(y)
        check_classification_targets(y)
        X, y, is_one_hot = self._check_X_y(X, y)
        self.sampling_strategy_ = check_sampling_strategy(
            self.sampling_strategy, y, self._sampling_type
        )
        return X, y, is_one_hot

    def _check_X_y(self, X, y, accept_sparse=None):
        if getattr(X, "ndim", 2) > 2:
            raise ValueError(
                f"Expected features of shape (n_samples, n_features), got an array of "
                f"shape {X.shape}. Encode images first: make_pipeline("
                "FeatureEncoder(), LatentDiffusionOversampler(), ...)."
            )
        if self._continues():
            # The columns must be those that the network was trained on.
            validate_data(self, X, reset=False, skip_check_array=True)
        if is_polars(y):
            y = np.asarray(y)
        return super()._check_X_y(X, y, accept_sparse)

    def _fit_resample(self, X, y, sample_weight=None):
        rows = _dense(X)
        seed, weights = self._train(rows, y, sample_weight)
        if self.sampling_random_state is not None:
            (seed,) = spawn_seeds(self.sampling_random_state, 1)
        n_new = np.array(list(self.sampling_strategy_.values()), dtype=int)
        new_classes = np.array(list(self.sampling_strategy_), dtype=self.classes_.dtype)
        codes = np.repeat(np.searchsorted(self.classes_, new_classes), n_new)
        if sparse.issparse(X):
            new_rows = type(X)(self._draw(codes, seed))
            X_resampled = sparse.vstack([X, new_rows], format=X.format)
        else:
            shape = len(X) + len(codes), X.shape[1]
            X_resampled = np.empty(shape, dtype=self._trained.columns.dtype)
            X_resampled[: len(X)] = X
            self._draw(codes, seed, out=X_resampled[len(X) :])
        self.is_generated_ = np.arange(len(rows) + len(codes)) >= len(rows)
        vars(self).pop("sample_weight_", None)
        if weights is not None:
            present = np.searchsorted(self.classes_, y)[weights > 0]
            mean = np.bincount(present, weights[weights > 0]) / np.bincount(present)
            self.sample_weight_ = np.concatenate([weights, mean[codes]])
        return X_resampled, np.concatenate([y, self.classes_[codes]])

    def _continues(self):
        return self.warm_start and hasattr(self, "_trained")

    @with_callbacks
    def _train(self, X, y, sample_weight):
        """Set the fitted attributes; return the seed for drawing, and the weights."""
        *seeds, sample_seed = spawn_seeds(self.random_state, 3)
        classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
        start = self._trained_before(classes) if self._continues() else None
        weights, present = None, slice(None)
        if sample_weight is not None:
            weights = _check_weights(sample_weight, X, codes, classes)
            present = weights > 0
        parameters = self._parameters(TrainingParameters)
        data = dict(
            X=X[present],
            codes=codes[present],
            sample_weight=None if weights is None else weights[present],
            parameters=parameters.resolved(len(X[present])),
            seeds=seeds,
            device=resolve_device(self.device),
            start=start,
        )
        n_steps = data["parameters"].max_steps
        metadata = None if weights is None else {"sample_weight": weights}
        task = FitTask(self, n_steps, dict(X=X, y=y, metadata=metadata))

        self.classes_, self.class_counts_ = classes, counts

        def watch(losses, so_far):
            steps = task.watch(losses, lambda: _attributes_of(so_far()))
            shown = dict(total=n_steps, desc="diffusion", disable=not self.verbose)
            return tqdm(steps, **shown)

        trained = recall_or_train(self._cache_folder(), data, watch)
        vars(self).update(_attributes_of(trained))
        task.end()
        return sample_seed, weights

    def _cache_folder(self):
        """Return the folder for trained models, or None."""
        folder = cache_folder(self.memory)
        if folder is not None and self.random_state is None:
            warnings.warn(
                f"memory={self.memory!r} is of no use with random_state=None: every "
                "fit has seeds of its own, so that nothing is kept. Set random_state "
                "to an integer.",
                stacklevel=2,
            )
            return None
        return folder

    def _trained_before(self, classes):
        """Return the model to go on with, if it fits the classes and the parameters."""
        if not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"y has the classes {classes.tolist()}, but warm_start=True goes on "
                f"with a network for {self.classes_.tolist()}. Give rows of these "
                "classes, or set warm_start=False."
            )
        for name in ARCHITECTURE:
            now = getattr(self, name)
            before = getattr(self._trained.parameters, name)
            if now != before:
                raise ValueError(
                    f"{name}={now!r}, but warm_start=True goes on with a network that "
                    f"was trained with {before!r}. Take that, or set warm_start=False."
                )
        return self._trained

    def _parameters(self, kind):
        """Return the constructor parameters of one kind, a named tuple."""
        return kind(*(getattr(self, name) for name in kind._fields))

    def _draw(self, codes, seed, n_jobs=None, out=None):
        """Draw rows for class indices (n_rows,) from the trained model."""
        sampling = self._parameters(SamplingParameters)
        device = resolve_device(self.device)
        return self._trained.draw(codes, sampling, seed, device, n_jobs, out)


def _attributes_of(trained):
    """Return the attributes of a fitted over-sampler that its model determines."""
    return dict(
        _trained=trained,
        denoiser_=trained.denoiser,
        expected_recall_=trained.expected_recall,
        integer_columns_=trained.columns.integer,
        ranked_columns_=trained.columns.ranked,
        loss_curve_=trained.loss_curve,
    )


def _check_weights(sample_weight, X, codes, classes):
    """Return valid weights (n_samples,), float64: none below 0, no class without."""
    weights = check_sample_weight(sample_weight, X, dtype=np.float64)
    check_non_negative(weights, "sample_weight")
    class_weights(weights, codes, classes)
    return weights
