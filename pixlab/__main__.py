"""python -m pixlab: predict on photos, evaluate a run, export it, plan one, list weights, list and prepare data."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import pathlib
import sys
from typing import Annotated

import tyro

from pixlab.errors import UserError
from pixlab.predict_command import RUN, Predict, note, write


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Score a trained run over a whole split."""

    run: RUN
    split: str = "test"
    """Which split."""
    source: str = ""
    """Other data than the run's own, such as rgbd_folder:PATH."""

    def __call__(self) -> None:
        from pixlab import mesh
        from pixlab.run import Run

        mesh.setup()
        run = Run.open(self.run)
        scores = run.evaluate(self.split, self.source)
        note(run.unfinished)
        images = len(run.scored(self.split, self.source).data().splits[self.split].source)
        print(f"{images} images of split '{self.split}', {self.source or run.config.tested or 'the run'}")
        for name, value in scores.items():
            print(f"{name:24} {'not measured' if math.isnan(value) else f'{value:.4f}'}")


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a trained run's prediction as one file that runs without pixlab (docs/export.md).

    It is run and compared with the run first. FILE.json, beside it, says what goes in and comes out.
    """

    run: RUN
    format: str = "stablehlo"
    """stablehlo, for JAX, or onnx, for other programs (in an environment of its own: docs/export.md)."""
    out: str = ""
    """File to write; empty stands for export.stablehlo or export.onnx in the run folder, or for NAME.stablehlo or
    NAME.onnx here where weights are shipped."""

    def __call__(self) -> None:
        from pixlab import export, mesh, shipped
        from pixlab.run import Run, write_json

        mesh.setup()
        run = Run.open(self.run)
        note(run.unfinished)
        data, about = export.export(run, self.format)
        ours = shipped.is_shipped(run.folder)
        default = f"{run.folder.name}.{self.format}" if ours else run.folder / f"export.{self.format}"
        path = pathlib.Path(self.out or default)
        write(path, lambda file: file.write(data), keep=False)
        write_json(path.with_name(path.name + ".json"), about)
        for kind in ("inputs", "outputs"):
            for name, array in about[kind].items():
                free = ", letters are free" if kind == "inputs" else ""
                print(f"{kind[:-1]:6} {name}: {array['dtype']} [{', '.join(map(str, array['shape']))}]{free}")
        differences = ", ".join(f"{name} {part:.0e}" for name, part in about["difference"].items())
        print(f"largest difference from the run, as a part of a map's largest value: {differences}")
        print(f"{path} ({len(data) / 1e6:.1f} MB)")


@dataclasses.dataclass(frozen=True)
class Weights:
    """What weights are shipped with pixlab, where they come from and what they score."""

    def __call__(self) -> None:
        from pixlab import shipped

        print(shipped.listed())


@dataclasses.dataclass(frozen=True)
class List:
    """What data there is, where it comes from, and whether it is prepared."""

    def __call__(self) -> None:
        from pixlab.data.catalogue import CATALOGUE
        from pixlab.data.prepared import data_dir

        print(f"data folder: {data_dir()} (TFDS_DATA_DIR chooses another)")
        for entry in CATALOGUE:
            print(f"\n{entry.name}: {entry.what}")
            rows = {"from": entry.origin, "licence": entry.licence, "size": entry.size, "by hand": entry.by_hand()}
            rows["state"] = entry.state()
            for name, text in rows.items():
                print(f"  {name:8} {text}")


@dataclasses.dataclass(frozen=True)
class Prepare:
    """Prepare a data set for training."""

    name: tyro.conf.Positional[str]
    """Its name, as `python -m pixlab data list` has it."""

    def __call__(self) -> None:
        from pixlab.data.catalogue import CATALOGUE
        from pixlab.data.prepared import prepare

        known = {entry.name: entry for entry in CATALOGUE}
        if self.name not in known:
            raise UserError(f"no data set '{self.name}'; there are {', '.join(known)}")
        print(prepare(self.name, known[self.name].prepare))


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a config needs: memory, communication and time of its training step.

    With --topology the step is compiled for TPU chips, none of which need be there; without, some steps are run on the
    devices of this machine. No data is needed.
    """

    words: tyro.conf.Positional[tuple[str, ...]]
    """Experiment, such as depth_nyu, then its config and its options, such as vgg16 --batch 64 --fsdp 4."""
    topology: str = ""
    """TPU chips as NAME:SHAPE, such as v5e:4x4 or v5p:2x2x1; cpu, gpu or nothing: what this machine has."""
    full: bool = False
    """Compile with all of XLA's optimisations, as training does: it takes three times as long."""

    def __call__(self) -> None:
        from pixlab import measure, plan, plan_text
        from pixlab.cli import parse
        from pixlab.run import find_experiment

        if not self.words:
            raise UserError("give an experiment, such as: python -m pixlab plan depth_nyu alexnet --topology v5e:4x4")
        here = self.topology in ("", "cpu", "gpu")
        if here:
            measure.prepare(self.topology)
        else:
            plan.prepare(self.topology, full=self.full)
        experiment = find_experiment(self.words[0])
        name, config = parse(experiment, list(self.words[1:]))
        name = f"{experiment.name} {name}"
        if here:
            print(plan_text.measured_text(name, config, measure.measure(experiment, config)))
        else:
            print(f"compiling {name} for {self.topology}: a minute or more", file=sys.stderr)
            print(plan_text.plan_text(name, plan.plan(experiment, config, self.topology), full=self.full))


Data = Annotated[List, tyro.conf.subcommand("list")] | Annotated[Prepare, tyro.conf.subcommand("prepare")]


@dataclasses.dataclass(frozen=True)
class DataCommand:
    """List and prepare data sets."""

    command: tyro.conf.OmitSubcommandPrefixes[Data]

    def __call__(self) -> None:
        self.command()


Command = (
    Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Weights, tyro.conf.subcommand("weights")]
    | Annotated[Plan, tyro.conf.subcommand("plan")]
    | Annotated[DataCommand, tyro.conf.subcommand("data")]
)


def _own_first(args: list[str]) -> list[str]:
    """The words of `plan` with its own options first; the others belong to the experiment, its --help too."""
    if args[:1] != ["plan"]:
        return args
    own, others, words = [], [], iter(args[1:])
    for word in words:
        if (
            word in ("--full", "--no-full")
            or word.startswith("--topology=")
            or (word in ("-h", "--help") and not others)
        ):
            own.append(word)
        elif word == "--topology":
            own += [word, *itertools.islice(words, 1)]
        else:
            others.append(word)
    return ["plan", *own, "--", *others]


def main(args: list[str] | None = None) -> None:
    """Run one command; a mistake of the user ends in one line and exit status 2."""
    args = _own_first(sys.argv[1:] if args is None else args)
    command = tyro.cli(Command, args=args, prog="python -m pixlab", config=(tyro.conf.OmitSubcommandPrefixes,))
    try:
        command()
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # what reads the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would flush and fail again
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
