# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The defaults, and changes to them, on parts of training images set aside.

    python examples/benchmarks/set_aside.py IMAGES.npz --keep DIR [--problems AG]
        [--seeds 3] [--jobs 2] [--json OUT]

IMAGES.npz holds X_train and y_train, the images of CIFAR-10-LT. Each problem takes a
long-tailed part of them with its classes in another order, trains a network on it by
the paper's recipe, and sets up to 600 further images a class aside: rows of an encoder
that knows its training rows, as the published ones are, without a test set. Features
are kept in DIR; one problem takes 9 to 35 minutes of one thread the first time,
seconds later. Changes were picked by what they gain on A to F, the last of them on J
and K too; G to L were made afterwards, to see what is left of it. "Head of unseen rows"
is told four fifths of the rows set aside and scored on the last one, in all columns or
in the plane of the class means of the training rows. The last table tells where unseen
rows of the rarest third of the classes lie beside the training rows, and where
generated ones do; imitation is w = 1 with one candidate. Results go to set_aside.json
and, as tables, to set_aside.rst beside this file.
"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from accuracy import linear_head, machine
from accuracy_tables import as_rst, as_text
from imblearn import FunctionSampler
from imblearn.over_sampling import SMOTE
from joblib import Parallel, delayed
from sklearn.metrics import balanced_accuracy_score
from unseen_rows import ceilings, describe

from ldmlr_sklearn import FeatureEncoder, LatentDiffusionOversampler, LDMLRClassifier
from ldmlr_sklearn._backbones._paper_networks import CifarResNet


class Problem(NamedTuple):
    """A part of the images, and the network that is trained on it."""

    class_order: tuple  # the largest class first
    n_max: int  # of its images
    n_min: int  # of the rarest class
    max_epochs: int
    n_blocks: int = 3  # of each of three stages: 20 layers
    mixup_alpha: float = 0.5
    seed: int = 1  # of which images are taken


PROBLEMS = {
    "A": Problem((0, 1, 2, 3, 4, 5, 6), 1500, 32, 120, n_blocks=5, seed=0),
    "B": Problem((2, 3, 1, 4, 0, 5), 1500, 50, 120, seed=0),
    "C": Problem((1, 3, 4, 2, 0), 1800, 40, 120, seed=0),
    "D": Problem((0, 2, 3, 4, 1, 5), 2400, 24, 120, seed=0),
    "E": Problem((1, 2, 0, 3, 4), 1600, 20, 120, seed=0),
    "F": Problem((4, 3, 2, 1, 0, 5, 6), 440, 30, 200, seed=0),
    "G": Problem((1, 0, 2, 4, 3, 5), 2300, 28, 120),
    "H": Problem((0, 4, 1, 3, 2, 5, 6), 800, 25, 200),
    "I": Problem((3, 0, 2, 1, 4), 700, 35, 200, mixup_alpha=0.0),
    "J": Problem((0, 2, 1, 4, 3, 5), 3000, 30, 120),
    "K": Problem((1, 2, 0, 4, 3, 5, 6), 2000, 40, 120),
    "L": Problem((2, 0, 1, 3, 4, 5), 1100, 22, 160, mixup_alpha=0.0),
}
PICKED_ON, CHECKED_ON = "ABCDEF", "GHIJKL"
N_ASIDE = 600
IMITATION = dict(guidance_scale=1.0, n_candidates=1)
CEILINGS = "head of unseen rows", "the same, in the plane"
OURS = ("over-sampler", "LDMLRClassifier", "from the network's head")


def lower(recall):
    """Guidance in place of 0.35 + 0.75 (1 − r)."""
    return min(1.0, 0.25 + (1 - recall))


# Name -> parameters of sampling, guidance by the recall, power of the class sizes that
# predictions are divided by.
CHANGES = {
    "eta = 1": (dict(eta=1.0), None, 0.0),
    "w = 0.25 + (1 − r)": ({}, lower, 0.0),
    "both": (dict(eta=1.0), lower, 0.0),
    "predictions over n_c to the 0.2": ({}, None, 0.2),
}


def split(problem, y):
    """Return the image numbers and classes 0, 1, … to learn from, and those aside."""
    rng, last = np.random.RandomState(problem.seed), len(problem.class_order) - 1
    parts = []
    for place, label in enumerate(problem.class_order):
        rare = (problem.n_min / problem.n_max) ** (place / last)
        n_rows = int(problem.n_max * rare)
        rows = rng.permutation(np.flatnonzero(y == label))
        parts.append((rows[:n_rows], rows[n_rows : n_rows + N_ASIDE]))
    return [
        (np.concatenate(rows), np.repeat(np.arange(last + 1), [len(r) for r in rows]))
        for rows in zip(*parts, strict=True)
    ]


