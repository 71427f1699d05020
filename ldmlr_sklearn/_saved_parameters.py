# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Constructor parameters of an estimator as JSON can hold them, and back."""

import os

import numpy as np


def plain_parameters(parameters, left_out=()):
    """Return parameters as values that JSON can hold.

    Parameters
    ----------
    parameters : dict
        As from ``get_params(deep=False)``.
    left_out : tuple of str
        Names of those that are not kept.

    Raises
    ------
    TypeError
        If a parameter is code or the state of a generator.
    """
    return {
        name: _to_plain(name, value)
        for name, value in parameters.items()
        if name not in left_out
    }


def estimator_from(cls, plain):
    """Make an estimator with parameters that `plain_parameters` returned.

    Raises
    ------
    ValueError
        If there is no such parameter.
    """
    unknown = plain.keys() - cls().get_params(deep=False).keys()
    if unknown:
        raise ValueError(
            f"The file holds the parameters {sorted(unknown)}, which this version of "
            f"{cls.__name__} does not have. Install a later one."
        )
    return cls(**given_parameters(plain))


def given_parameters(plain):
    """Return the parameters that `plain_parameters` was given."""
    return {name: _from_plain(value) for name, value in plain.items()}


def pairs(mapping):
    """Return a dict whose keys need not be text as a list of pairs."""
    return [[_scalar(key), _scalar(value)] for key, value in mapping.items()]


def _to_plain(name, value):
    if isinstance(value, dict):
        return {"pairs": [[_scalar(k), _to_plain(name, v)] for k, v in value.items()]}
    if isinstance(value, tuple | list):
        return [_to_plain(name, element) for element in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    value = _scalar(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"{name}={value!r} of type {type(value).__name__} cannot be saved: a file that "
        "holds no code holds numbers, text, None, and dicts and tuples of them. Set "
        "another value by set_params before, or use pickle."
    )


def _from_plain(value):
    if isinstance(value, dict):
        return {name: _from_plain(element) for name, element in value["pairs"]}
    # JSON has no tuples, and no parameter needs a list.
    return tuple(map(_from_plain, value)) if isinstance(value, list) else value


def _scalar(value):
    return value.item() if isinstance(value, np.generic) else value
