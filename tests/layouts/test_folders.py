"""Ready folders, judged by the libraries that open them: from_pretrained and from_preset."""

from __future__ import annotations

import json
import resource
from dataclasses import replace

import oracles
import pytest

import converter
from converter.layouts.saving import save_folder
from converter.live.sources import build_source
from converter.mapping import library
from converter.validation.validate import Options, validate

pytestmark = [pytest.mark.frameworks, pytest.mark.oracles]

CASES = {  # to the mapping and its small model
    "bert": ("bert", "backbone"),
    "gpt2": ("gpt2", "lm"),
    "llama3": ("llama", "llama3_lm_untied"),
    "llama3 tied": ("llama", "llama3_lm_tied"),
    "qwen": ("llama", "qwen2_lm_untied"),
    "qwen tied": ("llama", "qwen2_lm_tied"),
    "mistral": ("llama", "mistral_lm_untied"),
    "gemma": ("gemma", "lm"),
    "gemma2": ("gemma", "gemma2_lm"),
    "roberta": ("roberta", "roberta_backbone"),
    "xlm_roberta": ("roberta", "xlm_roberta_backbone"),
    "distilbert": ("distilbert", "backbone"),
    "albert": ("albert", "backbone"),
    "electra": ("electra", "small"),
    "opt": ("opt", "lm"),
}
# keras_hub 0.32 has no reader of config.json for these two.
ALONE = {"electra", "opt"}
# It opens these where a class with a head has saved them, as the files on the Hub are.
HEADS = {
    "roberta": "RobertaForMaskedLM",
    "xlm_roberta": "XLMRobertaForMaskedLM",
    "albert": "AlbertForPreTraining",
    "distilbert": "DistilBertForMaskedLM",
    "bert": "BertForPreTraining",
}
# keras_hub's Qwen3Backbone has a window of 32,768 tokens by default, transformers has none.
FROM_TORCH = {**CASES, "qwen3": ("llama", "qwen3_lm_tied")}
# What a class of transformers has and keras_hub has not.
UNFILLED = {"roberta": ["pooler"], "xlm_roberta": ["pooler"]}
# Where keras_hub 0.32's own reader of config.json gives another value, and of what: it takes no
# epsilon and no dropout, and the size of a window that is not used.
OTHERWISE = {
    "llama3": "layer_norm_epsilon",
    "llama3 tied": "layer_norm_epsilon",
    "bert": "dropout",
    "qwen": "sliding_window_size",
    "qwen tied": "sliding_window_size",
}


def _case(name: str):
    mapping, case = FROM_TORCH[name]
    found = library.get(mapping).proofs[case]
    oracles.prepare(found)
    return found


def _keras(name: str):
    """Return a model with random weights, and its backbone."""
    model = build_source(_case(name).keras, family="keras")
    oracles.randomise_keras(model)
    return model, getattr(model, "backbone", model)


def _opened(folder, unfilled=()):
    """Let transformers open a folder; nothing may be missing, unexpected or mismatched.

    Args:
        folder: The folder.
        unfilled: Modules that the notes of the plan say are missing.
    """
    transformers = oracles.transformers()
    (name,) = json.loads((folder / "config.json").read_text())["architectures"]
    module, told = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    missing = {key.partition(".")[0] for key in told.pop("missing_keys")}
    assert (missing, {key: found for key, found in told.items() if found}) == (set(unfilled), {})
    assert type(transformers.AutoModel.from_pretrained(folder)).__name__ == name.replace(
        "LMHead", ""
    ).replace("ForCausalLM", "Model")
    return module


def _preset(folder, **options):
    return oracles.keras_hub().models.Backbone.from_preset(str(folder), **options)


def _bits(model, dtype="") -> list[bytes]:
    """Return the weights of a Keras model, rounded to a type where one is given."""
    found = [converter.open(model).read(name) for name in converter.open(model).manifest.tensors]
    return [(one.astype(dtype).astype(one.dtype) if dtype else one).tobytes() for one in found]


def _validated(name: str, model, module) -> None:
    """Compare what both compute on the inputs of the case."""
    mapping, case = library.get(FROM_TORCH[name][0]), _case(name)
    values = {"inputs": case.inputs or mapping.inputs, "outputs": case.outputs or mapping.outputs}
    report = validate(model, module, options=Options(control_seconds=0.0, **values))
    assert (report.verdict, report.level) == ("pass", "outputs"), "\n".join(report.lines())


