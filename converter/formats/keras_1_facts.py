"""What Keras 1 called its layers, their settings and their weights, and how it laid them out.

All of it is data: a recipe says of which arrays a variable of Keras 3 is made, in which order, and
how their axes lie in either dimension ordering.

Source: keras 1.2.2 ``layers/convolutional.py``, ``layers/recurrent.py``, ``layers/core.py``,
``layers/normalization.py``; keras 2.2.4 ``engine/saving.py``, ``preprocess_weights_for_loading``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one variable of Keras 3 is made.

    Attributes:
        name: The variable.
        arrays: Arrays of Keras 1, joined along the last axis after their axes are put in order.
        th: Axes as Theano orders dimensions (channels first), to those of Keras 3; empty: the same.
        tf: The same for the order of TensorFlow.
        is_kernel: Whether Theano has it turned by 180 degrees: it computes convolutions, and
            TensorFlow correlations. The axes called d, h, w and k are turned.
    """

    name: str
    arrays: tuple[str, ...]
    th: str = ""
    tf: str = ""
    is_kernel: bool = False


def _plain(**names: str) -> tuple[Recipe, ...]:
    return tuple(Recipe(name, (array,)) for name, array in names.items())


def _gated(gates: str, th: str = "", *, is_kernel: bool = False) -> tuple[Recipe, ...]:
    kernels = (("kernel", "W"), ("recurrent_kernel", "U"))
    return (
        *(
            Recipe(name, tuple(f"{letter}_{gate}" for gate in gates), th, is_kernel=is_kernel)
            for name, letter in kernels
        ),
        Recipe("bias", tuple(f"b_{gate}" for gate in gates)),
    )


def _convolution(th: str, tf: str = "") -> tuple[Recipe, ...]:
    return (Recipe("kernel", ("W",), th, tf, is_kernel=True), Recipe("bias", ("b",)))


_WITH_BIAS: Final = _plain(kernel="W", bias="b")
_RECURRENT: Final = _plain(kernel="W", recurrent_kernel="U", bias="b")

# Class of Keras 3 to the ways in which Keras 1 wrote it; the first that takes every array counts.
RECIPES: Final[dict[str, tuple[tuple[Recipe, ...], ...]]] = {
    "Dense": (_WITH_BIAS,),
    "Embedding": (_plain(embeddings="W"),),
    # (length, 1, in, out) from Keras 1.2 on and (out, in, length, 1) before: told by the shape.
    "Conv1D": (_convolution("", ""),),
    "Conv2D": (_convolution("o i h w -> h w i o"),),
    "Conv3D": (_convolution("o i d h w -> d h w i o"),),
    "Conv2DTranspose": (_convolution("o i h w -> h w o i", "h w i o -> h w o i"),),
    "SeparableConv2D": (
        (
            Recipe("depthwise_kernel", ("depthwise_kernel",), "m i h w -> h w i m"),
            Recipe("pointwise_kernel", ("pointwise_kernel",), "o i h w -> h w i o"),
            Recipe("bias", ("b",)),
        ),
    ),
    "BatchNormalization": (  # running_std is a variance, whatever it is called
        _plain(
            gamma="gamma", beta="beta", moving_mean="running_mean", moving_variance="running_std"
        ),
    ),
    "LSTM": (_gated("ifco"), _RECURRENT),
    "GRU": (_gated("zrh"), _RECURRENT),
    "SimpleRNN": (_RECURRENT,),
    "ConvLSTM2D": (_gated("ifco", "o i h w -> h w i o", is_kernel=True),),
    "PReLU": (_plain(alpha="alphas"),),
    "LocallyConnected1D": (_WITH_BIAS,),
    "LocallyConnected2D": (_WITH_BIAS,),
}

# The shape of a kernel of a Convolution1D: where its one axis of size 1 is.
CONV1D_NEW: Final = "k 1 i o -> k i o"
CONV1D_OLD: Final = "o i k 1 -> k i o"

# Classes that are called otherwise now. Further ones are the same or are gone.
CLASSES: Final = {
    "TimeDistributedDense": "Dense",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "AtrousConv1D": "Conv1D",
    "AtrousConv2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "Deconv2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
}

# What a Merge is now, by its mode.
MERGES: Final = {
    "sum": "Add",
    "mul": "Multiply",
    "ave": "Average",
    "max": "Maximum",
    "concat": "Concatenate",
}

# Entries of a layer's configuration that are called otherwise now.
SETTINGS: Final = {
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "subsample": "strides",
    "subsample_length": "strides",
    "border_mode": "padding",
    "bias": "use_bias",
    "inner_activation": "recurrent_activation",
    "atrous_rate": "dilation_rate",
    "pool_length": "pool_size",
    "stride": "strides",
    "concat_axis": "axis",
    "p": "rate",
}
SIZES: Final = (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3"))
WITH_UNITS: Final = frozenset({"Dense", "LSTM", "GRU", "SimpleRNN", "Highway", "MaxoutDense"})
DATA_FORMATS: Final = {"th": "channels_first", "tf": "channels_last"}

# Layers without weights that Keras 1 named after their class in lower case.
WEIGHTLESS: Final = tuple(
    f"{kind}{axes}D"
    for kind in (
        *("MaxPooling", "AveragePooling", "GlobalMaxPooling", "GlobalAveragePooling"),
        *("UpSampling", "ZeroPadding", "Cropping", "SpatialDropout"),
    )
    for axes in (1, 2, 3)
)
WRAPPERS: Final = ("TimeDistributed", "Bidirectional")

# Arrays of layers that are gone: they keep their names.
GONE: Final = {
    "Highway": ("W", "W_carry", "b", "b_carry"),
    "SReLU": ("t_left", "a_left", "t_right", "a_right"),
    "ParametricSoftplus": ("alphas", "betas"),
}
ARRAYS: Final = frozenset(
    {array for ways in RECIPES.values() for way in ways for one in way for array in one.arrays}
    | {array for arrays in GONE.values() for array in arrays}
)
