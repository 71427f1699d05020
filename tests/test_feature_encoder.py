# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""FeatureEncoder: images to features, frozen and trained."""

import functools
import pickle
import random
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import timm
import torch
from imblearn.pipeline import make_pipeline as make_imblearn_pipeline
from PIL import Image
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from ldmlr_sklearn._encoder._augmentation import Augmenter
from ldmlr_sklearn._encoder._batches import count_batches
from ldmlr_sklearn._feature_encoder import FeatureEncoder
from ldmlr_sklearn._images import decide_pixel_format, open_images

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, size=(12, 16, 16, 3), dtype=np.uint8)
LABELS = np.array(["cat", "dog", "owl"])[np.arange(12) % 3]


class TinyNet(nn.Module):
    """Two layers with BatchNorm, for images of any size; returns maps."""

    def __init__(self, in_chans=3, width=8, dropout=0.0):
        super().__init__()
        self.conv = nn.Conv2d(in_chans, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):  # (n, in_chans, h, w) -> (n, width, h, w)
        return self.dropout(torch.relu(self.bn(self.conv(x))))


gray_net = functools.partial(TinyNet, in_chans=1)
flat_net = nn.Flatten
token_net = functools.partial(nn.Flatten, 2)  # (n, c, h, w) -> (n, c, h * w)


def tiny_encoder(**parameters):
    return FeatureEncoder(TinyNet, random_state=0, device="cpu").set_params(
        **parameters
    )


def small_resnet(**parameters):
    return FeatureEncoder(
        "test_resnet",
        backbone_kwargs={"output_stride": 8},
        random_state=0,
        device="cpu",
    ).set_params(**parameters)


# Frozen and trained, in the 2-D form: rows of any length are images of height 1.
CHECKED = [
    tiny_encoder(backbone=gray_net, image_shape=(1, -1), max_epochs=max_epochs)
    for max_epochs in (0, 2)
]


EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a row repeated comes at another place of the order than a row of weight two"
    )
}


@parametrize_with_checks(
    CHECKED,
    expected_failed_checks=lambda encoder: (
        EXPECTED_FAILURES if encoder.max_epochs else {}
    ),
    xfail_strict=True,
)
def test_scikit_learn_checks(estimator, check):
    assert estimator.__sklearn_tags__().input_tags.two_d_array
    check(estimator)


def test_tags_say_what_is_taken():
    tags = FeatureEncoder().__sklearn_tags__()
    assert tags.input_tags.three_d_array
    assert not tags.input_tags.two_d_array
    assert not tags.target_tags.required
    assert FeatureEncoder(max_epochs=1).__sklearn_tags__().target_tags.required


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backbone", 3),
        ("weights", 3),
        ("pretrained", "yes"),
        ("backbone_kwargs", [1]),
        ("image_shape", 8),
        ("image_size", 0),
        ("max_epochs", -1),
        ("max_epochs", 1.5),
        ("learning_rate", 0),
        ("schedule", "linear"),
        ("weight_decay", -1),
        ("augmentation", "rotate"),
        ("mixup_alpha", -0.1),
        ("batch_size", 0),
        ("mirror", "yes"),
        ("precision", "float8"),
        ("device", 0),
        ("random_state", "seed"),
        ("verbose", -1),
    ],
)
def test_parameters_are_validated(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of FeatureEncoder"):
        tiny_encoder(**{name: value}).fit(RGB)


def test_features_are_those_of_timm():
    encoder = small_resnet().fit(RGB)
    network = timm.create_model("test_resnet", output_stride=8).eval()
    network.load_state_dict(encoder.backbone_.state_dict(), strict=False)
    data = timm.data.resolve_model_data_config(network)
    transform = timm.data.create_transform(**data | {"input_size": (3, 16, 16)})
    normalise = transform.transforms[-1]
    images = torch.tensor(RGB).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        maps = network.forward_features(normalise(images))
        expected = network.forward_head(maps, pre_logits=True)
    features = encoder.transform(RGB)
    assert features.dtype == np.float32
    assert encoder.n_features_out_ == expected.shape[1] == 96
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)


def test_fitted_attributes():
    encoder = small_resnet().fit(RGB)
    assert encoder.input_shape_ == (16, 16, 3)
    assert encoder.pixel_scale_ == 255.0
    assert encoder.device_ == "cpu"
    assert not encoder.backbone_.training
    assert encoder.get_feature_names_out()[[0, -1]].tolist() == [
        "featureencoder0",
        "featureencoder95",
    ]
    absent = ["n_features_in_", "classes_", "head_weight_", "loss_curve_"]
    assert not [name for name in absent if hasattr(encoder, name)]


