# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Diffusion of images instead of features, by the package's core, for a budget.

The network is a small U-Net; schedule, training loop, guidance and sampling are those
of the over-sampler. Images are rows of pixels to all but the network. What makes a step
cheap counts here as much as what makes it good, so that the network sees squares of
2 × 2 pixels as one, and multiplies in bfloat16 where the device does.
"""

import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ldmlr_sklearn._torch_utils import product_dtype
from ldmlr_sklearn.diffusion import (
    NoiseSchedule,
    denoised_by,
    guided,
    sample_ddim,
    train,
)


class _Block(nn.Module):
    def __init__(self, n_in, n_out, n_condition):
        super().__init__()
        self.first = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.second = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.shift = nn.Linear(n_condition, n_out)
        self.skip = nn.Conv2d(n_in, n_out, 1)
        self.norms = nn.ModuleList([nn.GroupNorm(4, n_in), nn.GroupNorm(4, n_out)])

    def forward(self, h, condition):  # (n, c_in, h, w) -> (n, c_out, h, w)
        inner = self.first(F.silu(self.norms[0](h)))
        inner = inner + self.shift(condition)[:, :, None, None]
        return self.skip(h) + self.second(F.silu(self.norms[1](inner)))


class ImageDenoiser(nn.Module):
    """(xt (n, 3 h w), t, labels) -> prediction, through a U-Net of three levels.

    Height and width are multiples of 16.
    """

    def __init__(self, size, n_classes, n_timesteps, width=32):
        super().__init__()
        self.size, self.n_timesteps, self.null_label = size, n_timesteps, n_classes
        self.label = nn.Embedding(n_classes + 1, width)
        self.time = nn.Linear(2 * width, width)
        self.inlet = nn.Conv2d(12, width, 3, padding=1)
        w, ww = width, 2 * width
        shapes = [(w, w), (w, ww), (ww, ww)]  # (channels in, channels out)
        self.down = nn.ModuleList(_Block(*shape, width) for shape in shapes)
        shapes = [(ww + ww, ww), (ww + ww, ww), (ww + w, w)]
        self.up = nn.ModuleList(_Block(*shape, width) for shape in shapes)
        self.outlet = nn.Conv2d(width, 12, 3, padding=1)

    def forward(self, xt, t, labels):
        octaves = torch.linspace(0, 6.9, self.label.embedding_dim, device=xt.device)
        angle = (t / self.n_timesteps).unsqueeze(-1) * octaves.exp()
        wave = torch.cat([angle.sin(), angle.cos()], dim=-1)
        condition = F.silu(self.time(wave) + self.label(labels))  # (n, width)
        h = self.inlet(F.pixel_unshuffle(xt.view(-1, 3, *self.size), 2))
        kept = []
        for block in self.down:
            h = block(h, condition)
            kept.append(h)
            h = F.avg_pool2d(h, 2)
        for block in self.up:
            h = F.interpolate(h, size=kept[-1].shape[2:])
            h = block(torch.cat([h, kept.pop()], dim=1), condition)
        return F.pixel_shuffle(self.outlet(F.silu(h)), 2).flatten(1)


def generate_images(images, y, labels, seconds, *, seed, guidance, device="cpu"):
    """Train for some seconds, then draw an image for every label.

    Parameters
    ----------
    images : ndarray of shape (n, h, w, 3), uint8
        Height and width are multiples of 16.
    y, labels : ndarray of int
        Classes 0, …, K − 1 of the images, and of those to draw.
    seconds : float
        Budget of the training.
    seed : int
    guidance : float
    device : str

    Returns
    -------
    ndarray of shape (n_labels, h, w, 3), uint8, and number of training steps
    """
    size, counts = images.shape[1:3], np.bincount(y)
    device = torch.device(device)
    dtype = product_dtype(device)
    order = np.argsort(y, kind="stable")
    x0 = torch.tensor(images[order]).permute(0, 3, 1, 2).flatten(1)
    x0 = (x0.float() / 127.5 - 1).to(device)
    scale = 1 / x0.std()  # to unit variance, as the core wants it
    x0 *= scale
    schedule = NoiseSchedule.from_name("cosine", 1000).to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ImageDenoiser(size, len(counts), 1000).to(device)
    generator = torch.Generator(device).manual_seed(seed)
    options = dict(
        batch_size=min(64, len(x0)),
        learning_rate=1e-3,
        class_sampling=0.5,
        label_dropout=0.1,
        prediction_type="v_prediction",
        generator=generator,
        bfloat16=dtype == torch.bfloat16,
    )
    sizes = torch.tensor(counts, device=device)

    def run(n_steps):
        start = time.perf_counter()
        for _ in train(network, schedule, x0, sizes, n_steps=n_steps, **options):
            pass
        return time.perf_counter() - start

    # The learning rate falls with the steps to come: how many there will be is found
    # out first, after steps that do what is done only once.
    spent = run(2)
    per_step = run(5) / 5
    n_steps = max(5, int((seconds - spent) / per_step) - 5)
    run(n_steps)
    denoise = guided(
        denoised_by(network, schedule, "v_prediction"), guidance, network.null_label
    )
    drawn = []
    for chunk in torch.tensor(labels, device=device).split(512):
        noise = torch.empty(len(chunk), x0.shape[1], device=device)
        noise.normal_(generator=generator)
        with torch.autocast(device.type, dtype, enabled=dtype == torch.bfloat16):
            rows = sample_ddim(
                lambda xt, t, labels: denoise(xt, t, labels).clamp(-scale, scale),
                schedule,
                chunk,
                noise,
                n_steps=10,
                generator=generator,
            )
        drawn.append(rows.cpu())
    pixels = ((torch.cat(drawn) / scale.cpu() + 1) * 127.5).round()
    pixels = pixels.clamp(0, 255).byte().view(-1, 3, *size).permute(0, 2, 3, 1)
    return pixels.contiguous().numpy(), 2 + 5 + n_steps
