# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""AutoAugment and Cutout on batches, against torchvision one image at a time."""

import pytest
import torch
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, InterpolationMode
from torchvision.transforms.autoaugment import _apply_op

from ldmlr_sklearn._encoder import _autoaugment
from ldmlr_sklearn._encoder._autoaugment import (
    CIFAR_POLICY,
    apply_operation,
    auto_augment,
    cutout,
)

IMAGES = torch.randint(
    256, (6, 3, 32, 32), generator=torch.Generator().manual_seed(0)
).byte()
REFERENCE = AutoAugment(AutoAugmentPolicy.CIFAR10)
NAMES = {
    "Color": "color",
    "Posterize": "posterize",
    "ShearY": "shear_y",
    "TranslateX": "translate_x",
    "TranslateY": "translate_y",
}


def test_policy_is_that_of_torchvision():
    for ours, theirs in zip(CIFAR_POLICY, REFERENCE.policies, strict=True):
        for (name, probability, strength), (other, p, level) in zip(
            ours, theirs, strict=True
        ):
            assert name == NAMES.get(other, other.lower())
            assert probability == p
            assert level in (None, strength)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("name", "level"),
    sorted({(name, level) for pair in REFERENCE.policies for name, _, level in pair},
           key=str),
)  # fmt: skip
def test_operations_are_those_of_torchvision(name, level, sign):
    magnitudes, signed = REFERENCE._augmentation_space(10, (32, 32))[name]
    magnitude = 0.0 if level is None else float(magnitudes[level])
    if signed:
        magnitude *= sign
    nearest = InterpolationMode.NEAREST
    expected = torch.stack(
        [_apply_op(image, name, magnitude, nearest, None) for image in IMAGES]
    )
    found = apply_operation(IMAGES, NAMES.get(name, name.lower()), level or 0, sign)
    assert found.dtype == torch.uint8
    off = (found.int() - expected.int()).abs()
    # Both versions of torchvision's functions round, now and then differently.
    assert off.max() <= 1


def test_every_image_draws_a_policy_of_its_own(monkeypatch):
    applied, signs = [], {-1: 0, 1: 0}

    def note(images, name, strength, sign):
        applied.extend([(name, strength)] * len(images))
        signs[sign] += len(images)
        return images

    monkeypatch.setattr(_autoaugment, "apply_operation", note)
    images = torch.zeros(20_000, 1, 1, 1, dtype=torch.uint8)
    auto_augment(images, torch.Generator().manual_seed(0))
    expected = {}
    for pair in CIFAR_POLICY:
        for name, probability, strength in pair:
            share = expected.get((name, strength), 0) + probability / 25
            expected[name, strength] = share
    for operation, share in expected.items():
        assert applied.count(operation) / 20_000 == pytest.approx(share, abs=0.01)
    assert signs[1] / len(applied) == pytest.approx(0.5, abs=0.02)


def test_images_change_alone_and_the_input_not_at_all():
    before = IMAGES.clone()
    many = IMAGES.repeat(20, 1, 1, 1)
    changed = auto_augment(many, torch.Generator().manual_seed(0))
    assert torch.equal(IMAGES, before)
    assert len({image.numpy().tobytes() for image in changed}) > 60
    again = auto_augment(many, torch.Generator().manual_seed(0))
    assert torch.equal(changed, again)
    gray = auto_augment(many[:, :1], torch.Generator().manual_seed(0))
    assert gray.shape == (120, 1, 32, 32)


def test_cutout_blackens_a_square_anywhere():
    images = torch.ones(2000, 3, 16, 16)
    cut = cutout(images, torch.Generator().manual_seed(0))
    holes = cut[:, 0] == 0
    assert torch.equal(cut[:, 0], cut[:, 2])
    heights, widths = holes.any(2).sum(1), holes.any(1).sum(1)
    assert torch.equal(holes.sum((1, 2)), heights * widths)
    assert set(heights.tolist()) == set(widths.tolist()) == {4, 5, 6, 7, 8}
    assert holes.float().mean(0).min() > 0.05