def test_kinds_of_images_agree(tmp_path):
    paths = [tmp_path / f"{row}.png" for row in range(len(RGB))]
    for path, image in zip(paths, RGB, strict=True):
        Image.fromarray(image).save(path)
    encoder = tiny_encoder(image_size=16).fit(RGB)
    expected = encoder.transform(RGB)
    assert expected.shape == (12, 8)
    tensors = torch.tensor(RGB).permute(0, 3, 1, 2)
    kinds = [
        tensors,
        TensorDataset(tensors, torch.arange(12)),
        [Image.fromarray(image) for image in RGB],
        paths,
        pd.Series(paths),
        RGB.astype(np.int64),
    ]
    for images in kinds:
        np.testing.assert_allclose(encoder.transform(images), expected, atol=1e-6)
        again = clone(encoder).fit_transform(images)
        np.testing.assert_allclose(again, expected, atol=1e-6)
    rows = tiny_encoder(image_shape=(16, 16, 3)).fit_transform(RGB.reshape(12, -1))
    np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_scale_is_decided_in_fit():
    images = load_digits().images[:20]
    encoder = tiny_encoder().fit(images)
    assert encoder.pixel_scale_ == 16.0
    darker = images[images.max(axis=(1, 2)) < 16]
    expected = tiny_encoder().fit(images / 16).transform(darker / 16)
    np.testing.assert_allclose(encoder.transform(darker), expected, atol=1e-6)


def test_gray_images_are_repeated_for_colour_backbones():
    gray = RGB[..., 0]
    expected = small_resnet().fit_transform(np.repeat(gray[..., None], 3, axis=-1))
    np.testing.assert_allclose(
        small_resnet().fit_transform(gray), expected, rtol=1e-4, atol=1e-5
    )


def test_files_get_the_size_of_the_backbone():
    pictures = [Image.fromarray(RGB[0]), Image.fromarray(RGB[1, :8])]
    encoder = small_resnet().fit(pictures)
    assert encoder.input_shape_ == (160, 160, 3)
    assert small_resnet(image_size=(8, 12)).fit(pictures).input_shape_ == (8, 12, 3)
    vit = {"backbone": "test_vit", "backbone_kwargs": {"img_size": 32, "patch_size": 4}}
    encoder = small_resnet(**vit).fit(pictures)
    assert encoder.input_shape_ == (32, 32, 3)
    assert encoder.transform(pictures).shape == (2, 64)
    with pytest.raises(
        ValueError, match=r"does not say for which size.*Set image_size"
    ):
        tiny_encoder().fit(pictures)


def test_arrays_are_resized_on_request():
    encoder = tiny_encoder(image_size=(8, 4)).fit(RGB)
    assert encoder.input_shape_ == (16, 16, 3)
    assert encoder._pixels.size == (8, 4)
    assert encoder.transform(RGB).shape == (12, 8)


def test_modules_and_callables():
    module = TinyNet().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    encoder = tiny_encoder(backbone=module, max_epochs=1).fit(RGB, LABELS)
    assert encoder.backbone_ is not module
    assert module.training
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    flat = tiny_encoder(backbone=lambda: nn.Sequential(TinyNet(), nn.Flatten()))
    assert flat.fit_transform(RGB).shape == (12, 8 * 16 * 16)
    wide = tiny_encoder(backbone_kwargs={"width": 5}).fit(RGB)
    assert wide.n_features_out_ == 5
    lazy = tiny_encoder(backbone=functools.partial(nn.LazyConv2d, 4, 3)).fit(RGB)
    assert lazy.n_features_out_ == 4


def test_timm_instance_stops_before_its_head():
    network = timm.create_model("test_resnet", num_classes=7, output_stride=8)
    assert tiny_encoder(backbone=network).fit_transform(RGB).shape == (12, 96)


def test_batches_do_not_matter():
    encoder = small_resnet().fit(RGB)
    features = encoder.transform(RGB[:5])
    for batch_size in (1, 3):
        batched = encoder.set_params(batch_size=batch_size).transform(RGB[:5])
        np.testing.assert_allclose(batched, features, rtol=1e-5, atol=1e-6)


def test_images_are_read_batch_by_batch(monkeypatch):
    encoder = tiny_encoder(batch_size=5).fit(RGB)
    sizes = []
    source = open_images(RGB)
    read = type(source).read

    def spy(self, rows, shape=None):
        raw = read(self, rows, shape)
        sizes.append(len(raw))
        return raw

    monkeypatch.setattr(type(source), "read", spy)
    encoder.transform(RGB)
    assert sizes == [5, 5, 2]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision(precision):
    expected = tiny_encoder().fit_transform(RGB)
    features = tiny_encoder(precision=precision).fit_transform(RGB)
    assert features.dtype == np.float32
    assert not np.array_equal(features, expected)
    np.testing.assert_allclose(features, expected, atol=0.02)
    trained = tiny_encoder(precision=precision, max_epochs=2).fit(RGB, LABELS)
    assert np.isfinite(trained.loss_curve_).all()


