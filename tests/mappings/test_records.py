"""The records of the proofs are whole, and the table is made from nothing else."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

import msgspec
import pytest

from converter.errors import MappingFileError
from converter.mapping import library
from converter.mapping.check import check_mapping
from converter.mapping.document import read_mapping
from converter.mapping.proofs import find_unproved, read_proof, record_path, write_proof
from converter.mapping.summary import gaps, markdown, missing, summarise, within

ROOT = Path(__file__).resolve().parents[2]
NAMES = library.names()


@pytest.mark.parametrize("name", NAMES)
def test_each_mapping_is_proved_and_each_record_is_of_a_model_that_the_file_names(name):
    mapping = library.get(name)
    assert list(find_unproved(mapping)) == []
    proof = read_proof(mapping)
    assert set(proof.cases) == set(mapping.proofs)
    assert set(proof.variants) == set(mapping.variants)


def test_each_record_has_its_mapping():
    folder = record_path(library.get("densenet")).parent
    assert {path.stem for path in folder.iterdir()} == set(NAMES)


def test_the_readme_shows_the_table():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert markdown() in text, "run scripts/prove.py --table"


def test_mapping_files_are_short():
    rows = sorted(summarise(library.get(name)).rules for name in NAMES)
    assert statistics.median(rows) < 45
    assert rows[-1] <= 120


def _copied(folder: Path, change=lambda text: text) -> Path:
    """Return a copy of a mapping with its record, the text changed."""
    mapping = library.get("densenet")
    text = mapping.path.read_text(encoding="utf-8").replace('"densenet"', '"mine"', 1)
    (folder / "mine.toml").write_text(change(text), encoding="utf-8")
    (folder / "proofs").mkdir()
    shutil.copy(record_path(mapping), folder / "proofs" / "mine.json")
    return folder / "mine.toml"


def _refusal(path: Path) -> str:
    with pytest.raises(MappingFileError) as caught:
        check_mapping(path)
    return str(caught.value)


def test_what_does_not_change_where_a_tensor_goes_needs_no_new_run(tmp_path):
    path = _copied(tmp_path, lambda text: text.replace("Keras adds", "It adds"))
    assert check_mapping(path).name == "mine"


def test_a_mapping_that_has_changed_is_not_proved(tmp_path):
    path = _copied(tmp_path, lambda text: text.replace("features.norm5", "features.norm6"))
    assert _refusal(path) == (
        f"cannot use '{path}': 1 problem\n"
        "  unproved  proofs  is not proved: it has changed since the run on record\n"
        f"  hint      prove it: converter mappings prove {path}"
    )


def test_a_mapping_without_a_run_or_without_models_is_not_proved(tmp_path):
    path = _copied(tmp_path)
    (tmp_path / "proofs" / "mine.json").unlink()
    assert "  unproved  proofs  is not proved: no run is on record\n" in _refusal(path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("[proofs.")], encoding="utf-8")
    text = "is not proved: the file names no small models to compare"
    assert f"  unproved  proofs  {text}\n" in _refusal(path)


def test_a_record_of_outputs_that_differ_proves_nothing(tmp_path):
    mapping = read_mapping(_copied(tmp_path))
    proof = read_proof(mapping)
    case = msgspec.structs.replace(proof.cases["mini"], floors=31.0)
    write_proof(mapping, msgspec.structs.replace(proof, cases={**proof.cases, "mini": case}))
    text = "  unproved  proofs.mini  the outputs differ by 31 noise floors\n"
    assert text in _refusal(mapping.path) + "\n"
    assert summarise(mapping).unproved == "the outputs differ by 31 noise floors"


def test_a_broken_record_is_an_error_that_names_it(tmp_path):
    path = _copied(tmp_path)
    (tmp_path / "proofs" / "mine.json").write_text("{", encoding="utf-8")
    assert "is no record of a proof: " in _refusal(path)


def test_gaps_have_reasons():
    for gap in gaps(library.load_all()):
        assert len(gap.why) > 20


# What people convert: keras.applications' 14 families, keras_hub with transformers, and with timm.
_WANTED = (
    "vgg resnet resnet_v2 inception_v3 inception_resnet_v2 xception mobilenet mobilenet_v2 "
    "mobilenet_v3 densenet nasnet efficientnet efficientnet_v2 convnext "
    "bert roberta xlm_roberta distilbert albert electra deberta_v3 esm bart t5 whisper gpt2 opt "
    "bloom falcon gpt_neo_x llama llama3 mistral mixtral phi3 smollm3 qwen qwen_moe qwen3 "
    "qwen3_moe gemma gemma3 vit deit dinov2 swin_transformer clip siglip segformer mit "
    "hub_resnet hub_vgg hub_densenet hub_efficientnet hub_mobilenet hub_cspnet hub_hgnetv2 "
)
WANTED = _WANTED.split()


@pytest.mark.parametrize("name", WANTED)
def test_each_architecture_has_its_mapping_or_a_reason(name):
    """One of three: a mapping of this name, a mapping of another, or why there is none."""
    places = [name in NAMES, within().get(name) in NAMES, name in missing()]
    assert places.count(True) == 1, "see mappings/missing.toml"


def test_the_list_of_what_is_missing_has_no_other_architectures():
    assert set(missing()) | set(within()) <= set(WANTED)
