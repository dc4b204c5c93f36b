"""Keeps a finished run as a record in experiments/results, and writes the README's results from the records.

python -m experiments.record runs/depth_nyu-quick --note "One seed"
python -m experiments.record runs/depth_nyu-frames --data "NYU frames" --also "my frames=rgbd_folder:PATH"
python -m experiments.record --readme
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import tomllib
from collections.abc import Sequence

import tyro

from pixlab import mesh
from pixlab.errors import UserError
from pixlab.records import make_record, read_records, scores_elsewhere
from pixlab.records_table import replace_section, section
from pixlab.run import Run, write_json

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
README = ROOT / "README.md"


@dataclasses.dataclass(frozen=True)
class Command:
    """Record a finished run, or write the README's results from the records."""

    run: tyro.conf.Positional[str] = ""
    """Run folder."""
    note: str = ""
    """What a reader of the table has to know."""
    data: str = ""
    """What the data is called in the table; empty stands for the run's --source."""
    also: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Other data whose test images to score, as NAME=SOURCE; may be given again."""
    name: str = ""
    """Name of the record; empty stands for EXPERIMENT-CONFIG."""
    readme: bool = False
    """Write the README's results."""


def record(command: Command) -> pathlib.Path:
    """Write the record of `command.run`; returns its path. Raises UserError if another run has its name."""
    mesh.setup()
    run = Run.open(command.run)
    images = {split: len(part.source) for split, part in run.experiment.data(run.config).splits.items()}
    others = [text.partition("=") for text in command.also]
    if wrong := ["".join(parts) for parts in others if not all(parts)]:
        raise UserError(f"--also {wrong[0]}: give it as NAME=SOURCE")
    made = make_record(
        run,
        images=images,
        data=command.data,
        elsewhere=[scores_elsewhere(run, source, name) for name, _, source in others],
        version=tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"],
        note=command.note,
    )
    path = RESULTS / f"{command.name or made['experiment'].rpartition('.')[2] + '-' + made['config']}.json"
    there = read_records(RESULTS).get(path.stem, made)
    if any(there[k] != made[k] for k in ("command", "commit", "date", "hardware")):
        raise UserError(f"{path.name} is of another run ({there['date']}); give --name, or delete that file")
    write_json(path, made)
    return path


def main(args: Sequence[str] | None = None) -> None:
    """The command line; mistakes end in one line and exit status 2."""
    command = tyro.cli(Command, args=args, prog="python -m experiments.record")
    try:
        if not command.run and not command.readme:
            raise UserError("give a run folder, or --readme")
        if command.run:
            print(record(command).relative_to(ROOT))
        if command.readme:
            README.write_text(replace_section(README.read_text(), section(read_records(RESULTS))))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
