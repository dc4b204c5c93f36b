"""The loop's promises: exact scores, clean stops, damaged files, other configs, full disks."""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

from pixlab import checkpoint, core
from pixlab.core import Metric, State
from pixlab.data.pipeline import Data, Split, eval_batches, train_batches
from pixlab.errors import UserError
from pixlab.evaluate import Evaluator
from pixlab.mesh import make_mesh
from pixlab.run import Run, alone, write_json
from pixlab.train import NonFinite, Stopped, StopRequest, abstract_state, predict_after, train

SHORT = ["--first", "4", "--second", "4", "--save-every", "2"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return toy.main(["quick", "--run", str(folder), *SHORT, "--eval-every", "3"])


# Scores


def brightness(prediction, example):
    return {"sum": jnp.sum(example["image"]), "count": jnp.float32(1), "seen": prediction["map"]}


def score(count: int, batch: int) -> dict[str, float]:
    images = [{"image": np.full((2, 2, 1), i + 1, np.float32)} for i in range(count)]
    data = Data(batch, {"test": Split(images, lambda frame: frame)}, workers=2)
    metric = Metric(brightness, lambda total: {"mean": total["sum"] / total["count"] / 4, "count": total["count"]})
    predict = lambda params, carry, batch: {"map": jnp.mean(batch["image"], axis=(1, 2, 3))}  # noqa: E731
    state = State(step=jnp.int32(0), params={}, carry={}, opt={})
    return Evaluator(predict, {"m": metric}, make_mesh(batch))(state, eval_batches(data, "test"))


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 7, 8, 11, 16, 64])
def test_every_image_counts_once_whatever_the_batch_and_the_devices(batch):
    assert score(11, batch) == {"m/mean": 6.0, "m/count": 11.0}


def test_scores_of_a_network_do_not_depend_on_batch_size_and_devices(finished):
    data = toy.data(finished.config)
    ours = []
    for batch in (1, 4, 8, 11):
        evaluate = Evaluator(finished.recipe.predict, finished.recipe.metrics, make_mesh(batch))
        ours.append(evaluate(finished.state, eval_batches(dataclasses.replace(data, batch=batch), "test"))["map/mse"])
    np.testing.assert_allclose(ours, ours[0], rtol=1e-6)


def test_a_padded_image_cannot_spoil_the_score_even_if_its_statistics_are_nan():
    images = [{"image": np.full((2, 2, 1), i, np.float32)} for i in range(3)]
    data = Data(2, {"test": Split(images, lambda frame: frame)}, workers=1)
    batches = list(eval_batches(data, "test"))
    batches[-1]["image"][1] = np.nan
    metric = Metric(lambda p, e: jnp.sum(e["image"]), lambda total: {"sum": total})
    state = State(step=jnp.int32(0), params={}, carry={}, opt={})
    assert Evaluator(lambda p, c, b: {"x": b["image"]}, {"m": metric}, make_mesh(2))(state, batches) == {"m/sum": 12.0}


def ragged(frames):
    """The frames, every other one with a row cut off."""
    return [{name: x[: 8 - i % 2] for name, x in frame.items()} for i, frame in enumerate(frames)]


def test_examples_of_different_sizes_are_scored_and_drawn_one_by_one(tmp_path):
    def data(config):
        data = toy.data(config)
        return dataclasses.replace(data, splits=data.splits | {"test": Split(odd, lambda frame: frame, alone=True)})

    odd = ragged(toy.frames(11, 1))
    experiment = dataclasses.replace(toy.experiment, data=data)
    run = experiment.main(["quick", "--run", str(tmp_path / "run"), *SHORT])
    assert run.mesh.size > 1
    predict = jax.jit(run.recipe.predict)
    params, carry = core.eval_params(run.state), run.state.carry
    maps = [predict(params, carry, {"image": jnp.asarray(frame["image"])[None]})["map"][0] for frame in odd]
    errors = [np.square(ours - frame["truth"]) for ours, frame in zip(maps, odd, strict=True)]
    expected = sum(map(np.sum, errors)) / sum(error.size for error in errors)
    np.testing.assert_allclose(run.evaluate()["map/mse"], expected, rtol=1e-5)
    np.testing.assert_allclose(run.result["rows"][0][1], expected, rtol=1e-5)
    assert len(list((tmp_path / "run" / "pictures").glob("*0000008.png"))) == 4


def test_each_host_has_the_examples_of_different_sizes_whole(monkeypatch):
    data = Data(4, {"test": Split(ragged(toy.frames(5, 1)), lambda frame: frame, alone=True)}, workers=1)
    for process in range(2):
        found = images_of(process, 2, monkeypatch, lambda: eval_batches(data, "test"))
        assert [x.shape[:2] for x in found] == [(1, 8), (1, 7), (1, 8), (1, 7), (1, 8)]


