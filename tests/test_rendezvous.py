"""Which job a process belongs to, who may come to it, and which rows of each batch are its own."""

import concurrent.futures
import itertools
import os
import socket

import numpy as np
import pytest

from pixlab import hosts
from pixlab.data.pipeline import Data, Share, Split, train_batches
from pixlab.errors import Absent, UserError
from pixlab.options import Options
from pixlab.rendezvous import Guest, Job, differences, meet

HOST = socket.gethostname()
KNOWN = ("JAX_", "SLURM_", "TPU_", "MEGASCALE_", "CLOUD_TPU", "OMPI_", "KUBERNETES_", "JOB_", "JOBSET_")


# Who comes


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def arrive(*guests: tuple[int, int], seconds: float = 60) -> list[Exception | None]:
    """What each (number, processes) that comes to one place meets with."""
    address = f"127.0.0.1:{port()}"

    def come(guest: tuple[int, int]) -> Exception | None:
        try:
            for peer in meet(Job(address, guest[1], guest[0]), {}, seconds):
                peer.line.close()
        except UserError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(len(guests)) as threads:
        return list(threads.map(come, guests))


def test_all_that_come_are_let_in():
    assert arrive((0, 3), (2, 3), (1, 3)) == [None] * 3


def test_two_with_one_number_are_told_all_of_them():
    said = arrive((0, 3), (1, 3), (1, 3))
    assert [type(error) for error in said] == [UserError] * 3
    assert {str(error) for error in said} == {
        f"two processes have the number 1, on {HOST} and on {HOST}; give each its own"
    }


def test_a_number_that_is_too_high_is_told_to_all():
    said = arrive((0, 3), (3, 4), (1, 3))
    assert [type(error) for error in said] == [UserError] * 3
    assert {str(error) for error in said} == {
        f"process 3 on {HOST} is one too many: the processes of this job are 0 to 2"
    }


def test_one_that_was_started_again_meanwhile_counts_once():
    address = ("127.0.0.1", port())
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        job = Job(f"127.0.0.1:{address[1]}", 3, 0)
        first = threads.submit(meet, job, {}, 60)
        while True:
            try:
                dead = socket.create_connection(address)
                break
            except ConnectionRefusedError:
                assert not first.done()
        with dead:
            dead.sendall(b'[1, "before", {}]\n')
        others = [threads.submit(meet, job._replace(process=2), {}, 60)]
        peers = meet(job._replace(process=1), {}, 60) + others[0].result() + first.result()
    assert sorted(peer.name for peer in peers) == [f"process {i} on {HOST}" for i in (0, 0, 1, 2)]
    for peer in peers:
        peer.line.close()