@pytest.mark.parametrize("name", CASES)
def test_a_preset_becomes_a_folder_of_transformers_and_a_preset_again(name, tmp_path):
    model, backbone = _keras(name)
    backbone.save_to_preset(tmp_path / "preset")
    saved = save_folder(tmp_path / "preset", tmp_path / "hf", layout="huggingface")
    assert [file.name for file in saved.written.files] == ["config.json", "model.safetensors"]
    module = _opened(tmp_path / "hf", UNFILLED.get(name, ()))
    for part in UNFILLED.get(name, ()):
        assert f"the folder is without the '{part}' of {type(module).__name__}" in str(
            saved.plan.notes
        )
    _validated(name, model, module)

    save_folder(tmp_path / "hf", tmp_path / "again", layout="keras_hub")
    again = _preset(tmp_path / "again")
    assert type(again) is type(backbone)
    assert again.get_config() == {**backbone.get_config(), "name": again.name}
    if name == "electra":  # its pooler is no part of what transformers has: zeros
        again.pooled_dense.set_weights(backbone.pooled_dense.get_weights())
    assert _bits(again) == _bits(backbone)


@pytest.mark.parametrize("name", sorted(FROM_TORCH.keys() - ALONE))
def test_a_folder_that_transformers_saved_becomes_a_preset_as_keras_hubs_own(name, tmp_path):
    torch = _case(name).torch
    arguments = {**torch.arguments, "model": HEADS.get(name, torch.arguments["model"])}
    module = build_source(replace(torch, arguments=arguments), family="torch")
    if (
        name == "roberta"
    ):  # keras_hub 0.32 leaves out what is added to every token (XLM-R's does not)
        module.roberta.embeddings.token_type_embeddings.weight.data.zero_()
    module.save_pretrained(tmp_path / "hf")
    saved = save_folder(tmp_path / "hf", tmp_path / "preset", layout="keras_hub")
    assert sorted(file.name for file in saved.written.files) == [
        "config.json",
        "metadata.json",
        "model.weights.h5",
    ]
    ours, theirs = _preset(tmp_path / "preset"), _preset(tmp_path / "hf")
    assert type(ours) is type(theirs)
    configs = [one.get_config() for one in (ours, theirs)]
    differing = {key for key in configs[0] if configs[0][key] != configs[1][key]} - {"name"}
    assert differing <= {OTHERWISE.get(name)}
    assert _bits(ours, _case(name).own_dtype) == _bits(theirs)


@pytest.mark.parametrize("name", ["albert", "electra", "roberta"])
def test_a_folder_that_transformers_saved_becomes_a_preset(name, tmp_path):
    module = build_source(_case(name).torch, family="torch")
    module.save_pretrained(tmp_path / "hf")
    save_folder(tmp_path / "hf", tmp_path / "preset", layout="keras_hub")
    _validated(name, _preset(tmp_path / "preset"), module)


@pytest.mark.parametrize("key", ["hidden_size", "intermediate_size", "vocab_size"])
def test_a_configuration_of_absurd_sizes_costs_an_error_and_no_memory(key, tmp_path):
    build_source(_case("llama3").torch, family="torch").save_pretrained(tmp_path / "hf")
    path = tmp_path / "hf/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: 2**45}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(converter.ConverterError):
        save_folder(tmp_path / "hf", tmp_path / "preset", layout="keras_hub")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10  # KiB
    assert not (tmp_path / "preset").exists()


def test_bfloat16_stays_and_shards_are_opened(tmp_path):
    """Both libraries open shards of ours; nothing is cast, so all bits return."""
    import torch

    module = build_source(_case("llama3").torch, family="torch").bfloat16()
    module.save_pretrained(tmp_path / "hf")
    exact = {"require": "exact", "max_shard_size": 4000}
    save_folder(tmp_path / "hf", tmp_path / "preset", layout="keras_hub", **exact)
    config = json.loads((tmp_path / "preset/config.json").read_text())
    assert config["config"]["dtype"]["config"] == {"name": "bfloat16"}
    preset = _preset(tmp_path / "preset", dtype="bfloat16")  # or it would cast to float32
    table = converter.open(preset).read("token_embedding/embeddings")
    held = module.state_dict()["model.embed_tokens.weight"]
    assert table.tobytes() == held.view(torch.int16).numpy().tobytes()
    save_folder(tmp_path / "preset", tmp_path / "again", layout="huggingface", **exact)
    assert len(list((tmp_path / "again").glob("model-*.safetensors"))) > 3
    again = _opened(tmp_path / "again")
    wanted = module.state_dict()
    for name, value in again.state_dict().items():
        assert value.dtype == wanted[name].dtype
        assert value.equal(wanted[name]), name