def keep_features(name, images, folder):
    """Make the file of a problem's features, unless the folder has it."""
    path = Path(folder, f"{name}.npz")
    if path.exists():
        return
    torch.set_num_threads(1)
    problem = PROBLEMS[name]
    with np.load(images) as file:
        X, y = file["X_train"], file["y_train"].astype(int)
    (rows, y_train), (aside, y_test) = split(problem, y)
    encoder = FeatureEncoder(
        partial(CifarResNet, problem.n_blocks, num_classes=0),
        max_epochs=problem.max_epochs,
        schedule="step",
        mixup_alpha=problem.mixup_alpha,
        batch_size=64,
        precision="bfloat16",  # nearly twice as fast where processors have it
        random_state=0,
        checkpoint=path.with_suffix(".ckpt"),
    )
    encoder.fit(X[rows], y_train)
    part = path.with_suffix(".part.npz")
    np.savez(
        part,
        X_train=encoder.transform(X[rows]),
        y_train=y_train,
        X_test=encoder.transform(X[aside]),
        y_test=y_test,
        head_weight=encoder.head_weight_,
        head_bias=encoder.head_bias_,
    )
    part.replace(path)  # whole, also where the run was interrupted


class Rows:
    """The features of a problem, and how a method that learns from them is scored."""

    def __init__(self, path, seed):
        with np.load(path) as file:
            self.X, self.y = file["X_train"], file["y_train"]
            self.X_test, self.y_test = file["X_test"], file["y_test"]
            self.head = file["head_weight"], file["head_bias"]
        self.counts = np.bincount(self.y)
        self.log_prior = np.log(self.counts / self.counts.sum())
        self.missing = np.repeat(
            np.arange(len(self.counts)), self.counts.max() - self.counts
        )
        self.seed = seed

    def accuracy(self, logits):
        return 100 * balanced_accuracy_score(self.y_test, logits.argmax(axis=1))

    def fitted(self, X, y):
        """Return the log-probabilities of the rows aside by a head of these rows."""
        return linear_head(len(y), self.seed).fit(X, y).predict_log_proba(self.X_test)

    def simple(self):
        """Return name -> accuracy of what generates nothing, or by interpolation."""
        weight, bias = self.head
        smote = SMOTE(random_state=self.seed).fit_resample(self.X, self.y)
        logits = {
            "SMOTE": self.fitted(*smote),
            "label shift": self.fitted(self.X, self.y) - self.log_prior,
            "network's head, label shift": self.X_test @ weight.T
            + bias
            - self.log_prior,
        }
        return {key: self.accuracy(value) for key, value in logits.items()}

    def ours(self, X_new, power=0.0):
        """Return name -> accuracy with new rows, predictions over n_c to a power."""
        X_full = np.concatenate([self.X, X_new])
        y_full = np.concatenate([self.y, self.missing])
        drawn = FunctionSampler(func=lambda *_: (X_full, y_full), validate=False)
        models = {
            OURS[1]: LDMLRClassifier(oversampler=drawn),
            OURS[2]: LDMLRClassifier(oversampler=drawn, init_head=self.head),
        }
        logits = {OURS[0]: self.fitted(X_full, y_full)}
        for key, model in models.items():
            proba = model.fit(self.X, self.y).predict_proba(self.X_test)
            logits[key] = np.log(proba + 1e-30)
        return {
            key: self.accuracy(value - power * self.log_prior)
            for key, value in logits.items()
        }


