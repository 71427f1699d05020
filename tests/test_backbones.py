# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""Networks by name and their weights."""

import pickle

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from ldmlr_sklearn._backbones import _pretrained
from ldmlr_sklearn._backbones._named import create_backbone
from ldmlr_sklearn._backbones._paper_networks import _BasicBlock
from ldmlr_sklearn._backbones._weight_files import load_weights, read_state_dict

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
SMALL = {"output_stride": 8}


@pytest.fixture(scope="module")
def network():
    return timm.create_model("cifar_resnet32").eval()


def is_alike(state, other):
    return state.keys() == other.keys() and all(
        torch.equal(state[name], other[name]) for name in state
    )


def test_size_of_the_published_network(network):
    assert sum(parameter.numel() for parameter in network.parameters()) == 464_154
    assert len(network.state_dict()) == 188
    assert network.state_dict()["layer3.4.conv2.weight"].shape == (64, 64, 3, 3)
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == 31


def test_conventions_of_timm(network):
    assert network.num_features == network.head_hidden_size == 64
    assert network.pretrained_cfg["input_size"] == (3, 32, 32)
    assert network.pretrained_cfg["mean"] == pytest.approx(
        (0.4914, 0.4824, 0.4467), abs=1e-4
    )
    assert network.get_classifier() is network.fc
    with torch.no_grad():
        maps = network.forward_features(IMAGES)
        features = network.forward_head(maps, pre_logits=True)
        logits = network(IMAGES)
    assert maps.shape == (4, 64, 8, 8)
    torch.testing.assert_close(features, maps.mean(dim=(2, 3)))
    torch.testing.assert_close(logits, network.fc(features))


def test_options_of_timm():
    assert timm.create_model("cifar_resnet32", num_classes=100).fc.out_features == 100
    assert timm.create_model("cifar_resnet32", in_chans=1).conv1.in_channels == 1
    headless = timm.create_model("cifar_resnet32", num_classes=0, global_pool="")
    assert headless(IMAGES).shape == (4, 64, 8, 8)
    stages = timm.create_model("cifar_resnet32", features_only=True)(IMAGES)
    assert [stage.shape[1:] for stage in stages] == [
        (16, 32, 32),
        (32, 16, 16),
        (64, 8, 8),
    ]


def test_shortcut_subsamples_and_pads_with_zeros():
    block = _BasicBlock(4, 8, stride=2).eval()
    nn.init.zeros_(block.bn2.weight)  # leaves nothing but the shortcut
    x = torch.rand(2, 4, 6, 6)
    with torch.no_grad():
        y = block(x)
    torch.testing.assert_close(y[:, 2:6], x[:, :, ::2, ::2])
    assert not y[:, :2].any()
    assert not y[:, 6:].any()


def test_pickle_round_trip(network):
    copied = pickle.loads(pickle.dumps(network))
    with torch.no_grad():
        torch.testing.assert_close(copied(IMAGES), network(IMAGES))


def test_created_backbone_has_no_head():
    network = create_backbone("test_resnet", SMALL)
    assert isinstance(network.fc, nn.Identity)


def test_networks_of_3d_convolutions():
    network = create_backbone("lambda_resnet26t", {}).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 256, 256)).shape == (1, 2048)


@pytest.mark.parametrize(
    ("name", "keywords", "message"),
    [
        ("resnet_18", {}, r"'resnet_18' is not the name .* Did you mean .*'resnet18'"),
        ("?", {}, r"is not the name of a timm network. `timm.list_models"),
        ("resnet18.nothing", {}, "timm could not build.*Invalid pretrained tag"),
        ("test_resnet", {"depth": 3}, r"backbone_kwargs={'depth': 3}: .*'depth'"),
        ("test_resnet", {"pretrained": True}, "contradict.* set pretrained=True if"),
    ],
)
def test_networks_that_cannot_be_built(name, keywords, message):
    with pytest.raises(ValueError, match=message):
        create_backbone(name, keywords)


