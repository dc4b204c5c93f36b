"""The launch scripts, run with stand-ins for the commands of clouds; what they would send elsewhere runs here."""

import contextlib
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[1]
LAUNCH = ROOT / "launch"
SCRIPTS = sorted(LAUNCH.glob("*.sh"))
WORDS = [("tpu_pod.sh", word) for word in ("create", "install", "run", "status", "logs", "stop", "delete")]
WORDS += [("gke.sh", word) for word in ("create", "image", "run", "status", "logs", "stop", "delete", "xpk")]
WORDS += [("workstation.sh", "depth_nyu"), ("slurm.sh", "")]
CLOUD = ("gcloud", "kubectl", "docker", "xpk", "srun", "scontrol", "python3", "sleep")
TRAIN = ["-m", "experiments.depth_nyu", "alexnet"]
GCLOUD = """case "$*" in
*" ssh "*) cd; exec bash -c "${@: -1}" ;;
*" describe "*) head -n 1 ~/states; sed -i 1d ~/states ;;
esac"""


class Machine:
    """An empty home, and stand-ins for commands: each writes down its arguments, then does its part."""

    def __init__(self, folder: pathlib.Path):
        self.home, self.bin, self.record = folder / "home", folder / "bin", folder / "calls"
        self.home.mkdir()
        system = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
        self.env = system | {"HOME": str(self.home), "PATH": f"{self.bin}:/usr/bin:/bin", "CALLS": str(self.record)}

    def has(self, name: str, does: str = "", where: pathlib.Path | None = None) -> None:
        """Add the stand-in `name`, which then does `does`, in bash."""
        path = (where or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/usr/bin/env bash\necho "${{0##*/}} ${{*@Q}}" >> "$CALLS"\n{does}\n')
        path.chmod(0o755)

    def run(self, *command, status: int = 0, where: pathlib.Path = ROOT, **variables) -> str:
        """Run a command to its end; returns what it says."""
        whole = dict(env=self.env | variables, cwd=where, text=True, capture_output=True, timeout=60)
        done = subprocess.run([str(word) for word in command], **whole)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def trains(self) -> bool:
        """Whether the process of `pixlab.pid` is there."""
        return pathlib.Path("/proc", (self.home / "pixlab.pid").read_text().strip()).exists()

    def calls(self, name: str) -> list[list[str]]:
        """The arguments of every call of a stand-in."""
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return [words[1:] for words in map(shlex.split, lines) if words[0] == name]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def wait_for(happened, seconds=20):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.05)


# All of them


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_reads_it(script, machine):
    machine.run("bash", "-n", script)


def test_shellcheck_finds_nothing(machine):
    places = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    shellcheck = shutil.which("shellcheck", path=places) or pytest.skip("needs shellcheck: pip install -e '.[dev]'")
    assert machine.run(shellcheck, *SCRIPTS) == ""
    assert not [path.name for path in SCRIPTS if "shellcheck disable" in path.read_text()]


@pytest.mark.parametrize(("script", "word"), WORDS)
def test_a_dry_run_prints_what_a_shell_understands_and_does_nothing(machine, script, word):
    for name in CLOUD:
        machine.has(name)
    said = machine.run(LAUNCH / script, "--dry-run", word)
    assert machine.run(LAUNCH / script, word, "--dry-run") == said
    machine.run("bash", "-nc", said)
    assert shlex.split(said.split("<<")[0])[0] in CLOUD
    assert not machine.record.exists() and not list(machine.home.iterdir())


@pytest.mark.parametrize(("script", "word"), [("tpu_pod.sh", "install"), ("gke.sh", "run"), ("gke.sh", "xpk")])
def test_what_must_be_set_is_said_in_one_line(machine, script, word):
    said = machine.run(LAUNCH / script, word, status=2)
    assert said.startswith("error: BUCKET is not set; export it: the name of the") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("script", "word"), [(script, word) for script, word in WORDS if script in ("tpu_pod.sh", "gke.sh")]
)
def test_a_word_too_many_does_nothing(machine, script, word):
    for name in CLOUD:
        machine.has(name)
    said = machine.run(LAUNCH / script, word, "--dryrun", status=2)
    assert "--dry-run prints the commands only" in said and not machine.record.exists()


@pytest.mark.parametrize("script", ["tpu_pod.sh", "gke.sh", "workstation.sh"])
def test_without_a_word_the_words_are_shown(machine, script):
    said = machine.run(LAUNCH / script, status=2)
    assert all(re.search(rf"\b{word}\b", said) for name, word in WORDS if name == script)
    assert all(line.startswith("#") for line in said.splitlines())


# A TPU slice