def test_mirrored_images_have_the_same_features():
    images = RGB.astype(np.float32)
    plain = tiny_encoder().fit(images)
    expected = (plain.transform(images) + plain.transform(images[:, :, ::-1])) / 2
    encoder = tiny_encoder(mirror=True).fit(images)
    features = encoder.transform(images)
    np.testing.assert_allclose(features, expected, atol=1e-6)
    turned = encoder.transform(images[:, :, ::-1])
    np.testing.assert_allclose(turned, features, atol=1e-6)
    assert not np.allclose(features, plain.transform(images))
    lower = tiny_encoder(mirror=True, precision="bfloat16").fit_transform(images)
    np.testing.assert_allclose(lower, expected, atol=0.02)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output(library):
    frame = tiny_encoder().set_output(transform=library).fit_transform(list(RGB))
    assert type(frame).__module__.startswith(library)
    assert list(frame.columns) == [f"featureencoder{i}" for i in range(8)]
    assert frame.shape == (12, 8)


def test_dataframes_of_pixels():
    names = [f"pixel{i}" for i in range(64)]
    frame = pd.DataFrame(load_digits().data[:9], columns=names, index=range(5, 14))
    encoder = tiny_encoder(image_shape=(8, 8)).set_output(transform="pandas").fit(frame)
    assert encoder.feature_names_in_.tolist() == names
    assert encoder.transform(frame).index.equals(frame.index)
    with pytest.raises(ValueError, match="feature names"):
        encoder.transform(frame[names[::-1]])


def test_progress_is_shown_when_asked_for(capsys):
    tiny_encoder(verbose=1, max_epochs=1).fit_transform(RGB, LABELS)
    shown = capsys.readouterr().err
    assert "Training: 100%" in shown
    assert "Encoding: 100%" in shown
    tiny_encoder(max_epochs=1).fit_transform(RGB, LABELS)
    assert not capsys.readouterr().err


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(n_class=3, return_X_y=True)
    return X.reshape(-1, 8, 8)[:200], y[:200]


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"schedule": "step", "augmentation": None},
        {"mixup_alpha": 0.5, "augmentation": "flip", "weight_decay": 0.0},
    ],
)
def test_training_learns(digits, parameters):
    X, y = digits
    parameters = {"augmentation": "crop", **parameters}
    encoder = tiny_encoder(backbone_kwargs={"width": 32}, batch_size=32, max_epochs=10)
    encoder.set_params(**parameters)
    features = encoder.fit_transform(X, y)
    assert len(encoder.loss_curve_) == 10
    assert encoder.loss_curve_[-1] < 0.75 * encoder.loss_curve_[0]
    assert encoder.head_weight_.shape == (3, 32)
    assert encoder.head_bias_.shape == (3,)
    logits = features @ encoder.head_weight_.T + encoder.head_bias_
    assert np.mean(encoder.classes_[logits.argmax(axis=1)] == y) > 0.8


def test_head_keeps_the_labels():
    encoder = tiny_encoder(max_epochs=1).fit(RGB, LABELS)
    assert encoder.classes_.tolist() == ["cat", "dog", "owl"]
    assert encoder.head_weight_.dtype == np.float32


def test_training_on_datasets_and_pictures():
    dataset = TensorDataset(torch.tensor(RGB).permute(0, 3, 1, 2))
    pictures = [Image.fromarray(image) for image in RGB]
    parameters = {"max_epochs": 2, "batch_size": 5, "image_size": 16}
    expected = tiny_encoder(**parameters).fit(RGB, LABELS).loss_curve_
    for images in (dataset, pictures):
        encoder = tiny_encoder(**parameters).fit(images, LABELS)
        np.testing.assert_allclose(encoder.loss_curve_, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("n_rows", "batch_size"), [(30, 29), (30, 7), (31, 30), (3, 2), (2, 1), (5, 1)]
)
def test_batches_are_never_of_one_row(n_rows, batch_size):
    n_batches = count_batches(n_rows, batch_size)
    sizes = [len(rows) for rows in torch.arange(n_rows).tensor_split(n_batches)]
    assert min(sizes) >= 2
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= max(batch_size, 3)


def test_training_with_batches_of_one_row(digits):
    X, y = digits
    encoder = tiny_encoder(max_epochs=1, batch_size=29)
    assert np.isfinite(encoder.fit(X[:30], y[:30]).loss_curve_).all()
    assert np.isfinite(
        encoder.set_params(batch_size=1).fit(X[:5], y[:5]).loss_curve_
    ).all()


