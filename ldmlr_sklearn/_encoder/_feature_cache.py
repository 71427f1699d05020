# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Features of images that were encoded before.

They are kept by the image, since the folds of a search hold different parts of the same
images: a shard, a file of `_persistence`, holds ``digests`` (m, 32) and ``features``
(m, d). Shards are named by their digests and never changed, files appear as a whole or
not at all, and what cannot be read is removed and made again. Any number of processes
may therefore share a folder.
"""

import hashlib
import warnings
from functools import lru_cache

import numpy as np

from ldmlr_sklearn import _persistence

SHARD_ROWS = 4096  # images after which a shard is written
MAX_SMALL_SHARDS = 32  # shards of less than that; more of them are joined
_KIND = "encoded_images"


def encode_once(folder, key, encode, source, shape, batches, encoded):
    """Encode the images that are not in a folder yet, and read the others from it.

    Parameters
    ----------
    folder : pathlib.Path

    key : str
        Tells apart encoders that make different features.

    encode : callable
        From a tensor of images and their row numbers to features.

    source : ImageSource

    shape : tuple of int
        (height, width, channels) of the images.

    batches : iterable of slice
        All rows in their order.

    encoded : ndarray of shape (n_images, n_features)
        Is filled.
    """
    shards = _FeatureShards(folder / _KIND / key)
    digests = np.empty((len(encoded), 32), dtype=np.uint8)
    places = np.empty(len(encoded), dtype=np.int64)  # in the shards, -1 for nowhere
    unsaved = []

    def encode_missing(rows):
        digests[rows], read = source.identify(rows, shape)
        places[rows] = shards.locate(digests[rows])
        missing = np.flatnonzero(places[rows] < 0)
        if len(missing):
            new = np.arange(len(encoded))[rows][missing]
            encoded[new] = encode(read(missing), new)
            unsaved.append(new)
        return len(missing)

    def save():
        if unsaved:
            new = np.concatenate(unsaved)
            shards.add(digests[new], encoded[new])
            unsaved.clear()

    n_unsaved = largest = 0
    try:
        for rows in batches:
            n_unsaved += encode_missing(rows)
            largest = max(largest, rows.stop - rows.start)
            if n_unsaved >= SHARD_ROWS:
                save()
                n_unsaved = 0
        lost = shards.fetch(places, encoded)
        for start in range(0, len(lost), largest):
            encode_missing(lost[start : start + largest])
    finally:  # an interrupted run goes on where it was
        save()


class _FeatureShards:
    """The images whose features are in a folder, as of now."""

    def __init__(self, folder):
        self.folder = folder
        self.paths, found = [], []
        for path in sorted(folder.glob("*.safetensors")):
            digests = _read_shard(path, _digests_in)
            if digests is not None:
                self.paths.append(path)
                found.append(digests)
        self.sizes = [len(digests) for digests in found]
        self.first = np.cumsum([0, *self.sizes])  # place of each shard's first row
        self.digests = np.concatenate([np.empty((0, 32), np.uint8), *found])
        keys = _keys(self.digests)
        self.order = np.argsort(keys)
        self.keys = keys[self.order]

    def locate(self, digests):
        """Return the places (m,) of images by their digests (m, 32), -1 for nowhere."""
        if not len(self.keys):
            return np.full(len(digests), -1)
        after = np.searchsorted(self.keys, _keys(digests))
        places = self.order[np.minimum(after, len(self.keys) - 1)]
        return np.where((self.digests[places] == digests).all(axis=1), places, -1)

    def fetch(self, places, encoded):
        """Copy the features at places (n,) to the same rows; return lost rows."""
        lost = []
        for path, first, size in zip(self.paths, self.first, self.sizes, strict=False):
            rows = np.flatnonzero((places >= first) & (places < first + size))
            if not len(rows):
                continue
            features = _read_shard(path, lambda path: _read(path)["features"])
            if features is None:  # joined, or damaged since it was found
                self.digests[first : first + size] = 0
                lost.append(rows)
            else:
                encoded[rows] = features[places[rows] - first]
        return np.concatenate([np.empty(0, dtype=int), *lost])

    def add(self, digests, features):
        """Write a shard, joined with all small ones if there are many of them."""
        small = []
        if len(digests) < SHARD_ROWS:
            small = [
                path
                for path, size in zip(self.paths, self.sizes, strict=True)
                if size < SHARD_ROWS
            ]
        joined = []
        if len(small) >= MAX_SMALL_SHARDS:
            joined = [(path, _read_shard(path, _read)) for path in small]
            joined = [(path, shard) for path, shard in joined if shard is not None]
        digests = np.concatenate([digests, *(shard["digests"] for _, shard in joined)])
        digests, rows = np.unique(digests, axis=0, return_index=True)
        features = [features, *(shard["features"] for _, shard in joined)]
        arrays = {"digests": digests, "features": np.concatenate(features)[rows]}
        name = hashlib.blake2b(digests, digest_size=16).hexdigest()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _persistence.write(self.folder / f"{name}.safetensors", _KIND, arrays, {})
        except OSError as error:  # a full disk must not cost the features
            warnings.warn(f"Features could not be cached: {error}", stacklevel=2)
            return
        for path, _ in joined:
            if path.stem != name:
                path.unlink(missing_ok=True)


def _keys(digests):
    """Return the first eight bytes of digests as numbers, which can be sorted."""
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64)[:, 0]


def _read(path):
    return _persistence.read(path, _KIND)[0]


@lru_cache(maxsize=256)  # a shard of one name has one content
def _digests_in(path):
    return _read(path)["digests"]


def _read_shard(path, read):
    """Return what `read` makes of a file, None if it is not there or is damaged."""
    try:
        return read(path)
    except FileNotFoundError:
        return None
    except ValueError:
        path.unlink(missing_ok=True)
        return None
