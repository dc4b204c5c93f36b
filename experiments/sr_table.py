"""The papers' table of super-resolution: bicubic interpolation, finished runs and published figures, side by side.

python -m experiments.sr_table                                          all weights that come with pixlab
python -m experiments.sr_table runs/sr_t91-quick srcnn-x3 --tests set5 set14
python -m experiments.sr_table runs/sr_div2k-edsr_x2 --ensemble --out docs/super_resolution.md
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Sequence

import tyro

from experiments.sr_published import published
from pixlab import mesh, shipped
from pixlab.data.pipeline import eval_batches
from pixlab.errors import UserError
from pixlab.evaluate import Evaluator
from pixlab.run import Run
from pixlab.superres_task import SuperresOptions

LUMINANCE = ("bicubic", "SRCNN, 91 images", "SRCNN", "FSRCNN", "ESPCN", "VDSR")
METHODS = {
    "luminance": LUMINANCE,
    "rgb_luminance": (*LUMINANCE, "SRResNet", "SRGAN", "EDSR"),
    "rgb": ("EDSR baseline", "EDSR", "MDSR"),
}
Scores = dict[str, dict[str, float]]  # of a row: {test set: {"psnr", "ssim"}}
TITLES = {
    "luminance": "luminance from luminance that was never rounded when it was small (SRCNN's protocol)",
    "rgb_luminance": "luminance of 8-bit colours from 8-bit colours (EDSR's protocol)",
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
    names = command.runs or tuple(shipped.names())
    tables: dict[tuple[str, int], dict[str, Scores]] = {}
    for name in names:
        run = Run.open(name)
        if not isinstance(run.config, SuperresOptions):
            raise UserError(f"{name}: not a run of super-resolution ({run.experiment.name})")
        runs = {label(run): run}
        if command.ensemble and hasattr(run.config, "ensemble"):
            turned = Run(run.folder, run.experiment, dataclasses.replace(run.config, ensemble=True))
            runs[f"{label(run)}+"] = turned
        for row, one in runs.items():
            for test in command.tests:
                for predicts, protocol, scores in scored(one, test, row):
                    table = tables.setdefault((protocol, run.config.scale), {})
                    table.setdefault(predicts, {}).setdefault(test, scores)
    if not tables:
        raise UserError("no weights are shipped; give run folders of super-resolution")
    return {key: tables[key] for key in sorted(tables)}


def label(run: Run) -> str:
    """What a run is called in the table."""
    return run.folder.name


def scored(run: Run, test: str, name: str) -> list[tuple[str, str, dict[str, float]]]:
    """(row, protocol, scores) of the run on a test set, and of interpolation."""
    config = dataclasses.replace(run.config, source="", test=test)
    again, data = Run(run.folder, run.experiment, config), run.experiment.data(config)
    again.state, found = run.state, []
    for row, predict in [*run.experiment.baselines(config, data).items(), (name, again.recipe.predict)]:
        scores = Evaluator(predict, again.recipe.metrics, run.mesh)(again.state, eval_batches(data, "test"))
        protocol = next(iter(scores)).partition("/")[0].rpartition("_x")[0]
        found.append((row, protocol, {key.rpartition("/")[2]: value for key, value in scores.items()}))
    return found


def markdown(tables: dict[tuple[str, int], dict[str, Scores]], tests: Sequence[str]) -> list[str]:
    """Lines of a table for each protocol and scale: PSNR in dB and SSIM; measured rows are bold."""
    lines = []
    for (protocol, scale), ours in tables.items():
        lines += [f"## x{scale}, {TITLES[protocol]}", ""]
        lines += [f"|  | {' | '.join(tests)} |", f"| --- |{' --: |' * len(tests)}"]
        theirs = {test: published(METHODS[protocol], test, scale) for test in tests}
        for row, scores in ours.items():
            lines.append(f"| **{row}** | {' | '.join(cell(scores.get(test, {})) for test in tests)} |")
        for method in METHODS[protocol]:
            if any(method in theirs[test] for test in tests):
                cells = [cell(theirs[test].get(method, {})) for test in tests]
                lines.append(f"| {method} (published) | {' | '.join(cells)} |")
        lines.append("")
    return lines


def cell(scores: dict[str, float]) -> str:
    """PSNR / SSIM, as far as they are known."""
    parts = [f"{scores[name]:.{digits}f}" for name, digits in (("psnr", 2), ("ssim", 4)) if name in scores]
    return " / ".join(parts)


def main(args: Sequence[str] | None = None) -> None:
    """The command line; mistakes end in one line and exit status 2."""
    words = sys.argv[1:] if args is None else list(args)
    command = tyro.cli(Command, args=words, prog="python -m experiments.sr_table")
    mesh.setup()
    try:
        lines = markdown(rows(command), command.tests)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print("\n".join(lines))
    if command.out:
        how = f"`{' '.join(['python -m experiments.sr_table', *words])}`"
        about = [
            "# Super-resolution",
            "",
            f"{how}: PSNR in dB / SSIM, means over the photos of a set. Rows in bold",
            "were measured by this command, the others are what papers report, as later papers quote them",
            "(`experiments/sr_published.py`). Those networks saw more: SRCNN and ESPCN photos of ImageNet, FSRCNN 100",
            "photos more than ours, VDSR 200 more, EDSR 800 large ones.",
            "",
        ]
        pathlib.Path(command.out).write_text("\n".join([*about, *lines]))


if __name__ == "__main__":
    main()
