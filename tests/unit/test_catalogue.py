"""The catalogue's questions: which variables, which kind; and that it never guesses."""

from __future__ import annotations

import pytest

from converter.errors import MappingError
from converter.mapping.catalogue import load_catalogue
from converter.mapping.einsum import einsum_patterns
from converter.tensors.spec import LayerSpec

CATALOGUE = load_catalogue()


def layer(class_name: str | None, *slots: str, **config: object) -> LayerSpec:
    return LayerSpec("it", class_name, {slot: f"it/{slot}" for slot in slots}, config)


def test_three_vectors_of_a_batch_norm_are_ambiguous_without_a_config():
    stores = ["vars/0", "vars/1", "vars/2"]
    assert CATALOGUE.variables("BatchNormalization", {}, stores) is None
    found = CATALOGUE.variables("BatchNormalization", {"scale": False}, stores)
    assert found is not None
    assert [one.path for one in found] == ["beta", "moving_mean", "moving_variance"]
    found = CATALOGUE.variables("BatchNormalization", {"center": False}, stores)
    assert found is not None
    assert [one.path for one in found] == ["gamma", "moving_mean", "moving_variance"]


def test_a_config_that_contradicts_the_file_has_no_answer():
    assert CATALOGUE.variables("Dense", {"use_bias": False}, ["vars/0", "vars/1"]) is None
    assert CATALOGUE.variables("Dense", {}, ["vars/0", "vars/1", "vars/2"]) is None
    assert CATALOGUE.variables("Dense", {}, []) is None
    assert CATALOGUE.variables("Unknown", {}, ["vars/0"]) is None


def test_older_and_registered_names_are_the_same_class():
    for name in ("Convolution2D", "Conv2D", "Custom>Conv2D"):
        assert CATALOGUE.variables(name, {}, ["vars/0"]) is not None
        kind = CATALOGUE.kind_of(layer(name, "kernel"))
        assert kind is not None
        assert kind.name == "conv2d"


def test_a_bidirectional_without_config_is_told_from_the_names_in_the_file():
    stores = [f"{way}_layer/cell/vars/{n}" for way in ("backward", "forward") for n in range(2)]
    assert CATALOGUE.variables("Bidirectional", {}, stores) is None
    names = {
        "forward_layer": "forward_gru_7",
        "forward_layer/cell": "gru_cell",
        "backward_layer": "backward_gru_7",
        "backward_layer/cell": "gru_cell",
    }
    found = CATALOGUE.variables("Bidirectional", {}, stores, names)
    assert found is not None
    assert [(one.slot, one.path, one.store) for one in found] == [
        ("forward/kernel", "forward_gru/gru_cell/kernel", "forward_layer/cell/vars/0"),
        ("forward/recurrent_kernel", "forward_gru/gru_cell/recurrent_kernel",
         "forward_layer/cell/vars/1"),
        ("backward/kernel", "backward_gru/gru_cell/kernel", "backward_layer/cell/vars/0"),
        ("backward/recurrent_kernel", "backward_gru/gru_cell/recurrent_kernel",
         "backward_layer/cell/vars/1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [
        # tf_keras 2.21; Keras 2.3; Keras 3 with a chosen name of the layer
        ["forward_lstm_1/lstm_cell_4/kernel", "forward_lstm_1/lstm_cell_4/recurrent_kernel",
         "backward_lstm_1/lstm_cell_5/kernel", "backward_lstm_1/lstm_cell_5/recurrent_kernel"],
        ["forward_lstm_1/kernel", "forward_lstm_1/recurrent_kernel",
         "backward_lstm_1/kernel", "backward_lstm_1/recurrent_kernel"],
        ["forward_reader/lstm_cell/kernel", "forward_reader/lstm_cell/recurrent_kernel",
         "backward_reader/lstm_cell/kernel", "backward_reader/lstm_cell/recurrent_kernel"],
    ],
)  # fmt: skip
def test_names_of_all_keras_versions_are_understood(names):
    found = CATALOGUE.named_variables("Bidirectional", {}, names)
    assert found is not None
    assert [one.slot for one in found.values()] == [
        "forward/kernel", "forward/recurrent_kernel", "backward/kernel",
        "backward/recurrent_kernel"]  # fmt: skip
    inner = "reader" if "reader" in names[0] else "lstm"
    assert found[names[0]].path == f"forward_{inner}/lstm_cell/kernel"
    config = {"layer": {"class_name": "LSTM", "config": {"name": inner, "use_bias": False}}}
    assert CATALOGUE.named_variables("Bidirectional", config, names) == found


def test_a_keras_2_depthwise_kernel_is_the_kernel():
    found = CATALOGUE.named_variables("DepthwiseConv2D", {}, ["depthwise_kernel", "bias"])
    assert found is not None
    assert found["depthwise_kernel"].path == "kernel"


def test_names_that_are_not_all_of_a_layer_have_no_answer():
    assert CATALOGUE.named_variables("LSTM", {}, ["kernel"]) is None
    assert CATALOGUE.named_variables("LSTM", {}, ["kernel", "other_kernel"]) is None
    assert CATALOGUE.named_variables("Dense", {}, ["a/kernel", "bias"]) is None


def test_inner_is_what_a_wrapper_holds():
    config = {"layer": {"class_name": "Dense", "config": {"units": 3}}}
    assert CATALOGUE.inner("TimeDistributed", config) == ("Dense", {"units": 3})
    assert CATALOGUE.inner("Bidirectional", config) == ("Dense", {"units": 3})
    assert CATALOGUE.inner("TimeDistributed", {}) is None
    assert CATALOGUE.inner("LSTM", {}) is None
    assert CATALOGUE.inner("Unknown", {}) is None


