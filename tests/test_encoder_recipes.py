# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The published ways to train an encoder: losses, augmentation, interruptions."""

import numpy as np
import pytest
import torch
from imblearn.over_sampling import RandomOverSampler
from sklearn.frozen import FrozenEstimator
from torch import nn

from ldmlr_sklearn import FeatureEncoder, LDMLRClassifier, _persistence
from ldmlr_sklearn._encoder import EncoderWithHead, _checkpoint, _training
from ldmlr_sklearn._encoder._training_net import EncoderNet
from ldmlr_sklearn._losses import LOSSES, WCDASLayer

RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], [20, 8, 4])
# Each class is bright in a row of its own.
IMAGES = RNG.integers(0, 60, size=(32, 8, 8, 3), dtype=np.uint8)
IMAGES[np.arange(32), LABELS] += 150


class Flat(nn.Module):
    def __init__(self, dropout=0.0):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(192, 6), nn.BatchNorm1d(6), nn.ReLU()
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.dropout(self.layers(x))


def encoder(**parameters):
    defaults = dict(
        max_epochs=3, batch_size=8, learning_rate=0.05, augmentation=None, device="cpu"
    )
    return FeatureEncoder(Flat, random_state=0).set_params(**{**defaults, **parameters})


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains(loss):
    fitted = encoder(loss=loss, max_epochs=10).fit(IMAGES, LABELS)
    assert fitted.loss_curve_[-1] < 0.7 * fitted.loss_curve_[0]
    assert hasattr(fitted, "head_weight_") == (loss in LOSSES[:2])
    # Only a head that is linear can start the classifier on top.
    nothing = RandomOverSampler(sampling_strategy={})
    model = LDMLRClassifier(FrozenEstimator(fitted), nothing).fit(IMAGES, LABELS)
    lent = getattr(fitted, "head_weight_", np.zeros(()))
    starts = np.array_equal(model.classifier_.weight, lent)
    assert starts == (loss in LOSSES[:2])


