"""Hand-written pairs over sequences: text, signals, attention, stacks of recurrent layers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from support.drafting_pairs import Pair, inputs, layers, model
from torch import nn


def text_cnn() -> Any:
    L = layers()
    words = inputs(13, dtype="int32")
    x = L.Embedding(29, 8, name="embed")(words)
    pooled = [
        L.GlobalMaxPooling1D()(L.Conv1D(5, size, activation="relu", name=f"conv_{size}")(x))
        for size in (3, 4, 5)
    ]
    return model(words, L.Dense(4, name="label")(L.Concatenate()(pooled)))


class TextCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(29, 8)
        self.convs = nn.ModuleList(nn.Conv1d(8, 5, size) for size in (3, 4, 5))
        self.fc = nn.Linear(15, 4)

    def forward(self, x):
        x = self.embedding(x).transpose(1, 2)
        return self.fc(torch.cat([F.relu(conv(x)).amax(2) for conv in self.convs], 1))


def tagger() -> Any:
    L = layers()
    words = inputs(9, dtype="int32")
    x = L.Embedding(21, 7, name="tokens")(words)
    x = L.Bidirectional(L.LSTM(5, return_sequences=True), name="bilstm_1")(x)
    x = L.Bidirectional(L.LSTM(5, return_sequences=True), name="bilstm_2")(x)
    return model(words, L.TimeDistributed(L.Dense(6), name="tags")(x))


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(21, 7)
        self.rnn1 = nn.LSTM(7, 5, batch_first=True, bidirectional=True)
        self.rnn2 = nn.LSTM(10, 5, batch_first=True, bidirectional=True)
        self.out = nn.Linear(10, 6)

    def forward(self, x):
        return self.out(self.rnn2(self.rnn1(self.emb(x))[0])[0])


def gru_stack() -> Any:
    L = layers()
    x = steps = inputs(8, 4)
    for n in range(3):
        x = L.GRU(6, return_sequences=n < 2, name=f"cell_{n}")(x)
    return model(steps, L.Dense(2, name="forecast")(x))


class GRUStack(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 2)
        self.c, self.b, self.a = (nn.GRU(size, 6, batch_first=True) for size in (6, 6, 4))

    def forward(self, x):
        for one in (self.a, self.b, self.c):
            x = one(x)[0]
        return self.head(x[:, -1])


def crnn() -> Any:
    L = layers()
    x = image = inputs(8, 18, 1)
    x = L.Conv2D(5, 3, padding="same", activation="relu", name="block1_conv")(x)
    x = L.MaxPooling2D()(x)
    x = L.Conv2D(7, 3, padding="same", activation="relu", name="block2_conv")(x)
    x = L.MaxPooling2D((4, 1))(x)
    x = L.Reshape((9, 7))(x)
    x = L.Bidirectional(L.LSTM(6, return_sequences=True), name="rnn")(x)
    return model(image, L.Dense(11, name="characters")(x))


class CRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(5, 7, 3, padding=1), nn.ReLU(), nn.MaxPool2d((4, 1)),
        )  # fmt: skip
        self.lstm = nn.LSTM(7, 6, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(12, 11)

    def forward(self, x):
        return self.fc(self.lstm(self.cnn(x).squeeze(2).transpose(1, 2))[0])


def dilated() -> Any:
    L = layers()
    x = signal = inputs(17, 3)
    x = L.Conv1D(6, 1, name="front")(x)
    for n in range(3):
        y = L.Conv1D(6, 2, dilation_rate=2**n, padding="causal", activation="relu", name=f"dil{n}")(
            x
        )
        x = x + L.Conv1D(6, 1, name=f"mix{n}")(y)
    return model(signal, L.Dense(2, name="out")(x))


class Dilated(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp, self.out = nn.Conv1d(3, 6, 1), nn.Conv1d(6, 2, 1)
        self.res = nn.ModuleList(nn.Conv1d(6, 6, 1) for _ in range(3))
        self.dil = nn.ModuleList(nn.Conv1d(6, 6, 2, dilation=2**n) for n in range(3))

    def forward(self, x):
        x = self.inp(x.transpose(1, 2))
        for n, (dil, res) in enumerate(zip(self.dil, self.res, strict=True)):
            x = x + res(F.relu(dil(F.pad(x, (2**n, 0)))))
        return self.out(x).transpose(1, 2)


def translator() -> Any:
    L = layers()
    source, target = inputs(9, dtype="int32", name="src"), inputs(7, dtype="int32", name="tgt")
    _, h, c = L.LSTM(6, return_state=True, name="encoder_lstm")(
        L.Embedding(19, 5, name="source_embedding")(source)
    )
    x = L.Embedding(23, 5, name="target_embedding")(target)
    x = L.LSTM(6, return_sequences=True, name="decoder_lstm")(x, initial_state=[h, c])
    return model([source, target], L.Dense(23, name="vocabulary")(x))


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc_emb, self.dec_emb = nn.Embedding(19, 5), nn.Embedding(23, 5)
        self.decoder, self.encoder = (nn.LSTM(5, 6, batch_first=True) for _ in range(2))
        self.generator = nn.Linear(6, 23)

    def forward(self, src, tgt):
        _, state = self.encoder(self.enc_emb(src))
        return self.generator(self.decoder(self.dec_emb(tgt), state)[0])


def little_gpt() -> Any:
    L = layers()
    words = inputs(8, dtype="int32")
    x = L.Embedding(27, 12, name="token_embedding")(words)
    for n in range(2):
        y = L.LayerNormalization(epsilon=1e-5, name=f"layer{n}_ln1")(x)
        y = L.MultiHeadAttention(3, 4, name=f"layer{n}_attention")(y, y, use_causal_mask=True)
        x = x + y
        y = L.LayerNormalization(epsilon=1e-5, name=f"layer{n}_ln2")(x)
        y = L.Dense(30, activation="gelu", name=f"layer{n}_mlp_in")(y)
        x = x + L.Dense(12, name=f"layer{n}_mlp_out")(y)
    x = L.LayerNormalization(epsilon=1e-5, name="final_norm")(x)
    return model(words, L.Dense(27, use_bias=False, name="lm_head")(x))


class GPTBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(12), nn.LayerNorm(12)
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(12, 12) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(12, 30), nn.Linear(30, 12)

    def heads(self, x):
        return x.unflatten(-1, (3, 4)).transpose(1, 2)

    def forward(self, x):
        y = self.norm1(x)
        q, k, v = (self.heads(one(y)) for one in (self.to_q, self.to_k, self.to_v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.to_out(y.transpose(1, 2).flatten(2))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class LittleGPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(27, 12)
        self.h = nn.ModuleList(GPTBlock() for _ in range(2))
        self.ln_f, self.head = nn.LayerNorm(12), nn.Linear(12, 27, bias=False)

    def forward(self, x):
        x = self.wte(x)
        for block in self.h:
            x = block(x)
        return self.head(self.ln_f(x))


def mixer() -> Any:
    L = layers()
    x = patches = inputs(10, 6)
    for n in range(2):
        y = L.Permute((2, 1))(L.LayerNormalization(epsilon=1e-6, name=f"m{n}_n1")(x))
        y = L.Dense(10, name=f"m{n}_t2")(L.Dense(9, activation="gelu", name=f"m{n}_t1")(y))
        x = x + L.Permute((2, 1))(y)
        y = L.LayerNormalization(epsilon=1e-6, name=f"m{n}_n2")(x)
        x = x + L.Dense(6, name=f"m{n}_c2")(L.Dense(14, activation="gelu", name=f"m{n}_c1")(y))
    return model(patches, L.Dense(3, name="head")(L.GlobalAveragePooling1D()(x)))


class MixerBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.token_norm, self.channel_norm = (nn.LayerNorm(6, eps=1e-6) for _ in range(2))
        self.token_mix = nn.Sequential(nn.Linear(10, 9), nn.GELU(), nn.Linear(9, 10))
        self.channel_mix = nn.Sequential(nn.Linear(6, 14), nn.GELU(), nn.Linear(14, 6))

    def forward(self, x):
        x = x + self.token_mix(self.token_norm(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channel_mix(self.channel_norm(x))


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.mixers, self.top = nn.Sequential(MixerBlock(), MixerBlock()), nn.Linear(6, 3)

    def forward(self, x):
        return self.top(self.mixers(x).mean(1))


_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "attention_output": "to_out"}

SEQUENCES = [
    Pair("text_cnn", text_cnn, TextCNN,
         {"embed": "embedding", "label": "fc"}
         | {f"conv_{size}": f"convs.{n}" for n, size in enumerate((3, 4, 5))}),
    Pair("tagger", tagger, Tagger,
         {"tokens": "emb", "bilstm_1": "rnn1", "bilstm_2": "rnn2", "tags": "out"}),
    Pair("gru_stack", gru_stack, GRUStack,
         {"cell_0": "a", "cell_1": "b", "cell_2": "c", "forecast": "head"}),
    Pair("crnn", crnn, CRNN,
         {"block1_conv": "cnn.0", "block2_conv": "cnn.3", "rnn": "lstm", "characters": "fc"}),
    Pair("dilated", dilated, Dilated,
         {"front": "inp", "out": "out"} | {f"dil{n}": f"dil.{n}" for n in range(3)}
         | {f"mix{n}": f"res.{n}" for n in range(3)}),
    Pair("translator", translator, Translator,
         {"source_embedding": "enc_emb", "target_embedding": "dec_emb", "encoder_lstm": "encoder",
          "decoder_lstm": "decoder", "vocabulary": "generator"}),
    Pair("little_gpt", little_gpt, LittleGPT,
         {"token_embedding": "wte", "final_norm": "ln_f", "lm_head": "head"}
         | {f"layer{n}_{keras}": f"h.{n}.{name}" for n in range(2)
            for keras, name in (("ln1", "norm1"), ("ln2", "norm2"), ("mlp_in", "fc1"),
                                ("mlp_out", "fc2"),
                                *((f"attention/{a}", b) for a, b in _ATTENTION.items()))}),
    Pair("mixer", mixer, Mixer,
         {"head": "top"}
         | {f"m{n}_{keras}": f"mixers.{n}.{name}" for n in range(2)
            for keras, name in (("n1", "token_norm"), ("n2", "channel_norm"), ("t1", "token_mix.0"),
                                ("t2", "token_mix.2"), ("c1", "channel_mix.0"),
                                ("c2", "channel_mix.2"))}),
]  # fmt: skip
