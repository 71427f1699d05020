# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Peak memory of the workers that encode many image files through dask.

    python examples/benchmarks/encode_lazily.py [--files 100000]

Files are made in a temporary folder: 32 x 32 pixels of noise as PNG. Two workers of a
local cluster encode a tenth of them, then all, each time on a fresh cluster, and write
their blocks of features to files. Memory is bounded if the peaks are the same. Writes
encode_lazily.json and .rst beside itself, or where --json says.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import dask.array as da
import numpy as np
from accuracy import machine
from accuracy_tables import as_rst, as_text
from distributed import Client, LocalCluster
from PIL import Image

from ldmlr_sklearn import FeatureEncoder

BLOCK_ROWS = 1000
N_WORKERS = 2


def make_files(folder, n_files):
    """Write images of noise; return their paths."""
    rng = np.random.default_rng(0)
    paths = [str(folder / f"{row:06}.png") for row in range(n_files)]
    for path in paths:
        pixels = rng.integers(0, 256, size=(32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, compress_level=1)
    return np.array(paths)


def peak_memory():
    """Return the peak of this process's memory in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux


def encode(paths, folder, block_rows):
    """Encode files on a fresh cluster; return peaks and seconds."""
    encoder = FeatureEncoder(
        "test_resnet",
        backbone_kwargs={"output_stride": 8},
        image_size=32,
        random_state=0,
        device="cpu",
    ).fit(paths[:2])
    features = encoder.transform(da.from_array(paths, chunks=block_rows))
    cluster = LocalCluster(
        n_workers=N_WORKERS,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
    )
    with cluster, Client(cluster) as client:
        features[: N_WORKERS * block_rows].compute()  # both have loaded all they need
        before = client.run(peak_memory)
        start = time.perf_counter()
        da.to_npy_stack(folder, features)
        seconds = time.perf_counter() - start
        peaks = client.run(peak_memory)
    written = da.from_npy_stack(folder)
    assert written.shape == (len(paths), encoder.n_features_out_)
    rows = slice(len(paths) - 5, None)
    np.testing.assert_allclose(written[rows], encoder.transform(paths[rows]), atol=1e-5)
    return {
        "n_files": len(paths),
        "peak_mib_per_worker": [round(peak, 1) for peak in peaks.values()],
        "peak_mib_after_first_blocks": [round(peak, 1) for peak in before.values()],
        "features_mib": round(written.nbytes / 2**20, 1),
        "seconds": round(seconds, 1),
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--block-rows", type=int, default=BLOCK_ROWS)
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).with_suffix(".json")
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "images").mkdir()
        paths = make_files(folder / "images", options.files)
        runs = [
            encode(paths[:n_files], folder / f"{n_files}", options.block_rows)
            for n_files in (options.files // 10, options.files)
        ]
    title = f"Encoding image files lazily with {N_WORKERS} workers"
    rows = [
        ["files", "peak MiB a worker", "after the first blocks", "features, MiB", "s"]
    ]
    for run in runs:
        peak, first = (
            max(run[f"peak_mib_{name}"])
            for name in ("per_worker", "after_first_blocks")
        )
        cells = (run["n_files"], peak, first, run["features_mib"], run["seconds"])
        rows.append([str(cell) for cell in cells])
    print(as_text(title, rows))
    record = {"machine": machine(), "block_rows": options.block_rows, "runs": runs}
    options.json.write_text(json.dumps(record, indent=1) + "\n")
    options.json.with_suffix(".rst").write_text(as_rst(title, rows))


if __name__ == "__main__":
    main()
