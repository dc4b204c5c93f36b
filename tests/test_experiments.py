"""Every experiment and every named config: the small one runs from end to end, the large ones fit together."""

import dataclasses
import importlib
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from PIL import Image

from pixlab import core, plan
from pixlab.data.boundary_sets import outlines, packed
from pixlab.data.figures import JOINTS, figure
from pixlab.data.images import encode_png, write_depth_png
from pixlab.data.membranes import room_frame
from pixlab.data.pipeline import examples
from pixlab.data.rooms import frame
from pixlab.errors import UserError
from pixlab.run import Run, claim

FOLDER = pathlib.Path(__file__).parents[1] / "experiments"
MODULES = sorted(path.stem for path in FOLDER.glob("*_*.py") if "experiment = " in path.read_text())
EXPERIMENTS = {name: importlib.import_module(f"experiments.{name}").experiment for name in MODULES}
TINY = dict(width=1 / 16, frame=(80, 104), crop=(76, 100), truth=(80, 104), batch=2, coarse_steps=2, fine_steps=2)
CACHE = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs", "jax_disable_most_optimizations")
TINY |= dict(base=4, steps=2, workers=1)  # of networks without stages and without a width
PEOPLE = dict(size=(48, 64), window=(12, 16), width=4, detector_steps=2, spatial_steps=1, joint_steps=1, stages=1)
OWN = {
    "pose_hourglass": dict(size=(64, 64), stacks=1),
    "pose_deeppose": dict(size=(64, 64), input=64, width=1 / 32, later_steps=(1,)),
    "pose_repair": dict(spatial_steps=2),
    "pose_flic_cascade": dict(window=8, banks=1),
    "color_imagenet": dict(side=32, crop=16, width=1 / 64),
    "sr_div2k": dict(blocks=1, width=4, patch=8),
    "srgan_div2k": dict(blocks=1, width=4, patch=8, warm_steps=1, steps=1),
    "perceptual_sr": dict(blocks=1, width=4, patch=8),
    "membrane_isbi": dict(levels=1, window=40, tile=40),
    "seg_camvid": dict(size=(48, 64), crop=(32, 48), width=1 / 32, average=1),
    "seg_voc": dict(size=(32, 48), crop=(32, 48), width=1 / 64, steps=1),
    "seg_voc_deeplab": dict(size=(33, 49), crop=(33, 49), width=1 / 32),
    "seg_voc_dilated": dict(size=(32, 48), crop=(32, 48), width=1 / 64, front_steps=1, context_steps=1),
    "seg_voc_refinenet": dict(size=(32, 48), crop=(32, 48), width=1 / 32),
    "seg_ade": dict(size=(32, 48), crop=(32, 48), width=1 / 32),
    "seg_pet": dict(size=(32, 48), crop=(32, 48)),
    "boundary_bsds": dict(crop=(32, 32), width=1 / 32, thresholds=3),
    "perceptual_style": dict(blocks=1, width=4, size=32, vgg_width=1 / 16),
}
SOURCES = {  # fixture of the data, by what an experiment's name begins with; frames if nothing fits
    "pose_": "people", "sr": "photos", "perceptual_": "photos", "color_": "photos", "seg_": "labels",
    "membrane_": "membranes", "boundary_": "boundaries",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """What a run has compiled, the same run resumed finds on disk; compiling fast matters more than fast code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(cache := tmp_path_factory.mktemp("compiled")))
        before = {name: jax.config.values[name] for name in CACHE}
        for name, value in zip(CACHE, (str(cache), 0.0, True), strict=True):
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        yield
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> str:
    """A source of four rooms."""
    folder = tmp_path_factory.mktemp("frames")
    for seed in range(4):
        room = frame(seed, height=80, width=104)
        Image.fromarray(room["image"]).save(folder / f"{seed}_rgb.png")
        write_depth_png(folder / f"{seed}_depth.png", room["depth"])
        Image.fromarray(room["label"][..., 0].astype(np.uint8)).save(folder / f"{seed}_label.png")
    (folder / "train.txt").write_text("0\n1\n2\n")
    (folder / "test.txt").write_text("3\n")
    return f"rgbd_folder:{folder}"


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> str:
    """A source of four people."""
    folder, entries = tmp_path_factory.mktemp("people"), []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        picture, places = figure(rng.integers(0, 256, (96, 128, 3), np.uint8), rng)
        Image.fromarray(picture).save(folder / f"{seed}.png")
        entries.append({"file": f"{seed}.png", "joints": places.tolist(), "split": "train" if seed < 3 else "test"})
    (folder / "joints.json").write_text(json.dumps({"names": JOINTS, "people": entries}))
    return f"pose_folder:{folder}"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> str:
    """A source of four photos of rooms, one of which is to test."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(4):
        Image.fromarray(frame(seed, height=80, width=104)["image"]).save(folder / f"{seed}.png")
    return f"photos:{folder}"


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> str:
    """A source of four labelled rooms."""
    folder = tmp_path_factory.mktemp("labels")
    for seed in range(4):
        room = frame(seed, height=80, width=104)
        Image.fromarray(room["image"]).save(folder / f"{seed}.png")
        Image.fromarray(room["label"][..., 0].astype(np.uint8)).save(folder / f"{seed}_label.png")
    return f"label_folder:{folder}"


@pytest.fixture(scope="module")
def membranes(tmp_path_factory) -> str:
    """A source of four slices, one of which is to test."""
    folder = tmp_path_factory.mktemp("membranes")
    for seed in range(4):
        room = room_frame(frame(seed, height=80, width=104))
        Image.fromarray(room["image"][..., 0]).save(folder / f"{seed}.png")
        Image.fromarray(room["label"][..., 0].astype(np.uint8)).save(folder / f"{seed}_label.png")
    return f"isbi2012:{folder}"


@pytest.fixture(scope="module")
def boundaries(tmp_path_factory) -> str:
    """A source of four rooms whose outlines two people drew."""
    folder = tmp_path_factory.mktemp("boundaries")
    for seed in range(4):
        room = frame(seed, height=80, width=104)
        at = folder / ("train" if seed < 3 else "test")
        at.mkdir(exist_ok=True)
        Image.fromarray(room["image"]).save(at / f"{seed}.png")
        (at / f"{seed}_gt.png").write_bytes(encode_png(packed(outlines(room["label"]).repeat(2, -1))))
    return f"boundary_folder:{folder}"


@pytest.fixture(autouse=True)
def data_here(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path_factory.getbasetemp() / "data"))