@pytest.fixture
def host(machine):
    """The slice's only host, on which everything is installed."""
    machine.has("gcloud", GCLOUD)
    machine.has("mountpoint")
    place = machine.home / "pixlab" / ".venv" / "bin"
    machine.has("python", 'trap "exit 0" TERM; echo "data: $TFDS_DATA_DIR"; while :; do sleep 0.1; done', place)
    (place / "activate").write_text(f"PATH={place}:$PATH\n")
    yield machine
    if (pid := machine.home / "pixlab.pid").exists() and machine.trains():
        os.kill(int(pid.read_text()), signal.SIGKILL)


def test_a_slice_trains_in_the_background_once_and_goes_on_after_a_stop(host):
    pod, log = LAUNCH / "tpu_pod.sh", host.home / "pixlab.log"
    (host.home / "states").write_text("ACTIVE\nACTIVE\n")
    host.run(pod, "run", COMMAND="python -m experiments.depth_nyu alexnet --source 'rgbd_folder:/my frames'")
    wait_for(lambda: log.exists() and log.read_text())
    options = ["--source", "rgbd_folder:/my frames", "--hosts", "many", "--run", f"{host.home}/bucket/runs/pixlab"]
    assert host.calls("python") == [[*TRAIN, *options]]
    assert log.read_text() == f"data: {host.home}/bucket/data\n"
    assert "pixlab is running; stop it first" in host.run(pod, "run", status=2)
    assert host.run(pod, "status") == f"ACTIVE\nrunning\n{log.read_text()}"
    host.run(pod, "stop")
    wait_for(lambda: not host.trains())
    assert host.run(pod, "status") == f"ACTIVE\nnot running\n{log.read_text()}"
    host.run(pod, "run")
    wait_for(lambda: len(log.read_text().splitlines()) == 2)  # the first run's lines are still there
    assert len(host.calls("python")) == 2
    workers = [words[words.index("--command") - 1] for words in host.calls("gcloud") if "ssh" in words]
    assert workers == ["--worker=all"] * 3 + ["--worker=0"] + ["--worker=all"] * 2


def test_a_slice_without_its_bucket_does_not_train(host):
    host.has("mountpoint", "exit 1")
    assert "no bucket is mounted: install first" in host.run(LAUNCH / "tpu_pod.sh", "run", status=2)
    assert not host.calls("python")


def test_installing_clones_once_and_mounts_once(machine):
    machine.has("gcloud", GCLOUD)
    machine.has("git", '[ "$1" != clone ] || mkdir "${@: -1}"')
    machine.has("python3")
    machine.has("mountpoint", '[ -e "${@: -1}/data" ]')
    machine.has("gcsfuse", 'mkdir "${@: -1}/data"')
    for _ in range(2):
        machine.run(LAUNCH / "tpu_pod.sh", "install", BUCKET="data", REPOSITORY="https://git.example/p.git")
    assert machine.calls("git") == [["clone", "-q", "https://git.example/p.git", "pixlab"], *[["pull", "-q"]] * 2]
    assert machine.calls("python3")[2] == ["-m", "uv", "pip", "install", "-q", "-e", ".[tpu]"]
    (mount,) = machine.calls("gcsfuse")
    assert mount[-2:] == ["data", f"{machine.home}/bucket"] and "--rename-dir-limit" in mount


@pytest.mark.parametrize(("last", "status"), [("ACTIVE", 0), ("FAILED", 2), ("SUSPENDED", 2)])
def test_creating_waits_until_the_slice_is_there_or_will_not_be(machine, last, status):
    machine.has("gcloud", GCLOUD)
    machine.has("sleep")
    (machine.home / "states").write_text(f"WAITING_FOR_RESOURCES\nPROVISIONING\n{last}\nACTIVE\n")
    said = machine.run(LAUNCH / "tpu_pod.sh", "create", status=status, TIER="--spot")
    assert [line.split()[1] for line in said.splitlines()[:3]] == ["WAITING_FOR_RESOURCES", "PROVISIONING", last]
    assert ("error: " in said) == (status == 2)
    create, *asked = machine.calls("gcloud")
    assert create[3:5] == ["create", "pixlab"] and create[-1] == "--spot" and len(asked) == 3


# GKE


def jobset(machine, **variables) -> dict:
    """What `gke.sh run` gives to kubectl."""
    machine.has("kubectl", '[ "$1" != apply ] || cat > ~/manifest.yaml')
    machine.run(LAUNCH / "gke.sh", "run", **{"BUCKET": "my-data", "IMAGE": "registry.example/pixlab:1", **variables})
    return yaml.safe_load((machine.home / "manifest.yaml").read_text())


