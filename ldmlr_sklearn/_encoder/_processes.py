# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Several processes that train one network, started by ``accelerate launch``.

The only module that meets accelerate, and only when it is asked to.
"""

import torch

from ldmlr_sklearn._torch_utils import resolve_device

ACCELERATE = "accelerate"  # the value of `device` that asks for it


class Processes:
    """This process alone, or all that a launcher has started.

    Parameters
    ----------
    accelerator : accelerate.Accelerator, default=None
        None: this process alone.

    Attributes
    ----------
    count : int
        Number of processes.

    index : int
        Which of them this one is.
    """

    def __init__(self, accelerator=None):
        self.accelerator = accelerator
        self.count = 1 if accelerator is None else accelerator.num_processes
        self.index = 0 if accelerator is None else accelerator.process_index

    @classmethod
    def launched(cls):
        """Return the processes that a launcher has started: one if none has."""
        try:
            from accelerate import Accelerator
            from accelerate.utils import DistributedDataParallelKwargs
        except ImportError as error:
            raise ImportError(
                "device='accelerate' needs the library accelerate: pip install "
                "accelerate. Or use device='auto', which trains on one device."
            ) from error
        # Networks may have layers behind the features, which get no gradient.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        # On CPUs it takes the processes of torchrun for one each, unless it is told.
        on_cpu = resolve_device("auto").type == "cpu"
        return cls(Accelerator(cpu=on_cpu, kwargs_handlers=[unused]))

    @property
    def device(self):
        """The device that the launcher gave to this process, None if none did."""
        return self.accelerator and self.accelerator.device

    def agree(self, values):
        """Return the list of values that the first process has."""
        if self.count == 1:
            return values
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list(list(values))

    def mean(self, value):
        """Return the mean of a number over all processes."""
        if self.count == 1:
            return value
        value = torch.tensor(value, dtype=torch.float32, device=self.device)
        return float(self.accelerator.reduce(value, "mean"))

    def synchronise(self, network):
        """Give all processes the network of the first, with its running means."""
        if self.count == 1:
            return
        from accelerate.utils import broadcast

        with torch.no_grad():
            for tensor in network.state_dict().values():
                tensor.copy_(broadcast(tensor.clone()))