def shrunk(experiment, name, source, folder):
    fields = {field.name for field in dataclasses.fields(experiment.configs[name])}
    tiny = TINY | (PEOPLE if "joints" in fields else {}) | OWN.get(experiment.name.partition(".")[2], {})
    small = {k: v for k, v in tiny.items() if k in fields}
    small |= {"test": source} if "test" in fields else {}
    return dataclasses.replace(experiment.configs[name], source=source, run=str(folder), eval_every=0, **small)


@pytest.mark.parametrize("name", MODULES)
def test_trains_saves_resumes_bit_for_bit_and_predicts(name, request, tmp_path):
    from pixlab import cli
    from pixlab.train import Stopped, StopRequest

    experiment = EXPERIMENTS[name]
    kind = next((fixture for prefix, fixture in SOURCES.items() if name.startswith(prefix)), "frames")
    source = request.getfixturevalue(kind)
    whole = cli.execute(experiment, "quick", shrunk(experiment, "quick", source, tmp_path / "whole"))
    with pytest.MonkeyPatch.context() as patch:  # as if SIGTERM came in the first step
        patch.setattr(StopRequest, "at", lambda self, step: "SIGTERM")
        with pytest.raises(Stopped, match="saved step 1"):
            cli.execute(experiment, "quick", shrunk(experiment, "quick", source, tmp_path / "parts"))
    parts = cli.execute(experiment, "quick", shrunk(experiment, "quick", source, tmp_path / "parts"))
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, parts.state, whole.state)))
    for file in ("config.json", "result.json", "index.html", "metrics.csv"):
        assert (tmp_path / "parts" / file).exists()
    scores = parts.result["rows"][0][1:]
    assert scores == whole.result["rows"][0][1:] and all(np.isfinite(scores))
    again = Run.open(tmp_path / "parts")
    if not experiment.photo:
        return
    photo = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    (prediction, files), *rest = again.predict([photo])
    assert not rest and prediction and files
    times = getattr(again.config, "scale", 1)
    pictures = {k: x for k, x in files.items() if not isinstance(x, dict) and k != "overlay"}  # which has a legend
    assert pictures and all(x.shape[:2] == (50 * times, 70 * times) for x in pictures.values())


def batch_of(example, config):
    """A batch of such examples, as shapes."""
    return {k: jax.ShapeDtypeStruct((config.batch, *np.shape(x)), np.asarray(x).dtype) for k, x in example.items()}


def untrained(config, folder, monkeypatch):
    """`config` on top of a depth run that was never trained: parameters of the right shapes that take no memory."""
    from experiments import depth_nyu

    folder.joinpath("depth").mkdir()
    claim(folder / "depth", depth_nyu.experiment, "alexnet", depth_nyu.CONFIGS["alexnet"])

    def zeros(run):
        params, _ = jax.eval_shape(run.recipe.init, jax.random.key(0))
        return jax.tree.map(lambda x: np.broadcast_to(np.float32(0), x.shape), params)

    monkeypatch.setattr(Run, "finished_params", zeros)
    return dataclasses.replace(config, depth_run=str(folder / "depth"))


def unlike():
    """(experiment, config) of all configs that differ in more than rates, sources and numbers of steps."""
    seen = set()
    for name, experiment in EXPERIMENTS.items():
        for config, chosen in experiment.configs.items():
            fields = {
                k: v
                for k, v in dataclasses.asdict(chosen).items()
                if k not in ("source", "test", "blocks") and not k.endswith("lr")
            }
            fields |= {k: v > 0 for k, v in fields.items() if k.endswith("steps") and not isinstance(v, tuple)}
            system = experiment.recipe, experiment.data, experiment.published  # which experiments may share
            if (kind := (*system, repr(fields))) not in seen:
                seen.add(kind)
                yield name, config


