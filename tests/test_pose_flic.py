"""Pose on FLIC: which stage trains what, what options may be, and what is written of a photo."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import pose_flic, pose_lsp, pose_repair
from pixlab import core, pose_task
from pixlab.data.figures import JOINTS, figure
from pixlab.data.people import People
from pixlab.data.pipeline import train_batches
from pixlab.errors import UserError
from pixlab.models.tompson_spatial import softplus

TINY = dataclasses.replace(
    pose_flic.CONFIGS["quick"], size=(48, 64), window=(24, 32), width=2, banks=1, batch=2, workers=1
)
LAST = len(TINY.joints)


@pytest.fixture
def people(monkeypatch):
    """Eight people without a room around them as the source of every split."""
    frames = []
    for seed in range(8):
        image, places = figure(np.full((48, 64, 3), 90, np.uint8), np.random.default_rng(seed))
        frames.append({"image": image, "joints": places})
    monkeypatch.setattr("pixlab.data.pose_examples.open_people", lambda source, split: People(frames, JOINTS))
    pose_flic.first_spatial.cache_clear()
    yield frames
    pose_flic.first_spatial.cache_clear()


def changed(before, after):
    return {
        net
        for net in before
        if any(jax.tree.leaves(jax.tree.map(lambda a, b: (a != b).any(), before[net], after[net])))
    }


def test_each_stage_trains_its_networks_alone(people):
    recipe = pose_flic.recipe(TINY)
    batch = next(train_batches(pose_flic.data(TINY), seed=0, start=0))
    state = core.start(recipe, jax.random.key(0), recipe.pretrained)
    for stage, nets in zip(recipe.stages, ({"detector"}, {"spatial"}, {"detector", "spatial"}), strict=True):
        state = after = core.enter(stage, state)
        step = jax.jit(core.make_step(stage))
        for _ in range(2):  # the first of both together is at a rate of 0
            after, logs = step(after, batch, jax.random.key(1))
        assert changed(state.params, after.params) == nets and np.isfinite(logs[f"{'-'.join(stage.objectives)}/loss"])
    assert [list(stage.objectives) for stage in recipe.stages] == [["detector"], ["spatial"], ["both"]]


def test_joint_training_begins_slowly():
    """At 0, or Adam's first steps lose what the networks have learnt alone."""
    stage = pose_flic.recipe(dataclasses.replace(TINY, joint_steps=10)).stages[2]
    params = {name: {"kernel": jnp.ones(3)} for name in ("detector", "spatial")}
    tx, moved = stage.objectives["both"].tx, []
    state = tx.init(params)
    for _ in range(4):
        updates, state = tx.update(params, state, params)
        moved.append(float(jnp.abs(updates["spatial"]["kernel"]).max()))
    assert moved[0] == 0 < moved[1] < moved[2] and moved[2] == pytest.approx(TINY.spatial_lr, rel=1e-3)


def test_rows_of_the_ablation_differ_in_what_they_are_called_after():
    configs = pose_flic.CONFIGS
    quick = ("quick", "quick_detector", "quick_limbs", "quick_spatial", "quick_longer")
    for names in (quick, ("joint", "detector", "limbs", "spatial", "longer")):
        joint, detector, limbs, spatial, longer = (configs[name] for name in names)
        assert [len(pose_flic.recipe(configs[name]).stages) for name in names] == [3, 1, 2, 2, 2]
        assert {c.detector_steps for c in (detector, limbs, spatial)} == {joint.detector_steps}
        assert longer.detector_steps == joint.detector_steps + joint.joint_steps
        assert [c.graph for c in (joint, detector, limbs, spatial, longer)] == ["full", "none", "limbs", "full", "full"]
    for config in (configs["limbs"], pose_lsp.CONFIGS["limbs"]):
        graph = np.array(pose_flic.edges(config))
        assert graph[:, -1].all() and (graph[:, :-1] == graph[:, :-1].T).all() and graph.diagonal().all()
        wrist, elbow, hip = (config.joints.index(f"left_{joint}") for joint in ("wrist", "elbow", "hip"))
        assert graph[wrist, elbow] and not graph[wrist, hip]


