# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""All scores of generated rows for every class."""

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch, check_consistent_length, column_or_1d
from sklearn.utils._param_validation import Interval
from sklearn.utils.multiclass import unique_labels

from ldmlr_sklearn._typing import validate_params
from ldmlr_sklearn.metrics._fidelity import density_coverage, frechet_distance
from ldmlr_sklearn.metrics._novelty import authenticity, dcr_ratio_share
from ldmlr_sklearn.metrics._rows import check_rows


@validate_params(
    {
        "X_train": ["array-like"],
        "y_train": ["array-like"],
        "X_generated": ["array-like"],
        "y_generated": ["array-like"],
        "X_held_out": ["array-like"],
        "y_held_out": ["array-like"],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    }
)
def generation_report(
    X_train: ArrayLike,
    y_train: ArrayLike,
    X_generated: ArrayLike,
    y_generated: ArrayLike,
    X_held_out: ArrayLike,
    y_held_out: ArrayLike,
    *,
    n_neighbors: int = 5,
) -> Bunch:
    """Score the generated rows of every class against its held-out rows.

    All rows are first standardised by the mean and the standard deviation of the
    columns of `X_train`, so that no column counts for more by its unit. For another
    scale, transform the rows and call the metrics themselves.

    Parameters
    ----------
    X_train : array-like of shape (n_train_samples, n_features)
        The rows that the over-sampler has learnt from.

    y_train : array-like of shape (n_train_samples,)
        Their classes.

    X_generated : array-like of shape (n_generated_samples, n_features)
        Generated rows. An over-sampler returns them after the training rows:
        ``X_resampled[len(X_train):]``.

    y_generated : array-like of shape (n_generated_samples,)
        Their classes, all of them among those of `y_train`.

    X_held_out : array-like of shape (n_held_out_samples, n_features)
        Real rows that the over-sampler has not seen.

    y_held_out : array-like of shape (n_held_out_samples,)
        Their classes.

    n_neighbors : int, default=5
        Passed to :func:`density_coverage`.

    Returns
    -------
    report : :class:`~sklearn.utils.Bunch`
        Dictionary-like object of arrays of shape (n_generated_classes,), which
        ``pandas.DataFrame(report)`` takes as it is. Its attributes:

        classes : ndarray
            The classes of `y_generated`, sorted.
        n_train, n_generated, n_held_out : ndarray of int
            Their rows.
        frechet_distance : ndarray of float
            From held-out rows; the less the better. nan without held-out rows.
        density, coverage : ndarray of float
            Of held-out rows; about 1 is best. nan where there are not more held-out
            rows than `n_neighbors`.
        authenticity : ndarray of float
            0 for copies of training rows; ``authenticity`` of held-out rows tells
            what new ones reach. nan for a class of one training row.
        dcr_ratio : ndarray of float
            0 for copies, about 1 for new rows. nan without held-out rows.
        dcr_share : ndarray of float
            1 for copies, about 0.5 for new rows. nan without held-out rows.

    Raises
    ------
    ValueError
        If the numbers of columns, or of rows and labels, differ, if a row has a nan
        or an infinity, if labels of different kinds meet, if a generated class has no
        training rows, or if none has held-out rows.

    See Also
    --------
    frechet_distance : Distance of means and covariances.
    density_coverage : Fidelity and diversity.
    authenticity : Share of rows that are no copies.
    dcr_ratio_share : Whether rows are closer to training rows than unseen ones are.
    shot_accuracy : What generated rows are for: the recall of rare classes.

    Examples
    --------
    Repeated rows are no news, and rows between two training rows little:

    >>> from imblearn.over_sampling import SMOTE, RandomOverSampler
    >>> from ldmlr_sklearn.datasets import load_digits_lt
    >>> from ldmlr_sklearn.metrics import generation_report
    >>> digits = load_digits_lt(imbalance_factor=20)
    >>> X, y = digits.data, digits.target
    >>> for sampler in RandomOverSampler(random_state=0), SMOTE(random_state=0):
    ...     X_resampled, y_resampled = sampler.fit_resample(X, y)
    ...     report = generation_report(
    ...         X,
    ...         y,
    ...         X_resampled[len(X):],
    ...         y_resampled[len(X):],
    ...         digits.data_test,
    ...         digits.target_test,
    ...     )
    ...     print(report.dcr_ratio.max().round(1))
    0.0
    0.4
    """
    X_train, X_generated, X_held_out = check_rows(
        X_train=X_train, X_generated=X_generated, X_held_out=X_held_out
    )
    check_consistent_length(X_train, y_train)
    check_consistent_length(X_generated, y_generated)
    check_consistent_length(X_held_out, y_held_out)
    y_train, y_generated, y_held_out = map(
        column_or_1d, (y_train, y_generated, y_held_out)
    )
    unique_labels(y_train, y_generated, y_held_out)  # refuses strings among numbers
    classes = np.unique(y_generated)
    _check_classes(classes, y_train, y_held_out)

    scaler = StandardScaler().set_output(transform="default").fit(X_train)
    train, generated, held_out = map(
        scaler.transform, (X_train, X_generated, X_held_out)
    )
    rows = [
        _scores(
            train[y_train == class_],
            generated[y_generated == class_],
            held_out[y_held_out == class_],
            n_neighbors,
        )
        for class_ in classes
    ]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return Bunch(classes=classes, **columns)


def _check_classes(classes, y_train, y_held_out):
    unknown = np.setdiff1d(classes, y_train).tolist()
    if unknown:
        raise ValueError(
            f"Every class of y_generated must be in y_train. Got {unknown}, which are "
            "not: pass the labels that the over-sampler learnt from, in the same "
            "encoding."
        )
    if not np.isin(classes, y_held_out).any():
        raise ValueError(
            "At least one class of y_generated must be in y_held_out. Got "
            f"{classes.tolist()} and {np.unique(y_held_out).tolist()}: hold out rows "
            "of the classes that are generated, with labels in the same encoding."
        )


def _scores(X_train, X_generated, X_held_out, n_neighbors):
    scores = dict(
        n_train=len(X_train),
        n_generated=len(X_generated),
        n_held_out=len(X_held_out),
        **dict.fromkeys(("frechet_distance", "density", "coverage"), np.nan),
        **dict.fromkeys(("authenticity", "dcr_ratio", "dcr_share"), np.nan),
    )
    if len(X_held_out) > 0:
        scores["frechet_distance"] = frechet_distance(X_held_out, X_generated)
        scores["dcr_ratio"], scores["dcr_share"] = dcr_ratio_share(
            X_train, X_generated, X_held_out
        )
    if len(X_held_out) > n_neighbors:
        scores["density"], scores["coverage"] = density_coverage(
            X_held_out, X_generated, n_neighbors=n_neighbors
        )
    if len(X_train) > 1:
        scores["authenticity"] = authenticity(X_train, X_generated)
    return scores
