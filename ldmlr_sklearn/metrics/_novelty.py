# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Scores of generated rows that tell whether they are copies of training rows."""

import numpy as np
from numpy.typing import ArrayLike

from ldmlr_sklearn._typing import validate_params
from ldmlr_sklearn.metrics._rows import check_rows, nearest_row


@validate_params({"X_train": ["array-like"], "X_generated": ["array-like"]})
def authenticity(X_train: ArrayLike, X_generated: ArrayLike) -> float:
    r"""Compute the share of generated rows that are no copies of training rows.

    A generated row is taken for a copy where it is as close to its nearest training
    row as that one is to its own nearest neighbour in training, or closer [1]_.

    Parameters
    ----------
    X_train : array-like of shape (n_train_samples, n_features)
        The rows that the generator has learnt from, at least two.

    X_generated : array-like of shape (n_generated_samples, n_features)
        Generated rows.

    Returns
    -------
    authenticity : float
        Between 0 and 1: 0 where every row is a copy. What new rows reach depends on
        the number of features; see Notes.

    Raises
    ------
    ValueError
        If there are less than two training rows, if the numbers of columns differ,
        or if a row has a nan or an infinity.

    See Also
    --------
    dcr_ratio_share : A test for copies by means of unseen rows.
    generation_report : All scores for every class.

    Notes
    -----
    With :math:`t(g)` the training row nearest to the generated row :math:`g`, it is
    the share of rows with

    .. math::

        \lVert g - t(g) \rVert > \min_{t' \neq t(g)} \lVert t' - t(g) \rVert

    New rows of the training distribution do not reach 1: those of a normal
    distribution reach a third with one feature, about a half with four and 0.8 with
    64, for in many dimensions the nearest training row is often one that is close to
    others. The measure to compare with is ``authenticity(X_train, X_held_out)``.

    A row that is wide of the mark is authentic, and a row in the midst of a class
    may be close to a training row without being its copy: read it beside
    :func:`density_coverage`.

    References
    ----------
    .. [1] A. M. Alaa, B. van Breugel, E. Saveliev, M. van der Schaar. "How faithful
       is your synthetic data? Sample-level metrics for evaluating and auditing
       generative models". ICML 2022.

    Examples
    --------
    >>> from ldmlr_sklearn.metrics import authenticity
    >>> authenticity([[0.0], [1.0], [5.0]], [[0.1], [0.9], [3.0], [7.0]])
    0.25
    """
    X_train, X_generated = check_rows(X_train=X_train, X_generated=X_generated)
    if len(X_train) < 2:
        raise ValueError(
            "X_train must have at least 2 rows. Got 1: a single row has no neighbour "
            "to measure copies by. Pass more training rows."
        )
    distances, nearest = nearest_row(X_train, X_generated)
    to_neighbor, _ = nearest_row(X_train)
    return float((distances > to_neighbor[nearest]).mean())


@validate_params(
    {
        "X_train": ["array-like"],
        "X_generated": ["array-like"],
        "X_held_out": ["array-like"],
    }
)
def dcr_ratio_share(
    X_train: ArrayLike, X_generated: ArrayLike, X_held_out: ArrayLike
) -> tuple[float, float]:
    r"""Compare generated and unseen rows by the distance to the closest record.

    The distance to the closest record (DCR) of a row is that to its nearest real
    row. The ratio tells how far generated rows stay from training rows, where unseen
    rows set the standard [1]_. The share tells whether they are drawn to training
    rows rather than to unseen ones [2]_. Any numbers of rows do, one included.

    Parameters
    ----------
    X_train : array-like of shape (n_train_samples, n_features)
        The rows that the generator has learnt from.

    X_generated : array-like of shape (n_generated_samples, n_features)
        Generated rows.

    X_held_out : array-like of shape (n_held_out_samples, n_features)
        Real rows that the generator has not seen.

    Returns
    -------
    ratio : float
        0 or above: 0 for copies, about 1 for rows as new as the unseen ones, above 1
        for rows far from all of them. inf or nan where at least half of the unseen
        rows are in the training data too.

    share : float
        Between 0 and 1: 1 for copies, about 0.5 for rows that are as close to unseen
        rows as to training rows.

    Raises
    ------
    ValueError
        If the numbers of columns differ, or if a row has a nan or an infinity.

    See Also
    --------
    authenticity : A test for copies without unseen rows.
    generation_report : All scores for every class.

    Notes
    -----
    With :math:`d(x, T)` the distance of a row to the nearest of the :math:`n_t`
    training rows and :math:`d(x, H)` to the nearest of the :math:`n_h` unseen ones,

    .. math::

        \mathrm{ratio} = \frac{\mathrm{median}_g \, d(g, T)}
        {\mathrm{median}_h \, d(h, T)}
        \qquad
        \mathrm{share} = \frac{p / n_t}{p / n_t + (1 - p) / n_h}

    where :math:`p` is the share of generated rows with
    :math:`d(g, T) < d(g, H)`; a row at equal distances counts as
    :math:`n_t / (n_t + n_h)`, which is what is expected of :math:`p` where both kinds
    of row are alike to the generator. With :math:`n_t = n_h` the share is :math:`p`,
    the share of the literature, which draws as many rows from the larger set for
    that. Weights do without chance and without loss: of copies of a thousand rows,
    few would have their source among fifty drawn.

    Both are needed. Rows that keep to the middle of their class have a ratio below 1
    without being copies, and copies under much noise one above; the share sees
    through either.

    References
    ----------
    .. [1] C. Meehan, K. Chaudhuri, S. Dasgupta. "A non-parametric test to detect
       data-copying in generative models". AISTATS 2020.
    .. [2] M. Platzer, T. Reutterer. "Holdout-based empirical assessment of mixed-type
       synthetic data". Frontiers in Big Data 4, 2021.

    Examples
    --------
    >>> from ldmlr_sklearn.metrics import dcr_ratio_share
    >>> X_train, X_held_out = [[0.0], [4.0]], [[1.0], [6.0]]
    >>> dcr_ratio_share(X_train, [[0.0], [4.0]], X_held_out)
    (0.0, 1.0)
    >>> dcr_ratio_share(X_train, [[1.0], [2.0], [5.5]], X_held_out)
    (1.0, 0.0)
    """
    X_train, X_generated, X_held_out = check_rows(
        X_train=X_train, X_generated=X_generated, X_held_out=X_held_out
    )
    to_train, _ = nearest_row(X_train, X_generated)
    to_held_out, _ = nearest_row(X_held_out, X_generated)
    expected, _ = nearest_row(X_train, X_held_out)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.median(to_train) / np.median(expected)

    n_train, n_held_out = len(X_train), len(X_held_out)
    tie = n_train / (n_train + n_held_out)
    p = np.where(to_train == to_held_out, tie, to_train < to_held_out).mean()
    odds = p * n_held_out, (1 - p) * n_train
    return float(ratio), float(odds[0] / sum(odds))
