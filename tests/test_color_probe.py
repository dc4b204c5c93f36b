"""Linear classifiers on a colorization network's features."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from experiments import color_imagenet, color_probe, pose_hourglass
from experiments.color_imagenet import CONFIGS, NET, PRIOR
from experiments.color_probe import Command, classified, mean_average_precision, probe, shrunk
from pixlab import core
from pixlab.data import rgbd
from pixlab.errors import UserError
from pixlab.models.zhang2016 import Colorizer
from pixlab.run import Run, claim


def test_mean_average_precision_by_hand():
    scores = np.array([[0.9, 0.1], [0.8, 0.5], [0.3, 0.2], [0.1, 0.4]])
    present = np.array([[1, 1], [0, 0], [1, 1], [0, 1]], bool)
    first = (1 / 1 + 2 / 3) / 2
    second = (1 / 2 + 2 / 3 + 3 / 4) / 3
    assert mean_average_precision(scores, present) == pytest.approx((first + second) / 2)


def test_features_are_averaged_down():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 5)), jnp.float32)
    assert shrunk(x, 20).shape == (2, 2 * 2 * 5) and shrunk(x, 10_000).shape == (2, 8 * 8 * 5)
    np.testing.assert_array_equal(shrunk(x, 8 * 8 * 5), x.reshape(2, -1))
    np.testing.assert_allclose(shrunk(jnp.full((1, 8, 8, 5), 3.0), 20), 3, rtol=1e-6)


def test_what_is_linear_in_the_features_is_learnt():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (300, 20)).astype(np.float32)
    present = (x - 3) @ rng.normal(size=(20, 3)) > 1
    scores = classified(jnp.asarray(x[:200]), jnp.asarray(x[200:]), jnp.asarray(present[:200]))
    assert mean_average_precision(np.asarray(scores), present[200:]) > 0.95
    noise = classified(jnp.asarray(x[:200]), jnp.asarray(x[200:]), jnp.asarray(rng.permutation(present[:200])))
    assert mean_average_precision(np.asarray(noise), present[200:]) < 0.7


def frames(count, seed):
    """Images whose two halves are of different textures; class 1 is where stripes lie across, in half of them."""
    rng, found = np.random.default_rng(seed), []
    for index in range(count):
        image = rng.integers(0, 60, (24, 24, 3), np.uint8)
        stripes = 120 * (np.arange(24) // 2 % 2)
        image += np.uint8(stripes[:, None, None] if index % 2 else stripes[None, :, None])
        found.append({"image": image, "label": np.full((24, 24, 1), 2 - index % 2, np.int32)})
    return found


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run that was never trained, whose parameters are drawn."""
    config = dataclasses.replace(CONFIGS["quick"], side=32, crop=16, width=1 / 64, run=str(tmp_path))
    variables = dict(draw(Colorizer(config.width), jnp.zeros((1, 16, 16, 1))))
    params = {NET: variables.pop("params"), PRIOR: {"probability": jnp.full(313, 1 / 313)}}
    claim(tmp_path, color_imagenet.experiment, "quick", config)
    state = core.State(step=jnp.int32(0), params=params, carry={NET: variables}, opt={})
    monkeypatch.setattr(Run, "state", property(lambda self: state))
    monkeypatch.setattr(rgbd, "open_source", lambda name, split, **options: frames(20, split == "train"))
    other = dict(draw(Colorizer(config.width), jnp.zeros((1, 16, 16, 1)), seed=1))
    init = {NET: other.pop("params")}, {NET: other}
    recipe = dataclasses.replace(color_imagenet.recipe(config), init=lambda key: init)
    monkeypatch.setattr(
        color_imagenet, "experiment", dataclasses.replace(color_imagenet.experiment, recipe=lambda config: recipe)
    )
    return str(tmp_path)


def test_every_block_is_probed_beside_random_weights(run, capsys):
    scores = probe(Command(run, classes=2, numbers=200, steps=100))
    assert "has made 0 of its 700 steps" in capsys.readouterr().err
    assert list(scores) == [*(f"conv{i}" for i in range(1, 9)), "chance"]
    assert all(set(row) == {"trained", "random"} for row in scores.values())
    assert scores["conv1"]["trained"] > 95 and scores["conv1"]["random"] > 95  # stripes are easy to see
    assert scores["chance"]["trained"] == pytest.approx(50)
    first, *rest = color_probe.table(scores).splitlines()
    assert first.split() == ["trained", "random"] and len(rest) == 9


def test_runs_and_sources_of_another_kind_are_refused(run, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="of at least 1"):
        probe(Command(run, images=0))
    with pytest.raises(UserError, match="no class is in some images of both splits"):
        probe(Command(run, classes=2, share=1.1))
    monkeypatch.setattr(rgbd, "open_source", lambda *_, **__: [{"image": np.zeros((8, 8, 3), np.uint8)}])
    with pytest.raises(UserError, match="has no labels"):
        probe(Command(run))
    other = tmp_path / "pose"
    claim(other, pose_hourglass.experiment, "quick", pose_hourglass.CONFIGS["quick"])
    with pytest.raises(UserError, match=r"give a run of experiments\.color_imagenet"):
        probe(Command(str(other)))


def test_features_are_those_of_the_network_at_test_time(run):
    opened = Run.open(run)
    light = np.random.default_rng(0).uniform(-50, 50, (3, 32, 32, 1)).astype(np.float32)
    look = functools.partial(color_probe.features(opened, 10**6), opened.state.params, opened.state.carry)
    found = color_probe.collected(look, light)
    module = Colorizer(opened.config.width)
    variables = {"params": opened.state.params[NET], **opened.state.carry[NET]}
    _, kept = jax.jit(lambda x: module.apply(variables, x, mutable=["intermediates"]))(light)
    for block, (value,) in kept["intermediates"].items():
        np.testing.assert_allclose(found[block], np.asarray(value).reshape(3, -1), rtol=1e-4, atol=1e-4)


def test_a_random_network_is_normalised_by_the_statistics_of_training_images(run):
    """Then the channels of each block have mean 0 and variance 1; without, they do not."""
    opened, rng = Run.open(run), np.random.default_rng(0)
    light = rng.uniform(-50, 50, (20, 32, 32, 1)).astype(np.float32)
    params, carry = opened.recipe.init(jax.random.key(0))
    first, second, both = (
        color_probe.statistics(opened, params, carry, part) for part in (light[:8], light[8:16], light)
    )
    for given, alike in ((first, True), (carry, False)):
        look = functools.partial(color_probe.features(opened, 10**6), params, given)
        found = {name: x.reshape(-1, 8) for name, x in color_probe.collected(look, light[:8]).items()}
        found.pop("conv8")
        near = [np.allclose(x.mean(0), 0, atol=1e-3) for x in found.values()]
        near += [abs(np.median(x.std(0)) - 1) < 0.01 for x in found.values()]  # of one that is dead it is 0
        assert all(near) if alike else not any(near)
    jax.tree.map(lambda a, b, c: np.testing.assert_allclose(c, (a + b) / 2, rtol=1e-4, atol=1e-5), first, second, both)
    few = color_probe.statistics(opened, params, carry, light[:3])  # less than a batch
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(few))