def test_an_empty_split_is_an_error():
    with pytest.raises(UserError, match="empty"):
        score(0, 4)


# The input pipeline


def test_batches_depend_on_seed_and_number_alone():
    data = toy.data(toy.Config())
    reference = [b["image"] for b, _ in zip(train_batches(data, seed=3, start=0), range(9), strict=False)]
    for workers, start in [(1, 0), (7, 4), (2, 8)]:
        batches = train_batches(dataclasses.replace(data, workers=workers), seed=3, start=start)
        np.testing.assert_array_equal(next(batches)["image"], reference[start])
    assert not np.array_equal(next(train_batches(data, seed=4, start=0))["image"], reference[0])


def test_an_epoch_has_every_image_once_and_the_next_one_another_order():
    numbers = [{"n": np.int32(i)} for i in range(12)]
    batches = train_batches(Data(4, {"train": Split(numbers, lambda f: f)}, 2), seed=0, start=0)
    epochs = [[int(n) for _ in range(3) for n in next(batches)["n"]] for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(12)) and epochs[0] != epochs[1]


def images_of(process: int, processes: int, monkeypatch, batches) -> list[np.ndarray]:
    monkeypatch.setattr(jax, "process_index", lambda: process)
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    return [batch["image"] for batch, _ in zip(batches(), range(6), strict=False)]


def test_batches_of_one():
    data = toy.experiment.data(toy.Config(batch=1))
    first, again = (next(train_batches(data, seed=1, start=5)) for _ in range(2))
    assert first["image"].shape[0] == 1
    np.testing.assert_array_equal(first["image"], again["image"])


def test_processes_share_the_batches_of_one(monkeypatch):
    data = toy.data(toy.Config())
    for batches in (lambda: train_batches(data, seed=3, start=5), lambda: eval_batches(data, "test")):
        whole = images_of(0, 1, monkeypatch, batches)
        parts = zip(*(images_of(p, 4, monkeypatch, batches) for p in range(4)), strict=True)
        for k, part in enumerate(parts):
            together = np.concatenate(part)
            np.testing.assert_array_equal(together, whole[k])


# Stops


def wider(state: State) -> State:
    def grow(x):
        shape = (*x.shape[:-1], x.shape[-1] + 1) if x.ndim == 4 else x.shape
        return jax.ShapeDtypeStruct(shape, x.dtype, sharding=x.sharding)

    return jax.tree.map(grow, state)


def renamed(state: State) -> State:
    return state.replace(params={f"new_{name}": value for name, value in state.params.items()})


@pytest.mark.parametrize("change", [wider, renamed])
def test_checkpoints_of_other_networks_are_refused_in_one_line_and_kept(finished, tmp_path, capfd, change):
    folder = shutil.copytree(finished.folder / "checkpoints", tmp_path / "checkpoints")
    like = abstract_state(finished.recipe, finished.mesh)
    with pytest.raises(UserError, match="holds other networks") as raised:
        checkpoint.restore_for_use(folder, lambda step: change(like(step)))
    assert "\n" not in str(raised.value)
    assert capfd.readouterr().err == ""
    assert checkpoint.restore_for_use(folder, like)[1] == 8


def test_a_run_leaves_what_it_promises(finished):
    names = {path.name for path in finished.folder.iterdir()}
    assert {
        "config.json",
        "metrics.csv",
        "result.json",
        "index.html",
        "checkpoints",
        "tensorboard",
        "pictures",
    } <= names
    rows = [line.split(",") for line in (finished.folder / "metrics.csv").read_text().splitlines()[1:]]
    logged = {(int(step), name) for step, name, _ in rows}
    assert {(step, "train/coarse/loss") for step in range(1, 5)} <= logged
    assert {(step, "train/fine/loss") for step in range(5, 9)} <= logged
    assert {(3, "test/map/mse"), (6, "test/map/mse"), (8, "test/map/mse")} <= logged


def test_a_reopened_run_scores_and_is_the_same(finished):
    again = Run.open(finished.folder)
    assert again.config == finished.config
    assert again.evaluate()["map/mse"] == pytest.approx(finished.result["rows"][0][1], rel=1e-6)


def scores_of(folder) -> dict[int, float]:
    rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()[1:]]
    return {int(step): float(value) for step, name, value in rows if name == "test/map/mse"}


