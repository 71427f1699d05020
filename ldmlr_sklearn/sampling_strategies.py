# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Rules for the number of rows of every class after over-sampling.

Each one is a value that is called with the labels and returns a dictionary of the
class to the number of its rows after resampling. That is the meaning that
imbalanced-learn gives to a callable ``sampling_strategy``, so all its over-samplers
take them as does :class:`~ldmlr_sklearn.LatentDiffusionOversampler`. They compare by
value, pickle, and may be the candidates of a grid search.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from numpy.typing import ArrayLike

from ldmlr_sklearn._typing import Counts
from ldmlr_sklearn.metrics import SHOT_GROUPS, shot_groups

__all__ = ["RatioStrategy", "ShotGroupStrategy", "TemperedStrategy"]


def _count(y):
    """Return the class to the number of its rows."""
    classes, counts = np.unique(np.asarray(y), return_counts=True)
    return dict(zip(classes.tolist(), counts.tolist(), strict=True))


def _check_at_least(owner, name, value, kind, low):
    is_number = isinstance(value, kind) and not isinstance(value, bool)
    if not (is_number and low <= value < np.inf):
        noun = "an integer" if kind is Integral else "a number"
        raise ValueError(
            f"{name} of {type(owner).__name__} must be {noun} of at least {low}. Got "
            f"{value!r}."
        )


@dataclass(frozen=True)
class RatioStrategy:
    """Generate a share of the rows that a class has, and never fewer than a floor.

    This is the rule of the paper [1]_ and of the code published with it. It keeps the
    proportions of large classes nearly as they are: what follows must correct the
    prior, as :class:`~ldmlr_sklearn.LDMLRClassifier` does.

    Parameters
    ----------
    ratio : float, default=0.2
        Rows to generate for each row of a class.

    floor : int, default=5
        Smallest number of rows to generate for a class.

    Raises
    ------
    ValueError
        If a parameter is negative, infinite or not a number.

    See Also
    --------
    TemperedStrategy : Moves the classes towards balance by a chosen amount.

    Notes
    -----
    A class of :math:`n_c` rows has :math:`n_c + \\max(\\mathrm{round}(r n_c), m)`
    afterwards, with the ratio :math:`r` and the floor :math:`m`.

    References
    ----------
    .. [1] P. Han, C. Ye, J. Zhou, J. Zhang, J. Hong, X. Li. "Latent-based diffusion
       model for long-tailed recognition". CVPR workshops 2024.
       https://arxiv.org/abs/2404.04517

    Examples
    --------
    >>> from ldmlr_sklearn.sampling_strategies import RatioStrategy
    >>> RatioStrategy(ratio=0.2, floor=5)([0] * 100 + [1] * 10)
    {0: 120, 1: 15}
    """

    ratio: float = 0.2
    floor: int = 5

    def __post_init__(self):
        _check_at_least(self, "ratio", self.ratio, Real, 0)
        _check_at_least(self, "floor", self.floor, Integral, 0)

    def __call__(self, y: ArrayLike) -> Counts:
        """Return the class to the number of its rows after resampling.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Class labels.

        Returns
        -------
        targets : dict
            Every class to a number of at least its rows in `y`.
        """
        return {
            class_: count + max(round(self.ratio * count), self.floor)
            for class_, count in _count(y).items()
        }


@dataclass(frozen=True)
class ShotGroupStrategy:
    """Fill up the classes of chosen shot groups and leave the others as they are.

    Parameters
    ----------
    groups : tuple of {"few", "medium", "many"} or one of them, default=("few",)
        The groups to fill up.

    many : int, default=100
        Classes with at least so many rows are many-shot.

    few : int, default=20
        Classes with fewer rows are few-shot; what is between is medium-shot.

    target : int, default=None
        Rows to fill a class up to; one that has more keeps them. With `None`, the
        rows of the largest class.

    Raises
    ------
    ValueError
        If a group is none of the three, a number is negative, or `few` is above
        `many`.

    See Also
    --------
    ldmlr_sklearn.metrics.shot_groups : The group of every class.

    Examples
    --------
    >>> from ldmlr_sklearn.sampling_strategies import ShotGroupStrategy
    >>> y = [0] * 200 + [1] * 50 + [2] * 3
    >>> ShotGroupStrategy(groups=("few",))(y)
    {0: 200, 1: 50, 2: 200}
    >>> ShotGroupStrategy(groups=("medium", "few"), target=80)(y)
    {0: 200, 1: 80, 2: 80}
    """

    groups: Sequence[str] = ("few",)
    many: int = 100
    few: int = 20
    target: int | None = None

    def __post_init__(self):
        groups = (self.groups,)
        if isinstance(self.groups, Iterable) and not isinstance(self.groups, str):
            groups = tuple(self.groups)
        if not groups or any(group not in SHOT_GROUPS for group in groups):
            raise ValueError(
                "groups of ShotGroupStrategy must be one or more of "
                f"{', '.join(map(repr, SHOT_GROUPS))}. Got {self.groups!r}."
            )
        object.__setattr__(self, "groups", groups)  # a list would not hash
        _check_at_least(self, "many", self.many, Integral, 0)
        _check_at_least(self, "few", self.few, Integral, 0)
        if self.few > self.many:
            raise ValueError(
                "few of ShotGroupStrategy must not be above many. Got "
                f"few={self.few} and many={self.many}."
            )
        if self.target is not None:
            _check_at_least(self, "target", self.target, Integral, 1)

    def __call__(self, y: ArrayLike) -> Counts:
        """Return the class to the number of its rows after resampling.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Class labels.

        Returns
        -------
        targets : dict
            Every class to a number of at least its rows in `y`.
        """
        counts = _count(y)
        group_of = shot_groups(y, many=self.many, few=self.few)
        target = max(counts.values()) if self.target is None else self.target
        return {
            class_: max(count, target) if group_of[class_] in self.groups else count
            for class_, count in counts.items()
        }


@dataclass(frozen=True)
class TemperedStrategy:
    """Move the classes towards balance by an amount between none and all.

    Parameters
    ----------
    exponent : float, default=0.5
        Between 0, where every class is filled up to the largest, and 1, where
        nothing is generated.

    Raises
    ------
    ValueError
        If the exponent is not a number from 0 to 1.

    See Also
    --------
    RatioStrategy : The rule of the paper, which balances nothing.

    Notes
    -----
    A class of :math:`n_c` rows has :math:`n_{\\max} (n_c / n_{\\max})^q` afterwards,
    rounded, with the exponent :math:`q`: the largest class keeps its rows, and an
    imbalance factor :math:`\\rho` becomes :math:`\\rho^q`.

    Examples
    --------
    >>> from ldmlr_sklearn.sampling_strategies import TemperedStrategy
    >>> TemperedStrategy(exponent=0.5)([0] * 100 + [1] * 25 + [2] * 1)
    {0: 100, 1: 50, 2: 10}
    """

    exponent: float = 0.5

    def __post_init__(self):
        if (
            not isinstance(self.exponent, Real)
            or isinstance(self.exponent, bool)
            or not 0 <= self.exponent <= 1
        ):
            raise ValueError(
                "exponent of TemperedStrategy must be a number from 0, full balance, "
                f"to 1, nothing generated. Got {self.exponent!r}."
            )

    def __call__(self, y: ArrayLike) -> Counts:
        """Return the class to the number of its rows after resampling.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Class labels.

        Returns
        -------
        targets : dict
            Every class to a number of at least its rows in `y`.
        """
        counts = _count(y)
        largest = max(counts.values())
        return {
            class_: round(largest * (count / largest) ** self.exponent)
            for class_, count in counts.items()
        }
