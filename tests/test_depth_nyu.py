"""Eigen & Fergus 2015 as an experiment: the paper's numbers, where maps lie, what a run needs later."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import depth_nyu, labels_nyu
from pixlab import core
from pixlab.data.rgbd import rgbd_data
from pixlab.errors import UserError
from pixlab.metrics.crops import onto_frame
from pixlab.models.eigen_fergus import output_positions, scale_size
from pixlab.run import Run, claim

TINY = dict(width=1 / 16, frame=(80, 104), crop=(76, 100), truth=(80, 104), batch=2)


def test_the_papers_numbers():
    alexnet, vgg16 = depth_nyu.CONFIGS["alexnet"], depth_nyu.CONFIGS["vgg16"]
    for config, batch in ((alexnet, 32), (vgg16, 16)):
        assert config.batch == batch
        assert config.coarse_steps * batch == 2_000_000 and config.fine_steps * batch == 1_500_000
        assert (config.frame, config.crop, config.zoom) == ((240, 320), (228, 304), 1.5)
        assert (config.normal_weight, config.pooling, config.gradient_norm) == (10, "batch", "pairs")
        assert (config.optimiser, config.lr, config.fine_lr, config.width) == ("sgd", 1, 1, 1)
    trunk = labels_nyu.networks(labels_nyu.CONFIGS["classes40"])["scale1"].module
    assert not trunk.relu and trunk.dropout == 0.8


def test_what_is_scored_is_what_the_release_scores():
    config = depth_nyu.CONFIGS["alexnet"]
    assert depth_nyu.scored_part(config).in_middle_of((240, 320))[:4] == (11, 227, 13, 305)


def test_maps_lie_where_the_network_saw_them():
    config = depth_nyu.CONFIGS["alexnet"]
    rows, columns = (output_positions(n, 3) for n in config.crop)
    seen = jnp.stack(jnp.meshgrid(*map(jnp.asarray, (rows, columns)), indexing="ij"), axis=-1).astype(jnp.float32)
    frame = np.asarray(onto_frame(seen, 480, 640, covers=depth_nyu.part(config).in_middle_of(config.frame)))
    for y in rows[::9]:  # 6 and 8 pixels of the frame lie around the input; a pixel of it is 2x2 of the truth
        for x in columns[::9]:
            cell = frame[2 * (y + 6) : 2 * (y + 6) + 2, 2 * (x + 8) : 2 * (x + 8) + 2]
            np.testing.assert_array_equal(cell, np.broadcast_to([y, x], (2, 2, 2)))


def test_maps_of_scale_2_go_where_those_of_scale_3_lie():
    crop = (76, 100)
    quarter = jnp.asarray(output_positions(crop[0], 2), jnp.float32)[None, :, None, None]
    quarter = jnp.broadcast_to(quarter, (1, scale_size(crop[0], 2), scale_size(crop[1], 2), 1))
    half = depth_nyu.onto_scale3(quarter, crop)
    wanted = np.clip(output_positions(crop[0], 3), output_positions(crop[0], 2)[0], output_positions(crop[0], 2)[-1])
    assert half.shape == (1, scale_size(crop[0], 3), scale_size(crop[1], 3), 1)
    np.testing.assert_allclose(half[0, :, 3, 0], wanted, rtol=1e-6)


def test_scale_3_learns_from_windows_everywhere():
    crop = (76, 100)
    whole = [scale_size(n, 3) for n in crop]
    rows, columns = jnp.meshgrid(*map(jnp.arange, whole), indexing="ij")
    maps = {"a": rows[None, ..., None], "b": columns[None, ..., None]}
    tops, lefts = set(), set()
    for seed in range(60):
        window = depth_nyu.random_window(jax.random.key(seed), crop, maps)
        assert window["a"].shape == window["b"].shape == (1, *(scale_size(n, 2) for n in crop), 1)
        tops.add(int(window["a"][0, 0, 0, 0]))
        lefts.add(int(window["b"][0, 0, 0, 0]))
        np.testing.assert_array_equal(window["a"][0, :, 0, 0] - window["a"][0, 0, 0, 0], range(scale_size(crop[0], 2)))
    assert min(tops) == min(lefts) == 0
    assert max(tops) == whole[0] - scale_size(crop[0], 2) and max(lefts) == whole[1] - scale_size(crop[1], 2)


@pytest.mark.parametrize("zoom", [1.0, 1.5])
def test_depth_is_divided_by_the_zoom_that_the_options_allow(zoom, tmp_path):
    from PIL import Image

    from pixlab.data.images import write_depth_png

    Image.fromarray(np.zeros((80, 104, 3), np.uint8)).save(tmp_path / "a_rgb.png")
    write_depth_png(tmp_path / "a_depth.png", np.full((80, 104), 3.0))
    (tmp_path / "train.txt").write_text("a\n")
    sizes = {name: TINY[name] for name in ("frame", "crop", "truth", "batch")}
    split = rgbd_data(f"rgbd_folder:{tmp_path}", **sizes, workers=1, zoom=zoom, maps=("depth",)).splits["train"]
    depths = []
    for seed in range(40):
        example = split.augment(split.source[0], np.random.default_rng(seed))
        depths.append(float(np.median(example["depth"][example["valid"] > 0])))
    assert max(depths) <= 3 + 1e-5 and min(depths) >= 3 / zoom - 1e-5
    assert min(depths) < 3 / zoom + 0.1


def test_a_trained_run_needs_its_weight_file_no_more(tmp_path):
    config = depth_nyu.Config(**TINY, net="vgg16", weights=str(tmp_path / "gone.npz"))
    claim(tmp_path / "run", depth_nyu.experiment, "vgg16", config)
    recipe = Run.open(tmp_path / "run").recipe
    jax.eval_shape(lambda key: core.start(recipe, key), jax.random.key(0))  # what a checkpoint is read into
    with pytest.raises(UserError, match=r"gone\.npz"):
        jax.eval_shape(lambda key: core.start(recipe, key, recipe.pretrained), jax.random.key(0))


def test_weights_that_no_network_of_the_run_takes_are_refused():
    for wrong in (dict(net="alexnet"), dict(net="vgg16", scales=(2,))):
        with pytest.raises(UserError, match="--weights start the trunk of scale 1"):
            dataclasses.replace(depth_nyu.Config(**TINY, **wrong), weights="x.npz").check()


def test_figures_are_those_of_the_same_scales():
    assert not depth_nyu.published(depth_nyu.CONFIGS["quick"])
    [row] = depth_nyu.published(depth_nyu.CONFIGS["scales12"]).values()
    assert row == {"depth/abs_rel": 0.216, "normal/mean": 26.1}
    assert len(depth_nyu.published(depth_nyu.CONFIGS["alexnet"])) == 2
