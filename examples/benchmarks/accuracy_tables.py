# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The tables of ``accuracy.py``, as plain text and as reStructuredText."""

import numpy as np
from scipy.stats import wilcoxon

from ldmlr_sklearn.metrics import SHOT_GROUPS


def cell(rows, column, digits):
    """Mean ± standard deviation over the seeds, what is missing, or "fails"."""
    failed = sum("fails" in row for row in rows)
    if failed:
        return "fails" if failed == len(rows) else f"fails {failed}/{len(rows)}"
    values = [row[column] for row in rows if row[column] is not None]
    if not values:
        return "–"
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"


COLUMNS = {  # title -> column and digits
    "balanced acc.": ("balanced_accuracy", 1),
    **{f"{group}-shot": (group, 1) for group in SHOT_GROUPS},
    "log-loss": ("log_loss", 3),
    "ECE": ("calibration_error", 3),
    "seconds": ("seconds", 1),
}


def tables_of(name, entry):
    """Yield title and rows of the tables of one data set, one a head."""
    counts = entry["train_counts"]
    for head, results in entry["results"].items():
        title = (
            f"{name}, {head}: {entry['n_train']} training rows, {entry['n_columns']} "
            f"columns, {len(counts)} classes of {counts[0]} to {counts[-1]} rows, "
            f"{entry['n_test']} test rows, {entry['n_seeds']} seeds"
        )
        lines = [
            [method, *(cell(rows, *column) for column in COLUMNS.values())]
            for method, rows in results.items()
        ]
        yield title, [["method", *COLUMNS], *lines]


def overview(record, head):
    """Balanced accuracy of every method on every data set: title and rows."""
    entries = {n: e["results"][head] for n, e in record.items() if head in e["results"]}
    methods = list(dict.fromkeys(m for results in entries.values() for m in results))
    lines = [
        [
            name,
            *(
                cell(results[method], "balanced_accuracy", 1).split(" ±")[0]
                if method in results
                else "–"
                for method in methods
            ),
        ]
        for name, results in entries.items()
    ]
    return f"Balanced accuracy in %, {head}", [["data set", *methods], *lines]


def differences(record, head):
    """Percentage points that we gain, with 95 % intervals: title and rows."""
    entries = {n: e["differences"].get(head, {}) for n, e in record.items()}
    pairs = list(dict.fromkeys(pair for found in entries.values() for pair in found))

    def shown(interval):
        if interval is None:
            return "–"
        mean, low, high = interval
        return f"{mean:+.1f}" + ("" if low is None else f" [{low:+.1f}, {high:+.1f}]")

    lines = [
        [name, *(shown(found.get(pair)) for pair in pairs)]
        for name, found in entries.items()
        if found
    ]
    if len(lines) > 1:
        lines.append(["all", *(over_all(entries.values(), pair) for pair in pairs)])
    title = f"Gain in balanced accuracy in percentage points, {head}"
    return title, [["data set", *pairs], *lines]


def over_all(entries, pair):
    """Median gain over data sets, how many were won and lost, and Wilcoxon's p.

    The signed-rank test over data sets is what Demšar recommends for two methods
    ("Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006);
    from fewer than six data sets it cannot tell anything at the 5 % level.
    """
    gains = np.array([found[pair][0] for found in entries if pair in found])
    text = f"{np.median(gains):+.1f} ({np.sum(gains > 0)} : {np.sum(gains < 0)})"
    if len(gains) < 6 or not gains.any():
        return text
    return f"{text}, p = {wilcoxon(gains, method='approx').pvalue:.3f}"


def as_text(title, rows):
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join([title, *(line.rstrip() for line in lines), ""])


def as_rst(title, rows):
    lines = [", ".join(f'"{text}"' for text in row) for row in rows]
    body = "\n".join(f"   {line}" for line in lines)
    return f".. csv-table:: {title}\n   :header-rows: 1\n\n{body}\n"
