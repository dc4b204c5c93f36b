"""The dense CRF after a finished run: it moves labels to the edges of colours, and both scores are right."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import seg_crf
from pixlab import seg_task
from pixlab.core import Recipe, Stage, State
from pixlab.nn.dense_crf import NORMALISATIONS, Kernels, appearance_lattice, dense_crf, exact_dense_crf
from pixlab.run import Experiment, Run


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
    found = seg_crf.refined(logits, {"image": image}, Kernels())
    np.testing.assert_array_equal(found.argmax(-1), label)
    exact = exact_dense_crf(jnp.asarray(logits), jnp.asarray(image), Kernels(), normalisation="after")
    assert np.abs(np.exp(found) - exact).mean() < 0.02
    np.testing.assert_allclose(np.exp(found).sum(-1), 1, atol=1e-4)


@pytest.mark.parametrize("how", NORMALISATIONS)
def test_the_normalisation_is_the_one_that_is_asked_for(how):
    image, label = two_halves()
    logits = np.float32(0.5 * np.stack([label == 0, label == 1], -1))
    lattice = appearance_lattice(image)
    expected = {name: dense_crf(jnp.asarray(logits), lattice, normalisation=name) for name in NORMALISATIONS}
    found = np.exp(seg_crf.refined(logits, {"image": image}, Kernels(), normalisation=how))
    assert min(NORMALISATIONS, key=lambda name: np.abs(found - expected[name]).max()) == how
    np.testing.assert_allclose(found, expected[how], atol=1e-6)


def test_what_lies_beyond_a_picture_has_no_part():
    image, label = two_halves()
    logits = np.float32(0.5 * np.stack([np.roll(label, 2, axis=1) == c for c in (0, 1)], -1))
    below = ((0, 5), (0, 7), (0, 0))
    example = {"image": np.pad(image, below), "seen": np.array([12, 16], np.int32)}
    found = seg_crf.refined(np.pad(logits, below, constant_values=9.0), example, Kernels())
    np.testing.assert_array_equal(found[:12, :16], seg_crf.refined(logits, {"image": image}, Kernels()))
    assert (found[12:] == 9).all() and (found[:, 16:] == 9).all()


@pytest.fixture
def run(tmp_path) -> Run:
    """A network that takes bright pixels for class 1, and sees all of them two columns too late."""
    (folder := tmp_path / "halves").mkdir()
    image, label = two_halves(16, 24)
    for index in range(4):
        Image.fromarray(np.uint8(255 * np.clip(image, 0, 1))).save(folder / f"{index}.png")
        Image.fromarray(np.uint8(label)).save(folder / f"{index}_label.png")
    settings = seg_task.SegOptions(
        source=f"label_folder:{folder}", size=(16, 24), crop=(16, 24), batch=2, workers=1, class_weights="none"
    )

    def predict(params, carry, batch):
        bright = params["net"]["scale"] * (jnp.roll(batch["image"][..., :1], 2, axis=2) - 0.5)
        return {"logits": jnp.concatenate([-bright, bright], -1)}

    params = {"net": {"scale": jnp.ones(())}}
    recipe = Recipe(lambda key: (params, {}), (Stage(1, {}),), predict, seg_task.metrics(settings))
    run = Run(tmp_path / "run", Experiment("toy", {"quick": settings}, lambda config: recipe, seg_task.data), settings)
    run.state = State(step=jnp.ones((), jnp.int32), params=params, carry={}, opt={})
    return run


def test_scores_before_and_after(run, tmp_path):
    (tmp_path / "out").mkdir()
    found = seg_crf.score(seg_crf.Command(tmp_path / "run", out=str(tmp_path / "out")), run)
    assert found["before"]["label/pixel_accuracy"] == pytest.approx(20 / 24)  # two columns of each class are wrong
    assert found["after"]["label/pixel_accuracy"] == pytest.approx(1)
    tests = len(run.data().splits["test"].source)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{number}_{name}.png" for number in range(tests) for name in found
    }


def test_mistakes_end_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        seg_crf.main([str(tmp_path / "none")])
    said = capsys.readouterr().err
    assert left.value.code == 2 and said.startswith("error: ") and said.count("\n") == 1


def test_a_run_is_scored_by_the_stage_that_it_is_in(run, tmp_path):
    stages = (Stage(1, {}, predict=run.recipe.predict), Stage(1, {}))
    wrong = dataclasses.replace(run.recipe, stages=stages, predict=lambda *_: {"logits": jnp.zeros((2, 16, 24, 2))})
    run.recipe = wrong
    found = seg_crf.score(seg_crf.Command(tmp_path / "run", images=1), run)
    assert found["before"]["label/pixel_accuracy"] == pytest.approx(20 / 24)
