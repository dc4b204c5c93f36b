"""Plans: what is printed, shapes without data, a real program for chips that are not here, measured steps."""

import dataclasses
import importlib
import importlib.util
import json
import pathlib
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy
from PIL import Image

from pixlab import plan, roofline
from pixlab.__main__ import main
from pixlab.chips import CHIPS, GIB, Chip, chip_of
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.data.images import write_depth_png
from pixlab.data.rooms import frame
from pixlab.errors import UserError
from pixlab.hlo import Collective
from pixlab.measure import Measured, measure
from pixlab.net import Net
from pixlab.plan_text import measured_text, plan_text
from pixlab.roofline import Step

ROOT = pathlib.Path(__file__).parents[1]
CHIP = Chip(memory=16 * GIB, flops=100.0, bandwidth=10.0, links=5.0, slices=("2x2",))
EXPERIMENTS = ("depth_nyu", "depth_nyu_eigen2014", "depth_nyu_unet", "labels_nyu", "normals_nyu")


def step(**fields) -> Step:
    return Step(**dict(stage="one", steps=10, flops=400.0, bytes=30.0, memory=8.0 * GIB) | fields)


def test_memory_is_asked_for_at_two_sizes_of_which_one_fits():
    asked = []

    def memory_of(images):
        asked.append(images)
        return 1.0 + images

    assert plan.memory_points((2, 3.0), memory_of, 8.0) == [(2, 3.0), (128, 129.0)]
    assert plan.memory_points((32, 33.0), memory_of, 8.0) == [(8, 9.0), (4, 5.0)]
    assert plan.memory_points((1, 9.0), memory_of, 8.0) == [(1, 9.0)]
    assert asked == [128, 16, 8, 4]


# What is printed


def made(memory=8.0, points=((2, 8.0), (4, 12.0)), **fields) -> plan.Plan:
    config = toy.Config(batch=8, **fields)
    points = [[(images, gib * GIB) for images, gib in points]]
    one = {"image": np.zeros((30, 40, 3), np.float32)}
    sends = [Collective("all-reduce", 40, 2)]
    steps = [step(memory=memory * GIB, collectives=sends)]
    return plan.Plan(config, "v0:2x2", CHIP, 4, one, 10_000_000, steps, points)


def test_a_plan_that_fits():
    text = plan_text("toy", made(), full=False)
    assert "batch 8 of 30x40, 2 images a chip at once; 10 million parameters" in text
    assert "8.00 of 16.00 GiB a chip: fits" in text and "largest batch: about 24," in text  # 4 chips of 6
    assert "1 all-reduce of 0.00 MB" in text
    assert "about 2m40s for 10 steps" in text  # 10 x (4 s + 60 / 5 s)
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.endswith("%")}
    assert rows["1"] == ["1", "2", "4000.00", "0", "100%"]  # nothing to send
    assert rows["4"][2:] == ["16000.00", "0", "25%"] and rows["256"][1] == "512"


def test_a_plan_of_one_chip_does_not_promise_that_more_send_nothing():
    one = made()._replace(chips=1, steps=[step(gradients=40.0)])
    text = plan_text("toy", one, full=False)
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.endswith("%")}
    assert rows["1"][2:] == ["4000.00", "2", "100%"]
    assert rows["4"][2:] == ["16000.00", "2", "25%"]  # 4 s + 2 x 3 / 4 x 40 / 5 s
    assert roofline.SINGLE in text and roofline.SINGLE not in plan_text("toy", made(), full=False)


def test_gradients_are_of_what_a_stage_trains():
    recipe = toy.recipe(toy.Config())
    coarse, fine = (9 * image * 4 + 4 + 2 * 4 + 9 * 4 + 1 for image in (3, 4))  # convolutions, biases, statistics
    assert [plan.gradients(recipe, index) for index in (0, 1)] == [4 * coarse, 4 * fine]


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (
            ((2, 20.0), (1, 14.0)),
            "20.00 GiB a chip, 4.00 more than the 16.00 there are; --batch 4 or --accumulate 2 would",
        ),
        (((1, 20.0),), "nor does one image at once; try --fsdp 4"),
    ],
)
def test_a_plan_that_does_not_fit_says_what_would(points, words):
    text = plan_text("toy", made(20.0, points), full=False)
    assert words in text and "images/s" not in text


