"""How alike two names are: words with their synonyms, and numbers as a structure.

A name is read as words and numbers. Words that both frameworks use for one thing under several
names (``query``, ``q_proj``, ``to_q``) count as one word; words that nearly every name of a side
has (``layer``, ``block``) say little and weigh little. Numbers are kept apart: block 3
of one side may be block 2 of the other, so they are compared by rules that are learned from pairs
(see :mod:`converter.drafting.learned`), never by themselves.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

# Words of one line mean the same in the names of weights. Sources: keras_hub 0.32 and transformers
# 5.23 (attention, feed-forward, norms), torchvision 0.28 and timm 1.0 (convolutional networks).
_SYNONYMS = (
    ("query", "q", "wq", "toq", "theta"),
    ("key", "k", "wk", "tok", "phi"),
    ("value", "v", "wv", "tov"),
    ("attn", "attention", "selfattention", "selfattn", "mha", "att", "multihead"),
    ("crossattention", "crossattn", "encdec", "encoderattn"),
    ("output", "out", "o", "wo", "proj", "projection"),
    ("norm", "ln", "layernorm", "bn", "batchnorm", "normalization", "batchnormalization", "gn"),
    ("dense", "fc", "linear", "lin", "mlp", "ffn", "feedforward", "ff"),
    ("up", "intermediate", "fc1", "w1", "cfc", "lin1", "expand", "expansion"),
    ("down", "fc2", "w2", "lin2", "project", "contract"),
    ("gate", "w3", "gating"),
    ("embed", "embedding", "embeddings", "emb", "wte", "lookup"),
    ("position", "pos", "wpe", "positional"),
    ("token", "word", "tok", "vocab"),
    ("conv", "convolution", "cnn", "convolutional"),
    ("depthwise", "dw", "dwconv"),
    ("pointwise", "pw", "pwconv"),
    ("downsample", "shortcut", "skip", "identity", "residual"),
    ("head", "classifier", "predictions", "logits", "cls", "prediction", "final", "lmhead"),
    ("encoder", "enc", "encode", "contracting"),
    ("decoder", "dec", "decode", "expanding"),
    ("block", "layer", "stage", "blk", "layers", "blocks", "stages", "unit", "module", "level"),
    ("reduce", "squeeze"),
    ("stem", "conv0", "patch", "patchembed"),
    ("lstm", "rnn", "gru", "recurrent"),
    ("left", "a", "first"),
    ("right", "b", "second"),
    ("mean", "mu"),
    ("policy", "actor", "pi"),
)
_MEANING = {word: line[0] for line in _SYNONYMS for word in line}

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


@dataclass(frozen=True, slots=True)
class Words:
    """A name, read.

    Attributes:
        words: Its words, in order, by their meaning.
        numbers: Its numbers, in order.
    """

    words: tuple[str, ...]
    numbers: tuple[int, ...]


@lru_cache(maxsize=65536)
def read_name(name: str) -> Words:
    """Read a name.

    Examples:
        >>> read_name("encoder.layers.3.self_attn.q_proj")
        Words(words=('encoder', 'block', 'attn', 'query'), numbers=(3,))
        >>> read_name("conv2_block1_0_bn").words
        ('conv', 'block', 'norm')
    """
    words: list[str] = []
    numbers: list[int] = []
    for component in re.split(r"[/.\-]", name):
        parts = _PART.findall(component)
        letters = [part.lower() for part in parts if not part.isdigit()]
        numbers += [int(part[:9]) for part in parts if part.isdigit()]
        words += _meanings(letters, component)
    return Words(tuple(words), tuple(numbers))


def _meanings(letters: list[str], component: str) -> list[str]:
    """Return the words of one component: two words may be one (``self_attn``, ``q_proj``)."""
    whole = component.replace("_", "").lower()
    if whole in _MEANING:
        return [_MEANING[whole]]
    found: list[str] = []
    position = 0
    while position < len(letters):
        pair = "".join(letters[position : position + 2])
        if len(letters) > position + 1 and pair in _MEANING:
            found.append(_MEANING[pair])
            position += 2
            continue
        word = letters[position]
        # q_proj is a query, not a query and an output.
        if word in ("proj", "projection", "lin", "dense", "linear") and found[-1:] in (
            ["query"],
            ["key"],
            ["value"],
            ["up"],
            ["down"],
            ["gate"],
        ):
            position += 1
            continue
        found.append(_MEANING.get(word, word))
        position += 1
    return found


class Likeness:
    """Compares names of two sides, words weighted by how few names have them.

    Args:
        keras: All names of the Keras side.
        torch: All names of the PyTorch side.
    """

    def __init__(self, keras: Iterable[str], torch: Iterable[str]) -> None:
        self._weights = (_weights(keras), _weights(torch))
        self._known: dict[tuple[tuple[str, ...], tuple[str, ...]], float] = {}

    def __call__(self, keras: str, torch: str) -> float:
        """Return how alike two names are, from 0 (no word in common) to 1."""
        first, second = read_name(keras).words, read_name(torch).words
        if (first, second) not in self._known:
            self._known[first, second] = self._compare(first, second)
        return self._known[first, second]

    def _compare(self, first: tuple[str, ...], second: tuple[str, ...]) -> float:
        ours, theirs = self._weights
        common = Counter(first) & Counter(second)
        shared = sum(
            min(ours.get(word, 1.0), theirs.get(word, 1.0)) * count
            for word, count in common.items()
        )
        # The last word names the layer itself; the others say where it is.
        if first and second and first[-1] == second[-1]:
            shared += 0.5 * ours.get(first[-1], 1.0)
        total = sum(ours.get(word, 1.0) for word in first)
        total += sum(theirs.get(word, 1.0) for word in second)
        return min(1.0, 2 * shared / total) if total else 0.0


def _weights(names: Iterable[str]) -> Mapping[str, float]:
    """Return the weight of each word: small where nearly all names have it."""
    every = [set(read_name(name).words) for name in names]
    counts = Counter(word for words in every for word in words)
    return {word: 0.1 + math.log(1 + len(every) / count) for word, count in counts.items()}
