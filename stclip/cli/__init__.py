"""The command line: one subcommand per stage, in road order. Parse, load, call, write.

Heavy modules are imported inside the commands: a table must not wait for torch.
"""

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from stclip.cli import (  # noqa: F401  their commands join the app, in road order
    costs,
    detect,
    download,
    evaluate,
    features,
    mini,
    own_data,
    predict,
    prepare,
    report,
    score,
    splits,
    tables,
    tracking,
    train,
    versions,
)
from stclip.cli.options import app
from stclip.errors import StclipError
from stclip.runtime import folder_lock, preload
from stclip.runtime.environment import check_environment
from stclip.runtime.gpus import run_on_gpus
from stclip.runtime.system_folders import shorten_temporary_folder

logger = logging.getLogger("stclip")
PRELOADED = (  # what short jobs import for longer than they work
    "wandb.sdk.launch",  # first, see `stclip.tracking.wandb_runs.tracked`
    "stclip.train.train",
    "stclip.score.score",
    "stclip.evaluate.evaluate",
    "stclip.evaluate.error_figures",
    "matplotlib.backends.backend_agg",  # which it imports when it draws
    "matplotlib.figure",
    "matplotlib.collections",
)
# What follows the first word is another command's, options and `--` included.
ANY_COMMAND = {"allow_extra_args": True, "allow_interspersed_args": False}


class _LogFile(logging.FileHandler):
    """A log that a full disk has no room for stops nothing; the terminal shows it too."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


@app.callback()
def _setup(
    log: Annotated[Path | None, typer.Option(help="Also write the log to this file.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads to use.", min=1)] = None,
) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    rank = int(os.environ.get("RANK", 0))  # of torchrun; the first process speaks for all
    if log is not None and rank == 0:
        log.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(_LogFile(log, mode="w", encoding="utf-8"))
    prefix = " ".join(log.with_suffix("").parts[1:]) if log else "stclip"
    if rank:
        prefix += f" process {rank}"
    logging.basicConfig(
        level=logging.WARNING if rank else logging.INFO, handlers=handlers,
        format=f"%(asctime)s {prefix} | %(message)s", datefmt="%H:%M:%S", force=True,
    )  # fmt: skip
    logging.captureWarnings(True)
    check_environment()
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # before torch is imported
        if "torch" in sys.modules:  # of the process that this one is a fork of
            sys.modules["torch"].set_num_threads(threads)


@app.command(context_settings=ANY_COMMAND)
def preloaded(context: typer.Context) -> None:
    """Run a command that runs many `stclip`s: each is a fork that need not import PyTorch."""
    if not context.args:
        raise typer.BadParameter("give a command, as `stclip preloaded snakemake --cores 2 all`.")
    status = preload.serve(context.args, run=run, modules=PRELOADED)
    sys.exit(status if status >= 0 else 128 - status)  # ended by a signal: as a shell puts it


@app.command(context_settings=ANY_COMMAND)
def gpus(
    context: typer.Context, count: Annotated[int, typer.Argument(help="GPUs wanted.", min=0)]
) -> None:
    """Run a command on free GPUs of this machine, which nobody else gets meanwhile."""
    if not context.args:
        raise typer.BadParameter("give a command, as `stclip gpus 1 stclip train ...`.")
    run_on_gpus(count, context.args)


@app.command()
def unlock() -> None:
    """Take away the lock that a Snakemake which is known to be dead left in this folder."""
    folder_lock.unlock()


def run() -> None:
    """Run; what a person can fix is one clear message and exit status 1, our bugs a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # what is at work tidies up
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        shorten_temporary_folder()
        app()
    except StclipError as error:
        logger.error("error: %s", error)
        sys.exit(1)
    except OSError as error:  # a full disk, a missing permission: the operating system's own words
        logger.error("error: %s", error)
        sys.exit(1)
    except Exception as error:
        if _is_out_of_memory(error):
            logger.error(
                "error: out of memory (%s). Run fewer jobs side by side (--cores, --resources), or "
                "on a machine that has more.", str(error) or type(error).__name__,
            )  # fmt: skip
            sys.exit(1)
        logger.exception("stclip failed; this is a bug")
        raise


def _is_out_of_memory(error: Exception) -> bool:
    """Python's and numpy's error, CUDA's, or what torch says where the CPU has no more."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )
