# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Networks by name and their weights: all that knows timm.

Importing this module loads timm and torchvision, and registers `cifar_resnet32` and
`imagenet_resnet10` with timm. `FeatureEncoder` therefore imports it only when it builds
a backbone.
"""

import difflib
import os
import pickle
from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub
import timm
import torch
from huggingface_hub import constants as hub_constants
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import create_classifier
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, ResNet
from torch import nn
from torch.nn import functional as F

_PROBE_SECONDS = 5.0  # a hub that has not answered by then is out of reach
_N_NAMES_SHOWN = 4  # of a state dict's hundreds of tensors, in an error message
_WRAPPING_KEYS = ("state_dict_ema", "model_ema", "state_dict", "model")
_WRAPPING_PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")  # compile, DDP, compile


class _BasicBlock(nn.Module):
    """Two 3×3 convolutions and the parameter-free shortcut "option A"."""

    def __init__(self, n_channels_in, n_channels, stride):
        super().__init__()
        self.stride = stride
        self.n_new_channels = n_channels - n_channels_in
        self.conv1 = nn.Conv2d(n_channels_in, n_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_channels)
        self.conv2 = nn.Conv2d(n_channels, n_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_channels)

    def forward(self, x):  # (n, c_in, h, w) -> (n, c, h / stride, w / stride)
        residual = F.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.n_new_channels:
            before = self.n_new_channels // 2
            after = self.n_new_channels - before
            shortcut = F.pad(shortcut, (0, 0, 0, 0, before, after))
        return F.relu(residual + shortcut)


class CifarResNet(nn.Module):
    """The ResNet for small images of He et al. [1]_, section 4.2, as timm wants it.

    Parameters
    ----------
    n_blocks : int
        Residual blocks in each of the three stages; the depth is 6 n_blocks + 2.

    num_classes : int, default=10
        Rows of the linear head ``fc``; 0 leaves it out.

    in_chans : int, default=3
        Channels of the images.

    global_pool : str, default="avg"
        How the last map is pooled, in timm's terms; "" keeps the map.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image
       Recognition", CVPR 2016.
    """

    def __init__(self, n_blocks, num_classes=10, in_chans=3, global_pool="avg"):
        super().__init__()
        self.num_classes = num_classes
        self.num_features = self.head_hidden_size = 64
        self.conv1 = nn.Conv2d(in_chans, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.act1 = nn.ReLU()  # a module, so that timm's features_only passes it too
        self.layer1 = self._make_stage(n_blocks, 16, 16, stride=1)
        self.layer2 = self._make_stage(n_blocks, 16, 32, stride=2)
        self.layer3 = self._make_stage(n_blocks, 32, 64, stride=2)
        self.feature_info = [
            {"num_chs": 16, "reduction": 1, "module": "layer1"},
            {"num_chs": 32, "reduction": 2, "module": "layer2"},
            {"num_chs": 64, "reduction": 4, "module": "layer3"},
        ]
        self.reset_classifier(num_classes, global_pool)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    @staticmethod
    def _make_stage(n_blocks, n_channels_in, n_channels, stride):
        first = _BasicBlock(n_channels_in, n_channels, stride)
        others = [_BasicBlock(n_channels, n_channels, 1) for _ in range(n_blocks - 1)]
        return nn.Sequential(first, *others)

    def get_classifier(self):
        return self.fc

    def reset_classifier(self, num_classes, global_pool="avg"):
        self.num_classes = num_classes
        self.global_pool, self.fc = create_classifier(
            self.num_features, num_classes, pool_type=global_pool
        )

    def forward_features(self, x):  # (n, in_chans, h, w) -> (n, 64, h / 4, w / 4)
        x = self.act1(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x)))

    def forward_head(self, x, pre_logits=False):  # -> (n, 64) or (n, num_classes)
        x = self.global_pool(x)
        return x if pre_logits else self.fc(x)

    def forward(self, x):
        return self.forward_head(self.forward_features(x))


default_cfgs = generate_default_cfgs(
    {
        "cifar_resnet32": {
            "input_size": (3, 32, 32),
            "num_classes": 10,
            "pool_size": (8, 8),
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "mean": (125.3 / 255, 123.0 / 255, 113.9 / 255),
            "std": (63.0 / 255, 62.1 / 255, 66.7 / 255),
            "first_conv": "conv1",
            "classifier": "fc",
        },
        "imagenet_resnet10": {
            "input_size": (3, 224, 224),
            "num_classes": 1000,
            "pool_size": (7, 7),
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
            "first_conv": "conv1",
            "classifier": "fc",
        },
    }
)


@register_model
def cifar_resnet32(pretrained=False, **kwargs):
    """Build the CIFAR ResNet-32 of the LDMLR paper: 64 features, 0.46 M parameters."""
    return build_model_with_cfg(
        CifarResNet,
        "cifar_resnet32",
        pretrained,
        feature_cfg={"out_indices": (0, 1, 2)},
        n_blocks=5,
        **kwargs,
    )


@register_model
def imagenet_resnet10(pretrained=False, **kwargs):
    """Build the ResNet-10 of the ImageNet-LT tables: 512 features, 5.4 M parameters.

    Half of ResNet-18: one block of two convolutions in each of the four stages.
    """
    return build_model_with_cfg(
        ResNet,
        "imagenet_resnet10",
        pretrained,
        block=BasicBlock,
        layers=(1, 1, 1, 1),
        **kwargs,
    )


def create_backbone(name, backbone_kwargs, *, pretrained=False):
    """Build a timm network without its head.

    Parameters
    ----------
    name : str
        A name of timm's, with or without a tag of pretrained weights.

    backbone_kwargs : dict
        Keyword arguments of the network, such as ``output_stride`` or ``img_size``.

    pretrained : bool, default=False
        Whether to load the weights that timm knows for the name.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    ValueError
        If timm does not know the name, has no weights for it, or cannot build it with
        these keyword arguments.

    ConnectionError
        If pretrained weights are neither in the local cache nor within reach.
    """
    from_hub_or_folder = ":" in name
    if not from_hub_or_folder and not timm.is_model(name):
        raise ValueError(_describe_unknown_name(name))
    keywords = {**backbone_kwargs, "num_classes": 0}
    if pretrained:
        keywords.update(_locate_pretrained(name, backbone_kwargs), pretrained=True)
    try:
        network = timm.create_model(name, **keywords)
    except Exception as error:
        if pretrained and _is_network_error(error):
            raise _unreachable_error(name, error) from error
        raise ValueError(
            f"timm could not build backbone={name!r} with "
            f"backbone_kwargs={backbone_kwargs!r}: {error}"
        ) from error
    # A quarter faster on CPUs for cifar_resnet32, twice as fast for test_resnet.
    return network.to(memory_format=torch.channels_last)


def _describe_unknown_name(name):
    similar = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
    hint = f" Did you mean {', '.join(map(repr, similar))}?" if similar else ""
    return (
        f"backbone={name!r} is not the name of a timm network.{hint} "
        "`timm.list_models('*resnet*')` lists the names that match a pattern; a "
        "torch.nn.Module or a callable returning one works too."
    )


def _locate_pretrained(name, backbone_kwargs):
    """Find cached weights, or make sure in seconds that their host can be reached.

    timm's own download retries for most of a minute before it gives up, and asks the
    hub even for what is in the cache.
    """
    if ":" in name:  # a model of the hub carries a configuration of its own
        if not name.startswith("local-dir:"):
            _require_reachable(name, hub_constants.ENDPOINT)
        return {}
    config = backbone_kwargs.get("pretrained_cfg_overlay") or {}
    if config.get("file") or config.get("state_dict"):
        return {}
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise ValueError(
            f"timm has no pretrained weights for backbone={name!r}. Use "
            "pretrained=False, or give a file of your own by `weights`."
        )
    if config.hf_hub_id:
        path = _find_in_hub_cache(config)
        if path is not None:
            return {"pretrained_cfg_overlay": {"file": path}}
        _require_reachable(name, hub_constants.ENDPOINT)
    elif config.url and not _is_in_torch_cache(config.url):
        _require_reachable(name, "{0.scheme}://{0.netloc}".format(urlsplit(config.url)))
    return {}


def _find_in_hub_cache(config):
    repository, _, revision = config.hf_hub_id.partition("@")
    names = [config.hf_hub_filename] if config.hf_hub_filename else []
    for filename in names or ["model.safetensors", "pytorch_model.bin"]:
        path = huggingface_hub.try_to_load_from_cache(
            repository, filename, revision=revision or None
        )
        if isinstance(path, str):  # else None, or a marker of "known not to exist"
            return path
    return None


def _is_in_torch_cache(url):
    filename = Path(urlsplit(url).path).name
    return Path(torch.hub.get_dir(), "checkpoints", filename).is_file()


def _require_reachable(name, url):
    """Send one request without retries; any answer at all will do."""
    try:
        huggingface_hub.get_session().head(url, timeout=_PROBE_SECONDS)
    except Exception as error:
        # Which exceptions a session raises depends on the hub client's HTTP library.
        raise _unreachable_error(name, error, url) from error


def _is_network_error(error):
    while error is not None:
        if isinstance(error, OSError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _unreachable_error(name, error, url="their host"):
    return ConnectionError(
        f"pretrained=True: the weights of backbone={name!r} are not in the local cache "
        f"and {url} cannot be reached ({type(error).__name__}: {error}). Connect to "
        "the network once, give a local file by `weights`, or use pretrained=False."
    )


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


def load_weights(module, path):
    """Load a file into a network and return the linear head that came with it.

    Every tensor of the network must be in the file and the other way round, but for
    the head, which a backbone has no use for.

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
    head = _take_head(state, head_names)
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
        raise ValueError(
            f"weights={os.fspath(path)!r} do not fit the backbone."
            + _list_some("Missing", missing)
            + _list_some("Unexpected", unexpected)
            + _list_some("Of another shape", misshapen)
            + " Check `backbone` and `backbone_kwargs`."
        )
    module.load_state_dict(state, strict=False)
    return head


def _head_names(module):
    config = getattr(module, "pretrained_cfg", None) or {}
    heads = config.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else heads
    return {f"{head}.{kind}" for head in heads for kind in ("weight", "bias")}


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
