"""Tells twistd of outputd, and nothing else: every twistd on this machine imports this file."""

from twisted.application.service import ServiceMaker

outputd = ServiceMaker(
    "outputd",
    "outputd.tap",
    "Collects the results of ping and traceroute nodes in SQLite and feeds the hops it finds back.",
    "outputd",
)
