"""Ready folders, judged by the libraries that open them: from_pretrained and from_preset."""

from __future__ import annotations

import json
import resource

import oracles
import pytest

import converter
from converter.layouts.saving import save_folder
from converter.live.sources import build_source
from converter.mapping import library

pytestmark = [pytest.mark.frameworks, pytest.mark.oracles]

CASES = {  # to the mapping and its small model
    "bert": ("bert", "backbone"),
    "gpt2": ("gpt2", "lm"),
    "llama3": ("llama", "llama3_lm_untied"),
    "llama3 tied": ("llama", "llama3_lm_tied"),
    "qwen": ("llama", "qwen2_lm_untied"),
    "qwen tied": ("llama", "qwen2_lm_tied"),
}
# keras_hub's Qwen3Backbone has a window of 32,768 tokens by default, transformers has none.
FROM_TORCH = {**CASES, "qwen3": ("llama", "qwen3_lm_tied")}
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


def _opened(folder):
    """Let transformers open a folder; nothing may be missing, unexpected or mismatched."""
    transformers = oracles.transformers()
    (name,) = json.loads((folder / "config.json").read_text())["architectures"]
    module, told = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert {key: found for key, found in told.items() if found} == {}
    assert type(transformers.AutoModel.from_pretrained(folder)).__name__ == name.replace(
        "LMHead", ""
    ).replace("ForCausalLM", "Model")
    return module


def _preset(folder, **options):
    return oracles.keras_hub().models.Backbone.from_preset(str(folder), **options)


def _bits(model) -> list[bytes]:
    return [
        converter.open(model).read(name).tobytes()
        for name in converter.open(model).manifest.tensors
    ]


@pytest.mark.parametrize("name", CASES)
def test_a_preset_becomes_a_folder_of_transformers_and_a_preset_again(name, tmp_path):
    model, backbone = _keras(name)
    backbone.save_to_preset(tmp_path / "preset")
    saved = save_folder(tmp_path / "preset", tmp_path / "hf", layout="huggingface")
    assert [file.name for file in saved.written.files] == ["config.json", "model.safetensors"]
    module = _opened(tmp_path / "hf")
    report = converter.validate(model, module)
    assert (report.verdict, report.level) == ("pass", "outputs")

    save_folder(tmp_path / "hf", tmp_path / "again", layout="keras_hub")
    again = _preset(tmp_path / "again")
    assert type(again) is type(backbone)
    assert again.get_config() == {**backbone.get_config(), "name": again.name}
    assert _bits(again) == _bits(backbone)


@pytest.mark.parametrize("name", FROM_TORCH)
def test_a_folder_that_transformers_saved_becomes_a_preset_as_keras_hubs_own(name, tmp_path):
    module = build_source(_case(name).torch, family="torch")
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
    assert _bits(ours) == _bits(theirs)


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
    save_folder(tmp_path / "hf", tmp_path / "whole", layout="keras_hub", require="exact")
    save_folder(tmp_path / "whole", tmp_path / "again", layout="huggingface", **exact)
    assert len(list((tmp_path / "again").glob("model-*.safetensors"))) > 3
    again = _opened(tmp_path / "again")
    wanted = module.state_dict()
    for name, value in again.state_dict().items():
        assert value.dtype == wanted[name].dtype
        assert value.equal(wanted[name]), name