def test_measured_time_is_for_all_steps():
    found = [Measured("a", 3600, 0.5, 9, 2.0, GIB), Measured("b", 900, 2.0, 9, 2.0, GIB)]
    text = measured_text("toy", toy.Config(batch=8), found)
    assert "time: 1h00m for 4500 steps" in text
    assert [line.split()[:4] for line in text.splitlines()[3:5]] == [
        ["a", "3600", "500.0", "16.0"],
        ["b", "900", "2000.0", "4.0"],
    ]


# Chips


def test_chips_are_what_they_can_be():
    for chip in CHIPS.values():
        assert 100 < chip.flops / chip.bandwidth < 1000  # FLOPs for a byte
        assert 2 < chip.bandwidth / chip.links < 10
        assert 15 * GIB < chip.memory < 96 * GIB and len(set(chip.slices)) == len(chip.slices) > 4
    assert chip_of("v5e:4x4") is CHIPS["v5e"]


@pytest.mark.parametrize(
    ("topology", "words"),
    [("v9:2x2", "there are v4, v5e, v5p, v6e"), ("v5e:3x5", "v5e comes as v5e:1x1, v5e:2x2"), ("v5e", "v5e comes as")],
)
def test_a_topology_that_there_is_not_is_one_line(topology, words, capsys):
    with pytest.raises(SystemExit) as left:
        main(["plan", "depth_nyu", "--topology", topology])
    out, err = capsys.readouterr()
    assert left.value.code == 2 and not out
    assert err.startswith(f"error: --topology {topology}") and words in err and err.count("\n") == 1


def test_without_libtpu_the_way_to_it_is_said(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main(["plan", "depth_nyu", "--topology=v5e:2x2"])
    assert "pip install -e '.[tpu]'" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "said"), [([], "give an experiment"), (["nope"], "no experiment 'nope'")])
def test_an_experiment_that_there_is_not_is_one_line(words, said, capsys):
    with pytest.raises(SystemExit):
        main(["plan", *words, "--topology", "cpu"])
    assert said in capsys.readouterr().err


# Steps


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_blank_frame_gives_the_batch_that_real_frames_give(name, tmp_path):
    room = frame(0, height=120, width=160)
    Image.fromarray(room["image"]).save(tmp_path / "0_rgb.png")
    write_depth_png(tmp_path / "0_depth.png", room["depth"])
    Image.fromarray(room["label"][..., 0].astype(np.uint8)).save(tmp_path / "0_label.png")
    (tmp_path / "train.txt").write_text("0\n")
    experiment = importlib.import_module(f"experiments.{name}").experiment
    config = experiment.configs["quick"]
    real = dataclasses.replace(config, source=f"rgbd_folder:{tmp_path}")
    blank, true = (plan.example(experiment.data(c)) for c in (plan.without_data(config), real))
    shapes = [{name: (x.shape, x.dtype) for name, x in one.items()} for one in (blank, true)]
    assert shapes[0] == shapes[1] and "image" in blank


