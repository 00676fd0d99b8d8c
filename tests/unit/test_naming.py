"""Names: automatic layer names, fresh numbers, legal module names."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from converter.mapping.naming import automatic_number, module_name, renumber, snake_case

CLASSES = ("Dense", "Conv2D", "LSTM", "Dense_1", "MyBlock", None)
_auto = st.builds(
    lambda cls, number: (snake_case(cls) + (f"_{number}" if number else ""), cls),
    st.sampled_from([cls for cls in CLASSES if cls]),
    st.integers(0, 12),
)
_any = st.tuples(
    st.sampled_from(["dense", "dense_1", "dense_1_1", "dense_01", "head", "conv2d_3", "lstm_x"]),
    st.sampled_from(CLASSES),
)
LAYERS = st.lists(_auto | _any, max_size=12)


@pytest.mark.parametrize(
    ("class_name", "expected"),
    [
        ("Dense", "dense"),
        ("Conv2D", "conv2d"),
        ("Conv2DTranspose", "conv2d_transpose"),
        ("ConvLSTM2D", "conv_lstm2d"),
        ("BatchNormalization", "batch_normalization"),
        ("PReLU", "p_re_lu"),
        ("GRUCell", "gru_cell"),
        ("STFTSpectrogram", "stft_spectrogram"),
        ("RMSNormalization", "rms_normalization"),
        ("SimpleRNN", "simple_rnn"),
        ("Custom>My Layer", "custom_my_layer"),
    ],
)
def test_snake_case_is_as_keras_writes_it(class_name, expected):
    assert snake_case(class_name) == expected


def test_a_model_built_second_gets_the_names_of_the_first():
    first = [("conv2d", "Conv2D"), ("dense", "Dense"), ("head", "Dense"), ("dense_1", "Dense")]
    second = [
        ("conv2d_4", "Conv2D"),
        ("dense_9", "Dense"),
        ("head", "Dense"),
        ("dense_10", "Dense"),
    ]
    assert renumber(second) == renumber(first) == [name for name, _ in first]


def test_numbers_are_compared_as_numbers():
    assert renumber([("dense_10", "Dense"), ("dense_9", "Dense")]) == ["dense_1", "dense"]


def test_a_chosen_name_that_looks_automatic_is_stepped_over():
    layers = [("dense_1", "MyBlock"), ("dense_5", "Dense"), ("dense_7", "Dense")]
    assert renumber(layers) == ["dense_1", "dense", "dense_2"]


def test_leading_zeros_and_foreign_suffixes_are_chosen_names():
    assert automatic_number("dense_01", "Dense") is None
    assert automatic_number("dense_0", "Dense") is None
    assert automatic_number("dense_a", "Dense") is None
    assert automatic_number("dense", None) is None


@given(LAYERS)
@example([("dense_1", "Dense"), ("dense_2", "Dense"), ("dense_1", "Dense_1")])
def test_renumbering_twice_changes_nothing(layers):
    once = renumber(layers)
    again = renumber([(name, cls) for name, (_, cls) in zip(once, layers, strict=True)])
    assert again == once


@given(LAYERS)
def test_renumbering_keeps_equal_names_equal_and_different_names_different(layers):
    fresh = renumber(layers)
    pairs = {(old, new) for (old, _), new in zip(layers, fresh, strict=True)}
    assert len({old for old, _ in pairs}) == len(pairs) == len({new for _, new in pairs})


@given(LAYERS)
def test_renumbering_keeps_chosen_names(layers):
    for (old, cls), new in zip(layers, renumber(layers), strict=True):
        if automatic_number(old, cls) is None:
            assert new == old


@given(LAYERS, st.integers(1, 50))
def test_renumbering_does_not_depend_on_where_the_counter_stood(layers, start):
    automatic = [(snake_case(cls), cls) for _, cls in layers if cls not in {None, "Dense_1"}]
    counts: dict[str, int] = {}
    names = []
    for base, _ in automatic:
        counts[base] = counts.get(base, -1) + 1
        names.append((base, counts[base]))
    later = [
        (f"{base}_{count + start}", cls)
        for (base, count), (_, cls) in zip(names, automatic, strict=True)
    ]
    first = [f"{base}_{count}" if count else base for base, count in names]
    assert renumber(later) == first


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ""),
        ("conv1", "conv1"),
        ("inner/dense", "inner.dense"),
        ("block.1/conv", "block_1.conv"),
        ("3x3", "_3x3"),
        ("for", "for_"),
        ("type", "type_"),
        ("_parameters", "_parameters_"),
        ("__class__", "__class___"),
        ("a b\tc", "a_b_c"),
        ("a//b", "a._.b"),
    ],
)
def test_module_names_are_legal(path, expected):
    assert module_name(path) == expected


@given(st.text(min_size=1, max_size=12))
def test_every_component_of_a_module_name_is_an_identifier(path):
    assert all(part.isidentifier() for part in module_name(path).split("."))


@pytest.mark.frameworks
def test_names_agree_with_the_installed_frameworks():
    import torch
    from keras import layers
    from keras.src.utils.naming import to_snake_case

    names = [*dir(layers), "Custom>My Layer", "A1BC2d", "HTTPServer2X", "a.b"]
    assert [snake_case(name) for name in names] == [to_snake_case(name) for name in names]
    for name in dir(torch.nn.Module()):
        given_by = str(getattr(getattr(torch.nn.Module, name, None), "__module__", ""))
        if given_by.startswith("transformers"):  # which adds methods of its own when it is imported
            continue
        module = torch.nn.Module()
        module.add_module(module_name(name), torch.nn.Identity())
        assert not hasattr(torch.nn.Module(), module_name(name))
