# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What a network makes of images: pooled features, batch by batch."""

import numpy as np
import torch
from tqdm import tqdm

from ldmlr_sklearn._encoder._feature_cache import encode_once
from ldmlr_sklearn._torch_utils import to_numpy

_AUTOCAST_DTYPES = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def autocast(device, precision):
    """Return the context in which a network runs at a ``precision``."""
    dtype = _AUTOCAST_DTYPES[precision]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def extract_features(network, images):
    """Return the pooled features of images, before any head.

    Parameters
    ----------
    network : torch.nn.Module
        One of timm's, or any that returns features (n, d) or maps (n, d, h, w).

    images : torch.Tensor of shape (n, channels, height, width)

    Returns
    -------
    torch.Tensor of shape (n, d)
    """
    if hasattr(network, "forward_features") and hasattr(network, "forward_head"):
        maps = network.forward_features(images)
        features = network.forward_head(maps, pre_logits=True)
    else:
        features = network(images)
    if isinstance(features, torch.Tensor) and features.ndim == 4:
        features = features.mean(dim=(2, 3))
    return features


def count_features(network, pixels, source, name):
    """Try a network on two images; return the number of features.

    Parameters
    ----------
    network : torch.nn.Module
        Is in evaluation mode afterwards.

    pixels : PixelFormat

    source : ImageSource

    name : str
        How messages call the network.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If it cannot take such images, or returns something else than features.
    """
    raw = source.read(slice(0, 2), pixels.shape)
    images = pixels.normalize(pixels.to_unit(raw))
    try:
        with torch.no_grad():
            features = extract_features(network.eval(), images)
    except Exception as error:
        dtypes = {parameter.dtype for parameter in network.parameters()}
        if dtypes - {torch.float32}:
            others = sorted(str(dtype) for dtype in dtypes - {torch.float32})
            raise ValueError(
                f"The backbone {name} has weights of {', '.join(others)}, and refuses "
                f"images of torch.float32: {error}. Call .float() on it; `precision` "
                "sets that of its products."
            ) from error
        # Networks refuse a size in as many ways as there are networks.
        height, width = pixels.size
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        raise ValueError(
            f"The backbone {name} cannot take images of {height} x {width} pixels with "
            f"{pixels.n_channels} channels: {reason}. Make the "
            "images larger by image_size, or adapt the network: most convolutional "
            "ones of timm take backbone_kwargs={'output_stride': 8}, transformers "
            f"{{'img_size': {max(pixels.size)}}}, perhaps with a smaller 'patch_size'."
        ) from error
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        shape = getattr(features, "shape", None)
        got = type(features).__name__ if shape is None else tuple(shape)
        raise ValueError(
            f"The backbone {name} returned {got}. Expected a tensor of features (n, d) "
            "or of maps (n, d, height, width)."
        )
    return features.shape[1]


def encode_images(
    network,
    pixels,
    source,
    n_features,
    *,
    device,
    mirror,
    precision,
    batch_size,
    verbose,
    cache=None,
):
    """Return the features of all images, with one batch at a time in memory.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode, on `device`.

    pixels : PixelFormat

    source : ImageSource

    n_features : int

    device, mirror, precision, batch_size, verbose :
        See `FeatureEncoder`.

    cache : (folder, key), default=None
        Where the features of this encoder are kept; see `encode_once`.

    Returns
    -------
    ndarray of shape (n_images, n_features), float32
    """

    def encode(raw, rows):
        pixels.check_values(raw, whole_numbers=source.whole_numbers)
        images = pixels.normalize(pixels.to_unit(raw.to(device)))
        with torch.no_grad(), autocast(device, precision):
            features = extract_features(network, images).float()
            if mirror:
                mirrored = extract_features(network, images.flip(-1)).float()
                features = (features + mirrored) / 2
        features = to_numpy(features)
        if not np.isfinite(features).all():
            raise ValueError(
                f"The backbone turned finite images of rows {rows[0]} to {rows[-1]} "
                "into NaN or infinity. Check its weights; with precision='float16', "
                "try 'bfloat16' or 'float32'."
            )
        return features

    encoded = np.empty((len(source), n_features), dtype=np.float32)
    batches = [
        slice(start, min(start + batch_size, len(source)))
        for start in range(0, len(source), batch_size)
    ]
    bar = tqdm(batches, desc="Encoding", unit="batch", disable=not verbose)
    if cache is not None:
        encode_once(*cache, encode, source, pixels.shape, bar, encoded)
        return encoded
    for rows in bar:
        raw = source.read(rows, pixels.shape)
        encoded[rows] = encode(raw, range(rows.start, rows.stop))
    return encoded
