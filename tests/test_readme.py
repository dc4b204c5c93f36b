"""The README says what is so: its example learns, its commands parse, what it points at exists."""

import functools
import importlib
import math
import pathlib
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator

import pytest
import tyro

import experiments
import pixlab.data
from pixlab import __main__, cli
from pixlab.data.builders import rooms
from pixlab.run import Experiment, Run

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
EXAMPLE = dict(re.findall(r"^`([\w/]+\.py)`[^\n]*\n\n```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE))
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
SHELL = [line for language, block in BLOCKS if not language for line in block.split("\n")]
COMMANDS = sorted({command for line in SHELL for command in re.findall(r"python -m ([^#&\n]+)", line)})


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Iterator[Experiment]:
    """The README's two files as if they lay where it says, and a data folder with few rooms."""
    folder = tmp_path_factory.mktemp("readme")
    for name, code in EXAMPLE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixlab.data, "__path__", [*pixlab.data.__path__, str(folder / "pixlab" / "data")])
        patch.setattr(experiments, "__path__", [*experiments.__path__, str(folder / "experiments")])
        patch.setattr(rooms, "prepare", functools.partial(rooms.prepare, train=4, test=2, workers=1, progress=False))
        patch.setenv("TFDS_DATA_DIR", str(folder / "data"))
        yield importlib.import_module("experiments.denoise_rooms").experiment
    for name in ("pixlab.data.noisy", "experiments.denoise_rooms"):
        sys.modules.pop(name)


@pytest.fixture(scope="module")
def run(example, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return example.main(["--steps", "100", "--batch", "4", "--workers", "2", "--run", str(folder)])


def test_the_example_is_two_files_of_60_lines_together():
    assert list(EXAMPLE) == ["pixlab/data/noisy.py", "experiments/denoise_rooms.py"]
    assert sum(len(code.splitlines()) for code in EXAMPLE.values()) <= 60
    assert "60 lines" in TEXT


def test_the_example_takes_noise_out(run):
    noisy = 20 * math.log10(255 / run.config.sigma)
    assert f"{noisy:.1f} dB" in TEXT
    psnr = run.result["rows"][0][1]
    assert run.result["columns"] == ["", "image/psnr"] and psnr > noisy + 2
    assert Run.open(run.folder).evaluate()["image/psnr"] == pytest.approx(psnr, rel=1e-5)


def test_the_two_commands_are_as_promised():
    assert "pip install -e . && python -m experiments.depth_nyu" in SHELL
    assert "pip install -e '.[test]' && pytest" in SHELL
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_understood(command, example, capsys):
    module, *args = shlex.split(command)
    if module == "pixlab":
        tyro.cli(__main__.Command, args=args, config=(tyro.conf.OmitSubcommandPrefixes,))
    elif hasattr(tool := importlib.import_module(module), "Command"):
        tyro.cli(tool.Command, args=args)
    else:
        experiment = tool.experiment
        assert experiment.name == module
        if args[-1:] == ["--help"]:
            with pytest.raises(SystemExit) as stopped:
                cli.parse(experiment, args)
            said = capsys.readouterr().out
            wanted = ["--save-every"] if args[1:] else experiment.configs
            assert stopped.value.code == 0 and all(name in said for name in wanted)
        else:
            cli.parse(experiment, args)


OTHERS = {
    "help", "out", "split", "sigma", "steps", "readme", "format", "topology", "full", "dry-run", "logdir", "tests",
    "test", "pristine", "size", "crop", "images",
}  # fmt: skip


def test_every_config_that_is_named_exists():
    from experiments.depth_nyu import CONFIGS

    assert {"quick", "alexnet", "vgg16", "scale1", "scale2", "scales12", "frames"} <= set(CONFIGS)
    folders = set(re.findall(r"runs/depth_nyu-(\w+)", TEXT))
    assert folders <= set(CONFIGS)
    prose = TEXT[: TEXT.index("<!-- results -->")] + TEXT[TEXT.index("<!-- /results -->") :]
    options = set(re.findall(r"(?<!\S)`?--([a-z-]+)", prose)) - OTHERS
    assert {option.replace("-", "_") for option in options} <= set(CONFIGS["quick"].__dataclass_fields__)


def test_every_extra_that_is_installed_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = set(re.findall(r"pip install -e '\.\[(\w+)\]'", TEXT))
    assert {"test", "weights", "cuda12", "tpu"} <= named <= set(extras)


def test_every_path_and_picture_exists():
    paths = re.findall(r"`((?:pixlab|experiments|tests|docs)/[\w/.]*|LICENSE)`", TEXT)
    paths += re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert len(paths) > 15
    assert not [path for path in paths if path not in EXAMPLE and not (ROOT / path).exists()]


def test_the_results_have_their_place():
    before, after = TEXT.index("<!-- results -->"), TEXT.index("<!-- /results -->")
    assert before < after


def test_what_a_run_leaves_behind_is_what_the_trainer_writes(run):
    table = TEXT.split("|---|---|\n")[1].split("\n\n")[0]
    named = {name.strip("/") for row in table.splitlines() for name in re.findall("`(.+?)`", row.split("|")[1])}
    there = {path.name for path in run.folder.iterdir()}
    assert named == there - {"status.json"} | {"pictures"}  # this example renders none


@pytest.mark.parametrize("code", re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE))
def test_every_python_block_compiles_and_imports_what_exists(code, example):
    compile(code, "README.md", "exec")
    for module, names in re.findall(r"^from (\S+) import (.+)$", code, re.MULTILINE):
        loaded = importlib.import_module(module)
        for name in names.split(", "):
            assert hasattr(loaded, name) or importlib.import_module(f"{module}.{name}")
