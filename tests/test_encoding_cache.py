# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Features and trainings are kept: how often networks run, and what they return."""

import joblib
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn

from ldmlr_sklearn import FeatureEncoder
from ldmlr_sklearn._encoder import _feature_cache

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, size=(60, 8, 8, 3), dtype=np.uint8)
Y = np.arange(60) % 3


class CountingNet(nn.Module):
    """Counts the images it has seen in all its copies."""

    n_encoded = n_trained = 0

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)

    def forward(self, x):
        kind = "n_trained" if self.training else "n_encoded"
        setattr(CountingNet, kind, getattr(CountingNet, kind) + len(x))
        return torch.relu(self.conv(x))


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(CountingNet, "n_encoded", 0)
    monkeypatch.setattr(CountingNet, "n_trained", 0)
    return CountingNet


def encoder(memory=None, **parameters):
    parameters = {"random_state": 0, "batch_size": 16, "device": "cpu", **parameters}
    return FeatureEncoder(CountingNet, memory=memory, **parameters)


N_PROBED = 2 + 2  # in fit, to learn the width; in transform, to tell networks apart


def files_of(folder):
    return sorted(folder.rglob("encoded_images/*/*.safetensors"))


def test_same_bits_with_and_without(tmp_path, counted):
    expected = encoder().fit_transform(IMAGES)
    first = encoder(tmp_path).fit(IMAGES)
    counted.n_encoded = 0
    np.testing.assert_array_equal(first.transform(IMAGES), expected)
    assert counted.n_encoded == 60 + 2
    np.testing.assert_array_equal(first.transform(IMAGES), expected)
    assert counted.n_encoded == 60 + 2 + 2
    again = encoder(joblib.Memory(tmp_path)).fit(IMAGES)
    np.testing.assert_array_equal(again.transform(IMAGES[::-1]), expected[::-1])
    assert counted.n_encoded == 60 + 2 + 2 + N_PROBED


def test_search_encodes_images_once_in_all(tmp_path, counted):
    pipeline = make_pipeline(encoder(), LogisticRegression())
    grid = {"logisticregression__C": [0.1, 1.0]}
    plain = GridSearchCV(pipeline, grid, cv=3).fit(IMAGES, Y)
    n_plain, counted.n_encoded = counted.n_encoded, 0
    pipeline.set_params(featureencoder__memory=tmp_path)
    kept = GridSearchCV(pipeline, grid, cv=3).fit(IMAGES, Y)
    # Each of six fits is followed by two transforms, and there is one refit.
    assert counted.n_encoded == 60 + 7 * 2 + 13 * 2
    assert n_plain == 7 * 2 + 7 * 60
    np.testing.assert_array_equal(
        kept.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"]
    )


def test_folds_of_standardised_images_share_features(tmp_path, counted):
    images = (IMAGES - 128.0) / 64.0
    images[0] *= 2  # in one fold alone
    for fold in (images[:40], images[20:]):
        encoder(tmp_path).fit(fold).transform(images)
    assert counted.n_encoded == 60 + 2 * N_PROBED


def test_search_trains_once_per_fold(tmp_path, counted):
    pipeline = make_pipeline(encoder(max_epochs=2), LogisticRegression())
    grid = {"logisticregression__C": [0.1, 1.0, 10.0]}
    plain = GridSearchCV(pipeline, grid, cv=2, refit=False).fit(IMAGES, Y)
    assert counted.n_trained == 3 * 2 * 2 * 30
    counted.n_trained = 0
    pipeline.set_params(featureencoder__memory=str(tmp_path))
    kept = GridSearchCV(pipeline, grid, cv=2, refit=False).fit(IMAGES, Y)
    assert counted.n_trained == 2 * 2 * 30
    np.testing.assert_array_equal(
        kept.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"]
    )


def test_kept_training_is_the_training(tmp_path, counted):
    fits = [encoder(memory, max_epochs=2) for memory in (None, tmp_path, tmp_path)]
    plain, first, second = (fit.fit(IMAGES, Y) for fit in fits)
    assert counted.n_trained == 2 * 2 * 60
    for kept in (first, second):
        np.testing.assert_array_equal(kept.head_weight_, plain.head_weight_)
        np.testing.assert_array_equal(kept.loss_curve_, plain.loss_curve_)
        np.testing.assert_array_equal(kept.transform(IMAGES), plain.transform(IMAGES))


