"""The network of the demo, written by hand in PyTorch; names follow the Keras layers' names."""

from __future__ import annotations

import torch
from torch import nn


class Digits(nn.Module):  # type: ignore[misc]  # torch is Any to mypy, see pyproject.toml
    """Tells handwritten digits apart.

    Takes images of shape ``(batch, 1, 8, 8)`` and gives scores of shape ``(batch, 10)``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 12, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(12, eps=1e-3)
        self.depthwise = nn.Conv2d(12, 24, 3, padding=1, groups=12)
        self.pointwise = nn.Conv2d(24, 32, 1)
        self.head = nn.Linear(4 * 4 * 32, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scores of the ten digits."""
        features = torch.relu(self.stem_norm(self.stem(images)))
        features = torch.max_pool2d(features, 2)
        features = torch.relu(self.pointwise(self.depthwise(features)))
        return self.head(features.flatten(1))


def build() -> nn.Module:
    """Return the network, ready to be used."""
    return Digits().eval()
