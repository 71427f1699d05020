# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""How guidance, candidates and the pull of the head were chosen, without a test set.

    python examples/benchmarks/guidance.py CIFAR10_LT_IMAGES.npz TRANSFER_FEATURES.npz
        [--draws 4]

Training rows of the files alone are used. The four largest classes of the images make
long-tailed development problems (877 to 21 rows, classes rotated from draw to draw)
with 200 more training images a class set aside for scoring. They are encoded by a small
network that was trained on the rows themselves, and by one that was trained on the
other six classes. Long-tailed digits as raw pixels are the third kind. The training
rows of the features (5,000 to 50 rows a class) are split into four folds, one of which
is set aside; the fourth kind is those features, the fifth what a small network makes of
them that was trained on the other three folds until it knew each row. Prints balanced
accuracy in % on the rows set aside and writes guidance.json beside this file.
"""

import argparse
import datetime
import json
import platform
import warnings
from pathlib import Path

import imblearn
import numpy as np
import sklearn
import torch
from imblearn.over_sampling import SMOTE, RandomOverSampler
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from ldmlr_sklearn import FeatureEncoder, LatentDiffusionOversampler, LDMLRClassifier
from ldmlr_sklearn._heads import AnchoredHead, softmax_head
from ldmlr_sklearn.datasets import load_digits_lt, make_long_tailed

SCALES = (0.2, 0.35, 0.5, 0.7, 1.0)
PULLS = (0.01, 0.1, 1.0)
N_ASIDE = 200


def make_encoder(seed):
    return FeatureEncoder(
        "test_resnet",
        backbone_kwargs={"output_stride": 8},
        max_epochs=60,
        batch_size=64,
        random_state=seed,
    )


def long_tailed_images(images, y, seed):
    """Set rows of the four largest classes aside; make the others long-tailed."""
    rng = np.random.RandomState(seed)
    aside = np.concatenate(
        [rng.permutation(np.flatnonzero(y == label))[:N_ASIDE] for label in range(4)]
    )
    rest = np.setdiff1d(np.flatnonzero(y < 4), aside)
    order = np.roll(np.arange(4), seed)
    # As many rows of each as the fourth class has, so that any may be the first.
    rest = np.concatenate(
        [rng.permutation(rest[y[rest] == label])[:877] for label in range(4)]
    )
    kept, labels = make_long_tailed(
        rest, y[rest], imbalance_factor=40, class_order=order, random_state=rng
    )
    return images[kept], labels, images[aside], y[aside]


def memorised(X, y, X_aside, seed):
    """Encode rows by a network that was trained on X until it knew all of them."""
    scaler = StandardScaler().fit(X)
    network = MLPClassifier(
        (256, 64), alpha=1e-5, max_iter=100, tol=0, n_iter_no_change=100,
        random_state=seed,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(scaler.transform(X), y)

    def encode(X):
        hidden = scaler.transform(X)
        for layer in range(2):
            hidden = hidden @ network.coefs_[layer] + network.intercepts_[layer]
            hidden = np.maximum(hidden, 0)
        return hidden.astype(np.float32)

    head = network.coefs_[-1].T, network.intercepts_[-1]
    return encode(X), encode(X_aside), head


def problems(images_path, features_path, n_draws):
    """Yield the kind of encoder, features and labels, those aside, and a head."""
    with np.load(images_path) as file:
        images, y = file["X_train"], file["y_train"].astype(int)
    with np.load(features_path) as file:
        features, y_features = file["X_train"], file["y_train"].astype(int)
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    folds = list(folds.split(features, y_features))
    other = make_encoder(0).fit(images[y >= 4], y[y >= 4])
    for seed in range(n_draws):
        X, labels, X_aside, y_aside = long_tailed_images(images, y, seed)
        own = make_encoder(seed).fit(X, labels)
        for kind, encoder in (("trained on the rows", own), ("other classes", other)):
            head = None
            if encoder is own:
                head = own.head_weight_, own.head_bias_
            encoded = encoder.transform(X), encoder.transform(X_aside)
            yield kind, encoded[0], labels, encoded[1], y_aside, head
        order = np.random.RandomState(seed).permutation(10)
        digits = load_digits_lt(test_size=0.4, class_order=order, random_state=seed)
        yield (
            "none (digits)",
            digits.data,
            digits.target,
            digits.data_test,
            digits.target_test,
            None,
        )
        kept, aside = folds[seed]
        X, labels = features[kept], y_features[kept]
        X_aside, y_aside = features[aside], y_features[aside]
        yield "CIFAR, other data", X, labels, X_aside, y_aside, None
        X, X_aside, head = memorised(X, labels, X_aside, seed)
        yield "CIFAR, those rows", X, labels, X_aside, y_aside, head


def score_all(X, y, X_aside, y_aside, head, seed):
    """Return the name of every method -> balanced accuracy in %."""

    def accuracy(model, X=X, y=y):
        predicted = model.fit(X, y).predict(X_aside)
        return 100 * balanced_accuracy_score(y_aside, predicted)

    def linear(n_rows):
        regression = LogisticRegression(C=1 / (2e-3 * n_rows), max_iter=1000)
        return make_pipeline(StandardScaler(), regression)

    counts = np.unique(y, return_counts=True)[1]
    smote = SMOTE(k_neighbors=min(5, counts.min() - 1), random_state=seed)
    replay = RandomOverSampler(random_state=seed)
    nothing = RandomOverSampler(sampling_strategy={})
    scores = {
        "no resampling": accuracy(linear(len(y))),
        "label shift": accuracy(LDMLRClassifier(oversampler=nothing)),
        "RandomOverSampler": accuracy(LDMLRClassifier(oversampler=replay)),
        "SMOTE": accuracy(LDMLRClassifier(oversampler=smote)),
    }
    sampler = LatentDiffusionOversampler(random_state=seed).fit(X, y)
    scores["recall r"] = 100 * sampler.expected_recall_
    missing = np.repeat(sampler.classes_, counts.max() - counts)
    y_full = np.concatenate([y, missing])
    for n_candidates in (1, 2):
        for scale in (*SCALES, "auto"):
            sampler.set_params(guidance_scale=scale, n_candidates=n_candidates)
            rows = sampler.sample(missing, random_state=seed)
            X_full = np.concatenate([X, rows.astype(X.dtype)])
            name = f"w = {scale}, {n_candidates} candidates"
            scores[name] = accuracy(linear(len(y_full)), X_full, y_full)
    scores["default head on the same rows"] = accuracy(
        softmax_head(len(y_full)), X_full, y_full
    )
    if head is not None:
        weight, bias = head
        bias = bias - np.log(counts / counts.sum())
        shifted = (X_aside @ weight.T + bias).argmax(axis=1)
        scores["own head, label shift"] = 100 * balanced_accuracy_score(
            y_aside, sampler.classes_[shifted]
        )
        for pull in PULLS:
            scores[f"the same rows, pull {pull}"] = accuracy(
                AnchoredHead(weight, bias, alpha=pull), X_full, y_full
            )
    return scores


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images")
    parser.add_argument("features")
    parser.add_argument("--draws", type=int, default=4)
    arguments = parser.parse_args()
    scores = {}
    found = problems(arguments.images, arguments.features, arguments.draws)
    for position, (kind, *problem) in enumerate(tqdm(found, total=5 * arguments.draws)):
        for name, value in score_all(*problem, seed=position // 5).items():
            scores.setdefault(name, {}).setdefault(kind, []).append(value)
    kinds = list(scores["no resampling"])
    print(f"{'encoder':26}" + "".join(f"{kind:>22}" for kind in kinds))
    for name, by_kind in scores.items():
        cells = [
            f"{np.mean(by_kind[kind]):.1f}" if kind in by_kind else "–"
            for kind in kinds
        ]
        print(f"{name:26}" + "".join(f"{cell:>22}" for cell in cells))
    record = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {
            module.__name__: module.__version__
            for module in (torch, sklearn, imblearn, np)
        },
        "balanced_accuracy": scores,
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
