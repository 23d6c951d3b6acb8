"""`stclip` and `snakemake` as forks of one process that has imported what they need.

Tests start them hundreds of times, and importing takes seconds. It is the process that `stclip
preloaded` keeps ready, which here runs snakemake too. Every process of tests starts its own at the
first use; it ends with it. A test of how a process starts and ends wants the plain environment.
"""

import atexit
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from stclip.runtime import preload

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
LARGEST_FILE = "TESTS_LARGEST_FILE"  # environment variable: bytes that a fork may write to a file

# `stclip preloaded` without its imports, for tests of how processes begin and end
_LIGHT = "import stclip.cli as cli; cli.PRELOADED = (); cli.run()"
LIGHTLY_PRELOADED = [sys.executable, "-c", _LIGHT, "preloaded"]

_OF_WORKFLOWS = (  # what Snakemake and the Snakefile import
    *("snakemake.cli", "snakemake.workflow", "snakemake.report", "snakemake.storage"),
    *("snakemake.assets", "snakemake_executor_plugin_slurm", "requests", "smart_open"),
    *("stclip.config.figure", "stclip.prepare.ava", "stclip.prepare.jhmdb"),
    *("stclip.prepare.ucf101_24", "stclip.mini.ava_archives", "stclip.mini.jhmdb_archives"),
    "stclip.mini.ucf_archives",
)
_SERVER = f"""
import atexit, os, resource, sys
from pathlib import Path
from stclip.cli import PRELOADED, run
from stclip.config import read_yaml
from stclip.runtime import preload

def job():
    wanted = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [path for path in wanted if path not in sys.path]
    if "{LARGEST_FILE}" in os.environ:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["{LARGEST_FILE}"]),) * 2)
    if os.path.basename(sys.argv[0]) == "snakemake":
        from snakemake.cli import main
        atexit._clear()
        try:
            main()
        finally:
            atexit._run_exitfuncs()  # a fork does not, but a note of who locks must go
    run()

modules = [*PRELOADED, *{_OF_WORKFLOWS!r}]
for path in Path("config").rglob("*.yaml"):  # they stay parsed
    read_yaml(path)
until_closed = ["sh", "-c", 'echo "$STCLIP_PRELOADED"; read -r _']
sys.exit(preload.serve(until_closed, run=job, modules=modules))
"""
_SNAKEMAKE = """#!{python}
import sys
from stclip.runtime import preload
sys.exit(preload.ask({address!r}, sys.argv))
"""


def plain(*modules: Path) -> dict[str, str]:
    """An environment in which commands import for themselves, from folders `modules` too."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    found = os.pathsep.join(map(str, [*modules, ROOT]))
    return os.environ | {"PATH": path, "PYTHONPATH": found, "OMP_NUM_THREADS": "1"}


def of_forks(*modules: Path, code: Path = ROOT) -> dict[str, str]:
    """An environment in which each `stclip` is a fork, but no `snakemake`; `code`: its checkout."""
    return plain(*modules) | {preload.ADDRESS: _server(code)[1]}


def forked(*modules: Path, code: Path = ROOT) -> dict[str, str]:
    """An environment in which each `stclip` and `snakemake` is a fork."""
    own = of_forks(*modules, code=code)
    return own | {"PATH": f"{_server(code)[0]}{os.pathsep}{own['PATH']}"}


@cache
def _server(code: Path) -> tuple[Path, str]:
    """A folder for the front of PATH, and the server's address."""
    folder = tempfile.TemporaryDirectory(prefix="stclip-tests-")
    server = subprocess.Popen(
        [sys.executable, "-P", "-c", _SERVER], cwd=code, env=plain(code), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    atexit.register(_end, server, folder)
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    assert address, "the process that forks did not start, see above"
    program = Path(folder.name) / "snakemake"
    program.write_text(_SNAKEMAKE.format(python=sys.executable, address=address))
    program.chmod(0o755)
    return program.parent, address


def _end(server: subprocess.Popen[str], folder: tempfile.TemporaryDirectory[str]) -> None:
    server.communicate()  # closes its standard input, which it waits for
    folder.cleanup()
