"""Several processes on this machine: they train as one, stop together, and say who is missing, differs or fails."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import toy

from pixlab.data.pipeline import eval_batches
from pixlab.evaluate import Evaluator
from pixlab.run import Run

HERE = pathlib.Path(__file__).parent
STEPS = ["--first", "30", "--second", "30", "--save-every", "10", "--batch", "16", "--sgd"]
HOST = socket.gethostname()
# Gloo's threads say whom they are connected to, one line each; their pieces come in any order.
GLOO = re.compile(r"(\[Gloo\]|Rank|is|connected|to|peer|ranks\.?|Expected|number|of|:|\d|\s)*")

KEEPS = """
import itertools, jax, numpy, pixlab.train as train
count, share, save = itertools.count(), train.share_batch, train.Checkpoints.save
def keep(batch, mesh):
    numpy.savez(f"KEPT/batch-{next(count)}-{jax.process_index()}", **batch)
    return share(batch, mesh)
def keep_state(self, state, *, step, batches):
    numpy.savez(f"KEPT/state-{step}", *[leaf.addressable_data(0) for leaf in jax.tree.leaves(state)])
    save(self, state, step=step, batches=batches)
train.share_batch, train.Checkpoints.save = keep, keep_state
"""
TORN = """
import itertools
reads = itertools.count()
class Torn(list):
    def __getitem__(self, i):
        if next(reads) > 250:
            raise OSError("torn")
        return super().__getitem__(i)
toy.frames = lambda count, seed, whole=toy.frames: Torn(whole(count, seed))
"""
CRASH = """
import itertools
reads = itertools.count()
def crash(frame, rng, whole=toy.augment):
    if next(reads) > 250:
        raise RuntimeError("boom")
    return whole(frame, rng)
toy.augment = crash
"""
RAGGED = """
import dataclasses
def ragged(config, whole=toy.data):
    data = whole(config)
    frames = [{name: x[: 8 - i % 3] for name, x in frame.items()} for i, frame in enumerate(toy.frames(11, 1))]
    test = dataclasses.replace(data.splits["test"], source=frames, alone=True)
    return dataclasses.replace(data, splits=data.splits | {"test": test})
toy.main = dataclasses.replace(toy.experiment, data=ragged).main
"""
FULL = """
import shutil, types
asked, disk = iter((10**12, 10**12)), types.SimpleNamespace(rmtree=shutil.rmtree)
disk.disk_usage = lambda path: types.SimpleNamespace(free=next(asked, 0))
import pixlab.checkpoint
pixlab.checkpoint.shutil = disk
"""


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(folder, processes, *options, devices=2, which=None, where=None, does=None, trees=None):
    """Processes of one job, or only those named by `which`; `options` may be a list for each.

    `does` is {process: code that it runs first}, `trees` the source tree of each.
    """
    address = where or f"127.0.0.1:{port()}"
    job = []
    for i in range(processes) if which is None else which:
        ours = [word for option in options for word in (option[i] if isinstance(option, list) else [option])]
        alone = [] if processes == 1 else ["--coordinator", address, "--processes", str(processes), "--process", str(i)]
        code = f"import toy\n{(does or {}).get(i, '')}\ntoy.main()"
        command = [sys.executable, "-c", code, "quick", "--run", str(folder), *STEPS, *alone, *ours]
        tree = trees[i] if trees else HERE.parent
        path = os.pathsep.join([str(HERE), str(tree)])
        env = {**os.environ, "PYTHONPATH": path, "JAX_NUM_CPU_DEVICES": str(devices)}
        job.append(
            subprocess.Popen(command, cwd=tree, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    return job


def ends(job, *status) -> list[str]:
    """What the processes have said; they must end with `status`, one for all or one for each (none: 0)."""
    try:
        said = [process.communicate(timeout=150)[0] for process in job]
    finally:
        for process in job:
            process.kill()
    assert [process.returncode for process in job] == list(status or (0,)) * (len(job) if len(status) < 2 else 1), (
        "\n".join(said)
    )
    return ["".join(line for line in text.splitlines(True) if not GLOO.fullmatch(line)) for text in said]


def bits(folder) -> list[np.ndarray]:
    return [np.asarray(x) for x in jax.tree.leaves(Run.open(folder).state)]


def rows(folder) -> int:
    path = folder / "metrics.csv"
    return len(path.read_text().splitlines()) if path.exists() else 0


def until(condition, job, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline and all(process.poll() is None for process in job):
        time.sleep(0.02)
    assert condition(), "\n".join(process.communicate()[0] for process in job if process.poll() is not None)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two") / "run"
    does = KEEPS.replace("KEPT", str(folder.parent))
    said = ends(start(folder, 2, does={0: does, 1: does}))
    assert "this run" in said[0] and said[1] == ""  # the first alone speaks
    return folder


def test_two_processes_train_as_one(unbroken, tmp_path):
    ends(start(tmp_path / "one", 1, devices=4))
    for ours, theirs in zip(bits(unbroken), bits(tmp_path / "one"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_two_processes_score_examples_of_different_sizes(unbroken, tmp_path, monkeypatch):
    shutil.copytree(unbroken, tmp_path / "two")  # trained already
    ends(start(tmp_path / "two", 2, does={0: RAGGED, 1: RAGGED}))
    monkeypatch.setattr(toy, "main", toy.main)
    exec(RAGGED, here := {"toy": toy})
    run = Run.open(unbroken)
    test = eval_batches(here["ragged"](run.config), "test")
    alone = Evaluator(run.recipe.predict, run.recipe.metrics, run.mesh)(run.state, test)
    ((_, score),) = json.loads((tmp_path / "two" / "result.json").read_text())["rows"]
    np.testing.assert_allclose(score, alone["map/mse"], rtol=1e-5)


def test_all_save_the_same_step_when_one_is_asked_to_stop(unbroken, tmp_path):
    job = start(tmp_path / "run", 2)
    until(lambda: rows(tmp_path / "run") > 15, job)
    job[1].send_signal(signal.SIGTERM)
    assert "SIGTERM: saved step" in ends(job)[0]
    said = ends(start(tmp_path / "run", 2))
    assert "going on from the checkpoint of step" in said[0]
    assert all(map(np.array_equal, bits(tmp_path / "run"), bits(unbroken)))


def test_one_is_killed_and_the_job_starts_again(unbroken, tmp_path):
    job = start(tmp_path / "run", 2, "--host-timeout", "15")
    until(lambda: rows(tmp_path / "run") > 15, job)
    job[1].kill()
    job[1].communicate()
    said, _ = job[0].communicate(timeout=100)  # it does not hang
    assert job[0].returncode == 75 and f"\nerror: process 1 on {HOST} has gone without a word" in said
    ends(start(tmp_path / "run", 2))
    assert all(map(np.array_equal, bits(tmp_path / "run"), bits(unbroken)))


@pytest.mark.parametrize(("processes", "devices"), [(1, 8), (4, 1)])
def test_other_numbers_of_processes_and_devices_go_on_with_the_same(unbroken, tmp_path, processes, devices):
    job = start(tmp_path / "run", 2)
    until(lambda: rows(tmp_path / "run") > 15, job)
    job[0].send_signal(signal.SIGTERM)
    ends(job)
    said = ends(start(tmp_path / "run", processes, devices=devices))
    assert "going on from the checkpoint of step" in said[0]
    for ours, theirs in zip(bits(tmp_path / "run"), bits(unbroken), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_what_two_hosts_saved_one_restores_bit_for_bit_and_reads_the_next_batch(unbroken, tmp_path):
    import toy

    from pixlab.checkpoint import Checkpoints
    from pixlab.data.pipeline import train_batches
    from pixlab.mesh import make_mesh
    from pixlab.run import Run
    from pixlab.train import abstract_state

    kept = unbroken.parent
    shutil.copytree(unbroken / "checkpoints" / "50", tmp_path / "50")
    run = Run.open(unbroken)
    mesh = make_mesh(16, devices=8)  # it was saved from 2 x 2
    checkpoints = Checkpoints(tmp_path, abstract_state(run.recipe, mesh))
    state, batches = checkpoints.restore()
    checkpoints.close()
    assert int(state.step) == batches == 50
    with np.load(kept / "state-50.npz") as saved:
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
        assert len(leaves) == len(saved.files) and all(map(np.array_equal, leaves, saved.values()))
    with np.load(kept / "batch-50-0.npz") as first, np.load(kept / "batch-50-1.npz") as second:
        batch = next(train_batches(toy.data(run.config), seed=run.config.seed, start=batches))
        assert len(batch["image"]) == 16
        for name, whole in batch.items():
            np.testing.assert_array_equal(whole, np.concatenate([first[name], second[name]]))


@pytest.mark.parametrize(
    ("fault", "words", "own", "others"),
    [
        (TORN, "of the Torn cannot be read (torn); prepare the data again", 2, 2),
        (CRASH, "RuntimeError: boom", 1, 75),
        (FULL, "no space left on device: the checkpoint of step 30 was not saved", 2, 2),
    ],
)
def test_a_fault_on_one_ends_all_with_its_name(fault, words, own, others, tmp_path):
    job = start(tmp_path / "run", 2, "--host-timeout", "40", does={1: fault})
    failed, _ = job[1].communicate(timeout=150)
    began = time.monotonic()
    text = job[0].communicate(timeout=100)[0]
    assert time.monotonic() - began < 40
    ends(job, others, own)
    assert words in failed
    [line] = [line for line in text.splitlines() if "rror" in line]
    assert line.startswith(f"error: process 1 on {HOST}: ") and words in line
    assert line == text.splitlines()[-1]
    assert bits(tmp_path / "run")  # the last checkpoint is whole


def test_run_folders_that_are_not_the_same_are_told(tmp_path):
    x, y = tmp_path / "x", tmp_path / "y"
    said = ends(start(x, 2, [["--run", str(x)], ["--run", str(y)]], "--host-timeout", "5"), 2)
    for text in said:
        assert f"error: process 1 on {HOST}: {y} is not the run folder of process 0, {HOST}:{x}; give" in text
        assert text.count("\n") == 1
    assert not y.exists() and [path.name for path in x.iterdir()] == ["config.json"]


def test_processes_with_different_sources_are_told(tmp_path):
    trees = [tmp_path / "a", tmp_path / "b"]
    for tree in trees:
        shutil.copytree(HERE.parent / "pixlab", tree / "pixlab", ignore=shutil.ignore_patterns("__pycache__"))
    with (trees[1] / "pixlab" / "nn" / "__init__.py").open("a") as file:
        file.write("# mine\n")
    for text in ends(start(tmp_path / "run", 2, trees=trees), 2):
        assert "the processes differ: pixlab/nn/__init__.py is '" in text and text.count("\n") == 1


def test_who_is_missing_is_said_on_all(tmp_path):
    said = ends(start(tmp_path / "run", 3, "--host-timeout", "3", which=[0, 2]), 75)
    for text in said:
        assert "after 3 s process 1 of 3 had not come to 127.0.0.1:" in text and text.count("\n") == 1
    [text] = ends(start(tmp_path / "run", 3, "--host-timeout", "2", which=[1]), 75)
    assert "process 0 at 127.0.0.1:" in text and "has not answered for 2 s" in text and text.count("\n") == 1


def test_processes_with_different_options_are_told(tmp_path):
    said = ends(start(tmp_path / "run", 2, [["--lr=0.01"], ["--lr=0.02"]]), 2)
    for text in said:
        assert "the processes differ: --lr is 0.01 on" in text and "0.02 on" in text and text.count("\n") == 1