def test_loss_of_the_first_step_is_the_adjusted_one(monkeypatch):
    seen = []
    step = EncoderNet.train_step

    def spy(self, batch, **params):
        result = step(self, batch, **params)
        seen.append((result["y_pred"].detach(), batch[1], result["loss"].item()))
        return result

    monkeypatch.setattr(EncoderNet, "train_step", spy)
    options = dict(max_epochs=1, batch_size=32, mixup_alpha=0.0)
    for loss in ("cross_entropy", "logit_adjusted"):
        encoder(loss=loss, **options).fit(IMAGES, LABELS)
    (plain, targets, first), (shifted, _, second) = seen
    log_prior = torch.tensor(np.bincount(LABELS) / 32).log()
    torch.testing.assert_close(
        shifted - plain, log_prior.float().expand(32, 3), atol=1e-5, rtol=0
    )
    entropy = nn.functional.cross_entropy
    assert first == pytest.approx(entropy(plain, targets).item(), rel=1e-5)
    adjusted = entropy(plain + log_prior, targets).item()
    assert second == pytest.approx(adjusted, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_class_without_weight_does_no_harm(loss):
    weights = np.where(LABELS == 1, 0.0, 1.0)
    fitted = encoder(loss=loss, max_epochs=10)
    fitted.fit(IMAGES, LABELS, sample_weight=weights)
    assert np.isfinite(fitted.loss_curve_).all()
    if hasattr(fitted, "head_weight_"):
        logits = fitted.transform(IMAGES) @ fitted.head_weight_.T + fitted.head_bias_
        assert np.isfinite(logits).all()
        assert (logits.argmax(axis=1)[LABELS != 1] != 1).all()


def test_head_is_given_at_the_frequencies_of_the_classes():
    fitted = encoder(loss="logit_adjusted", learning_rate=1e-9, max_epochs=1)
    plain = encoder(learning_rate=1e-9, max_epochs=1).fit(IMAGES, LABELS)
    shift = fitted.fit(IMAGES, LABELS).head_bias_ - plain.head_bias_
    np.testing.assert_allclose(shift, np.log(np.bincount(LABELS) / 32), atol=1e-5)


def test_scale_and_concentration_learn_at_their_own_rate(monkeypatch):
    groups = {}
    step = torch.optim.SGD.step

    def spy(self, *args, **keywords):
        for group in self.param_groups:
            sizes = tuple(sorted(p.numel() for p in group["params"]))
            groups.setdefault(sizes, []).append((group["lr"], group["weight_decay"]))
        return step(self, *args, **keywords)

    monkeypatch.setattr(torch.optim.SGD, "step", spy)
    encoder(loss="wcdas", max_epochs=2, batch_size=32).fit(IMAGES, LABELS)
    rest = next(sizes for sizes in groups if len(sizes) > 1)
    np.testing.assert_allclose(groups[1,], [(0.2, 0), (0.1, 0)])
    np.testing.assert_allclose(groups[3,], [(0.2, 0), (0.1, 0)])
    np.testing.assert_allclose(groups[rest], [(0.05, 5e-4), (0.025, 5e-4)])


def test_wcdas_head_of_an_encoder():
    network = EncoderWithHead(Flat(), 6, 3, "wcdas")
    assert isinstance(network.head, WCDASLayer)
    assert network(torch.rand(4, 3, 8, 8)).shape == (4, 3)


RECIPES = {
    "published": dict(
        batch_size=64,
        learning_rate=0.1,
        schedule="step",
        weight_decay=5e-4,
        mixup_alpha=0.5,
        augmentation="crop_flip",
    ),
    "WCDAS": dict(loss="wcdas", learning_rate=0.2, augmentation="autoaugment"),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_of_the_paper_run(recipe):
    images = np.repeat(np.repeat(IMAGES, 4, axis=1), 4, axis=2)
    fitted = FeatureEncoder(
        "cifar_resnet32", max_epochs=2, random_state=0, **RECIPES[recipe]
    ).fit(images, LABELS)
    assert np.isfinite(fitted.loss_curve_).all()
    assert fitted.transform(images[:2]).shape == (2, 64)


def test_automatic_augmentation_refuses_what_it_cannot_change():
    standardised = IMAGES / 100.0 - 1
    with pytest.raises(ValueError, match=r"'autoaugment' .* 3 channels, standardised"):
        encoder(augmentation="autoaugment").fit(standardised, LABELS)
    with pytest.raises(ValueError, match=r"'autoaugment' .* Got 4 channels\. Give"):
        encoder(augmentation="autoaugment", backbone=nn.Flatten).fit(
            np.concatenate([IMAGES, IMAGES[..., :1]], axis=-1), LABELS
        )


class Interrupted(Exception):
    pass


@pytest.fixture
def interrupt(monkeypatch):
    """Make training stop after a number of epochs."""
    run_epoch = EncoderNet.run_epoch

    def after(n_epochs):
        def stop(self, images):
            if len(self.losses_) == n_epochs:
                raise Interrupted
            return run_epoch(self, images)

        monkeypatch.setattr(EncoderNet, "run_epoch", stop)

    yield after
    monkeypatch.undo()


@pytest.mark.parametrize("loss", ["cross_entropy", "wcdas"])
def test_interrupted_training_goes_on_as_if_nothing_had_been(
    tmp_path, interrupt, monkeypatch, loss
):
    parameters = dict(
        loss=loss,
        max_epochs=5,
        mixup_alpha=0.5,
        augmentation="autoaugment",
        backbone_kwargs={"dropout": 0.3},
    )
    whole = encoder(**parameters).fit(IMAGES, LABELS)
    path = tmp_path / "training.ckpt"
    resumed = encoder(**parameters, checkpoint=path)
    for n_epochs in (2, 4):
        interrupt(n_epochs)
        with pytest.raises(Interrupted):
            resumed.fit(IMAGES, LABELS)
        assert [file.name for file in tmp_path.iterdir()] == ["training.ckpt"]
        monkeypatch.undo()
    resumed.fit(IMAGES, LABELS)
    assert not path.exists()
    np.testing.assert_allclose(resumed.loss_curve_, whole.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(
        resumed.transform(IMAGES), whole.transform(IMAGES), atol=1e-6
    )


def test_checkpoints_that_do_not_fit_are_refused(tmp_path, interrupt, monkeypatch):
    path = tmp_path / "training.ckpt"
    interrupt(2)
    with pytest.raises(Interrupted):
        encoder(checkpoint=path).fit(IMAGES, LABELS)
    monkeypatch.undo()
    contents = path.read_bytes()
    last_changed = IMAGES.copy()
    last_changed[-1] //= 2

    for parameters, X, y, message in (
        ({"learning_rate": 0.5}, IMAGES, LABELS, "learning_rate 0.05 there and 0.5"),
        ({"random_state": 1}, IMAGES, LABELS, "random_state 0 there and 1 here"),
        ({"random_state": None}, IMAGES, LABELS, "random_state 0 there and None"),
        ({"backbone_kwargs": {"dropout": 0.1}}, IMAGES, LABELS, "backbone_kwargs"),
        (
            {"backbone": lambda: Flat(0.2)},
            IMAGES,
            LABELS,
            "backbone 'Flat' .*structure",
        ),
        ({}, IMAGES / 255.0, LABELS, "another training: eight_bit 'True'"),
        ({}, IMAGES[::-1], LABELS, "another training: images"),
        ({}, last_changed, LABELS, "another training: images"),
        ({}, IMAGES, LABELS[::-1], "another training: labels"),
    ):
        with pytest.raises(ValueError, match=message):
            encoder(checkpoint=path, **parameters).fit(X, y)
        assert path.read_bytes() == contents

    for damaged in (contents[:-100], b"", b"not a checkpoint"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"training\.ckpt' is damaged, or no"):
            encoder(checkpoint=path).fit(IMAGES, LABELS)
        assert path.read_bytes() == damaged

    torch.save({"weight": torch.ones(3)}, path)
    with pytest.raises(ValueError, match=r"training\.ckpt' is no checkpoint of a"):
        encoder(checkpoint=path).fit(IMAGES, LABELS)
    with pytest.raises(FileNotFoundError, match=r"in a folder that does not exist"):
        encoder(checkpoint=tmp_path / "no" / "t.ckpt").fit(IMAGES, LABELS)
    with pytest.raises(IsADirectoryError, match=r"is a folder. Expected the name of a"):
        encoder(checkpoint=tmp_path).fit(IMAGES, LABELS)


def test_unseeded_training_goes_on(tmp_path, interrupt, monkeypatch):
    path = tmp_path / "training.ckpt"
    parameters = dict(max_epochs=4, random_state=None, checkpoint=path)
    interrupt(2)
    with pytest.raises(Interrupted):
        encoder(**parameters).fit(IMAGES, LABELS)
    monkeypatch.undo()
    losses = torch.load(path, weights_only=True)["state"]["losses"]
    resumed = encoder(**parameters).fit(IMAGES, LABELS)
    np.testing.assert_array_equal(resumed.loss_curve_[:2], losses)


def doubled(module):
    if isinstance(module, nn.Linear):
        module.weight.data *= 2


def test_the_start_of_a_training_is_told_by_its_weights(
    tmp_path, interrupt, monkeypatch
):
    path = tmp_path / "training.ckpt"
    interrupt(1)
    for random_state, backbone, other in (
        (0, lambda: Flat(), lambda: Flat().apply(doubled)),
        (0, Flat(), Flat()),
        (None, Flat(), Flat()),
    ):
        parameters = dict(random_state=random_state, checkpoint=path)
        with pytest.raises(Interrupted):
            encoder(backbone=backbone, **parameters).fit(IMAGES, LABELS)
        with pytest.raises(ValueError, match="another training: initial weights"):
            encoder(backbone=other, **parameters).fit(IMAGES, LABELS)
        path.unlink()


def test_a_failing_write_keeps_the_former_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "state"
    _checkpoint.write_checkpoint(path, {"a": 1}, {"loss": 1.5})

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(_persistence.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        _checkpoint.write_checkpoint(path, {"a": 1}, {"loss": 2.5})
    assert [file.name for file in tmp_path.iterdir()] == ["state"]
    (tmp_path / "usual").touch()
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert _checkpoint.read_checkpoint(path, {"a": 1}) == {"loss": 1.5}
    assert _checkpoint.read_checkpoint(tmp_path / "nothing", {}) is None


def test_without_checkpoint_nothing_is_written(monkeypatch):
    monkeypatch.setattr(_training, "write_checkpoint", None)
    encoder(max_epochs=1).fit(IMAGES, LABELS)
