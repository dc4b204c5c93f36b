"""Pictures of finished runs on pose: rates by radius, what a spatial model has learnt."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from experiments import pose_ablation, pose_curves, pose_flic, pose_kernels
from pixlab.data.figures import JOINTS, figure
from pixlab.data.people import People
from pixlab.data.pipeline import Data, Split
from pixlab.errors import UserError
from pixlab.metrics.pose import RADII
from pixlab.run import Run

TINY = ("--size", "48", "64", "--window", "12", "16", "--width", "2", "--banks", "1", "--batch", "2", "--workers", "1")
STEPS = ("--detector-steps", "1", "--spatial-steps", "1", "--joint-steps", "1")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    frames = []
    for seed in range(4):
        image, places = figure(np.full((48, 64, 3), 90, np.uint8), np.random.default_rng(seed))
        frames.append({"image": image, "joints": places})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pixlab.data.pose_examples.open_people", lambda source, split: People(frames, JOINTS))
        yield pose_flic.main([*TINY, *STEPS, "--run", str(tmp_path_factory.mktemp("runs") / "run")])


def test_curves_say_what_the_run_scored(run):
    curves = pose_curves.curves_of(run, run.recipe.predict)
    again = run.evaluate()
    for joint in ("nose", "wrist", "mean"):
        assert curves[joint].shape == (len(RADII),) and (np.diff(curves[joint]) >= 0).all()
        for radius in (5, 10, 20):
            assert curves[joint][radius] == pytest.approx(again[f"pose_r{radius}/{joint}"])


def test_joints_that_nobody_labelled_have_no_curve(run, monkeypatch):
    whole = run.data().splits["test"]

    def without(*names):
        hidden = [run.config.joints.index(name) for name in names]

        def blind(frame):
            example = whole.map(frame)
            example["known"][hidden] = 0
            return example

        return Data(batch=2, splits={"test": Split(whole.source, blind)}, workers=1)

    monkeypatch.setattr(run, "data", lambda: without("nose", "left_wrist"))
    curves = pose_curves.curves_of(run, run.recipe.predict)
    assert "nose" not in curves and "wrist" in curves and np.isfinite(curves["mean"]).all()
    monkeypatch.setattr(run, "data", lambda: without(*run.config.joints))
    with pytest.raises(UserError, match="none of its joints is labelled"):
        pose_curves.curves_of(run, run.recipe.predict)


def test_a_plot_for_one_run_has_a_line_for_each_joint(run, tmp_path, capsys):
    pose_curves.main([str(run.folder), "--out", str(tmp_path / "one.svg")])
    drawn = ET.parse(tmp_path / "one.svg").getroot()
    words = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"nose", "shoulder", "elbow", "wrist", "hip", "mean"} <= set(words)
    assert str(tmp_path / "one.svg") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "give one run folder"),
        (("{run}", "--joint", "tail"), "--joint tail: there are nose"),
        (("nowhere",), "no run here"),
    ],
)
def test_curves_of_what_is_not_there(run, args, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        pose_curves.main([arg.format(run=run.folder) for arg in args])
    assert words in capsys.readouterr().err


def test_kernels_are_drawn(run, tmp_path, capsys):
    out = tmp_path / "kernels.png"
    pose_kernels.main([str(run.folder), "--joints", "left_wrist", "--given", "left_elbow", "torso", "--out", str(out)])
    picture = np.array(Image.open(out))
    assert picture.shape[1] > 2 * 160 and picture.shape[0] > 120
    with pytest.raises(SystemExit, match="2"):
        pose_kernels.main([str(run.folder), "--joints", "tail", "--out", str(out)])
    assert "has no tail; it has nose" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        pose_kernels.main([str(run.folder), "--joints", "nose", "--given", "nose", "--out", str(out)])
    assert "nose given itself is where it is; give others with --given" in capsys.readouterr().err


def test_the_ablation_is_a_mean_over_seeds(tmp_path, monkeypatch):
    def rows(command, seed):
        curve = np.linspace(0, 60 + 20 * seed, len(RADII))
        return {"a": {"wrist": curve, "mean": curve / 2}, "b": {"wrist": curve + 1, "mean": curve}}

    monkeypatch.setattr(pose_ablation, "rows", rows)
    pose_ablation.write(pose_ablation.Command(seeds=(0, 1), out=tmp_path / "pose.md"))
    text = (tmp_path / "pose.md").read_text()
    assert "| a | 10 | 35.0 | 17.5 | 15.0, 20.0 |" in text and "| b | 20 | 71.0 | 70.0 | 60.0, 80.0 |" in text
    assert "![Detection rate of the wrist by radius](pose.svg)" in text
    lines = list(ET.parse(tmp_path / "pose.svg").getroot().iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(lines) == 2