def test_a_stage_may_have_a_prediction_of_its_own(tmp_path):
    config = toy.Config(first=4, second=4, eval_every=2)
    recipe = toy.recipe(config)
    first = recipe.stages[0]._replace(predict=lambda params, carry, batch: {"map": batch["truth"]})
    recipe = dataclasses.replace(recipe, stages=(first, recipe.stages[1]))
    train(recipe, toy.data(config), tmp_path, config)
    scores = scores_of(tmp_path)
    assert list(scores) == [2, 4, 6] and scores[2] == scores[4] == 0 < scores[6]
    assert [predict_after(recipe, step) for step in (0, 4, 5, 8)] == [first.predict] * 2 + [recipe.predict] * 2


def test_at_the_end_of_a_stage_its_own_averages_are_scored(tmp_path):
    config = toy.Config(first=4, second=2, eval_every=2)
    recipe = toy.recipe(config)
    size = lambda params, carry, batch: {"map": batch["truth"] + jnp.mean(params["coarse"]["Conv_0"]["kernel"] ** 2)}  # noqa: E731
    first, second = recipe.stages[0]._replace(predict=size), recipe.stages[1]._replace(ema=0.0)  # which drops averages
    for name, decay in (("a", 0.999999), ("raw", 0.0)):
        stages = (first._replace(ema=decay), second)
        train(dataclasses.replace(recipe, stages=stages), toy.data(config), tmp_path / name, config)
    averaged, raw = scores_of(tmp_path / "a"), scores_of(tmp_path / "raw")
    assert averaged[4] == pytest.approx(averaged[2], rel=1e-4)  # hardly moved from where training began
    assert raw[4] != pytest.approx(raw[2], rel=1e-3)


def test_a_stop_where_a_scoring_is_due_scores_too(tmp_path, monkeypatch):
    monkeypatch.setattr(StopRequest, "at", lambda self, step: "SIGTERM")
    config = toy.Config(first=4, second=2, eval_every=1)
    with pytest.raises(Stopped, match="saved step 1"):
        train(toy.recipe(config), toy.data(config), tmp_path, config)
    assert list(scores_of(tmp_path)) == [1]


def test_the_frozen_network_did_not_move(tmp_path):
    run = toy.main(["--run", str(tmp_path / "a"), "--first", "2", "--second", "3"])
    short = toy.main(["--run", str(tmp_path / "b"), "--first", "2", "--second", "1"])
    for part in ("params", "carry"):
        now, then = getattr(run.state, part)["coarse"], getattr(short.state, part)["coarse"]
        assert all(jax.tree.leaves(jax.tree.map(np.array_equal, now, then)))
    assert not np.array_equal(
        run.state.params["fine"]["Conv_0"]["kernel"], short.state.params["fine"]["Conv_0"]["kernel"]
    )
    assert core.EMA in run.state.carry


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_a_good_checkpoint(tmp_path):
    config = toy.Config(first=6, second=0, save_every=2, run=str(tmp_path))
    recipe, data = toy.recipe(config), toy.data(config)
    stage = recipe.stages[0]
    objective = stage.objectives["coarse"]

    def poisoned(params, carry, batch, key):
        loss, aux = objective.loss(params, carry, batch, key)
        return jnp.where(batch["image"][0, 0, 0, 0] > 5, jnp.nan, 1.0) * loss, aux

    def spoil(frame, rng, count=[]):  # noqa: B006 - counts calls
        count.append(1)
        return {**frame, "image": frame["image"] * (100.0 if len(count) > 40 else 1.0)}

    data = dataclasses.replace(
        data, batch=8, workers=1, splits={"train": dataclasses.replace(data.splits["train"], augment=spoil)}
    )
    stage = stage._replace(objectives={"coarse": objective._replace(loss=poisoned)})
    recipe = dataclasses.replace(recipe, stages=(stage,))
    with pytest.raises(
        NonFinite, match=r"step [3-6]: (loss|grad_norm) of objective 'coarse' is nan.*step [24] is good"
    ):
        train(recipe, data, tmp_path / "run", config)
    like = checkpoint_like(recipe, config)
    state, step = checkpoint.restore_for_use(tmp_path / "run" / "checkpoints", like)
    assert step in (2, 4) and all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(state.params))


def checkpoint_like(recipe, config):
    from pixlab.train import abstract_state

    return abstract_state(recipe, make_mesh(config.batch))