def augmenter_for(images, *, augmentation, mixup_alpha=0.0):
    source = open_images(images)
    pixels = decide_pixel_format(
        source,
        size=None,
        n_channels=None,
        mean=None,
        std=None,
    )
    augmenter = Augmenter(pixels, 0, augmentation=augmentation, mixup_alpha=mixup_alpha)
    return augmenter, source.read(slice(None))


def test_every_augmented_image_is_a_shifted_or_mirrored_one():
    images = RNG.random((40, 8, 16, 3))
    augment, raw = augmenter_for(images, augmentation="crop_flip")
    changed, mixture = augment(raw, torch.arange(40))
    assert [weight for _, weight in mixture] == [1.0]
    padded = np.pad(images, ((0, 0), (1, 1), (2, 2), (0, 0)))
    found = set()
    for row in range(40):
        image = changed[row].permute(1, 2, 0).numpy()
        for flip in (1, -1):
            for top in range(3):
                for left in range(5):
                    candidate = padded[row, top : top + 8, left : left + 16][:, ::flip]
                    if np.allclose(candidate, image, atol=1e-6):
                        found.add((row, flip, top, left))
    assert [row for row, *_ in sorted(found)] == list(range(40))
    assert {flip for _, flip, *_ in found} == {1, -1}
    assert {top for *_, top, _ in found} == {0, 1, 2}
    assert {left for *_, left in found} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("augmentation", ["flip", "crop", None])
def test_augmentations_by_name(augmentation):
    images = RNG.random((40, 8, 8))
    augment, raw = augmenter_for(images, augmentation=augmentation)
    changed, _ = augment(raw, torch.arange(40))
    same = np.isclose(changed[:, 0], images, atol=1e-6).all(axis=(1, 2))
    mirrored = np.isclose(changed[:, 0], images[:, :, ::-1], atol=1e-6).all(axis=(1, 2))
    if augmentation is None:
        assert same.all()
    elif augmentation == "flip":
        assert (same ^ mirrored).all()
        assert 0 < same.sum() < 40
    else:
        assert not mirrored.any()
        assert not same.all()


def test_mixup_mixes_images_and_targets_alike():
    images = np.eye(6).reshape(6, 2, 3)  # a pixel of its own for every image
    augment, raw = augmenter_for(images, augmentation=None, mixup_alpha=0.5)
    changed, mixture = augment(raw, torch.arange(6))
    (targets, weight), (partners, other_weight) = mixture
    assert weight + other_weight == pytest.approx(1)
    assert 0 < weight < 1
    expected = weight * np.eye(6)[targets] + other_weight * np.eye(6)[partners]
    np.testing.assert_allclose(changed.reshape(6, 6), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("step", [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]),
        ("cosine", [0.5 * (1 + np.cos(np.pi * step / 8)) for step in range(8)]),
    ],
)
def test_schedule(monkeypatch, schedule, expected):
    rates = []
    step = torch.optim.SGD.step

    def spy(self, *args, **keywords):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **keywords)

    monkeypatch.setattr(torch.optim.SGD, "step", spy)
    parameters = {"max_epochs": 4, "batch_size": 6, "learning_rate": 0.2}
    tiny_encoder(schedule=schedule, **parameters).fit(RGB, LABELS)
    np.testing.assert_allclose(rates, 0.2 * np.array(expected))


def global_states():
    return (
        torch.get_rng_state().numpy().tobytes(),
        np.random.get_state()[1].tobytes(),  # noqa: NPY002
        random.getstate(),
    )


@pytest.mark.parametrize("seed", [0, np.random.RandomState(0)])
def test_global_generators_are_left_alone(seed):
    before = global_states()
    encoder = small_resnet(random_state=seed)
    encoder.fit_transform(RGB)
    encoder.set_params(
        backbone=TinyNet, backbone_kwargs={"dropout": 0.5}, max_epochs=2, mixup_alpha=1
    )
    encoder.fit_transform(RGB, LABELS)
    assert global_states() == before


def test_same_seed_same_features():
    parameters = {
        "backbone_kwargs": {"dropout": 0.5},
        "max_epochs": 2,
        "mixup_alpha": 1.0,
    }
    first = tiny_encoder(**parameters).fit_transform(RGB, LABELS)
    torch.rand(3)  # a global generator that has moved on changes nothing
    second = tiny_encoder(**parameters).fit_transform(RGB, LABELS)
    np.testing.assert_allclose(second, first, rtol=2e-7, atol=2e-7)
    other = tiny_encoder(**parameters, random_state=1).fit_transform(RGB, LABELS)
    assert not np.allclose(other, first)


def test_same_seed_same_backbone():
    states = [small_resnet().fit(RGB).backbone_.state_dict() for _ in range(2)]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name])


