import base64
import html.parser
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from pixlab import chart
from pixlab.cli import table
from pixlab.errors import UserError
from pixlab.log import Log
from pixlab.page import write_page
from pixlab.results import results_html

VOID = {"meta", "img", "link", "br", "line", "circle", "polyline"}


class Reader(html.parser.HTMLParser):
    """Collects elements and text, and insists on balanced tags."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.text, self.bold = [], [], "", []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data + "\n"
        if self.open[-2:] == ["td", "b"]:
            self.bold.append(data)


@pytest.fixture
def run(tmp_path):
    rng = np.random.default_rng(0)
    log = Log(tmp_path)
    log.resume(0)
    for step in range(1, 201):
        stage = "coarse" if step <= 100 else "fine"
        log.scalars(step, {f"train/{stage}/loss": 2.0 * 0.95**step, f"train/{stage}/a<b": step})
    log.scalars(200, {"test/rmse": 0.625})
    shots = {}
    for step in (50, 100, 200):
        for name in ("depth", "normals"):
            shots[name, step] = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
            log.picture(step, name, shots[name, step])
    log.status("running", 200, 400, stages=[("coarse", 100), ("fine", 300)])
    log.close()
    config = {
        "experiment": "Rooms &",
        "config": "<depth>",
        "fields": {"data": {"size": [48, 64]}, "optimiser": {"rate": 0.01, "decay": None}},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    result = {
        "columns": ["", "abs_rel", "delta1", "mean_iou", "oddity", "told", "pose/pck", "relative/oddity"],
        "rows": [
            ["ours", 0.125, 0.75, 0.5, 1.0, 3.0, 0.1, 1.0],
            ["mean depth", 0.5, 0.875, 0.25, 2.0, 4.0, 0.2, 2.0],
            ["paper", 0.215],
        ],
        "better": {"told": "higher"},
        "notes": ["a <note>"],
    }
    (tmp_path / "result.json").write_text(json.dumps(result))
    return tmp_path, shots


def test_page_holds_all_that_the_run_left(run):
    folder, shots = run
    path = write_page(folder)
    assert path == folder / "index.html"
    page = Reader(path.read_text(encoding="utf-8"))
    words = ["Rooms & <depth>", "running", "data.size", "48, 64", "optimiser.rate", "0.01", "a <note>", "mean depth"]
    for word in [*words, "train/coarse/loss", "train/fine/a<b", "test/rmse", "last 0.625"]:
        assert word in page.text
    assert re.search(r"step\s+200\s+of 400", page.text)
    images = [attrs["src"] for tag, attrs in page.found if tag == "img"]
    decoded = []
    for source in images:
        kind, data = source.split(",", 1)
        assert kind == "data:image/png;base64"
        decoded.append(np.array(Image.open(io.BytesIO(base64.b64decode(data)))))
    order = [("depth", 200), ("depth", 100), ("depth", 50), ("normals", 200), ("normals", 100), ("normals", 50)]
    assert len(decoded) == len(order)
    for got, key in zip(decoded, order, strict=True):
        np.testing.assert_array_equal(got, shots[key])


def test_page_asks_the_network_for_nothing(run):
    text = write_page(run[0]).read_text(encoding="utf-8")
    for _, attrs in Reader(text).found:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert attrs.get(name, "data:").startswith("data:")
    assert "http" not in re.sub(r"base64,[^\"]*", "", text) and "url(" not in text and "@import" not in text


def test_best_of_each_column_is_bold_where_a_direction_is_known(run):
    page = Reader(write_page(run[0]).read_text(encoding="utf-8"))
    assert page.bold == ["0.125", "0.5", "0.875", "4", "0.2"]  # of ours, of the mean depth, and of the second table
    assert "abs_rel ↓" in page.text and "mean_iou ↑" in page.text and "oddity\n" in page.text


def test_results_are_one_table_for_each_task(run):
    page = Reader(write_page(run[0]).read_text(encoding="utf-8"))
    assert sum(tag == "table" for tag, _ in page.found) == 3
    assert "\npose\npck ↑\nours\n0.1\nmean depth\n0.2\n" in page.text
    assert page.text.count("\npaper\n") == 1  # it has no value in the other two


def test_curves_are_grouped_by_the_start_of_their_names(run):
    page = Reader(write_page(run[0]).read_text(encoding="utf-8"))
    order = [page.text.index(f"\n{group}\n") for group in ("train/coarse", "train/fine", "test")]
    assert order == sorted(order)


def test_stages_stand_where_they_begin_in_the_run(run):
    folder, _ = run
    Log(folder).status("running", 200, 200, stages=[("a", 50), ("b", 100), ("c", 50)])
    text = write_page(folder).read_text(encoding="utf-8")
    first, second = (float(x) for x in re.findall(r'<line class="stage" x1="([\d.]+)"', text)[:2])
    assert first == pytest.approx(52 + (50 - 1) / 199 * 356, abs=0.1)
    assert second == pytest.approx(52 + (150 - 1) / 199 * 356, abs=0.1)


def test_page_of_a_run_that_left_little(tmp_path):
    page = Reader(write_page(tmp_path, title="just begun").read_text(encoding="utf-8"))
    assert "just begun" in page.text and not [tag for tag, _ in page.found if tag in ("svg", "img", "table")]


def test_old_page_stays_when_writing_fails(run):
    folder, _ = run
    before = write_page(folder).read_bytes()
    (folder / "result.json").write_text('{"columns": [')
    with pytest.raises(UserError, match=r"result\.json is not JSON"):
        write_page(folder)
    assert (folder / "index.html").read_bytes() == before
    assert not list(folder.glob("*.new"))


def test_no_run_there(tmp_path):
    with pytest.raises(UserError, match="there is no run"):
        write_page(tmp_path / "typo")


def test_large_pictures_become_jpeg_and_early_ones_are_thinned(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    y, x = np.mgrid[:500, :500]
    large = np.stack([y / 2, x / 2, y / 4 + x / 4], -1) + rng.normal(0, 6, (500, 500, 3))
    large = np.clip(large, 0, 255).astype(np.uint8)
    for step in range(1, 31):
        Image.fromarray(large if step == 30 else large[:8, :8]).save(tmp_path / f"pictures/depth_{step:07d}.png")
    page = Reader(write_page(tmp_path).read_text(encoding="utf-8"))
    images = [(attrs["alt"], attrs["src"]) for tag, attrs in page.found if tag == "img"]
    steps = [int(alt.rpartition(" ")[2]) for alt, _ in images]
    assert steps == sorted(steps, reverse=True) and len(steps) == 6 and {30, 29, 1} <= set(steps)
    kind, data = images[0][1].split(",", 1)
    assert kind == "data:image/jpeg;base64"
    shown = np.array(Image.open(io.BytesIO(base64.b64decode(data)))).astype(float)
    assert np.abs(shown - large).mean() < 6


def points(svg):
    """The dots' and lines' corners by class."""
    lines = {c: [tuple(map(float, p.split(","))) for p in t.split()] for c, t in LINE.findall(svg)}
    return lines, [(float(x), float(y)) for x, y in DOT.findall(svg)]


LINE = re.compile(r'<polyline class="(\w+)" points="([^"]*)"')
DOT = re.compile(r'<circle class="dot" cx="([\d.]+)" cy="([\d.]+)"')


def test_curve_is_in_proportion():
    lines, dots = points(chart.curve({100: 1.0, 105: 2.0, 120: 4.0}, label="loss", first=100, last=120))
    (x0, y0), (x1, y1), (x2, y2) = dots
    assert lines["line"] == dots and (x0, x2) == (52, 408)  # the whole width
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.25, abs=1e-3)
    assert (y0 - y1) / (y0 - y2) == pytest.approx(1 / 3, abs=2e-3)  # upwards is a smaller y
    assert y0 > y2


def test_wide_range_is_drawn_on_a_logarithmic_axis():
    decay = {step: 10.0 ** (3 - step) for step in range(7)}
    svg = chart.curve(decay, label="loss", first=0, last=6)
    assert "log scale" in svg
    _, dots = points(svg)
    np.testing.assert_allclose(np.diff([y for _, y in dots]), (dots[-1][1] - dots[0][1]) / 6, atol=0.11)
    assert "log scale" not in chart.curve({s: 1.0 + s for s in range(200)}, label="loss", first=0, last=199)
    assert "log scale" not in chart.curve({s: v - 1 for s, v in decay.items()}, label="loss", first=0, last=6)


def test_ticks_of_the_axis_stand_at_their_values():
    values = {0: 0.0, 10: 8.0}
    svg = chart.curve(values, label="loss", first=0, last=10)
    (_, y0), (_, y1) = points(svg)[1]
    marks = re.findall(r'<text class="axis" x="46" y="([\d.]+)" text-anchor="end">([^<]+)<', svg)
    assert len(marks) >= 4
    for y, text in marks:
        assert float(y) - 4 == pytest.approx(y0 + (y1 - y0) * float(text) / 8, abs=0.15)


def test_stages_are_marked_where_they_begin():
    svg = chart.curve({0: 0.0, 100: 1.0}, label="x", first=0, last=100, stages=[("coarse", 0), ("fi<ne", 25)])
    (x0, _), (x1, _) = points(svg)[1]
    (mark,) = re.findall(r'<line class="stage" x1="([\d.]+)"', svg)
    assert float(mark) == pytest.approx(x0 + 0.25 * (x1 - x0), abs=0.1)
    assert "fi&lt;ne" in svg and "coarse" not in svg


def test_long_noisy_curve_is_thinned_without_losing_its_extremes():
    rng = np.random.default_rng(0)
    noisy = {step: 5 + rng.normal() for step in range(20_000)}
    noisy[12_345] = 30.0
    svg = chart.curve(noisy, label="x", first=0, last=20_000)
    lines, _ = points(svg)
    assert len(lines["raw"]) < 700 and len(svg) < 60_000
    assert "12345,30," in svg
    heights = [y for _, y in lines["line"]]
    assert max(heights) - min(heights) < 0.1 * (max(y for _, y in lines["raw"]) - min(y for _, y in lines["raw"]))


def test_smooth_keeps_a_straight_line_and_the_mean():
    ramp = np.arange(100.0)
    np.testing.assert_allclose(chart._smooth(ramp), ramp, atol=1e-9)


def test_values_that_are_not_finite_are_counted():
    svg = chart.curve({0: 1.0, 1: float("nan"), 2: 2.0, 3: float("inf")}, label="loss", first=0, last=3)
    assert "2 not finite" in svg and len(points(svg)[1]) == 2
    assert "none finite" in chart.curve({0: float("nan")}, label="loss", first=0, last=3)


def test_constant_and_single_values_can_be_drawn():
    for values in ({3: 0.5}, {1: 2.0, 2: 2.0}, {1: 0.0, 9: 0.0}):
        _, dots = points(chart.curve(values, label="x", first=1, last=9))
        assert len(dots) == len(values) and all(12 <= y <= 194 and 52 <= x <= 408 for x, y in dots)


def test_intersection_over_union_is_better_when_higher():
    columns = ["", "label/mean_iu", "label/frequency_weighted_iu", "label/mean_accuracy"]
    text = results_html({"columns": columns, "rows": [["ours", 0.4, 0.5, 0.6], ["mean", 0.1, 0.2, 0.3]]})
    assert "mean_iu ↑" in text and "frequency_weighted_iu ↑" in text and "mean_accuracy ↑" in text and "↓" not in text
    assert all(f"<b>{best}</b>" in text for best in (0.4, 0.5, 0.6)) and text.count("<b>") == 3


def test_a_group_of_many_curves_is_folded(tmp_path):
    log = Log(tmp_path)
    log.resume(0)
    for step in (1, 2):
        log.scalars(
            step,
            {f"test/iu/class {i}{'/b' * (i > 11)}": 0.1 * step for i in range(13)} | {"test/label/mean_iu": 0.1 * step},
        )
    log.close()
    text = write_page(tmp_path).read_text()
    assert "<summary>test/iu: 13 curves</summary>" in text and "<h3>test/label</h3>" in text


def test_a_wide_table_has_a_line_for_each_score_and_no_rows_without_any():
    classes = [f"iu/a class with a name {i}" for i in range(9)]
    rows = [["this run", 0.5, *np.arange(9) / 10], ["frequent", 0.25, 1.0, *[0.0] * 8], ["paper", 0.75, *[None] * 9]]
    labels, each = table({"columns": ["", "label/mean_iu", *classes], "rows": rows}).split("\n\n")
    assert [line.split() for line in labels.splitlines()] == [
        ["label", "mean_iu"], ["this", "run", "0.500"], ["frequent", "0.250"], ["paper", "0.750"]
    ]  # fmt: skip
    first, *lines = each.splitlines()
    assert first.split() == ["iu", "this", "run", "frequent"] and len(lines) == 9 and max(map(len, lines)) <= 120
    rows = [[f"a network with a name that takes a good part of a line {i}", *[0.5] * 5] for i in range(4)]
    wide = table({"columns": ["", *(f"label/score {i} of them" for i in range(5))], "rows": rows}).splitlines()
    assert len(wide) == 5 and len(wide[0]) > 120  # turned it would be wider still
    assert lines[8].split() == ["a", "class", "with", "a", "name", "8", "0.800", "0.000"]


def test_columns_named_after_joints_have_their_tables_direction():
    columns = ["", "pose_r5/mean", "pose_sigma/wrist", "repair/spoilt", "iu/sky"]
    text = results_html({"columns": columns, "rows": [["ours", 1.0, 2.0, 3.0, 0.5]]})
    assert "sky ↑" in text and "mean ↑" in text and "wrist ↓" in text and "spoilt ↓" in text
