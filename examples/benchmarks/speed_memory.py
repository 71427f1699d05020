# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Peak memory of `fit` and `sample` on a memory map of rows, above input and output.

Rows are drawn and fitted in a process of their own. What counts is anonymous memory:
pages of the memory map belong to the file, and the system drops them when it needs
room. The output counts only as far as it exceeds its own size.
"""

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

from ldmlr_sklearn import LatentDiffusionOversampler

INTERVAL = 0.02  # seconds between two looks; large blocks take longer to be filled


def peak_memory(n_rows=1_000_000, n_columns=256, n_classes=100, max_steps=30):
    """Bytes that `fit` and `sample` need above input and output.

    Every step of training or of drawing needs as much as the one before, so that few
    will do.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        rows = np.lib.format.open_memmap(
            path, mode="w+", dtype=np.float32, shape=(n_rows, n_columns)
        )
        random = np.random.default_rng(0)
        for start in range(0, n_rows, 10_000):
            part = rows[start : start + 10_000]
            part[:] = random.standard_normal(part.shape, dtype=np.float32)
        rows.flush()
        del rows
        command = [sys.executable, __file__, str(path), str(n_classes), str(max_steps)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(output.stdout)


def anonymous_bytes(maps, n_output=0):
    """Sum the anonymous memory of all mappings, less that of an output.

    Parameters
    ----------
    maps : str
        Text of /proc/self/smaps.
    n_output : int
        Bytes of the output. It is in the mapping with most anonymous memory, of which
        so many bytes at most are left out: a second copy of the output is not.
    """
    sizes = [
        1024 * int(line.split()[1])
        for line in maps.splitlines()
        if line.startswith("Anonymous:")
    ]
    return sum(sizes) - min(max(sizes, default=0), n_output)


def peak_while(function, n_output=0):
    """Peak of anonymous memory while a function runs, above what was there before."""
    smaps = Path("/proc/self/smaps")
    before = peak = anonymous_bytes(smaps.read_text())
    done = threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(INTERVAL):
            peak = max(peak, anonymous_bytes(smaps.read_text(), n_output))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        function()
    finally:
        done.set()
        watcher.join()
    return peak - before


def peaks_of_process(path, n_classes, max_steps):
    """Fit a memory map and draw as many rows; return both peaks."""
    X = np.load(path, mmap_mode="r")
    y = np.arange(len(X)) % n_classes
    params = dict(n_inference_steps=2, device="cpu", random_state=0)
    few = slice(10 * n_classes)
    # What the libraries need at all, whatever the rows are.
    LatentDiffusionOversampler(max_steps=2, **params).fit(X[few], y[few]).sample(y[few])
    sampler = LatentDiffusionOversampler(max_steps=max_steps, **params)
    fitting = peak_while(lambda: sampler.fit(X, y))
    drawing = peak_while(lambda: sampler.sample(y, random_state=0), X.nbytes)
    return {"fit": fitting, "sample": drawing}


if __name__ == "__main__":
    print(json.dumps(peaks_of_process(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
