# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""What heads and encoders ask of skorch alike: an optimiser and its schedule."""

import math

import torch
from skorch import NeuralNet
from torch import nn

# For `ScheduledNet`: the loss of each row, Nesterov's momentum, all rows for training,
# and nothing printed.
SGD_HOST = {
    "criterion": nn.CrossEntropyLoss,
    "criterion__reduction": "none",
    "optimizer": torch.optim.SGD,
    "optimizer__momentum": 0.9,
    "optimizer__nesterov": True,
    "train_split": None,
    "callbacks": "disable",
    "verbose": 0,
}


class ScheduledNet(NeuralNet):
    """A skorch net whose learning rates fall from step to step.

    Parameters
    ----------
    n_steps : int
        Length of the schedule.

    schedule : {"cosine", "step"}, default="cosine"
        Along half a cosine to 0, or to a tenth after half and again after three
        quarters of the steps.
    """

    def __init__(self, *args, n_steps, schedule="cosine", **kwargs):
        self.n_steps = n_steps
        self.schedule = schedule
        super().__init__(*args, **kwargs)

    def initialize_optimizer(self, *args, **kwargs):
        super().initialize_optimizer(*args, **kwargs)
        self.n_steps_done_ = 0
        for group in self.optimizer_.param_groups:
            group["initial_lr"] = group["lr"]
        return self

    def follow_schedule(self):
        """Set the learning rates of the next step."""
        progress = min(self.n_steps_done_ / self.n_steps, 1.0)
        if self.schedule == "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * progress))
        else:
            factor = 0.1 ** ((progress >= 0.5) + (progress >= 0.75))
        for group in self.optimizer_.param_groups:
            group["lr"] = group["initial_lr"] * factor
        self.n_steps_done_ += 1
