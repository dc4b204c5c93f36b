"""Draws detection rates by radius, as the papers on pose do, of finished runs.

python -m experiments.pose_curves runs/pose_flic-quick                                  a line for each joint
python -m experiments.pose_curves runs/pose_flic-quick runs/pose_flic-quick_spatial     a line for each run
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import tyro

from pixlab import mesh
from pixlab.data.pipeline import eval_batches
from pixlab.errors import UserError
from pixlab.evaluate import Evaluator, Predict
from pixlab.metrics.pose import RADII, rate_curves
from pixlab.plot import plot
from pixlab.run import Run

Curves = Mapping[str, np.ndarray]  # {joint: per cent within each of RADII}


@dataclasses.dataclass(frozen=True)
class Command:
    """Draw detection rates by radius."""

    runs: tyro.conf.Positional[tuple[pathlib.Path, ...]]
    """Run folders of experiments on pose."""
    joint: str = "wrist"
    """Joint of a plot of several runs, or mean."""
    out: pathlib.Path = pathlib.Path("curves.svg")
    """SVG file to write."""


def curves_of(run: Run, predict: Predict) -> Curves:
    """Detection rates over the test split of what `predict` finds with the run's parameters, and their mean.

    Raises UserError for a run of something else than pose.
    """
    if not hasattr(run.config, "joints"):
        raise UserError(f"{run.folder}: not a run on pose ({run.experiment.name})")
    scores = Evaluator(predict, {"rate": rate_curves(run.config.joints)}, run.mesh)(
        run.state, eval_batches(run.data(), "test")
    )
    joints = dict.fromkeys(name.removeprefix("rate/").rpartition("_")[0] for name in scores)
    curves = {joint: np.array([scores[f"rate/{joint}_{radius}"] for radius in RADII]) for joint in joints}
    curves = {joint: curve for joint, curve in curves.items() if np.isfinite(curve).all()}  # those that are labelled
    if not curves:
        raise UserError(f"{run.folder}: none of its joints is labelled in the test split")
    return curves | {"mean": np.mean(list(curves.values()), 0)}


def draw(curves: Curves, title: str) -> str:
    """SVG of named curves over RADII."""
    lines = {name: list(zip(RADII, curve.tolist(), strict=True)) for name, curve in curves.items()}
    return plot(lines, title=title, x="radius, % of the torso", y="% detected")


def main(args: Sequence[str] | None = None) -> None:
    """The command line; mistakes end in one line and exit status 2."""
    command = tyro.cli(Command, args=args, prog="python -m experiments.pose_curves")
    try:
        if not command.runs:
            raise UserError("give one run folder, or several to compare")
        mesh.setup()
        runs = {folder.name: Run.open(folder) for folder in command.runs}
        found = {name: curves_of(run, run.recipe.predict) for name, run in runs.items()}
        first = next(iter(found.values()))
        if command.joint not in first:
            raise UserError(f"--joint {command.joint}: there are {', '.join(first)}")
        if len(found) == 1:
            text = draw(first, next(iter(found)))
        else:
            text = draw({name: curves[command.joint] for name, curves in found.items()}, command.joint)
        command.out.write_text(text)
        print(command.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
