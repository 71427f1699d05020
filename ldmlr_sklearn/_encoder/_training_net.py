# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""One step and one epoch of an encoder's training, hosted by skorch."""

import json
import math

import numpy as np
import torch
from skorch.hf import AccelerateMixin

from ldmlr_sklearn._encoder._features import autocast
from ldmlr_sklearn._scheduled_net import ScheduledNet


class EncoderNet(ScheduledNet):
    """A skorch net whose step augments and casts."""

    def __init__(
        self,
        *args,
        precision,
        training_device,
        processes,
        shift,
        augmenter,
        **kwargs,
    ):
        self.precision = precision
        self.training_device = training_device
        self.processes = processes
        self.shift = shift
        self.augmenter = augmenter
        super().__init__(*args, **kwargs)

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        super().on_train_begin(net, X=X, y=y, **kwargs)
        self.losses_ = []
        # Half precision alone needs its gradients scaled; others pass through.
        enabled = self.precision == "float16"
        self.scaler_ = torch.amp.GradScaler(self.training_device.type, enabled=enabled)

    def train_step(self, batch, **fit_params):
        device = self.training_device
        raw, targets, weights = (tensor.to(device) for tensor in batch)
        self._set_training(True)
        self.follow_schedule()
        images, mixture = self.augmenter(raw, torch.arange(len(raw), device=device))
        with autocast(device, self.precision):
            logits = self.module_(images)
        logits = logits.float() + self.shift
        loss = sum(
            share * (weights[rows] * self.criterion_(logits, targets[rows])).mean()
            for rows, share in mixture
        )
        self._zero_grad_optimizer()
        self.scaler_.scale(loss).backward()
        self.scaler_.step(self.optimizer_)
        self.scaler_.update()
        return {"loss": loss, "y_pred": logits}

    def run_epoch(self, images):
        """Train on all images once; return the mean loss, which `losses_` keeps."""
        self.fit_loop(images, epochs=1)
        losses = self.history[-1, "batches", :, "train_loss"]
        # Of whole batches, as `ShuffledBatches` splits them; a process has a share.
        batches = torch.arange(len(images)).tensor_split(len(losses))
        sizes = [len(rows) for rows in batches]
        loss = self.processes.mean(float(np.average(losses, weights=sizes)))
        self.losses_.append(loss)
        if not math.isfinite(loss):
            raise ValueError(
                f"Training diverged: the loss of epoch {len(self.losses_)} is {loss}. "
                f"Try a smaller learning_rate than {self.lr}."
            )
        return loss

    def state(self):
        """Return all that the rest of the training depends on."""
        device = self.training_device
        on_gpu = device.type == "cuda"
        return {
            "network": self.module_.state_dict(),
            "optimizer": self.optimizer_.state_dict(),
            "scaler": self.scaler_.state_dict(),
            "n_steps_done": self.n_steps_done_,
            "losses": self.losses_,
            "order": self.iterator_train__generator.get_state(),
            "augmentation": self.augmenter.generator.get_state(),
            "mixing": json.dumps(self.augmenter.mixing.bit_generator.state),
            # Borrowed ones; dropout draws from them.
            "global": torch.random.get_rng_state(),
            "gpu": torch.cuda.get_rng_state(device) if on_gpu else None,
        }

    def set_state(self, state):
        """Go on from what `state` has returned."""
        self.module_.load_state_dict(state["network"])
        self.optimizer_.load_state_dict(state["optimizer"])
        self.scaler_.load_state_dict(state["scaler"])
        self.n_steps_done_ = state["n_steps_done"]
        self.losses_ = state["losses"]
        self.iterator_train__generator.set_state(state["order"])
        self.augmenter.generator.set_state(state["augmentation"])
        self.augmenter.mixing.bit_generator.state = json.loads(state["mixing"])
        torch.random.set_rng_state(state["global"])
        device = self.training_device
        if state["gpu"] is not None and device.type == "cuda":
            torch.cuda.set_rng_state(state["gpu"], device)


class AcceleratedEncoderNet(AccelerateMixin, EncoderNet):
    """The same, with gradients averaged over all processes."""

    def _initialize_accelerator(self):
        # A loss has no parameters, and what has none must not be distributed.
        criteria, self._criteria = self._criteria, []
        super()._initialize_accelerator()
        self._criteria = criteria
        return self
