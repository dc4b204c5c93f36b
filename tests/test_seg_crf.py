"""The dense CRF after a finished run: it moves labels to the edges of colours, and both scores are right."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import seg_crf, seg_pet
from pixlab import cli
from pixlab.nn.dense_crf import Kernels, exact_dense_crf
from pixlab.run import Run


def two_halves(height=12, width=16):
    """A picture whose left is dark and whose right is bright, and its labels."""
    label = np.zeros((height, width), np.int64)
    label[:, width // 2 :] = 1
    rng = np.random.default_rng(0)
    return np.float32(0.2 + 0.6 * label[..., None] + 0.02 * rng.normal(size=(height, width, 3))), label


def test_labels_move_to_the_edge_of_the_colours():
    image, label = two_halves()
    wrong = np.roll(label, 2, axis=1)  # two columns too late, and the first two
    logits = np.float32(0.5 * np.stack([wrong == 0, wrong == 1], -1))
    found = seg_crf.refined(logits, image, Kernels())
    np.testing.assert_array_equal(found.argmax(-1), label)
    exact = np.asarray(exact_dense_crf(jnp.asarray(logits), jnp.asarray(image), Kernels()))
    assert np.abs(np.exp(found) - exact).mean() < 0.02
    np.testing.assert_allclose(np.exp(found).sum(-1), 1, atol=1e-4)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Of a U-Net on four pictures of two halves."""
    folder = tmp_path_factory.mktemp("halves")
    image, label = two_halves(16, 24)
    for index in range(4):
        Image.fromarray(np.uint8(255 * np.clip(image, 0, 1))).save(folder / f"{index}.png")
        Image.fromarray(np.uint8(label)).save(folder / f"{index}_label.png")
    small = dict(source=f"label_folder:{folder}", size=(16, 24), crop=(16, 24), base=2, steps=2, batch=2, workers=1)
    settings = dataclasses.replace(
        seg_pet.CONFIGS["quick"], **small, eval_every=0, run=str(tmp_path_factory.mktemp("run") / "run")
    )
    return cli.execute(seg_pet.experiment, "quick", settings)


def test_before_is_the_runs_own_score_and_pictures_are_written(run, tmp_path, capsys):
    seg_crf.main([str(run.folder), "--out", str(tmp_path), "--iterations", "2"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["before", "after"]
    before = {name: float(value) for name, value, _ in lines[1:]}
    for name, value in zip(run.result["columns"][1:], run.result["rows"][0][1:], strict=True):
        assert before[name] == pytest.approx(value, abs=1e-4, nan_ok=True)
    tests = len(run.data().splits["test"].source)
    assert len(list(tmp_path.glob("*_after.png"))) == len(list(tmp_path.glob("*_before.png"))) == tests


def test_mistakes_end_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        seg_crf.main([str(tmp_path / "none")])
    said = capsys.readouterr().err
    assert left.value.code == 2 and said.startswith("error: ") and said.count("\n") == 1
