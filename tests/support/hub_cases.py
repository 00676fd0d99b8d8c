"""Miniature models of keras_hub and transformers that must be the same function.

Sizes differ pairwise, heads differ from key and value heads, of which there are several, and the
vocabulary is odd; so no wrong axis order and no exchanged tensor goes unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VOCABULARY = 31
LENGTH = 9


@dataclass(frozen=True)
class Case:
    """One architecture on both sides.

    Attributes:
        id: For the name of the test.
        mapping: The mapping that must be found.
        keras: Class of the backbone in keras_hub.models.
        torch: Class in transformers.
        config: Class of its config.
        arguments: Of the backbone.
        settings: Of the config.
        task: Class around the backbone, or empty.
        task_arguments: Of that class.
        output: Attribute of the PyTorch output.
        keras_output: The Keras output that must be equal, where there are several.
        converter: Module of keras_hub's own converter, whose weights must be the same bits.
        converter_prefix: What it has before names and the module has not, or the other way.
        rounded: The dtype that keras_hub's own converter rounds values to.
        attention: How transformers computes attention.
        images: Whether both sides take images, and not tokens.
    """

    id: str
    mapping: str
    keras: str
    torch: str
    config: str
    arguments: Mapping[str, Any]
    settings: Mapping[str, Any]
    task: str = ""
    task_arguments: Mapping[str, Any] = field(default_factory=dict)
    output: str = "last_hidden_state"
    keras_output: str = ""
    converter: str = ""
    converter_prefix: str = ""
    rounded: str = ""
    attention: str = "eager"
    images: bool = False


_LLAMA = {
    "vocabulary_size": VOCABULARY,
    "num_layers": 2,
    "num_query_heads": 6,
    "num_key_value_heads": 2,
    "hidden_dim": 24,
    "intermediate_dim": 20,
}
_LLAMA_HF = {
    "vocab_size": VOCABULARY,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "hidden_size": 24,
    "intermediate_size": 20,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GPT2 = {
    "vocabulary_size": VOCABULARY,
    "num_layers": 2,
    "num_heads": 3,
    "hidden_dim": 24,
    "intermediate_dim": 96,
    "max_sequence_length": 17,
    "dropout": 0.0,
}
_GPT2_HF = {
    "vocab_size": VOCABULARY,
    "n_layer": 2,
    "n_head": 3,
    "n_embd": 24,
    "n_positions": 17,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def _llama_like(name: str, keras: str, torch: str, module: str, **more: Any) -> list[Case]:
    """Backbone and language model, untied and tied."""
    arguments = _LLAMA | more.pop("arguments", {})
    settings = _LLAMA_HF | more.pop("settings", {})
    cases = []
    ties = more.pop("ties", (False, True))
    for tied in ties:
        spelt = "tied" if tied else "untied"
        cases.append(
            Case(
                f"{name}_lm_{spelt}",
                "llama",
                f"{keras}Backbone",
                f"{torch}ForCausalLM",
                f"{torch}Config",
                arguments | ({"tie_word_embeddings": tied} if len(ties) > 1 else {}),
                settings | {"tie_word_embeddings": tied},
                task=f"{keras}CausalLM",
                output="logits",
                converter=module,
                converter_prefix="model.",
                rounded=more.get("rounded", ""),
            )
        )
    if len(ties) > 1:
        tied = {"tie_word_embeddings": True}
        names = (f"{keras}Backbone", f"{torch}Model", f"{torch}Config")
        cases.append(Case(f"{name}_backbone", "llama", *names, arguments | tied, settings | tied))
    return cases


_EPSILON = {"layer_norm_epsilon": 1e-6}
_GEMMA = _LLAMA | {"head_dim": 10, "intermediate_dim": 40}
_GEMMA_HF = _LLAMA_HF | {"head_dim": 10, "hidden_activation": "gelu_pytorch_tanh"}

CASES: list[Case] = [
    Case(
        "gpt2_lm",
        "gpt2",
        "GPT2Backbone",
        "GPT2LMHeadModel",
        "GPT2Config",
        _GPT2,
        _GPT2_HF,
        task="GPT2CausalLM",
        output="logits",
        converter="convert_gpt2",
        converter_prefix="transformer.",
    ),
    Case("gpt2_backbone", "gpt2", "GPT2Backbone", "GPT2Model", "GPT2Config", _GPT2, _GPT2_HF),
    *_llama_like(
        "llama3",
        "Llama3",
        "Llama",
        "convert_llama3",
        arguments=_EPSILON,
    ),
    *_llama_like(
        "mistral",
        "Mistral",
        "Mistral",
        "convert_mistral",
        arguments=_EPSILON | {"sliding_window": 7, "dtype": "float32"},
        settings={"sliding_window": 7},
        ties=(False,),
        rounded="float16",  # keras_hub 0.32 utils/transformers/convert_mistral.py
    ),
    *_llama_like("qwen2", "Qwen", "Qwen2", "convert_qwen", arguments=_EPSILON),
    *_llama_like(
        "qwen3",
        "Qwen3",
        "Qwen3",
        "convert_qwen3",
        # keras_hub's Qwen3Decoder does not hand its epsilon to the norms of query and key: 1e-5.
        arguments={"layer_norm_epsilon": 1e-5, "head_dim": 10},
        settings={"rms_norm_eps": 1e-5, "head_dim": 10},
    ),
    Case(
        "gemma_lm",
        "gemma",
        "GemmaBackbone",
        "GemmaForCausalLM",
        "GemmaConfig",
        _GEMMA,
        _GEMMA_HF,
        task="GemmaCausalLM",
        output="logits",
        converter="convert_gemma",
    ),
    Case(
        "gemma2_lm",
        "gemma",
        "GemmaBackbone",
        "Gemma2ForCausalLM",
        "Gemma2Config",
        _GEMMA
        | {
            "use_post_ffw_norm": True,
            "use_post_attention_norm": True,
            "final_logit_soft_cap": 30.0,
            "attention_logit_soft_cap": 50.0,
            "use_sliding_window_attention": True,
            "sliding_window_size": 7,
        },
        _GEMMA_HF | {"sliding_window": 7, "query_pre_attn_scalar": 10},
        task="GemmaCausalLM",
        output="logits",
        converter="convert_gemma",
    ),
]
