"""What the spatial model and joint training bring: the ablation of Tompson et al., NIPS 2014, over several seeds.

    python -m experiments.pose_ablation                           trains configs of pose_flic, writes a table and a plot
    python -m experiments.pose_ablation --prefix "" --seeds 0     the paper's, on FLIC

For each seed it trains `quick_spatial`, `quick` and `quick_longer`, or goes on with what is in their folders. The
detector alone is that of `quick_spatial` before its spatial model, with which `quick` begins as well.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np
import tyro

from experiments import pose_flic
from experiments.pose_curves import Curves, curves_of, draw
from pixlab.run import Run

REPORT = (5, 10, 20)  # per cent of the torso


@dataclasses.dataclass(frozen=True)
class Command:
    """Train the ablation and write its table and plot."""

    prefix: str = "quick"
    """Configs of experiments.pose_flic: quick, or "" for the paper's."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds to train with."""
    runs: pathlib.Path = pathlib.Path("runs")
    """Where the run folders go."""
    joint: str = "wrist"
    """Joint of the plot."""
    out: pathlib.Path = pathlib.Path("runs/pose_ablation.md")
    """Markdown file for the table; the plot is put beside it."""


def rows(command: Command, seed: int) -> dict[str, Curves]:
    """{what: its curves} of one seed."""
    names = [f"{command.prefix}_{name}".strip("_") for name in ("spatial", "", "longer")]
    held, joint, longer = (trained(command, name or "joint", seed) for name in names)
    return {
        "detector": curves_of(held, held.recipe.stages[0].predict),
        "detector + spatial model": curves_of(held, held.recipe.predict),
        "and then both jointly": curves_of(joint, joint.recipe.predict),
        "detector for as long + spatial model": curves_of(longer, longer.recipe.predict),
    }


def trained(command: Command, config: str, seed: int) -> Run:
    """The run of a config, from its folder as far as it got."""
    folder = command.runs / f"pose_flic-{config}-{seed}"
    return pose_flic.main([config, "--seed", str(seed), "--run", str(folder)])


def table(found: Mapping[str, list[Curves]]) -> list[str]:
    """Lines of Markdown: for each row the rates of each joint and their mean, means over seeds."""
    joints = list(next(iter(found.values()))[0])
    heads = ["", "r", *joints, "lowest and highest mean"]
    lines = [heads, ["---", "--:", *["--:"] * (len(joints) + 1)]]
    for name, seeds in found.items():
        for radius in REPORT:
            each = np.array([[curves[joint][radius] for joint in joints] for curves in seeds])
            cells = [f"{value:.1f}" for value in each.mean(0)]
            lines.append([name, str(radius), *cells, f"{each[:, -1].min():.1f}, {each[:, -1].max():.1f}"])
    return [f"| {' | '.join(line)} |" for line in lines]


def write(command: Command) -> None:
    """Train what is not there yet, then write the table and the plot."""
    seeds = [rows(command, seed) for seed in command.seeds]
    found = {name: [one[name] for one in seeds] for name in seeds[0]}
    means = {name: np.mean([curves[command.joint] for curves in each], 0) for name, each in found.items()}
    command.out.parent.mkdir(parents=True, exist_ok=True)
    picture = command.out.with_suffix(".svg")
    picture.write_text(draw(means, f"{command.joint}, mean of {len(command.seeds)} seeds"))
    text = [
        "# What the spatial model and joint training bring",
        "",
        f"`python -m experiments.pose_ablation`: {len(command.seeds)} seeds; per cent of the test split's joints",
        "within r per cent of the torso. The last row has as many steps as the one before it, those of both together",
        "given to the detector alone before the spatial model learns: what lies between the two is what learning",
        "together brings. Where the lowest and highest means of two rows overlap, so few seeds do not tell them apart.",
        f"Pictures: {pose_flic.CONFIGS[command.prefix or 'joint'].source}.",
        "",
        *table(found),
        "",
        f"![Detection rate of the {command.joint} by radius]({picture.name})",
    ]
    command.out.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    write(tyro.cli(Command, prog="python -m experiments.pose_ablation"))
