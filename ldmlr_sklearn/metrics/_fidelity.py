# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Scores of generated rows that tell whether they could be real ones."""

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike
from sklearn.covariance import oas
from sklearn.utils._param_validation import Interval

from ldmlr_sklearn._typing import validate_params
from ldmlr_sklearn.metrics._rows import check_rows, count_inside, nearest_row


@validate_params({"X_real": ["array-like"], "X_generated": ["array-like"]})
def frechet_distance(X_real: ArrayLike, X_generated: ArrayLike) -> float:
    r"""Compute the squared Fréchet distance of Gaussians fitted to two sets of rows.

    This is what the Fréchet inception distance (FID) [1]_ computes in the features
    of one network, here in whatever space the rows are given. It sees means and
    covariances alone, and is symmetric.

    Parameters
    ----------
    X_real : array-like of shape (n_real_samples, n_features)
        Real rows, best those that the generator has not seen.

    X_generated : array-like of shape (n_generated_samples, n_features)
        Generated rows.

    Returns
    -------
    distance : float
        Squared distance, in the squared unit of the features: 0 for equal means and
        covariances, without an upper bound.

    Raises
    ------
    ValueError
        If the numbers of columns differ, or if a row has a nan or an infinity.

    See Also
    --------
    density_coverage : Fidelity and diversity apart from each other.
    generation_report : All scores for every class.

    Notes
    -----
    With means :math:`\mu` and covariances :math:`\Sigma`, the distance is [2]_

    .. math::

        d^2 = \lVert \mu_r - \mu_g \rVert^2 + \mathrm{tr}(\Sigma_r) +
        \mathrm{tr}(\Sigma_g) - 2 \, \lVert \Sigma_r^{1/2} \Sigma_g^{1/2} \rVert_*

    where the nuclear norm is the trace of
    :math:`(\Sigma_r^{1/2} \Sigma_g \Sigma_r^{1/2})^{1/2}`. The roots are those of
    symmetric matrices, so that covariances of any rank do.

    The distance is biased upwards, the more the fewer the rows. Covariances are
    therefore always shrunk, by the rule of :func:`sklearn.covariance.oas` [3]_: of
    those at hand it leaves the least bias where there are fewer rows than features,
    and it fades where there are many. A bias remains: compare generators at the same
    numbers of rows. The covariance of a single row is zero.

    References
    ----------
    .. [1] M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler, S. Hochreiter. "GANs
       trained by a two time-scale update rule converge to a local Nash
       equilibrium". NeurIPS 2017.
    .. [2] D. C. Dowson, B. V. Landau. "The Fréchet distance between multivariate
       normal distributions". Journal of Multivariate Analysis 12, 1982.
    .. [3] Y. Chen, A. Wiesel, Y. C. Eldar, A. O. Hero. "Shrinkage algorithms for
       MMSE covariance estimation". IEEE Transactions on Signal Processing 58, 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from ldmlr_sklearn.metrics import frechet_distance
    >>> X_real = np.random.default_rng(0).normal(size=(500, 3))
    >>> round(frechet_distance(X_real, X_real + [2, 0, 0]), 6)
    4.0
    """
    X_real, X_generated = check_rows(X_real=X_real, X_generated=X_generated)
    return _frechet_distance(*_mean_and_root(X_real), *_mean_and_root(X_generated))


def _mean_and_root(X):
    """Mean of rows, and the symmetric root of their shrunk covariance."""
    mean = X.mean(axis=0)
    if len(X) == 1:
        return mean, np.zeros((X.shape[1], X.shape[1]))
    covariance, _ = oas(X)
    return mean, _symmetric_root(covariance)


def _symmetric_root(matrix):
    eigenvalues, vectors = np.linalg.eigh(matrix)
    # Zero eigenvalues of a matrix without full rank may come out below zero.
    return (vectors * np.sqrt(np.maximum(eigenvalues, 0))) @ vectors.T


def _frechet_distance(mean_a, root_a, mean_b, root_b):
    # The nuclear norm needs no root of the product, which would blow up the rounding
    # errors of eigenvalues near zero.
    distance = (
        np.sum((mean_a - mean_b) ** 2)
        + np.sum(root_a**2)
        + np.sum(root_b**2)
        - 2 * np.linalg.norm(root_a @ root_b, ord="nuc")
    )
    return max(float(distance), 0.0)


@validate_params(
    {
        "X_real": ["array-like"],
        "X_generated": ["array-like"],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    }
)
def density_coverage(
    X_real: ArrayLike, X_generated: ArrayLike, *, n_neighbors: int = 5
) -> tuple[float, float]:
    r"""Compute the density and the coverage of generated rows.

    Both look at a ball around every real row that just reaches its nearest real
    neighbours. Density asks how many generated rows such balls hold (fidelity: do
    the rows lie where real ones do?), coverage how many balls hold any (diversity:
    is there a generated row near every real one?) [1]_.

    Parameters
    ----------
    X_real : array-like of shape (n_real_samples, n_features)
        Real rows, best those that the generator has not seen. There must be more of
        them than `n_neighbors`.

    X_generated : array-like of shape (n_generated_samples, n_features)
        Generated rows.

    n_neighbors : int, default=5
        Which of its real neighbours the ball around a real row reaches.

    Returns
    -------
    density : float
        0 or above. Near 1 where the rows come from one distribution; below 1 where
        generated rows miss the real ones; above 1 where they gather in places that
        many balls share, as the middle of a class in many dimensions is.

    coverage : float
        Between 0 and 1. See Notes for what to expect of rows of one distribution.

    Raises
    ------
    ValueError
        If there are too few real rows for `n_neighbors`, if the numbers of columns
        differ, or if a row has a nan or an infinity.

    See Also
    --------
    frechet_distance : One number for fidelity and diversity.
    generation_report : All scores for every class.

    Notes
    -----
    Let :math:`B_i` be the closed ball around the real row :math:`i` of :math:`n` that
    reaches its :math:`k`-th nearest real neighbour, and :math:`g_1, \dots, g_m` the
    generated rows. Then

    .. math::

        \mathrm{density} = \frac{1}{k m} \sum_{i, j} 1[g_j \in B_i]
        \qquad
        \mathrm{coverage} = \frac{1}{n} \sum_i 1[\exists j : g_j \in B_i]

    For rows of one continuous distribution the expected coverage is

    .. math::

        1 - \prod_{l=1}^{k} \frac{n - l}{n + m - l}

    which is 0.97 for :math:`k = 5` and as many generated as real rows.

    References
    ----------
    .. [1] M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi, J. Yoo. "Reliable fidelity and
       diversity metrics for generative models". ICML 2020.

    Examples
    --------
    >>> from ldmlr_sklearn.metrics import density_coverage
    >>> X_real = [[0.0], [1.0], [5.0], [6.0]]
    >>> density_coverage(X_real, [[0.2], [0.4]], n_neighbors=1)
    (2.0, 0.5)
    """
    X_real, X_generated = check_rows(X_real=X_real, X_generated=X_generated)
    if len(X_real) <= n_neighbors:
        raise ValueError(
            f"X_real must have more rows than n_neighbors. Got {len(X_real)} row(s) "
            f"and n_neighbors={n_neighbors}: pass more real rows or a smaller "
            "n_neighbors."
        )
    radii, _ = nearest_row(X_real, n_neighbors=n_neighbors)
    n_inside = count_inside(X_real, radii, X_generated)
    density = n_inside.sum() / (n_neighbors * len(X_generated))
    return float(density), float((n_inside > 0).mean())
