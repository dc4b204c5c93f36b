"""Records say what a run says, hold no path of a machine, and the README's results are those of the records."""

import copy
import dataclasses
import importlib
import json
import pathlib
import re
import shlex
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest
import toy

from experiments import record as command_line
from pixlab.cli import parse
from pixlab.data.pipeline import Data, Split
from pixlab.errors import UserError
from pixlab.records import check, command, make_record, public, read_records, scores_elsewhere, unlike_paper
from pixlab.records_table import replace_section, rows, section
from pixlab.run import Experiment, Run
from pixlab.shipped import folder_of

RESULTS = command_line.RESULTS
RECORDS = read_records(RESULTS)


@dataclasses.dataclass(frozen=True)
class Config(toy.Config):
    """The toy with a source and options of every kind."""

    source: str = "made_up"
    """made_up or folder:PATH."""
    sizes: tuple[int, ...] = (8, 8)
    mirror: bool = True
    weights: str = ""


def data(config: Config) -> Data:
    """The toy's frames; those of another source are darker."""
    made = toy.data(config)
    if config.source == "made_up":
        return made
    dark = [{name: x / 2 for name, x in frame.items()} for frame in toy.frames(5, 2)]
    return dataclasses.replace(made, splits={**made.splits, "test": Split(dark, lambda frame: frame)})


def answers(config: Config, data: Data):
    """The training set's mean for each pixel."""
    mean = float(np.mean([frame["truth"] for frame in data.splits["train"].source]))
    return {"mean": lambda params, carry, batch: {"map": jnp.full_like(batch["truth"], mean)}}


