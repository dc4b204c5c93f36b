"""Killed at any moment, a run ends with the same bits as one that was never stopped."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
STEPS = ["--first", "150", "--second", "150"]
KILLS = 20


def environment(cache) -> dict[str, str]:
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    extra = {"PYTHONPATH": path, "JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_NUM_CPU_DEVICES": "2"}
    return {**os.environ, **extra, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


def start(folder, cache, *options, code="import toy; toy.main()"):
    command = [sys.executable, "-c", code, "quick", "--run", str(folder), *STEPS, *options]
    return subprocess.Popen(
        command, env=environment(cache), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process, status=0) -> str:
    text, _ = process.communicate(timeout=180)
    assert process.returncode == status, text
    return text


def bits(folder) -> list[np.ndarray]:
    from pixlab.run import Run

    sys.path.insert(0, str(HERE))
    state = Run.open(folder).state
    return [np.asarray(x) for x in jax.tree.leaves(state)]


def same(a, b) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    finish(start(folder, cache))
    return folder


def test_killed_at_random_moments(tmp_path, cache, unbroken):
    moments = random.Random(20150511)
    folder, reached = tmp_path / "run", []
    for kill in range(KILLS):
        process = start(folder, cache)
        if kill % 4:  # while it trains and saves, each time further on; the others while it starts
            target, deadline = (kill + 1) * 300 // (KILLS + 1), time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None and _rows(folder) < target:
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.05))
        else:
            time.sleep(moments.uniform(0, 3.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        reached.append(_rows(folder))
    assert reached[0] < 150 and sum(150 < step < 300 for step in reached) >= 3  # in both stages, on the way
    text = finish(start(folder, cache))
    assert "going on from the checkpoint" in text
    assert same(bits(folder), bits(unbroken))
    assert (folder / "metrics.csv").read_bytes() == (unbroken / "metrics.csv").read_bytes()


def _rows(folder) -> int:
    path = folder / "metrics.csv"
    steps = [line.split(",")[0] for line in path.read_text().splitlines()[1:]] if path.exists() else []
    return max((int(step) for step in steps if step.isdigit()), default=0)


KILL_AT = """
import os, signal, sys, toy
from pixlab import checkpoint
save, step, before = checkpoint.Checkpoints.save, int(os.environ["AT"]), os.environ["WHEN"]
def deadly(self, state, *, step_=step, **where):
    if before == "before" and where["step"] == step_: os.kill(os.getpid(), signal.SIGKILL)
    save(self, state, **where)
    if before == "started" and where["step"] == step_: os.kill(os.getpid(), signal.SIGKILL)
    if before == "after" and where["step"] == step_: self.finish(); os.kill(os.getpid(), signal.SIGKILL)
checkpoint.Checkpoints.save = deadly
toy.main()
"""


@pytest.mark.parametrize("when", ["before", "started", "after"])
@pytest.mark.parametrize("at", [150, 300])
def test_killed_at_the_end_of_a_stage(tmp_path, cache, unbroken, monkeypatch, when, at):
    monkeypatch.setenv("AT", str(at))
    monkeypatch.setenv("WHEN", when)
    folder = tmp_path / "run"
    finish(start(folder, cache, code=KILL_AT), status=-signal.SIGKILL)
    finish(start(folder, cache))
    assert same(bits(folder), bits(unbroken))


def test_sigterm_saves_says_so_and_goes_on(tmp_path, cache, unbroken):
    folder = tmp_path / "run"
    process = start(folder, cache, "--save-every", "0")
    while _rows(folder) < 20 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    text = finish(process)
    assert "SIGTERM: saved step" in text and "Traceback" not in text
    again = finish(start(folder, cache, "--save-every", "0"))
    assert "going on from the checkpoint of step" in again
    assert same(bits(folder), bits(unbroken))
