from __future__ import annotations

import contextlib
import io
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.security import command
from outputd.security.access import Access
from tests.security.test_access import NODE


class TokenCommand(SynchronousTestCase):
    def run_it(self, *arguments: str) -> tuple[str, str, int]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                command.main(arguments)
            except SystemExit as ended:
                return out.getvalue(), err.getvalue(), int(ended.code or 0)
        return out.getvalue(), err.getvalue(), 0

    def test_a_token_and_its_line(self) -> None:
        out, _, code = self.run_it("new", "graz", "--role", "node")
        made, line = (text.partition(":")[2].strip() for text in out.splitlines())
        path = Path(self.mktemp())
        path.write_text(line)
        access = Access(path)
        access.take(access.read())
        self.assertEqual((code, access.holder(f"Bearer {made}".encode())), (0, NODE))
        self.assertNotEqual(out, self.run_it("new", "graz", "--role", "node")[0])

    def test_what_cannot_be(self) -> None:
        for arguments in (
            ("new", "graz"),
            ("new", "a b", "--role", "node"),
            ("new", "", "--role", "node"),
            (),
            ("old",),
        ):
            out, err, code = self.run_it(*arguments)
            self.assertEqual((out, code), ("", 2), arguments)
            self.assertIn("usage: outputd-token", err)
