"""Takes free GPUs of this machine for a command, so that jobs side by side get different ones.

    stclip gpus 2 torchrun --nproc-per-node 2 --no-python -- stclip train ...

Whoever holds the socket of a GPU's name has the GPU. The command inherits it and the system frees
it when the command ends, however it ends. Light: no torch here.
"""

import errno
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from itertools import takewhile

from stclip.errors import ConfigError

logger = logging.getLogger(__name__)
VISIBLE = "CUDA_VISIBLE_DEVICES"
RETRY_S = 1.0  # mean time between two looks at GPUs that are taken


def run_on_gpus(count: int, command: Sequence[str]) -> None:
    """Become `command`, with `count` GPUs of its own; wait while too few are free.

    On a machine that shows no GPU it runs as it is.

    Raises:
        ConfigError: the machine shows fewer GPUs, or `command` cannot be started.
    """
    gpus = visible_gpus()
    if gpus and count:
        os.environ[VISIBLE] = ",".join(take(count, gpus))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and a command would go on so
    try:
        os.execvp(command[0], list(command))
    except OSError as error:
        raise ConfigError(f"{command[0]!r} cannot be started: {error}") from None


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get(VISIBLE)
    if named is not None:  # CUDA looks at nothing behind a -1
        names = [name.strip() for name in named.split(",")]
        return list(takewhile(lambda name: name not in ("", "-1"), names))
    if shutil.which("nvidia-smi") is None:
        return []
    done = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(lines))]


def take(count: int, gpus: Sequence[str]) -> list[str]:
    """Hold `count` of `gpus` until this process, or what it becomes, ends; wait for them.

    Raises:
        ConfigError: there are fewer.
    """
    if count > len(gpus):
        raise ConfigError(
            f"{count} GPUs wanted, this machine shows {len(gpus)} ({VISIBLE} or nvidia-smi: "
            f"{','.join(gpus)}); lower `gpu` under `resources` of the scale, or "
            "--resources gpu=..., to what there is."
        )
    waiting = False
    while True:
        held: dict[str, socket.socket] = {}
        for gpu in gpus:
            if len(held) < count and (hold := _hold(gpu)) is not None:
                held[gpu] = hold
        if len(held) == count:
            break
        for hold in held.values():  # all or none: two that wait never wait for each other
            hold.close()
        if not waiting:
            logger.info("gpus: waiting, %d of %d free, %d wanted", len(held), len(gpus), count)
            waiting = True
        time.sleep(RETRY_S * random.uniform(0.5, 1.5))
    for hold in held.values():
        hold.set_inheritable(True)
        hold.detach()
    logger.info("gpus: %s", ",".join(held))
    return list(held)


def _hold(gpu: str) -> socket.socket | None:
    """The socket of a GPU's name, in Linux' abstract namespace: no file stays; None if taken.

    A Slurm job has its GPUs for itself and may number them from 0 like its neighbour.
    """
    hold = socket.socket(socket.AF_UNIX)
    try:
        hold.bind(f"\0stclip-gpu-{os.environ.get('SLURM_JOB_ID', '')}-{gpu}")
    except OSError as error:
        hold.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return hold
