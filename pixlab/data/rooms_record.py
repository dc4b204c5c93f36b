"""How a frame of `rooms` is stored, how it comes back, and many frames at once on all cores."""

from __future__ import annotations

import concurrent.futures
import io
import os
import pickle
import queue
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator

import numpy as np

from pixlab.data.rooms import disparity_and_flow, frame
from pixlab.data.rooms_cast import Camera

DEPTH_UNIT = 0.00025  # metres per step of the stored 16-bit depth, so never off by more than 0.125 mm; up to 16 m
PICTURES = ("image", "right", "second")
SERVE = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from pixlab.data.rooms_record import serve; serve()"
)


def png(image: np.ndarray) -> bytes:
    """An 8-bit RGB picture as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def picture(stored: bytes | np.ndarray) -> np.ndarray:
    """The uint8 RGB picture of PNG bytes; an array is returned as it is."""
    if not isinstance(stored, bytes):
        return stored
    from PIL import Image

    with Image.open(io.BytesIO(stored)) as image:
        return np.array(image.convert("RGB"))


def record(seed: int, *, height: int = 120, width: int = 160) -> dict[str, np.ndarray | bytes]:
    """`rooms.frame(seed)` as it is stored: pictures as PNG, depth in steps of DEPTH_UNIT; what follows from depth and
    the cameras (disparity and flow) is left out."""
    stored = dict(frame(seed, height=height, width=width))
    for name in PICTURES:
        stored[name] = png(stored[name])
    stored["depth"] = np.floor(stored["depth"].astype(np.float64) * (1 / DEPTH_UNIT) + 0.5).astype(np.uint16)
    stored["label"] = stored["label"].astype(np.uint8)
    del stored["disparity"], stored["flow"]
    return stored | {"seed": np.int64(seed)}


def example(record: dict, *, stereo: bool = True) -> dict[str, np.ndarray]:
    """The frame of a stored record, as `rooms.frame` describes it: pictures, labels, normals, occlusion and cameras
    exact, depth within 0.125 mm, disparity and flow computed from that depth.

    `record` is what `Rooms(...).as_data_source(split)` gives; pictures may still be PNG bytes. `stereo=False` gives
    image, depth, normal, label and intrinsics alone, in a third of the time.
    """
    depth = record["depth"].astype(np.float64) * DEPTH_UNIT
    out = {
        "image": picture(record["image"]),
        "depth": depth.astype(np.float32),
        "normal": record["normal"],
        "label": record["label"].astype(np.int32),
        "intrinsics": record["intrinsics"],
    }
    if not stereo:
        return out
    intrinsics = record["intrinsics"].astype(np.float64)
    left, second = Camera(record["pose"], intrinsics), Camera(record["second_pose"], intrinsics)
    disparity, flow = disparity_and_flow(left, second, depth)
    return out | {
        "right": picture(record["right"]),
        "second": picture(record["second"]),
        "disparity": disparity.astype(np.float32),
        "flow": flow.astype(np.float32),
        "baseline": np.asarray(record["baseline"], np.float32),
        **{name: record[name] for name in ("occluded", "flow_occluded", "pose", "second_pose")},
    }


def serve() -> None:
    """Answer (seed, height, width) requests on standard input with pickled records, until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    try:
        while True:
            seed, height, width = pickle.load(sys.stdin.buffer)
            pickle.dump(record(seed, height=height, width=width), answers)
            answers.flush()
    except EOFError:
        return
    except BrokenPipeError:  # the parent was killed: nobody is left to tell
        os._exit(1)


def records(
    seeds: Iterable[int], *, height: int = 120, width: int = 160, workers: int | None = None
) -> Iterator[dict[str, np.ndarray | bytes]]:
    """`record` of each seed, in order, made by `workers` processes (None: one per core; 1: in this process).

    The processes are fresh interpreters that import only this module: unlike multiprocessing's, they need no main
    guard in scripts, work from notebooks, and do not fork a process in which JAX runs threads. Raises RuntimeError
    where one of them dies.
    """
    seeds = list(seeds)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores if workers is None else workers, len(seeds))
    if workers <= 1:
        yield from (record(seed, height=height, width=width) for seed in seeds)
        return
    processes = [
        subprocess.Popen([sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(workers)
    ]
    idle: queue.SimpleQueue[subprocess.Popen] = queue.SimpleQueue()
    for process in processes:
        pickle.dump(sys.path, process.stdin)
        idle.put(process)

    def ask(seed):
        process = idle.get()
        try:
            pickle.dump((seed, height, width), process.stdin)
            process.stdin.flush()
            return pickle.load(process.stdout)
        except (EOFError, BrokenPipeError) as error:
            raise RuntimeError(f"the process that made room {seed} died; workers=1 shows why") from error
        finally:
            idle.put(process)

    pool = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        yield from pool.map(ask, seeds)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for process in processes:
            process.kill()
            process.communicate()
