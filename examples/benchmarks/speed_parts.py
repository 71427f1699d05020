# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The single measurements of ``speed.py``; each returns plain numbers."""

import json
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import numpy as np
import torch
from accuracy import linear_head
from imblearn.over_sampling import SMOTE, SVMSMOTE, BorderlineSMOTE, RandomOverSampler
from torch.utils.flop_counter import FlopCounterMode

from ldmlr_sklearn import FeatureEncoder, LatentDiffusionOversampler

# What the published configuration asks for (config/cifar10/cifar10_LSC_Mixup.txt).
PUBLISHED = dict(epochs=201, batch=256, sampling_steps=1000, sampling_batch=1024)


def seconds(function, n_repeats=3):
    """Median seconds of some repeats, after one that does not count."""
    function()
    return float(np.median([timed(function)[0] for _ in range(n_repeats)]))


def timed(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def product_rate(dtype=torch.float32, size=2048):
    """Operations a second of square matrix products."""
    a = torch.ones(size, size, dtype=dtype)
    return 2 * size**3 / seconds(lambda: a @ a, 10)


def fit_resample(X, y):
    """Seconds of the defaults, and how many rows came of it."""
    runs = [timed(lambda: _sampler().fit_resample(X, y)) for _ in range(3)]
    return float(np.median([run[0] for run in runs])), len(runs[0][1][1])


def _sampler(**params):
    return LatentDiffusionOversampler(device="cpu", random_state=0, **params)


def drawing(X, y, n_rows=100_000):
    """Seconds of `sample` for so many rows, classes in equal shares."""
    sampler = _sampler().fit(X, y)
    labels = np.resize(sampler.classes_, n_rows)
    return seconds(lambda: sampler.sample(labels, random_state=0))


def loops(X, y):
    """Operations a second that training and drawing reach."""
    sampler = _sampler(max_steps=100)
    with FlopCounterMode(display=False) as counter:
        _sampler(max_steps=1).fit(X, y)
    training = 100 * counter.get_total_flops() / seconds(lambda: sampler.fit(X, y))
    labels = np.resize(sampler.classes_, 20_000)
    with FlopCounterMode(display=False) as counter:
        sampler.sample(labels)
    return training, counter.get_total_flops() / seconds(lambda: sampler.sample(labels))


def published(folder, n_classes, n_train, n_new):
    """Extrapolated seconds of the published implementation in `folder`.

    Seconds of one training step and of one sampling step, times their numbers. Its
    network needs einops; what else its module imports is not used here.
    """
    for name, attribute in {
        "accelerate": "Accelerator",
        "ema_pytorch": "EMA",
        "denoising_diffusion_pytorch.version": "__version__",
    }.items():
        stub = types.ModuleType(name)
        setattr(stub, attribute, None)
        sys.modules.setdefault(name.split(".")[0], stub)
        sys.modules.setdefault(name, stub)
    sys.path.insert(0, str(folder))
    from model.ddpm_conditional import ConditionalDiffusion1D, UNet_conditional

    network = UNet_conditional(
        dim=64, dim_mults=(1, 2, 4, 8), channels=1, num_classes=n_classes
    )
    model = ConditionalDiffusion1D(
        network, seq_length=64, timesteps=1000, objective="pred_x0"
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    rows = torch.rand(PUBLISHED["batch"], 1, 64)
    labels = torch.arange(PUBLISHED["batch"]) % n_classes

    def training_step():
        optimizer.zero_grad()
        model(rows, labels).backward()
        optimizer.step()

    many = torch.randn(PUBLISHED["sampling_batch"], 1, 64)
    many_labels = torch.arange(len(many)) % n_classes
    times = torch.full((len(many),), 500)

    @torch.no_grad()
    def sampling_step():
        network(many, times, many_labels)

    step, draw = seconds(training_step), seconds(sampling_step)
    n_steps = PUBLISHED["epochs"] * -(-n_train // PUBLISHED["batch"])
    n_draws = -(-n_new // len(many)) * PUBLISHED["sampling_steps"]
    return step * n_steps + draw * n_draws


def encoding(images, backbone, n_images=10_000):
    """Seconds of `transform` and of a bare batched loop over the same network."""
    images = images[:n_images]
    encoder = FeatureEncoder(backbone, device="cpu", random_state=0).fit(images[:64])
    batch_size = encoder.batch_size
    network = encoder.module_
    size = images.shape[1]
    batch = torch.randn(batch_size, 3, size, size)

    @torch.inference_mode()
    def bare():
        for _ in range(0, len(images), batch_size):
            network.forward_head(network.forward_features(batch), pre_logits=True)

    return seconds(lambda: encoder.transform(images)), seconds(bare)


def memory(n_rows=1_000_000, n_columns=256, n_classes=100, max_steps=100):
    """Bytes that fit and sample need above input and output, in their own process."""
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
        output = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(output.stdout)


def _memory_of_process(path, n_classes, max_steps):
    """Print peaks of a process that fits a memmap and draws as many rows."""

    def status(name):
        lines = Path("/proc/self/status").read_text().splitlines()
        (line,) = [line for line in lines if line.startswith(name)]
        return 1024 * int(line.split()[1])

    def anonymous_peak(function):
        """Peak of memory that is not pages of the input file."""
        import threading

        peak, done = 0, threading.Event()

        def watch():
            nonlocal peak
            while not done.wait(0.005):
                peak = max(peak, status("RssAnon"))

        watcher = threading.Thread(target=watch)
        watcher.start()
        result = function()
        done.set()
        watcher.join()
        return peak, result

    X = np.load(path, mmap_mode="r")
    y = np.arange(len(X)) % n_classes
    small = _sampler(max_steps=2).fit(X[:1000], y[:1000])  # what torch needs at all
    small.sample(y[:1000])
    before = status("RssAnon")
    sampler = _sampler(max_steps=max_steps)
    fitting, _ = anonymous_peak(lambda: sampler.fit(X, y))
    start = status("RssAnon")
    drawing, rows = anonymous_peak(lambda: sampler.sample(y, random_state=0))
    print(
        json.dumps({"fit": fitting - before, "sample": drawing - start - rows.nbytes})
    )


def growth(n=2_000, d=16, K=4, decades=(1, 3, 10, 30, 100), max_steps=50):
    """Seconds of fit (a fixed number of steps) and sample as n, d and K grow."""
    found = {}
    for axis in ("rows", "columns", "classes"):
        points = []
        for factor in decades:
            shape = {"rows": n, "columns": d, "classes": K}
            shape[axis] *= factor
            shape["rows"] = max(shape["rows"], 5 * shape["classes"])
            random = np.random.default_rng(0)
            X = random.standard_normal((shape["rows"], shape["columns"]), "float32")
            y = np.arange(len(X)) % shape["classes"]
            sampler = _sampler(max_steps=max_steps)
            fit = timed(lambda s=sampler, X=X, y=y: s.fit(X, y))[0]
            draw = timed(lambda s=sampler, y=y: s.sample(y, random_state=0))[0]
            points.append({"size": shape[axis], "fit": fit, "sample": draw})
        found[axis] = points
    return found


def peers(X, y, X_test, y_test, forest=True):
    """Seconds and accuracy of over-samplers side by side, with one head."""
    samplers = {
        "RandomOverSampler": RandomOverSampler(random_state=0),
        "SMOTE": SMOTE(random_state=0),
        "BorderlineSMOTE": BorderlineSMOTE(random_state=0),
        "SVMSMOTE": SVMSMOTE(random_state=0),
        "LatentDiffusionOversampler": _sampler(),
    }
    if forest:
        samplers["ForestDiffusion"] = _ForestSampler()
    found = {}
    for name, sampler in samplers.items():
        used, (rows, labels) = timed(lambda s=sampler: s.fit_resample(X, y))
        head = linear_head(len(labels), 0).fit(rows, labels)
        recall = [(head.predict(X_test[y_test == c]) == c).mean() for c in np.unique(y)]
        found[name] = {"seconds": used, "accuracy": float(np.mean(recall))}
    return found


class _ForestSampler:
    """ForestDiffusion (Jolicoeur-Martineau et al. 2024) as an over-sampler.

    Its own settings, but for 20 noise levels and 20 repeats of each row in place of 50
    and 100, which would take days on two cores.
    """

    def fit_resample(self, X, y):
        from ForestDiffusion import ForestDiffusionModel

        model = ForestDiffusionModel(
            X.astype(np.float64), label_y=y, n_t=20, duplicate_K=20, seed=0, n_jobs=2
        )
        counts = np.bincount(y)
        missing = np.repeat(np.arange(len(counts)), counts.max() - counts)
        drawn = model.generate(batch_size=len(missing) * 2)
        rows, labels = [X], [y]
        for label, lacking in enumerate(counts.max() - counts):
            chosen = drawn[drawn[:, -1] == label][:lacking]
            rows.append(chosen[:, :-1])
            labels.append(np.full(len(chosen), label))
        return np.concatenate(rows), np.concatenate(labels)


def on_gpu(X, y):
    """Seconds of a fit, and of 1,000,000 rows of 512 columns, on a GPU."""
    fit = seconds(lambda: LatentDiffusionOversampler(random_state=0).fit(X, y))
    random = np.random.default_rng(0)
    wide = random.standard_normal((20_000, 512), dtype=np.float32)
    labels = np.arange(len(wide)) % 10
    sampler = LatentDiffusionOversampler(max_steps=50, random_state=0)
    sampler.fit(wide, labels)
    many = np.resize(labels, 1_000_000)
    return {"fit": fit, "sample": seconds(lambda: sampler.sample(many))}


if __name__ == "__main__":
    _memory_of_process(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
