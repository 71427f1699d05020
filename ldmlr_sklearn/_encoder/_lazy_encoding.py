# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""dask arrays of images, or of their paths, to dask arrays of features."""

import numpy as np


def encode_blocks(encoder, X):
    """Encode a dask array block by block, when it is computed.

    Parameters
    ----------
    encoder : FeatureEncoder
        Is sent to each worker once.

    X : dask.array.Array of shape (n, ...) or (n,)
        Images, or paths to them. Blocks along other axes than the first are joined.

    Returns
    -------
    dask.array.Array of shape (n, n_features_out_), float32
        In blocks of as many rows as those of `X`.
    """
    import dask

    if X.ndim == 1 and X.dtype.kind not in "OUT":
        raise ValueError(
            f"X is a dask array of shape {X.shape} and dtype {X.dtype}. Expected "
            "images, (n, height, width) or (n, height, width, channels), rows of "
            "pixels, or paths in one dimension."
        )
    if X.ndim > 1:
        # What would refuse every block refuses now.
        encoder._open_like_fit(np.zeros((1, *X.shape[1:]), dtype=X.dtype))
        if X.numblocks[1:] != (1,) * (X.ndim - 1):
            X = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))
    return X.map_blocks(
        _encode_block,
        encoder=dask.delayed(encoder, traverse=False),
        dtype=np.float32,
        chunks=(X.chunks[0], (encoder.n_features_out_,)),
        drop_axis=list(range(1, X.ndim)),
        new_axis=[1],
        meta=np.empty((0, 0), dtype=np.float32),
    )


def _encode_block(block, encoder):
    if len(block) == 0:
        return np.empty((0, encoder.n_features_out_), dtype=np.float32)
    return encoder._encode(block)
