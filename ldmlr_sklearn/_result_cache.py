# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Results kept in a folder that many processes share."""

import warnings
from contextlib import contextmanager
from pathlib import Path

import joblib
from filelock import FileLock

from ldmlr_sklearn._persistence import read, write


def cache_folder(memory):
    """Return the folder of results below a ``memory`` parameter, or None.

    Parameters
    ----------
    memory : None, str, path-like or joblib.Memory
        Of a `joblib.Memory` only the location is used.
    """
    location = memory.location if isinstance(memory, joblib.Memory) else memory
    return None if location is None else Path(location) / "ldmlr_sklearn"


class _Entry:
    """One result in the folder, or a place for it."""

    def __init__(self, path, kind):
        self._path, self._kind = path, kind

    def read(self):
        """Return arrays and values, or None where there is no whole file."""
        try:
            return read(self._path, self._kind)
        except FileNotFoundError:
            return None
        except ValueError as error:
            warnings.warn(
                f"A cached result is removed and computed anew: {error}", stacklevel=3
            )
            self._path.unlink(missing_ok=True)
            return None

    def write(self, arrays, values):
        """Keep arrays and values; failure costs the entry, not the result."""
        try:
            write(self._path, self._kind, arrays, values)
        except (OSError, TypeError) as error:  # a full disk, float128
            warnings.warn(f"A result could not be cached: {error}", stacklevel=3)


class _NoEntry:
    """What stands for an entry where no folder can be: nothing is kept."""

    def read(self):
        return None

    def write(self, arrays, values):
        pass


@contextmanager
def locked_entry(folder, kind, key):
    """Hold the entry of a key: all others who want it wait until the block is left.

    Parameters
    ----------
    folder : Path
        From `cache_folder`. Where it cannot be made or written, nothing is kept.
    kind : str
        What is stored; the name of a folder.
    key : str
        Tells results of one kind apart; the name of a file.
    """
    path = folder / kind / f"{key}.safetensors"
    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        warnings.warn(f"A result could not be cached: {error}", stacklevel=4)
        yield _NoEntry()
        return
    try:
        yield _Entry(path, kind)
    finally:
        lock.release()
