# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Learn from long-tailed images with and without generated features, and compare.

    python examples/demo.py                  digits of scikit-learn, made long-tailed
    python examples/demo.py --data FOLDER    a folder of images for every class; or two
                                             of those, FOLDER/train and FOLDER/test
    python examples/demo.py --data FILE.npz  arrays X and y; or X_train, y_train, X_test
                                             and y_test. A 2-D X is taken for features

Prints one table and writes demo_features.png. Without a test part, every seed sets 30 %
of every class aside.
"""

import argparse
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
from comparison import Split, compare, describe, draw_tail, table
from sklearn.utils import _safe_indexing

from ldmlr_sklearn import FeatureEncoder
from ldmlr_sklearn.datasets import load_digits_lt, load_image_folder

FIGURE = "demo_features.png"
SMALL_BACKBONE = "test_resnet"
SPLIT_KEYS = Split._fields


def draw_digits(seed):
    """Digits with imbalance factor 50; the seed draws rows and the order of classes."""
    order = np.random.RandomState(seed).permutation(10)
    digits = load_digits_lt(class_order=order, random_state=seed)
    return Split(digits.images, digits.target, digits.images_test, digits.target_test)


def split_rows(X, y, seed):
    """Set 30 % of every class aside, but never all of its rows."""
    random_state, test = np.random.RandomState(seed), np.zeros(len(y), dtype=bool)
    for class_ in np.unique(y):
        rows = random_state.permutation(np.flatnonzero(y == class_))
        test[rows[: min(round(0.3 * len(rows)), len(rows) - 1)]] = True
    train, test = np.flatnonzero(~test), np.flatnonzero(test)
    return Split(_safe_indexing(X, train), y[train], _safe_indexing(X, test), y[test])


def load_folder(path):
    """Read class folders, or two folders of them, as images with names for labels."""

    def labelled(folder):
        images = load_image_folder(folder)
        return images.filenames, images.target_names[images.target]

    if (path / "train").is_dir() and (path / "test").is_dir():
        return Split(*labelled(path / "train"), *labelled(path / "test"))
    return labelled(path)


def load_npz(path):
    """Read arrays X and y, or the four of a split."""
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a readable .npz file: {error}") from error
    for keys in (SPLIT_KEYS, ("X", "y")):
        if set(keys) <= set(arrays):
            break
    else:
        raise ValueError(
            f"{path} must hold the arrays X and y, or {', '.join(SPLIT_KEYS)}. Got "
            f"{sorted(arrays)}."
        )
    for X, y in zip(keys[::2], keys[1::2], strict=True):
        if arrays[y].ndim != 1 or arrays[X].shape[:1] != arrays[y].shape:
            raise ValueError(
                f"{y} must hold one label for every row of {X}. Got shapes "
                f"{arrays[X].shape} of {X} and {arrays[y].shape} of {y}."
            )
    loaded = [arrays[key] for key in keys]
    return Split(*loaded) if len(loaded) == 4 else loaded


def load(path):
    """Return a function of the seed that draws a `Split` of the data at a path."""
    if path is None:
        return draw_digits
    path = Path(path)
    if path.suffix == ".npz" and not path.is_dir():
        loaded = load_npz(path)
    elif path.is_file():
        raise ValueError(f"{path} is neither a folder of class folders nor a .npz file")
    else:
        loaded = load_folder(path)
    classes = np.unique(loaded[1])
    if len(classes) < 2:
        raise ValueError(
            f"{path} must show at least two classes to tell apart. Got {len(classes)}: "
            f"{classes.tolist()}."
        )
    if isinstance(loaded, Split):
        unknown = sorted(set(loaded.y_test.tolist()) - set(classes.tolist()))
        if unknown:
            raise ValueError(
                f"{path} has test rows of classes without training rows: {unknown}."
            )
        return lambda seed: loaded
    return lambda seed: split_rows(*loaded, seed)


def make_encoder(arguments, seed):
    """Make an encoder; the small default backbone sees small images."""
    small, image_size = arguments.backbone == SMALL_BACKBONE, arguments.image_size
    if (
        small
        and image_size is None
        and arguments.data
        and Path(arguments.data).is_dir()
    ):
        image_size = 32
    return FeatureEncoder(
        arguments.backbone,
        weights=arguments.weights,
        pretrained=arguments.pretrained,
        # Without it, 8 x 8 images shrink to a single point on their way.
        backbone_kwargs={"output_stride": 8} if small else None,
        image_size=image_size,
        max_epochs=arguments.epochs,
        batch_size=32,
        augmentation="crop" if arguments.data is None else "crop_flip",
        random_state=seed,
    )


def is_features(X):
    return isinstance(X, np.ndarray) and X.ndim == 2


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder or .npz; digits when left out")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--backbone", default=SMALL_BACKBONE, help="any of timm's")
    parser.add_argument("--weights", help="local .safetensors or .pth of the backbone")
    parser.add_argument("--pretrained", action="store_true", help="timm's own weights")
    parser.add_argument(
        "--image-size",
        type=int,
        help="left out: that of arrays; for files 32, or what the backbone is made for",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        help="of training the backbone on the training rows; 0 freezes it. Left out: "
        "30 for a backbone without weights, else 0",
    )
    arguments = parser.parse_args(argv)
    if arguments.seeds < 1:
        parser.error(f"--seeds must be at least 1. Got {arguments.seeds}.")
    if arguments.epochs is None:
        has_weights = arguments.weights or arguments.pretrained
        arguments.epochs = 0 if has_weights else 30
    return arguments


def main(argv=None):
    arguments = parse(argv)
    seconds = []

    def draw_features(seed):
        split = draw(seed)
        if is_features(split.X_train):
            return split
        start = time.perf_counter()
        encoder = make_encoder(arguments, seed).fit(split.X_train, split.y_train)
        features = split._replace(
            X_train=encoder.transform(split.X_train),
            X_test=encoder.transform(split.X_test),
        )
        seconds.append(time.perf_counter() - start)
        return features

    try:
        draw = load(arguments.data)
        print(f"{arguments.data or 'Long-tailed digits'}: {describe(draw(0))}")
        comparison = compare(draw_features, arguments.seeds)
    except (OSError, ValueError) as error:
        if arguments.data is None:
            raise
        sys.exit(f"demo.py: {error}")
    if seconds:
        how = f"trained for {arguments.epochs} epochs" if arguments.epochs else "frozen"
        print(f"Encoder {arguments.backbone}, {how}: {np.mean(seconds):.1f} s a seed")
    print("\n" + table(comparison.scores))

    classes = np.unique(comparison.split.y_train).tolist()
    draw_tail(comparison, {class_: f"class {class_}" for class_ in classes}, FIGURE)
    print(f"\nReal and generated features of the rarest classes: {FIGURE}")


if __name__ == "__main__":
    main()
