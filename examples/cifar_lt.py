# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The whole way of the paper on CIFAR-10-LT, from images to predictions.

    python examples/cifar_lt.py IMAGES.npz --weights ENCODER.safetensors

IMAGES.npz holds X_train, y_train, X_test, y_test and, if it likes, the names `classes`;
ENCODER.safetensors is a CIFAR ResNet-32 that was trained on X_train. All methods of the
table share features that are encoded once. Then one `LDMLRClassifier` goes the whole
way by itself.
"""

import argparse
import sys
import time

import comparison
import numpy as np

from ldmlr_sklearn import FeatureEncoder
from ldmlr_sklearn.metrics import shot_accuracy

FIGURE = "cifar_lt_features.png"
SPLIT_KEYS = comparison.Split._fields


def load(path):
    """Return a split of images, and class -> its name."""
    with np.load(path) as file:
        missing = sorted(set(SPLIT_KEYS) - set(file.files))
        if missing:
            raise ValueError(
                f"{path} lacks {', '.join(missing)}. Expected {', '.join(SPLIT_KEYS)}."
            )
        images = comparison.Split(*(file[key] for key in SPLIT_KEYS))
        classes = np.unique(images.y_train).tolist()
        titles = file["classes"] if "classes" in file else classes
    return images, dict(zip(classes, titles, strict=True))


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args(argv)
    if arguments.seeds < 1:
        parser.error(f"--seeds must be at least 1. Got {arguments.seeds}.")

    encoder = FeatureEncoder("cifar_resnet32", weights=arguments.weights, verbose=1)
    try:
        images, names = load(arguments.images)
        encoder.fit(images.X_train)
    except (OSError, ValueError) as error:
        sys.exit(f"cifar_lt.py: {error}")
    print(comparison.describe(images))

    start = time.perf_counter()
    features = images._replace(
        X_train=encoder.transform(images.X_train),
        X_test=encoder.transform(images.X_test),
    )
    print(f"Encoded in {time.perf_counter() - start:.0f} s")

    result = comparison.compare(lambda seed: features, arguments.seeds)
    print("\n" + comparison.table(result.scores))
    comparison.draw_tail(result, names, FIGURE)
    print(f"\nReal and generated features of the rarest classes: {FIGURE}\n")

    start = time.perf_counter()
    model = comparison.competitors(images.y_train, seed=0)["LDMLRClassifier"]
    model.set_params(encoder=encoder)
    y_pred = model.fit(images.X_train, images.y_train).predict(images.X_test)
    accuracy = shot_accuracy(images.y_test, y_pred, images.y_train)
    print(
        f"LDMLRClassifier from images to predictions: {100 * accuracy.all:.2f} % "
        f"balanced accuracy in {time.perf_counter() - start:.0f} s, encoding included"
    )


if __name__ == "__main__":
    main()
