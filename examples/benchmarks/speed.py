# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""How fast the over-sampler and the encoder are, as ratios measured in one run.

    python examples/benchmarks/speed.py FEATURES.npz --images IMAGES.npz
        [--published CLONE] [--before CHECKOUT] [--only fit,sample,...] [--json OUT]

The unit of time is 1 TFLOP of float32 products of 2048² matrices on the same machine,
timed just before. FEATURES.npz holds X_train, y_train, X_test, y_test; IMAGES.npz holds
X_train. CLONE is a folder with the published implementation (AlvinHan123/LDMLR), whose
step times are then measured beside ours and extrapolated; it needs einops. Peers are
those of ForestDiffusion, tabdm and ctgan that are installed, beside the SMOTE family.
Results go to speed.json and, as tables, to speed.rst beside this file, as each part
ends. Run it on an idle machine.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import speed_growth
import speed_memory
import speed_parts as parts
import speed_peers
import speed_profile
import torch
from accuracy import machine
from accuracy_tables import as_rst, as_text

from ldmlr_sklearn._torch_utils import product_dtype

NOT_YET = "not yet run"


def measure_fit(data, options, unit):
    used, n_rows = parts.fit_resample(data["X_train"], data["y_train"])
    title = f"`fit_resample`, {len(data['y_train'])} to {n_rows} rows, over the unit"
    found = {title: ratio(used, unit, "≤ 3.0")}
    if options.published:
        counts = np.bincount(data["y_train"])
        theirs = parts.published(
            options.published, len(counts), len(data["y_train"]), n_rows - counts.sum()
        )
        found["the same over the published implementation, extrapolated"] = {
            **ratio(used, theirs, "≤ 1/500"),
            "shown": f"1/{theirs / used:.0f}",
        }
    return found


def measure_sample(data, options, unit):
    used = parts.drawing(data["X_train"], data["y_train"])
    return {"`sample`, 100,000 rows of 64, over the unit": ratio(used, unit, "≤ 1.0")}


def measure_loops(data, options, unit):
    return {
        f"{loop} loop: operations over those of {name} products": {
            "value": share,
            "target": "≥ 60 %" if name == "float32" else "–",
            "shown": f"{100 * share:.0f} %",
        }
        for (loop, name), share in parts.loops(data["X_train"], data["y_train"]).items()
    }


def measure_encode(data, options, unit):
    if options.images is None:
        return {}
    with np.load(options.images) as file:
        images = file["X_train"]
    found = {}
    for backbone in ("cifar_resnet32", "resnet18"):
        ours, bare = parts.encoding(images, backbone)
        what = f"encoding 10,000 images by {backbone}, over a bare forward loop"
        found[what] = ratio(ours, bare, "≤ 1.05")
    return found


def measure_memory(data, options, unit):
    peaks = speed_memory.peak_memory()
    where = "1,000,000 × 256 float32 memmap, 100 classes, above input and output"
    return {
        f"peak memory of `{name}`, {where}": {
            "value": peak,
            "target": "≤ 1 GB",
            "shown": f"{peak / 1e9:.2f} GB",
        }
        for name, peak in peaks.items()
    }


def measure_gpu(data, options, unit):
    found = {}
    if torch.cuda.is_available():
        found = parts.on_gpu(data["X_train"], data["y_train"])
    rows = {}
    for name, (what, target) in GPU_TARGETS.items():
        of_rate = f"GPU: {what}, share of the rate of bfloat16 products"
        rows[f"GPU: {what}"] = {"value": None, "target": target, "shown": NOT_YET}
        rows[of_rate] = {"value": None, "target": "–", "shown": NOT_YET}
        if found:
            used, share = found[name]["seconds"], found[name]["share"]
            rows[f"GPU: {what}"] |= {"value": used, "shown": f"{used:.1f} s"}
            rows[of_rate] |= {"value": share, "shown": f"{100 * share:.1f} %"}
    return rows


GPU_TARGETS = {
    "sample": ("1,000,000 rows of 512 features drawn", "≤ 2 s"),
    "fit": ("fit on the features above", "≤ 5 s"),
}


def ratio(used, reference, target):
    value = used / reference
    return {
        "value": value,
        "seconds": used,
        "reference_seconds": reference,
        "target": target,
        "shown": f"{value:.2f}",
    }


def profile_loops(data, options):
    rate = parts.product_rate(product_dtype(torch.device("cpu")))
    found = speed_profile.measure(data["X_train"], data["y_train"], rate)
    if options.before:
        found["earlier"] = speed_profile.measure_version(
            options.before, options.features, rate
        )
    return found


def grow(data, options):
    found = speed_growth.growth()
    speed_growth.draw(found, options.growth_figure)
    return found


def compare_peers(data, options):
    return speed_peers.compare(data)


# Ratios and sizes with a target: lines of the first table.
MEASURES = {
    "fit": measure_fit,
    "sample": measure_sample,
    "loops": measure_loops,
    "encode": measure_encode,
    "memory": measure_memory,
    "gpu": measure_gpu,
}
# What has tables of its own: how it is measured and shown.
STUDIES = {
    "profile": (profile_loops, speed_profile.tables),
    "growth": (grow, speed_growth.tables),
    "peers": (compare_peers, speed_peers.tables),
}


PARTS = [*MEASURES, *STUDIES]
FIGURE = Path(__file__).parents[2] / "docs" / "images" / "growth.png"


def tables(record):
    """Yield title and rows of every table of the record."""
    rows = [
        [what, found["shown"], found["target"]]
        for name in MEASURES
        for what, found in record["measures"].get(name, {}).items()
    ]
    if rows:
        unit = f"Unit of time: {record['unit']:.1f} s"
        yield unit, [["what", "measured", "target"], *rows]
    for name, (_, shown) in STUDIES.items():
        if name in record:
            yield from shown(record[name])


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--published", type=Path)
    parser.add_argument("--before", type=Path, help="checkout of an earlier version")
    parser.add_argument(
        "--only", help="of " + ", ".join(PARTS), default=",".join(PARTS)
    )
    parser.add_argument("--growth-figure", type=Path, default=FIGURE)
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).with_suffix(".json")
    )
    options = parser.parse_args(arguments)
    options.only = options.only.split(",")
    unknown = [name for name in options.only if name not in PARTS]
    if unknown:
        parser.error(f"no such parts: {unknown}. There are: {', '.join(PARTS)}")
    return options


def main(arguments=None):
    options = parse(arguments)
    with np.load(options.features) as file:
        names = ("X_train", "y_train", "X_test", "y_test")
        data = {name: file[name] for name in names}
    record = {"measures": {}}
    if options.json.exists():
        record = json.loads(options.json.read_text())
    record["machine"] = machine()
    for name in options.only:
        unit = record["unit"] = 1e12 / parts.product_rate()
        if name in STUDIES:
            record[name] = STUDIES[name][0](data, options)
        else:
            record["measures"][name] = MEASURES[name](data, options, unit)
        options.json.write_text(json.dumps(record, indent=1) + "\n")
        shown = [as_rst(*table) for table in tables(record)]
        options.json.with_suffix(".rst").write_text("\n".join(shown))
    for table in tables(record):
        print(as_text(*table))


if __name__ == "__main__":
    main()
