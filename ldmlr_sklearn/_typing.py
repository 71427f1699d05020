# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Types that public signatures share, and scikit-learn's decorators with types.

scikit-learn has no type information: a checker knows nothing of what its decorators
return. Those here return what they were given.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import joblib
import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.utils._param_validation import validate_params as _validate_params
from sklearn.utils.metaestimators import available_if as _available_if

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch.utils.data import Dataset

FilePath: TypeAlias = str | os.PathLike[str]
Memory: TypeAlias = FilePath | joblib.Memory | None
RandomState: TypeAlias = int | np.random.RandomState | None
Verbose: TypeAlias = bool | int

# Frames of pandas and polars, and arrays of dask, are array-like.
Rows: TypeAlias = ArrayLike | sparse.sparray | sparse.spmatrix
# A string: to name the last two takes imports.
Images: TypeAlias = (
    "ArrayLike | Sequence[os.PathLike[str]] | Sequence[Image] | Dataset[Any]"
)
RowsOrImages: TypeAlias = "Rows | Images"

Counts: TypeAlias = dict[Any, int]
SamplingStrategy: TypeAlias = (
    float
    | Literal["auto", "all", "minority", "not majority", "not minority"]
    | Counts
    | Callable[[Any], Counts]
)
TargetPrior: TypeAlias = (
    Literal["uniform", "train", "em", "mapls"] | ArrayLike | Mapping[Any, float]
)

Loss: TypeAlias = Literal["cross_entropy", "logit_adjusted", "cosine", "wcdas"]

# What is given back as what it was given as.
RowsT = TypeVar("RowsT")
LabelsT = TypeVar("LabelsT")
Method = TypeVar("Method", bound=Callable[..., Any])


def validate_params(constraints: Mapping[str, Any]) -> Callable[[Method], Method]:
    """Check the arguments of a function; what it calls in turn is not checked again."""
    return _validate_params(constraints, prefer_skip_nested_validation=True)


def available_if(check: Callable[[Any], Any]) -> Callable[[Method], Method]:
    """Let a method be there only where `check(self)` is true and does not raise."""
    return _available_if(check)
