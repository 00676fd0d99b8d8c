"""Every cause that can be named: what is said, what repairs it, and whether weights can."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause.

    Attributes:
        sentence: What is wrong, after the name of the place; ``{detail}`` is what was tried.
        fix: The code or option that repairs it.
        by_weights: Whether other weights alone can repair it.
    """

    sentence: str
    fix: str
    by_weights: bool = False


CAUSES = {
    # Normalisation
    "epsilon": Cause(
        "epsilon differs: {detail}",
        "build the module with Keras' epsilon: {detail}",
        by_weights=True,
    ),
    "norm_epsilon": Cause(
        "epsilon differs: {detail}", "build the module with Keras' epsilon: {detail}"
    ),
    "mean_variance_swapped": Cause(
        "running mean and variance are exchanged",
        "exchange running_mean and running_var",
        by_weights=True,
    ),
    "gamma_beta_swapped": Cause(
        "gamma and beta are exchanged", "exchange weight and bias", by_weights=True
    ),
    "deviation_for_variance": Cause(
        "the running variance holds the standard deviation", "square running_var", by_weights=True
    ),
    "variance_for_deviation": Cause(
        "the running variance was squared", "take the square root of running_var", by_weights=True
    ),
    "train_mode": Cause(
        "the statistics of the batch are used, not the running ones",
        "call module.eval(), with track_running_stats=True",
    ),
    "norm_axis": Cause(
        "it normalises over another axis",
        "normalise over the channels of each position (move them last first)",
    ),
    "groups": Cause("the number of groups differs: {detail}", "build the module with {detail}"),
    # Convolution
    "theano_flip": Cause(
        "the kernel is turned by 180 degrees, as Theano's convolution has it",
        "reverse the kernel's spatial axes",
        by_weights=True,
    ),
    "kernel_transposed": Cause(
        "height and width of the kernel are exchanged",
        "transpose the kernel's spatial axes",
        by_weights=True,
    ),
    "kernel_untransposed": Cause(
        "input and output channels of the kernel are exchanged",
        "transpose the kernel's channel axes",
        by_weights=True,
    ),
    "channel_order": Cause(
        "the channels come in the reverse order (RGB and BGR)",
        "reverse the input axis of the first kernel, or the channels of the input",
        by_weights=True,
    ),
    "dilation": Cause("the dilation differs: {detail}", "build the module with {detail}"),
    "stride": Cause("the stride differs: {detail}", "build the module with {detail}"),
    "same_padding": Cause(
        "the zeros of 'same' padding are on other sides; {detail}",
        "pad by torch.nn.functional.pad before it: {detail}",
    ),
    "padding_mode": Cause(
        "the border is not filled with zeros", "build the module with padding_mode='zeros'"
    ),
    "causal_padding": Cause(
        "the zeros of causal padding are not all on the left; {detail}",
        "pad on the left only, by torch.nn.functional.pad before it",
    ),
    "transpose_padding": Cause(
        "the transposed convolution is cut off at another edge",
        "compute it without padding and cut off {detail}",
    ),
    # Dense
    "square_transpose": Cause(
        "the square matrix is not transposed", "transpose the weight", by_weights=True
    ),
    "flatten_order": Cause(
        "the features were flattened in another order: {detail}",
        "permute the columns: {detail}",
        by_weights=True,
    ),
    # Recurrent
    "gate_order": Cause(
        "the gates stand in another order: {detail}",
        "permute the gate blocks: {detail}",
        by_weights=True,
    ),
    "kernels_swapped": Cause(
        "input and recurrent kernels are exchanged",
        "exchange weight_ih and weight_hh",
        by_weights=True,
    ),
    "reset_after": Cause(
        "the reset gate is applied before the recurrent product in Keras",
        "apply the reset gate to the state before the product, by hand: torch.nn.GRU cannot",
    ),
    "hard_sigmoid": Cause(
        "the gates of Keras use a hard sigmoid: {detail}", "compute the gates with {detail}"
    ),
    "reversed_time": Cause("time runs the other way", "reverse the time axis before and after it"),
    "two_biases": Cause(
        "the bias is counted twice, in bias_ih and in bias_hh",
        "set one of the two biases to zero",
        by_weights=True,
    ),
    "mask": Cause(
        "masked steps are not skipped",
        "pack the sequence, or keep the state where the mask is false",
    ),
    # Attention
    "attention_scale": Cause(
        "the scores are scaled otherwise: {detail}",
        "scale the query's weights by {detail}",
        by_weights=True,
    ),
    "query_key_swapped": Cause(
        "query and key are exchanged", "exchange the two blocks of in_proj", by_weights=True
    ),
    "head_order": Cause(
        "the heads are interleaved", "permute rows (d h) to (h d)", by_weights=True
    ),
    "attention_mask": Cause(
        "the attention mask is not applied, or inverted",
        "True means attend in Keras and ignore in nn.MultiheadAttention: invert it",
    ),
    # Embedding
    "embedding_offset": Cause(
        "ids are shifted: {detail}", "give the same ids to both: {detail}", by_weights=True
    ),
    "padding_row": Cause(
        "the row of padding_idx is zero, and is not in Keras",
        "write the row of Keras into the weight",
        by_weights=True,
    ),
    # Precision
    "bfloat16_weights": Cause(
        "the weights were rounded to bfloat16",
        "convert again without --dtype bfloat16",
        by_weights=True,
    ),
    "float16_weights": Cause(
        "the weights were rounded to float16",
        "convert again without --dtype float16",
        by_weights=True,
    ),
    "bfloat16_compute": Cause(
        "it computes in bfloat16", "run the module in float32, without autocast"
    ),
    "float16_compute": Cause(
        "it computes in float16", "run the module in float32, without autocast"
    ),
    "tf32": Cause(
        "products are computed in TF32", "torch.backends.cuda.matmul.fp32_precision = 'ieee'"
    ),
    "other_weights": Cause(
        "its weights are not those of the plan: {detail}", "convert again", by_weights=True
    ),
    # Between layers
    "activation": Cause("the activation differs: PyTorch has {detail}", "use Keras' {fix}"),
    "gelu": Cause("GELU in another form: PyTorch has {detail}", "use {fix}"),
    "leaky_slope": Cause("the slope of LeakyReLU differs: PyTorch has {detail}", "use {fix}"),
    "elu_alpha": Cause("the alpha of ELU differs: PyTorch has {detail}", "use {fix}"),
    "activation_missing": Cause("PyTorch lacks the activation of {detail}", "apply it"),
    "pooling_count": Cause(
        "average pooling counts the padding in PyTorch", "count_include_pad=False"
    ),
    "pooling_padding": Cause(
        "the padding of pooling is on other sides: {detail}",
        "pad by torch.nn.functional.pad before it",
    ),
    "pooling_fill": Cause(
        "the border of max pooling is filled otherwise: {detail}",
        "pad with the value that Keras has",
    ),
    "pooling_kind": Cause("PyTorch has {detail} pooling", "pool as Keras does"),
    "zero_padding": Cause("the zeros are on other sides: {detail}", "pad as Keras does: {fix}"),
    "resize": Cause("resizing by another convention: PyTorch has {detail}", "use {fix}"),
    "softmax_missing": Cause(
        "PyTorch lacks the final softmax", "apply torch.softmax(x, dim=-1), or compare logits"
    ),
    "softmax_double": Cause("PyTorch applies softmax twice", "leave one out"),
    "log_softmax": Cause("PyTorch returns logarithms of probabilities", "use softmax"),
    "softmax_axis": Cause("softmax over another axis: {detail}", "use Keras' axis"),
    "branch_missing": Cause("a branch is left out of {detail}", "take all of its inputs"),
    "merge": Cause(
        "the branches are merged otherwise: PyTorch has {detail}", "merge as Keras does"
    ),
    "concat_order": Cause(
        "the branches are concatenated in another order", "concatenate in Keras' order"
    ),
    "layer_missing": Cause("PyTorch lacks {detail}", "add it"),
    "axes_swapped": Cause(
        "height and width are exchanged", "give the input with its axes as Keras has them"
    ),
    "shifted": Cause("the image is shifted by {detail}", "cut off, or pad, at the other edge"),
}

# What computes less precisely, or holds rounded weights, may be meant so.
PRECISION = frozenset(
    {"bfloat16_weights", "float16_weights", "bfloat16_compute", "float16_compute", "tf32"}
)
