# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The torch side of `HeadClassifier`: train a last layer on rows, hosted by skorch."""

import math

import numpy as np
import torch

from ldmlr_sklearn._losses import SHAPE_LEARNING_RATE, SHAPE_PARAMETERS
from ldmlr_sklearn._scheduled_net import SGD_HOST, ScheduledNet


def train_head(
    layer,
    rows,
    codes,
    weights,
    *,
    shift,
    max_epochs,
    batch_size,
    learning_rate,
    weight_decay,
    class_balanced,
    generator,
    device,
):
    """Train a layer in place; yield the mean loss of every epoch.

    Parameters
    ----------
    layer : torch.nn.Module
        (n, d) -> logits (n, n_classes).

    rows : torch.Tensor of shape (n, d)

    codes : torch.Tensor of int64 of shape (n,)
        Classes 0, …, K − 1; all of them occur.

    weights : torch.Tensor of shape (n,)
        Above 0.

    shift : torch.Tensor of shape (n_classes,)
        Added to the logits.

    class_balanced : bool
        Whether batches hold all classes alike.

    generator : torch.Generator
        Of the CPU; orders the rows.

    max_epochs, batch_size, learning_rate, weight_decay, device :
        See `HeadClassifier`.

    Yields
    ------
    loss : float
    """
    batches = _BalancedBatches if class_balanced else _ShuffledBatches
    biases = {"weight_decay": 0.0}
    shapes = {"lr": SHAPE_LEARNING_RATE, "weight_decay": 0.0}
    net = _HeadNet(
        layer,
        **SGD_HOST,
        optimizer__weight_decay=weight_decay,
        optimizer__param_groups=[
            ("bias", biases),
            *((name, shapes) for name in SHAPE_PARAMETERS),
        ],
        lr=learning_rate,
        batch_size=batch_size,
        iterator_train=batches,
        iterator_train__generator=generator,
        device=device,
        shift=shift.to(device),
        n_steps=max_epochs * math.ceil(len(rows) / batch_size),
    )
    net.initialize()
    data = _WeightedRows(*(part.to(device) for part in (rows, codes, weights)))
    for _ in range(max_epochs):
        # Epoch by epoch, so that the caller may look at the layer, or stop.
        net.fit_loop(data, epochs=1)
        batches_ = net.history[-1, "batches", :, ("train_loss", "train_batch_size")]
        losses, sizes = zip(*batches_, strict=True)
        yield float(np.average(losses, weights=sizes))


class _WeightedRows(torch.utils.data.Dataset):
    """Rows, classes and weights of mean 1, on the device, many rows at a time."""

    def __init__(self, rows, codes, weights):
        self.rows, self.codes = rows, codes
        self.weights = weights / weights.mean()

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, chosen):
        chosen = chosen.to(self.rows.device)
        return self.rows[chosen], self.codes[chosen], self.weights[chosen]


class _ShuffledBatches:
    """All rows in a new order each time they are gone through."""

    def __init__(self, dataset, batch_size, generator):
        self.dataset = dataset
        self.batch_size = batch_size
        self.generator = generator

    def __iter__(self):
        for chosen in self._order().split(self.batch_size):
            yield self.dataset[chosen]

    def _order(self):
        return torch.randperm(len(self.dataset), generator=self.generator)


class _BalancedBatches(_ShuffledBatches):
    """As many draws as rows, all classes alike, the rows of a class in turn."""

    def _order(self):
        codes = self.dataset.codes.cpu()
        n_rows, n_classes = len(codes), int(codes.max()) + 1
        n_turns = math.ceil(n_rows / n_classes)
        taken = torch.empty(n_turns, n_classes, dtype=torch.int64)
        for code in range(n_classes):
            rows = torch.nonzero(codes == code).flatten()
            shuffled = [
                rows[torch.randperm(len(rows), generator=self.generator)]
                for _ in range(math.ceil(n_turns / len(rows)))
            ]
            taken[:, code] = torch.cat(shuffled)[:n_turns]
        # Which classes a turn that is cut off still shows is left to chance.
        keys = torch.rand(
            n_turns, n_classes, generator=self.generator, dtype=torch.float32
        )
        return taken.gather(1, keys.argsort(dim=1)).flatten()[:n_rows]


class _HeadNet(ScheduledNet):
    """A skorch net whose step weighs rows and shifts logits."""

    def __init__(self, *args, shift, **kwargs):
        self.shift = shift
        super().__init__(*args, **kwargs)

    def train_step(self, batch, **fit_params):
        rows, codes, weights = batch
        self.follow_schedule()
        logits = self.module_(rows) + self.shift
        loss = (weights * self.criterion_(logits, codes)).mean()
        self._zero_grad_optimizer()
        loss.backward()
        self.optimizer_.step()
        return {"loss": loss, "y_pred": logits}
