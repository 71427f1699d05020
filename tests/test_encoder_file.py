# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Encoders as files: what comes back, and what is refused."""

import pickle

import cloudpickle
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ldmlr_sklearn import FeatureEncoder, _persistence
from ldmlr_sklearn._saved_parameters import plain_parameters

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, size=(12, 8, 8, 3), dtype=np.uint8)
LABELS = np.array(["cat", "dog", "owl"])[np.arange(12) % 3]


def small(**parameters):
    return FeatureEncoder(
        "test_resnet", backbone_kwargs={"output_stride": 8}, random_state=0
    ).set_params(**parameters)


def assert_same(loaded, encoder, X):
    np.testing.assert_array_equal(loaded.transform(X), encoder.transform(X))
    fitted = {name for name in vars(encoder) if name.endswith("_")}
    assert {name for name in vars(loaded) if name.endswith("_")} == fitted
    for name in fitted - {"backbone_"}:
        before, after = getattr(encoder, name), getattr(loaded, name)
        np.testing.assert_array_equal(after, before)
        assert getattr(after, "dtype", None) == getattr(before, "dtype", None)


@pytest.mark.parametrize("y", [None, LABELS, LABELS.astype(object), np.arange(12) % 2])
def test_round_trip(tmp_path, y):
    encoder = small(max_epochs=0 if y is None else 1, memory=tmp_path).fit(IMAGES, y)
    encoder.save(tmp_path / "encoder.safetensors")
    loaded = FeatureEncoder.load(tmp_path / "encoder.safetensors")
    assert_same(loaded, encoder, IMAGES)
    assert loaded.get_params() == encoder.get_params() | {"memory": None}
    again = loaded.fit(IMAGES, y)
    np.testing.assert_array_equal(again.transform(IMAGES), encoder.transform(IMAGES))


def test_tables_and_shapes_come_back(tmp_path):
    columns = [f"pixel{i}" for i in range(64)]
    frame = pd.DataFrame(RNG.random((9, 64)), columns=columns)
    encoder = small(image_shape=(8, 8), image_size=(16, 12)).fit(frame)
    encoder.save(str(tmp_path / "encoder"))
    loaded = FeatureEncoder.load(str(tmp_path / "encoder"))
    assert_same(loaded, encoder, frame)
    assert loaded.image_size == (16, 12)


def test_loading_leaves_no_trace_in_global_generators(tmp_path):
    small().fit(IMAGES).save(tmp_path / "encoder")
    before = torch.get_rng_state()
    FeatureEncoder.load(tmp_path / "encoder")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_saved_encoder_is_no_file_of_weights(tmp_path):
    path = tmp_path / "encoder.safetensors"
    small().fit(IMAGES).save(path)
    with pytest.raises(ValueError, match=r"Unexpected: .* for FeatureEncoder\.load"):
        small(weights=path).fit(IMAGES)


def test_code_is_not_saved(tmp_path):
    encoder = FeatureEncoder(nn.Flatten).fit(IMAGES)
    with pytest.raises(ValueError, match="is code, which the file cannot hold"):
        encoder.save(tmp_path / "encoder")
    assert not list(tmp_path.iterdir())
    encoder = small(random_state=np.random.RandomState(0)).fit(IMAGES)
    with pytest.raises(TypeError, match=r"random_state=.*cannot be saved"):
        encoder.save(tmp_path / "encoder")


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError, match="There is no file"):
        FeatureEncoder.load(path)
    path.write_bytes(pickle.dumps(small()))
    with pytest.raises(ValueError, match="cannot be read"):
        FeatureEncoder.load(path)
    _persistence.write(path, "LatentDiffusionOversampler", {}, {})
    with pytest.raises(ValueError, match="expected a FeatureEncoder"):
        FeatureEncoder.load(path)
    small().fit(IMAGES).save(path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match="damaged"):
        FeatureEncoder.load(path)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "file"
    small().fit(IMAGES).save(path)
    arrays, values = _persistence.read(path, "FeatureEncoder")
    arrays.pop(next(name for name in arrays if name.startswith("backbone.")))
    _persistence.write(path, "FeatureEncoder", arrays, values)
    with pytest.raises(ValueError, match="do not fit the backbone 'test_resnet'"):
        FeatureEncoder.load(path)


@pytest.fixture
def nothing_fetched(monkeypatch):
    """Neither timm's readers of files nor its requests are ever called."""

    def refuse(*args, **keywords):
        raise AssertionError("something was fetched")

    for name in ("_factory.load_checkpoint", "_factory.load_model_config_from_hf"):
        monkeypatch.setattr(f"timm.models.{name}", refuse)
    for name in ("load_state_dict", "load_state_dict_from_url", "load_pretrained"):
        monkeypatch.setattr(f"timm.models._builder.{name}", refuse)


def rewrite(path, **parameters):
    """Put other parameters into a saved encoder."""
    arrays, values = _persistence.read(path, "FeatureEncoder")
    values["parameters"] |= plain_parameters(parameters)
    _persistence.write(path, "FeatureEncoder", arrays, values)


def test_loading_fetches_nothing(tmp_path, nothing_fetched):
    path = tmp_path / "file"
    encoder = small().fit(IMAGES)
    encoder.save(path)
    address = {"url": "http://localhost:9/weights.pth", "hf_hub_id": "a/b"}
    rewrite(
        path,
        pretrained=True,
        backbone_kwargs={
            "output_stride": 8,
            "pretrained": True,
            "pretrained_cfg_overlay": address,
            "checkpoint_path": str(tmp_path / "weights.pth"),
            "cache_dir": str(tmp_path),
        },
    )
    loaded = FeatureEncoder.load(path)
    np.testing.assert_array_equal(loaded.transform(IMAGES), encoder.transform(IMAGES))


@pytest.mark.parametrize(
    "name", ["hf-hub:timm/test_resnet.r160_in1k", "local-dir:/", 3]
)
def test_backbones_from_elsewhere_are_not_loaded(tmp_path, nothing_fetched, name):
    path = tmp_path / "file"
    small().fit(IMAGES).save(path)
    rewrite(path, backbone=name)
    with pytest.raises(ValueError, match=r"backbone=.* lies outside timm"):
        FeatureEncoder.load(path)


def test_backbones_from_elsewhere_are_not_saved(tmp_path):
    encoder = small().fit(IMAGES).set_params(backbone="hf-hub:timm/test_resnet")
    with pytest.raises(ValueError, match=r"lies outside timm.*Pickle this encoder"):
        encoder.save(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_normalisation_of_ones_own_comes_back(tmp_path):
    overlay = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    keywords = {"output_stride": 8, "pretrained_cfg_overlay": overlay}
    encoder = small(backbone_kwargs=keywords).fit(IMAGES)
    encoder.save(tmp_path / "file")
    loaded = FeatureEncoder.load(tmp_path / "file")
    assert_same(loaded, encoder, IMAGES)
    assert loaded.backbone_kwargs == keywords
    assert loaded.backbone_.pretrained_cfg["mean"] == overlay["mean"]


def test_cloudpickle_takes_code_along():
    encoder = FeatureEncoder(lambda: nn.Conv2d(3, 4, 3), random_state=0).fit(IMAGES)
    copied = pickle.loads(cloudpickle.dumps(encoder))
    np.testing.assert_array_equal(copied.transform(IMAGES), encoder.transform(IMAGES))