@pytest.fixture
def offline(monkeypatch):
    """No cache, no network, and no download that would be tried all the same."""

    class Session:
        def head(self, url, timeout):
            assert timeout <= 10
            raise OSError("Name or service not known")

    def refuse(*args, **keywords):
        raise AssertionError("timm was asked to build, and would have retried")

    hub = _pretrained.huggingface_hub
    monkeypatch.setattr(hub, "get_session", Session)
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *args, **keywords: None)
    monkeypatch.setattr(timm, "create_model", refuse)


@pytest.mark.parametrize("name", ["resnet18", "hf-hub:timm/resnet18.a1_in1k"])
def test_pretrained_without_network(offline, name):
    message = rf"{name}' are not in the local cache .* cannot be reached.*`weights`"
    with pytest.raises(ConnectionError, match=message):
        create_backbone(name, {}, pretrained=True)


def test_pretrained_that_breaks_off(monkeypatch):
    class Session:
        def head(self, url, timeout):
            return None

    def break_off(*args, **keywords):
        raise RuntimeError("download failed") from TimeoutError("timed out")

    monkeypatch.setattr(_pretrained.huggingface_hub, "get_session", Session)
    monkeypatch.setattr(_pretrained, "_find_in_hub_cache", lambda config: None)
    monkeypatch.setattr(timm, "create_model", break_off)
    with pytest.raises(ConnectionError, match="download failed"):
        create_backbone("test_resnet", {}, pretrained=True)


def test_pretrained_from_the_cache_needs_no_network(monkeypatch, tmp_path):
    published = timm.create_model("test_resnet", num_classes=1000)
    path = str(tmp_path / "model.safetensors")
    save_file(published.state_dict(), path)
    hub = _pretrained.huggingface_hub
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *args, **keywords: path)
    monkeypatch.setattr(hub, "get_session", None)
    overlay = {"mean": (0.1, 0.2, 0.3), "custom_load": True}
    keywords = {**SMALL, "pretrained_cfg_overlay": overlay}
    network = create_backbone("test_resnet", keywords, pretrained=True)
    assert network.pretrained_cfg["mean"] == overlay["mean"]
    state = published.state_dict()
    del state["fc.weight"], state["fc.bias"]
    assert is_alike(network.state_dict(), state)


def test_pretrained_weights_that_do_not_exist():
    with pytest.raises(ValueError, match=r"no pretrained weights for .*cifar_resnet32"):
        create_backbone("cifar_resnet32", {}, pretrained=True)


def write(tmp_path, contents, name="weights.pth"):
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(contents, path)
    else:
        torch.save(contents, path)
    return path


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_weights_and_head(network, tmp_path, name):
    path = write(tmp_path, network.state_dict(), name)
    other = create_backbone("cifar_resnet32", {})
    weight, bias = load_weights(other, path)
    torch.testing.assert_close(weight, network.fc.weight)
    torch.testing.assert_close(bias, network.fc.bias)
    with torch.no_grad():
        logits = other.eval()(IMAGES) @ weight.T + bias
        torch.testing.assert_close(logits, network(IMAGES), rtol=1e-4, atol=1e-3)


