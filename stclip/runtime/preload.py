"""Starts `stclip` commands at once: as forks of a process that has imported PyTorch already.

    stclip preloaded snakemake --cores 2 all

Importing takes seconds, and a pipeline of many short jobs does it for every one of them. Here one
process imports; whatever `stclip ...` the given command runs, directly or not, asks it over a
socket for a fork that takes over arguments, folder, environment and standard streams. A command
that is killed takes its fork with it, and the other way round.
"""

import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from stclip.errors import StclipError
from stclip.runtime.parent import end_with_parent
from stclip.runtime.system_folders import cache_environment

ADDRESS = "STCLIP_PRELOADED"  # environment variable: the socket of the process that forks
_LENGTH = 8  # bytes of a number in a message
_STREAMS = 3  # standard input, output, error


class PreloadError(StclipError):
    """The process that forks cannot be reached."""


def serve(command: Sequence[str], *, run: Callable[[], None], modules: Sequence[str]) -> int:
    """Run `command`; what it starts as `stclip ...` is a fork that calls `run`.

    `modules` are imported first, once for all forks.

    Returns:
        The exit status of `command`.

    Raises:
        PreloadError: `command` cannot be started.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # of the libraries' pools; a fork sets those of torch
    for name in modules:
        importlib.import_module(name)
    gc.freeze()  # so that the forks' garbage collection leaves the shared pages alone
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, _ignore)
    signal.signal(signal.SIGINT, _ignore)  # the command decides; its children get the signal too
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    forks: dict[int, socket.socket] = {}
    with tempfile.TemporaryDirectory(prefix="stclip-") as folder, _listener(folder) as listener:
        environment = {**os.environ, **cache_environment(), ADDRESS: listener.getsockname()}
        try:
            process = subprocess.Popen(list(command), env=environment)
        except OSError as error:
            raise PreloadError(f"{command[0]!r} cannot be started: {error}") from None
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            while (status := process.poll()) is None:
                watched: list[Any] = [listener, woken, *forks.values()]
                ready, _, _ = select.select(watched, [], [])
                if woken in ready:
                    os.read(woken, 4096)
                    _report(forks)
                for pid, connection in list(forks.items()):
                    if connection in ready and _has_ended(connection):  # whoever asked
                        os.kill(pid, signal.SIGKILL)
                        os.waitpid(pid, 0)
                        forks.pop(pid).close()
                if listener in ready and (fork := _fork(listener, run)):
                    forks[fork[0]] = fork[1]
        finally:
            for pid in forks:
                os.kill(pid, signal.SIGKILL)
            gc.unfreeze()  # or the libraries find that something of theirs is left at the end
    return status


def ask(address: str, arguments: Sequence[str]) -> int:
    """Have a fork run `stclip` with these arguments (the program's name first); its exit status.

    Raises:
        PreloadError: nobody listens at `address`, or it ended meanwhile.
    """
    wish = {"arguments": list(arguments), "folder": str(Path.cwd()), "environment": {**os.environ}}
    message = json.dumps(wish).encode()
    gone = f"the process that {ADDRESS} names is gone; unset it, or start `stclip preloaded` again."
    killed = (
        "`stclip preloaded`, of which this was a fork, has ended: killed, or the machine was out "
        "of memory. Run the same command again."
    )
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(address)
        except OSError as error:
            raise PreloadError(f"{gone} ({error})") from None
        try:
            socket.send_fds(connection, [len(message).to_bytes(_LENGTH)], range(_STREAMS))
            connection.sendall(message)
            reply = connection.recv(_LENGTH)
        except OSError:
            reply = b""
    if not reply:
        raise PreloadError(killed)
    status = int.from_bytes(reply, signed=True)
    if status < 0:
        _end_by_signal(-status)
    return status


def _end_by_signal(number: int) -> None:
    """End as the fork did, so that whoever started this process, a shell, says why."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # this process's memory tells nothing
    if number not in (signal.SIGKILL, signal.SIGSTOP):  # which nothing handles
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _listener(folder: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(Path(folder) / "socket"))
    listener.listen()
    return listener


def _has_ended(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1)
    except OSError:
        return True


def _ignore(*_: object) -> None:
    """A handler that does nothing: unlike SIG_IGN, no child inherits it."""


def _report(forks: dict[int, socket.socket]) -> None:
    """Tell those who asked how their forks ended."""
    for pid in list(forks):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with forks.pop(pid) as connection, suppress(OSError):  # it may have ended too
                code = os.waitstatus_to_exitcode(status)
                connection.sendall(code.to_bytes(_LENGTH, signed=True))


def _fork(listener: socket.socket, run: Callable[[], None]) -> tuple[int, socket.socket] | None:
    """Take a wish and fulfil it in a fork: its process id, and the connection to whoever asked.

    None if whoever asked has ended meanwhile, or there can be no fork, which it is told.
    """
    connection, _ = listener.accept()
    wish, streams = _receive(connection)
    try:
        pid = None if wish is None else os.fork()
    except OSError as error:  # out of memory, or of processes
        with suppress(OSError):
            os.write(streams[-1], f"error: no process can be started: {error}\n".encode())
            connection.sendall((1).to_bytes(_LENGTH, signed=True))
        pid = None
    if pid != 0:
        for stream in streams:
            os.close(stream)
        if pid is None:
            connection.close()
            return None
        return pid, connection
    status = 1
    try:
        listener.close()
        connection.close()
        assert wish is not None
        _become(wish, streams)
        run()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if status and not isinstance(end.code, int):
            sys.stderr.write(f"{end.code}\n")
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()  # as at the end of any process
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # nothing of the process that forked is tidied up here


def _receive(connection: socket.socket) -> tuple[Mapping[str, Any] | None, list[int]]:
    """A wish, None if whoever asked ends before all of it is here, and its standard streams."""
    streams: list[int] = []
    try:
        head, streams, _, _ = socket.recv_fds(connection, _LENGTH, _STREAMS)
        message = bytearray()
        while part := connection.recv(65536):
            message += part
            if len(message) >= int.from_bytes(head):
                return (json.loads(message) if len(streams) == _STREAMS else None), streams
    except (OSError, ValueError):
        pass
    return None, streams


def _become(wish: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Take over what the process that asked was started with."""
    end_with_parent()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(wish["folder"])
    os.environ.clear()
    os.environ.update(wish["environment"])
    tempfile.tempdir = None  # of its own environment
    sys.argv[:] = wish["arguments"]
