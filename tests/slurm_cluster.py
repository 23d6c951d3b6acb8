"""A real Slurm of one node on this machine, from Debian's packages, for as long as a test needs it.

Its GPUs are device files that every Linux has: counted, handed out and told to jobs as true ones.
"""

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")
CONFIG = """
ClusterName=test
SlurmctldHost={node}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
# more cores and memory than this machine may have: nothing is measured here
SlurmdParameters=config_overrides
# a finished job is still told of at the end of a long test
MinJobAge=3600
NodeName={node} NodeAddr=127.0.0.1 CPUs=8 RealMemory=100000 Gres=gpu:{gpus}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass
class Cluster:
    """Use it in a `with`; whoever runs Slurm's commands needs `environment`."""

    folder: Path
    node: str = field(default_factory=lambda: socket.gethostname().partition(".")[0])
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}:/usr/sbin"
        return os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def __enter__(self) -> "Cluster":
        missing = [
            p for p in PROGRAMS if not shutil.which(p, path=f"{os.environ['PATH']}:/usr/sbin")
        ]
        assert not missing, f"{missing} not installed: make debian"
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        ctld_port, slurmd_port = _free_ports()
        (self.folder / "slurm.conf").write_text(
            CONFIG.format(
                node=self.node, folder=self.folder, user=getpass.getuser(), gpus=len(DEVICES),
                ctld_port=ctld_port, slurmd_port=slurmd_port,
            )
        )  # fmt: skip
        (self.folder / "gres.conf").write_text("".join(f"Name=gpu File={d}\n" for d in DEVICES))
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        # The plugin clears a job's environment of SLURM_...; elsewhere the file is in /etc/slurm.
        srun = self.folder / "srun"
        setting = f"SLURM_CONF={self.folder}/slurm.conf"
        srun.write_text(f'#!/bin/sh\n{setting} exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)
        kinds = {"key-file": "key", "socket": "socket", "pid-file": "pid"}
        kinds |= {"seed-file": "seed", "log-file": "log"}
        files = [f"--{option}={self.folder}/munge.{kind}" for option, kind in kinds.items()]
        try:
            self._start("munged", "--foreground", "--force", *files)
            self._start("slurmctld", "-D")
            self._start("slurmd", "-D")
            self.wait_until_idle()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_jobs()
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            daemon.wait(20)

    def _start(self, program: str, *options: str) -> None:
        with (self.folder / f"{program}.out").open("ab") as log:
            self.daemons[program] = subprocess.Popen(
                [program, *options], env=self.environment, stdout=log, stderr=log
            )

    def run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def wait_until_idle(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            ask = ["sinfo", "--noheader", "--format=%T"]
            said = subprocess.run(ask, env=self.environment, capture_output=True, text=True)
            if said.stdout.strip() == "idle":
                return
            logs = [path.read_text() for path in self.folder.glob("*.out")]
            assert time.monotonic() < deadline, "\n".join([said.stdout, said.stderr, *logs])
            time.sleep(0.1)

    def jobs(self) -> list[dict[str, str]]:
        """What Slurm knows of every job, in the order of their submission."""
        lines = self.run("scontrol", "--oneliner", "show", "job").splitlines()
        jobs = [dict(w.split("=", 1) for w in line.split() if "=" in w) for line in lines]
        return sorted((j for j in jobs if "JobId" in j), key=lambda job: int(job["JobId"]))

    def fail_node(self) -> None:
        """Lose the node with all that runs on it, as by a power cut."""
        self.daemons["slurmd"].kill()
        self.daemons["slurmd"].wait()
        self.run("scontrol", "update", f"nodename={self.node}", "state=down", "reason=test")
        self.kill_jobs()

    def repair_node(self) -> None:
        self._start("slurmd", "-D")
        self.run("scontrol", "update", f"nodename={self.node}", "state=resume")
        self.wait_until_idle()

    def kill_jobs(self) -> None:
        """kill -9 of everything that belongs to jobs, and of what looks after them."""
        while mine := [process for process in psutil.process_iter() if self._of_a_job(process)]:
            for process in mine:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(mine, timeout=10)

    def _of_a_job(self, process: psutil.Process) -> bool:
        try:
            settings = process.environ()
            ours = settings.get("SLURM_CONF") == str(self.folder / "slurm.conf")
            return ours and ("SLURM_JOB_ID" in settings or process.name() == "slurmstepd")
        except psutil.Error:  # it has ended, or is somebody else's
            return False


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]
