"""The experiments' command line: options from frozen dataclasses, train, score, table, page."""

from __future__ import annotations

import contextlib
import math
import pathlib
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Sequence

import jax

from pixlab import core, hosts, mesh
from pixlab.data.pipeline import Data, eval_batches
from pixlab.errors import Absent, UserError
from pixlab.evaluate import Evaluator, draw
from pixlab.log import Log
from pixlab.options import Options
from pixlab.page import write_page
from pixlab.provenance import code, sources
from pixlab.records import public
from pixlab.results import aligned
from pixlab.run import Experiment, Run, alone, claim, write_json
from pixlab.train import NonFinite, Stopped, mesh_of, stage_names, train

STATUS = {NonFinite: 3, Absent: 75}  # of the exit, where it is not 2: 75 is what systems call a temporary failure
WIDE = 120  # characters of a line
SHARED = 30  # seconds until a network file system shows everywhere what was written on one host


def main(experiment: Experiment, args: Sequence[str] | None = None) -> Run:
    """Parse, train, score; returns the finished run. On a command line, mistakes end in one line and exit status 2."""
    from_shell = args is None
    if from_shell:
        signal.signal(signal.SIGTERM, stop)
    if isinstance(args, str):
        raise UserError(f"give the options as a list of words: {shlex.split(args)}")
    try:
        return execute(experiment, *parse(experiment, sys.argv[1:] if args is None else list(args)))
    except SystemExit as left:  # tyro's, which has said why
        if from_shell or not left.code:
            raise
        raise UserError("these options are not understood; what is wrong stands above") from None
    except BaseException as error:
        said, status = ending(error)
        if not isinstance(error, Stopped):  # which all processes are
            hosts.leave(error, said, status, stay=not from_shell)
        if not from_shell or status == 1:
            raise
        print(said, file=sys.stderr)
        raise SystemExit(status) from None


def ending(error: BaseException) -> tuple[str, int]:
    """What a command line says, and its exit status, when `error` ends a run."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped; the same command goes on", 130
    if isinstance(error, Stopped):
        return str(error), 0
    if isinstance(error, UserError):
        return f"error: {error}", STATUS.get(type(error), 2)
    return "".join(traceback.format_exception(error)).rstrip(), 1


def stop(*_: object) -> None:
    """What SIGTERM does while nothing is trained: before the first step, and while the trained run is scored."""
    raise Stopped("SIGTERM: stopped; the same command goes on")


def parse(experiment: Experiment, args: list[str]) -> tuple[str, Options]:
    """(name, config) of the command line; a config's name comes first, none means the first config."""
    import tyro

    default = next(iter(experiment.configs))
    if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
        args = [default, *args]
    docs = {name: (type(config).__doc__ or "").strip().splitlines()[0] for name, config in experiment.configs.items()}
    choices = {name: (experiment.about.get(name, docs[name]), c) for name, c in experiment.configs.items()}
    config = tyro.extras.overridable_config_cli(choices, args=args, prog=f"python -m {experiment.name}")
    config.check()
    return args[0], config


def execute(experiment: Experiment, name: str, config: Options) -> Run:
    """Train `config` in its run folder, score it beside the baselines, and leave table and page there."""
    began = time.monotonic()
    mesh.setup()
    hosts.start(config, {"experiment": experiment.name, "config": name, **code(), **sources(experiment.name)})
    config = hosts.first_then_all(config.settled)
    folder = pathlib.Path(config.run or f"runs/{experiment.name.rpartition('.')[2]}-{name}")
    data = hosts.first_then_all(lambda: experiment.data(config))
    if missing := [f"'{split}'" for split in ("train", "test") if split not in data.splits]:
        raise UserError(f"the data has no images in split {' and '.join(missing)}; training needs both train and test")
    run = Run(folder, experiment, config)
    if not (folder / "config.json").exists():  # what cannot be begun is said before a folder is made
        jax.eval_shape(lambda key: core.start(run.recipe, key, run.recipe.pretrained), jax.random.key(0))
    sizes = ", ".join(f"{len(split.source)} {kind}" for kind, split in data.splits.items())
    used, there = mesh_of(run.recipe, config).size, jax.devices()
    devices = f"{used}{f' of {len(there)}' if used < len(there) else ''} x {there[0].device_kind}"
    with contextlib.ExitStack() as held:
        hosts.first_alone(lambda: held.enter_context(alone(folder)) or claim(folder, experiment, name, config))
        hosts.same_folder(folder, min(config.host_timeout, SHARED))
        say(f"{experiment.name} {name}: {sizes} images; {devices}; run folder {folder}")
        say("compiling")
        result = fit(run, data, began)
    say(table(result))
    say(f"\npictures, curves and this table: {folder / 'index.html'}")
    if config.profile:
        here = folder / "profile"
        say(
            f"profile: xprof --logdir {here}"
            if here.exists()
            else "nothing to profile: it begins five steps after the start"
        )
    paper = experiment.papers(config)
    if paper and name != paper:
        say(f"the paper's own: {papers_own(experiment, paper)}   (its data: python -m pixlab data list)")
    return run