def test_an_unreadable_image_stops_in_one_line_and_nothing_is_lost(tmp_path):
    config = toy.Config(first=9, second=0, save_every=0)
    data = toy.data(config)

    class Damaged(list):
        def __getitem__(self, index):
            if index == 5 and self.reads > 30:
                raise OSError("broken PNG")
            self.reads += 1
            return super().__getitem__(index)

    source = Damaged(data.splits["train"].source)
    source.reads = 0
    data = dataclasses.replace(data, splits={"train": dataclasses.replace(data.splits["train"], source=source)})
    with pytest.raises(UserError, match=r"record 5 .*broken PNG") as raised:
        train(toy.recipe(config), data, tmp_path, config)
    assert "\n" not in str(raised.value)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()]


# Files


def damage(folder: pathlib.Path, how: str) -> list[pathlib.Path]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(
            b"" if how == "emptied" else whole[: len(whole) // 2] if how == "halved" else b"\0" * len(whole)
        )
    return files


@pytest.mark.parametrize("how", ["emptied", "halved", "zeroed"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, finished, capfd, how):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    newest = max((folder / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))
    damage(newest, how)
    again = toy.main(["--run", str(folder), *SHORT, "--eval-every", "3"])
    assert f"checkpoint of step {newest.name} is damaged" in capfd.readouterr().err
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, again.state.params, finished.state.params)))


def test_each_single_damaged_file_is_noticed_or_does_no_harm(tmp_path, finished):
    source = max((finished.folder / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))
    like = checkpoint_like(finished.recipe, finished.config)
    good = [np.asarray(x) for x in jax.tree.leaves(finished.state)]
    for path in [p for p in sorted(source.rglob("*")) if p.is_file() and p.stat().st_size > 60]:
        folder = tmp_path / "-".join(path.relative_to(source).parts)
        shutil.copytree(finished.folder / "checkpoints", folder)
        target = folder / path.relative_to(finished.folder / "checkpoints")
        target.write_bytes(target.read_bytes()[: path.stat().st_size // 2])
        state, step = checkpoint.restore_for_use(folder, like)
        if step == int(source.name):
            assert all(map(np.array_equal, good, map(np.asarray, jax.tree.leaves(state)))), path


def test_no_readable_checkpoint_at_all_is_one_line(tmp_path, finished):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    for step in (folder / "checkpoints").glob("[0-9]*"):
        damage(step, "zeroed")
    with pytest.raises(UserError, match="none of the checkpoints") as raised:
        toy.main(["--run", str(folder), *SHORT])
    assert "\n" not in str(raised.value)


def test_a_folder_with_another_config_is_refused_and_left_alone(finished):
    before = (finished.folder / "config.json").read_bytes()
    with pytest.raises(UserError, match=r"lr 0.01 there, 0.5 here"):
        toy.main(["--run", str(finished.folder), *SHORT, "--lr", "0.5"])
    assert (finished.folder / "config.json").read_bytes() == before


def test_a_folder_of_another_experiment_is_said_to_be_that(finished):
    other = dataclasses.replace(toy.experiment, name="blur")
    with pytest.raises(UserError, match=r"holds another run \(of toy\); choose"):
        other.main(["--run", str(finished.folder), *SHORT, "--lr", "0.5"])


def test_what_the_test_images_cannot_measure_is_said_and_is_no_number(tmp_path, capsys):
    """Such as the accuracy on labels that are all void."""

    def recipe(config):
        made = toy.recipe(config)
        gaps = Metric(made.metrics["map"].stats, lambda total: {"mse": 0.0, "gaps": float("nan")})
        return dataclasses.replace(made, metrics={"map": gaps})

    run = dataclasses.replace(toy.experiment, recipe=recipe).main(["--run", str(tmp_path / "run"), *SHORT])
    assert "not measured, as nothing in the test images is to measure it on: map/gaps\n" in capsys.readouterr().out
    text = (run.folder / "result.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["rows"] == [["this run", 0.0, None]]


def test_options_that_leave_the_result_as_it_is_may_change(finished):
    again = toy.main(["--run", str(finished.folder), *SHORT, "--workers", "1", "--log-every", "2"])
    assert again.result["rows"] == finished.result["rows"]


def test_a_folder_that_is_not_a_run_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="not a run"):
        toy.main(["--run", str(tmp_path)])
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_damaged_config_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text('{"experiment": "to')
    with pytest.raises(UserError, match="damaged"):
        Run.open(tmp_path)


def complete_checkpoints(run):
    """Those that have their final name; Orbax writes `commit_success.txt` before it gives it."""
    return [path for path in run.glob("checkpoints/*") if path.name.isdigit()]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounts a small file system")
@pytest.mark.parametrize(("log_every", "what"), [("1", "disk is full|no space"), ("1000", "checkpoint.*was not saved")])
def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(tmp_path, log_every, what):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", small], capture_output=True).returncode:
        pytest.skip("may not mount a small file system")
    try:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "JAX_NUM_CPU_DEVICES": "2"}
        options = ["quick", "--first", "300", "--second", "10", "--run", str(small / "run")]
        options += ["--save-every", "20", "--log-every", log_every]
        command = [sys.executable, "-c", "import toy; toy.main()", *options]
        process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not complete_checkpoints(small / "run"):
            time.sleep(0.01)
        with contextlib.suppress(OSError), open(small / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(1024))
        _, text = process.communicate(timeout=120)
        errors = [line for line in text.splitlines() if line.startswith("error:")]
        assert process.returncode == 2 and len(errors) == 1 and "Traceback" not in text, text
        assert re.search(what, errors[0])
        (small / "filler").unlink()
        again = subprocess.run(command, env=env, capture_output=True, text=True)
        assert again.returncode == 0, again.stderr
        kept = re.search(r"the last complete one is of step (\d+)", errors[0])
        assert kept and f"going on from the checkpoint of step {kept[1]}\n" in again.stderr, (text, again.stderr)
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_json_is_written_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})
    assert (tmp_path / "a.json").read_text() == '{\n "x": 1\n}\n'


