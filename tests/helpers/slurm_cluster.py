"""A real SLURM with one node, from Debian's packages, in a folder of its own: no systemd, no root, no database.

The node poses as one with 16 CPUs, 256 GB of memory and four GPUs. The GPUs are ordinary device files: SLURM counts and
assigns them and sets CUDA_VISIBLE_DEVICES as it does for real ones.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
PACKAGES = "slurmctld slurmd slurm-client munge"
GPUS = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SlurmdParameters=config_overrides
MpiDefault=none
GresTypes=gpu
ReturnToService=2
MinJobAge=7200
KillWait=15
InactiveLimit=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=256000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO DefMemPerCPU=100
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP OverSubscribe=NO DefMemPerCPU=100
"""


def missing() -> list[str]:
    """The programs of SLURM that are not installed on this machine."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """A running cluster: the environment in which SLURM's commands and Snakemake's executor find it.

    Everything that was started is stopped in the end.
    """
    folder.chmod(0o755)
    for name in ("state", "spool", "munge", "bin"):
        (folder / name).mkdir(mode=0o755)
    host = socket.gethostname().split(".")[0]
    text = CONFIGURATION.format(
        host=host, user=getpass.getuser(), folder=folder, gpus=len(GPUS), ports=[free_port(), free_port()]
    )
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text("".join(f"Name=gpu File={device}\n" for device in GPUS))
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    key = folder / "munge/key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    # The executor removes most SLURM_ variables from its jobs, SLURM_CONF among them. This srun sets it again.
    srun = folder / "bin/srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    path = f"{folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    environment |= {"PATH": path, "SLURM_CONF": f"{folder}/slurm.conf"}
    daemons = []
    try:
        daemons += [start(["munged", "--foreground", "--force", *munge_files(folder)], folder, environment)]
        wait_for(lambda: (folder / "munge/socket").exists(), "munged", folder)
        daemons += [start(["slurmctld", "-D", "-c", "-f", folder / "slurm.conf"], folder, environment)]
        daemons += [start(["slurmd", "-D", "-f", folder / "slurm.conf", "-N", host], folder, environment)]
        wait_for(lambda: "idle" in output_of(environment, "sinfo", "-h", "-o", "%T"), "slurmctld and slurmd", folder)
        yield environment
    finally:
        output_of(environment, "scancel", "--signal=KILL", "--user", getpass.getuser())
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def munge_files(folder: Path) -> list[str]:
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    return [f"--{option}={folder}/munge/{name}" for option, name in files.items()]


def start(command: list, folder: Path, environment: dict[str, str]) -> subprocess.Popen:
    with open(folder / f"{command[0]}.out", "w") as output:
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


def output_of(environment: dict[str, str], *command: str) -> str:
    """The output of one of SLURM's commands."""
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30).stdout


def wait_for(condition, what: str, folder: Path, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            logs = "\n".join(file.read_text()[-2000:] for file in [*folder.glob("*.out"), *folder.glob("*.log")])
            raise RuntimeError(f"{what}: not ready after {seconds:g} s\n{logs}")
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
