# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Where products are taken in bfloat16, and that all else is float32."""

import numpy as np
import pytest
import torch

from ldmlr_sklearn import FeatureEncoder, HeadClassifier, LatentDiffusionOversampler
from ldmlr_sklearn._torch_utils import product_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, torch.float32),
        ({"avx512_f": True, "avx512_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_products_are_reduced_where_the_processor_has_them(monkeypatch, told, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    assert product_dtype(CPU) == expected
    assert product_dtype(torch.device("mps")) == torch.float32


IMAGES = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
Y = np.arange(12) % 3


def generated(**parameters):
    X = np.random.default_rng(0).normal(size=(12, 4))
    sampler = LatentDiffusionOversampler(random_state=0, **parameters)
    return sampler.fit_resample(X, np.repeat([0, 1], [9, 3]))[0]


def encoded():
    encoder = FeatureEncoder(
        "test_resnet",
        backbone_kwargs={"output_stride": 8},
        max_epochs=1,
        augmentation="autoaugment",
        random_state=0,
    )
    return encoder.fit(IMAGES, Y).transform(IMAGES)


def predicted(loss):
    head = HeadClassifier(loss, class_balanced=True, max_epochs=2, random_state=0)
    X = IMAGES.reshape(12, -1)[:, :20].astype(float)
    return head.fit(X, Y).decision_function(X)


@pytest.mark.parametrize(
    "made",
    [
        lambda: generated(max_steps=5),
        lambda: generated(max_steps=0),
        encoded,
        lambda: predicted("cross_entropy"),
        lambda: predicted("wcdas"),
    ],
    ids=["rows", "gaussian rows", "features", "linear head", "angular head"],
)
def test_nothing_depends_on_the_default_dtype(made):
    expected = made()
    torch.set_default_dtype(torch.float64)
    try:
        np.testing.assert_array_equal(made(), expected)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("prediction_type", ["v_prediction", "epsilon", "sample"])
def test_rows_are_alike_in_both_dtypes(monkeypatch, prediction_type):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [300, 60])
    X = rng.normal(size=(360, 3)) + 3 * y[:, None]
    drawn = []
    for name in ("avx512_bf16", "none"):
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda name=name: {name: True}, raising=False
        )
        sampler = LatentDiffusionOversampler(
            prediction_type=prediction_type, guidance_scale=1.0, random_state=0
        )
        drawn.append(sampler.fit(X, y).sample(np.ones(2000, int), random_state=0))
    reduced, full = drawn
    np.testing.assert_allclose(reduced.mean(axis=0), full.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(reduced.std(axis=0), full.std(axis=0), atol=0.1)
    assert not np.array_equal(reduced, full)  # or the two are one
