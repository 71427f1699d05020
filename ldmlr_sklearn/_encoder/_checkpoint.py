# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The state of a training in a file: replaced whole, read without running code."""

import io
import os
import pickle
from pathlib import Path

import torch

from ldmlr_sklearn._persistence import replace_file

_FORMAT = "ldmlr_sklearn encoder training, version 1"


def check_writable(path):
    """Refuse a path where no file can be, before any training."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"checkpoint={os.fspath(path)!r} lies in a folder that does not exist. "
            "Create it, or give another path."
        )
    if os.path.isdir(path):
        raise IsADirectoryError(
            f"checkpoint={os.fspath(path)!r} is a folder. Expected the name of a file "
            "in it, such as 'training.ckpt'."
        )


def write_checkpoint(path, purpose, state):
    """Write a state; a reader sees the former file or the new one, never a part.

    Parameters
    ----------
    path : str or path-like

    purpose : dict of str to str or number
        What the training is, so that no other one takes up the state.

    state : dict
        Of tensors, numbers, strings, and lists and dictionaries of them.
    """
    contents = io.BytesIO()
    torch.save({"format": _FORMAT, "purpose": purpose, "state": state}, contents)
    replace_file(Path(path), contents.getbuffer())


def read_checkpoint(path, purpose):
    """Return the state in a file, or None if there is no file.

    Parameters
    ----------
    path : str or path-like

    purpose : dict of str to str or number
        What the training is.

    Returns
    -------
    dict or None

    Raises
    ------
    ValueError
        If the file is damaged, no checkpoint, or one of another training.
    """
    name = os.fspath(path)
    if not os.path.exists(path):
        return None
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as e:
        raise ValueError(
            f"checkpoint={name!r} is damaged, or no checkpoint of a training. Remove "
            "it to start anew, or give another path."
        ) from e
    if not isinstance(contents, dict) or contents.get("format") != _FORMAT:
        raise ValueError(
            f"checkpoint={name!r} is no checkpoint of a training ({_FORMAT}). Give "
            "another path; the file is left as it is."
        )
    found = contents["purpose"]
    differences = [
        f"{key} {found.get(key)!r} there and {purpose.get(key)!r} here"
        for key in sorted(found.keys() | purpose.keys())
        if found.get(key) != purpose.get(key)
    ]
    if differences:
        raise ValueError(
            f"checkpoint={name!r} is of another training: {', '.join(differences)}. "
            "Give another path, or remove the file to start anew."
        )
    return contents["state"]
