"""Real proxies in front of a service: an nginx or a haproxy of the machine, on a port of its own.

Neither lets anybody ask for /rotate: what rotates through them was not seen by them.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.system.harness import HOST, free_port, is_open
from tests.system.waiting import wait_until

NGINX = """
daemon off; error_log stderr; pid {place}/nginx.pid; worker_processes 1; user root;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  upstream outputd {{ server {host}:{behind}; keepalive 1; }}
  server {{
    listen {host}:{port};
    location = /rotate {{ return 403; }}
    location {path} {{ proxy_pass http://outputd/; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
HAPROXY = """
global
  maxconn 100
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
listen outputd
  bind {host}:{port}
  http-reuse always
  http-request deny if {{ path /rotate }}
  server outputd {host}:{behind} maxconn 1
"""


def nginx(place: Path, behind: int, at_end: Callable[..., object], path: str = "/") -> int:
    """The port of an nginx that passes what is below `path` on, over one kept connection."""
    program = _program("nginx", "nginx-light")
    return _start(place, behind, at_end, NGINX, path, lambda config: [program, "-p", str(place), "-c", str(config)])


def haproxy(place: Path, behind: int, at_end: Callable[..., object]) -> int:
    """The port of a haproxy that passes all on, over one kept connection."""
    program = _program("haproxy", "haproxy")
    return _start(place, behind, at_end, HAPROXY, "/", lambda config: [program, "-db", "-f", str(config)])


def _program(name: str, package: str) -> str:
    program = shutil.which(name, path="/usr/sbin:/usr/bin")
    if program is None:
        raise SkipTest(f"{name} is not here; on Debian it is in the package {package}")
    return program


def _start(
    place: Path,
    behind: int,
    at_end: Callable[..., object],
    config: str,
    path: str,
    command: Callable[[Path], list[str]],
) -> int:
    place.mkdir(parents=True)
    port, file = free_port(), place / "config"
    file.write_text(config.format(place=place, host=HOST, port=port, behind=behind, path=path))
    with (place / "said").open("wb") as said:
        server = subprocess.Popen(command(file), stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    at_end(server.wait)
    at_end(server.terminate)
    wait_until(lambda: is_open(port), f"it listens: {(place / 'said').read_text(errors='replace')}")
    return port
