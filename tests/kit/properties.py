"""Hypothesis, but for what it asserts of the machine: how fast a test, or the making of its data, has to be."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings

__all__ = ["example", "given", "settings"]

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
