# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The one border between numpy and torch: devices, generators, tensors."""

import threading
from contextlib import contextmanager

import numpy as np
import torch

# Networks are initialised, and dropout drawn, from torch's global generator. Whoever
# borrows it holds this lock, or two threads could give it back in the wrong order.
_GLOBAL_GENERATOR_LOCK = threading.RLock()


def resolve_device(device):
    """Return the `torch.device` that a ``device`` parameter stands for.

    Parameters
    ----------
    device : str
        "auto" takes the first of "cuda", "mps" and "cpu" that is there; anything
        else is a device name of torch, such as "cpu" or "cuda:1".

    Returns
    -------
    torch.device

    Raises
    ------
    ValueError
        If the name is not one of torch's, or the device is not on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is not a device name of torch. Use 'auto', 'cpu', "
            "'cuda', 'cuda:1' or 'mps'."
        ) from error
    try:
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device={device!r} is not available on this machine. Use device='auto' "
            "to take the best one that is."
        ) from error
    return resolved


def product_dtype(device):
    """Return the dtype of the fastest matrix products that suffice for a network.

    bfloat16 where the device multiplies in it, float32 elsewhere.
    """
    if device.type == "cuda":
        reduced = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        told = getattr(torch.cpu, "get_capabilities", dict)  # not in every version
        processor = told() if device.type == "cpu" else {}
        reduced = any(processor.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return torch.bfloat16 if reduced else torch.float32


def generator_from(seed, device="cpu"):
    """Return a `torch.Generator` of its own, seeded with an integer."""
    return torch.Generator(device=device).manual_seed(int(seed))


@contextmanager
def borrowed_generator(seed, device):
    """Seed torch's global generators inside the block and restore them after it.

    The default dtype as well, at which networks are made: it is float32 inside.
    """
    gpus = []
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        gpus = [index]
    with _GLOBAL_GENERATOR_LOCK, torch.random.fork_rng(devices=gpus):
        # torch.manual_seed would reach the generators of all devices.
        torch.default_generator.manual_seed(seed)
        for index in gpus:
            torch.cuda.default_generators[index].manual_seed(seed)
        default_dtype = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(default_dtype)


def to_tensor(array, dtype=torch.float32):
    """Copy an array into a tensor; read-only arrays and memmaps are left alone."""
    return torch.tensor(np.asarray(array), dtype=dtype)


def view_as_tensor(array):
    """Return a tensor in the memory of an array, which must be writable."""
    return torch.from_numpy(array)


def to_numpy(tensor):
    """Return a tensor of any device as an array, in its memory if it is on the CPU."""
    return tensor.detach().cpu().numpy()