experiment = Experiment(
    "recorded_toy",
    {"quick": Config(first=3, second=2), "paper": Config(batch=16, first=3, second=2)},
    toy.recipe,
    data,
    baselines=answers,
    published=lambda config: {"Net": {"map/mse": 0.25, "map/unknown": 1.0}},
    paper="paper",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        module = types.ModuleType("recorded_toy")
        module.experiment = experiment
        patch.setitem(sys.modules, "recorded_toy", module)
        made = experiment.main(["quick", "--source", "folder:/home/me/frames", "--no-mirror", "--run", str(folder)])
        edit(folder / "config.json", lambda saved: saved["provenance"].update(commit="0123456789ab"))
        yield made


@pytest.fixture
def record(run):
    return make_record(run, images={"train": 21, "test": 5})


def edit(path: pathlib.Path, change) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_a_record_has_what_the_run_has(run, record):
    table = {row[0]: dict(zip(run.result["columns"][1:], row[1:], strict=True)) for row in run.result["rows"]}
    assert record["metrics"] == table["this run"]
    assert record["baselines"] == {"mean": table["mean"]}
    assert record["published"] == {"Net": {"map/mse": 0.25}}  # what the run does not score is left out
    assert record["steps"] == [["coarse", 3], ["fine", 2]]
    assert record["commit"] == "0123456789ab"
    assert record["seconds"] >= run.result["seconds"] > 0
    assert not record["paused"]
    assert record["versions"]["jax"]
    check(json.loads(json.dumps(record)), "written and read")


def test_the_command_has_what_differs_from_the_config_and_no_path(run, record):
    assert record["command"] == "python -m recorded_toy quick --source folder:PATH --no-mirror"
    assert "/home" not in json.dumps(record)
    changed = dataclasses.replace(run.config, sizes=(4, 6), weights="/data/vgg.pth", log_every=3, mirror=True)
    expected = "python -m recorded_toy quick --source folder:PATH --sizes 4 6 --weights PATH/vgg.pth"
    assert command(experiment, "quick", changed) == expected


def test_a_run_that_is_tested_on_other_data_names_both(record):
    apart = record | {"data": {"name": "Five", "source": "t91", "test": "set5", "images": {"train": 900, "test": 5}}}
    assert "; t91: 900 train examples; Five: 5 test images; " in section({"toy": apart})
    same = record | {"data": apart["data"] | {"test": "t91"}}
    assert "; Five: 900 train, 5 test images; " in section({"toy": same})


def test_names_of_the_catalogue_are_no_paths():
    assert public("flic:full") == "flic:full" and public("pose_folder:lsp") == "pose_folder:PATH"
    assert public("rooms") == "rooms" and public(3) == 3


def test_the_command_gives_the_config_again(run):
    config = dataclasses.replace(run.config, source="made_up", sizes=(4, 6), lr=0.5, weights="a b")
    words = shlex.split(command(experiment, "quick", config))[3:]
    assert parse(experiment, words)[1] == dataclasses.replace(config, run="")


def test_what_differs_from_the_paper(run):
    assert unlike_paper(experiment, run.config)["batch"] == [8, 16]
    assert not {"first", "seed", "run", "log_every"} & set(unlike_paper(experiment, run.config))
    assert unlike_paper(dataclasses.replace(experiment, paper=""), run.config) == {}
    each = dataclasses.replace(experiment, paper=lambda config: "quick" if config.batch == 8 else "")
    assert "batch" not in unlike_paper(each, run.config) and each.papers(experiment.configs["paper"]) == ""


def test_scores_elsewhere_are_those_of_the_other_images(run):
    here = scores_elsewhere(run, "folder:/home/me/frames")
    assert here["metrics"] == pytest.approx(run.evaluate("test"))
    there = scores_elsewhere(run, "made_up", "noise")
    assert there["data"] == {"name": "noise", "source": "made_up", "images": {"test": 11}}
    mean = np.mean([frame["truth"] for frame in toy.frames(21, 0)])
    errors = [np.mean((frame["truth"] - mean) ** 2) for frame in toy.frames(11, 1)]
    assert there["baselines"]["mean"]["map/mse"] == pytest.approx(np.mean(errors), rel=1e-4)


def test_a_run_that_went_on_later_says_so(run, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("config.json", "result.json", "status.json"):
        (folder / name).write_bytes((run.folder / name).read_bytes())
    edit(folder / "config.json", lambda saved: saved["provenance"].update(started="2026-01-01T00:00:00+00:00"))
    edit(folder / "config.json", lambda saved: saved.update(resumed=[{"commit": c * 12} for c in "aba"]))
    edit(folder / "status.json", lambda status: status.update(time=1767225600.0 + 3600))  # an hour after that
    made = make_record(Run(folder, experiment, run.config), images={"test": 5})
    assert made["paused"]
    assert made["commit"] == "0123456789ab aaaaaaaaaaaa bbbbbbbbbbbb"
    assert made["seconds"] == 3600
    assert "1h00m with pauses" in section({"toy": made})


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("status.json", lambda status: status.update(state="stopped"), "stopped, not finished"),
        ("config.json", lambda saved: saved["provenance"].update(commit=""), "from which commit"),
        ("config.json", lambda saved: saved.pop("provenance"), "from which commit"),
        ("result.json", lambda result: result["rows"][0].__setitem__(1, float("nan")), "only finite scores"),
    ],
)
def test_what_is_no_result_is_not_recorded(run, tmp_path, name, change, words):
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in ("config.json", "result.json", "status.json"):
        (folder / file).write_bytes((run.folder / file).read_bytes())
    edit(folder / name, change)
    with pytest.raises(UserError, match=words):
        make_record(Run(folder, experiment, run.config), images={"test": 5})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.pop("commit"), "commit"),
        (lambda r: r.update(extra=1), "extra"),
        (lambda r: r.update(hardware=""), "hardware"),
        (lambda r: r.update(note="trained in /home/me/frames"), "no path"),
        (lambda r: r.update(note=r"trained in D:\frames"), "no path"),
        (lambda r: r["data"].update(source="folder:~/frames"), "no path"),
        (lambda r: r["baselines"]["mean"].update({"map/mse": None}), "map/mse is None"),
        (lambda r: r["elsewhere"].append({**r, "metrics": {"map/mse": float("inf")}}), "map/mse is inf"),
    ],
)
def test_a_record_that_says_too_little_or_too_much_is_refused(record, change, words):
    changed = copy.deepcopy(record)
    change(changed)
    with pytest.raises(UserError, match=words):
        check(changed, "this one")


def test_a_slash_is_not_a_path(record):
    check({**record, "note": "scores at 1/2 of the size, as scale1/conv has it; https://arxiv.org/abs/1411.4734"}, "r")