@pytest.mark.parametrize("max_epochs", [0, 1])
def test_pickle_and_joblib(max_epochs, tmp_path):
    encoder = tiny_encoder(max_epochs=max_epochs).fit(RGB, LABELS)
    expected = encoder.transform(RGB)
    joblib.dump(encoder, tmp_path / "encoder.joblib")
    copies = [
        pickle.loads(pickle.dumps(encoder)),
        joblib.load(tmp_path / "encoder.joblib"),
        joblib.load(tmp_path / "encoder.joblib", mmap_mode="r"),
    ]
    for copied in copies:
        np.testing.assert_array_equal(copied.transform(RGB), expected)
    np.testing.assert_array_equal(
        clone(encoder).fit(RGB, LABELS).transform(RGB), expected
    )


def test_another_range_than_in_fit_is_refused():
    encoder = tiny_encoder().fit(RGB / 255.0)
    for X in (RGB * 1.0, RGB.astype(int), torch.tensor(RGB).float(), RGB / 255 - 0.5):
        with pytest.raises(ValueError, match=r"but .* on images of 0\.\.1\. Pass"):
            encoder.transform(X)
    for X in (RGB, RGB / 200.0, RGB / 255.0 - 0.2):
        assert np.isfinite(encoder.transform(X)).all()
    encoder.fit(RGB)
    with pytest.raises(ValueError, match=r"of 0 to 6\d+, but .* 8-bit ones"):
        encoder.transform(RGB.astype(np.uint16) * 257)
    np.testing.assert_array_equal(
        encoder.transform(RGB.astype(np.uint16)), encoder.transform(RGB)
    )
    standardised = (RGB - RGB.mean()) / RGB.std()
    assert np.isfinite(
        tiny_encoder().fit(standardised).transform(9 * standardised)
    ).all()


def test_pickle_in_a_fresh_process(tmp_path):
    encoder = tiny_encoder(backbone="cifar_resnet32").fit(RGB)
    (tmp_path / "encoder.pkl").write_bytes(pickle.dumps(encoder))
    np.save(tmp_path / "images.npy", RGB)
    np.save(tmp_path / "features.npy", encoder.transform(RGB))
    code = (
        "import pickle, sys, numpy as np\n"
        "import ldmlr_sklearn._feature_encoder\n"
        "assert not {'timm', 'torchvision'} & set(sys.modules), 'not lazy'\n"
        "encoder = pickle.load(open('encoder.pkl', 'rb'))\n"
        "features = encoder.transform(np.load('images.npy'))\n"
        "np.testing.assert_allclose(features, np.load('features.npy'), atol=1e-5)\n"
    )
    root = Path(__file__).resolve().parents[1]
    code = f"import sys; sys.path.insert(0, {str(root)!r})\n" + code
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_device_of_fit_may_be_gone(monkeypatch):
    encoder = tiny_encoder().fit(RGB)
    expected = encoder.transform(RGB)
    encoder.device_ = encoder.device = "nowhere"  # as if unpickled elsewhere
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    np.testing.assert_array_equal(encoder.transform(RGB), expected)
    with pytest.raises(ValueError, match="elsewhere"):
        encoder.set_params(device="elsewhere").transform(RGB)


def refuses(encoder, X, message, y=None, error=ValueError):
    """`fit` raises, and leaves an unfitted estimator as it was."""
    before = vars(encoder).copy()
    with pytest.raises(error, match=message):
        encoder.fit(X, y)
    assert vars(encoder) == before
    with pytest.raises(NotFittedError):
        encoder.transform(X)


