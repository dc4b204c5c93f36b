"""Draws what the spatial model of a run has learnt: where is the wrist, given the elbow?

python -m experiments.pose_kernels runs/pose_flic-quick
python -m experiments.pose_kernels runs/pose_flic-quick --given left_elbow torso --joints left_wrist
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import tyro

from experiments.pose_flic import edges
from pixlab import mesh
from pixlab.core import eval_params
from pixlab.data.images import encode_png
from pixlab.errors import UserError
from pixlab.models.tompson_spatial import softplus
from pixlab.run import Run
from pixlab.skeletons import kernels_picture


@dataclasses.dataclass(frozen=True)
class Command:
    """Draw a run's pair kernels: bright where a joint is, relative to the given one, a cross, at the middle; black
    where the run's graph has no edge, and nothing for a joint given itself."""

    run: tyro.conf.Positional[pathlib.Path]
    """Run folder of an experiment with a spatial model."""
    joints: tuple[str, ...] = ()
    """Joints that are asked for; none: all."""
    given: tuple[str, ...] = ()
    """Joints that are given, or torso; none: all."""
    out: pathlib.Path = pathlib.Path("kernels.png")
    """PNG file to write."""


def draw(command: Command) -> None:
    """Write the picture. Raises UserError for a run without a spatial model, and for joints that it has not."""
    run = Run.open(command.run)
    params = eval_params(run.state).get("spatial")
    if params is None:
        raise UserError(f"{command.run}: has no spatial model")
    inputs = (*run.config.joints, "torso")
    if missing := [joint for joint in (*command.joints, *command.given) if joint not in inputs]:
        raise UserError(f"{command.run}: has no {', '.join(missing)}; it has {', '.join(inputs)}")
    outputs, given = command.joints or run.config.joints, command.given or inputs
    if {*outputs} == {*given} and len(given) == 1:
        raise UserError(f"{given[0]} given itself is where it is; give others with --given")
    rows, columns = ([inputs.index(joint) for joint in names] for names in (outputs, given))
    weights = np.asarray(softplus(jnp.asarray(params["kernel"]), run.config.beta))
    if (graph := edges(run.config)) is not None:
        weights = weights * np.float32(graph)[..., None, None]
    weights = weights[rows][:, columns]
    command.out.write_bytes(encode_png(kernels_picture(weights, outputs, given)))
    print(command.out)


def main(args: Sequence[str] | None = None) -> None:
    """The command line; mistakes end in one line and exit status 2."""
    mesh.setup()
    try:
        draw(tyro.cli(Command, args=args, prog="python -m experiments.pose_kernels"))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
