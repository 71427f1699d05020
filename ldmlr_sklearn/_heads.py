# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Linear heads on features."""

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

# Ridge penalty per row on standardised features, so that it means the same for any
# number of rows: 2.5e-3 ‖W‖² beside a mean cross-entropy; for two classes twice that
# where `LogisticRegression` fits, which then penalises the difference.
L2_PER_ROW = 5e-3
# Strength of the pull towards the head of the network that the features come from.
PULL = 0.1
# The pull towards a head fitted to the n real rows is this over n, or the number of
# columns over n if they are more: the less the rows say of each weight, the less a
# model of their distribution adds to it.
ROWS_OF_PULL = 100
MAX_SIZE = 1e150  # of features


def pull_to_real_rows(n_rows, n_features):
    """Return the `alpha` of `AnchoredHead` for a head fitted to the real rows."""
    return max(ROWS_OF_PULL / n_rows, n_features / n_rows, L2_PER_ROW)


def one_row_a_class(weight, bias):
    """Return linear weights (K, d) and biases (K,) of scikit-learn's attributes.

    Of two classes it keeps the difference only, of shapes (1, d) and (1,).
    """
    if len(weight) > 1:
        return weight, bias
    return np.vstack([-weight, weight]) / 2, np.r_[-bias, bias] / 2


def _as_array(X):
    return X.toarray() if sparse.issparse(X) else np.asarray(X)


def _as_rows(X):
    """Return features as an array; refuse those whose squares cannot be summed."""
    X = _as_array(X)
    largest = float(np.abs(X).max(initial=0))
    if largest > MAX_SIZE:
        raise ValueError(
            f"The features have numbers up to {largest:g}, squares of which overflow. "
            "Bring them to another scale before."
        )
    return X


def fitted_head(X, y, sample_weight):
    """Fit softmax regression to standardised features.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
    sample_weight : ndarray of shape (n_samples,)

    Returns
    -------
    weight : ndarray of shape (n_classes, n_features)
        For features as they are.
    bias : ndarray of shape (n_classes,)
    """
    X = _as_rows(X)
    scaler = StandardScaler().set_output(transform="default")
    C = 1 / (L2_PER_ROW * sample_weight.sum())
    head = LogisticRegression(C=C, max_iter=200)
    head.fit(scaler.fit_transform(X), y, sample_weight)
    weight, bias = one_row_a_class(head.coef_, head.intercept_)
    weight = weight / scaler.scale_
    return weight, bias - weight @ scaler.mean_


class AnchoredHead(ClassifierMixin, BaseEstimator):
    """Softmax regression that is pulled towards a given linear head instead of zero.

    Minimises the mean cross-entropy of softmax(x Wᵀ + b) plus
    `alpha` / 2 · Σ_j σ_j² ‖W_·j − W⁰_·j‖², σ_j the standard deviation of column j.

    Parameters
    ----------
    weight : ndarray of shape (n_classes, n_features)
        W⁰, for features as they are, in the sorted order of the classes.
    bias : ndarray of shape (n_classes,)
        Where b starts; it is not penalised.
    alpha : float, default=0.1
        Strength of the pull.

    Attributes
    ----------
    coef_ : ndarray of shape (n_classes, n_features)
        W.
    intercept_ : ndarray of shape (n_classes,)
        b.
    classes_ : ndarray of shape (n_classes,)
        The classes in sorted order.
    """

    def __init__(self, weight, bias, alpha=PULL):
        self.weight = weight
        self.bias = bias
        self.alpha = alpha

    def fit(self, X, y, sample_weight=None):
        """Fit to X (n_samples, n_features), y (n_samples,) and weights (n_samples,)."""
        X = _as_rows(X)
        self.classes_, codes = np.unique(y, return_inverse=True)
        scaler = StandardScaler().set_output(transform="default").fit(X)
        Z = scaler.transform(X)
        # In the dtype of Z: X may hold whole numbers, which a weight must not become.
        start = X @ self.weight.T.astype(Z.dtype) + self.bias.astype(Z.dtype)
        share = np.ones(len(X)) if sample_weight is None else sample_weight
        share = (share / share.sum()).astype(Z.dtype)[:, None]  # (n, 1)
        rows = np.arange(len(X))

        def objective(flat):
            move = flat.reshape(len(self.classes_), -1)  # (K, d + 1)
            moved = move.astype(Z.dtype)
            logits = start + Z @ moved[:, :-1].T + moved[:, -1]  # (n, K)
            logits -= logits.max(axis=1, keepdims=True)
            own = logits[rows, codes]
            residual = np.exp(logits, out=logits)  # all that follows is in place
            total = residual.sum(axis=1, keepdims=True)
            loss = (share[:, 0] * (np.log(total[:, 0]) - own)).sum(dtype=np.float64)
            residual /= total
            residual[rows, codes] -= 1
            residual *= share
            gradient = np.column_stack([residual.T @ Z, residual.sum(axis=0)])
            gradient = gradient.astype(np.float64)
            gradient[:, :-1] += self.alpha * move[:, :-1]
            return loss + self.alpha / 2 * (move[:, :-1] ** 2).sum(), gradient.ravel()

        zeros = np.zeros(self.weight.size + self.bias.size)
        # Until the loss stands still in the precision of the features.
        still = float(np.finfo(Z.dtype).eps)
        options = dict(maxiter=200, ftol=still, gtol=1e-6)
        found = minimize(objective, zeros, jac=True, method="L-BFGS-B", options=options)
        move = found.x.reshape(len(self.classes_), -1)
        self.coef_ = self.weight + move[:, :-1] / scaler.scale_
        centre = (move[:, :-1] / scaler.scale_) @ scaler.mean_
        self.intercept_ = self.bias + move[:, -1] - centre
        return self

    def _logits(self, X):
        return _as_array(X) @ self.coef_.T + self.intercept_

    def decision_function(self, X):
        """Return logits (n_samples, n_classes), if binary their difference."""
        logits = self._logits(X)
        return logits if logits.shape[1] > 2 else logits[:, 1] - logits[:, 0]

    def predict_proba(self, X):
        """Return class probabilities (n_samples, n_classes)."""
        return softmax(self._logits(X), axis=1)

    def predict(self, X):
        """Return the most probable class of every row."""
        return self.classes_[self._logits(X).argmax(axis=1)]
