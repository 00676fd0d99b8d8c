"""The report as a page: whole in itself, safe with foreign names, and drawn by a real browser."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converter.validation.findings import Finding, LayerError
from converter.validation.histograms import histogram
from converter.validation.outcomes import LEVELS, Control, Level
from converter.validation.page import depth, page
from converter.validation.report import Report, Row

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)


def report(name: str = "features.0.conv") -> Report:
    generator = np.random.default_rng(0)
    one = generator.standard_normal((3, 400))
    trace = [
        LayerError(f"conv{i}", f"features.{i}", 4e-3 if i == 17 else 2e-7, 1e-7, 3e-7 * 1.1**i)
        for i in range(40)
    ]
    trace[3] = LayerError("odd", "", math.inf)
    row = Row(name, "logits", "fail", (3, 400), 4e-3, 1e-7, 0.3, 0.1, (2, 7), 0.99)
    row = replace(row, note="a note", kl=0.1, agreement=0.5)
    finding = Finding("conv17", name, 4e-3, 1e-7, "epsilon", "Too small.", {"epsilon": 1e-7})
    return Report(
        "outputs",
        (row,),
        1,
        ("Careful & <b>bold</b>.",),
        {"seed": 0, "files": {"a.keras": "ab" * 32}, "command": "converter validate a b"},
        (replace(finding, by_weights=True, fix="eps"),),
        tuple(trace),
        tuple(Level(level, "pass", "all of it") for level in LEVELS),
        (
            Control("swapped", "'a' and 'b' exchanged", math.inf, is_detected=True),
            Control("gates", "of 'c'", 0.0, is_detected=False, note="equal values"),
        ),
        histogram("logits", one, one + 0.1),
    )


def test_the_page_needs_no_other_file() -> None:
    text = page(report())
    assert re.findall(r'(?:src|href)="|@import|url\(|https?:|<script', text) == []
    parts = ("levels", "causes", "rows", "depth", "histogram", "controls", "notes", "layers")
    for section in (*parts, "record"):
        assert text.count(f'id="{section}"') == 1
    assert "FAIL" not in text  # upper case is the style sheet's
    assert "<b>fail</b>: 1 output compared, 1 fail" in text
    assert "ab" * 32 in text


def test_sections_without_content_are_left_out() -> None:
    text = page(Report("values", (), 11, settings={"first": "a", "second": "b"}))
    assert "<b>pass</b>: 11 tensors compared, none differs" in text
    assert 'id="rows"' not in text
    assert "<svg" not in text


def test_what_was_not_measured_has_no_column() -> None:
    found = report()
    assert ">accumulated</th>" in page(found)
    trace = tuple(replace(one, accumulated_error=None) for one in found.trace)
    assert ">accumulated</th>" not in page(replace(found, trace=trace))


def test_a_repair_that_weights_can_make_is_offered() -> None:
    found = report()
    assert "--repair OUT" not in page(found)
    finding = replace(found.findings[0], is_compensated=True)
    assert "<code>--repair OUT</code> writes them" in page(replace(found, findings=(finding,)))


def test_names_are_never_markup() -> None:
    text = page(report("<script>alert(1)</script>"))
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "Careful &amp; &lt;b&gt;bold&lt;/b&gt;." in text


def test_the_drawing_stays_on_its_paper() -> None:
    drawn = depth(report().trace)
    assert drawn is not None
    assert [index for index, one in enumerate(drawn.own) if one.is_bad] == [17]
    marks = [*drawn.own, *drawn.accumulated]
    assert all(0 <= one.x <= 860 and 0 <= one.y <= 260 for one in marks)
    assert drawn.own[17].y < drawn.own[16].y  # larger errors are higher
    assert drawn.own[3].y == min(one.y for one in drawn.own)  # what is infinite, at the top
    assert depth(()) is None


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed (apt-get install chromium)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_it(tmp_path: Path, scheme: str) -> None:
    from PIL import Image

    file, picture = tmp_path / "report.html", tmp_path / "page.png"
    file.write_text(page(report()), encoding="utf-8")
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *dark]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1000,2200"]
    done = subprocess.run(
        [BROWSER, *options, f"--screenshot={picture}", file.as_uri()],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    with Image.open(picture) as opened:
        pixels = np.asarray(opened.convert("RGB")).astype(int)
    assert pixels.shape == (2200, 1000, 3)
    corner = pixels[1, 1]
    assert (corner.mean() < 60) == (scheme == "dark")
    # Red for the verdict, blue for the layers' own errors, orange for what accumulates.
    red = (pixels[..., 0] > 170) & (pixels[..., 1] < 140) & (pixels[..., 2] < 140)
    blue = (pixels[..., 2] > 180) & (pixels[..., 0] < 130)
    orange = (pixels[..., 0] > 190) & (pixels[..., 2] < 110) & (pixels[..., 1] > 100)
    assert red.sum() > 500
    assert blue.sum() > 500
    assert orange.sum() > 100
