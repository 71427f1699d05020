# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Runs that are kept in a folder when they end, so that none of them is made twice.

A run is one seed. It is the same run where its code, data, settings, machine and
versions are: what was made under other conditions is never taken for it.
"""

from pathlib import Path
from typing import NamedTuple

import joblib
from accuracy import machine

import ldmlr_sklearn

# What a run's numbers depend on, besides the package. Tables and figures are not of it.
MODULES = (
    "gaussian_samplers",
    "image_diffusion",
    "paper_data",
    "paper_runs",
    "paper_seeds",
)


def _digest_of_code():
    files = sorted(Path(ldmlr_sklearn.__file__).parent.rglob("*.py"))
    files += [Path(__file__).with_name(f"{name}.py") for name in MODULES]
    return joblib.hash([file.read_bytes() for file in files])


CODE = _digest_of_code()  # of the code that is loaded: files may change meanwhile


class Run(NamedTuple):
    """The lines of one seed, and where and with what they were made."""

    lines: list
    machine: dict


def _make(run, seed, split, settings, conditions, more, encoder):
    if encoder is not None:
        more = more | {"encoder": encoder}
    return Run(list(run(seed, split, settings, **more)), machine())


def kept_run(folder, run, seed, split, settings, *, encoder=None, **more):
    """Return a run that the folder holds, or make it now and keep it.

    Parameters
    ----------
    folder : path-like
    run : callable
        ``run(seed, split, settings, **more)``, a function of a module, yields lines.
    seed : int
    split : Split
        Features to learn from and to test on.
    settings : argparse.Namespace
    encoder : FeatureEncoder, default=None
        That of the features in `split`, which tell it apart from others.
    **more
        What else the run asks for, such as the cases of a table.

    Returns
    -------
    Run
    """
    conditions = {k: v for k, v in machine().items() if k != "date"} | {"code": CODE}
    make = joblib.Memory(folder, verbose=0).cache(_make, ignore=["encoder"])
    return make(run, seed, split, settings, conditions, more, encoder)