@pytest.mark.parametrize(
    ("parameters", "X", "error", "message"),
    [
        ({}, RGB.reshape(12, -1), ValueError, r"\(12, 768\), and image_shape is None"),
        ({}, RGB[0, ..., 0], ValueError, r"single image is X\[np.newaxis\]"),
        ({"image_shape": (8, 8)}, np.ones((3, 60)), ValueError, "rows of 60 features"),
        ({}, [], ValueError, r"0 sample\(s\) .* while a minimum of 1 is required"),
        ({}, {}, TypeError, "X is a dict. Expected an array"),
        ({}, RGB[:0], ValueError, r"0 sample\(s\)"),
        ({}, RGB * np.nan, ValueError, "contains NaN or infinity"),
        ({}, RGB[..., :2], ValueError, "wrong channel count"),
        ({"backbone": gray_net}, RGB, ValueError, "3 channels, the backbone takes 1"),
        ({"device": "tpu9"}, RGB, ValueError, "device='tpu9'"),
        ({"image_size": (8, 8, 3)}, RGB, ValueError, r"image_size=\(8, 8, 3\) is not"),
        ({"image_size": (8.5, 8)}, RGB, ValueError, r"a pair \(height, width\)"),
        ({"image_size": (-3, 32)}, RGB, ValueError, r"image_size=\(-3, 32\) is not"),
        ({"backbone": "resnet1"}, RGB, ValueError, "Did you mean"),
        ({"backbone": dict}, RGB, TypeError, "returned a dict. Expected a callable"),
        ({"backbone": token_net}, RGB, ValueError, r"returned \(2, 3, 256\). Expected"),
        ({"pretrained": True}, RGB, ValueError, "for backbones of timm by name"),
        (
            {"backbone": "resnet18", "pretrained": True, "weights": "a.pth"},
            RGB,
            ValueError,
            "exclude each other",
        ),
        ({"weights": "nothing.pth"}, RGB, FileNotFoundError, "no such file"),
        (
            {"backbone": TinyNet().double()},
            RGB,
            ValueError,
            r"TinyNet has weights of torch.float64, and refuses .* Call \.float\(\)",
        ),
        (
            {"backbone": TinyNet(), "backbone_kwargs": {"width": 3}},
            RGB,
            ValueError,
            "built already",
        ),
    ],
)  # fmt: skip
def test_errors_of_fit(parameters, X, error, message):
    refuses(tiny_encoder(**parameters), X, message, error=error)


@pytest.mark.parametrize(
    ("name", "size"),
    [("vit_tiny_patch16_224", 16), ("test_convnext", 3), ("densenet121", 8)],
)
def test_backbone_that_cannot_take_the_size(name, size):
    encoder = FeatureEncoder(name, random_state=0, device="cpu")
    message = rf"'{name}' cannot take images of {size} x {size} pixels.*output_stride"
    refuses(encoder, RGB[:, :size, :size], message)


@pytest.mark.parametrize(
    ("y", "n_rows", "message"),
    [
        (None, 12, "max_epochs=2 requires y to be passed, but the target y is None"),
        (LABELS[:5], 12, "inconsistent numbers of samples: 12 and 5"),
        (LABELS[:1], 1, "got n_samples = 1"),
        (np.zeros(12), 12, "got n_samples = 12 and 1 class"),
        (np.linspace(0, 1, 12), 12, "Unknown label type: continuous"),
        (np.r_[np.nan, np.ones(11)], 12, "y has 1 missing labels, the first in row 0"),
        (np.zeros((12, 2)), 12, "1d array"),
    ],
)
def test_errors_of_targets(y, n_rows, message):
    refuses(tiny_encoder(max_epochs=2), RGB[:n_rows], message, y=y)


def test_training_that_diverges():
    encoder = tiny_encoder(max_epochs=3, learning_rate=1e30)
    refuses(encoder, RGB, "diverged.*Try a smaller learning_rate", y=LABELS)


def test_errors_of_transform(tmp_path):
    encoder = tiny_encoder(image_shape=(16, 16, 3)).fit(RGB)
    with pytest.raises(
        ValueError, match=r"8 x 16 pixels .* fitted on images of 16 x 16"
    ):
        encoder.transform(RGB[:, :8])
    with pytest.raises(ValueError, match=r"with 1 channel, but .* with 3 channels"):
        encoder.transform(RGB[..., 0])
    with pytest.raises(ValueError, match="fitted on 8-bit ones"):
        encoder.transform(RGB / 255.0)
    with pytest.raises(ValueError, match="of 100 features"):
        encoder.transform(np.zeros((2, 100), dtype=np.uint8))
    path = tmp_path / "broken.png"
    path.write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"broken\.png' \(row 0 of X\) cannot be read"):
        encoder.transform([path])
    encoder = tiny_encoder().fit(RGB / 255.0)
    with pytest.raises(ValueError, match="contains NaN or infinity"):
        encoder.transform(np.full((1, 16, 16, 3), np.nan))


def test_features_that_are_not_finite():
    encoder = tiny_encoder().fit(RGB)
    encoder.backbone_.bn.weight.data[0] = torch.inf
    with pytest.raises(ValueError, match="rows 0 to 11 into NaN or infinity"):
        encoder.transform(RGB)


class Interrupting(Dataset):
    """Presses Ctrl-C in the second epoch."""

    def __init__(self):
        self.n_reads = 0

    def __len__(self):
        return len(RGB)

    def __getitem__(self, row):
        self.n_reads += 1
        if self.n_reads > 30:
            raise KeyboardInterrupt
        return torch.tensor(RGB[row])


def test_ctrl_c_reaches_the_user():
    refuses(tiny_encoder(max_epochs=5), Interrupting(), None, LABELS, KeyboardInterrupt)


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_missing_labels_are_counted(missing):
    labels = pd.Series(np.resize(["cat", "dog"], len(RGB)), dtype=object)
    labels[3] = missing
    message = "y has 1 missing labels, the first in row 3"
    refuses(tiny_encoder(max_epochs=1), RGB, message, labels)


