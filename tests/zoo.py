"""Networks of many kinds, small enough to be counted in milliseconds: each with the inputs that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

Net = tuple[nn.Module, tuple[torch.Tensor, ...]]


class Lambda(nn.Module):
    """Parts and a function of them and the inputs."""

    def __init__(self, run: Any, **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self._run = run

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self._run(self, *inputs)


def image(size: int = 16, channels: int = 3, batch: int = 2) -> torch.Tensor:
    return torch.zeros(batch, channels, size, size)


def tokens(length: int = 7, batch: int = 2) -> torch.Tensor:
    return torch.zeros(batch, length, dtype=torch.int64)


def conv(i: int, o: int, k: int = 3, **options: Any) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(i, o, k, padding=k // 2, bias=False, **options), nn.BatchNorm2d(o), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, i: int, o: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.a = conv(i, o, stride=stride, groups=groups)
        self.b = nn.Conv2d(o, o, 3, padding=1)
        self.short = nn.Identity() if i == o and stride == 1 else nn.Conv2d(i, o, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.b(self.a(x)) + self.short(x))


class Dense(nn.Module):
    def __init__(self, i: int, growth: int, depth: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(conv(i + growth * n, growth) for n in range(depth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            x = torch.cat([x, part(x)], 1)
        return x


class Squeeze(nn.Module):
    def __init__(self, c: int, r: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(c, r), nn.Linear(r, c)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        s = x.mean((2, 3))
        return x * torch.sigmoid(self.up(functional.relu(self.down(s))))[:, :, None, None]


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(8, 16), conv(16, 8)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.a(x)
        b = self.b(functional.max_pool2d(a, 2))
        return self.c(torch.cat([a, self.up(b)], 1))


class Shuffle(nn.Module):
    def __init__(self, c: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.a, self.b = nn.Conv2d(c, c, 1, groups=groups), nn.Conv2d(c, c, 3, padding=1, groups=c)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        y = self.a(x).view(n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)
        return x + self.b(y)


class Attention(nn.Module):
    def __init__(self, d: int, heads: int, *, fused: bool = True, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.fused, self.causal = heads, fused, causal
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, length, d = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        if self.fused:
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            y = torch.softmax(q @ k.transpose(-1, -2), -1) @ v
        return self.out(y.transpose(1, 2).reshape(n, length, d))


class Block(nn.Module):
    def __init__(self, d: int, heads: int, **options: Any) -> None:
        super().__init__()
        self.a, self.m = (
            Attention(d, heads, **options),
            nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d)),
        )
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.a(self.n1(x))
        return x + self.m(self.n2(x))


class GPT(nn.Module):
    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.e, self.p = nn.Embedding(50, 16), nn.Parameter(torch.zeros(7, 16))
        self.blocks = nn.Sequential(Block(16, 4, causal=True), Block(16, 4, causal=True))
        self.head = nn.Linear(16, 50, bias=False)
        if tied:
            self.head.weight = self.e.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.e(x) + self.p))


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch, self.cls = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.zeros(1, 1, 16))
        self.blocks, self.head = nn.Sequential(Block(16, 2), Block(16, 2, fused=False)), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.patch(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.cls.expand(len(y), -1, -1), y], 1)
        return self.head(self.blocks(y)[:, 0])


class Windows(nn.Module):
    """Attention inside windows, as Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Block(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        y = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
        return self.block(y).reshape(n, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.t, self.c = nn.Linear(16, 16), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.t(x.transpose(1, 2)).transpose(1, 2)
        return x + self.c(x)


class LinearAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k = functional.elu(self.q(x)) + 1, functional.elu(self.k(x)) + 1
        context = torch.einsum("nld,nle->nde", k, self.v(x))
        return torch.einsum("nld,nde->nle", q, context)


class Graph(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        return edges @ self.b(functional.relu(edges @ self.a(nodes)))


class Tagger(nn.Module):
    def __init__(self, kind: type[nn.Module], **options: Any) -> None:
        super().__init__()
        self.e, self.r = nn.Embedding(30, 6), kind(6, 8, batch_first=True, **options)
        self.h = nn.Linear(8 * (2 if options.get("bidirectional") else 1), 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.h(self.r(self.e(x))[0])


class Cells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.LSTMCell(4, 6), nn.GRUCell(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, _ = self.a(x)
        return self.b(h)


class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv(3, 4, 1), nn.Sequential(conv(3, 4, 1), conv(4, 8)), conv(3, 2, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.a(x), self.b(x), self.c(x), functional.avg_pool2d(x, 3, 1, 1)], 1)


def mobile(i: int, o: int, t: int) -> nn.Sequential:
    return nn.Sequential(conv(i, t * i, 1), conv(t * i, t * i, groups=t * i), nn.Conv2d(t * i, o, 1), nn.BatchNorm2d(o))


ZOO: dict[str, Callable[[], Net]] = {
    "lenet": lambda: (
        nn.Sequential(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(216, 10)),
        (image(16, 1),),
    ),
    "vgg": lambda: (
        nn.Sequential(conv(3, 8), conv(8, 8), nn.MaxPool2d(2), conv(8, 16), nn.Flatten(), nn.Linear(1024, 5)),
        (image(),),
    ),
    "resnet": lambda: (nn.Sequential(conv(3, 8), Residual(8, 8), Residual(8, 16, 2)), (image(),)),
    "resnext": lambda: (nn.Sequential(conv(3, 8), Residual(8, 16, 2, groups=4)), (image(),)),
    "densenet": lambda: (Dense(3, 4, 4), (image(),)),
    "inception": lambda: (Inception(), (image(),)),
    "mobilenet": lambda: (nn.Sequential(conv(3, 8), mobile(8, 12, 6), mobile(12, 12, 3)), (image(),)),
    "squeeze and excitation": lambda: (nn.Sequential(conv(3, 8), Squeeze(8, 2)), (image(),)),
    "shufflenet": lambda: (Shuffle(8, 4), (image(channels=8),)),
    "unet": lambda: (UNet(), (image(),)),
    "dilated segmentation": lambda: (
        nn.Sequential(
            conv(3, 8, dilation=1), nn.Conv2d(8, 4, 3, dilation=2), nn.Upsample(scale_factor=2, mode="bilinear")
        ),
        (image(),),
    ),
    "large kernels": lambda: (nn.Conv2d(3, 8, 31, padding="same"), (image(),)),
    "generator": lambda: (
        nn.Sequential(nn.ConvTranspose2d(10, 8, 4), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh()),
        (image(1, 10),),
    ),
    "discriminator": lambda: (
        nn.Sequential(
            nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 8, 4, 2, 1)), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 8)
        ),
        (image(),),
    ),
    "video": lambda: (
        nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), nn.MaxPool3d(2), nn.Conv3d(4, 8, 3)),
        (torch.zeros(1, 3, 8, 8, 8),),
    ),
    "volume decoder": lambda: (nn.ConvTranspose3d(4, 2, 2, 2), (torch.zeros(1, 4, 3, 3, 3),)),
    "audio": lambda: (
        nn.Sequential(nn.Conv1d(1, 4, 9, 4), nn.GLU(1), nn.Conv1d(2, 8, 3, dilation=2)),
        (torch.zeros(2, 1, 100),),
    ),
    "wavenet layer": lambda: (
        Lambda(lambda m, x: torch.tanh(m.a(x)) * torch.sigmoid(m.b(x)), a=nn.Conv1d(4, 4, 2), b=nn.Conv1d(4, 4, 2)),
        (torch.zeros(1, 4, 20),),
    ),
    "lstm tagger": lambda: (Tagger(nn.LSTM), (tokens(),)),
    "bidirectional lstm tagger": lambda: (Tagger(nn.LSTM, bidirectional=True, num_layers=2), (tokens(),)),
    "gru tagger": lambda: (Tagger(nn.GRU), (tokens(),)),
    "rnn tagger": lambda: (Tagger(nn.RNN, nonlinearity="relu"), (tokens(),)),
    "projected lstm": lambda: (nn.LSTM(4, 8, proj_size=3), (torch.zeros(5, 2, 4),)),
    "cells": lambda: (Cells(), (torch.zeros(3, 4),)),
    "gpt": lambda: (GPT(tied=False), (tokens(),)),
    "gpt with tied weights": lambda: (GPT(tied=True), (tokens(),)),
    "vit": lambda: (ViT(), (image(),)),
    "windows": lambda: (Windows(), (image(8, 8),)),
    "encoder": lambda: (
        nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False),
        (torch.zeros(2, 5, 8),),
    ),
    "encoder, norm first": lambda: (nn.TransformerEncoderLayer(8, 2, 16, norm_first=True), (torch.zeros(5, 2, 8),)),
    "decoder": lambda: (nn.TransformerDecoderLayer(8, 2, 16), (torch.zeros(5, 2, 8), torch.zeros(6, 2, 8))),
    "transformer": lambda: (
        nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
        (torch.zeros(2, 5, 8), torch.zeros(2, 6, 8)),
    ),
    "cross-attention": lambda: (
        Lambda(lambda m, q, k: m.a(q, k, k)[0], a=nn.MultiheadAttention(8, 2, kdim=6, vdim=6)),
        (torch.zeros(5, 2, 8), torch.zeros(4, 2, 6)),
    ),
    "linear attention": lambda: (LinearAttention(), (torch.zeros(2, 5, 8),)),
    "mixer": lambda: (Mixer(), (torch.zeros(2, 16, 8),)),
    "perceptron": lambda: (nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 1)), (torch.zeros(4, 10),)),
    "autoencoder with tied weights": lambda: (
        Lambda(lambda m, x: functional.linear(m.a(x), m.a.weight.t()), a=nn.Linear(10, 3)),
        (torch.zeros(4, 10),),
    ),
    "recommender": lambda: (
        Lambda(lambda m, u, i: (m.u(u) * m.i(i)).sum(-1), u=nn.Embedding(9, 4), i=nn.Embedding(9, 4)),
        (tokens(3), tokens(3)),
    ),
    "bilinear scorer": lambda: (nn.Bilinear(4, 5, 2), (torch.zeros(3, 4), torch.zeros(3, 5))),
    "graph": lambda: (Graph(), (torch.zeros(6, 5), torch.zeros(6, 6))),
    "mixture of experts": lambda: (
        Lambda(lambda m, x: torch.einsum("nd,edf->nef", x, m.w), w=nn.Parameter(torch.zeros(4, 6, 5))),
        (torch.zeros(3, 6),),
    ),
    "hypernetwork": lambda: (
        Lambda(lambda m, x: functional.conv2d(x, m.a(x.mean((2, 3))[:1]).view(4, 3, 3, 3)), a=nn.Linear(3, 108)),
        (image(),),
    ),
    "siamese": lambda: (
        Lambda(lambda m, a, b: functional.cosine_similarity(m.t(a), m.t(b)), t=nn.Linear(6, 4)),
        (torch.zeros(2, 6),) * 2,
    ),
    "functional only": lambda: (
        Lambda(
            lambda m, x: torch.addmm(m.b, x, m.w), b=nn.Parameter(torch.zeros(3)), w=nn.Parameter(torch.zeros(5, 3))
        ),
        (torch.zeros(2, 5),),
    ),
}
"""Networks by name; each is made anew for each test."""
