"""outputd-send: how a file becomes bodies, what is remembered of them, and what each answer leads to."""

from __future__ import annotations

import io
import json
import os
import stat
from contextlib import redirect_stderr
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from outputd.client.reply import Reply
from outputd.sender.body import Body
from outputd.sender.command import ALL_STORED, CANNOT_START, parse
from outputd.sender.cut import bodies
from outputd.sender.journal import Journal, Refused
from outputd.sender.outbox import Delivery, Outcome, head_of
from outputd.sender.source import examine

URL_TEXT = "http://localhost:8081/results"
OK = b'{"status":"ok","received":1}'


class FileTests(SynchronousTestCase):
    """A test with a directory."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def written(self, content: bytes, name: str = "results.json") -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path

    def cut(self, content: bytes, name: str = "results.json") -> list[Body]:
        return list(bodies(examine(self.written(content, name))))


class ParseTests(SynchronousTestCase):
    def test_flags_may_follow_files(self) -> None:
        options = parse(["a.jsonl", "b.json", "--url", URL_TEXT, "--state", "s", "--gzip"])
        self.assertEqual([Path("a.jsonl"), Path("b.json")], options.files)
        self.assertEqual(Path("s/a.jsonl.sent"), options.state_of(options.files[0]))
        self.assertEqual(Path("s/b.json.refused.jsonl"), options.refused_of(options.files[1]))

    def test_files_may_follow_flags(self) -> None:
        self.assertEqual([Path("a"), Path("b")], parse(["a", "--again", "b"]).files)

    def test_beside_the_file_by_default(self) -> None:
        options = parse(["d/a.json"])
        self.assertEqual(Path("d/a.json.sent"), options.state_of(options.files[0]))

    def test_a_wrong_flag_is_one_line(self) -> None:
        wrong: list[list[str]] = [
            ["--connections=0"], ["--url=localhost:8081"], ["--url=http://"], ["--node=ä"], ["--node=" + 65 * "x"],
            ["--give-up-after=-1"], ["--give-up-after=nan"], ["b/f.json", "--state=s"], ["--key=k"],
        ]  # fmt: skip
        for flags in wrong:
            said = io.StringIO()
            with redirect_stderr(said):
                ended = self.assertRaises(SystemExit, parse, ["f.json", *flags])
            self.assertEqual((CANNOT_START, 1), (ended.code, said.getvalue().count("\n")), flags)

    def test_an_ipv6_url(self) -> None:
        self.assertEqual("http://[::1]:8081/results", parse(["f", "--url", "http://[::1]:8081/results"]).url)
        self.assertEqual(0, ALL_STORED)


class NameTests(FileTests):
    def test_a_file_whose_name_is_no_text_is_sent_and_resumed(self) -> None:
        """Issue 14.8: it was a traceback."""
        path = self.written(b"[1]\nno\n", os.fsdecode(b"bad\xff\x1b.jsonl"))
        source = examine(path)
        head = head_of(source, URL_TEXT, "")
        for _ in range(2):
            journal = Journal(parse([str(path)]).state_of(path), head)
            refused = Refused(parse([str(path)]).refused_of(path))
            refused.open()
            delivery = Delivery(source, journal, refused)
            parcel = delivery.turn(None)
            assert parcel is not None
            delivery.settle(Outcome(parcel, 400, Reply(400)))
            delivery.close(False, False)
        self.assertEqual(r"bad\udcff\x1b.jsonl", json.loads(refused.path.read_bytes().splitlines()[0])["file"])


class ModeTests(SynchronousTestCase):
    def test_the_file_itself_is_only_read(self) -> None:
        path = Path(self.mktemp())
        path.write_bytes(b"[1]")
        path.chmod(stat.S_IRUSR)
        self.assertEqual([b"[1]"], [body.data for body in bodies(examine(path))])