def evaluate(name, seed, folder):
    """Return name -> balanced accuracy in % on the rows set aside, and r."""
    torch.set_num_threads(1)
    rows = Rows(Path(folder, f"{name}.npz"), seed)
    sampler = LatentDiffusionOversampler(random_state=seed).fit(rows.X, rows.y)
    defaults, recall = sampler.get_params(), sampler.expected_recall_

    def draw(labels, params):
        """Draw rows, of the same noise whatever the parameters of sampling are."""
        sampler.set_params(**{**defaults, **params})
        return sampler.sample(labels, random_state=seed)

    X_default = draw(rows.missing, {})
    scores = {"n": len(rows.y), "r": float(recall)}
    scores |= rows.simple() | rows.ours(X_default)
    told = ceilings(
        *(rows.X, rows.y, rows.X_test, rows.y_test), partial(linear_head, seed=seed)
    )
    scores |= dict(zip(CEILINGS, told, strict=True))
    scores["changes"] = {}
    for change, (params, guidance, power) in CHANGES.items():
        if guidance is not None:
            params = {**params, "guidance_scale": guidance(recall)}
        X_new = draw(rows.missing, params) if params else X_default
        scores["changes"][change] = rows.ours(X_new, power)

    every = np.repeat(np.arange(len(rows.counts)), N_ASIDE)
    drawn = {"imitation": IMITATION, OURS[0]: {}}
    placed = {"unseen": (rows.X_test, rows.y_test)}
    placed |= {key: (draw(every, params), every) for key, params in drawn.items()}
    scores["rows"] = describe(rows.X, rows.y, placed)
    return scores


def tables(record):
    """Yield title and rows of the three tables."""
    names = list(record)
    others = ("n", "r", "changes", "rows")
    columns = [key for key in record[names[0]][0] if key not in others]

    def mean(name, key):
        return np.mean([scores[key] for scores in record[name]])

    rows = [["problem", "rows", "r", *columns]]
    for name in names:
        shown = [f"{mean(name, key):.1f}" for key in columns]
        rows.append([name, f"{mean(name, 'n'):.0f}", f"{mean(name, 'r'):.2f}", *shown])
    average = [f"{np.mean([mean(n, key) for n in names]):.1f}" for key in columns]
    rows.append(["mean", "", "", *average])
    yield "Balanced accuracy in % on images set aside, defaults", rows

    groups = [[n for n in group if n in record] for group in (PICKED_ON, CHECKED_ON)]
    groups = [group for group in groups if group]
    rows = [["change", "before", *(f"{g[0]}–{g[-1]}" for g in groups)]]
    for change in CHANGES:
        for key in OURS:
            gains = [
                [
                    np.mean([s["changes"][change][key] - s[key] for s in record[name]])
                    for name in group
                ]
                for group in groups
            ]
            shown = [
                f"{np.mean(gain):+.1f} ({min(gain):+.1f} to {max(gain):+.1f})"
                for gain in gains
            ]
            rows.append([change, key, *shown])
    yield "Gain over the defaults in points, mean and range over the problems", rows

    kinds = list(record[names[0]][0]["rows"])
    shown = [("in plane", kinds[0])]
    shown += [("moved", kind) for kind in kinds]
    shown += [("agreement", kind) for kind in kinds[1:]]
    shown += [("spread", kind) for kind in kinds]
    rows = [["problem", *(f"{key}, {kind}" for key, kind in shown)]]
    found = [
        [
            np.mean([scores["rows"][kind][key] for scores in record[name]])
            for key, kind in shown
        ]
        for name in names
    ]
    for name, values in zip(names, found, strict=True):
        rows.append([name, *(f"{value:.2f}" for value in values)])
    rows.append(["mean", *(f"{value:.2f}" for value in np.mean(found, axis=0))])
    yield "Rows of the rarest third of the classes, beside the training rows", rows


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images")
    parser.add_argument("--keep", required=True, help="folder for the features")
    parser.add_argument("--problems", default="".join(PROBLEMS), help="such as ABG")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).with_suffix(".json")
    )
    arguments = parser.parse_args(arguments)
    unknown = set(arguments.problems) - set(PROBLEMS)
    if unknown:
        parser.error(f"problems are {', '.join(PROBLEMS)}; got {sorted(unknown)}")
    folder = Path(arguments.keep)
    folder.mkdir(parents=True, exist_ok=True)
    parallel = Parallel(arguments.jobs, verbose=5)
    parallel(
        delayed(keep_features)(name, arguments.images, folder)
        for name in arguments.problems
    )
    tasks = [(n, seed) for n in arguments.problems for seed in range(arguments.seeds)]
    found = parallel(delayed(evaluate)(*task, folder) for task in tasks)
    record = {}
    for (name, _), scores in zip(tasks, found, strict=True):
        record.setdefault(name, []).append(scores)
    shown = list(tables(record))
    for title, rows in shown:
        print(as_text(title, rows))
    made = {"machine": machine(), "balanced_accuracy": record}
    arguments.json.write_text(json.dumps(made, indent=1) + "\n")
    text = "\n".join(as_rst(title, rows) for title, rows in shown)
    arguments.json.with_suffix(".rst").write_text(text)


if __name__ == "__main__":
    main()
