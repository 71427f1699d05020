# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Where the weights are that timm knows for a name: cached, or on a host in reach."""

from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub
import timm
import torch
from huggingface_hub import constants as hub_constants

_PROBE_SECONDS = 5.0  # a hub that has not answered by then is out of reach


def locate_pretrained(name, backbone_kwargs):
    """Find cached weights, or make sure in seconds that their host can be reached.

    timm's own download retries for most of a minute before it gives up, and asks the
    hub even for what is in the cache.
    """
    if ":" in name:  # a model of the hub carries a configuration of its own
        if not name.startswith("local-dir:"):
            _require_reachable(name, hub_constants.ENDPOINT)
        return {}
    overlay = backbone_kwargs.get("pretrained_cfg_overlay") or {}
    if overlay.get("file") or overlay.get("state_dict"):
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
            # What the hub has is a state dict, also where timm's first file was not.
            found = {"file": path, "custom_load": False}
            return {"pretrained_cfg_overlay": {**overlay, **found}}
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
        raise unreachable_error(name, error, url) from error


def is_network_error(error):
    while error is not None:
        if isinstance(error, OSError):
            return True
        error = error.__cause__ or error.__context__
    return False


def unreachable_error(name, error, url="their host"):
    return ConnectionError(
        f"pretrained=True: the weights of backbone={name!r} are not in the local cache "
        f"and {url} cannot be reached ({type(error).__name__}: {error}). Connect to "
        "the network once, give a local file by `weights`, or use pretrained=False."
    )
