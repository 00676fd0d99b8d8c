"""The library: where mappings are found, and what happens when there are too many or too few."""

from __future__ import annotations

import pytest

from converter.errors import MappingError, MappingFileError
from converter.mapping import library

TOY = 'schema = 1\nname = "{name}"\nkeras = "k"\ntorch = "t"\nrules = [["dense", "a", "b"]]\n'


def _write(folder, name):
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(TOY.format(name=name))
    return path


def test_ours_are_there_and_the_catalogue_is_none_of_them():
    assert {"densenet", "vgg", "convnext", "bert"} <= set(library.names())
    assert "layers" not in library.names()


def test_every_mapping_of_ours_is_read(tmp_path):
    assert [mapping.name for mapping in library.load_all()] == list(library.names())


def test_folders_and_files_are_added(tmp_path):
    one, two = _write(tmp_path / "a", "one"), _write(tmp_path / "b", "two")
    found = library.names([one.parent, two])
    assert set(found) - set(library.names()) == {"one", "two"}
    assert library.get("two", [two]).path == two


def test_a_path_is_read_as_it_is(tmp_path):
    path = _write(tmp_path, "mine")
    assert library.get(path).name == "mine"
    assert library.get(str(path)).name == "mine"


def test_a_file_that_changed_is_read_again(tmp_path):
    path = _write(tmp_path, "mine")
    library.get(path)
    path.write_text("schema = 2")
    with pytest.raises(MappingFileError):
        library.get(path)


def test_an_unknown_name():
    with pytest.raises(MappingError) as caught:
        library.get("densnet")
    assert caught.value.summary == "there is no mapping 'densnet'; near: 'densenet'"
    assert caught.value.hint == "a file of your own is given by its path: my_mapping.toml"


def test_two_of_one_name(tmp_path):
    first, second = _write(tmp_path / "a", "one"), _write(tmp_path / "b", "one")
    with pytest.raises(MappingError) as caught:
        library.names([first.parent, second.parent])
    assert str(caught.value) == (
        "two mappings are called 'one'\n"
        f"  first   {first}\n"
        f"  second  {second}\n"
        "  hint    rename one of the files, and the name in it"
    )


def test_a_place_that_is_not_there(tmp_path):
    with pytest.raises(MappingError) as caught:
        library.names([tmp_path / "no"])
    assert caught.value.summary == f"there is no mapping file or folder '{tmp_path / 'no'}'"


def test_packages_add_mappings_by_an_entry_point(tmp_path, monkeypatch):
    """A real distribution on the path: its folder is found without importing the package."""
    package = tmp_path / "their_package"
    _write(package, "theirs")
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    info = tmp_path / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[converter.mappings]\ntheirs = their_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    library._registered_folders.cache_clear()
    try:
        assert library.get("theirs").path == package / "theirs.toml"
    finally:
        library._registered_folders.cache_clear()