def test_weights_wrapped_by_trainers(network, tmp_path):
    state = {
        f"_orig_mod.module.{name}": tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    path = write(tmp_path, {"epoch": 3, "state_dict": state})
    expected = dict(network.named_parameters())
    other = create_backbone("cifar_resnet32", {})
    load_weights(other, path)
    assert is_alike(
        dict(other.named_parameters()),
        {name: expected[name] for name in expected if not name.startswith("fc.")},
    )


def test_head_of_another_size_does_not_matter(network, tmp_path):
    path = write(tmp_path, network.state_dict())
    other = timm.create_model("cifar_resnet32", num_classes=3)
    weight, _ = load_weights(other, path)
    assert weight.shape == (10, 64)
    assert other.fc.weight.shape == (3, 64)


@pytest.mark.parametrize("name", ["efficientvit_m0", "levit_128s"])
def test_head_that_normalises_is_left_out(name, tmp_path):
    whole = timm.create_model(name)
    path = write(tmp_path, whole.state_dict())
    backbone = create_backbone(name, {})
    assert load_weights(backbone, path) is None
    expected = whole.state_dict()
    assert is_alike(
        backbone.state_dict(), {key: expected[key] for key in backbone.state_dict()}
    )
    state = {
        **expected,
        "head.bn.momentum": torch.zeros(1),
        "tail.weight": torch.ones(1),
    }
    with pytest.raises(ValueError, match=r"Unexpected: tail.weight\. Check"):
        load_weights(backbone, write(tmp_path, state))


def test_what_stands_beside_a_head_is_needed_where_the_backbone_has_it(tmp_path):
    whole = timm.create_model("test_convnext")
    weight, _ = load_weights(
        create_backbone("test_convnext", {}), write(tmp_path, whole.state_dict())
    )
    torch.testing.assert_close(weight, whole.head.fc.weight)
    state = {**whole.state_dict(), "head.other.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"Unexpected: head.other.weight"):
        load_weights(create_backbone("test_convnext", {}), write(tmp_path, state))


def test_weights_of_a_module_without_configuration(tmp_path):
    module, other = nn.Linear(3, 2), nn.Linear(3, 2)
    assert load_weights(other, write(tmp_path, module.state_dict())) is None
    assert is_alike(module.state_dict(), other.state_dict())


def test_weights_of_another_network(network, tmp_path):
    state = network.state_dict()
    path = write(tmp_path, state)
    with pytest.raises(
        ValueError,
        match=r"do not fit the backbone. Missing: .* and \d+ more. Unexpected: .* more",
    ):
        load_weights(create_backbone("test_resnet", {}), path)
    with pytest.raises(
        ValueError, match=r"shape: conv1.weight \(16, 3, 3, 3\) for \(16, 1"
    ):
        load_weights(create_backbone("cifar_resnet32", {"in_chans": 1}), path)
    del state["bn1.bias"]
    path = write(tmp_path, state)
    with pytest.raises(ValueError, match=r"Missing: bn1.bias. Check"):
        load_weights(create_backbone("cifar_resnet32", {}), path)


class RunsCode:
    def __reduce__(self):
        return print, ("code from a weights file ran",)


def test_code_in_weights_is_not_run(tmp_path, capsys):
    path = write(tmp_path, {"state_dict": RunsCode()})
    with pytest.raises(ValueError, match="Python objects besides tensors"):
        read_state_dict(path)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_damaged_weights(network, tmp_path, name):
    path = write(tmp_path, network.state_dict(), name)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=f"{name}' (cannot be read|holds .* damaged)"):
        read_state_dict(path)


def test_weights_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing.pth': there is no such file"):
        read_state_dict(tmp_path / "nothing.pth")
    with pytest.raises(ValueError, match=r"holds no state dict .* but a list"):
        read_state_dict(write(tmp_path, [torch.zeros(3)]))


def test_resnet10_is_half_of_resnet18():
    network = timm.create_model("imagenet_resnet10")
    assert sum(parameter.numel() for parameter in network.parameters()) == 5_418_792
    whole = timm.create_model("resnet18").state_dict()
    first = {name: value for name, value in whole.items() if ".1." not in name[:9]}
    state = network.state_dict()
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in first.items()
    }
    assert network.num_features == 512
    assert network.pretrained_cfg["input_size"] == (3, 224, 224)
    # Nothing but the second blocks is missing: with these as identities, both agree.
    network.load_state_dict(first)
    larger = timm.create_model("resnet18")
    larger.load_state_dict(whole)
    for stage in (larger.layer1, larger.layer2, larger.layer3, larger.layer4):
        stage[1] = nn.Identity()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(images), larger.eval()(images))
