# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The torch side of `FeatureEncoder`: encode images in batches, train with a head.

Importing this package loads neither timm nor torchvision.
"""

from ldmlr_sklearn._encoder._features import count_features, encode_images
from ldmlr_sklearn._encoder._file import load_encoder, save_encoder
from ldmlr_sklearn._encoder._identity import digest_images, digest_of, fingerprint
from ldmlr_sklearn._encoder._lazy_encoding import encode_blocks
from ldmlr_sklearn._encoder._processes import ACCELERATE, Processes
from ldmlr_sklearn._encoder._training import TrainingRecipe, train_encoder
from ldmlr_sklearn._encoder._training_cache import (
    describe_start,
    train_once,
    training_key,
)
from ldmlr_sklearn._encoder._with_head import EncoderWithHead

__all__ = [
    "ACCELERATE",
    "EncoderWithHead",
    "Processes",
    "TrainingRecipe",
    "count_features",
    "describe_start",
    "digest_images",
    "digest_of",
    "encode_blocks",
    "encode_images",
    "fingerprint",
    "load_encoder",
    "save_encoder",
    "train_encoder",
    "train_once",
    "training_key",
]
