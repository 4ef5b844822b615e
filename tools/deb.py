"""`python3 -m tools.deb DIR`: a Debian package of outputd with all that it stands on, for this machine's Python.

Debian's own Twisted is too old, so the package brings its libraries along, in /usr/lib/outputd, where no other program
sees them. It is for one version of Python and one architecture, as the compiled libraries are.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
_LIBRARY = "usr/lib/outputd"
_COMMANDS = {
    "outputd": "outputd.__main__",
    "outputd-send": "outputd.sender.command",
    "outputd-restore": "outputd.store.command",
    "outputd-merge": "outputd.merge.command",
    "outputd-export": "outputd.export.command",
    "outputd-token": "outputd.security.command",
}
_LIST_PLUGINS = """\
import sys

sys.path.insert(0, sys.argv[1])
from twisted.plugin import IPlugin, getPlugins

list(getPlugins(IPlugin))
"""
_WRAPPER = """\
#!/usr/bin/python3 -I
import sys

sys.path.insert(0, "/usr/lib/outputd")
sys.argv[0] = "{name}"
from {module} import main

main()
"""
_CONTROL = """\
Package: outputd
Version: {version}
Architecture: {architecture}
Maintainer: the outputd authors <outputd@localhost>
Section: net
Priority: optional
Depends: python3 (>= {python}), python3 (<< {next_python}), ca-certificates
Recommends: sqlite3, curl, jq
Installed-Size: {kib}
Description: collector of ping and traceroute results
 outputd stores the results of a fleet of ping nodes durably in SQLite files,
 shows them on web pages, answers queries over HTTP, and posts the router
 addresses that it finds in traceroutes to a list of targets.
"""
_DEFAULTS = """\
# Settings of outputd, one OUTPUTD_... variable per line; man outputd lists them. Restart outputd after a change.
#OUTPUTD_KEEP_FILES=10
#OUTPUTD_INPUT_URL=http://localhost:8080/hops
#OUTPUTD_TOKENS_FILE=/etc/outputd/tokens
"""
_POSTINST = """\
#!/bin/sh
set -e
if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    if [ -n "$2" ]; then
        systemctl try-restart outputd.service
    fi
fi
"""
_PRERM = """\
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now outputd.service outputd.socket || true
fi
"""
_POSTRM = """\
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
# Results in /var/lib/outputd are kept, even by a purge.
"""
_COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: outputd

Files: *
Copyright: 2026 the outputd authors
License: MIT

Files: usr/lib/outputd/*
Copyright: the authors of the libraries; see their *.dist-info directories
License: as stated in each library's *.dist-info directory

License: MIT
"""

_SENDERS = ("*.sent", "*.refused.jsonl")
"""What outputd-send leaves beside a file."""


def build(tree: Path, out: Path, python: Path) -> Path:
    """Lay out the tree of the package and pack it; the package."""
    _libraries(tree, python)
    _commands(tree)
    _documents(tree, python)
    _units(tree)
    return _pack(tree, out)


def _libraries(tree: Path, python: Path) -> None:
    target = tree / _LIBRARY
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, "--target", target, TOP], check=True)
    shutil.rmtree(target / "bin", ignore_errors=True)
    subprocess.run([python, "-I", "-B", "-W", "ignore", "-c", _LIST_PLUGINS, target], check=True)
    # Nobody can write there later, so it is compiled now; the hash instead of a time survives the packing.
    compiled: list[str | Path] = ["--invalidation-mode", "unchecked-hash", "-q", "-s", tree, "-p", "/"]
    subprocess.run([python, "-m", "compileall", *compiled, target], check=True)


def _commands(tree: Path) -> None:
    directory = tree / "usr/bin"
    directory.mkdir(parents=True)
    for name, module in _COMMANDS.items():
        (directory / name).write_text(_WRAPPER.format(name=name, module=module), encoding="ascii")
        (directory / name).chmod(0o755)


def _documents(tree: Path, python: Path) -> None:
    manual, documents = tree / "usr/share/man/man1", tree / "usr/share/doc/outputd"
    for directory in (manual, documents):
        directory.mkdir(parents=True)
    environment = {**os.environ, "PYTHONPATH": f"{tree / _LIBRARY}:{TOP}", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([python, "-m", "tools.manpages", manual], cwd="/", env=environment, check=True)
    subprocess.run([python, "-m", "tools.completion", tree / "usr/share"], cwd="/", env=environment, check=True)
    for path in manual.iterdir():
        _gzipped(path)
    license_ = "".join(f" {line}".rstrip() + "\n" if line else " .\n" for line in _license())
    (documents / "copyright").write_text(_COPYRIGHT + license_, encoding="utf-8")
    shutil.copy(TOP / "CHANGELOG.md", documents / "changelog")
    _gzipped(documents / "changelog")
    shutil.copytree(TOP / "examples", documents / "examples", ignore=shutil.ignore_patterns("__pycache__", *_SENDERS))
    shutil.copytree(TOP / "monitoring", documents / "monitoring", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TOP / "systemd" / "credentials.conf", documents / "examples")


def _license() -> list[str]:
    return (TOP / "LICENSE").read_text(encoding="utf-8").splitlines()[2:]


def _units(tree: Path) -> None:
    units, defaults = tree / "lib/systemd/system", tree / "etc/default"
    for directory in (units, defaults):
        directory.mkdir(parents=True)
    for path in (TOP / "systemd").iterdir():
        if path.suffix in (".service", ".socket"):
            text = path.read_text(encoding="utf-8")
            text = text.replace("/opt/outputd/bin/twistd -n --pidfile= outputd", "/usr/bin/outputd")
            text = re.sub(r"(?m)^# Install:.*\n(#    .*\n)*", "", text)  # the package has done that
            (units / path.name).write_text(text, encoding="utf-8")
    (defaults / "outputd").write_text(_DEFAULTS, encoding="utf-8")


def _pack(tree: Path, out: Path) -> Path:
    for path in tree.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent == tree / "usr/bin" else 0o644)
    version = _version()
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    kib = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file()) // 1024
    major, minor = sys.version_info[:2]
    control = tree / "DEBIAN"
    control.mkdir()
    (control / "control").write_text(
        _CONTROL.format(
            version=version, architecture=architecture, python=f"{major}.{minor}", next_python=f"{major}.{minor + 1}",
            kib=kib,
        ), encoding="ascii",
    )  # fmt: skip
    (control / "conffiles").write_text("/etc/default/outputd\n", encoding="ascii")
    for name, text in (("postinst", _POSTINST), ("prerm", _PRERM), ("postrm", _POSTRM)):
        (control / name).write_text(text, encoding="ascii")
        (control / name).chmod(0o755)
    out.mkdir(parents=True, exist_ok=True)
    package = out / f"outputd_{version}_{architecture}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, package], check=True, stdout=subprocess.DEVNULL)
    return package


def _version() -> str:
    text = (TOP / "outputd" / "__init__.py").read_text(encoding="utf-8")
    return text.partition('__version__ = "')[2].partition('"')[0]


def _gzipped(path: Path) -> None:
    with gzip.GzipFile(f"{path}.gz", "wb", mtime=0) as packed:
        packed.write(path.read_bytes())
    path.unlink()


def main() -> None:
    """Build the package into a directory."""
    out = Path(sys.argv[1]).resolve()
    tree = out / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    print(build(tree, out, Path(sys.executable)))
    shutil.rmtree(tree)


if __name__ == "__main__":
    main()
