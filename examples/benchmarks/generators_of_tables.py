# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Packages that generate tables, as over-samplers for ``speed_peers.py``.

Each has its own defaults. None of them is needed for anything else here.
"""

import numpy as np

MAX_ROUNDS = 20  # of drawing, until every class has its rows


class FromTables:
    """A generator of tables as an over-sampler that tops up every class.

    Parameters
    ----------
    fit : callable
        (X, y) -> draw, where draw(lacking) returns rows and labels, not always of the
        classes asked for: what is too much is left out, what lacks is asked for again.
    """

    def __init__(self, fit):
        self.fit = fit

    def fit_resample(self, X, y):
        draw = self.fit(X, y)
        counts = np.bincount(y)
        lacking = counts.max() - counts
        rows, labels = [X], [y]
        for _ in range(MAX_ROUNDS):
            drawn, drawn_labels = draw(lacking)
            for label in np.flatnonzero(lacking):
                chosen = drawn[drawn_labels == label][: lacking[label]]
                rows.append(chosen)
                labels.append(np.full(len(chosen), label))
                lacking[label] -= len(chosen)
            if not lacking.any():
                break
        return np.concatenate(rows), np.concatenate(labels)


def forest_diffusion(X, y, n_threads):
    from ForestDiffusion import ForestDiffusionModel

    model = ForestDiffusionModel(
        X.astype(np.float64), label_y=y, seed=0, n_jobs=n_threads
    )

    def draw(lacking):
        model.y_probs = lacking / lacking.sum()
        drawn = model.generate(batch_size=lacking.sum())
        return drawn[:, :-1], drawn[:, -1]

    return draw


def table(X, y):
    """Rows and labels as a frame, of which the last column is the class."""
    import pandas as pd

    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    return frame.assign(label=y.astype(str))


def split(frame):
    return frame.drop(columns="label").to_numpy(), frame["label"].astype(int).to_numpy()


def tab_dm(X, y, n_threads):
    from tabdm import fit_tabdm

    model = fit_tabdm(
        table(X, y), discrete_columns=["label"], target_column="label", random_state=0
    )

    def draw(lacking):
        labels = np.repeat(np.arange(len(lacking)), lacking).astype(str)
        conditions = {"label": labels.tolist()}
        return split(model.generate(len(labels), conditions=conditions))

    return draw


def ctgan(X, y, n_threads):
    import pandas as pd
    from ctgan import CTGAN

    model = CTGAN(enable_gpu=False)
    model.set_random_state(0)
    model.fit(table(X, y), ["label"])

    def draw(lacking):
        parts = [
            model.sample(2 * lacking[label], "label", str(label))
            for label in np.flatnonzero(lacking)
        ]
        return split(pd.concat(parts))

    return draw


def tvae(X, y, n_threads):
    from ctgan import TVAE

    model = TVAE(enable_gpu=False)
    model.set_random_state(0)
    model.fit(table(X, y), ["label"])
    return lambda lacking: split(model.sample(2 * lacking.sum()))
