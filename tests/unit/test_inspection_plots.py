"""Every plot is drawn, from real files and from a model of 500 tensors, and shows what it should.

What they look like was judged by eye; here it is proved that the numbers arrive in the picture.
"""

import math
import sys

import msgspec
import numpy as np
import pytest

from converter import api
from converter.cli.schema_weights import Plot
from converter.errors import CorruptFileError, UsageError
from converter.inspection import drawing, figures, series
from converter.inspection.difference import compare_checkpoints

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

PNG = b"\x89PNG\r\n\x1a\n"


def network(step=0, seed=6):
    """Return a network whose first layer is frozen and whose second one moves with each step."""
    random = np.random.default_rng(seed)
    return {
        "conv.weight": random.normal(size=(5, 3, 4, 2)).astype(np.float32),
        "head.weight": (random.normal(size=(7, 6)) * (1 + step)).astype(np.float32),
    }


def saved(folder, count):
    paths = []
    for step in range(count):
        paths.append(folder / f"epoch-{step}.npz")
        np.savez(paths[-1], **network(step))
    return paths


def test_a_series_has_norms_updates_and_distances(tmp_path):
    moments = series.measure_series(saved(tmp_path, 4))
    assert [moment.label for moment in moments] == [f"epoch-{n}.npz" for n in range(4)]
    head = [next(p for p in m.points if p.name == "head.weight") for m in moments]
    frozen = [next(p for p in m.points if p.name == "conv.weight") for m in moments]
    norm = np.linalg.norm(network()["head.weight"].astype(np.float64))
    assert [p.norm for p in head] == pytest.approx([norm * n for n in (1, 2, 3, 4)], rel=1e-6)
    assert head[0].update is None
    assert [p.update for p in head[1:]] == pytest.approx([1, 1 / 2, 1 / 3], rel=1e-6)
    assert [p.distance for p in head] == pytest.approx([0, 1, 2, 3], rel=1e-6)
    assert [p.update for p in frozen[1:]] == [0, 0, 0]


def test_files_without_a_common_tensor_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.ones(3, np.float32))
    np.savez(tmp_path / "b.npz", b=np.ones(3, np.float32))
    with pytest.raises(UsageError) as caught:
        series.measure_series([tmp_path / "a.npz", tmp_path / "b.npz"])
    assert str(caught.value) == (
        "cannot follow the weights from 'a.npz' to 'b.npz': they have no tensor in common"
    )


