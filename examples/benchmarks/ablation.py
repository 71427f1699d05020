# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Which parts of the over-sampler earn their place, without a test set.

    python examples/benchmarks/ablation.py TRANSFER_FEATURES.npz [--jobs 2]

Every variant changes one thing of the defaults. Development problems are of three
kinds. "digits": long-tailed digits as raw pixels, class order drawn anew four times.
"foreign encoder": the training rows of the file (X_train, y_train), features of an
encoder that never saw them, one fold of four set aside, two folds in turn. "own
encoder": the same rows in the features of a small network that was trained on the other
three folds until it knew each row. Prints balanced accuracy in % of one softmax
regression on the rows set aside; writes ablation.json and ablation.rst beside itself.
"""

import argparse
import contextlib
import json
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from accuracy import linear_head, machine
from accuracy_tables import as_rst, as_text
from imblearn.over_sampling import SMOTE, RandomOverSampler
from joblib import Parallel, delayed
from scipy.linalg import cholesky, solve_triangular
from sklearn.covariance import OAS
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

import ldmlr_sklearn._trained_diffusion as module
from ldmlr_sklearn import LatentDiffusionOversampler
from ldmlr_sklearn._class_posterior import ClassPosterior, choose
from ldmlr_sklearn._heads import AnchoredHead, fitted_head, pull_to_real_rows
from ldmlr_sklearn.datasets import load_digits_lt
from ldmlr_sklearn.diffusion import _training


def min_snr(network, schedule, x0, labels, t, noise, prediction_type):
    """Weight min(SNR, 5) / (SNR + 1) of the v loss (Hang et al. 2023)."""
    xt = schedule.add_noise(x0, noise, t)
    target = schedule.target(x0, noise, t, prediction_type)
    snr = (schedule.signal[t] / schedule.noise[t]) ** 2
    weight = snr.clamp(max=5) / (snr + 1)
    weight = weight / weight.mean()
    error = (network(xt, t, labels) - target).square().mean(dim=1)
    return (weight * error).mean()


def class_balancing(network, schedule, x0, labels, t, noise, prediction_type):
    """Pull predictions under other labels together (CBDM, Qin et al. 2023)."""
    xt = schedule.add_noise(x0, noise, t)
    target = schedule.target(x0, noise, t, prediction_type)
    own = network(xt, t, labels)
    other = network(xt, t, labels[torch.randperm(len(labels))])
    gap = (own - other.detach()).square() + (own.detach() - other).square() / 4
    tau = 1e-3 * t[:, None] / len(schedule)
    return F.mse_loss(own, target) + (tau * gap).mean()


def tail_to_head(network, schedule, x0, labels, t, noise, prediction_type):
    """Targets of near rows of classes at least as large (T2H, Zhang et al. 2024).

    Both the rows to draw from and the sizes of the classes are those of the batch,
    where rows whose label is hidden count as one more class.
    """
    xt = schedule.add_noise(x0, noise, t)
    signal, sigma = schedule.signal[t][:, None], schedule.noise[t][:, None]
    distance = torch.cdist(xt / signal, x0).square()
    near = (-distance / (2 * (sigma / signal) ** 2)).softmax(dim=1)
    drawn = torch.multinomial(near, 1)[:, 0]
    counts = torch.bincount(labels)[labels]
    accepted = (counts[drawn] >= counts)[:, None]
    clean = torch.where(accepted, x0[drawn], x0)
    implied = (xt - signal * clean) / sigma
    return F.mse_loss(network(xt, t, labels), signal * implied - sigma * clean)


def limited_interval(denoise, scale, null_label):
    """Guide at middle noise levels only (Kynkäänniemi et al. 2024), else w = 1."""

    def mixed(xt, t, labels):
        conditional = denoise(xt, t, labels)
        if not 200 <= t < 800:
            return conditional
        unconditional = denoise(xt, t, torch.full_like(labels, null_label))
        return torch.lerp(unconditional, conditional, scale)

    return mixed


class Whitened(LatentDiffusionOversampler):
    """Diffuse principal components of unit variance."""

    def make(self, X, y):
        self.pca_ = PCA(0.99, whiten=True).fit(X)
        self.fit(self.pca_.transform(X), y)
        return self

    def draw(self, labels, seed):
        return self.pca_.inverse_transform(self.sample(labels, random_state=seed))


class Residual(LatentDiffusionOversampler):
    """Diffuse z − μ_y in the metric of the pooled covariance; class means shrunk."""

    def make(self, X, y):
        counts = np.bincount(y)
        means = np.array([X[y == c].mean(axis=0) for c in range(len(counts))])
        keep = (counts / (counts + 5))[:, None]
        self.centres_ = keep * means + (1 - keep) * X.mean(axis=0)
        covariance = OAS().fit(X - means[y]).covariance_ + 1e-6 * np.eye(X.shape[1])
        self.factor_ = cholesky(covariance, lower=True)
        white = solve_triangular(self.factor_, (X - means[y]).T, lower=True).T
        self.scaler_ = StandardScaler().fit(X)
        rows = self.scaler_.transform(X).astype(np.float32)
        self.judge_ = ClassPosterior(rows, y, np.random.RandomState(0))
        self.set_params(n_candidates=1).fit(white, y)
        return self

    def draw(self, labels, seed):
        doubled = np.repeat(labels, 2)
        white = self.sample(doubled, random_state=seed)
        rows = self.centres_[doubled] + white @ self.factor_.T
        scaled = self.scaler_.transform(rows).astype(np.float32)
        weights = self.judge_.log_proba(scaled, doubled)
        return rows[
            choose(weights, doubled, np.bincount(labels), np.random.RandomState(seed))
        ]


# Name -> what replaces the loss, class of the over-sampler, its parameters.
TRAININGS = {
    "defaults": {},
    "min-SNR weighting": dict(loss=min_snr),
    "CBDM": dict(loss=class_balancing),
    "T2H": dict(loss=tail_to_head),
    "principal components, whitened": dict(sampler=Whitened),
    "residual diffusion": dict(sampler=Residual),
    "rows drawn ∝ n_c": dict(params=dict(class_sampling=1.0)),
    "classes drawn alike": dict(params=dict(class_sampling=0.0)),
    "every fourth label hidden": dict(params=dict(label_dropout=0.25)),
    "width 256": dict(params=dict(hidden_dim=256)),
    "2000 steps": dict(params=dict(max_steps=2000)),
}
# Of the model with the defaults: what replaces `guided`, and parameters of sampling.
SAMPLINGS = {
    **{
        f"w = {w}, {n} candidate{'s' * (n > 1)}": dict(guidance_scale=w, n_candidates=n)
        for w in (0.2, 0.4, 0.7, 1.0)
        for n in (1, 2)
    },
    "w = auto, 1 candidate": dict(n_candidates=1),
    "w = auto, 4 candidates": dict(n_candidates=4),
    "limited-interval guidance": dict(guided=limited_interval),
    "20 DDIM steps": dict(n_inference_steps=20),
    "eta = 1": dict(eta=1.0),
    "half by the closed form": dict(gaussian_share=0.5),
    "closed form alone": dict(gaussian_share=1.0),
}


def memorised(X, y, X_aside, seed):
    """Encode rows by a network that was trained on X until it knew all of them."""
    scaler = StandardScaler().fit(X)
    network = MLPClassifier((256, 64), alpha=1e-5, max_iter=80, tol=0,
                            n_iter_no_change=80, random_state=seed)  # fmt: skip
    network.fit(scaler.transform(X), y)

    def encode(X):
        hidden = scaler.transform(X)
        for layer in range(2):
            hidden = hidden @ network.coefs_[layer] + network.intercepts_[layer]
            hidden = np.maximum(hidden, 0)
        return hidden.astype(np.float32)

    head = network.coefs_[-1].T, network.intercepts_[-1]
    return encode(X), encode(X_aside), head


def problem(kind, seed, path):
    """Return features and labels, those set aside, and a head or None."""
    if kind == "digits":
        order = np.random.RandomState(seed).permutation(10)
        digits = load_digits_lt(test_size=0.4, class_order=order, random_state=seed)
        return (
            digits.data, digits.target, digits.data_test, digits.target_test, None
        )  # fmt: skip
    with np.load(path) as file:
        X, y = file["X_train"], file["y_train"].astype(int)
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    kept, aside = list(folds.split(X, y))[seed]
    X, y, X_aside, y_aside = X[kept], y[kept], X[aside], y[aside]
    if kind == "foreign encoder":
        return X, y, X_aside, y_aside, None
    X, X_aside, head = memorised(X, y, X_aside, seed)
    return X, y, X_aside, y_aside, head


def evaluate(kind, seed, path, training):
    """Return name -> balanced accuracy in % for one problem and one training."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)  # for the losses that draw something themselves
    warnings.simplefilter("ignore", ConvergenceWarning)
    X, y, X_aside, y_aside, head = problem(kind, seed, path)
    counts = np.bincount(y)
    missing = np.repeat(np.arange(len(counts)), counts.max() - counts)
    y_full = np.concatenate([y, missing])

    def accuracy(model, X, y, log_prior=0):
        log_p = np.log(model.fit(X, y).predict_proba(X_aside) + 1e-30) - log_prior
        return 100 * balanced_accuracy_score(y_aside, log_p.argmax(axis=1))

    def score(new):
        return accuracy(
            linear_head(len(y_full), seed), np.concatenate([X, new]), y_full
        )

    settings = TRAININGS[training]
    sampler = settings.get("sampler", LatentDiffusionOversampler)
    sampler = sampler(random_state=seed, **settings.get("params", {}))
    replaced = contextlib.nullcontext()
    if "loss" in settings:
        replaced = mock.patch.object(_training, "denoising_loss", settings["loss"])
    with replaced:
        getattr(sampler, "make", sampler.fit)(X, y)
    if hasattr(sampler, "draw"):
        return {training: score(sampler.draw(missing, seed))}
    new = sampler.sample(missing, random_state=seed)
    scores = {training: score(new)}
    if training != "defaults":
        return scores

    log_prior = np.log(counts / counts.sum())
    scores["no resampling"] = accuracy(linear_head(len(y), seed), X, y)
    scores["label shift"] = accuracy(linear_head(len(y), seed), X, y, log_prior)
    k = max(1, min(5, counts.min() - 1))
    for rival in RandomOverSampler(), SMOTE(k_neighbors=k):
        X_rival, y_rival = rival.set_params(random_state=seed).fit_resample(X, y)
        name = type(rival).__name__
        scores[name] = accuracy(linear_head(len(y_full), seed), X_rival, y_rival)
    X_full = np.concatenate([X, new])
    weight, bias = fitted_head(X, y, np.ones(len(y)))
    own = pull_to_real_rows(*X.shape)
    pulls = {"head of LDMLRClassifier": own, "pulled by 0.1": 0.1, "pulled by 1": 1.0}
    for name, pull in pulls.items():
        scores[name] = accuracy(
            AnchoredHead(weight, bias - log_prior, alpha=pull), X_full, y_full
        )
    if head is not None:
        weight, bias = head
        logits = X_aside @ weight.T + bias - log_prior
        scores["its own head, label shift"] = 100 * balanced_accuracy_score(
            y_aside, logits.argmax(axis=1)
        )
        for pull in (0.01, 0.1, 1.0):
            scores[f"its own head, pulled by {pull}"] = accuracy(
                AnchoredHead(weight, bias - log_prior, alpha=pull), X_full, y_full
            )
    scores["recall r, in %"] = 100 * sampler.expected_recall_
    defaults = sampler.get_params()
    for name, changes in SAMPLINGS.items():
        params = {key: value for key, value in changes.items() if key != "guided"}
        sampler.set_params(**{**defaults, **params})
        guided = changes.get("guided", module.guided)
        with mock.patch.object(module, "guided", guided):
            scores[name] = score(sampler.sample(missing, random_state=seed))
    return scores


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    problems = {"digits": 4, "foreign encoder": 2, "own encoder": 2}
    tasks = [
        (kind, seed, arguments.features, training)
        for training in TRAININGS
        for kind, draws in reversed(problems.items())
        for seed in range(draws)
    ]
    found = Parallel(arguments.jobs, verbose=5)(delayed(evaluate)(*t) for t in tasks)
    scores = {}
    for (kind, *_), values in zip(tasks, found, strict=True):
        for name, value in values.items():
            scores.setdefault(name, {}).setdefault(kind, []).append(value)
    rows = [["", *problems]]
    for name, by_kind in scores.items():
        means = [np.mean(by_kind.get(kind, np.nan)) for kind in problems]
        rows.append([name, *("–" if np.isnan(m) else f"{m:.1f}" for m in means)])
    title = "Balanced accuracy in % on rows set aside"
    print(as_text(title, rows))
    record = {
        "machine": machine(),
        "balanced_accuracy": scores,
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(record, indent=1) + "\n")
    path.with_suffix(".rst").write_text(as_rst(title, rows))


if __name__ == "__main__":
    main()
