# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""One seed of each table of ``reproduce_paper.py``: functions that yield its lines.

A line is a row of the table with its scores. What begins with an underscore, such as
the test rows that were right, serves intervals and figures and is not in the record.
"""

import time

import numpy as np
from image_diffusion import generate_images
from paper_runs import Generators, anchored, balancing, follow

from ldmlr_sklearn.metrics import frechet_distance

SAMPLERS = ("none", "LDMLR", "replay", "Gaussian")


def line(row, found, seconds=0.0, **more):
    """Return a row of a table with what was found."""
    found = dict(found)
    hits = found.pop("hits", None)
    seconds += found.pop("head_seconds", 0.0)
    return {
        "row": row,
        **{key: round(value, 4) for key, value in found.items()},
        **more,
        "seconds": round(seconds, 2),
        "_hits": hits,
    }


def heads_on(split, rows, seed, options, kinds=("cross_entropy",)):
    """Score all heads on rows that a generator returned; row -> scores."""
    X, y, _ = rows
    found = {}
    for loss in kinds:
        found |= follow(
            split,
            X,
            y,
            seed,
            loss=loss,
            max_epochs=options.head_epochs,
            concentration=options.concentration,
        )
    return found


def methods(seed, split, options, *, kinds):
    """CE, label shift and WCDAS, each with all samplers."""
    generators = Generators(split, seed, options.max_steps)
    for sampler in SAMPLERS:
        name = "" if sampler == "none" else f" + {sampler}"
        rows = generators.draw(sampler, balancing(split.y_train))
        for row, found in heads_on(split, rows, seed, options, kinds).items():
            yield line(row + name, found, rows[2])
        if split.head is not None and "cross_entropy" in kinds:
            found = anchored(split, *rows[:2], seed)
            yield line(f"label shift{name}, from the encoder's head", found, rows[2])


def amounts_added(seed, split, options, *, cases):
    """CE and label shift for each number of rows added to the classes."""
    generators = Generators(split, seed, options.max_steps)
    for case, extra in cases.items():
        for sampler in SAMPLERS[1:] if extra.any() else SAMPLERS[:1]:
            rows = generators.draw(sampler, extra)
            name = "" if sampler == "none" else f": {sampler}"
            for row, found in heads_on(split, rows, seed, options).items():
                added = int(extra.sum())
                yield line(f"{row}, {case}{name}", found, rows[2], n_added=added)


def spaces(seed, features, options, *, images, encoder):
    """Features, or images that are then encoded, for budgets of time."""
    y_train = features.y_train
    extra = np.minimum(balancing(y_train), options.per_class)
    labels = np.repeat(np.arange(len(extra)), extra)
    generators = Generators(features, seed, options.max_steps)
    rows = {"nothing": generators.draw("none", extra)}
    rows["latent space"] = generators.draw("LDMLR", extra)
    rows["replay"] = generators.draw("replay", extra)
    n_steps = {"latent space": len(generators.sampler.loss_curve_)}
    drawn = {}
    for times in options.budgets:
        case = f"image space, {times:g} × the time"
        start = time.perf_counter()
        drawn[case], n_steps[case] = generate_images(
            images.X_train,
            y_train,
            labels,
            times * generators.fit_seconds,
            seed=seed,
            guidance=options.guidance,
        )
        X = np.concatenate([features.X_train, encoder.transform(drawn[case])])
        y = np.concatenate([y_train, labels])
        rows[case] = X, y, time.perf_counter() - start
    for case, made in rows.items():
        more = dict(n_added=len(made[1]) - len(y_train), n_steps=n_steps.get(case))
        more |= dict(_images=drawn.get(case), _labels=labels)
        for row, found in heads_on(features, made, seed, options).items():
            yield line(f"{row}, {case}", found, made[2], **more)


def growth(seed, split, options):
    """Generated rows of the rarest class after trainings of growing length."""
    rarest = int(np.bincount(split.y_train).argmin())
    unseen = split.X_test[split.y_test == rarest]
    for n_steps in options.after:
        generators = Generators(split, seed, n_steps)
        labels = np.full(len(unseen), rarest)
        new = generators.sampler.sample(labels, random_state=seed)
        found = {"distance": float(frechet_distance(unseen, new))}
        row = f"generated after {n_steps} steps, to unseen"
        yield line(row, found, generators.fit_seconds, _rows=new)


def sampling_steps(seed, split, options):
    """DDIM in few steps against ancestral DDPM sampling in many."""
    extra = np.minimum(balancing(split.y_train), options.per_class)
    generators = Generators(split, seed, options.max_steps)
    cases = {"nothing": (generators.draw("none", extra), 0.0)}
    sampled = [("DDIM", n, 0.0) for n in options.ddim]
    sampled += [("DDPM", n, 1.0) for n in options.ddpm]
    for method, n_steps, eta in sampled:
        generators.sampler.set_params(n_inference_steps=n_steps, eta=eta)
        rows = generators.draw("LDMLR", extra)
        # The seconds of interest are those of sampling.
        cases[f"{method} in {n_steps} steps"] = rows, rows[2] - generators.fit_seconds
    for case, (rows, seconds) in cases.items():
        added = len(rows[1]) - len(split.y_train)
        for row, found in heads_on(split, rows, seed, options).items():
            found.pop("head_seconds")
            yield line(f"{row}, {case}", found, seconds, n_added=added)
