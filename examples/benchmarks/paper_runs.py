# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The pieces that the tables of ``reproduce_paper.py`` are made of.

A diffusion model is trained once a seed; every table draws from it what it asks for.
"""

import time

import numpy as np
from gaussian_samplers import PooledGaussianSampler
from imblearn.over_sampling import RandomOverSampler
from sklearn.base import BaseEstimator

from ldmlr_sklearn import HeadClassifier, LatentDiffusionOversampler, LDMLRClassifier
from ldmlr_sklearn.metrics import SHOT_GROUPS, shot_accuracy, shot_groups

GROUPS = SHOT_GROUPS


def groups_of(y_train):
    """Class -> group: by its rows, or by thirds where a group would be empty."""
    groups = shot_groups(y_train)
    if set(groups.values()) == set(GROUPS):
        return groups
    classes, counts = np.unique(y_train, return_counts=True)
    order = classes[np.argsort(-counts, kind="stable")]
    thirds = np.array_split(order, len(GROUPS))
    return {
        class_: group
        for group, third in zip(GROUPS, thirds, strict=True)
        for class_ in third.tolist()
    }


def test_rows(split):
    """Return class and group of every test row."""
    groups = groups_of(split.y_train)
    return split.y_test, np.array([groups[class_] for class_ in split.y_test.tolist()])


def scores(split, y_pred):
    """Accuracy in % of all classes and of each group, every class alike."""
    groups = groups_of(split.y_train)
    recalls = {}
    for class_, group in groups.items():
        of_class = split.y_test == class_
        if of_class.any():
            recall = 100 * np.mean(y_pred[of_class] == class_)
            recalls.setdefault(group, []).append(recall)
    found = {group: float(np.mean(recalls[group])) for group in recalls}
    accuracy = shot_accuracy(split.y_test, y_pred, split.y_train)
    hits = y_pred == split.y_test
    return {**found, "all": 100 * float(accuracy.all), "hits": hits}


class Ready(BaseEstimator):
    """An over-sampler whose rows have been drawn already."""

    def __init__(self, X, y):
        self.X = X
        self.y = y

    def fit_resample(self, X, y):
        return self.X, self.y


def balancing(y):
    """Rows to add to every class for full balance."""
    counts = np.bincount(y)
    return counts.max() - counts


def amounts(y, strategy):
    """Rows to add to every class for a sampling strategy of the package."""
    targets = strategy(y)
    return np.array([targets[class_] for class_ in range(len(targets))]) - np.bincount(
        y
    )


class Generators:
    """Our over-sampler and its controls, which all add the same numbers of rows."""

    def __init__(self, split, seed, max_steps="auto", **sampler):
        self.split, self.seed = split, seed
        start = time.perf_counter()
        self.sampler = LatentDiffusionOversampler(
            random_state=seed, max_steps=max_steps, **sampler
        ).fit(split.X_train, split.y_train)
        self.fit_seconds = time.perf_counter() - start

    def draw(self, name, extra):
        """Return real rows and the added ones, their labels, and seconds."""
        X, y = self.split.X_train, self.split.y_train
        start = time.perf_counter()
        if name == "none" or not extra.any():
            return X, y, 0.0
        if name == "LDMLR":
            labels = np.repeat(np.arange(len(extra)), extra)
            new = self.sampler.sample(labels, random_state=self.seed)
            seconds = self.fit_seconds + time.perf_counter() - start
            return np.concatenate([X, new]), np.concatenate([y, labels]), seconds
        control = {"replay": RandomOverSampler, "Gaussian": PooledGaussianSampler}[name]
        targets = dict(enumerate((np.bincount(y) + extra).tolist()))
        X, y = control(sampling_strategy=targets, random_state=self.seed).fit_resample(
            X, y
        )
        return X, y, time.perf_counter() - start


def follow(split, X, y, seed, *, loss, max_epochs, concentration=0.0):
    """Train a head; score its last epoch and the epoch that is best on the test set.

    Returns row -> scores; softmax regression gives two rows, as it is ("CE") and with
    its prior exchanged for the uniform one ("label shift").
    """
    rows = {"WCDAS": 0.0} if loss == "wcdas" else {"CE": 0.0, "label shift": 1.0}
    curves = {row: [] for row in rows}

    def predict(head, strength):
        log_p = np.log(head.predict_proba(split.X_test) + 1e-300)
        return (log_p - strength * np.log(head.class_prior_)).argmax(axis=1)

    def monitor(epoch, head):
        for row, strength in rows.items():
            curves[row].append(scores(split, predict(head, strength))["all"])

    start = time.perf_counter()
    head = HeadClassifier(
        loss,
        concentration=concentration,
        class_balanced=loss == "wcdas",
        max_epochs=max_epochs,
        batch_size=512,
        random_state=seed,
    ).fit(X, y, monitor=monitor)
    seconds = time.perf_counter() - start
    return {
        row: {
            **scores(split, predict(head, strength)),
            "picked": max(curves[row]),
            "head_seconds": seconds,
        }
        for row, strength in rows.items()
    }


def anchored(split, X, y, seed):
    """Score the default head of `LDMLRClassifier`, pulled towards the encoder's own."""
    start = time.perf_counter()
    model = LDMLRClassifier(
        oversampler=Ready(X, y), init_head=split.head, random_state=seed
    ).fit(split.X_train, split.y_train)
    found = scores(split, model.predict(split.X_test))
    return {**found, "head_seconds": time.perf_counter() - start}


def published(split):
    """Score the encoder's own head, as it is and with label shift."""
    weight, bias = split.head
    logits = split.X_test @ weight.T + bias
    log_prior = np.log(np.bincount(split.y_train) / len(split.y_train))
    return {
        "CE, the encoder's head": scores(split, logits.argmax(axis=1)),
        "label shift, the encoder's head": scores(
            split, (logits - log_prior).argmax(axis=1)
        ),
    }
