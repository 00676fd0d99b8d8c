"""Names: automatic Keras layer names, their numbering, and legal PyTorch module names.

Keras numbers unnamed layers with a counter that lives as long as the process, so one model is
``dense, dense_1`` when it is built first and ``dense_17, dense_18`` when it is built later. The
numbers are taken afresh here, and so one model always has one manifest.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable

# Source: torch 2.13.0, torch/nn/modules/module.py: dir(torch.nn.Module()) without dunder names.
# A child of such a name hides a method, or is refused by add_module.
_MODULE_ATTRIBUTES = """
    T_destination _apply _backward_hooks _backward_pre_hooks _buffers _call_impl
    _compiled_call_impl _forward_hooks _forward_hooks_always_called _forward_hooks_with_kwargs
    _forward_pre_hooks _forward_pre_hooks_with_kwargs _get_backward_hooks
    _get_backward_pre_hooks _get_name _is_full_backward_hook _load_from_state_dict
    _load_state_dict_post_hooks _load_state_dict_pre_hooks _maybe_warn_non_full_backward_hook
    _modules _named_members _non_persistent_buffers_set _parameters
    _register_load_state_dict_pre_hook _register_state_dict_hook _replicate_for_data_parallel
    _save_to_state_dict _slow_forward _state_dict_hooks _state_dict_pre_hooks _version
    _wrapped_call_impl add_module apply bfloat16 buffers call_super_init children compile cpu
    cuda double dump_patches eval extra_repr float forward get_buffer get_extra_state
    get_parameter get_submodule half ipu load_state_dict modules mtia named_buffers
    named_children named_modules named_parameters parameters register_backward_hook
    register_buffer register_forward_hook register_forward_pre_hook
    register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook
    requires_grad_ set_extra_state set_submodule share_memory state_dict to to_empty train
    training type xpu zero_grad
"""
MODULE_ATTRIBUTES = frozenset(_MODULE_ATTRIBUTES.split())


def snake_case(class_name: str) -> str:
    """Return what Keras calls an unnamed layer of this class, without the number.

    Source: keras 3.15.1, keras/src/utils/naming.py, ``to_snake_case``.

    Examples:
        >>> snake_case("Conv2DTranspose"), snake_case("PReLU"), snake_case("LSTMCell")
        ('conv2d_transpose', 'p_re_lu', 'lstm_cell')
    """
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def renumber(layers: Iterable[tuple[str, str | None]]) -> list[str]:
    """Return the layers' names with automatic numbers taken afresh.

    A name is automatic when it is :func:`snake_case` of the class, alone or followed by ``_N``.
    Automatic names of one class are ordered by ``N`` and get ``base``, ``base_1``, ... in that
    order, leaving out what other layers are called. Every other name is kept. Equal names stay
    equal and different names stay different; doing it twice changes nothing.

    Args:
        layers: Name and class of each layer of one model, all nesting levels together; ``None``
            where the class is not known.

    Examples:
        >>> renumber([("dense_19", "Dense"), ("head", "Dense"), ("dense_17", "Dense")])
        ['dense_1', 'head', 'dense']
    """
    layers = list(layers)
    numbers = [automatic_number(name, class_name) for name, class_name in layers]
    taken = {name for (name, _), number in zip(layers, numbers, strict=True) if number is None}
    classes: dict[str, set[str]] = {}
    for name, class_name in layers:
        classes.setdefault(name, set()).add(snake_case(class_name or ""))
    # A name that layers of two classes have is the automatic name of neither.
    taken |= {name for name, found in classes.items() if len(found) > 1}
    groups: dict[str, set[tuple[int, str]]] = {}
    for (name, class_name), number in zip(layers, numbers, strict=True):
        if number is not None and class_name is not None and name not in taken:
            groups.setdefault(snake_case(class_name), set()).add((number, name))
    renamed: dict[str, str] = {}
    # Sorted, so that the outcome depends on the names alone: a class Dense_1 and the second Dense
    # want the same name.
    for base, members in sorted(groups.items()):
        count = 0
        for _, name in sorted(members):
            while (fresh := f"{base}_{count}" if count else base) in taken:
                count += 1
            taken.add(fresh)
            renamed[name] = fresh
    return [renamed.get(name, name) for name, _ in layers]


def automatic_number(name: str, class_name: str | None) -> int | None:
    """Return the number of an automatic name, 0 where it has none; ``None`` for a chosen name.

    Examples:
        >>> automatic_number("conv2d_3", "Conv2D"), automatic_number("stem", "Conv2D")
        (3, None)
    """
    if class_name is None:
        return None
    base = snake_case(class_name)
    if name == base:
        return 0
    digits = name.removeprefix(f"{base}_")
    if digits == name or re.fullmatch("[1-9][0-9]*", digits) is None:
        return None
    return int(digits)


def module_name(path: str) -> str:
    """Return a legal PyTorch module name for the path of a Keras layer.

    Different paths can give one name (``a-b`` and ``a_b``): the caller tells them apart.

    Args:
        path: Layer names joined by ``/``; empty for the model itself.

    Examples:
        >>> module_name("stage-1/2nd conv"), module_name("blocks/eval"), module_name("class")
        ('stage_1._2nd_conv', 'blocks.eval_', 'class_')
    """
    return ".".join(_component(name) for name in path.split("/")) if path else ""


def _component(name: str) -> str:
    # NFKC because Python reads identifiers so: a scaffolded module must find its own attribute.
    text = unicodedata.normalize("NFKC", name)
    text = "".join(char if f"_{char}".isidentifier() else "_" for char in text)
    if not text.isidentifier():
        text = f"_{text}"
    if keyword.iskeyword(text) or text in MODULE_ATTRIBUTES or _is_dunder(text):
        text = f"{text}_"
    return text


def _is_dunder(name: str) -> bool:
    return len(name) > 4 and name.startswith("__") and name.endswith("__")
