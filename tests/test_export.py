"""Exported programs do what the run does, in processes that know nothing of pixlab."""

import dataclasses
import importlib
import json
import pathlib
import re
import subprocess
import sys

import jax
import jaxtyping
import numpy as np
import pytest
import toy
from PIL import Image

from pixlab import core, export
from pixlab.__main__ import main
from pixlab.checkpoint import Checkpoints
from pixlab.data.images import read_image
from pixlab.errors import UserError
from pixlab.mesh import replicated
from pixlab.run import Run, claim
from pixlab.train import abstract_state, predict_after

DOCS = (pathlib.Path(__file__).parents[1] / "docs" / "export.md").read_text()
CODE = re.findall(r"^```python\n(.*?)^```", DOCS, re.DOTALL | re.MULTILINE)
TINY = dict(frame=(80, 104), truth=(80, 104), batch=2, width=1 / 16, base=4, levels=2, workers=1)
SIZES = {"depth_nyu": (76, 100), "depth_nyu_unet": (64, 80), "labels_nyu": (76, 100)}
UNKNOWING = """
import sys
import numpy as np
{read}
program = sys.argv[1]
given = [dict(np.load(path)) for path in sys.argv[2:]]
{call}
for path, one in zip(sys.argv[2:], given):
    np.savez(path, **run(one))
assert not {{"pixlab", "experiments", "flax", *{absent}}} & set(sys.modules)
"""
JAX = ("import jax, jax.export", "run = jax.jit(jax.export.deserialize(bytearray(open(program, 'rb').read())).call)")
ONNX = (
    "import onnxruntime",
    "session = onnxruntime.InferenceSession(program)\nnames = [out.name for out in session.get_outputs()]\n"
    "run = lambda one: dict(zip(names, session.run(names, one)))",
)


def random_state(run: Run, made: int) -> core.State:
    """A state after `made` steps, with the variance that keeps a signal's, whatever the layer."""
    rng = np.random.default_rng(1)

    def fill(path, x):
        width = x.shape[-1] if x.shape else 1
        values = rng.normal(0, (width / x.size) ** 0.5, x.shape).astype(x.dtype)
        return np.abs(values) + 1 if "var" in jax.tree_util.keystr(path[-1:]) else values

    state = abstract_state(run.recipe, run.mesh)(made)
    return jax.tree_util.tree_map_with_path(fill, state).replace(step=np.int32(made))


def untrained(folder: pathlib.Path, name: str, *, missing: int = 0, **options) -> Run:
    """A tiny run that claims to have made all but `missing` of its steps: random parameters in a checkpoint."""
    experiment = importlib.import_module(f"experiments.{name}").experiment
    config = experiment.configs["quick"]
    small = {k: v for k, v in (TINY | {"crop": SIZES.get(name)} | options).items() if hasattr(config, k)}
    config = dataclasses.replace(config, **small)
    claim(folder, experiment, "quick", config)
    run = Run(folder, experiment, config)
    made = run.recipe.steps - missing
    checkpoints = Checkpoints(folder / "checkpoints", abstract_state(run.recipe, run.mesh))
    checkpoints.save(jax.device_put(random_state(run, made), replicated(run.mesh)), step=made, batches=0)
    checkpoints.close()
    return Run.open(folder)


