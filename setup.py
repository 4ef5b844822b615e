"""What outputd is and needs, for pip; the tools' settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

VERSION = re.search(r'^__version__ = "(.+)"$', Path("outputd/__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
if VERSION is None:
    raise SystemExit('outputd/__init__.py has no line __version__ = "..."')

PARQUET = ["pyarrow>=17"]
ARCHIVE = [*PARQUET, "obstore>=0.12"]
NAMES = ["maxminddb>=3"]  # the first that reads from an object without a name

TEST = [
    *ARCHIVE,
    *NAMES,
    "coloraide>=4",
    "hypothesis>=6.100",
    "openapi-schema-validator>=0.9",
    "openapi-spec-validator>=0.9",
    "PyYAML>=6",
    "schemathesis==4.32.*",  # held fast: each release looks for more
    "selenium>=4.20",
    "setuptools>=64",
    "trustme>=1.1",
]

setup(
    name="outputd",
    version=VERSION[1],
    description="Collects the results of ping and traceroute nodes in SQLite and feeds the hops it finds back",
    author="the outputd authors",
    license="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Environment :: No Input/Output (Daemon)",
        "Framework :: Twisted",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Topic :: System :: Networking :: Monitoring",
    ],
    python_requires=">=3.11",
    install_requires=[
        "Twisted[tls]>=25.5",  # the first whose web server can be told to leave form bodies unparsed
        "klein>=24.8",
        "treq>=24.9",
        "prometheus-client>=0.20",
        "msgspec>=0.18.6",
        "zstandard>=0.20",  # in which bodies of other formats are kept
    ],
    extras_require={
        "parquet": PARQUET,
        "archive": ARCHIVE,
        "names": NAMES,
        "test": TEST,
        "docs": ["mkdocs==1.6.*", "mkdocs-material==9.*", "matplotlib>=3.8"],
        # Held fast, so that a new release's rules do not fail a tree that has not changed.
        "dev": [*TEST, "import-linter==2.*", "mypy==2.4.*", "mypy-zope==1.0.*", "ruff==0.17.*"],
    },
    # Twisted finds a plugin in any twisted/plugins on the path that is not a package of its own (no __init__.py).
    packages=[*find_packages(include=["outputd", "outputd.*"]), "twisted.plugins"],
    # Without this line an editable install leaves twisted/plugins off the path, and twistd does not know outputd.
    package_dir={"": "."},
    package_data={"": ["schema/*.sql", "*.xml"], "outputd.archive": ["sql/*/*.sql"], "outputd.pages": ["static/*"]},
    entry_points={
        "console_scripts": [
            "outputd = outputd.__main__:main",
            "outputd-export = outputd.export.command:main",
            "outputd-merge = outputd.merge.command:main",
            "outputd-restore = outputd.store.command:main",
            "outputd-send = outputd.sender.command:main",
            "outputd-token = outputd.security.command:main",
        ]
    },
)
