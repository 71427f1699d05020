# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The loss and the training loop; logging, averaging and stopping stay outside.

References
----------
.. [1] Ho, Jain, Abbeel. Denoising diffusion probabilistic models. NeurIPS 2020.
.. [2] Kingma, Salimans, Poole, Ho. Variational diffusion models. NeurIPS 2021
   (times of a batch spread evenly).
.. [3] Smith, Topin. Super-convergence: very fast training of neural networks using
   large learning rates. 2019.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.adamw import adamw

from ldmlr_sklearn.diffusion._schedule import NoiseSchedule


def denoising_loss(
    network: Callable[[Tensor, Tensor, Tensor], Tensor],
    schedule: NoiseSchedule,
    x0: Tensor,
    labels: Tensor,
    t: Tensor,
    noise: Tensor,
    prediction_type: str,
) -> Tensor:
    """Mean squared error of the prediction at times t (n,); rows x0, noise (n, d)."""
    xt = schedule.add_noise(x0, noise, t)
    target = schedule.target(x0, noise, t, prediction_type)
    return F.mse_loss(network(xt, t, labels), target)


def draw_rows(
    class_starts: Tensor,
    class_sizes: Tensor,
    class_probability: Tensor,
    n_rows: int,
    generator: torch.Generator,
    edges: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw a class by its probability, then one of its rows, evenly or by `edges`.

    Rows lie sorted by class: class c occupies `class_sizes[c]` rows from
    `class_starts[c]` on. Returns the row numbers and the labels, both (n_rows,).
    """
    labels = torch.multinomial(
        class_probability, n_rows, replacement=True, generator=generator
    )
    u = torch.rand(
        n_rows, generator=generator, device=labels.device, dtype=torch.float32
    )
    if edges is not None:
        place = labels.to(edges) + u.to(edges)
        return torch.searchsorted(edges, place, right=True).to(labels.device), labels
    sizes = class_sizes[labels]
    within = (u * sizes).long().clamp(max=sizes - 1)  # u rounds up to 1 at times
    return class_starts[labels] + within, labels


def weight_edges(row_weight: Tensor, class_sizes: Tensor) -> Tensor:
    """Return c + the share of class c that rows up to this one weigh, (n,), float64.

    In double precision: single precision would merge the rows of large classes.
    """
    classes = row_weight.double().split(class_sizes.tolist())
    totals = [weights.cumsum(0) for weights in classes]
    return torch.cat([c + total / total[-1] for c, total in enumerate(totals)])


def one_cycle(n_steps: int, peak: float) -> list[float]:
    """Return learning rates that rise to `peak` and fall to 0 along cosines [3]_.

    The first is peak / 25, the last peak / 250,000; three tenths of the steps rise.
    """
    top = 0.3 * n_steps - 1
    rates = []
    for step in range(n_steps):
        if step <= top:
            start, end, share = peak / 25, peak, step / top
        else:
            start, end = peak, peak / 250_000
            share = (step - top) / (n_steps - 1 - top)
        rates.append(end + (start - end) * (1 + math.cos(math.pi * share)) / 2)
    return rates


class _AdamW:
    """AdamW with decay 0.1, in one fused call.

    The first `torch.optim.Optimizer` that a process makes loads the compiler of torch,
    which takes about two seconds; the function it calls does not.
    """

    def __init__(self, weights: Sequence[Tensor]):
        self._weights = [weight.detach() for weight in weights]
        self._means = [torch.zeros_like(weight) for weight in weights]
        self._squares = [torch.zeros_like(weight) for weight in weights]
        self._n_steps = [weight.new_zeros(()) for weight in weights]

    def __call__(self, gradients: Sequence[Tensor], learning_rate: float) -> None:
        adamw(
            self._weights,
            list(gradients),
            self._means,
            self._squares,
            [],
            self._n_steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=0.1,
            eps=1e-8,
            maximize=False,
        )


def train(
    network: nn.Module,
    schedule: NoiseSchedule,
    x0: Tensor,
    class_sizes: Tensor,
    *,
    n_steps: int,
    batch_size: int,
    learning_rate: float,
    class_sampling: float,
    label_dropout: float,
    prediction_type: str,
    generator: torch.Generator,
    row_weight: Tensor | None = None,
    bfloat16: bool = False,
) -> Iterator[Tensor]:
    """Train a network in place; yield the loss of every step, a tensor ().

    Parameters
    ----------
    network : nn.Module
        (xt, t, labels) -> prediction, with an attribute `null_label`.
    schedule : NoiseSchedule
    x0 : Tensor of shape (n, d)
        Clean rows, sorted by class, of about zero mean and unit variance.
    class_sizes : Tensor of shape (K,), int64
        Number of rows of every class; none is 0.
    n_steps, batch_size : int
    learning_rate : float
        Peak of the one-cycle schedule of AdamW.
    class_sampling : float
        A class of n_c rows is drawn with probability ∝ n_c to this power.
    label_dropout : float
        Share of rows shown without their label.
    prediction_type : str
    generator : torch.Generator
        On the device of `x0`.
    row_weight : Tensor of shape (n,), on the CPU, optional
        Rows of a class are drawn in proportion to it. All are above 0.
    bfloat16 : bool
        Whether matrix products take bfloat16 numbers; the weights stay float32.
    """
    device = x0.device
    class_starts = class_sizes.cumsum(0) - class_sizes
    class_probability = class_sizes.float() ** class_sampling
    weights = list(network.parameters())
    update = _AdamW(weights)
    edges = None
    if row_weight is not None:
        # MPS has no double precision.
        place = "cpu" if device.type == "mps" else device
        edges = weight_edges(row_weight, class_sizes).to(place)
    spread = torch.arange(batch_size, device=device).float() / batch_size
    for rate in one_cycle(n_steps, learning_rate):
        rows, labels = draw_rows(
            class_starts, class_sizes, class_probability, batch_size, generator, edges
        )
        u = torch.rand(
            2, batch_size, generator=generator, device=device, dtype=torch.float32
        )
        t = ((spread + u[0, :1]) % 1 * len(schedule)).long()
        labels = torch.where(u[1] < label_dropout, network.null_label, labels)
        batch = x0.index_select(0, rows)  # several times quicker than x0[rows]
        noise = torch.empty_like(batch).normal_(generator=generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            loss = denoising_loss(
                network, schedule, batch, labels, t, noise, prediction_type
            )
        gradients = torch.autograd.grad(
            loss, weights, allow_unused=True, materialize_grads=True
        )
        update(gradients, rate)
        yield loss.detach()