@pytest.fixture(autouse=True)
def free_sizes_are_no_ints():
    """jaxtyping, which only tests have active, would refuse them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Run]:
    return {name: untrained(tmp_path_factory.mktemp("runs") / "run", name) for name in SIZES}


def images(*shape: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).random((*shape, 3), np.float32)


def elsewhere(program, kind, batches, folder, absent=()) -> list[dict]:
    """What the program makes of batches in a process of its own, in a folder without pixlab."""
    paths = [folder / f"{index}.npz" for index in range(len(batches))]
    for path, batch in zip(paths, batches, strict=True):
        np.savez(path, image=batch)
    code = UNKNOWING.format(read=kind[0], call=kind[1], absent=absent)
    subprocess.run([sys.executable, "-c", code, program, *paths], cwd=folder, check=True)
    return [dict(np.load(path)) for path in paths]


def same(theirs: dict, run: Run, batch: np.ndarray) -> None:
    """`theirs` are the maps of the run, and they answer to the image."""
    predict = predict_after(run.recipe, run.recipe.steps)
    ours = jax.device_get(jax.jit(predict)(core.eval_params(run.state), run.state.carry, {"image": batch}))
    assert set(theirs) == set(ours)
    for name, mine in ours.items():
        assert theirs[name].shape == mine.shape and len(mine) == len(batch)
        np.testing.assert_allclose(theirs[name], mine, atol=1e-5 * np.abs(mine).max(), rtol=0)
        assert len(mine) == 1 or np.ptp(mine, axis=0).max() > 1e-4 * np.abs(mine).max()


def test_stablehlo_runs_without_pixlab_at_any_batch_and_multiple_of_the_stride(runs, tmp_path, capsys):
    run, file = runs["depth_nyu_unet"], tmp_path / "new" / "unet.stablehlo"
    main(["export", str(run.folder), "--out", str(file)])
    said = capsys.readouterr().out
    assert "float32 [b, 4*h, 4*w, 3]" in said and "float32 [b, 4*h, 4*w, 1]" in said and str(file) in said
    batches = [images(1, 64, 80), images(3, 64, 80), images(2, 36, 112)]
    for batch, maps in zip(batches, elsewhere(file, JAX, batches, tmp_path), strict=True):
        same(maps, run, batch)
        same(jax.device_get(export.load(file)({"image": batch})), run, batch)
    with pytest.raises(ValueError, match=r"4\*h"):
        export.load(file)({"image": images(1, 62, 80)})


@pytest.mark.parametrize(("name", "stride"), [("seg_camvid", 16), ("seg_voc_refinenet", 32)])
def test_a_photo_at_the_size_of_training_need_not_be_a_multiple_of_the_stride(name, stride, tmp_path, capsys):
    run = untrained(tmp_path / "run", name, width=1 / 32, size=(90, 122), crop=(90, 122))
    file = tmp_path / "program.stablehlo"
    main(["export", str(run.folder), "--out", str(file)])
    assert f"input  image: float32 [b, {stride}*h, {stride}*w, 3], letters are free" in capsys.readouterr().out
    for batch in (images(2, 64, 96), images(1, 96, 32)):
        same(export.load(file)({"image": batch}), run, batch)


def test_the_file_beside_the_program_says_what_it_is(runs):
    run = runs["depth_nyu"]
    main(["export", str(run.folder)])
    about = json.loads((run.folder / "export.stablehlo.json").read_text())
    assert about["inputs"] == {"image": {"shape": ["b", 76, 100, 3], "dtype": "float32"}}
    assert {name: map["shape"][0] for name, map in about["outputs"].items()} == {"depth": "b", "normal": "b"}
    assert about["experiment"] == "experiments.depth_nyu" and about["step"] == run.recipe.steps
    assert about["trained"]["versions"]["jax"] and about["exported"]["versions"]["jax"] == jax.__version__
    assert "divided by 255" in about["photo"] and max(about["difference"].values()) <= export.TOLERANCE


def test_what_goes_in_beside_an_image_keeps_its_shape(tmp_path, capsys):
    """A run on pose also takes where the torso is."""
    run = untrained(tmp_path / "run", "pose_flic", size=(48, 64), window=(12, 16), width=4)
    main(["export", str(run.folder)])
    assert "input  torso: float32 [b, 2]" in capsys.readouterr().out
    batch = {"image": images(3, 48, 64), "torso": np.full((3, 2), 30, np.float32), "torso_known": np.float32([1, 0, 1])}
    theirs = jax.device_get(export.load(run.folder / "export.stablehlo")(batch))
    predict = predict_after(run.recipe, run.recipe.steps)
    ours = jax.device_get(jax.jit(predict)(core.eval_params(run.state), run.state.carry, batch))
    assert set(theirs) == set(ours)
    for name, mine in ours.items():
        np.testing.assert_allclose(theirs[name], mine, atol=1e-4 * np.abs(mine).max(), rtol=0)


@pytest.mark.parametrize(("format", "needs"), [("stablehlo", "jax"), ("onnx", "jax2onnx")])
def test_what_the_documentation_does_with_a_photo_is_what_predict_does(runs, format, needs, tmp_path):
    pytest.importorskip(needs)
    run = runs["depth_nyu"]
    with jax.numpy_rank_promotion("allow"):  # jax2onnx relies on it
        main(["export", str(run.folder), "--format", format, "--out", str(tmp_path / f"export.{format}")])
    (code,) = (code for code in CODE if f'"export.{format}"' in code)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 130, 3), np.uint8)).save(tmp_path / "photo.jpg")
    assert "(152, 114)" in code  # columns and rows of "quick"; here it is smaller
    code = code.replace("(152, 114)", "(100, 76)") + 'np.save("depth.npy", depth)\n'
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    ((prediction, _),) = run.predict([read_image(tmp_path / "photo.jpg")])
    mine = prediction["depth"][None]
    np.testing.assert_allclose(np.load(tmp_path / "depth.npy"), mine, atol=1e-5 * np.abs(mine).max(), rtol=0)


@pytest.mark.parametrize("name", SIZES)
def test_onnx_runs_without_jax_at_any_batch(runs, name, tmp_path, capsys):
    pytest.importorskip("jax2onnx")
    pytest.importorskip("onnxruntime")
    run, file = runs[name], tmp_path / "program.onnx"
    with jax.numpy_rank_promotion("allow"):  # jax2onnx relies on it
        main(["export", str(run.folder), "--format", "onnx", "--out", str(file)])
    size = SIZES[name]
    assert f"float32 [b, {size[0]}, {size[1]}, 3]" in capsys.readouterr().out
    batches = [images(1, *size), images(3, *size)]
    for batch, maps in zip(batches, elsewhere(file, ONNX, batches, tmp_path, absent=("jax",)), strict=True):
        same(maps, run, batch)


def test_what_is_exported_are_averaged_parameters_with_statistics_as_the_stage_predicts(tmp_path):
    def recipe(config):
        first, second = toy.recipe(config).stages
        first = first._replace(predict=lambda params, carry, batch: {"map": 2 * batch["image"]})
        return dataclasses.replace(toy.recipe(config), stages=(first, second))

    takes_photos = dict(recipe=recipe, photo=lambda config, photo: {"image": np.float32(photo[:8, :8]) / 255})
    experiment, config = dataclasses.replace(toy.experiment, **takes_photos), toy.Config()
    claim(tmp_path, experiment, "quick", config)
    run, batch = Run(tmp_path, experiment, config), {"image": images(2, 5, 11)}

    def exported(made):
        run.state = random_state(run, made)
        run.state = run.state.replace(carry=jax.tree.map(np.abs, run.state.carry))  # there are variances among it
        data, about = export.export(run, "stablehlo")
        assert about["step"] == made and about["inputs"]["image"]["shape"] == ["b", "h", "w", 3]
        (tmp_path / "program").write_bytes(data)
        return export.load(tmp_path / "program")(batch)["map"]

    np.testing.assert_array_equal(exported(config.first), 2 * batch["image"])
    at_the_end, carry = exported(run.recipe.steps), run.state.carry
    averaged, last = (run.recipe.predict(p, carry, batch)["map"] for p in (carry[core.EMA], run.state.params))
    np.testing.assert_allclose(at_the_end, averaged, atol=1e-5 * np.abs(averaged).max(), rtol=0)
    assert np.abs(at_the_end - last).max() > 1e-2 * np.abs(averaged).max()


def test_a_program_with_other_maps_is_refused(runs, tmp_path, monkeypatch, capfd):
    one = {"depth": np.float32([[1.0, -2.0]])}
    assert export.check({"depth": one["depth"] + np.float32(1e-4)}, one)["depth"] == pytest.approx(5e-5, rel=1e-2)
    for other in (one["depth"] + 1e-2, one["depth"][:, :1], one["depth"] * np.nan):
        with pytest.raises(UserError, match="nothing is written"):
            export.check({"depth": other}, one)
    read = export._read
    monkeypatch.setattr(export, "_read", lambda data: lambda given: jax.tree.map(lambda x: 1.01 * x, read(data)(given)))
    file = tmp_path / "wrong"
    assert "'depth' differs" in fails(capfd, runs["depth_nyu_unet"].folder, "--out", file)
    assert not list(tmp_path.iterdir())


def fails(capfd, *args) -> str:
    capfd.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main(["export", *map(str, args)])
    lines = capfd.readouterr().err.splitlines()
    assert stopped.value.code == 2 and len(lines) == 1 and lines[0].startswith("error: "), lines
    return lines[0]


def test_what_cannot_be_exported_is_one_line(runs, tmp_path, monkeypatch, capfd):
    run = runs["depth_nyu_unet"]
    assert "no run here" in fails(capfd, tmp_path)
    assert "there are stablehlo, onnx" in fails(capfd, run.folder, "--format", "tf")
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    assert "pip install -e '.[onnx]'" in fails(capfd, run.folder, "--format", "onnx")
    (tmp_path / "file").write_text("mine")
    assert "--out" in fails(capfd, run.folder, "--out", tmp_path / "file" / "under")
    blind = Run(run.folder, dataclasses.replace(run.experiment, photo=None), run.config)
    with pytest.raises(UserError, match="does not say how to predict on photos"):
        export.export(blind, "stablehlo")
    measured = dataclasses.replace(runs["labels_nyu"].config, geometry="true")
    with pytest.raises(UserError, match="measured depth"):
        export.export(Run(run.folder, runs["labels_nyu"].experiment, measured), "stablehlo")


def test_files_that_are_no_programs(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        export.load(tmp_path / "absent")
    (tmp_path / "text").write_text("not a program")
    with pytest.raises(UserError, match=f"not a program that jax {jax.__version__} reads"):
        export.load(tmp_path / "text")


def test_an_unfinished_run_is_exported_with_a_note(tmp_path, capfd):
    run = untrained(tmp_path / "run", "depth_nyu_unet", missing=1)
    main(["export", str(run.folder)])
    assert (
        capfd.readouterr().err
        == f"note: {run.folder}: has made {run.recipe.steps - 1} of its {run.recipe.steps} steps\n"
    )
    assert (run.folder / "export.stablehlo").exists()
