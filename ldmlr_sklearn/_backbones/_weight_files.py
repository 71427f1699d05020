# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Local files of weights, read without running code stored in them."""

import os
import pickle

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

_N_NAMES_SHOWN = 4  # of a state dict's hundreds of tensors, in an error message
_WRAPPING_KEYS = ("state_dict_ema", "model_ema", "state_dict", "model")
_WRAPPING_PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")  # compile, DDP, compile


def load_weights(module, path):
    """Load a file into a network and return the linear head that came with it.

    Every tensor of the network must be in the file and the other way round, but for
    the head, which a backbone has no use for. A head of more than one linear layer
    (LeViT's normalises first) is left out as a whole.

    Parameters
    ----------
    module : torch.nn.Module
        Changed in place.

    path : str or path-like
        See `read_state_dict`.

    Returns
    -------
    head : tuple of two torch.Tensor, or None
        Weight (n_classes, n_features) and bias (n_classes,) of the file's head.
    """
    state = read_state_dict(path)
    expected = module.state_dict()
    head_names = _head_names(module)
    around = _names_around(head_names, state, expected)
    head = _take_head(state, head_names)
    for name in around:
        del state[name]
    missing = [
        name
        for name in expected.keys() - state.keys() - head_names
        if not name.endswith("num_batches_tracked")  # old files do without
    ]
    unexpected = list(state.keys() - expected.keys() - head_names)
    misshapen = [
        f"{name} {tuple(state[name].shape)} for {tuple(expected[name].shape)}"
        for name in state.keys() & expected.keys()
        if state[name].shape != expected[name].shape
    ]
    if missing or unexpected or misshapen:
        saved = any(name.startswith("backbone.") for name in unexpected)
        raise ValueError(
            f"weights={os.fspath(path)!r} do not fit the backbone."
            + _list_some("Missing", missing)
            + _list_some("Unexpected", unexpected)
            + _list_some("Of another shape", misshapen)
            + " Check `backbone` and `backbone_kwargs`."
            + " Files of FeatureEncoder.save are for FeatureEncoder.load." * saved
        )
    module.load_state_dict(state, strict=False)
    return None if around else head


def _head_names(module):
    config = getattr(module, "pretrained_cfg", None) or {}
    heads = config.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else heads
    return {f"{head}.{kind}" for head in heads for kind in ("weight", "bias")}


def _names_around(head_names, state, expected):
    """Name what stands beside the head in a module that the network lacks."""
    prefixes = {
        f"{name.rsplit('.', 2)[0]}." for name in head_names if name.count(".") > 1
    }
    lacking = tuple(
        prefix
        for prefix in prefixes
        if not any(name.startswith(prefix) for name in expected)
    )
    return {name for name in state.keys() - head_names if name.startswith(lacking)}


def _take_head(state, head_names):
    """Remove the head from a state dict; return it if it is one linear layer."""
    tensors = {name: state.pop(name) for name in head_names if name in state}
    weights = [tensor for tensor in tensors.values() if tensor.ndim == 2]
    biases = [tensor for tensor in tensors.values() if tensor.ndim == 1]
    if len(weights) != 1 or len(biases) > 1:
        return None
    weight = weights[0].float()
    bias = biases[0].float() if biases else torch.zeros(len(weight))
    return weight, bias


def _list_some(title, names):
    if not names:
        return ""
    shown = ", ".join(sorted(names)[:_N_NAMES_SHOWN])
    n_others = len(names) - _N_NAMES_SHOWN
    others = f" and {n_others} more" if n_others > 0 else ""
    return f" {title}: {shown}{others}."


def read_state_dict(path):
    """Read tensors by name from a local file, without running code stored in it.

    Parameters
    ----------
    path : str or path-like
        A file that ends in ".safetensors", or one written by `torch.save`.

    Returns
    -------
    dict of str to torch.Tensor

    Raises
    ------
    FileNotFoundError
        If there is no such file.

    ValueError
        If it cannot be read, needs code to be run, or does not hold a state dict.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"weights={path!r}: there is no such file.")
    try:
        if path.endswith(".safetensors"):
            contents = load_file(path, device="cpu")
        else:
            contents = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"weights={path!r} holds Python objects besides tensors, or is damaged. "
            "Only tensors are loaded, since unpickling objects can run any code: save "
            "`model.state_dict()` with torch.save or safetensors instead."
        ) from error
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise ValueError(
            f"weights={path!r} cannot be read as a .safetensors or .pth file: {error}"
        ) from error
    return _unwrap_state_dict(contents, path)


def _unwrap_state_dict(contents, path):
    if isinstance(contents, dict):
        for key in _WRAPPING_KEYS:
            if isinstance(contents.get(key), dict):
                contents = contents[key]
                break
    if not isinstance(contents, dict) or not all(
        isinstance(tensor, torch.Tensor) for tensor in contents.values()
    ):
        raise ValueError(
            f"weights={path!r} holds no state dict (a dictionary of tensors by name) "
            f"but a {type(contents).__name__}. Save `model.state_dict()`."
        )
    state = {}
    for name, tensor in contents.items():
        for prefix in _WRAPPING_PREFIXES:
            name = name.removeprefix(prefix)
        state[name] = tensor
    return state
