"""Weights that come with pixlab: written from a finished run, found by name, in the wheel."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import enlarge
import jax
import numpy as np
import pytest
from PIL import Image

from experiments import ship
from pixlab import shipped
from pixlab.__main__ import main
from pixlab.core import EMA
from pixlab.data.images import read_image
from pixlab.errors import UserError
from pixlab.records import make_record
from pixlab.run import Run, write_json

ROOT = pathlib.Path(__file__).parents[1]
NAME = "enlarge-x2"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A finished run, from a commit."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    run = enlarge.main(["quick", "--source", "folder:/home/me/photos", "--run", str(folder), "--workers", "2"])
    enlarge.committed(folder)
    return run


@pytest.fixture(scope="module")
def record(run) -> pathlib.Path:
    path = run.folder.parent / "record.json"
    write_json(path, make_record(run, images={"train": 4, "test": 2}, data="noise"))
    return path


@pytest.fixture(scope="module")
def folder(run, record, tmp_path_factory):
    """The folder of shipped weights, with those of the run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipped, "FOLDER", tmp_path_factory.mktemp("package") / "weights")
        ship.main([str(run.folder), NAME, "--record", str(record)])
        yield shipped.FOLDER


def fails(capsys, command, *args) -> str:
    """The one line that a command ends with, at exit status 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        command([str(a) for a in args])
    lines = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and len(lines) == 1 and lines[0].startswith("error: "), lines
    return lines[0]


def test_shipped_weights_predict_and_score_as_their_run(run, folder):
    ours = Run.open(NAME)
    assert ours.folder == folder / NAME and not ours.unfinished
    photos = [np.random.default_rng(0).integers(0, 256, (n, 40, 3), np.uint8) for n in (7, 40)]
    for (maps, pictures), (theirs, shown) in zip(ours.predict(photos), run.predict(photos), strict=True):
        np.testing.assert_array_equal(maps["high"], theirs["high"])
        np.testing.assert_array_equal(pictures["high"], shown["high"])
    assert ours.evaluate(source="noise") == run.evaluate()


def test_what_is_written_is_small_and_says_nothing_of_the_machine(run, folder, record):
    written = folder / NAME
    assert {path.name for path in written.iterdir()} == {"config.json", "weights.npz", "record.json"}
    assert [path.name for path in folder.iterdir()] == [NAME]  # nothing is left beside it
    with np.load(written / "weights.npz") as file:
        arrays = dict(file)
    assert int(arrays.pop("step")) == 2 and {x.dtype for x in arrays.values()} == {np.dtype(np.float32)}
    assert {name.split("/")[1] for name in arrays} == {"enlarger"}  # the judge is for training alone
    averaged = run.state.carry[EMA]["enlarger"]["Conv_0"]["kernel"]
    np.testing.assert_array_equal(arrays["params/enlarger/Conv_0/kernel"], averaged)
    statistics = run.state.carry["enlarger"]["batch_stats"]["BatchNorm_0"]["mean"]
    np.testing.assert_array_equal(arrays["carry/enlarger/batch_stats/BatchNorm_0/mean"], statistics)
    assert sum(x.size for x in arrays.values()) == sum(
        x.size for x in jax.tree.leaves((run.state.params["enlarger"], run.state.carry["enlarger"]))
    )
    saved = json.loads((written / "config.json").read_text())
    assert saved["fields"]["source"] == "folder:PATH" and saved["fields"]["run"] == ""
    assert saved["fields"]["workers"] == 1 and saved["about"] == "Enlarges by two."
    assert not re.search(r"/home|/tmp", (written / "config.json").read_text())
    assert json.loads((written / "record.json").read_text()) == json.loads(record.read_text())


def test_the_command_line_takes_names(run, folder, tmp_path, monkeypatch, capsys):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)).save(tmp_path / "photo.png")
    main(["predict", NAME, str(tmp_path / "photo.png"), "--out", str(tmp_path / "out")])
    assert read_image(tmp_path / "out" / "photo_high.png").shape == (60, 40, 3)
    capsys.readouterr()
    main(["evaluate", NAME, "--source", "noise"])
    assert f"high/mse{' ' * 17}{run.result['rows'][0][1]:.4f}" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    main(["export", NAME])
    assert (tmp_path / f"{NAME}.stablehlo").exists() and len(list((folder / NAME).iterdir())) == 3
    said = fails(capsys, main, "predict", "enlarge-x3", tmp_path / "photo.png")
    assert "enlarge-x3: no run here" in said and said.endswith(f"shipped are {NAME}")
    (tmp_path / NAME).mkdir()  # a folder goes before a name
    assert "no run here" in fails(capsys, main, "predict", NAME, tmp_path / "photo.png")
    with pytest.raises(UserError, match=r"shipped weights come without a result; record\.json has their scores"):
        _ = Run.open(folder / NAME).result


def test_the_list_says_what_they_are_and_what_they_score(run, folder, capsys):
    main(["weights"])
    lines = capsys.readouterr().out.splitlines()
    size = (folder / NAME / "weights.npz").stat().st_size
    assert lines[0] == f"{NAME}: Enlarges by two."
    assert "python -m enlarge quick --source folder:PATH" in lines[1]
    assert lines[2].split(maxsplit=1) == ["scores", f"noise: high/mse {run.result['rows'][0][1]:.4g}"]
    assert lines[3].split() == ["size", f"{size / 1000:.0f}", "kB"]
    assert lines[-1] == "python -m pixlab predict NAME photo.jpg"


def copied(run: Run, folder: pathlib.Path, **changes) -> pathlib.Path:
    shutil.copytree(run.folder, folder)
    for name, change in changes.items():
        path = folder / f"{name}.json"
        value = json.loads(path.read_text())
        change(value)
        path.write_text(json.dumps(value))
    return folder


def test_what_is_not_shipped(run, record, folder, tmp_path, monkeypatch, capsys):
    def refused(*args):
        said = fails(capsys, ship.main, *args)
        assert [path.name for path in folder.iterdir()] == [NAME]
        return said

    more = copied(run, tmp_path / "more", config=lambda saved: saved["fields"].update(steps=9))
    assert "has made 2 of its 9 steps" in refused(more, "new", "--record", record)
    running = copied(run, tmp_path / "running", status=lambda status: status.update(state="running"))
    assert "is running, not finished" in refused(running, "new", "--record", record)
    other = copied(run, tmp_path / "other", result=lambda result: result["rows"][0].__setitem__(1, 0.5))
    assert "is of another run (its metrics)" in refused(other, "new", "--record", record)
    earlier = copied(run, tmp_path / "earlier", config=lambda saved: saved["provenance"].update(commit="a" * 12))
    assert "is of another run (its commit)" in refused(earlier, "new", "--record", record)
    assert "no such file" in refused(run.folder, "new", "--record", tmp_path / "none.json")
    assert "enlarge-quick.json: no such file" in refused(run.folder, "new")  # where records are kept
    (tmp_path / "text.json").write_text("[]")
    assert "no record" in refused(run.folder, "new", "--record", tmp_path / "text.json")
    assert "small letters" in refused(run.folder, "../new", "--record", record)
    monkeypatch.setattr(ship, "LIMIT", 1000)
    assert "its weights are 0.0 MB; at most 0.001 MB" in refused(run.folder, "new", "--record", record)


def test_weights_that_do_not_predict_what_the_run_does_are_not_kept(run, record, folder, monkeypatch, capsys):
    write = shipped.write_weights
    dark = lambda tree: jax.tree.map(lambda x: 0.9 * x, tree)  # noqa: E731
    monkeypatch.setattr(shipped, "write_weights", lambda path, params, *rest: write(path, dark(params), *rest))
    before = (folder / NAME / "weights.npz").read_bytes()
    said = fails(capsys, ship.main, run.folder, NAME, "--record", record)
    assert "does not predict the same 'high'" in said
    assert (folder / NAME / "weights.npz").read_bytes() == before and len(list(folder.iterdir())) == 1


def test_damaged_weights_and_those_of_another_network(run, folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "weights")
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "weights")
    path = tmp_path / "weights" / NAME / "weights.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"weights.npz: damaged \(.*\); install pixlab again"):
        _ = Run.open(NAME).state
    path.write_bytes(whole)
    config = path.with_name("config.json")
    saved = json.loads(config.read_text())
    saved["fields"]["width"] = 7
    config.write_text(json.dumps(saved))
    with pytest.raises(UserError, match="'enlarger' is not the network that this code makes"):
        _ = Run.open(NAME).state


def test_the_wheel_has_the_weights(tmp_path, folder):
    pytest.importorskip("setuptools", minversion="77")
    source = tmp_path / "source"
    for part in ("pixlab", "experiments"):
        (source / part).mkdir(parents=True)
        (source / part / "__init__.py").touch()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(folder, source / "pixlab" / "weights")
    shutil.copy(ROOT / "pixlab" / "weights" / "README.md", source / "pixlab" / "weights")
    code = "from setuptools.build_meta import build_wheel; import sys; build_wheel(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    there = {name for name in zipfile.ZipFile(wheel).namelist() if "weights" in name}
    assert there == {f"pixlab/weights/{NAME}/{file}" for file in ("config.json", "weights.npz", "record.json")}