def test_a_line_that_is_no_record_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"label": "1", "points": []}\n{"lab')
    with pytest.raises(CorruptFileError, match="line 2 is no record of a training"):
        series.read_record(tmp_path / "a.jsonl")


def test_histogram_rows_are_those_of_numpy(tmp_path):
    with api.open(network()) as checkpoint:
        figure = drawing.draw_histograms(checkpoint)
    mesh = figure.axes[0].collections[0]
    shown = np.asarray(mesh.get_array()).reshape(2, -1) ** 2
    edges = mesh.get_coordinates()[0, :, 0]
    for row, name in zip(shown, network(), strict=True):
        counts = np.histogram(network()[name], edges)[0] / np.diff(edges)
        assert row == pytest.approx(counts / counts.max())
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == list(network())


def test_spectra_are_the_singular_values_of_numpy():
    with api.open(network()) as checkpoint:
        lines = drawing.draw_spectra(checkpoint).axes[0].get_lines()
    for line, array in zip(lines, network().values(), strict=True):
        expected = np.linalg.svd(array.reshape(array.shape[0], -1).astype(float), compute_uv=False)
        assert line.get_ydata() == pytest.approx(expected / expected[0])


def test_filters_of_three_channels_are_colour_images():
    with api.open(network()) as checkpoint:
        figure = drawing.draw_kernel(checkpoint)
    images = [axes.get_images()[0] for axes in figure.axes if axes.get_images()]
    weight = network()["conv.weight"].astype(float)
    assert len(images) == 5
    expected = weight[3].transpose(1, 2, 0) / (2 * np.abs(weight).max()) + 0.5
    assert np.asarray(images[3].get_array()) == pytest.approx(expected)


def test_a_matrix_is_a_heat_map_and_an_unknown_name_is_refused():
    with api.open(network()) as checkpoint:
        figure = drawing.draw_kernel(checkpoint, "head")
        shown = np.asarray(figure.axes[0].get_images()[0].get_array())
        with pytest.raises(UsageError, match="cannot draw 'tail'"):
            drawing.draw_kernel(checkpoint, "tail")
    assert np.array_equal(shown, network()["head.weight"].astype(float))


def test_a_kernel_of_three_axes_has_a_row_for_each_unit():
    """As it lies in the file it would be a ribbon of 30 rows of 2 pixels."""
    weight = np.random.default_rng(1).normal(size=(5, 6, 2)).astype(np.float32)
    state = {"a.weight": weight, "a.bias": np.ones(5, np.float32)}
    with api.open(state) as checkpoint:
        axes = drawing.draw_kernel(checkpoint, "a").axes[0]
    assert np.array_equal(np.asarray(axes.get_images()[0].get_array()), weight.reshape(5, 12))
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("unit", "what goes into it")


def test_a_value_far_outside_hides_no_others_and_what_is_no_number_is_drawn():
    weight = np.random.default_rng(1).normal(size=(30, 20)).astype(np.float32)
    weight[3, 4], weight[5, 6], weight[7, 8] = 1e6, np.nan, np.inf
    state = {"a.weight": weight, "b.weight": weight.reshape(10, 3, 4, 5)}
    with api.open(state) as checkpoint:
        image = drawing.draw_kernel(checkpoint, "a").axes[0].get_images()[0]
        filters = drawing.draw_kernel(checkpoint, "b").axes[0].get_images()[0]
        with pytest.raises(UsageError, match="it has no such matrix"):
            drawing.draw_spectra(checkpoint)
        drawing.draw_histograms(checkpoint)
    assert image.get_clim()[1] < 4
    assert np.asarray(filters.get_array()).max() <= 1
    state["c.weight"] = np.eye(3, dtype=np.float32)
    with api.open(state) as checkpoint:
        assert drawing.draw_spectra(checkpoint).axes[0].get_title(loc="left") == (
            "state dict: singular values (2 too large or not finite)"
        )


@pytest.mark.frameworks
def test_the_filters_of_keras_are_turned_by_their_named_axes():
    from support.keras_files import small_network

    model = small_network()
    with api.open(model) as checkpoint:
        figure = drawing.draw_kernel(checkpoint, "stem")
    kernel = model.get_weights()[0].astype(float)  # (kh, kw, in, out) = (2, 4, 3, 7)
    images = [axes.get_images()[0] for axes in figure.axes if axes.get_images()]
    expected = kernel[..., 5] / (2 * np.abs(kernel).max()) + 0.5
    assert len(images) == 7
    assert np.asarray(images[5].get_array()) == pytest.approx(expected)


def test_the_change_is_drawn_in_the_order_of_the_model():
    counted = {"steps": np.array(7, np.int64)}
    with api.open(network() | counted) as first, api.open(network(2)) as second:
        found = compare_checkpoints(first, second)
        axes = drawing.draw_change(found, first, second).axes[0]
    widths = [bar.get_width() for bar in axes.patches]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["conv.weight", "head.weight"]
    assert math.isnan(widths[0])
    assert widths[1] == pytest.approx(2, rel=1e-6)
    assert axes.get_legend().get_texts()[0].get_text() == "the same (1)"


def test_500_layers_stay_readable(tmp_path):
    """Names are thinned out, and curves become a heat map."""
    points = [series.Point(f"layer_{n}.weight", 1.0 + n, 0.1, 0.2) for n in range(500)]
    moments = [series.Moment(str(n), tuple(points)) for n in range(30)]
    figure = figures.evolution(moments, "x")
    assert [len(axes.get_images()) for axes in figure.axes[:3]] == [1, 1, 1]
    assert len(figure.axes[2].get_xticks()) <= 20
    state = {f"l{n}.weight": np.full((2, 2), n + 1.0, np.float32) for n in range(500)}
    assert all(len(axes.get_yticks()) <= 20 for axes in figure.axes[:3])
    with api.open(state) as checkpoint:
        axes = drawing.draw_histograms(checkpoint).axes[0]
        spectra = drawing.draw_spectra(checkpoint).axes[0]
    assert len(axes.get_yticks()) <= figures.MAX_NAMES
    assert spectra.get_lines() == []
    assert len(spectra.get_yticks()) <= figures.MAX_NAMES
    rows = np.asarray(spectra.get_images()[0].get_array())
    assert rows.shape == (500, 101)
    assert rows[7] == pytest.approx(np.interp(np.linspace(0, 1, 101), [0.25, 0.75], [0, -6]))
    drawing.save([figure], tmp_path / "a.png", "x")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


KINDS = [
    (1, [], "histograms"),
    (1, ["--kind", "kernel"], "kernel"),
    (1, ["--kind", "spectra"], "spectra"),
    (2, [], "change"),
    (3, [], "evolution"),
]


@pytest.fixture
def draw(capsys, monkeypatch):
    """Return a function that runs the command to exit code 0 and gives what it prints."""
    from converter.cli.app import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["converter", "plot", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(("count", "options", "kind"), KINDS, ids=str)
def test_every_kind_is_drawn_by_the_command(tmp_path, draw, count, options, kind):
    paths = saved(tmp_path, count)
    target = tmp_path / "a.svg"
    pictures = []
    for _ in range(2):
        assert draw(*paths, "--out", target, *options) == f"wrote {target}: {kind}\n"
        pictures.append(target.read_text())
    assert "<svg" in pictures[0]
    assert pictures[0] == pictures[1], "the same picture, byte for byte"


def test_a_page_holds_its_pictures_itself(tmp_path):
    with api.open(network()) as checkpoint:
        drawn = [drawing.draw_histograms(checkpoint), drawing.draw_spectra(checkpoint)]
    drawing.save(drawn, tmp_path / "a.html", "<weights>")
    page = (tmp_path / "a.html").read_text()
    assert page.count("<svg") == 2
    assert "<h1>&lt;weights&gt;</h1>" in page
    assert "<script" not in page
    with pytest.raises(UsageError) as caught:
        drawing.save(drawn, tmp_path / "a.png", "x")
    assert str(caught.value) == "cannot draw 2 plots as 'a.png'\n  hint  use .html"
    with pytest.raises(UsageError, match=r"cannot draw 'a\.gif'"):
        drawing.save(drawn, tmp_path / "a.gif", "x")


def refused(capsys, monkeypatch, *arguments):
    """Return what the command says when it ends with exit code 2."""
    from converter.cli.app import main

    monkeypatch.setattr(sys, "argv", ["converter", "plot", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    assert (end.value.code, said.out) == (2, "")
    return said.err


def test_what_cannot_be_drawn_is_refused_and_nothing_is_written(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, 3)
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text('{"label": "1", "points": []}\n')
    cases = [
        (["epoch-0.npz", "epoch-1.npz", "--kind", "spectra"],
         "error: cannot draw spectra of 2 sources: it takes 1\n"),
        (["epoch-0.npz", "--kind", "change"],
         "error: cannot draw change of 1 sources: it takes 2\n"),
        (["a.jsonl", "b.jsonl"], "error: cannot draw 2 sources: a record is drawn alone\n"),
        (["a.jsonl"], "error: cannot draw the evolution of a.jsonl: no weight in it\n"),
        (["epoch-0.npz", "--layer", "tail"],
         "error: cannot draw epoch-0.npz: no weight is 'tail'\n"),
        (["epoch-0.npz", "epoch-1.npz", "epoch-2.npz", "--layer", "tail"],
         "error: cannot draw the evolution of epoch-0.npz: no weight is called 'tail'\n"),
    ]  # fmt: skip
    for arguments, message in cases:
        assert refused(capsys, monkeypatch, *arguments, "--out", "x.png") == message
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("kind", ["histograms", "kernel", "spectra", "change", "evolution"])
def test_only_the_layers_that_are_asked_for_are_drawn_and_said_as_json(tmp_path, draw, kind):
    count = {"change": 2, "evolution": 3}.get(kind, 1)
    paths = saved(tmp_path, count)
    target = tmp_path / "a.svg"
    said = draw(*paths, "--out", target, "--kind", kind, "--layer", "head", "--json")
    found = msgspec.json.decode(said, type=Plot)
    assert found == Plot([str(path) for path in paths], str(target), [kind])
    assert "<svg" in target.read_text()
    names = {text for text in ("conv.weight", "head.weight") if f"<!-- {text}" in target.read_text()
             or f": {text} -->" in target.read_text()}  # fmt: skip
    assert names == {"head.weight"}


@pytest.mark.frameworks
def test_the_change_from_keras_to_pytorch_is_that_of_the_converted_model(tmp_path, draw):
    from safetensors.numpy import load_file, save_file
    from support.keras_files import save_small_network

    import converter

    source, target = save_small_network(tmp_path / "a.keras"), tmp_path / "a.safetensors"
    converter.convert(source, target)
    state = load_file(target)
    state["stem.weight"] *= np.float32(1.5)
    save_file(state, target)
    draw(source, target, "--out", tmp_path / "a.svg")
    page = (tmp_path / "a.svg").read_text()
    assert "<!-- stem.weight -->" in page
    assert "<!-- the same (7) -->" in page
