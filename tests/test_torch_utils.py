# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Where products are taken in bfloat16."""

import numpy as np
import pytest
import torch

from ldmlr_sklearn import LatentDiffusionOversampler
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
