"""Several processes on this machine: they train as one, stop together, and say who is missing or differs."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
STEPS = ["--first", "30", "--second", "30", "--save-every", "10", "--batch", "16", "--sgd"]


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(folder, processes, *options, devices=2, which=None, where=None):
    """Processes of one job, or only those named by `which`; `options` may be a list for each."""
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    env = {**os.environ, "PYTHONPATH": path, "JAX_NUM_CPU_DEVICES": str(devices)}
    address = where or f"127.0.0.1:{port()}"
    job = []
    for i in range(processes) if which is None else which:
        ours = [word for option in options for word in (option[i] if isinstance(option, list) else [option])]
        alone = [] if processes == 1 else ["--coordinator", address, "--processes", str(processes), "--process", str(i)]
        command = [sys.executable, "-c", "import toy; toy.main()", "quick", "--run", str(folder), *STEPS, *alone, *ours]
        job.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    return job


def ends(job, status=0) -> list[str]:
    try:
        said = [process.communicate(timeout=150)[0] for process in job]
    finally:
        for process in job:
            process.kill()
    assert [process.returncode for process in job] == [status] * len(job), "\n".join(said)
    return ["".join(line for line in text.splitlines(True) if not line.startswith("[Gloo]")) for text in said]


def bits(folder) -> list[np.ndarray]:
    from pixlab.run import Run

    sys.path.insert(0, str(HERE))
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
    said = ends(start(folder, 2))
    assert "this run" in said[0] and said[1] == ""  # the first alone speaks
    return folder


def test_two_processes_train_as_one(unbroken, tmp_path):
    ends(start(tmp_path / "one", 1, devices=4))
    for ours, theirs in zip(bits(unbroken), bits(tmp_path / "one"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


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
    assert job[0].returncode != 0 and "1" in said
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


def test_who_is_missing_is_said_on_all(tmp_path):
    said = ends(start(tmp_path / "run", 3, "--host-timeout", "3", which=[0, 2]), status=75)
    for text in said:
        assert "after 3 s process 1 of 3 had not come to 127.0.0.1:" in text and text.count("\n") == 1
    [text] = ends(start(tmp_path / "run", 3, "--host-timeout", "2", which=[1]), status=75)
    assert "process 0 at 127.0.0.1:" in text and "has not answered for 2 s" in text and text.count("\n") == 1


def test_processes_with_different_options_are_told(tmp_path):
    said = ends(start(tmp_path / "run", 2, [["--lr=0.01"], ["--lr=0.02"]]), status=2)
    for text in said:
        assert "the processes differ: --lr is 0.01 on" in text and "0.02 on" in text and text.count("\n") == 1
