# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Which class a generated row belongs to, were all classes equally frequent."""

import numpy as np
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from ldmlr_sklearn._heads import L2_PER_ROW, one_row_a_class

# Enough for a linear model of a few hundred columns; keeps the cost independent of n.
MAX_ROWS = 20_000


class ClassPosterior:
    """Softmax regression with the class prior taken out again.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32
        Standardised rows.
    codes : ndarray of shape (n_samples,)
        Their labels 0, …, K − 1, sorted; all of them occur.
    random_state : RandomState instance
        Chooses the rows of large classes that are used.
    sample_weight : ndarray of shape (n_samples,), optional
        Counts within each class alone; every class weighs as many as it has rows.

    Attributes
    ----------
    weight : ndarray of shape (n_classes, n_features), float32
    bias : ndarray of shape (n_classes,), float32
        Of the logits under equal class priors.
    """

    def __init__(self, X, codes, random_state, sample_weight=None):
        used = rows_of_every_class(np.bincount(codes), MAX_ROWS, random_state)
        counts = np.bincount(codes[used])
        C = 1 / (L2_PER_ROW * len(used))
        model = LogisticRegression(C=C, max_iter=200, tol=1e-3)
        if sample_weight is not None:
            sample_weight = sample_weight[used]
            mean = np.bincount(codes[used], sample_weight) / counts
            sample_weight = sample_weight / mean[codes[used]]
        model.fit(X[used], codes[used], sample_weight)
        weight, bias = one_row_a_class(model.coef_, model.intercept_)
        self.weight = weight.astype(X.dtype)
        self.bias = (bias - np.log(counts / counts.sum())).astype(X.dtype)

    def to_arrays(self):
        """Return the fitted model as named arrays."""
        return {"weight": self.weight, "bias": self.bias}

    @classmethod
    def from_arrays(cls, arrays):
        """Make a model of what `to_arrays` returned."""
        posterior = object.__new__(cls)
        posterior.weight, posterior.bias = arrays["weight"], arrays["bias"]
        return posterior

    def log_proba(self, X, codes):
        """Return log q(y | x) of rows (n, d) and their own labels (n,): (n,)."""
        logits = X @ self.weight.T + self.bias
        return log_softmax(logits, axis=1)[np.arange(len(X)), codes]


def rows_of_every_class(counts, n_rows, random_state):
    """Choose about n_rows rows, and of every class as many as of any, if it has them.

    Rows lie sorted by class: class c occupies `counts[c]` of them. Returns their
    numbers, sorted by class.
    """
    limit = max(2, n_rows // len(counts))
    starts = np.cumsum(counts) - counts
    return np.concatenate(
        [
            start + random_state.permutation(count)[:limit]
            for start, count in zip(starts, counts, strict=True)
        ]
    )


def choose(log_weights, codes, n_chosen, random_state):
    """Choose rows of every class without replacement, the likelier the heavier.

    Rows drawn one after the other in proportion to their weights are those of the
    largest log weight plus Gumbel noise [1]_.

    Parameters
    ----------
    log_weights : ndarray of shape (n_rows,)
        Logarithms of the weights, up to a constant per class.
    codes : ndarray of shape (n_rows,)
        Classes 0, …, K − 1 of the rows.
    n_chosen : ndarray of shape (n_classes,)
        How many rows of each class to choose, at most those there are.
    random_state : RandomState instance

    Returns
    -------
    ndarray of shape (n_chosen.sum(),)
        Row numbers, sorted by class and then ascending: where a row stands tells
        nothing of its weight.

    References
    ----------
    .. [1] Kool, van Hoof, Welling. Stochastic beams and where to find them: the
       Gumbel-top-k trick. ICML 2019.
    """
    key = log_weights + random_state.gumbel(size=len(codes))
    order = np.lexsort((-key, codes))
    counts = np.bincount(codes, minlength=len(n_chosen))
    rank = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = order[rank < np.repeat(n_chosen, counts)]
    return chosen[np.lexsort((chosen, codes[chosen]))]