def papers_own(experiment: Experiment, paper: str) -> str:
    """The command of the config `paper`, with --source where that is a folder of which everyone has their own."""
    source = getattr(experiment.configs[paper], "source", "")
    words = [] if public(source) == source else ["--source", public(source)]
    return shlex.join(["python", "-m", experiment.name, paper, *words])


def fit(run: Run, data: Data, began: float) -> dict:
    """Train, score, and leave table and page; returns the table. `began` is when the process did."""
    run.state = train(run.recipe, data, run.folder, run.config)
    result = score(run, data)
    result["seconds"] = round(time.monotonic() - began, 1)
    hosts.first_alone(lambda: write_json(run.folder / "result.json", result) or write_page(run.folder))
    return result


def score(run: Run, data: Data) -> dict:
    """The final table: this run, the baselines, the published rows; also logs and draws the final scores."""
    evaluate = Evaluator(run.recipe.predict, run.recipe.metrics, run.mesh)
    step = int(run.state.step)
    ours = evaluate(run.state, eval_batches(data, "test"))
    log = Log(run.folder, active=hosts.first_host())
    log.resume(step, again="test/")
    log.scalars(step, {f"test/{name}": value for name, value in ours.items()})
    draw(run.recipe, data, run.state, log, evaluate, step)
    log.status("finished", step, run.recipe.steps, stages=stage_names(run.recipe))
    log.close()
    empty = run.state.replace(params={}, carry={})
    rows = {"this run": ours}
    for name, predict in run.experiment.baselines(run.config, data).items():
        rows[name] = Evaluator(predict, run.recipe.metrics, run.mesh)(empty, eval_batches(data, "test"))
    rows |= {f"{name} (published)": dict(row) for name, row in run.experiment.published(run.config).items()}
    if unmeasured := [name for name, value in ours.items() if math.isnan(value)]:
        say(f"not measured, as nothing in the test images is to measure it on: {', '.join(unmeasured)}")
    return {"step": step, "images": len(data.splits["test"].source), "columns": ["", *ours],
            "rows": [[name, *(known(row.get(column)) for column in ours)] for name, row in rows.items()]}  # fmt: skip


def known(score: float | None) -> float | None:
    """The score; None where it is not a number, which JSON has no word for."""
    return None if score is None or math.isnan(score) else score


def table(result: dict) -> str:
    """The final table as aligned text, a block for each metric; instead of wide lines it has one for each score."""
    metrics = dict.fromkeys(column.split("/")[0] for column in result["columns"][1:])
    blocks = []
    for metric in metrics:
        chosen = [i for i, column in enumerate(result["columns"]) if column.startswith(f"{metric}/")]
        lines = [[metric, *(result["columns"][i].split("/", 1)[1] for i in chosen)]]
        for row in result["rows"]:
            if any(row[i] is not None for i in chosen):
                lines.append([row[0], *("" if row[i] is None else f"{row[i]:.3f}" for i in chosen)])
        block, turned = aligned(lines), aligned(list(zip(*lines, strict=True)))
        blocks.append("\n".join(block if len(block[0]) <= max(WIDE, len(turned[0])) else turned))
    return "\n\n".join(blocks)


def say(text: str) -> None:
    """Print on the first host only."""
    if hosts.first_host():
        print(text, flush=True)