# The command line


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["quik"], ["quik", "quick", "long"]),
        (["quick", "--lrr", "1"], ["--lrr", "--lr"]),
        (["quick", "--lr", "fast"], ["--lr", "fast"]),
    ],
)
def test_a_typo_names_what_is_possible(args, words, capsys):
    with pytest.raises(UserError, match="what is wrong stands above"):
        toy.main(args)
    text = capsys.readouterr().err
    assert all(word in text for word in words)


def test_from_a_shell_a_typo_is_exit_status_2(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["toy", "quik"])
    with pytest.raises(SystemExit) as stopped:
        toy.main()
    assert stopped.value.code == 2 and "quick" in capsys.readouterr().err


def test_a_run_folder_belongs_to_one_process(tmp_path):
    with alone(tmp_path), pytest.raises(UserError, match="another process trains there"):
        toy.main([*SHORT, "--run", str(tmp_path)])
    assert not list(tmp_path.iterdir())
    run = toy.main([*SHORT, "--run", str(tmp_path)])
    rows = (tmp_path / "metrics.csv").read_text()
    assert toy.main([*SHORT, "--run", str(tmp_path)]).result["rows"] == run.result["rows"]
    assert (tmp_path / "metrics.csv").read_text() == rows  # scored again, logged once


def test_a_value_out_of_range_is_one_line(tmp_path):
    with pytest.raises(UserError, match="--batch must be at least 1"):
        toy.main(["--run", str(tmp_path), "--batch", "0"])


def test_help_lists_every_option_with_its_meaning(capsys):
    with pytest.raises(SystemExit):
        toy.main(["quick", "--help"])
    text = capsys.readouterr().out
    for field in dataclasses.fields(toy.Config):
        assert f"--{field.name.replace('_', '-')}" in text
    assert "Learning rate." in text and "Steps between checkpoints" in text


def test_adam_state_and_averages_are_in_the_checkpoint(finished):
    state = Run.open(finished.folder).state
    leaves = jax.tree.leaves(state.opt)
    assert any(np.any(np.asarray(x) != 0) for x in leaves if np.ndim(x))
    expected = optax.adam(1e-2).init({"fine": state.params["fine"]})
    assert jax.tree.structure(state.opt["fine"]) == jax.tree.structure(expected)
    assert core.EMA in state.carry


def test_a_profile_of_some_steps(tmp_path):
    config = toy.Config(first=9, second=0, profile=3, log_every=100)
    train(toy.recipe(config), toy.data(config), tmp_path, config)
    (file,) = tmp_path.glob("profile/**/*.xplane.pb")
    events = [
        e.name
        for plane in jax.profiler.ProfileData.from_file(str(file)).planes
        for line in plane.lines
        for e in line.events
    ]
    assert events.count("train") == 3


def test_nothing_is_transferred_but_batches_logs_and_checkpoints(tmp_path, monkeypatch):
    class Guarded(StopRequest):  # for as long as the loop runs
        def __enter__(self):
            self.guard = jax.transfer_guard("disallow")  # what is not asked for in so many words
            self.guard.__enter__()
            with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
                jax.jit(jnp.add)(np.ones(3), np.ones(3))
            return super().__enter__()

        def __exit__(self, *error):
            super().__exit__(*error)
            self.guard.__exit__(*error)

    monkeypatch.setattr("pixlab.train.StopRequest", Guarded)
    config = toy.Config(first=5, second=3, save_every=3, log_every=2)
    assert int(train(toy.recipe(config), toy.data(config), tmp_path, config).step) == 8
