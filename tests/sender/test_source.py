from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path

from outputd.sender.command import parse
from outputd.sender.cut import bodies
from outputd.sender.source import Source, examine
from tests.sender.test_command import FileTests


class PipeTests(FileTests):
    """Issue 15.16: a pipe is read once, and sent as a file is."""

    def through_a_pipe(self, content: bytes) -> Source:
        pipe = self.directory / "pipe"
        if not pipe.exists():
            os.mkfifo(pipe)
        writer = threading.Thread(target=pipe.write_bytes, args=(content,))
        writer.start()
        self.addCleanup(writer.join)
        source = examine(pipe)
        self.addCleanup(source.close)
        return source

    def test_its_bodies_are_those_of_a_file(self) -> None:
        long = b"[1]\n[2%s]\n" % (b" " * 400) * 4000  # more than a pipe holds, and than is read at once
        for content in (long, b"[1,2]", gzip.compress(b"\n[3]\n[4]\n"), b""):
            source = self.through_a_pipe(content)
            file = examine(self.written(content, "file"))
            self.assertEqual(
                (file.digest, file.size_bytes, file.layout), (source.digest, source.size_bytes, source.layout)
            )
            for _ in range(2):
                self.assertEqual(list(bodies(file)), list(bodies(source)))

    def test_its_journal_is_known_by_what_came_through_it(self) -> None:
        options = parse([str(self.directory / "pipe")])
        states = [options.state_of(options.files[0], self.through_a_pipe(content)) for content in (b"[1]", b"[2]")]
        self.assertNotEqual(*states)
        self.assertEqual({self.directory}, {state.parent for state in states})

    def test_one_that_the_system_names_has_its_files_here(self) -> None:
        options = parse(["-", "/dev/fd/63"])
        self.assertTrue(examine(Path("/dev/null")).is_nameless)
        self.assertEqual([Path("stdin.sent"), Path("63.sent")], [options.state_of(file) for file in options.files])