def test_a_port_that_is_taken_is_said():
    with socket.create_server(("", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {taken} is taken .*; is another process 0 running\?"):
            meet(Job(f"127.0.0.1:{taken}", 2, 0), {}, 5)


def test_differences_name_the_file():
    guests = [Guest(i, host, {"pixlab/core.py": text}) for i, host, text in ((1, "b", "two"), (0, "a", "one"))]
    assert "pixlab/core.py is 'one' on a (process 0) and 'two' on b (process 1)" in differences(guests)
    assert differences(guests[:1] * 2) == ""


# Where the job is


@pytest.fixture
def env(monkeypatch):
    for name in list(os.environ):
        if name.startswith(KNOWN):
            monkeypatch.delenv(name)
    return lambda **variables: [monkeypatch.setenv(name, value) for name, value in variables.items()]


@pytest.fixture
def tpu(env, monkeypatch):
    """A TPU VM, with what its metadata server says."""
    from jax._src.clusters import cloud_tpu_cluster as cluster

    monkeypatch.setattr(cluster, "running_in_cloud_tpu_vm", True)
    monkeypatch.setattr(cluster.socket, "gethostbyname", lambda name: "10.0.0.1")
    metadata = {"tpu-env": ""}
    monkeypatch.setattr(cluster, "get_metadata", lambda key: (metadata.get(key, ""), 200 if key in metadata else 404))
    return metadata


def test_alone_where_nothing_says_otherwise(env):
    assert hosts.find(Options()) is None
    with pytest.raises(UserError, match="--hosts many: nothing here says where the others are"):
        hosts.find(Options(hosts="many"))
    for options in (Options(processes=2), Options(process=0)):
        with pytest.raises(UserError, match="--processes and --process need --coordinator HOST:PORT"):
            hosts.find(options)


def test_flags_come_before_the_environment(env):
    env(JAX_COORDINATOR_ADDRESS="there:1", JAX_NUM_PROCESSES="4", JAX_PROCESS_ID="3")
    assert hosts.find(Options()) == Job("there:1", 4, 3)
    assert hosts.find(Options(coordinator="here:2", processes=2, process=0)) == Job("here:2", 2, 0)
    assert hosts.find(Options(hosts="one")) is None
    with pytest.raises(UserError, match="needs --processes N and --process I with 0 <= I < N"):
        hosts.find(Options(processes=3))


@pytest.mark.parametrize("name", ["JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "SLURM_NTASKS"])
def test_a_variable_that_is_no_number_is_named(env, name):
    if name != "SLURM_NTASKS":
        env(JAX_COORDINATOR_ADDRESS="there:1", JAX_NUM_PROCESSES="4", JAX_PROCESS_ID="3")
    env(SLURM_STEP_NODELIST="node1", **{name: "two"})
    with pytest.raises(UserError, match=f"{name} must be a number, not 'two'"):
        hosts.find(Options())


def test_slurm(env):
    slurm = {"SLURM_JOB_ID": "5000", "SLURM_STEP_NODELIST": "node[07-09],other1", "SLURM_PROCID": "2"}
    env(**slurm, SLURM_LOCALID="0", SLURM_NTASKS="4")
    assert hosts.find(Options()) == Job(f"node07:{5000 % 4096 + 61440}", 4, 2)
    env(SLURM_NTASKS="1")
    assert hosts.find(Options()) is None


def test_a_cluster_that_says_nonsense_is_a_mistake(env):
    env(SLURM_JOB_ID="5", SLURM_STEP_NODELIST="a,b", SLURM_PROCID="x", SLURM_LOCALID="0", SLURM_NTASKS="2")
    with pytest.raises(UserError, match=r"is not understood \(.*'x'\); give --coordinator"):
        hosts.find(Options())


def test_a_job_set_of_one_slice(env, tpu):
    env(TPU_WORKER_HOSTNAMES="train-0.svc,train-1.svc", TPU_WORKER_ID="1")
    assert hosts.find(Options()) == Job("train-0.svc:8482", 2, 1)


def test_a_job_set_of_two_slices(env, tpu):
    env(TPU_WORKER_HOSTNAMES="train-1-0.svc,train-1-1.svc", TPU_WORKER_ID="1")
    env(MEGASCALE_COORDINATOR_ADDRESS="train-0-0.svc", MEGASCALE_NUM_SLICES="2", MEGASCALE_SLICE_ID="1")
    assert hosts.find(Options()) == Job("train-0-0.svc:8482", 4, 3)


def test_a_coordinator_without_a_name_yet_is_absent(env, tpu, monkeypatch):
    def unknown(name: str) -> str:
        raise socket.gaierror

    from jax._src.clusters import cloud_tpu_cluster as cluster

    monkeypatch.setattr(cluster.socket, "gethostbyname", unknown)
    monkeypatch.setattr(cluster.time, "sleep", lambda seconds: None)
    env(TPU_WORKER_HOSTNAMES="train-0.svc,train-1.svc", TPU_WORKER_ID="1")
    with pytest.raises(Absent, match=r"train-0\.svc"):
        hosts.find(Options(host_timeout=1))


def test_a_pod_of_cloud_tpu_vms(env, tpu):
    tpu |= {"agent-worker-number": "3", "worker-network-endpoints": ",".join(f"x:{i}:10.0.0.{i}" for i in range(4))}
    assert hosts.find(Options(hosts="many")) == Job("10.0.0.0:8482", 4, 3)
    assert hosts.find(Options()) is None  # not asked


# Which rows are whose


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_shares_make_the_batch_in_order(processes):
    rows, batch = list(range(24)), 8
    shares = [Share(rows, batch, process, processes) for process in range(processes)]
    own = batch // processes
    for number in range(3):
        taken = [[share[i] for i in range(number * own, (number + 1) * own)] for share in shares]
        assert list(itertools.chain(*taken)) == rows[number * batch : (number + 1) * batch]
    assert [len(share) for share in shares] == [24 // processes] * processes


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_an_epoch_has_every_record_once_over_all_processes(processes, monkeypatch):
    data = Data(batch=8, splits={"train": Split([np.int64(i) for i in range(24)], lambda row: {"row": row})}, workers=2)

    def batches(process: int, of: int) -> list[list[int]]:
        monkeypatch.setattr("jax.process_index", lambda: process)
        monkeypatch.setattr("jax.process_count", lambda: of)
        read = train_batches(data, seed=5, start=0)
        return [next(read)["row"].tolist() for _ in range(6)]

    shares = [batches(process, processes) for process in range(processes)]
    whole = [list(itertools.chain(*parts)) for parts in zip(*shares, strict=True)]
    assert whole == batches(0, 1)
    for epoch in (whole[:3], whole[3:]):
        assert sorted(itertools.chain(*epoch)) == list(range(24))