class Convolutions(nn.Module):
    """5x5 by twos, then 3x3, without padding or bias."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.Conv(16, (5, 5), 2, "VALID", use_bias=False)(x)
        return nn.Conv(8, (3, 3), padding="VALID", use_bias=False)(x)


def test_flops_are_those_of_a_hand():
    net = Net("net", Convolutions(), ((1, 33, 33, 3),))

    def loss(params, carry, batch, key):
        return jnp.mean(net(params, carry, batch["image"])[0] ** 2), Aux()

    recipe = Recipe(net.init, (Stage(1, {"x": Objective(("net",), loss, optax.sgd(0.1))}),), lambda p, c, b: {})
    first, second = 2 * 15 * 15 * 5 * 5 * 3 * 16, 2 * 13 * 13 * 3 * 3 * 16 * 8  # an image's, forward
    by_hand = 4 * (2 * first + 3 * second)  # nobody asks for the gradient of the image
    one = {"image": np.zeros((33, 33, 3), np.float32)}
    assert by_hand < plan.flops(recipe, 0, toy.Config(batch=4), one) < 1.01 * by_hand
    assert plan.flops(recipe, 0, toy.Config(batch=4, accumulate=4), one) == plan.flops(
        recipe, 0, toy.Config(batch=4), one
    )


def test_labels_on_predicted_geometry_need_no_run():
    from experiments import depth_nyu, labels_nyu

    config = plan.without_data(labels_nyu.CONFIGS["predicted"])
    recipe = labels_nyu.recipe(config)
    params, _ = jax.eval_shape(recipe.init, jax.random.key(0))
    theirs, _ = jax.eval_shape(depth_nyu.recipe(depth_nyu.CONFIGS["alexnet"]).init, jax.random.key(0))
    assert jax.tree.map(jnp.shape, params[labels_nyu.GEOMETRY]) == jax.tree.map(jnp.shape, theirs)
    with pytest.raises(UserError, match="no run here"):
        labels_nyu.recipe(labels_nyu.CONFIGS["predicted"])


def test_steps_are_measured_on_what_is_here():
    config = toy.Config(devices=2)
    found = measure(toy.experiment, config)
    assert [(each.stage, each.steps) for each in found] == [("coarse", 20), ("fine", 20)]
    assert all(0 < each.seconds < 10 and each.runs >= 2 and each.memory > 8 * 8 * 3 * 4 for each in found)


def test_the_command_measures(capsys):
    size = "--base 2 --levels 1 --frame 24 32 --crop 16 16 --batch 4 --devices 2"
    main(["plan", "depth_nyu_unet", *size.split()])
    text = capsys.readouterr().out
    assert "cpu, measured: batch 4" in text.replace(" (cpu)", "") and "for 500 steps" in text


# Chips that are not here

ON_TPU = """
import json, sys
from pixlab import plan
from pixlab.run import find_experiment
import dataclasses
plan.prepare("v5e:2x2")
experiment = find_experiment("depth_nyu_unet")
small = dict(base=4, levels=1, frame=(24, 32), crop=(16, 16), batch=4)
made = plan.plan(experiment, dataclasses.replace(experiment.configs["quick"], **small), "v5e:2x2")
[step] = made.steps
print(json.dumps([made.parameters, made.largest, made.points, step._asdict()]))
"""


def test_a_real_step_is_compiled_for_chips_that_are_not_here():
    pytest.importorskip("libtpu")
    done = subprocess.run([sys.executable, "-c", ON_TPU], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    parameters, largest, [[(_, few), (images, many)]], step = json.loads(done.stdout)
    sums = [size for kind, size, *_ in step["collectives"] if kind == "all-reduce"]
    assert len(sums) == len(step["collectives"])
    assert 4 * parameters < sum(sums) < 4 * parameters + 100  # the gradients once, the loss and its counts
    assert few == step["memory"] < many < 15.75 * GIB and images == 64 < largest
    forward = 2 * 16 * 16 * 9 * (3 * 4 + 4 * 4) + 2 * 8 * 8 * 9 * (4 * 8 + 8 * 8)  # the way down, of one image
    assert 2 * forward < step["flops"] < 10 * forward


SPLIT_ON_TPU = """
import dataclasses, json, sys
from pixlab import hlo, plan
from pixlab.run import find_experiment
from pixlab.train import mesh_of, parameters
plan.prepare("v5e:2x4", full=sys.argv[1] == "full")
experiment = find_experiment("depth_nyu_unet")
small = dict(base=64, levels=1, frame=(24, 32), crop=(16, 16), batch=8)
for fsdp in (8, 4):
    config = plan.without_data(dataclasses.replace(experiment.configs["quick"], **small, fsdp=fsdp))
    recipe, one = experiment.recipe(config), plan.example(experiment.data(config))
    here = mesh_of(recipe, config, plan.devices("v5e:2x4"))
    program, _ = plan.compile_step(*plan.lower(recipe, 0, config, one, here))
    print(json.dumps([fsdp, 4 * parameters(recipe), hlo.collectives(program.as_text())]))
"""


@pytest.mark.parametrize(("level", "gathered"), [("fast", 1.0), ("full", 0.5)])  # in float32, in bfloat16
def test_tpus_gather_split_parameters_and_scatter_their_gradients_once(level, gathered):
    pytest.importorskip("libtpu")
    done = subprocess.run([sys.executable, "-c", SPLIT_ON_TPU, level], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [fsdp for fsdp, *_ in lines] == [8, 4]
    for fsdp, size, found in lines:
        size *= 0.9941  # of the parameters in large arrays, measured; the others are copied
        found = [Collective(*each) for each in found]
        gathers, scatters = ([c for c in found if c.kind == kind] for kind in ("all-gather", "reduce-scatter"))
        assert {c.group for c in gathers} == {c.group for c in scatters} == {fsdp}
        assert sum(c.bytes for c in gathers) == pytest.approx(gathered * size, rel=1e-3)
        assert sum(c.bytes for c in scatters) * fsdp == pytest.approx(size, rel=1e-3)
        copies = [c.bytes for c in found if c.kind == "all-reduce" and c.group == 8 // fsdp]
        assert sum(copies) == (sum(c.bytes for c in scatters) if fsdp < 8 else 0)
