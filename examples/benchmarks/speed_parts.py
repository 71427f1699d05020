# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The single measurements of ``speed.py``; each returns plain numbers."""

import sys
import time
import types

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ldmlr_sklearn import FeatureEncoder, LatentDiffusionOversampler
from ldmlr_sklearn._diffusion_parameters import TrainingParameters
from ldmlr_sklearn._diffusion_training import train_diffusion

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

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


def product_rate(dtype=torch.float32, size=2048, device="cpu"):
    """Operations a second of square matrix products."""
    a = torch.ones(size, size, dtype=dtype, device=device)
    # A number of the product is waited for: devices work on their own.
    return 2 * size**3 / seconds(lambda: (a @ a)[0, 0].item(), 10)


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


def counting():
    """Count operations of products, those that add to their output in place too."""

    def flop(_, left, right, **kwargs):  # of shapes
        return 2 * left[0] * left[1] * right[1]

    in_place = {torch.ops.aten.addmm_: flop}
    return FlopCounterMode(display=False, custom_mapping=in_place)


def loops(X, y, n_steps=200, n_rows=20_000, n_rounds=15):
    """Rates of the training and the drawing loop over that of products of matrices.

    Every round times products and loops one after the other, so that a machine that
    slows down for a while slows both. What a fit does before its first step is not of
    the loop.

    Returns
    -------
    dict
        (loop, dtype of the products) -> median of the rounds.
    """

    def flop(function):
        with counting() as counter:
            function()
        return counter.get_total_flops()

    sampler = _sampler(max_steps=1).fit(X, y)
    labels = np.resize(sampler.classes_, n_rows)
    work = {
        "training": flop(lambda: _sampler(max_steps=1).fit(X, y)),
        "drawing": flop(lambda: sampler.sample(labels)),
    }
    rounds = []
    for _ in range(n_rounds):
        products = {name: product_rate(DTYPES[name]) for name in DTYPES}
        used = {
            "training": _seconds_a_step(X, y, n_steps),
            "drawing": timed(lambda: sampler.sample(labels))[0],
        }
        rounds.append(
            {
                (loop, name): work[loop] / used[loop] / rate
                for loop in work
                for name, rate in products.items()
            }
        )
    return {
        key: float(np.median([found[key] for found in rounds])) for key in rounds[0]
    }


def _seconds_a_step(X, y, n_steps):
    """Median seconds of a training step."""
    ends = []

    def watch(losses, so_far):
        for loss in losses:
            ends.append(time.perf_counter())
            yield loss

    parameters = _sampler(max_steps=n_steps)._parameters(TrainingParameters)
    codes = np.unique(y, return_inverse=True)[1]
    train_diffusion(
        *(X, codes, parameters.resolved(len(X))),
        seeds=(0, 0),
        device=torch.device("cpu"),
        watch=watch,
    )
    return float(np.median(np.diff(ends)))


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
    network = encoder.backbone_
    size = images.shape[1]
    batch = torch.randn(batch_size, 3, size, size)

    @torch.inference_mode()
    def bare():
        for _ in range(0, len(images), batch_size):
            network.forward_head(network.forward_features(batch), pre_logits=True)

    return seconds(lambda: encoder.transform(images)), seconds(bare)


def on_gpu(X, y, device="cuda", n_rows=1_000_000, n_columns=512, **params):
    """Seconds of a fit and of drawing many wide rows, and shares of the product rate.

    The rate is that of bfloat16 products of 8192² matrices on the same device.
    """
    params = dict(device=device, random_state=0) | params
    random = np.random.default_rng(0)
    wide = random.standard_normal((20_000, n_columns), dtype=np.float32)
    labels = np.arange(len(wide)) % 10
    drawn = LatentDiffusionOversampler(**params | {"max_steps": 50}).fit(wide, labels)
    many = np.resize(labels, n_rows)
    work = {
        "fit": lambda: LatentDiffusionOversampler(**params).fit(X, y),
        "sample": lambda: drawn.sample(many, random_state=0),
    }
    rate = product_rate(torch.bfloat16, size=8192, device=device)
    found = {}
    for name, function in work.items():
        used = seconds(function)
        with counting() as counter:
            function()
        share = counter.get_total_flops() / used / rate
        found[name] = {"seconds": used, "share": share}
    return found
