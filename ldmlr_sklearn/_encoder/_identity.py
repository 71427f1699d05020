# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Names for encoders, trainings and collections of images: equal ones, equal names."""

import hashlib
import json

import torch
from torch.nn import functional as F

from ldmlr_sklearn._encoder._features import extract_features
from ldmlr_sklearn._torch_utils import generator_from, to_numpy

_N_SIDES = 8  # from which a row of features is seen


def digest_of(description, network=None):
    """Return a name for a description and the numbers in a network.

    Parameters
    ----------
    description : object
        What JSON can hold; anything else in it is told apart by its `repr`.

    network : torch.nn.Module, default=None

    Returns
    -------
    str
        Of 32 hexadecimal digits.
    """
    text = json.dumps(description, sort_keys=True, default=repr)
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name, tensor in ({} if network is None else network.state_dict()).items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.reshape(-1).contiguous()
        digest.update(to_numpy(flat.view(torch.uint8)))
    return digest.hexdigest()


def digest_images(source, shape, batch_size):
    """Return a name for all images of a source, in their order."""
    digest = hashlib.blake2b(digest_size=16)
    for start in range(0, len(source), batch_size):
        rows = slice(start, min(start + batch_size, len(source)))
        digest.update(source.identify(rows, shape)[0])
    return digest.hexdigest()


def fingerprint(network, pixels):
    """Return text that tells what a network of unknown code makes of noise.

    It is the length of each row of features and its direction, seen from a few sides
    on which every column counts differently; of so few digits that the number of
    threads does not show.
    """
    noise = torch.randn(
        (2, pixels.n_channels, *pixels.size),
        generator=generator_from(0),
        dtype=torch.float32,
    )
    with torch.no_grad():
        features = extract_features(network.eval(), noise).float()
    sides = torch.randn(
        (features.shape[1], _N_SIDES), generator=generator_from(1), dtype=torch.float32
    )
    lengths = [f"{length:.1e}" for length in features.norm(dim=1).tolist()]
    seen = F.normalize(features) @ sides  # (2, n_sides)
    return " ".join(lengths + [f"{value:.2f}" for value in seen.flatten().tolist()])
