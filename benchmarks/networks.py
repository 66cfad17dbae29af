"""Networks to count, as users write them: a ResNet-50, a MobileNet with squeeze and excitation, a ViT and a U-Net.

They import nothing of convcost, whose imports belong to the time of its first count.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """A transformer's block with fused attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        n, length, width = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, width)
        x = x + self.out(attended)
        return x + self.mlp(x)


class VisionTransformer(nn.Module):
    """ViT-S/16."""

    def __init__(self, width: int = 384, depth: int = 12, heads: int = 6) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.zeros(1, 197, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of 1,000 classes."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


def double(i: int, o: int) -> nn.Sequential:
    """Two convolutions with batch normalisation."""
    parts = [(nn.Conv2d(n, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True)) for n in (i, o)]
    return nn.Sequential(*(layer for three in parts for layer in three))


class UNet(nn.Module):
    """Four levels, with transposed convolutions on the way up."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(4)]
        self.down = nn.ModuleList(double(i, o) for i, o in zip([3, *widths], widths, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * o, o, 2, 2) for o in widths[-2::-1])
        self.merge = nn.ModuleList(double(2 * o, o) for o in widths[-2::-1])
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A mask of two classes."""
        skipped = []
        for level, part in enumerate(self.down):
            x = part(functional.max_pool2d(x, 2) if level else x)
            skipped.append(x)
        for up, merge, other in zip(self.up, self.merge, skipped[-2::-1], strict=True):
            x = merge(torch.cat([up(x), other], 1))
        return self.head(x)


class Inverted(nn.Module):
    """MobileNetV3's block."""

    def __init__(self, width: int, expanded: int) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.Conv2d(width, expanded, 1, bias=False), nn.BatchNorm2d(expanded), nn.Hardswish())
        self.spread = nn.Conv2d(expanded, expanded, 5, padding=2, groups=expanded, bias=False)
        self.squeeze, self.excite = nn.Conv2d(expanded, expanded // 4, 1), nn.Conv2d(expanded // 4, expanded, 1)
        self.down = nn.Conv2d(expanded, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        y = self.spread(self.up(x))
        scale = self.excite(functional.relu(self.squeeze(functional.adaptive_avg_pool2d(y, 1))))
        return x + self.down(y * functional.hardsigmoid(scale))


def mobilenet() -> nn.Module:
    """A MobileNetV3 of one width."""
    stem = (nn.Conv2d(3, 48, 3, 4, 1, bias=False), nn.BatchNorm2d(48), nn.Hardswish(inplace=True))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(48, 1000))
    return nn.Sequential(*stem, *(Inverted(48, 192) for _ in range(11)), *head)


class Bottleneck(nn.Module):
    """ResNet's block of three convolutions, with its stride in the second."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        wide = 4 * width
        self.narrow, self.norm1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.spread, self.norm2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.widen, self.norm3 = nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide)
        self.relu, self.shortcut = nn.ReLU(inplace=True), nn.Identity()
        if channels != wide:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Four times the width."""
        y = self.relu(self.norm2(self.spread(self.relu(self.norm1(self.narrow(x))))))
        return self.relu(self.norm3(self.widen(y)) + self.shortcut(x))


def resnet() -> nn.Module:
    """ResNet-50."""
    stem = (nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
    blocks, channels = [], 64
    for width, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(depth):
            blocks.append(Bottleneck(channels, width, stride if number == 0 else 1))
            channels = 4 * width
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


NETWORKS = {"ResNet-50": resnet, "MobileNetV3": mobilenet, "ViT": VisionTransformer, "U-Net": UNet}
