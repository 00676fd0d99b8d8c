"""Small models for the layers with weights that the models of scaffold_models.py do not have."""

from __future__ import annotations

from typing import Any

from support.scaffold_models import keras_input, keras_layers, keras_model


def films() -> Any:
    L = keras_layers()
    line, volume = keras_input(4, 11, 2, name="line"), keras_input(3, 5, 6, 4, 2, name="volume")
    x = L.ConvLSTM1D(3, 2, return_sequences=True, name="line_first")(line)
    x = L.ConvLSTM1D(5, 3, strides=2, use_bias=False, name="line_last")(x)
    y = L.ConvLSTM3D(4, (2, 3, 2), activation="relu", dilation_rate=1, name="volume_last")(volume)
    y = L.GlobalMaxPooling3D()(y)
    return keras_model([line, volume], [x, y])


def scored_attention() -> Any:
    L = keras_layers()
    query, value = keras_input(5, 6, name="query"), keras_input(8, 6, name="value")
    made = [
        L.AdditiveAttention(name="bahdanau")([query, value]),
        L.AdditiveAttention(use_scale=False, name="unscaled")([query, value]),
        L.Attention(use_scale=True, name="luong")([query, value]),
        L.Attention(score_mode="concat", name="summed")([query, value]),
        L.Attention(use_scale=True, score_mode="concat", name="both")([query, value]),
    ]
    return keras_model([query, value], L.Concatenate()(made))


def grouped_attention() -> Any:
    L = keras_layers()
    words, memory = keras_input(7, 10, name="words"), keras_input(9, 10, name="memory")
    x = L.GroupQueryAttention(3, 4, 2, name="own")(words, words, use_causal_mask=True)
    x = L.GroupQueryAttention(3, 6, 3, use_bias=False, name="other")(x, memory)
    x = L.GroupQueryAttention(5, 2, 1, use_gate=True, name="gated")(x, memory)
    x = L.MultiHeadAttention(3, 4, use_gate=True, name="gated_heads")(x, memory)
    return keras_model([words, memory], x)


def cells() -> Any:
    L = keras_layers()
    steps = keras_input(6, 4)
    one = L.RNN(L.LSTMCell(3), return_sequences=True, name="one")(steps)
    two = L.RNN(L.GRUCell(5), name="two")(one)
    stack = [L.LSTMCell(5), L.LSTMCell(5)]
    three = L.RNN(L.StackedRNNCells(stack), return_sequences=True, name="three")(steps)
    mixed = [L.GRUCell(3), L.SimpleRNNCell(7), L.LSTMCell(2)]
    four = L.RNN(mixed, name="four")(steps)
    five = L.Bidirectional(L.RNN(L.SimpleRNNCell(4)), name="five")(steps)
    six = L.RNN(L.GRUCell(3, reset_after=False), go_backwards=True, name="six")(steps)
    three = L.GlobalMaxPooling1D()(three)
    return keras_model(steps, L.Concatenate()([two, three, four, five, six]))


def both_directions() -> Any:
    L = keras_layers()
    steps = keras_input(6, 4)
    made = [
        L.Bidirectional(L.LSTM(3), merge_mode=mode, name=f"lstm_{mode}")(steps)
        for mode in ("concat", "sum", "mul", "ave")
    ]
    made += L.Bidirectional(L.GRU(5), merge_mode=None, name="apart")(steps)
    before = L.GRU(2, reset_after=False, return_sequences=True)
    made.append(L.GlobalMaxPooling1D()(L.Bidirectional(before, name="before")(steps)))
    own = L.Bidirectional(L.GRU(3), backward_layer=L.GRU(5, go_backwards=True), name="unequal")
    made.append(own(steps))
    made += L.Bidirectional(L.LSTM(2, return_state=True), name="states")(steps)
    return keras_model(steps, L.Concatenate()(made))


def tied_words() -> Any:
    L = keras_layers()
    words = keras_input(9, dtype="int32")
    tied = L.ReversibleEmbedding(11, 6, name="tied")
    free = L.ReversibleEmbedding(13, 6, tie_weights=False, name="free")
    x = L.Dense(6, activation="tanh", name="mix")(tied(words) + free(words))
    return keras_model(words, [tied(x, reverse=True), free(x, reverse=True)])


def spectral() -> Any:
    L = keras_layers()
    x = image = keras_input(9, 7, 3)
    x = L.SpectralNormalization(L.Conv2D(5, 3, padding="same", activation="relu"), name="c")(x)
    x = L.SpectralNormalization(L.Conv2DTranspose(4, 3, strides=2), name="t")(x)
    x = L.Flatten()(x)
    return keras_model(image, L.SpectralNormalization(L.Dense(3), name="d")(x))


def slopes_and_norms() -> Any:
    L = keras_layers()
    image, row = keras_input(6, 5, 4, name="image"), keras_input(7, name="row")
    x = L.Normalization(name="adapted")(image)
    x = L.PReLU(name="each")(x)
    x = L.PReLU(shared_axes=[1], name="per_column")(x)
    x = L.PReLU(shared_axes=[1, 2], name="per_channel")(x)
    x = L.GroupNormalization(2, scale=False, name="groups")(x)
    x = L.BatchNormalization(center=False, name="no_beta")(x)
    x = L.LayerNormalization(axis=[2, 3], scale=False, name="rows")(x)
    y = L.PReLU(name="features")(L.Normalization(mean=[0.5] * 7, variance=[4.0] * 7)(row))
    y = L.GroupNormalization(-1, name="alone")(y)
    return keras_model([image, row], [x, y])


def spectrogram() -> Any:
    L = keras_layers()
    wave = keras_input(67, 1)
    x = L.STFTSpectrogram(mode="log", frame_length=16, frame_step=7, fft_length=18, name="spectra")(
        wave
    )
    return keras_model(wave, L.Dense(3, name="head")(x))


def every_step() -> Any:
    import keras

    L = keras_layers()
    film = keras_input(4, 7, 9, 2)
    frame = keras.Sequential(
        [keras_input(7, 9, 2), L.Conv2D(3, 2, name="c"), L.Flatten(), L.Dense(5, name="d")],
        name="frame",
    )
    x = L.TimeDistributed(frame, name="frames")(film)
    x = L.TimeDistributed(L.BatchNormalization(), name="norms")(x)
    x = L.Conv1D(4, 2, groups=1, name="steps")(x)
    return keras_model(film, L.SeparableConv1D(3, 2, name="last")(x))


def depthwise_and_transposed() -> Any:
    L = keras_layers()
    line, volume = keras_input(13, 3, name="line"), keras_input(4, 5, 6, 2, name="volume")
    x = L.DepthwiseConv1D(4, strides=2, padding="same", depth_multiplier=2, name="d")(line)
    x = L.Conv1DTranspose(5, 4, strides=3, padding="same", name="t")(x)
    y = L.Conv3D(4, (1, 2, 3), strides=2, padding="same", name="c")(volume)
    y = L.Conv3DTranspose(3, (2, 3, 4), strides=2, padding="same", name="u")(y)
    return keras_model([line, volume], [x, y])


WEIGHTED = {
    one.__name__: one
    for one in (
        films, scored_attention, grouped_attention, cells, both_directions, tied_words, spectral,
        slopes_and_norms, spectrogram, every_step, depthwise_and_transposed,
    )
}  # fmt: skip