def test_kernels_start_where_joints_lie(people):
    kernels = np.asarray(softplus(jnp.asarray(pose_flic.first_spatial(TINY)["kernel"])))
    assert kernels.shape == (LAST, LAST + 1, 24, 32)
    y = np.arange(24) - 12

    def below(joint, given):
        kernel = kernels[TINY.joints.index(joint), given if isinstance(given, int) else TINY.joints.index(given)]
        return (kernel.sum(1) * y).sum() / kernel.sum()

    assert below("left_hip", "left_shoulder") > 2 and below("left_shoulder", "left_hip") < -2
    assert below("nose", LAST) < -2 and below("right_hip", LAST) > 0.5  # the torso comes last
    across = kernels[TINY.joints.index("left_hip"), TINY.joints.index("right_hip")].sum(0)
    assert (across * (np.arange(32) - 16)).sum() > 0  # as the observer has it: the left one is right of it


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(graph="none"), "--graph none: there is no spatial model to train; add --spatial-steps 0 --joint-steps 0"),
        (dict(beta=3.0), "--beta 3.0: the paper has it between 1/2 and 2"),
        (dict(epsilon=0.0), "--epsilon 0.0: the paper has it above 0"),
        (dict(epsilon=0.5), "--epsilon 0.5: the paper has it above 0 and at most 0.01"),
        (dict(size=(50, 70)), "--size 50 70: give multiples of 4"),
        (dict(size=(8, 64)), "--size must be at least 16"),
        (dict(zoom=(1.2, 0.8)), "--zoom 1.2 0.8: give the smaller one first"),
        (dict(joints=("nose", "left_wrist")), "--joints: training mirrors pictures, so give right_wrist too"),
        (dict(joints=("nose", "nose")), "--joints: give at least one joint, each once"),
        (dict(sigma=0.0), "--sigma must be at least 0.1"),
        (dict(window=(0, 8)), "--window must be at least 1"),
    ],
)
def test_options_that_no_run_can_have(options, words):
    with pytest.raises(UserError, match=words):
        dataclasses.replace(TINY, **options).check()


def test_repair_has_nothing_to_learn_without_a_graph():
    with pytest.raises(UserError, match="--graph none: nothing is left to learn"):
        dataclasses.replace(pose_repair.CONFIGS["quick"], graph="none").check()


def test_every_config_can_be_run():
    for experiment in (pose_flic, pose_lsp, pose_repair):
        for config in experiment.CONFIGS.values():
            config.check()


def test_of_a_photo_places_are_in_its_own_pixels():
    photo = np.full((90, 240, 3), 128, np.uint8)  # fills the width of 64: a scale of 64 / 240, rows 12 to 36 of 48
    joints = np.tile(np.float32([[31.5, 23.5]]), (LAST, 1)) + np.float32([0, 6])
    maps = np.zeros((12, 16, LAST), np.float32)
    maps[7, 8] = 1  # pixels 28 to 32 down, 32 to 36 across
    files = pose_task.export(TINY, photo, {"joints": joints, "value": np.ones(LAST, np.float32), "maps": maps})
    assert files["skeleton"].shape == files["heatmaps"].shape == photo.shape
    assert files["joints"]["nose"] == pytest.approx([119.5, 44.5 + 6 * 240 / 64, 1], abs=1e-3)
    glow = np.abs(files["heatmaps"].astype(int) - 64).sum(-1)
    y, x = (float((glow * at).sum() / glow.sum()) for at in np.mgrid[:90, :240])
    assert abs(x - (34 * 240 / 64 - 0.5)) < 2 and abs(y - (30 - 12) * 240 / 64) < 2


def test_the_mean_pose_lies_around_the_torso(people):
    config = dataclasses.replace(TINY, torso_noise=0.0, sides="person")
    data = pose_flic.data(config)
    predict = pose_task.answers(config, data)["mean pose"]
    test = data.splits["test"]
    batch = {name: jnp.stack([jnp.asarray(test.map(frame)[name]) for frame in people]) for name in ("joints", "torso")}
    out = predict({}, {}, batch | {"torso_known": jnp.ones(8).at[3].set(0)})["joints"]
    by_hand = np.mean([test.map(frame)["joints"] - test.map(frame)["torso"] for frame in people], 0)
    np.testing.assert_allclose(out[0], np.asarray(batch["torso"][0]) + by_hand, atol=1e-4)
    np.testing.assert_allclose(out[3], np.float32([31.5, 23.5]) + by_hand, atol=1e-4)


