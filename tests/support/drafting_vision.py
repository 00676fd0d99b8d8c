"""Hand-written pairs over images: what people port from tutorials and papers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from support.drafting_pairs import Pair, inputs, layers, model
from torch import nn


def lenet() -> Any:
    L = layers()
    x = image = inputs(28, 20, 1)
    x = L.MaxPooling2D()(L.Conv2D(6, 5, activation="tanh", padding="same", name="conv2d")(x))
    x = L.MaxPooling2D()(L.Conv2D(16, 5, activation="tanh", name="conv2d_1")(x))
    x = L.Dense(24, activation="tanh", name="dense")(L.Flatten()(x))
    x = L.Dense(18, activation="tanh", name="dense_1")(x)
    return model(image, L.Dense(10, name="dense_2")(x))


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(240, 24), nn.Linear(24, 18), nn.Linear(18, 10)

    def forward(self, x):
        x = F.max_pool2d(torch.tanh(self.conv1(x)), 2)
        x = F.max_pool2d(torch.tanh(self.conv2(x)), 2)
        x = torch.tanh(self.fc1(x.flatten(1)))
        return self.fc3(torch.tanh(self.fc2(x)))


def residual() -> Any:
    L = layers()
    x = image = inputs(16, 12, 3)
    x = L.Conv2D(8, 3, padding="same", use_bias=False, name="stem_conv")(x)
    x = L.ReLU()(L.BatchNormalization(epsilon=1e-5, name="stem_bn")(x))
    for n, width in enumerate((8, 12)):
        y = L.Conv2D(width, 3, padding="same", use_bias=False, name=f"res{n}_conv_a")(x)
        y = L.ReLU()(L.BatchNormalization(epsilon=1e-5, name=f"res{n}_bn_a")(y))
        y = L.Conv2D(width, 3, padding="same", use_bias=False, name=f"res{n}_conv_b")(y)
        y = L.BatchNormalization(epsilon=1e-5, name=f"res{n}_bn_b")(y)
        if width != 8:
            x = L.Conv2D(width, 1, use_bias=False, name=f"res{n}_proj")(x)
            x = L.BatchNormalization(epsilon=1e-5, name=f"res{n}_proj_bn")(x)
        x = L.ReLU()(x + y)
    return model(image, L.Dense(7, name="logits")(L.GlobalAveragePooling2D()(x)))


class ResidualBlock(nn.Module):
    def __init__(self, before, width):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if before != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.layer1, self.layer2 = ResidualBlock(8, 8), ResidualBlock(8, 12)
        self.fc = nn.Linear(12, 7)

    def forward(self, x):
        x = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x)))))
        return self.fc(x.mean((2, 3)))


def unet() -> Any:
    L = layers()
    image = inputs(16, 12, 2)

    def twice(x: Any, width: int, name: str) -> Any:
        for half in "ab":
            x = L.Conv2D(width, 3, padding="same", activation="relu", name=f"{name}{half}")(x)
        return x

    one = twice(image, 4, "down1")
    two = twice(L.MaxPooling2D()(one), 6, "down2")
    x = twice(L.MaxPooling2D()(two), 8, "bottom")
    x = L.Conv2DTranspose(6, 2, strides=2, name="up2_t")(x)
    x = twice(L.Concatenate()([two, x]), 6, "up2")
    x = L.Conv2DTranspose(4, 2, strides=2, name="up1_t")(x)
    x = twice(L.Concatenate()([one, x]), 4, "up1")
    return model(image, L.Conv2D(3, 1, name="segmentation")(x))


def _double(before: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, 3, padding=1), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.inc, self.down = _double(2, 4), _double(4, 6)
        self.bottleneck = _double(6, 8)
        self.up1, self.upconv1 = nn.ConvTranspose2d(8, 6, 2, stride=2), _double(12, 6)
        self.up2, self.upconv2 = nn.ConvTranspose2d(6, 4, 2, stride=2), _double(8, 4)
        self.outc = nn.Conv2d(4, 3, 1)

    def forward(self, x):
        one = self.inc(x)
        two = self.down(F.max_pool2d(one, 2))
        x = self.bottleneck(F.max_pool2d(two, 2))
        x = self.upconv1(torch.cat([two, self.up1(x)], 1))
        return self.outc(self.upconv2(torch.cat([one, self.up2(x)], 1)))


def mobile() -> Any:
    L = layers()
    x = image = inputs(14, 10, 3)
    for n, width in enumerate((6, 9, 9)):
        x = L.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"dw_{n}")(x)
        x = L.ReLU(6.0)(L.BatchNormalization(name=f"dw_{n}_bn")(x))
        x = L.Conv2D(width, 1, use_bias=False, name=f"pw_{n}")(x)
        x = L.ReLU(6.0)(L.BatchNormalization(name=f"pw_{n}_bn")(x))
    return model(image, L.Dense(4, name="preds")(L.GlobalAveragePooling2D()(x)))


class Mobile(nn.Module):
    def __init__(self):
        super().__init__()
        steps, before = [], 3
        for width in (6, 9, 9):
            steps.append(
                nn.Sequential(
                    nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False),
                    nn.BatchNorm2d(before, eps=1e-3), nn.ReLU6(),
                    nn.Conv2d(before, width, 1, bias=False),
                    nn.BatchNorm2d(width, eps=1e-3), nn.ReLU6(),
                )
            )  # fmt: skip
            before = width
        self.features, self.classifier = nn.Sequential(*steps), nn.Linear(9, 4)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def separable() -> Any:
    L = layers()
    x = image = inputs(13, 11, 3)
    x = L.SeparableConv2D(7, 3, padding="same", activation="relu", name="sep1")(x)
    x = L.SeparableConv2D(5, 3, padding="same", activation="relu", name="sep2")(x)
    return model(image, L.Dense(4, name="top")(L.GlobalMaxPooling2D()(x)))


class Separable(nn.Module):
    def __init__(self):
        super().__init__()
        self.dw1, self.pw1 = nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False), nn.Conv2d(3, 7, 1)
        self.dw2, self.pw2 = nn.Conv2d(7, 7, 3, padding=1, groups=7, bias=False), nn.Conv2d(7, 5, 1)
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        x = F.relu(self.pw1(self.dw1(x)))
        x = F.relu(self.pw2(self.dw2(x)))
        return self.fc(x.amax((2, 3)))


def squeeze() -> Any:
    L = layers()
    x = image = inputs(12, 10, 3)
    for n in range(2):
        x = L.Conv2D(8, 3, padding="same", activation="relu", name=f"b{n}_conv")(x)
        s = L.GlobalAveragePooling2D(keepdims=True)(x)
        s = L.Conv2D(2, 1, activation="relu", name=f"b{n}_se_reduce")(s)
        s = L.Conv2D(8, 1, activation="sigmoid", name=f"b{n}_se_expand")(s)
        x = L.Multiply()([x, s])
    return model(image, L.Dense(5, name="head")(L.GlobalAveragePooling2D()(x)))


class SqueezeBlock(nn.Module):
    def __init__(self, before):
        super().__init__()
        self.excite, self.squeeze = nn.Conv2d(2, 8, 1), nn.Conv2d(8, 2, 1)
        self.conv = nn.Conv2d(before, 8, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.conv(x))
        s = F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.excite(s))


class Squeeze(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(SqueezeBlock(3), SqueezeBlock(8))
        self.out = nn.Linear(8, 5)

    def forward(self, x):
        return self.out(self.blocks(x).mean((2, 3)))


def generator() -> Any:
    L = layers()
    x = noise = inputs(11)
    x = L.ReLU()(L.Dense(3 * 2 * 8, name="project")(x))
    x = L.Reshape((3, 2, 8))(x)
    x = L.Conv2DTranspose(6, 4, strides=2, padding="same", use_bias=False, name="deconv1")(x)
    x = L.ReLU()(L.BatchNormalization(epsilon=1e-5, name="deconv1_bn")(x))
    x = L.Conv2DTranspose(3, 4, strides=2, padding="same", activation="tanh", name="deconv2")(x)
    return model(noise, x)


class Generator(nn.Module):
    """The projection makes rows in the order of channels last, as a port leaves them."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(11, 48)
        self.main = nn.Sequential(
            nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(6),
            nn.ReLU(), nn.ConvTranspose2d(6, 3, 4, stride=2, padding=1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, x):
        x = F.relu(self.fc(x)).reshape(-1, 3, 2, 8).permute(0, 3, 1, 2)
        return self.main(x)


def variational() -> Any:
    L = layers()
    x = image = inputs(12, 8, 1)
    x = L.Conv2D(4, 3, padding="same", activation="relu", name="enc_conv")(x)
    x = L.Dense(10, activation="relu", name="enc_dense")(L.Flatten()(L.MaxPooling2D()(x)))
    mean, spread = L.Dense(3, name="z_mean")(x), L.Dense(3, name="z_log_var")(x)
    return model(image, [mean, spread])


class Variational(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(96, 10)
        self.fc_logvar, self.fc_mu = nn.Linear(10, 3), nn.Linear(10, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2).flatten(1)
        x = F.relu(self.fc(x))
        return self.fc_mu(x), self.fc_logvar(x)


VISION = [
    Pair("lenet", lenet, LeNet,
         {"conv2d": "conv1", "conv2d_1": "conv2", "dense": "fc1", "dense_1": "fc2",
          "dense_2": "fc3"}),
    Pair("residual", residual, Residual,
         {"stem_conv": "conv1", "stem_bn": "bn1", "res1_proj": "layer2.downsample.0",
          "res1_proj_bn": "layer2.downsample.1", "logits": "fc"}
         | {f"res{n}_{keras}_{half}": f"layer{n + 1}.{keras}{at}" for n in range(2)
            for keras in ("conv", "bn") for at, half in enumerate("ab", 1)}),
    Pair("unet", unet, UNet,
         {"up2_t": "up1", "up1_t": "up2", "segmentation": "outc"}
         | {f"{keras}{half}": f"{name}.{2 * at}" for at, half in enumerate("ab")
            for keras, name in (("down1", "inc"), ("down2", "down"), ("bottom", "bottleneck"),
                                ("up2", "upconv1"), ("up1", "upconv2"))}),
    Pair("mobile", mobile, Mobile,
         {f"{kind}_{n}{bn}": f"features.{n}.{at}" for n in range(3)
          for at, (kind, bn) in {0: ("dw", ""), 1: ("dw", "_bn"), 3: ("pw", ""),
                                 4: ("pw", "_bn")}.items()} | {"preds": "classifier"}),
    Pair("separable", separable, Separable,
         {f"sep{n}#{keras}": f"{name}{n}" for n in (1, 2)
          for keras, name in (("depthwise", "dw"), ("pointwise", "pw"))} | {"top": "fc"}),
    Pair("squeeze", squeeze, Squeeze,
         {"head": "out"} | {f"b{n}_{keras}": f"blocks.{n}.{name}" for n in range(2)
                            for keras, name in (("conv", "conv"), ("se_reduce", "squeeze"),
                                                ("se_expand", "excite"))}),
    Pair("generator", generator, Generator,
         {"project": "fc", "deconv1": "main.0", "deconv1_bn": "main.1", "deconv2": "main.3"}),
    Pair("variational", variational, Variational,
         {"enc_conv": "conv", "enc_dense": "fc", "z_mean": "fc_mu", "z_log_var": "fc_logvar"}),
]  # fmt: skip
