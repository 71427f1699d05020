# Licensed under the BSD 3-Clause License.
# SPDX-License-Identifier: BSD-3-Clause
"""The two networks of the long-tailed literature that timm lacks.

Importing this module registers them with timm under their names.
"""

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import create_classifier
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, ResNet
from torch import nn
from torch.nn import functional as F


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