@pytest.mark.parametrize(
    "change",
    [
        lambda fit: fit.set_params(random_state=1),
        lambda fit: fit.set_params(max_epochs=2),
        lambda fit: fit.set_params(learning_rate=0.2),
        lambda fit: fit.set_params(mixup_alpha=0.5),
        lambda fit: fit.set_params(random_state=None),
    ],
)
def test_other_trainings_are_trained(tmp_path, counted, change):
    encoder(tmp_path, max_epochs=1).fit(IMAGES, Y)
    counted.n_trained = 0
    change(encoder(tmp_path, max_epochs=1)).fit(IMAGES, Y)
    assert counted.n_trained > 0


def test_other_data_are_trained(tmp_path, counted):
    encoder(tmp_path, max_epochs=1).fit(IMAGES, Y)
    for X, y, weight in [
        (IMAGES[::-1], Y, None),
        (IMAGES, Y[::-1], None),
        (IMAGES, Y, 1.0 + Y),
    ]:
        counted.n_trained = 0
        encoder(tmp_path, max_epochs=1).fit(X, y, sample_weight=weight)
        assert counted.n_trained == 60


def test_another_encoder_finds_nothing(tmp_path, counted):
    encoder(tmp_path).fit_transform(IMAGES)
    for other in (
        encoder(tmp_path, random_state=1),
        encoder(tmp_path, image_size=6),
        encoder(tmp_path, precision="bfloat16"),
    ):
        counted.n_encoded = 0
        expected = clone(other).set_params(memory=None).fit_transform(IMAGES)
        np.testing.assert_array_equal(other.fit_transform(IMAGES), expected)
        assert counted.n_encoded == 2 * 60 + 2 + N_PROBED


def test_mirrored_images_are_encoded_anew_but_not_trained_on_anew(tmp_path, counted):
    plain = encoder(tmp_path, max_epochs=1).fit(IMAGES, Y).transform(IMAGES)
    counted.n_trained = 0
    mirrored = encoder(tmp_path, max_epochs=1, mirror=True).fit(IMAGES, Y)
    assert counted.n_trained == 0
    counted.n_encoded = 0
    features = mirrored.transform(IMAGES)
    assert not np.allclose(features, plain)
    assert counted.n_encoded == 2 * 60 + 2
    np.testing.assert_array_equal(mirrored.transform(IMAGES), features)
    assert counted.n_encoded == 2 * 60 + 2 + 2


def test_weights_changed_after_fit_are_noticed(tmp_path):
    fitted = encoder(tmp_path).fit(IMAGES)
    before = fitted.transform(IMAGES)
    fitted.backbone_.conv.bias.data += 1
    assert not np.allclose(fitted.transform(IMAGES), before)


def test_code_changed_behind_the_same_weights_is_noticed(tmp_path, monkeypatch):
    before = encoder(tmp_path).fit_transform(IMAGES)
    monkeypatch.setattr(CountingNet, "forward", lambda self, x: self.conv(x).sigmoid())
    assert not np.allclose(encoder(tmp_path).fit_transform(IMAGES), before)


class Columns(nn.Module):
    """Means of rows of pixels, in an order that its weights do not tell."""

    order = slice(None)

    def forward(self, x):
        return x.mean(dim=(1, 3))[:, self.order]


@pytest.mark.parametrize("order", [[1, 0, *range(2, 8)], [0]])
def test_columns_in_another_order_are_noticed(tmp_path, monkeypatch, order):
    first = FeatureEncoder(Columns, memory=tmp_path).fit_transform(IMAGES)
    monkeypatch.setattr(Columns, "order", order)
    second = FeatureEncoder(Columns, memory=tmp_path).fit_transform(IMAGES)
    np.testing.assert_array_equal(second, first[:, order])


def test_files_are_told_apart_by_content(tmp_path, counted):
    paths = [tmp_path / f"{row}.png" for row in range(20)]
    for path, image in zip(paths, IMAGES, strict=False):
        Image.fromarray(image).save(path)
    fitted = encoder(tmp_path / "kept", image_size=8).fit(paths)
    expected = fitted.transform(IMAGES[:20])  # the same pixels in an array
    counted.n_encoded = 0
    np.testing.assert_allclose(fitted.transform(paths), expected, atol=1e-6)
    paths[0].rename(tmp_path / "renamed.png")
    fitted.transform([tmp_path / "renamed.png", *paths[1:]])
    assert counted.n_encoded == 20 + 2 + 2
    Image.fromarray(IMAGES[30]).save(paths[3])
    changed = fitted.transform([paths[3]])
    np.testing.assert_allclose(changed, fitted.transform(IMAGES[30:31]), atol=1e-6)
    with pytest.raises(FileNotFoundError, match=r"0\.png' \(row 0 of X\) does not"):
        fitted.transform(paths)


