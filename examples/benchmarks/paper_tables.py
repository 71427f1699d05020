# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The tables of ``reproduce_paper.py``: means over seeds, and gains with intervals."""

import numpy as np
from accuracy_scores import bootstrap_interval
from accuracy_tables import cell
from paper_runs import GROUPS

# column of a record -> title, digits (None: two that count)
TITLES = {
    "paper": ("paper", 2),
    "all": ("ours", 2),
    "picked": ("picked", 2),
    **{group: (group, 1) for group in GROUPS},
    "n_added": ("rows added", 0),
    "n_steps": ("training steps", 0),
    "distance": ("Fréchet distance", 1),
    "seconds": ("seconds", None),
}


def two_that_count(values):
    """Return the number of digits after the point that shows two of a mean."""
    mean = abs(np.mean(values))
    return int(np.clip(1 - np.floor(np.log10(mean)), 0, 2)) if mean else 0


def tables(records):
    """Yield title and rows of a table for every data set."""
    for name in dict.fromkeys(found["data"] for found in records):
        own = [found for found in records if found["data"] == name]
        columns = [key for key in TITLES if any(f.get(key) is not None for f in own)]
        lines = []
        for row in dict.fromkeys(found["row"] for found in own):
            of_row = [found for found in own if found["row"] == row]
            cells = []
            for key in columns:
                if key == "paper":
                    cells.append(str(of_row[0]["paper"] or "–"))
                    continue
                values = [{key: found.get(key)} for found in of_row]
                digits = TITLES[key][1]
                if digits is None:
                    digits = two_that_count([found[key] for found in of_row])
                cells.append(cell(values, key, digits))
            lines.append([row, *cells])
        n_seeds = 1 + max(found["seed"] for found in own)
        what = "accuracy in %, " if "all" in columns else ""
        title = f"{name}: {what}mean ± deviation over {n_seeds} seed(s)"
        yield title, [["", *(TITLES[key][0] for key in columns)], *lines]


def rivals_of(row, rows):
    """Yield the rows that a row of generated features is compared with."""
    head = row.split(", ")[0]
    rivals = []
    if "LDMLR" in row:
        rivals = [row.replace("LDMLR", "replay"), row.replace(" + LDMLR", "")]
        rivals += [f"{head}, nothing"]
    elif row.endswith(", latent space"):
        rivals = [other for other in rows if other.startswith(f"{head}, image space")]
        rivals += [f"{head}, replay", f"{head}, nothing"]
    elif ", DDIM in " in row:
        ancestral = [other for other in rows if other.startswith(f"{head}, DDPM")]
        rivals = [*ancestral[-1:], f"{head}, nothing"]
    for rival in rivals:
        if rival != row and rival in rows:
            yield rival


def differences(records, test_rows):
    """Points that LDMLR gains, with 95 % intervals by a bootstrap over test rows.

    Returns data -> "row - rival" -> "all" or group of classes -> mean, low, high.
    """
    found = {}
    for name, (y_test, group) in test_rows.items():
        parts = {"all": np.ones(len(y_test), bool)}
        parts |= {each: group == each for each in GROUPS if np.any(group == each)}
        hits = {}
        for line in records:
            if line["data"] == name and line["_hits"] is not None:
                hits.setdefault(line["row"], []).append(line["_hits"])
        means = {row: np.mean(each, axis=0) for row, each in hits.items()}
        for row in means:
            for rival in rivals_of(row, means):
                gap = 100 * (means[row] - means[rival])
                found.setdefault(name, {})[f"{row} - {rival}"] = {
                    part: [
                        round(v, 3) for v in bootstrap_interval(gap[own], y_test[own])
                    ]
                    for part, own in parts.items()
                }
    return found


def difference_tables(found):
    """Yield title and rows of a table of differences for every data set."""
    for name, pairs in found.items():
        parts = list(next(iter(pairs.values())))
        lines = [
            [
                *pair.split(" - "),
                *(
                    "{:+.2f} [{:+.2f}, {:+.2f}]".format(*intervals[part])
                    for part in parts
                ),
            ]
            for pair, intervals in pairs.items()
        ]
        title = f"{name}: gain in percentage points, 95 % interval over test rows"
        yield title, [["", "over", *parts], *lines]