def test_the_jobset_is_one_pod_for_each_host_of_the_slice(machine):
    manifest = jobset(machine, TOPOLOGY="4x4x8", CHIPS="4", ACCELERATOR="tpu-v5p-slice", NAME="big")
    assert [call[0] for call in machine.calls("kubectl")] == ["delete", "apply"]
    assert (manifest["apiVersion"], manifest["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert manifest["metadata"]["name"] == "big" and "${" not in json.dumps(manifest)
    (slice_,) = manifest["spec"]["replicatedJobs"]
    job = slice_["template"]["spec"]
    assert slice_["replicas"] == 1 and job["parallelism"] == job["completions"] == 4 * 4 * 8 // 4
    pod = job["template"]["spec"]
    assert set(pod["nodeSelector"].values()) == {"4x4x8", "tpu-v5p-slice"}
    assert pod["containers"][0]["resources"]["limits"] == {"google.com/tpu": 4}
    assert pod["volumes"][0]["csi"]["volumeAttributes"]["bucketName"] == "my-data"
    assert job["template"]["metadata"]["annotations"] == {"gke-gcsfuse/volumes": "true"}  # else nothing is mounted
    assert job["backoffLimit"] == 0 and manifest["spec"]["failurePolicy"]["maxRestarts"] > 0


def test_the_job_within_is_valid_for_kubernetes(machine):
    kubernetes = pytest.importorskip("kubernetes_validate", reason="needs it: pip install -e '.[dev]'")
    spec = jobset(machine)["spec"]["replicatedJobs"][0]["template"]["spec"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "pixlab"}, "spec": spec}
    kubernetes.validate(job, kubernetes.latest_version(), strict=True)
    spec["template"]["spec"]["restart"] = "Never"
    with pytest.raises(kubernetes.ValidationError, match="'restart' was unexpected"):
        kubernetes.validate(job, kubernetes.latest_version(), strict=True)


def test_the_jobset_is_valid_for_its_own_definition(machine):
    """JOBSET_CRD is config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml of github.com/kubernetes-sigs/jobset."""
    jsonschema = pytest.importorskip("jsonschema")
    path = os.environ.get("JOBSET_CRD") or pytest.skip("needs JOBSET_CRD, the path of JobSet's definition")
    (version,) = yaml.safe_load(pathlib.Path(path).read_text())["spec"]["versions"]
    validator = jsonschema.Draft202012Validator(strict(version["schema"]["openAPIV3Schema"]))
    manifest = jobset(machine)
    assert version["name"] == manifest["apiVersion"].split("/")[1]
    assert [error.message for error in validator.iter_errors(manifest)] == []
    manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["paralelism"] = 4
    manifest["spec"]["failurePolicy"]["rules"][0]["action"] = "Restart"
    found = [error.message for error in validator.iter_errors(manifest)]
    assert len(found) == 2 and "'paralelism' was unexpected" in " ".join(found)


def strict(schema):
    """A Kubernetes schema as JSON Schema that admits no field it does not name."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    closed = {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else {}
    return closed | {name: strict(part) for name, part in schema.items()}


@pytest.mark.parametrize(
    ("python", "index", "status"),
    [
        ("mkdir -p {run}; touch {run}/result.json", 0, 0),  # done
        ("exit 0", 0, 143),  # stopped: the cluster starts it again
        ("exit 0", 1, 0),  # only the first host has the result
        ("exit 2", 0, 2),
        ("exit 137", 1, 137),
    ],
)
def test_a_pod_ends_well_only_when_the_run_is_done(machine, python, index, status):
    command, run = pod_command(machine)
    machine.has("python", python.format(run=run))
    machine.run(*command, status=status, JOB_COMPLETION_INDEX=str(index))
    options = ["--source", "rgbd_folder:/my frames", "--hosts", "many", "--host-timeout", "600", "--run", run]
    assert machine.calls("python") == [[*TRAIN, *options]]


def test_a_pod_hands_sigterm_on_and_waits_for_the_save(machine):
    command, run = pod_command(machine)
    save = f"mkdir -p {run}; echo saved > {run}/checkpoint; exit 0"
    machine.has("python", f"trap '{save}' TERM; touch ~/trains; while :; do sleep 0.1; done")
    with subprocess.Popen(command, env=machine.env, cwd=ROOT, start_new_session=True) as pod:
        try:
            wait_for((machine.home / "trains").exists)
            pod.send_signal(signal.SIGTERM)
            assert pod.wait(20) == 143
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pod.pid, signal.SIGKILL)
    assert (pathlib.Path(run) / "checkpoint").read_text() == "saved\n"


def pod_command(machine) -> tuple[list[str], str]:
    """The command of a pod with the bucket in the home folder, and its run folder."""
    manifest = jobset(machine, COMMAND="python -m experiments.depth_nyu alexnet --source 'rgbd_folder:/my frames'")
    container = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0]
    words = [*container["command"], *container["args"]]
    return [word.replace("/bucket/", f"{machine.home}/") for word in words], f"{machine.home}/runs/pixlab"


def test_xpk_runs_the_same_command(machine):
    machine.has("xpk", f'cd {ROOT}; (eval "${{@: -1}}")')
    machine.has("python")
    machine.run(LAUNCH / "gke.sh", "xpk", status=143, BUCKET="my-data", IMAGE="registry.example/pixlab:1")
    options = ["--hosts", "many", "--host-timeout", "600", "--run", "/bucket/runs/pixlab"]
    assert machine.calls("python") == [[*TRAIN, *options]]


def test_the_image_is_built_from_the_whole_project(machine):
    machine.has("docker")
    machine.run(LAUNCH / "gke.sh", "image", IMAGE="registry.example/pixlab:1", where=machine.home)
    build, push = machine.calls("docker")
    assert build[:2] == ["build", "-f"] and pathlib.Path(build[2]).samefile(LAUNCH / "Containerfile")
    assert pathlib.Path(build[-1]).samefile(ROOT) and push == ["push", "registry.example/pixlab:1"]


# SLURM


@pytest.mark.parametrize("done", [True, False])
def test_slurm_trains_on_every_node_and_queues_again_what_is_not_done(machine, done):
    run = machine.home / "my run's"
    machine.has("srun", 'while [[ $1 == --* ]]; do shift; done; "$@" && "$@"')
    machine.has(
        "python", f"mkdir -p {shlex.quote(str(run))}; touch {shlex.quote(str(run))}/result.json" if done else ""
    )
    machine.has("scontrol")
    machine.run(LAUNCH / "slurm.sh", RUN=str(run), SLURM_JOB_ID="17", SLURM_CPUS_PER_TASK="32")
    assert machine.calls("python") == [[*TRAIN, "--run", str(run)]] * 2
    assert "--cpus-per-task=32" in machine.calls("srun")[0]
    assert machine.calls("scontrol") == ([] if done else [["requeue", "17"]])


def test_slurm_does_not_queue_a_mistake_again(machine):
    machine.has("srun", "exit 2")
    machine.has("scontrol")
    machine.run(LAUNCH / "slurm.sh", SLURM_JOB_ID="17", status=2)
    assert not machine.calls("scontrol")


def test_slurm_without_a_job_says_how_to_start_it(machine):
    assert "sbatch" in machine.run(LAUNCH / "slurm.sh", status=2)


# A workstation


@pytest.mark.parametrize(
    ("ends", "status", "times"),
    [("137 137 0", 0, 3), ("2", 2, 1), ("3", 3, 1), ("130", 130, 1), ("134 2", 2, 2), ("137 137 137 137 137", 1, 5)],
)
def test_a_workstation_starts_again_what_was_killed(machine, ends, status, times):
    copy = machine.home / "pixlab"
    shutil.copytree(LAUNCH, copy / "launch")
    (copy / "ends").write_text("\n".join(ends.split()))
    machine.has("pip", where=copy / ".venv" / "bin")
    machine.has("python", "status=$(head -n 1 ends); sed -i 1d ends; exit $status", copy / ".venv" / "bin")
    words = ["depth_nyu", "alexnet", "--source", "rgbd_folder:/my frames"]
    machine.run(copy / "launch" / "workstation.sh", *words, status=status, where=machine.home, EXTRA="cuda12")
    assert machine.calls("pip") == [["install", "-q", "-e", ".[cuda12]"]]
    assert machine.calls("python") == [[*TRAIN, "--source", "rgbd_folder:/my frames"]] * times


# The container


CONTAINER = [line.split(" ", 1) for line in (LAUNCH / "Containerfile").read_text().splitlines() if line[:1].isupper()]


def test_the_container_has_all_that_is_needed():
    copied = {name.rstrip("/") for key, rest in CONTAINER if key == "COPY" for name in rest.split()[:-1]}
    assert copied and not [name for name in copied if not (ROOT / name).exists()]
    assert {"pyproject.toml", "README.md", "LICENSE", "pixlab", "experiments", "launch"} <= copied


@pytest.mark.parametrize(("extra", "what"), [("tpu", ".[tpu]"), ("", ".")])
def test_the_container_installs_the_extra_that_is_asked_for(machine, extra, what):
    machine.has("pip")
    (install,) = [rest for key, rest in CONTAINER if key == "RUN"]
    machine.run("sh", "-c", install, EXTRA=extra)
    assert machine.calls("pip") == [["install", "--no-cache-dir", "-e", what]]


def test_the_container_starts_the_experiment_that_is_named(machine):
    machine.has("python")
    (entry,) = [json.loads(rest) for key, rest in CONTAINER if key == "ENTRYPOINT"]
    machine.run(*entry, "depth_nyu", "alexnet", "--run", "/runs/it's mine")
    assert machine.calls("python") == [[*TRAIN, "--run", "/runs/it's mine"]]
