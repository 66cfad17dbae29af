"""Networks whose cost is published, as their papers describe them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable


def conv(i: int, o: int, k: int, stride: int = 1, *, active: bool = True) -> nn.Sequential:
    parts = [nn.Conv2d(i, o, k, stride, k // 2, bias=False), nn.BatchNorm2d(o)]
    return nn.Sequential(*parts, *([nn.ReLU(inplace=True)] if active else []))


class Residual(nn.Module):
    def __init__(self, i: int, o: int, stride: int, body: nn.Module) -> None:
        super().__init__()
        self.body, self.active = body, nn.ReLU(inplace=True)
        self.short = nn.Identity() if i == o and stride == 1 else conv(i, o, 1, stride, active=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.active(self.body(x) + self.short(x))


def basic(i: int, m: int, stride: int) -> Residual:
    return Residual(i, m, stride, nn.Sequential(conv(i, m, 3, stride), conv(m, m, 3, active=False)))


def bottleneck(i: int, m: int, first: int, middle: int) -> Residual:
    body = nn.Sequential(conv(i, m, 1, first), conv(m, m, 3, middle), conv(m, 4 * m, 1, active=False))
    return Residual(i, 4 * m, first * middle, body)


def resnet(depths: tuple[int, ...], block: Callable[[int, int, int], Residual], factor: int) -> nn.Sequential:
    parts: list[nn.Module] = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for index, depth in enumerate(depths):
        for n in range(depth):
            parts.append(block(channels, 64 * 2**index, 2 if index and not n else 1))
            channels = factor * 64 * 2**index
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


def resnet18() -> nn.Module:
    return resnet((2, 2, 2, 2), basic, 1)


def resnet50() -> nn.Module:
    """With the stride in the 3x3, as in most libraries."""
    return resnet((3, 4, 6, 3), lambda i, m, stride: bottleneck(i, m, 1, stride), 4)


def resnet50_of_the_paper() -> nn.Module:
    """With the stride in the first 1x1."""
    return resnet((3, 4, 6, 3), lambda i, m, stride: bottleneck(i, m, stride, 1), 4)


def vgg16() -> nn.Module:
    parts: list[nn.Module] = []
    channels = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            parts += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        parts.append(nn.MaxPool2d(2))
    head = [nn.Linear(25088, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(7), nn.Flatten(), *head)


def alexnet() -> nn.Module:
    """The one of 2014, "one weird trick", which libraries have."""
    parts: list[nn.Module] = []
    for i, o, k, stride, padding, pools in (
        *((3, 64, 11, 4, 2, True), (64, 192, 5, 1, 2, True), (192, 384, 3, 1, 1, False)),
        *((384, 256, 3, 1, 1, False), (256, 256, 3, 1, 1, True)),
    ):
        parts += [nn.Conv2d(i, o, k, stride, padding), nn.ReLU(inplace=True)]
        parts += [nn.MaxPool2d(3, 2)] if pools else []
    head = [nn.Linear(9216, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(6), nn.Flatten(), *head)


class Fire(nn.Module):
    def __init__(self, i: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(i, squeeze, 1), nn.ReLU())
        self.small = nn.Sequential(nn.Conv2d(squeeze, expand, 1), nn.ReLU())
        self.large = nn.Sequential(nn.Conv2d(squeeze, expand, 3, padding=1), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.squeeze(x)
        return torch.cat([self.small(y), self.large(y)], 1)


def squeezenet() -> nn.Module:
    """SqueezeNet 1.1."""

    def pool() -> nn.MaxPool2d:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        *(nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool(), Fire(64, 16, 64), Fire(128, 16, 64), pool()),
        *(Fire(128, 32, 128), Fire(256, 32, 128), pool(), Fire(256, 48, 192), Fire(384, 48, 192)),
        *(Fire(384, 64, 256), Fire(512, 64, 256), nn.Conv2d(512, 1000, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
        nn.Flatten(),
    )


class Dense(nn.Module):
    def __init__(self, i: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.BatchNorm2d(i), nn.ReLU(), nn.Conv2d(i, 128, 1, bias=False)),
            *(nn.BatchNorm2d(128), nn.ReLU(), nn.Conv2d(128, 32, 3, padding=1, bias=False)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.body(x)], 1)


def densenet121() -> nn.Module:
    parts: list[nn.Module] = [conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for depth in (6, 12, 24, 16):
        parts += [Dense(channels + 32 * n) for n in range(depth)]
        channels += 32 * depth
        if depth != 16:
            half = nn.Conv2d(channels, channels // 2, 1, bias=False)
            parts += [nn.BatchNorm2d(channels), nn.ReLU(), half, nn.AvgPool2d(2)]
            channels //= 2
    head = [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000)]
    return nn.Sequential(*parts, *head)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(768, 3 * 768), nn.Linear(768, 768)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, length, _ = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, 12, 64).permute(2, 0, 3, 1, 4)
        return self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, 768))


class Added(nn.Module):
    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class VisionTransformer(nn.Module):
    """ViT-B/16."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 768, 16, 16), nn.Parameter(torch.zeros(1, 1, 768))
        self.positions = nn.Parameter(torch.zeros(1, 197, 768))
        blocks = []
        for _ in range(12):
            mlp = nn.Linear(768, 3072), nn.GELU(), nn.Linear(3072, 768)
            blocks += [Added(nn.LayerNorm(768), Attention()), Added(nn.LayerNorm(768), *mlp)]
        self.blocks, self.norm, self.head = nn.Sequential(*blocks), nn.LayerNorm(768), nn.Linear(768, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.patches(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(len(y), -1, -1), y], 1) + self.positions
        return self.head(self.norm(self.blocks(y))[:, 0])


class ChannelNorm(nn.LayerNorm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ChannelLinear(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.LayerNorm(c), nn.Linear(c, 4 * c), nn.GELU(), nn.Linear(4 * c, c))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def convnext_tiny() -> nn.Module:
    parts: list[nn.Module] = [nn.Conv2d(3, 96, 4, 4), ChannelNorm(96)]
    for index, depth in enumerate((3, 3, 9, 3)):
        c = 96 * 2**index
        parts += [ChannelNorm(c // 2), nn.Conv2d(c // 2, c, 2, 2)] if index else []
        parts += [Added(nn.Conv2d(c, c, 7, padding=3, groups=c), ChannelLinear(c)) for _ in range(depth)]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(768), nn.Linear(768, 1000))