def test_files_and_pictures_in_one_list(tmp_path):
    path = tmp_path / "0.png"
    Image.fromarray(IMAGES[0]).save(path)
    mixed = [path, Image.fromarray(IMAGES[1])]
    fitted = encoder(tmp_path / "kept", image_size=8).fit(mixed)
    expected = fitted.transform(IMAGES[:2])
    for X, order in ((mixed, [0, 1]), (mixed[::-1], [1, 0])):
        np.testing.assert_allclose(fitted.transform(X), expected[order], atol=1e-6)


class Noisy(torch.utils.data.Dataset):
    """Never returns the same image twice."""

    def __len__(self):
        return 20

    def __getitem__(self, row):
        return torch.tensor(RNG.random((3, 8, 8), dtype=np.float32))


def test_images_that_change_are_never_taken_for_others(tmp_path, counted):
    fitted = encoder(tmp_path).fit(Noisy())
    assert not np.allclose(fitted.transform(Noisy()), fitted.transform(Noisy()))
    X = RNG.random((20, 8, 8, 3), dtype=np.float32)
    expected = encoder().fit(Noisy()).transform(X)
    np.testing.assert_array_equal(fitted.transform(X), expected)


@pytest.mark.parametrize("size", [0, 100])
def test_damaged_files_are_made_again(tmp_path, counted, size):
    fitted = encoder(tmp_path).fit(IMAGES)
    expected = fitted.transform(IMAGES)
    (path,) = files_of(tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    for _ in range(2):  # the second time its digests are known, its features not
        counted.n_encoded = 0
        np.testing.assert_array_equal(fitted.transform(IMAGES), expected)
        assert counted.n_encoded == 60 + 2
        (path,) = files_of(tmp_path)
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)


def test_damaged_training_is_made_again(tmp_path):
    expected = encoder(tmp_path, max_epochs=1).fit(IMAGES, Y).head_weight_
    (path,) = tmp_path.rglob("trained_encoder/*.safetensors")
    path.write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="removed and computed anew"):
        again = encoder(tmp_path, max_epochs=1).fit(IMAGES, Y)
    np.testing.assert_array_equal(again.head_weight_, expected)


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path):
    blocked = tmp_path / "ldmlr_sklearn"
    blocked.write_text("a file where the folder should be")
    fitted = encoder(tmp_path).fit(IMAGES)
    with pytest.warns(UserWarning, match="Features could not be cached"):
        features = fitted.transform(IMAGES)
    np.testing.assert_array_equal(features, encoder().fit_transform(IMAGES))
    with pytest.warns(UserWarning, match="A result could not be cached"):
        trained = encoder(tmp_path, max_epochs=1).fit(IMAGES, Y)
    expected = encoder(max_epochs=1).fit(IMAGES, Y)
    np.testing.assert_array_equal(trained.head_weight_, expected.head_weight_)


def test_few_large_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(_feature_cache, "SHARD_ROWS", 20)
    monkeypatch.setattr(_feature_cache, "MAX_SMALL_SHARDS", 4)
    fitted = encoder(tmp_path).fit(IMAGES)
    expected = encoder().fit(IMAGES).transform(IMAGES)
    for row in range(30):
        image = fitted.transform(IMAGES[row : row + 1])
        np.testing.assert_allclose(image[0], expected[row], atol=1e-5)
    assert len(files_of(tmp_path)) <= 6
    np.testing.assert_allclose(fitted.transform(IMAGES), expected, atol=1e-5)
    assert not list(tmp_path.rglob(".*")), "no unfinished files"


def test_interrupted_encoding_keeps_what_it_has(tmp_path, counted, monkeypatch):
    fitted = encoder(tmp_path).fit(IMAGES)
    forward = CountingNet.forward

    def press_ctrl_c(self, x):
        if counted.n_encoded > 40:
            raise KeyboardInterrupt
        return forward(self, x)

    counted.n_encoded = 0
    monkeypatch.setattr(CountingNet, "forward", press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        fitted.transform(IMAGES)
    monkeypatch.setattr(CountingNet, "forward", forward)
    counted.n_encoded = 0
    fitted.transform(IMAGES)
    assert counted.n_encoded == 60 - 48 + 2


def test_memory_without_a_place_keeps_nothing(counted):
    fitted = encoder(joblib.Memory(None)).fit(IMAGES)
    counted.n_encoded = 0
    fitted.transform(IMAGES)
    fitted.transform(IMAGES)
    assert counted.n_encoded == 120