def test_the_table_has_runs_then_baselines_then_published(record):
    other = {**copy.deepcopy(record), "config": "paper"}
    other["metrics"] = {"map/mse": 12.5, "edges/f1": 0.5, "iu/sky": 0.25}
    other["elsewhere"] = [
        {"data": {"name": "street", "images": {"test": 3}}, "metrics": {"map/mse": 1.0}, "baselines": {}}
    ]
    made = rows([record, other], "map")
    assert [(row.name, row.data, row.runs) for row in made] == [
        ("recorded_toy quick", "folder:PATH, 5 images", (1,)),
        ("recorded_toy paper", "folder:PATH, 5 images", (2,)),
        ("recorded_toy paper", "street, 3 images", (2,)),
        ("mean", "folder:PATH, 5 images", (1, 2)),  # equal rows of two runs are one
        ("Net (published)", "", (1, 2)),
    ]
    text = section({"a": record, "b": other})
    assert text.index("### map") < text.index("### edges") < text.index("1. `python -m recorded_toy quick")
    assert "| **recorded_toy paper** | folder:PATH, 5 images | 12.5 | 2 |" in text
    assert "batch 8 (not 16)" in text and "sky" not in text  # records have scores of each class, the README has not


def test_text_between_the_marks_is_replaced():
    readme = "a\n<!-- results -->\nold\n<!-- /results -->\nb\n"
    new = replace_section(readme, "table")
    assert new == "a\n<!-- results -->\n\ntable\n\n<!-- /results -->\nb\n"
    assert replace_section(new, "table") == new
    for wrong in ("no marks", readme + readme, "<!-- /results --> <!-- results -->"):
        with pytest.raises(UserError, match="marks"):
            replace_section(wrong, "table")


def test_the_command_writes_record_and_readme(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command_line, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(command_line, "README", tmp_path / "README.md")
    monkeypatch.setattr(command_line, "ROOT", tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2"\n')
    (tmp_path / "README.md").write_text("<!-- results -->\n<!-- /results -->\n")
    words = [str(run.folder), "--data", "dark noise", "--also", "noise=made_up", "--note", "One seed", "--readme"]
    words += ["--also", "more noise=made_up"]
    command_line.main(words)
    assert capsys.readouterr().out.strip() == "results/recorded_toy-quick.json"
    [made] = read_records(tmp_path / "results").values()
    assert made["versions"]["pixlab"] == "1.2"
    text = (tmp_path / "README.md").read_text()
    for words_there in (
        "dark noise, 5 images",
        "| noise, 11 images",
        "more noise, 11 images",
        "One seed.",
        "21 train, 5 test images",
    ):
        assert words_there in text
    command_line.main(words)  # the same run again is no conflict
    assert (tmp_path / "README.md").read_text() == text
    edit(run.folder / "config.json", lambda saved: saved["provenance"].update(commit="aaaaaaaaaaaa"))
    for wrong, line in (
        (words, "is of another run"),
        ([], "give a run folder"),
        ([*words[:4], "noise"], "NAME=SOURCE"),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            command_line.main(wrong)
        assert stopped.value.code == 2
        error = capsys.readouterr().err
        assert line in error and error.count("\n") == 1
    edit(run.folder / "config.json", lambda saved: saved["provenance"].update(commit="0123456789ab"))


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_is_of_an_experiment_that_is_here(name):
    found = importlib.import_module(RECORDS[name]["experiment"]).experiment
    assert RECORDS[name]["config"] in found.configs
    assert re.fullmatch(r"[0-9a-f]{7,40}(\+changes)?( [0-9a-f]{7,40}(\+changes)?)*", RECORDS[name]["commit"])


def test_the_readme_has_the_results_of_the_records():
    text = command_line.README.read_text()
    assert text == replace_section(text, section(RECORDS)), "give: python -m experiments.record --readme"


@pytest.mark.parametrize(("name", "least"), [("sr_t91-srcnn_x3", 32.3), ("sr_t91-fsrcnn_x3", 33.0)])
def test_what_ships_was_recorded_near_the_papers_figures(name, least):
    record = read_records(RESULTS)[name]
    assert record["data"]["name"] == "Set5" and record["metrics"]["luminance_x3/psnr"] >= least
    shipped = folder_of(name.removeprefix("sr_t91-").replace("_", "-"))
    assert json.loads((shipped / "record.json").read_text()) == record


def test_of_joined_sources_each_is_without_its_path():
    assert public("t91+photos:/data/bsd200") == "t91+photos:PATH" and public("t91+set5") == "t91+set5"
