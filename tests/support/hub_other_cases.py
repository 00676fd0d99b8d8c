"""More miniature models of keras_hub and transformers that must be the same function."""

from __future__ import annotations

from typing import Any

from support.hub_cases import VOCABULARY, Case

_KERAS = {
    "vocabulary_size": VOCABULARY,
    "num_layers": 2,
    "num_heads": 3,
    "hidden_dim": 24,
    "intermediate_dim": 20,
}
_ROTARY = {"rope_type": "default", "rope_theta": 10000, "partial_rotary_factor": 0.5}
_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "vocab_size": VOCABULARY}
_ENCODER = {"num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 24}
_VIT = {
    "image_shape": (16, 16, 3),
    "patch_size": 4,
    "num_layers": 2,
    "num_heads": 3,
    "hidden_dim": 24,
    "mlp_dim": 20,
    "layer_norm_epsilon": 1e-12,
}
_VIT_HF = _ENCODER | {"intermediate_size": 20, "image_size": 16, "patch_size": 4, "num_labels": 5}
_DISTILBERT = _KERAS | {"dropout": 0.0, "max_sequence_length": 17}
_DISTILBERT_HF = _TOKENS | {
    "n_layers": 2,
    "n_heads": 3,
    "dim": 24,
    "hidden_dim": 20,
    "max_position_embeddings": 17,
    "num_labels": 5,
}
_WIDE = _KERAS | {"intermediate_dim": 96}
_FALCON = {"num_attention_heads" if key == "num_heads" else key: n for key, n in _WIDE.items()}


def _language_model(name: str, stem: str, arguments: Any, settings: Any, **more: Any) -> Case:
    """One with a tied head."""
    names = (f"{stem}Backbone", f"{stem}ForCausalLM", f"{stem}Config")
    task = f"{stem}CausalLM"
    return Case(f"{name}_lm", name, *names, arguments, settings, task=task, output="logits", **more)


OTHER_CASES = [
    Case(
        "vit_classifier",
        "vit",
        "ViTBackbone",
        "ViTForImageClassification",
        "ViTConfig",
        _VIT,
        _VIT_HF,
        task="ViTImageClassifier",
        task_arguments={"num_classes": 5},
        output="logits",
        images=True,
    ),
    Case(
        "distilbert_backbone",
        "distilbert",
        "DistilBertBackbone",
        "DistilBertModel",
        "DistilBertConfig",
        _DISTILBERT,
        _DISTILBERT_HF,
        converter="convert_distilbert",
        converter_prefix="distilbert.",
    ),
    Case(
        "distilbert_classifier",
        "distilbert",
        "DistilBertBackbone",
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        _DISTILBERT,
        _DISTILBERT_HF,
        task="DistilBertTextClassifier",
        task_arguments={"num_classes": 5, "dropout": 0.0},
        output="logits",
    ),
    _language_model(
        "opt",
        "OPT",
        _DISTILBERT,
        _TOKENS
        | _ENCODER
        | {"ffn_dim": 20, "max_position_embeddings": 17, "word_embed_proj_dim": 24},
    ),
    _language_model(
        "bloom",
        "Bloom",
        _WIDE,
        _TOKENS | {"hidden_size": 24, "n_layer": 2, "n_head": 3},
    ),
    _language_model(
        "falcon",
        "Falcon",
        _FALCON,
        _TOKENS
        | _ENCODER
        | {
            "alibi": True,
            "multi_query": False,
            "parallel_attn": False,
            "bias": True,
            "new_decoder_architecture": False,
        },
        attention="sdpa",
    ),
    Case(
        "gpt_neo_x_backbone",
        "gpt_neo_x",
        "GPTNeoXBackbone",
        "GPTNeoXModel",
        "GPTNeoXConfig",
        _KERAS | {"rotary_percentage": 0.5, "max_sequence_length": 17},
        _TOKENS
        | _ENCODER
        | {
            "intermediate_size": 20,
            "max_position_embeddings": 17,
            "hidden_act": "gelu_new",
            "rope_parameters": _ROTARY,
        },
    ),
]