def test_failing_refit_keeps_the_former_fit():
    encoder = tiny_encoder(max_epochs=1).fit(RGB, LABELS)
    expected = encoder.transform(RGB)
    with pytest.raises(ValueError, match="y is None"):
        encoder.fit(RGB[:, :8])
    np.testing.assert_array_equal(encoder.transform(RGB), expected)
    encoder.set_params(max_epochs=0).fit(RGB)
    assert not hasattr(encoder, "head_weight_")
    assert not hasattr(encoder, "loss_curve_")


def test_grid_search_over_the_encoder(digits):
    X, y = digits
    encoder = tiny_encoder(image_size=4, backbone=flat_net)
    pipeline = make_pipeline(encoder, LogisticRegression(max_iter=2000))
    grid = {"featureencoder__image_size": [1, 4]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X[:90], y[:90])
    assert search.best_params_ == {"featureencoder__image_size": 4}
    assert search.best_score_ > 0.8


@pytest.fixture(scope="module")
def published():
    files = [
        SHARED / "cifar10_lt_if100_images.npz",
        SHARED / "cifar10_lt_if100_resnet32_features.npz",
    ]
    weights = SHARED / "cifar10_lt_if100_resnet32.safetensors"
    if not all(file.is_file() for file in [*files, weights]):
        pytest.skip(f"the published encoder and its features are not in {SHARED}")
    images, features = (np.load(file) for file in files)
    return images, features, weights


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("n_rows", [2000, pytest.param(None, marks=pytest.mark.slow)])
def test_published_features(published, part, n_rows):
    images, features, weights = published
    X, y = images[f"X_{part}"], images[f"y_{part}"]
    rows = (
        slice(None) if n_rows is None else np.linspace(0, len(X) - 1, n_rows, dtype=int)
    )
    encoder = FeatureEncoder("cifar_resnet32", weights=weights)
    encoded = encoder.fit_transform(X[rows], y[rows])
    np.testing.assert_allclose(encoded, features[f"X_{part}"][rows], atol=1e-4)
    np.testing.assert_array_equal(encoder.head_weight_, features["head_weight"])
    np.testing.assert_array_equal(encoder.head_bias_, features["head_bias"])
    assert encoder.classes_.tolist() == list(range(10))


def test_rows_of_weight_zero_teach_nothing(digits):
    X, y = digits
    wrong = np.arange(200) % 2 == 0
    y_wrong = np.where(wrong, (y + 1) % 3, y)
    parameters = {"max_epochs": 8, "batch_size": 32, "augmentation": "crop"}
    encoder = tiny_encoder(backbone_kwargs={"width": 32}, **parameters)

    def accuracy(weight):
        features = encoder.fit(X, y_wrong, sample_weight=weight).transform(X)
        logits = features @ encoder.head_weight_.T + encoder.head_bias_
        return np.mean(logits.argmax(axis=1) == y)

    assert accuracy(1.0 - wrong) > 0.7 > 0.4 > accuracy(1.0 * wrong)


def test_loss_is_the_weighted_mean():
    weight = np.r_[np.full(6, 3.0), np.full(6, 1.0)]
    first = tiny_encoder(max_epochs=1, augmentation=None, batch_size=12)
    curve = first.fit(RGB, LABELS, sample_weight=weight).loss_curve_
    parts = []
    for part in (slice(0, 6), slice(6, 12)):
        rows = np.zeros(12)
        rows[part] = 1
        parts += list(clone(first).fit(RGB, LABELS, sample_weight=rows).loss_curve_)
    # All start from the same weights, with the same statistics of the whole batch.
    np.testing.assert_allclose(curve, np.average(parts, weights=[3, 1]), rtol=1e-5)


def test_scale_of_weights_does_not_matter():
    fits = [
        tiny_encoder(max_epochs=2, mixup_alpha=1.0).fit(RGB, LABELS, sample_weight=w)
        for w in (None, np.full(12, 7.0))
    ]
    np.testing.assert_allclose(fits[0].head_weight_, fits[1].head_weight_, atol=1e-6)


@pytest.mark.parametrize(
    ("weight", "message"),
    [(-np.ones(12), "Negative values"), (np.ones(5), "sample_weight.shape")],
)
def test_errors_of_weights(weight, message):
    encoder = tiny_encoder(max_epochs=1)
    with pytest.raises(ValueError, match=message):
        encoder.fit(RGB, LABELS, sample_weight=weight)
    assert not hasattr(encoder, "backbone_")


