"""Which translator each Keras class has; a person's own are added by ``--custom``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from converter.scaffold import (
    activations,
    attention,
    cells,
    convolutions,
    dense,
    directions,
    merging,
    norms,
    operations,
    poolings,
    recurrent,
    reshaping,
    spectrograms,
)
from converter.scaffold.program import Literal, applied, call
from converter.scaffold.scope import Translation

Translator = Callable[[Translation], None]


def _layer_scale(t: Translation) -> None:
    """LayerScale of keras.applications' ConvNeXt."""
    code = call(t.snippet("LayerScale"), Literal(t.first.shape[-1], "channels"))
    t.give(t.write(applied(t.member(code), t.use("keras"))), "keras")


def _scaled_sum(t: Translation) -> None:
    """CustomScaleLayer of keras.applications' InceptionResNetV2: x + scale * y."""
    order = merging.common_order(t.values())
    first, second = (t.scope.use(value, order) for value in t.values())
    code = (first, " + ", Literal(t.config["scale"], "scale"), " * ", second)
    t.give(t.write(code), order)


TRANSLATORS: Mapping[str, Translator] = {
    "Activation": activations.activation,
    "ActivityRegularization": activations.same,
    "Add": merging.add,
    "AdditiveAttention": attention.additive,
    "AlphaDropout": activations.same,
    "Attention": attention.attention,
    "Average": merging.average,
    "AveragePooling1D": poolings.average_pooling,
    "AveragePooling2D": poolings.average_pooling,
    "AveragePooling3D": poolings.average_pooling,
    "BatchNormalization": norms.batch_norm,
    "Bidirectional": directions.bidirectional,
    "Concatenate": merging.concatenate,
    "Conv1D": convolutions.convolution,
    "Conv1DTranspose": convolutions.transposed,
    "Conv2D": convolutions.convolution,
    "Conv2DTranspose": convolutions.transposed,
    "Conv3D": convolutions.convolution,
    "Conv3DTranspose": convolutions.transposed,
    "ConvLSTM1D": recurrent.conv_lstm,
    "ConvLSTM2D": recurrent.conv_lstm,
    "ConvLSTM3D": recurrent.conv_lstm,
    "Cropping1D": poolings.cropping,
    "Cropping2D": poolings.cropping,
    "Cropping3D": poolings.cropping,
    "CustomScaleLayer": _scaled_sum,
    "Dense": dense.dense,
    "DepthwiseConv1D": convolutions.depthwise,
    "DepthwiseConv2D": convolutions.depthwise,
    "Dot": merging.dot,
    "Dropout": activations.dropout,
    "EinsumDense": dense.einsum_dense,
    "ELU": activations.elu,
    "Embedding": dense.embedding,
    "Flatten": reshaping.flatten,
    "GaussianDropout": activations.same,
    "GaussianNoise": activations.same,
    "GlobalAveragePooling1D": poolings.global_average,
    "GlobalAveragePooling2D": poolings.global_average,
    "GlobalAveragePooling3D": poolings.global_average,
    "GlobalMaxPooling1D": poolings.global_max,
    "GlobalMaxPooling2D": poolings.global_max,
    "GlobalMaxPooling3D": poolings.global_max,
    "GroupNormalization": norms.group_norm,
    "GroupQueryAttention": attention.grouped,
    "GRU": recurrent.recurrent,
    "Identity": activations.same,
    "LayerNormalization": norms.layer_norm,
    "LayerScale": _layer_scale,
    "LeakyReLU": activations.leaky_relu,
    "LSTM": recurrent.recurrent,
    "Masking": dense.masking,
    "Maximum": merging.maximum,
    "MaxPooling1D": poolings.max_pooling,
    "MaxPooling2D": poolings.max_pooling,
    "MaxPooling3D": poolings.max_pooling,
    "Minimum": merging.minimum,
    "MultiHeadAttention": attention.multi_head,
    "Multiply": merging.multiply,
    "Normalization": norms.normalization,
    "Permute": reshaping.permute,
    "PReLU": activations.prelu,
    "ReLU": activations.relu,
    "RepeatVector": dense.repeat_vector,
    "Rescaling": dense.rescaling,
    "Reshape": reshaping.reshape,
    "Resizing": poolings.resizing,
    "ReversibleEmbedding": dense.reversible_embedding,
    "RMSNormalization": norms.rms_norm,
    "RNN": cells.of_cells,
    "SeparableConv1D": convolutions.separable,
    "SeparableConv2D": convolutions.separable,
    "SimpleRNN": recurrent.recurrent,
    "Softmax": activations.softmax,
    "SpatialDropout1D": activations.same,
    "SpatialDropout2D": activations.same,
    "SpatialDropout3D": activations.same,
    "STFTSpectrogram": spectrograms.stft,
    "Subtract": merging.subtract,
    "UnitNormalization": norms.unit_norm,
    "UpSampling1D": poolings.up_sampling,
    "UpSampling2D": poolings.up_sampling,
    "UpSampling3D": poolings.up_sampling,
    "ZeroPadding1D": poolings.zero_padding,
    "ZeroPadding2D": poolings.zero_padding,
    "ZeroPadding3D": poolings.zero_padding,
}

# Layers after which the steps that a mask leaves out are still left out.
# Source: keras 3.15.1, ``self._convert_input_args``/``supports_masking`` of each class.
KEEP_MASK = frozenset(
    {"Activation", "ActivityRegularization", "BatchNormalization", "Dropout", "ELU"}
    | {"GaussianDropout", "GaussianNoise", "Identity", "LayerNormalization", "LeakyReLU"}
    | {"PReLU", "ReLU", "RMSNormalization", "Softmax", "SpatialDropout1D", "UnitNormalization"}
    | {"AlphaDropout", "GroupNormalization", "Rescaling"}
)


def translator(class_name: str) -> Translator | None:
    """Return the translator of a class, or of operations; ``None`` where there is none."""
    if class_name.startswith("ops."):
        return operations.operation
    return TRANSLATORS.get(class_name)
