"""Programs that print what ping and traceroute would: no test measures anything outside of this machine."""

from __future__ import annotations

import os
from pathlib import Path

_PING = """\
#!/bin/sh
echo '4 packets transmitted, 3 received, 25% packet loss, time 905ms'
echo 'rtt min/avg/max/mdev = 10.125/11.250/12.500/0.750 ms'
"""
_TRACEROUTE = """\
#!/bin/sh
for target; do :; done
echo "traceroute to $target ($target), 30 hops max, 60 byte packets"
echo ' 1  192.168.1.1  0.500 ms'
echo ' 2  *'
echo " 3  $target  11.000 ms"
"""


def pretenders(directory: Path) -> str:
    """A PATH on which ping and traceroute are ours."""
    directory.mkdir(exist_ok=True)
    for name, text in (("ping", _PING), ("traceroute", _TRACEROUTE)):
        (directory / name).write_text(text, encoding="ascii")
        (directory / name).chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"
