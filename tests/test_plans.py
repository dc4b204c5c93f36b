"""The table of plans: every system once, by its toy steps for this machine's devices, which nothing compiles."""

import importlib.metadata
import sys

import jax
import pytest
import toy

from experiments import plans
from pixlab import plan, roofline
from pixlab.chips import GIB
from pixlab.run import Experiment

CONFIGS = {
    "quick": toy.Config(),  # a laptop's: left out
    "small": toy.Config(first=30),
    "again": toy.Config(first=30, log_every=5),  # the same training
    "large": toy.Config(batch=16),
    "odd": toy.Config(batch=6, devices=4),
}


@pytest.fixture
def stub(monkeypatch):
    """Four CPU devices as TPUs, and no program, but the bytes of one: 2 GiB for 2 images at once, 40 GiB for 4."""

    def compile_step(step, arguments):
        images = step.args_info[0][1]["image"].shape[0] // 4
        return None, (19.0 * images - 36) * GIB

    toys = Experiment("toy", CONFIGS, toy.recipe, toy.data)
    monkeypatch.setattr(plans, "find_experiment", lambda name: toys)
    monkeypatch.setattr(plan, "prepare", lambda topology, full: None)
    monkeypatch.setattr(plan, "devices", lambda topology: jax.devices()[:4])
    monkeypatch.setattr(plan, "compile_step", compile_step)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.2.3")  # libtpu is not there


def test_the_table_has_every_system_once(stub, tmp_path, monkeypatch, capsys):
    out = tmp_path / "docs" / "plans.md"
    monkeypatch.setattr(sys, "argv", ["plans", "--topology", "v5e:2x2", "--out", str(out), "--only", "toy"])
    plans.main()
    assert capsys.readouterr().out.splitlines() == ["toy small, toy again", "toy large", "toy odd"]
    text = out.read_text()
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == list(plans.COLUMNS) and {len(row) for row in rows} == {len(plans.COLUMNS)}
    small, large, odd = (dict(zip(plans.COLUMNS, row, strict=True)) for row in rows[2:])
    assert small["config"] == "toy small, toy again" and small["size"] == "8x8"
    assert (small["batch"], small["a chip"], small["GiB a chip"]) == ("8", "2", "2.00 / 2.00")
    assert small["largest batch"] == "8"  # the line meets 15.75 GiB below three images
    assert "does not fit: 40.00 GiB a chip" in large["ms a step"] and "--batch 8" in large["ms a step"]
    assert odd["batch"] == "--batch 6 does not divide over 4 devices; use a multiple of 4"
    assert "--topology v5e:2x2`" in text and "jaxlib 1.2.3" in text and "has 15.75 GiB" in text
    assert all(f"- {line}\n" in text for line in roofline.ASSUMPTIONS)


def test_a_topology_that_there_is_not_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["plans", "--topology", "v5e:3x5"])
    with pytest.raises(SystemExit) as left:
        plans.main()
    out, err = capsys.readouterr()
    assert left.value.code == 2 and not out and err.startswith("error: --topology v5e:3x5") and err.count("\n") == 1