def test_shards_that_keras_wrote_are_read_with_the_configuration_beside_them(tmp_path):
    _, backbone = _keras("llama3")
    backbone.save_to_preset(tmp_path / "preset", max_shard_size=4000 / 2**30)
    assert len(list((tmp_path / "preset").glob("model_*.weights.h5"))) > 3
    with converter.open(tmp_path / "preset") as checkpoint:
        assert checkpoint.path.name == "model.weights.json"
        assert checkpoint.manifest.metadata["keras_hub_version"]
    save_folder(tmp_path / "preset", tmp_path / "hf", layout="huggingface")
    save_folder(tmp_path / "hf", tmp_path / "again", layout="keras_hub")
    assert _bits(_preset(tmp_path / "again")) == _bits(backbone)


LLAMA_3_1 = {"factor": 8.0, "low_freq_factor": 1.5, "high_freq_factor": 4.5}
LLAMA_3_1 |= {"original_max_position_embeddings": 16}


def test_the_scaled_angles_of_llama_3_1(tmp_path):
    """Outputs, since nothing in the weights shows them; transformers writes them in a new place."""
    case = _case("llama3")
    rope = {"rope_type": "llama3", "rope_theta": 10000.0, **LLAMA_3_1}
    torch = replace(case.torch, arguments={**case.torch.arguments, "rope_parameters": rope})
    module = build_source(torch, family="torch")
    module.save_pretrained(tmp_path / "hf")
    saved = save_folder(tmp_path / "hf", tmp_path / "preset", layout="keras_hub")
    assert [one for one in saved.plan.assumptions if "rope" in one] == []
    backbone = _preset(tmp_path / "preset")
    assert backbone.rope_frequency_adjustment_factor == 8.0
    backbone.save_to_preset(tmp_path / "again")
    save_folder(tmp_path / "again", tmp_path / "back", layout="huggingface")
    back = _opened(tmp_path / "back")
    assert back.config.rope_parameters == rope
    _equal_hidden(backbone, module)
    _equal_hidden(backbone, back)
    with pytest.raises(AssertionError):  # the guard: without them, other outputs
        _equal_hidden(backbone, build_source(case.torch, family="torch"))


def _equal_hidden(backbone, module) -> None:
    """Compare the hidden states of long enough texts, where angles differ."""
    import numpy as np
    import torch

    ids = np.random.default_rng(0).integers(3, 31, (3, 29))
    mask = np.ones_like(ids)
    found = oracles.run_keras(backbone, {"token_ids": ids, "padding_mask": mask})
    with torch.no_grad():
        wanted = module.eval().model(torch.from_numpy(ids)).last_hidden_state.numpy()
    assert oracles.relative_error(found, wanted) < 1e-5


@pytest.mark.parametrize(
    ("name", "entry", "text"),
    [
        ("gemma2", {"query_pre_attn_scalar": 4}, "refused  query_pre_attn_scalar  is 4, and"),
        (
            "gemma2",
            {"layer_types": ["full_attention", "sliding_attention"]},
            'refused  layer_types  is ["full_attention", "sliding_attention"], and GemmaBackbone '
            'repeats ["sliding_attention", "full_attention"]',
        ),
        ("roberta", {"max_position_embeddings": 2}, "refused  max_position_embeddings  is 2, and"),
        ("roberta", {"pad_token_id": 0}, "refused  pad_token_id  is 0, and RobertaBackbone"),
    ],
)
def test_what_keras_cannot_say_is_refused(name, entry, text, tmp_path):
    build_source(_case(name).torch, family="torch").save_pretrained(tmp_path / "hf")
    path = tmp_path / "hf/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entry))
    with pytest.raises(converter.ConverterError) as caught:
        save_folder(tmp_path / "hf", tmp_path / "preset", layout="keras_hub")
    assert text in str(caught.value)