def test_the_spoiled_maps_that_repair_sees(people):
    config = dataclasses.replace(pose_repair.CONFIGS["quick"], size=(48, 64), window=(24, 32), wrong=0.5)
    data = pose_repair.data(config)
    test = data.splits["test"]
    one, again = test.map(test.source[3]), test.map(test.source[3])
    assert all(np.array_equal(one[name], again[name]) for name in one)
    rng = np.random.default_rng(0)
    some = [data.splits["train"].augment(people[i % 8], rng) for i in range(100)]
    for x in some:
        np.testing.assert_array_equal(x["peaks"][:, 0], x["joints"])
        np.testing.assert_array_equal(x["peaks"][1, 1], x["joints"][4])  # the left shoulder's other side
        assert x["height"][0, 1] == 0  # the nose has none
        assert (x["height"][:, 0] >= 0.3).all() and (x["height"][:, 0] <= 1).all()
    often = np.mean([x["height"] > 0 for x in some], 0)
    assert np.abs(often[:, 2:] - 0.5).max() < 0.2 and np.abs(often[1:, 1] - 0.5).max() < 0.2
    maps = np.asarray(pose_repair.spoiled({name: jnp.asarray(x)[None] for name, x in one.items()}, config))[0]
    y, x = np.mgrid[:12, :16]
    by_hand = np.zeros((12, 16, LAST))
    for k, peak in np.ndindex(LAST, pose_repair.PEAKS):
        px, py = (one["peaks"][k, peak] + 0.5) / 4 - 0.5
        by_hand[..., k] += one["height"][k, peak] * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 1.5**2))
    np.testing.assert_allclose(maps, by_hand, atol=1e-5)


def test_repairs_are_counted_by_hand():
    config = dataclasses.replace(pose_repair.CONFIGS["quick"], size=(96, 128), window=(24, 32))
    count = len(config.joints)
    truth = np.tile(np.float32([20, 30]), (count, 1))
    off, near = np.float32([90, 60]), np.float32([25, 30])
    peaks = np.tile(np.stack([truth[0], off, off, off]), (count, 1, 1))
    height = np.zeros((count, pose_repair.PEAKS), np.float32)
    height[:, 0] = 0.6
    height[1, 1], height[2, 1:3] = 0.9, 0.4  # the second joint's wrong peak is higher; the third's are, together
    example = {"joints": truth, "known": np.ones(count), "size": 100.0, "peaks": peaks, "height": height}
    example = {name: jnp.asarray(x, jnp.float32) for name, x in example.items()}
    metric = pose_repair.repairs(config)
    places = np.tile(near, (count, 1))
    places[2:4] = off  # one is repaired, one is not, and one is spoilt
    found = metric.result(jax.device_get(metric.stats({"joints": jnp.asarray(places)}, example)))
    assert found == pytest.approx({"wrong": 200 / count, "repaired": 50, "spoilt": 100 / (count - 2)})
    nobody = metric.stats({"joints": jnp.asarray(truth)}, example | {"size": jnp.asarray(0.0)})
    assert not any(float(x) for x in nobody.values())


def test_what_was_given_repairs_and_spoils_nothing(people):
    config = dataclasses.replace(pose_repair.CONFIGS["quick"], size=(48, 64), window=(24, 32), wrong=0.8)
    metric, rng, total = pose_repair.repairs(config), np.random.default_rng(0), None
    train = pose_repair.data(config).splits["train"]
    for number in range(40):
        example = {name: jnp.asarray(x) for name, x in train.augment(people[number % 8], rng).items()}
        given = pose_repair.found(pose_repair.spoiled({name: x[None] for name, x in example.items()}, config))
        stats = jax.device_get(metric.stats({"joints": given["joints"][0]}, example))
        total = stats if total is None else metric.merge(total, stats)
    scores = metric.result(total)
    assert scores["repaired"] == scores["spoilt"] == 0 and 20 < scores["wrong"] < 90