@pytest.mark.parametrize("make", [make_pipeline, make_imblearn_pipeline])
def test_weights_through_pipelines(make):
    weight = np.linspace(0.1, 2, 12)
    encoder = tiny_encoder(max_epochs=1)
    expected = clone(encoder).fit(RGB, LABELS, sample_weight=weight).head_weight_
    old = make(encoder, LogisticRegression())
    old.fit(RGB, LABELS, featureencoder__sample_weight=weight)
    np.testing.assert_array_equal(old[0].head_weight_, expected)
    with config_context(enable_metadata_routing=True):
        routed = make(
            encoder.set_fit_request(sample_weight=True),
            LogisticRegression().set_fit_request(sample_weight=True),
        ).fit(RGB, LABELS, sample_weight=weight)
    np.testing.assert_array_equal(routed[0].head_weight_, expected)


class Recorder:
    """Writes down what it is told, and asks to stop after some epochs."""

    def __init__(self, stop_after=None, raises=False):
        self.stop_after, self.raises = stop_after, raises
        self.events, self.widths = [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X, y):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self.events.append(f"end {context.task_name}")
        if self.raises:
            raise KeyboardInterrupt
        if fitted_estimator is not None:
            self.widths.append(fitted_estimator.transform(RGB).shape[1])
        return self.events.count("end step") == self.stop_after


@pytest.mark.parametrize("stop_after", [None, 2])
def test_callbacks_see_every_epoch(stop_after):
    pytest.importorskip("sklearn.callback")
    recorder = Recorder(stop_after)
    encoder = tiny_encoder(max_epochs=3).set_callbacks(recorder)
    encoder.fit(RGB, LABELS)
    n_epochs = stop_after or 3
    steps = ["begin step", "end step"] * n_epochs
    assert recorder.events == ["setup", "begin fit", *steps, "end fit", "teardown"]
    assert recorder.widths == [8] * n_epochs
    assert len(encoder.loss_curve_) == n_epochs
    if stop_after is None:
        expected = tiny_encoder(max_epochs=3).fit(RGB, LABELS)
        np.testing.assert_array_equal(encoder.head_weight_, expected.head_weight_)


def test_callbacks_that_fail_leave_the_estimator_as_it_was():
    pytest.importorskip("sklearn.callback")
    recorder = Recorder(raises=True)
    encoder = tiny_encoder(max_epochs=3).set_callbacks(recorder)
    with pytest.raises(KeyboardInterrupt):
        encoder.fit(RGB, LABELS)
    assert recorder.events[-1] == "teardown"
    assert not [name for name in vars(encoder) if name.endswith("_")]


@pytest.mark.parametrize(
    "column",
    [
        pl.Series,
        lambda paths: pl.DataFrame({"path": paths}),
        pd.Series,
        lambda paths: pd.DataFrame({"path": paths}),
        lambda paths: pd.Series(paths, dtype="string"),
        lambda paths: pd.Series(paths, dtype="category"),
        lambda paths: np.array(paths),
    ],
)
def test_columns_of_paths(tmp_path, column):
    paths = [str(tmp_path / f"{row}.png") for row in range(3)]
    for path, image in zip(paths, RGB, strict=False):
        Image.fromarray(image).save(path)
    encoder = tiny_encoder(image_size=16).fit(RGB)
    np.testing.assert_allclose(
        encoder.transform(column(paths)), encoder.transform(RGB[:3]), atol=1e-6
    )


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(LABELS, dtype="category"),
        pd.Series(LABELS, dtype="string"),
        pl.Series(LABELS),
        pl.Series(LABELS.tolist(), dtype=pl.Categorical),
        pd.Series(np.arange(12) % 3, dtype="Int64"),
        pd.Series(np.arange(12) % 3, dtype="Int64").to_frame("y")["y"],
        (np.arange(12) % 3).tolist(),
    ],
)
def test_labels_of_every_kind(y):
    encoder = tiny_encoder(max_epochs=1).fit(RGB, y)
    expected = tiny_encoder(max_epochs=1).fit(RGB, np.arange(12) % 3)
    np.testing.assert_array_equal(encoder.head_weight_, expected.head_weight_)
    assert encoder.classes_.tolist() in (["cat", "dog", "owl"], [0, 1, 2])


def test_tables_of_pixels_in_polars():
    names = [f"pixel{i}" for i in range(64)]
    frame = pl.DataFrame(load_digits().data[:9], schema=names)
    encoder = tiny_encoder(image_shape=(8, 8)).fit(frame)
    assert encoder.feature_names_in_.tolist() == names
    expected = tiny_encoder(image_shape=(8, 8)).fit_transform(frame.to_numpy())
    np.testing.assert_array_equal(encoder.transform(frame), expected)
    nullable = frame.to_pandas().astype("Int64")
    np.testing.assert_array_equal(encoder.transform(nullable), expected)