@pytest.mark.parametrize(("name", "config"), list(unlike()))
def test_every_named_config_fits_together_at_its_real_size(name, config, tmp_path, monkeypatch):
    chosen = EXPERIMENTS[name].configs[config]
    if getattr(chosen, "geometry", "") == "predicted":
        chosen = untrained(chosen, tmp_path, monkeypatch)
    if getattr(chosen, "stacks", 0) > 2:  # they are alike, and tracing eight of them takes a minute
        chosen = dataclasses.replace(chosen, stacks=2)
    if getattr(chosen, "blocks", 0) > 2:
        chosen = dataclasses.replace(chosen, blocks=2)
    if getattr(chosen, "net", "").startswith("resnet"):
        chosen = dataclasses.replace(chosen, net="resnet14")
    if getattr(chosen, "thresholds", 0) > 2:  # at each the boundaries of a whole picture are matched
        chosen = dataclasses.replace(chosen, thresholds=2)
    recipe, data = EXPERIMENTS[name].recipe(chosen), EXPERIMENTS[name].data(plan.without_data(chosen))
    batch, key = batch_of(plan.example(data), chosen), jax.random.key(0)
    state = jax.eval_shape(lambda k: core.start(recipe, k), key)
    for stage in recipe.stages:
        state = jax.eval_shape(lambda s, stage=stage: core.enter(stage, s), state)
        after, logs = jax.eval_shape(core.make_step(stage), state, batch, key)
        assert jax.tree.structure(after) == jax.tree.structure(state)
        same = jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), after, state)
        assert all(jax.tree.leaves(same))
        assert {f"{objective}/loss" for objective in stage.objectives} <= set(logs)
    scored = batch_of(next(examples(data.splits["test"])), chosen)
    predicted = jax.eval_shape(recipe.predict, state.params, state.carry, scored)
    for predict in {stage.predict for stage in recipe.stages} - {None}:
        early = jax.eval_shape(predict, state.params, state.carry, scored)
        assert early.keys() == predicted.keys()
        for metric in recipe.metrics.values():
            jax.eval_shape(jax.vmap(metric.stats), early, scored)
    assert predicted and all(leaf.shape[0] == chosen.batch for leaf in jax.tree.leaves(predicted))
    columns = set()
    for label, metric in recipe.metrics.items():
        stats = jax.eval_shape(jax.vmap(metric.stats), predicted, scored)
        some = jax.tree.map(lambda x: np.ones(x.shape[1:]), stats)
        columns |= {f"{label}/{score}" for score in metric.result(some)}
    tasks = {column.split("/")[0] for column in columns}
    for row in (
        EXPERIMENTS[name].published(EXPERIMENTS[name].configs[config]).values()
    ):  # a score under another name would never be shown
        assert {column for column in row if column.split("/")[0] in tasks} <= columns
        assert set(row) & columns


@pytest.mark.parametrize(("config", "count"), [("alexnet", 125_218_030), ("vgg16", 217_974_446)])
def test_the_papers_systems_have_their_parameter_counts(config, count):
    experiment = EXPERIMENTS["depth_nyu"]
    params, _ = jax.eval_shape(experiment.recipe(experiment.configs[config]).init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


def test_unknown_and_unprepared_sources_say_what_to_do(tmp_path):
    experiment = EXPERIMENTS["depth_nyu"]
    with pytest.raises(UserError, match="there are rooms, nyu_depth_v2, nyu_labeled or rgbd_folder:PATH"):
        experiment.main(["quick", "--source", "kitti", "--run", str(tmp_path / "a")])
    with pytest.raises(UserError, match="run: python -m pixlab data prepare nyu_depth_v2"):
        experiment.main(["alexnet", "--run", str(tmp_path / "b")])
    assert not list(tmp_path.iterdir())


def test_images_smaller_than_the_network_allows(frames, tmp_path):
    with pytest.raises(UserError, match="64"):
        EXPERIMENTS["depth_nyu"].main(
            ["--source", frames, "--frame", "60", "60", "--crop", "56", "56", "--run", str(tmp_path)]
        )


def test_a_u_net_trained_at_one_size_predicts_at_others():
    from experiments import depth_nyu_unet

    recipe = depth_nyu_unet.recipe(dataclasses.replace(depth_nyu_unet.CONFIGS["quick"], base=4))
    params, carry = jax.eval_shape(recipe.init, jax.random.key(0))
    for size in ((50, 70), (112, 144), (121, 33)):
        image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
        assert jax.eval_shape(recipe.predict, params, carry, {"image": image})["depth"].shape == (1, *size, 1)


@pytest.mark.parametrize("name", MODULES)
def test_every_config_says_what_it_is(name):
    assert set(EXPERIMENTS[name].about) == set(EXPERIMENTS[name].configs)
    assert len(set(EXPERIMENTS[name].about.values())) == len(EXPERIMENTS[name].configs)
