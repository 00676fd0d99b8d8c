"""Hand-written pairs of several inputs, several outputs, shared parts, and tables of numbers."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from support.drafting_pairs import Pair, inputs, layers, model
from torch import nn


def perceptron() -> Any:
    L = layers()
    x = table = inputs(13)
    for n, width in enumerate((16, 16, 8)):
        x = L.Dense(width, use_bias=False, name=f"hidden_{n}")(x)
        x = L.ReLU()(L.BatchNormalization(name=f"norm_{n}")(x))
    return model(table, L.Dense(1, name="price")(x))


class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        sizes = (13, 16, 16, 8)
        self.linears = nn.ModuleList(
            nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(sizes)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(b, eps=1e-3) for b in sizes[1:])
        self.last = nn.Linear(8, 1)

    def forward(self, x):
        for linear, norm in zip(self.linears, self.norms, strict=True):
            x = F.relu(norm(linear(x)))
        return self.last(x)


def autoencoder() -> Any:
    L = layers()
    x = table = inputs(20)
    for name, width in (("enc1", 12), ("enc2", 6), ("dec1", 12)):
        x = L.Dense(width, activation="relu", name=name)(x)
    return model(table, L.Dense(20, activation="sigmoid", name="dec2")(x))


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.decoder = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 20), nn.Sigmoid())
        self.encoder = nn.Sequential(nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 6), nn.ReLU())

    def forward(self, x):
        return self.decoder(self.encoder(x))


def wide_and_deep() -> Any:
    L = layers()
    wide, deep = inputs(9, name="wide"), inputs(7, name="deep")
    x = L.Dense(8, activation="relu", name="deep_1")(deep)
    x = L.Dense(8, activation="relu", name="deep_2")(x)
    return model([wide, deep], L.Dense(1, name="joint")(L.Concatenate()([wide, x])))


class WideAndDeep(nn.Module):
    def __init__(self):
        super().__init__()
        self.out, self.two, self.one = nn.Linear(17, 1), nn.Linear(8, 8), nn.Linear(7, 8)

    def forward(self, wide, deep):
        x = F.relu(self.two(F.relu(self.one(deep))))
        return self.out(torch.cat([wide, x], 1))


def recommender() -> Any:
    L = layers()
    user, item = inputs(dtype="int32", name="user"), inputs(dtype="int32", name="item")
    product = L.Multiply()(
        [L.Embedding(15, 5, name="gmf_user")(user), L.Embedding(15, 5, name="gmf_item")(item)]
    )
    x = L.Concatenate()(
        [L.Embedding(15, 5, name="mlp_user")(user), L.Embedding(15, 5, name="mlp_item")(item)]
    )
    x = L.Dense(6, activation="relu", name="mlp")(x)
    return model([user, item], L.Dense(1, name="rating")(L.Concatenate()([product, x])))


class Recommender(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding_item_mlp, self.embedding_user_mlp = (nn.Embedding(15, 5) for _ in range(2))
        self.embedding_item_mf, self.embedding_user_mf = (nn.Embedding(15, 5) for _ in range(2))
        self.fc, self.affine_output = nn.Linear(10, 6), nn.Linear(11, 1)

    def forward(self, user, item):
        product = self.embedding_user_mf(user) * self.embedding_item_mf(item)
        x = torch.cat([self.embedding_user_mlp(user), self.embedding_item_mlp(item)], 1)
        return self.affine_output(torch.cat([product, F.relu(self.fc(x))], 1))


def siamese() -> Any:
    L = layers()
    one, two = inputs(14, 10, 1, name="one"), inputs(14, 10, 1, name="two")
    x = image = inputs(14, 10, 1)
    x = L.MaxPooling2D()(L.Conv2D(4, 3, activation="relu", name="c1")(x))
    x = L.MaxPooling2D()(L.Conv2D(6, 3, activation="relu", name="c2")(x))
    tower = model(image, L.Dense(8, name="embedding")(L.Flatten()(x)))
    far = L.Subtract()([tower(one), tower(two)])
    return model(
        [one, two], L.Dense(1, activation="sigmoid", name="same")(L.Multiply()([far, far]))
    )


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.score = nn.Linear(8, 1)
        self.net = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(),
            nn.MaxPool2d(2),
        )  # fmt: skip
        self.fc = nn.Linear(12, 8)

    def tower(self, x):
        return self.fc(self.net(x).flatten(1))

    def forward(self, one, two):
        return torch.sigmoid(self.score((self.tower(one) - self.tower(two)) ** 2))


def image_and_table() -> Any:
    L = layers()
    image, table = inputs(12, 10, 3, name="image"), inputs(6, name="table")
    x = L.Conv2D(5, 3, activation="relu", name="image_conv")(image)
    x = L.Dense(8, activation="relu", name="image_dense")(L.GlobalAveragePooling2D()(x))
    y = L.Dense(8, activation="relu", name="table_dense_1")(table)
    y = L.Dense(8, activation="relu", name="table_dense_2")(y)
    return model([image, table], L.Dense(3, name="fusion")(L.Concatenate()([x, y])))


class ImageAndTable(nn.Module):
    def __init__(self):
        super().__init__()
        self.tab_mlp = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
        self.cnn, self.cnn_fc = nn.Conv2d(3, 5, 3), nn.Linear(5, 8)
        self.classifier = nn.Linear(16, 3)

    def forward(self, image, table):
        x = F.relu(self.cnn_fc(F.relu(self.cnn(image)).mean((2, 3))))
        return self.classifier(torch.cat([x, self.tab_mlp(table)], 1))


def two_heads() -> Any:
    L = layers()
    x = table = inputs(9)
    x = L.Dense(10, activation="relu", name="trunk")(x)
    heads = []
    for name in ("policy", "value"):
        y = L.Dense(7, activation="relu", name=f"{name}_hidden")(x)
        heads.append(L.Dense(4 if name == "policy" else 1, name=name)(y))
    return model(table, heads)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.base = nn.Linear(9, 10)
        self.critic = nn.Sequential(nn.Linear(10, 7), nn.ReLU(), nn.Linear(7, 1))
        self.actor = nn.Sequential(nn.Linear(10, 7), nn.ReLU(), nn.Linear(7, 4))

    def forward(self, x):
        x = F.relu(self.base(x))
        return self.actor(x), self.critic(x)


def discriminator() -> Any:
    L = layers()
    x = image = inputs(16, 12, 3)
    for n, width in enumerate((4, 8)):
        x = L.ZeroPadding2D(1)(x)
        x = L.LeakyReLU(0.2)(L.Conv2D(width, 4, strides=2, name=f"disc_{n}")(x))
    return model(image, L.Dense(1, name="verdict")(L.Flatten()(x)))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(3, 4, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(4, 8, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        )  # fmt: skip
        self.adv_layer = nn.Sequential(nn.Linear(96, 1))

    def forward(self, x):
        return self.adv_layer(self.model(x).flatten(1))


VARIOUS = [
    Pair("perceptron", perceptron, Perceptron,
         {f"hidden_{n}": f"linears.{n}" for n in range(3)}
         | {f"norm_{n}": f"norms.{n}" for n in range(3)} | {"price": "last"}),
    Pair("autoencoder", autoencoder, Autoencoder,
         {"enc1": "encoder.0", "enc2": "encoder.2", "dec1": "decoder.0", "dec2": "decoder.2"}),
    Pair("wide_and_deep", wide_and_deep, WideAndDeep,
         {"deep_1": "one", "deep_2": "two", "joint": "out"}),
    Pair("recommender", recommender, Recommender,
         {f"{keras}_{who}": f"embedding_{who}_{name}" for who in ("user", "item")
          for keras, name in (("gmf", "mf"), ("mlp", "mlp"))}
         | {"mlp": "fc", "rating": "affine_output"}),
    Pair("siamese", siamese, Siamese,
         {"functional/c1": "net.0", "functional/c2": "net.3", "functional/embedding": "fc",
          "same": "score"}),
    Pair("image_and_table", image_and_table, ImageAndTable,
         {"image_conv": "cnn", "image_dense": "cnn_fc", "table_dense_1": "tab_mlp.0",
          "table_dense_2": "tab_mlp.2", "fusion": "classifier"}),
    Pair("two_heads", two_heads, TwoHeads,
         {"trunk": "base", "policy_hidden": "actor.0", "policy": "actor.2",
          "value_hidden": "critic.0", "value": "critic.2"}),
    Pair("discriminator", discriminator, Discriminator,
         {"disc_0": "model.0", "disc_1": "model.2", "verdict": "adv_layer.0"}),
]  # fmt: skip
