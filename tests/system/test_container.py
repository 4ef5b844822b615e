"""The health check of the Dockerfile, run as the container would run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

from tests.system.harness import CHECKOUT, SystemTest


class HealthCheck(SystemTest):
    def check(self, port: int, **environment: str) -> int:
        """Its exit code."""
        text = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
        (found,) = re.findall(r"(?m)^HEALTHCHECK .* CMD (\[.*\])$", text)
        program, *arguments = json.loads(found)
        self.assertEqual("python", program)
        environment = {**os.environ, "OUTPUTD_HEALTH_PORT": str(port), **environment}
        return subprocess.run(
            [sys.executable, *arguments], env=environment, capture_output=True, check=False
        ).returncode

    def test_it_is_0_only_while_results_can_be_stored(self) -> None:
        outputd = self.outputd().start()
        self.assertEqual(0, self.check(outputd.health_port))
        self.assertNotEqual(0, self.check(outputd.health_port, OUTPUTD_TLS_CERT="x"))
        outputd.kill()
        self.assertNotEqual(0, self.check(outputd.health_port))