def test_the_kind_follows_from_the_slots_where_the_class_has_several():
    assert CATALOGUE.kind_of(layer(None, "kernel")) is None
    assert CATALOGUE.kind_of(layer("Mine", "kernel")) is None
    assert CATALOGUE.kind_of(layer("Dense", "kernel", "scale")) is None
    assert CATALOGUE.kind_of(layer("Dense", "bias")) is None
    untied = CATALOGUE.kind_of(layer("ReversibleEmbedding", "embeddings", "reverse_embeddings"))
    assert untied is not None
    assert untied.name == "reversible_embedding_untied"


def test_a_gru_without_config_is_taken_only_where_its_bias_would_contradict():
    found = CATALOGUE.kind_of(layer("GRU", "kernel", "recurrent_kernel", "bias"))
    assert found is not None
    assert found.name == "gru"
    assert CATALOGUE.kind_of(layer("GRU", "kernel", "recurrent_kernel")) is None
    given = layer("GRU", "kernel", "recurrent_kernel", reset_after=True)
    assert CATALOGUE.kind_of(given) is not None


def test_a_prelu_of_unknown_axes_is_not_guessed():
    assert CATALOGUE.kind_of(layer("PReLU", "alpha", shared_axes=[3])) is None
    found = CATALOGUE.kind_of(layer("PReLU", "alpha", shared_axes=(1, 2)))
    assert found is not None
    assert found.name == "prelu_2d"


def test_an_einsum_without_its_equation_is_refused():
    with pytest.raises(MappingError) as caught:
        CATALOGUE.kind_of(layer("EinsumDense", "kernel"))
    assert str(caught.value) == (
        "cannot convert 'it' (EinsumDense): an EinsumDense can be paired by name only where its "
        "axes are known: write the kind 'dense', 'attention_projection' or 'attention_output'"
    )


@pytest.mark.parametrize(
    ("equation", "bias_axes", "kernel", "bias"),
    [
        ("ab,bc->ac", "c", "b c -> c b", "c -> c"),
        ("abc,cd->abd", None, "c d -> d c", None),
        ("aecd,abcd->acbe", None, None, None),
        ("abc,cde->abde", "de", "c d e -> (d e) c", "d e -> (d e)"),
        ("abcd,cde->abe", "e", "c d e -> e (c d)", "e -> e"),
        ("btd,ndh->btnh", None, "n d h -> (n h) d", None),
        ("btnh,nhd->btd", None, "n h d -> d (n h)", None),
        ("...x,xy->...y", "y", "x y -> y x", "y -> y"),
    ],
)
def test_equations_become_patterns(equation, bias_axes, kernel, bias):
    if kernel is None:
        with pytest.raises(MappingError):
            einsum_patterns(equation, bias_axes)
        return
    found = einsum_patterns(equation, bias_axes)
    assert (found.kernel, found.bias) == (kernel, bias)


@pytest.mark.parametrize(
    ("equation", "bias_axes", "text"),
    [
        ("abc,acd->abd", None,
         "no torch.nn.Linear is equal to the EinsumDense 'abc,acd->abd': the kernel has a value "
         "for every position of axis 'a'"),
        ("abc,cd->abd", "bd",
         "no torch.nn.Linear is equal to the EinsumDense 'abc,cd->abd': its bias has the axes "
         "'bd', not 'd'"),
        ("ab,ab->ab", None,
         "no torch.nn.Linear is equal to the EinsumDense 'ab,ab->ab': the kernel has a value for "
         "every position of axis 'a'"),
        ("nonsense", None, "'nonsense' is not the equation of an EinsumDense"),
    ],
)  # fmt: skip
def test_equations_that_no_linear_is_equal_to_are_refused(equation, bias_axes, text):
    with pytest.raises(MappingError) as caught:
        einsum_patterns(equation, bias_axes)
    assert str(caught.value) == text


@pytest.mark.parametrize("class_name", ["MultiHeadAttention", "CachedMultiHeadAttention"])
def test_attention_is_found_under_private_attributes_too(class_name):
    """tf_keras and early Keras 3 had no public properties for the projections."""
    parts = ("query", "key", "value", "output")
    public = [f"{part}_dense/vars/{n}" for part in parts for n in range(2)]
    found = CATALOGUE.variables(class_name, {}, public)
    private = CATALOGUE.variables(class_name, {}, [f"_{store}" for store in public])
    assert found is not None
    assert private is not None
    assert [one.store for one in found] == public
    assert [one.store for one in private] == [f"_{store}" for store in public]
    assert [one.path for one in private] == [one.path for one in found]
    assert CATALOGUE.variables(class_name, {}, [*public, "_query_dense/vars/0"]) is None


def test_a_bare_wrapper_is_its_layer():
    config = {"layer": {"class_name": "Dense", "config": {"use_bias": True, "name": "proj"}}}
    found = CATALOGUE.variables("Wrapper", config, ["layer/vars/0", "layer/vars/1"])
    assert found is not None
    assert [(one.slot, one.path) for one in found] == [
        ("kernel", "proj/kernel"), ("bias", "proj/bias")
    ]  # fmt: skip
    kind = CATALOGUE.kind_of(layer("Wrapper", "kernel", "bias", **config))
    assert kind is not None
    assert kind.name == "dense"


def test_a_torch_module_keeps_its_tensors():
    kind = CATALOGUE.kind_of(layer("TorchModuleWrapper", "0.weight", "1.running_mean"))
    assert kind is not None
    assert [(slot.keras, slot.torch, slot.pattern) for slot in kind.slots] == [
        (("0.weight",), ("0.weight",), None),
        (("1.running_mean",), ("1.running_mean",), None),
    ]
