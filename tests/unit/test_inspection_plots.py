"""Every plot is drawn, from real files and from a model of 500 tensors, and shows what it should.

What they look like was judged by eye; here it is proved that the numbers arrive in the picture.
"""

import math
import sys

import numpy as np
import pytest

from converter import api
from converter.errors import CorruptFileError, UsageError
from converter.inspection import drawing, figures, series

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
    with api.open(network()) as first, api.open(network(2)) as second:
        axes = drawing.draw_change(first, second).axes[0]
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
    with api.open(state) as checkpoint:
        axes = drawing.draw_histograms(checkpoint).axes[0]
    assert len(axes.get_yticks()) <= figures.MAX_NAMES
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
