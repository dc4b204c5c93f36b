"""Plans every paper's configs for a TPU topology, as a table.

    python -m experiments.plans --topology v5e:4x4 --out docs/plans.md

It compiles each training step, which takes a minute or two; the table is written anew after each config.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import pathlib
import sys
from collections.abc import Iterator

import tyro

from pixlab import plan, roofline
from pixlab.chips import GIB, chip_of
from pixlab.errors import UserError
from pixlab.options import Options
from pixlab.plan import Plan
from pixlab.plan_text import compiled_how, largest_batch, memory_line, picture, rate
from pixlab.progress import duration
from pixlab.run import PATIENT, Experiment, find_experiment

EXPERIMENTS = (
    "depth_nyu_eigen2014", "depth_nyu_unet", "labels_nyu", "depth_nyu", "normals_nyu", "pose_flic", "pose_lsp",
    "pose_flic_cascade", "pose_hourglass", "pose_deeppose", "pose_paf", "sr_t91", "sr_div2k", "srgan_div2k",
    "perceptual_sr", "perceptual_style", "color_imagenet", "seg_camvid", "seg_voc", "seg_voc_deeplab",
    "seg_voc_dilated", "seg_voc_refinenet", "seg_ade", "seg_pet", "boundary_bsds",
)  # fmt: skip
LAPTOP = ("quick", "frames", "few", "published")  # what configs for machines without accelerators begin with
COLUMNS = (
    "config", "batch", "a chip", "size", "parameters", "GiB a chip", "TFLOP a step", "ms a step", "images/s",
    "time", "largest batch",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Command:
    """Plan every paper's configs for a TPU topology."""

    topology: str = "v5e:4x4"
    """TPU chips as NAME:SHAPE."""
    out: pathlib.Path = pathlib.Path("docs/plans.md")
    """Markdown file for the table."""
    only: tuple[str, ...] = EXPERIMENTS
    """Experiments."""
    full: bool = False
    """Compile with all of XLA's optimisations, as training does."""


def write(command: Command) -> None:
    """Plan one config after the other and write the table after each."""
    plan.prepare(command.topology, full=command.full)
    rows: list[list[str]] = []
    for names, experiment, config in systems(command.only):
        print(names, flush=True)
        try:
            rows.append([names, *cells(plan.plan(experiment, config, command.topology))])
        except UserError as error:
            rows.append([names, str(error), *[""] * (len(COLUMNS) - 2)])
        command.out.parent.mkdir(parents=True, exist_ok=True)
        command.out.write_text(page(command, rows))


def systems(names: tuple[str, ...]) -> Iterator[tuple[str, Experiment, Options]]:
    """(names, experiment, config) of every paper's config; those whose training is the same are one."""
    found: dict[tuple, tuple[list[str], Experiment, Options]] = {}
    for name in names:
        experiment = find_experiment(name)
        for row, config in experiment.configs.items():
            fields = {k: v for k, v in dataclasses.asdict(config).items() if k not in PATIENT}
            if not row.startswith(LAPTOP) and not row.endswith("_few"):
                key = experiment.recipe, tuple(fields.items())
                found.setdefault(key, ([], experiment, config))[0].append(f"{name} {row}")
    for same, experiment, config in found.values():
        yield ", ".join(same), experiment, config


def cells(made: Plan) -> list[str]:
    """A config's cells; stages that differ are separated by a slash."""
    height, width = picture(made)
    each = [str(made.config.batch), str(made.images), f"{height}x{width}", f"{made.parameters / 1e6:.1f} M"]
    each.append(" / ".join(f"{step.memory / GIB:.2f}" for step in made.steps))
    each.append(" / ".join(f"{step.flops * made.chips / 1e12:.3g}" for step in made.steps))
    if not made.fits:
        return [*each, memory_line(made), *[""] * 3]
    times = [roofline.seconds(step, made.chip, made.chips) for step in made.steps]
    total = roofline.total(made.steps, made.chip, made.chips)
    each += [" / ".join(f"{1e3 * time:.1f}" for time in times), f"{rate(made, made.chips):.0f}", duration(total)]
    return [*each, str(largest_batch(made))]


def page(command: Command, rows: list[list[str]]) -> str:
    """The table as Markdown, with how it was made and what it assumes."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib", "libtpu"))
    flags = f" --topology {command.topology}{' --full' if command.full else ''}"
    day = datetime.datetime.now(datetime.UTC).date()
    lines = [f"# What the papers' configs need of {command.topology}", ""]
    how = f"`python -m experiments.plans{flags}`; {day}, {versions}."
    has = f"A chip has {chip_of(command.topology).memory / GIB:.2f} GiB for a program."
    lines += [f"{how} No TPU ran: the training steps were compiled for one. {has}", "Stages are separated by a slash."]
    ruler = ["---", *["--:"] * (len(COLUMNS) - 1)]
    lines += ["", *(f"| {' | '.join(row)} |" for row in [COLUMNS, ruler, *rows])]
    lines += ["", "Assumed:", "", f"- {compiled_how(command.full)}"]
    return "\n".join([*lines, *(f"- {line}" for line in roofline.ASSUMPTIONS)]) + "\n"


def main() -> None:
    """Run the command line; a mistake of the user ends in one line and exit status 2."""
    try:
        write(tyro.cli(Command, prog="python -m experiments.plans"))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
