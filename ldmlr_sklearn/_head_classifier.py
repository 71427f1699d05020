# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The heads of the long-tailed literature as one classifier of scikit-learn's kind."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from ldmlr_sklearn._documentation import DocumentationLinkMixin
from ldmlr_sklearn._fitting import (
    check_labels,
    check_row_weights,
    fit_context,
    spawn_seeds,
    unchanged_on_failure,
    validate_data,
)
from ldmlr_sklearn._head_training import train_head
from ldmlr_sklearn._losses import LOSSES, logit_shift, make_layer
from ldmlr_sklearn._torch_utils import (
    borrowed_generator,
    generator_from,
    resolve_device,
    to_numpy,
    to_tensor,
)
from ldmlr_sklearn._typing import Loss, RandomState, Rows


class HeadClassifier(DocumentationLinkMixin, ClassifierMixin, BaseEstimator):
    """Train a last layer on features with a loss made for long tails.

    A layer of one of four kinds, trained by stochastic gradient descent in batches. It
    takes real and generated rows and their weights, and stands wherever
    `LDMLRClassifier` takes a `classifier`.

    Read more in the :ref:`User Guide <heads>`.

    Parameters
    ----------
    loss : {"cross_entropy", "logit_adjusted", "cosine", "wcdas"}, \
            default="cross_entropy"
        "cross_entropy" is softmax regression. "logit_adjusted" adds τ log π to the
        logits in training [1]_; at τ = 1 this is the balanced softmax [2]_. "cosine"
        is softmax regression on directions, with a scale that is learnt. "wcdas" is
        the wrapped Cauchy distributed angular softmax [3]_.

    tau : float, default=1.0
        Strength of "logit_adjusted"; the other losses do not use it.

    concentration : float, default=0.0
        Where g of "wcdas" starts: its authors take 0 on CIFAR-LT, −1 on ImageNet-LT
        and 1 on iNaturalist. The other losses do not use it.

    class_balanced : bool, default=False
        Whether batches show all classes alike instead of every row once an epoch. An
        epoch has as many rows either way.

    max_epochs : int, default=30
        Passes over the rows.

    learning_rate : float, default=0.1
        Of stochastic gradient descent with Nesterov momentum 0.9; falls to 0 along
        half a cosine. s and g have their own, 0.2.

    weight_decay : float, default=5e-3
        L2 penalty on the weights of the layer.

    batch_size : int, default=128
        Rows per step.

    device : str, default="auto"
        "auto" takes CUDA, then MPS, then the CPU; or a device name of torch.

    random_state : int, RandomState instance or None, default=None
        Seeds the initial weights and the order of the rows.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes in sorted order.

    class_prior_ : ndarray of shape (n_classes,)
        The class frequencies that `predict_proba` is for: those of the rows as they
        were shown, weights included, to the power 1 − τ for "logit_adjusted".

    coef_ : ndarray of shape (n_classes, n_features)
        W, for features as they are; for "cosine" and "wcdas" of unit length.

    intercept_ : ndarray of shape (n_classes,)
        b; zeros for "cosine" and "wcdas".

    scale_ : float
        s, for "cosine" and "wcdas" only.

    gamma_ : ndarray of shape (n_classes,)
        γ, for "wcdas" only.

    loss_curve_ : ndarray of shape (n_epochs,)
        Mean training loss of every epoch.

    n_features_in_ : int
        Number of columns.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where `X` has names that are all strings.

    See Also
    --------
    LDMLRClassifier : Takes this as its `classifier`.
    LabelShiftClassifier : Exchanges the class frequencies after the fact.

    Notes
    -----
    Linear logits are W x + b. With the angle θ_j between x and w_j, those of "cosine"
    are s cos θ_j and those of "wcdas" s / 2π · (1 − γ_j²) / (1 + γ_j² − 2 γ_j cos θ_j)
    with γ_j = sigmoid(g_j) and s = softplus(s₀) + 1.

    The linear losses see standardised columns, and the layer is brought back to
    features as they are; the others see features as they are, for their angles are
    those between features from the origin.

    References
    ----------
    .. [1] Menon et al. Long-tail learning via logit adjustment. ICLR 2021.
    .. [2] Ren et al. Balanced meta-softmax for long-tailed visual recognition. NeurIPS
       2020.
    .. [3] Han. Wrapped Cauchy distributed angular softmax for long-tailed visual
       recognition. ICML 2023.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from ldmlr_sklearn import HeadClassifier
    >>> X, y = make_classification(
    ...     n_samples=200, weights=[0.9], class_sep=2, flip_y=0, random_state=0
    ... )
    >>> head = HeadClassifier("logit_adjusted", random_state=0).fit(X, y)
    >>> head.score(X, y) > 0.9
    True
    >>> head.class_prior_
    array([0.5, 0.5])
    """

    classes_: np.ndarray
    class_prior_: np.ndarray
    coef_: np.ndarray
    intercept_: np.ndarray
    scale_: float
    gamma_: np.ndarray
    loss_curve_: np.ndarray
    n_features_in_: int
    feature_names_in_: np.ndarray

    _parameter_constraints: dict = {
        "loss": [StrOptions(set(LOSSES))],
        "tau": [Interval(Real, 0, None, closed="left")],
        "concentration": [Interval(Real, None, None, closed="neither")],
        "class_balanced": ["boolean"],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        loss: Loss = "cross_entropy",
        *,
        tau: float = 1.0,
        concentration: float = 0.0,
        class_balanced: bool = False,
        max_epochs: int = 30,
        learning_rate: float = 0.1,
        weight_decay: float = 5e-3,
        batch_size: int = 128,
        device: str = "auto",
        random_state: RandomState = None,
    ) -> None:
        self.loss = loss
        self.tau = tau
        self.concentration = concentration
        self.class_balanced = class_balanced
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.device = device
        self.random_state = random_state

    @fit_context
    def fit(
        self,
        X: Rows,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        monitor: Callable[[int, Self], bool | None] | None = None,
    ) -> Self:
        """Train the layer.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        y : array-like of shape (n_samples,)
            Labels.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the loss and in the class frequencies.

        monitor : callable, default=None
            Called as ``monitor(epoch, self)`` after every epoch, from 0 on, with the
            layer as it is then. Training stops if it returns True.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If `X`, `y` or `sample_weight` is not valid, if `y` has one class only, or
            if training diverges. The estimator is then left as it was.
        """
        with unchanged_on_failure(self):
            for name in [name for name in vars(self) if name.endswith("_")]:
                delattr(self, name)
            return self._fit(X, y, sample_weight, monitor)

    def _fit(self, X, y, sample_weight, monitor):
        check_labels(y)
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        weights = check_row_weights(sample_weight, X)
        # A row of weight 0 is no row: its class may have no frequency to take a log of.
        X, y, weights = X[weights > 0], y[weights > 0], weights[weights > 0]
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "y has one class only among the rows with a weight above 0, "
                f"{self.classes_.tolist()}. HeadClassifier needs two classes at least."
            )
        prior = np.bincount(codes, weights)
        if self.class_balanced:  # every class is shown as often; weights still count
            prior /= np.bincount(codes)
        prior /= prior.sum()
        tau = self.tau if self.loss == "logit_adjusted" else 0.0
        self.class_prior_ = softmax((1 - tau) * np.log(prior))

        device = resolve_device(self.device)
        layer_seed, order_seed = spawn_seeds(self.random_state, 2)
        with borrowed_generator(layer_seed, torch.device("cpu")):
            layer = make_layer(
                self.loss, X.shape[1], len(self.classes_), self.concentration
            )
        linear = isinstance(layer, torch.nn.Linear)
        scaler = StandardScaler(with_mean=linear, with_std=linear)
        scaler.set_output(transform="default").fit(X)
        losses = train_head(
            layer.to(device),
            to_tensor(scaler.transform(X)),
            to_tensor(codes, torch.int64),
            to_tensor(weights / weights.mean()),
            shift=logit_shift(self.loss, to_tensor(prior), self.tau),
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            class_balanced=self.class_balanced,
            generator=generator_from(order_seed),
            device=device,
        )
        self.loss_curve_ = np.empty(0)
        for epoch, loss in enumerate(losses):
            if not np.isfinite(loss):
                raise ValueError(
                    f"Training diverged: the loss of epoch {epoch + 1} is {loss}. Try "
                    f"a smaller learning_rate than {self.learning_rate}."
                )
            self.loss_curve_ = np.append(self.loss_curve_, loss)
            last = epoch == self.max_epochs - 1
            if monitor is not None or last:
                self._take_over(layer, scaler)
            if monitor is not None and monitor(epoch, self):
                break
        return self

    def _take_over(self, layer, scaler):
        """Keep the parameters of a layer, for features as they are."""
        weight = to_numpy(layer.weight).astype(np.float64)
        if isinstance(layer, torch.nn.Linear):
            self.coef_ = weight / scaler.scale_
            bias = to_numpy(layer.bias).astype(np.float64)
            self.intercept_ = bias - self.coef_ @ scaler.mean_
            return
        self.coef_ = _directions(weight)
        self.intercept_ = np.zeros(len(weight))
        self.scale_ = float(to_numpy(layer.scale()))
        if self.loss == "wcdas":
            raw = to_numpy(layer.raw_concentration).astype(np.float64)
            self.gamma_ = expit(raw)

    def _logits(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        if not hasattr(self, "scale_"):
            return X @ self.coef_.T + self.intercept_
        cosine = _directions(X) @ self.coef_.T  # (n, K)
        if not hasattr(self, "gamma_"):
            return self.scale_ * cosine
        g = self.gamma_
        return self.scale_ / (2 * np.pi) * (1 - g**2) / (1 + g**2 - 2 * g * cosine)

    def decision_function(self, X: Rows) -> np.ndarray:
        """Return the logits.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        logits : ndarray of shape (n_samples, n_classes), or (n_samples,) if binary
            In the order of `classes_`; if binary, the second minus the first.
        """
        logits = self._logits(X)
        return logits if logits.shape[1] > 2 else logits[:, 1] - logits[:, 0]

    def predict_proba(self, X: Rows) -> np.ndarray:
        """Predict class probabilities at the class frequencies `class_prior_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        return softmax(self._logits(X), axis=1)

    def predict(self, X: Rows) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            The class with the largest logit.
        """
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]


def _directions(rows):
    """Divide rows by their lengths; torch's guard against rows of zeros."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
