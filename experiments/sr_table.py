"""The papers' table of super-resolution: bicubic interpolation, finished runs and published figures, side by side.

python -m experiments.sr_table                                          all weights that come with pixlab
python -m experiments.sr_table runs/sr_t91-quick srcnn-x3 --tests set5 set14
python -m experiments.sr_table runs/sr_div2k-edsr_x2 --ensemble --out docs/super_resolution.md
"""

from __future__ import annotations

import dataclasses
import pathlib
import shlex
import sys
from collections.abc import Sequence

import tyro

from experiments.sr_published import published
from pixlab import mesh, shipped
from pixlab.errors import UserError
from pixlab.evaluate import Evaluator, Predict, scored_batches
from pixlab.predict_command import note
from pixlab.records import public
from pixlab.run import Run
from pixlab.superres_task import SuperresOptions

LUMINANCE = ("bicubic", "SRCNN 9-1-5, T91", "SRCNN 9-5-5, ImageNet", "FSRCNN", "ESPCN", "VDSR")
METHODS = {
    "luminance": LUMINANCE,
    "rgb_luminance": ("SRResNet", "SRGAN", "EDSR"),
    "rgb": ("EDSR baseline", "EDSR", "MDSR"),
}
Scores = dict[str, dict[str, float]]  # of a row: {test set: {"psnr", "ssim"}}
TITLES = {
    "luminance": "luminance from luminance that was never rounded when it was small (SRCNN's protocol)",
    "rgb_luminance": "luminance of 8-bit colours from 8-bit colours (EDSR's protocol; SRResNet and SRGAN have another)",
    "rgb": "8-bit colours (DIV2K)",
}


@dataclasses.dataclass(frozen=True)
class Command:
    """Print the papers' table for finished runs and shipped weights."""

    runs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Run folders or names of shipped weights; none: all that are shipped."""
    tests: tuple[str, ...] = ("set5", "set14", "bsd100")
    """Sets of photos, as --source takes them."""
    ensemble: bool = False
    """Also the mean over eight flips and transpositions, of networks for colours (EDSR+)."""
    out: str = ""
    """Markdown file to write."""


def rows(command: Command) -> dict[tuple[str, int], dict[str, Scores]]:
    """{(protocol, scale): {row: scores}}. Raises UserError for runs of something else, and without any."""
    if not command.tests:
        raise UserError("--tests: give at least one set of photos")
    tables: dict[tuple[str, int], dict[str, Scores]] = {}
    for name, run in opened(command.runs or tuple(shipped.names())).items():
        for row, one in variants(name, run, command.ensemble):
            for test in command.tests:
                on = one.on(test)
                (column,) = on.recipe.metrics
                table = tables.setdefault((column.rpartition("_x")[0], on.config.scale), {})
                for baseline, predict in on.experiment.baselines(on.config, on.data()).items():
                    if test not in table.setdefault(baseline, {}):
                        table[baseline][test] = scores(on, predict)
                table.setdefault(row, {})[test] = scores(on, on.recipe.predict)
    if not tables:
        raise UserError("no weights are shipped; give run folders of super-resolution")
    return {key: tables[key] for key in sorted(tables)}


def opened(names: Sequence[str]) -> dict[str, Run]:
    """{row: run}; runs of one name go by their whole path. Raises UserError for runs of something else."""
    runs = {}
    for name in names:
        run = Run.open(name)
        if not isinstance(run.config, SuperresOptions):
            raise UserError(f"{name}: not a run of super-resolution ({run.experiment.name})")
        note(run.unfinished)
        runs[name if run.folder.name in runs else run.folder.name] = run
    return runs


def variants(name: str, run: Run, ensemble: bool) -> list[tuple[str, Run]]:
    """(row, run) of a run: at each scale that its network has learnt, and EDSR+ where that is asked for."""
    scales = (2, 3, 4) if getattr(run.config, "net", "") in ("vdsr", "mdsr") else (run.config.scale,)
    plus = {name: False, f"{name}+": True} if ensemble and hasattr(run.config, "ensemble") else {name: None}
    found = []
    for scale in scales:
        for row, turned in plus.items():
            changed = dict(scale=scale) | ({} if turned is None else dict(ensemble=turned))
            other = Run(run.folder, run.experiment, dataclasses.replace(run.config, **changed))
            other.state = run.state
            found.append((row, other))
    return found


def scores(run: Run, predict: Predict) -> dict[str, float]:
    """{"psnr", "ssim"} of what `predict` makes of the run's test photos."""
    found = Evaluator(predict, run.recipe.metrics, run.mesh)(run.state, scored_batches(run.data(), "test"))
    return {name.rpartition("/")[2]: value for name, value in found.items()}


def markdown(tables: dict[tuple[str, int], dict[str, Scores]], tests: Sequence[str]) -> list[str]:
    """Lines of a table for each protocol and scale: PSNR in dB and SSIM; measured rows are bold."""
    lines = []
    for (protocol, scale), ours in tables.items():
        lines += [f"## x{scale}, {TITLES[protocol]}", ""]
        lines += [f"|  | {' | '.join(map(public, tests))} |", f"| --- |{' --: |' * len(tests)}"]
        theirs = {test: published(METHODS[protocol], test, scale) for test in tests}
        theirs |= {test: {} for test in tests if (test == "div2k") != (protocol == "rgb")}
        for row, measured in ours.items():
            lines.append(f"| **{row}** | {' | '.join(cell(measured.get(test, {})) for test in tests)} |")
        for method in METHODS[protocol]:
            if any(method in theirs[test] for test in tests):
                cells = [cell(theirs[test].get(method, {})) for test in tests]
                lines.append(f"| {method} (published) | {' | '.join(cells)} |")
        lines.append("")
    return lines


def cell(known: dict[str, float]) -> str:
    """PSNR / SSIM, as far as they are known."""
    parts = [f"{known[name]:.{digits}f}" for name, digits in (("psnr", 2), ("ssim", 4)) if name in known]
    return " / ".join(parts)


def main(args: Sequence[str] | None = None) -> None:
    """The command line; mistakes end in one line and exit status 2."""
    words = sys.argv[1:] if args is None else list(args)
    shown = shlex.join(["python", "-m", "experiments.sr_table", *map(public, words)])
    command = tyro.cli(Command, args=words, prog="python -m experiments.sr_table")
    mesh.setup()
    try:
        lines = markdown(rows(command), command.tests)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print("\n".join(lines))
    if command.out:
        about = [
            "# Super-resolution",
            "",
            f"`{shown}`: PSNR in dB / SSIM, means over the photos of a set. Rows in bold were measured by this",
            "command, the others are what papers report, as later papers quote them (`experiments/sr_published.py`),",
            "most of them of networks that saw more photos than T91's.",
            "",
        ]
        pathlib.Path(command.out).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(command.out).write_text("\n".join([*about, *lines]))


if __name__ == "__main__":
    main()
