# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What a type checker must refuse: a comment that ignores nothing fails `make lint`."""

import numpy as np

from ldmlr_sklearn import (
    FeatureEncoder,
    HeadClassifier,
    LabelShiftClassifier,
    LatentDiffusionOversampler,
    LDMLRClassifier,
)
from ldmlr_sklearn.datasets import load_digits_lt, make_long_tailed
from ldmlr_sklearn.inspection import ClassCountsDisplay
from ldmlr_sklearn.metrics import shot_accuracy, shot_groups
from ldmlr_sklearn.sampling_strategies import TemperedStrategy


def parameters() -> None:
    LatentDiffusionOversampler(guidance_scale=[1])  # type: ignore[arg-type]
    LatentDiffusionOversampler(guidance_scale="high")  # type: ignore[arg-type]
    LatentDiffusionOversampler(sampling_strategy="majority")  # type: ignore[arg-type]
    LatentDiffusionOversampler(n_steps=10)  # type: ignore[call-arg]
    LatentDiffusionOversampler("auto")  # type: ignore[call-arg]
    FeatureEncoder(loss="focal")  # type: ignore[arg-type]
    FeatureEncoder(backbone=18)  # type: ignore[arg-type]
    HeadClassifier(max_epochs="auto")  # type: ignore[arg-type]
    LabelShiftClassifier()  # type: ignore[call-arg]
    LDMLRClassifier(sampler=None)  # type: ignore[call-arg]
    TemperedStrategy("half")  # type: ignore[arg-type]


def methods(X: np.ndarray, y: np.ndarray) -> None:
    sampler = LatentDiffusionOversampler()
    sampler.fit_resample(X)  # type: ignore[call-arg]
    sampler.fit_resample(X, y, [1.0])  # type: ignore[call-arg]
    sampler.sample(y, seed=0)  # type: ignore[call-arg]
    LDMLRClassifier().predict_proba()  # type: ignore[call-arg]
    HeadClassifier().fit(X, y, monitor=lambda: None)  # type: ignore[arg-type,misc]


def functions(X: np.ndarray, y: np.ndarray) -> None:
    load_digits_lt(imbalance_factor="50")  # type: ignore[arg-type]
    make_long_tailed(X, y)  # type: ignore[call-arg]
    shot_accuracy(y, y)  # type: ignore[call-arg]
    shot_groups(y, lots=100)  # type: ignore[call-arg]
    ClassCountsDisplay.from_labels(y)  # type: ignore[call-arg]
    ClassCountsDisplay.from_labels(y, y, ax="new")  # type: ignore[arg-type]
