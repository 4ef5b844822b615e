from __future__ import annotations

import json
import os
from pathlib import Path

from outputd.client.reply import Reply
from outputd.process.files import open_ours
from outputd.sender import journal as journal_module
from outputd.sender.journal import VERSION, CannotResume, Cut, Journal, Refused, Settled, Totals
from outputd.sender.outbox import Delivery, Outcome, head_of
from outputd.sender.source import examine
from tests.sender.test_command import URL_TEXT, FileTests


class JournalTests(FileTests):
    def setUp(self) -> None:
        super().setUp()
        self.source = examine(self.written(b"[1]\n[2]\n[3]\n", "x.jsonl"))
        self.path = self.directory / "x.jsonl.sent"

    def journal(self, url: str = URL_TEXT, again: bool = False) -> Journal:
        return Journal(self.path, head_of(self.source, url, ""), again)

    def dropped(self, journal: Journal) -> None:
        """As a kill -9 leaves it: the lock ends with the process."""
        journal.file.close()

    def test_a_kill_costs_nothing(self) -> None:
        journal = self.journal()
        journal.settle(Settled(2, 5, 1))
        journal.settle(Settled(0, 7, 0, duplicate=1))
        self.dropped(journal)
        again = self.journal()
        self.assertEqual([True, False, True, False], [number in again for number in range(4)])
        self.assertEqual(Totals(2, 12, 1, 1, 0), again.totals)
        self.assertIsNotNone(again.was_in_doubt_since)

    def test_a_kill_between_pieces_costs_nothing(self) -> None:
        journal = self.journal()
        journal.begin_piece(1, 40)
        self.dropped(journal)
        journal = self.journal()
        self.assertEqual(Cut(1, 0, 40), journal.cut(1))
        journal.settle(Settled(1, 39, 1, until=40))
        self.dropped(journal)
        for _ in range(2):  # the second time from a head
            journal = self.journal()
            self.assertEqual((Cut(1, 40), False, Totals(0, 39, 0, 1)), (journal.cut(1), 1 in journal, journal.totals))
            journal.close(in_doubt=True, whole=False)
        journal = self.journal()
        journal.begin_piece(1, 60)
        journal.settle(Settled(1, 20))
        self.assertEqual((Cut(1), True, Totals(1, 59, 0, 1)), (journal.cut(1), 1 in journal, journal.totals))

    def test_one_of_version_1_goes_on(self) -> None:
        """As 0.0.1 has left it, which knew no pieces."""
        journal = self.journal()
        journal.settle(Settled(1, 5))
        self.dropped(journal)
        head, line = self.path.read_bytes().splitlines()
        old = {key: value for key, value in json.loads(head).items() if key != "cut"} | {"outputd_send": 1}
        self.path.write_bytes(json.dumps(old).encode() + b"\n" + line[: line.index(b",5,")] + b",5,0,0,0]\n")
        journal = self.journal()
        self.assertEqual((Totals(1, 5), True, False), (journal.totals, 1 in journal, 0 in journal))
        self.assertEqual(VERSION, json.loads(self.path.read_bytes())["outputd_send"])

    def test_a_torn_line_is_none(self) -> None:
        journal = self.journal()
        journal.settle(Settled(0, 5))
        self.dropped(journal)
        content = self.path.read_bytes()
        for size in range(len(content) - 3, len(content)):
            self.path.write_bytes(content[:size])
            again = self.journal()
            self.assertNotIn(0, again)
            self.dropped(again)

    def test_it_stays_small(self) -> None:
        self.patch(journal_module, "MOST_LINES", 10)
        journal = self.journal()
        for number in range(1000):
            journal.settle(Settled(number, 1))
            self.assertLess(self.path.stat().st_size, 1000)
        self.dropped(journal)
        self.assertEqual((1000, 1000), (self.journal().totals.stored, journal.head.next))

    def test_a_clean_end_leaves_no_doubt(self) -> None:
        self.journal().close(in_doubt=False, whole=False)
        self.assertIsNone(self.journal().was_in_doubt_since)

    def test_a_doubt_stays_until_all_is_sent(self) -> None:
        self.dropped(self.journal())
        self.journal().close(in_doubt=False, whole=False)
        journal = self.journal()
        self.assertIsNotNone(journal.was_in_doubt_since)
        journal.close(in_doubt=False, whole=True)
        self.assertIsNone(self.journal().was_in_doubt_since)

    def test_one_process_at_a_time(self) -> None:
        first = self.journal()
        self.assertIn("another outputd-send", str(self.assertRaises(CannotResume, self.journal)))
        self.assertIn("another outputd-send", str(self.assertRaises(CannotResume, self.journal, again=True)))
        first.settle(Settled(0))  # and it is not disturbed

    def test_what_was_open_before_the_other_one_put_a_new_head_in_its_place_is_not_taken(self) -> None:
        first = self.journal()

        def opened(path: Path, flags: int, mode: int = 0o666) -> int:
            handle = open_ours(path, flags, mode)
            if path == self.path and flags == os.O_RDONLY:
                self.patch(journal_module, "open_ours", open_ours)
                first.close(in_doubt=False, whole=False)
                self.others = [self.journal()]
            return handle

        self.patch(journal_module, "open_ours", opened)
        self.assertIn("another outputd-send", str(self.assertRaises(CannotResume, self.journal)))

    def test_a_link_in_the_place_of_its_files_leads_to_nothing_overwritten(self) -> None:
        """Issue 14.9: another user of a common directory planted it."""
        victim = self.written(b"dear\n", "victim")
        for name in ("x.jsonl.sent", "x.jsonl.sent.new"):
            for target in (victim, self.directory / "nowhere"):
                place = self.directory / name
                place.symlink_to(target)
                self.assertRaises(OSError, self.journal)
                self.assertFalse((self.directory / "nowhere").exists())
                place.unlink()
        (self.directory / "x.jsonl.sent.new").hardlink_to(victim)
        self.journal().close(in_doubt=False, whole=False)
        self.assertEqual(b"dear\n", victim.read_bytes())

    def test_a_pipe_in_the_place_of_its_file_keeps_nobody_waiting(self) -> None:
        """Issue 14.9."""
        os.mkfifo(self.path)
        self.assertRaises(OSError, self.journal)

    def test_what_a_crash_left_half_made_is_made_anew(self) -> None:
        (self.directory / "x.jsonl.sent.new").write_bytes(b"half")
        journal = self.journal()
        journal.settle(Settled(0, 1))
        self.dropped(journal)
        self.assertIn(0, self.journal())

    def test_another_url_or_another_file_is_not_gone_on_with(self) -> None:
        self.journal().close(in_doubt=False, whole=False)
        self.assertIn(URL_TEXT, str(self.assertRaises(CannotResume, self.journal, "http://other/results")))
        self.source = examine(self.written(b"[1]\n[2]\n[4]\n", "x.jsonl"))
        self.assertIn("is not the file", str(self.assertRaises(CannotResume, self.journal)))
        self.assertEqual(0, self.journal(again=True).head.next)

    def test_what_is_no_journal_is_left_alone(self) -> None:
        for content in (b"", b"{}\n", b"my notes\n"):
            self.path.write_bytes(content)
            self.assertRaises(CannotResume, self.journal)
            self.assertEqual(content, self.path.read_bytes())


class GrownTests(FileTests):
    """Issue 15.16: of a file to which lines were added only those are sent, with the keys that they would have had."""

    def setUp(self) -> None:
        super().setUp()
        self.keys: dict[str, bytes] = {}

    def send(self, content: bytes, name: str = "x.jsonl") -> list[bytes]:
        """What of a file is sent now; its keys are those of no other body."""
        path = self.written(content, name)
        source = examine(path)
        journal = Journal(self.directory / "x.sent", head_of(source, URL_TEXT, ""), beginning=source.beginning)
        delivery = Delivery(source, journal, Refused(self.directory / "x.refused.jsonl"))
        sent: list[bytes] = []
        outcome = None
        while (parcel := delivery.turn(outcome)) is not None:
            self.assertEqual(parcel.content, self.keys.setdefault(parcel.key, parcel.content))
            sent.append(parcel.content)
            outcome = Outcome(parcel, 200, Reply("ok"))
        delivery.close(in_doubt=False, whole=True)
        return sent

    def test_only_what_was_added_is_sent(self) -> None:
        for added in (b"[1]\n[2]\n", b"[3]", b"\n\n[4]\n", b""):
            before = b"".join(self.keys.values())
            content = getattr(self, "content", b"") + added
            self.content = content
            self.assertEqual(added.split(), self.send(content), before)
        self.assertEqual(4, len(self.keys))

    def test_an_empty_file_too(self) -> None:
        self.assertEqual([], self.send(b""))
        self.assertEqual([b"[1]"], self.send(b"[1]\n"))

    def test_a_run_that_was_cut_off_goes_on_with_all_that_it_lacks(self) -> None:
        source = examine(self.written(b"[1]\n[2]\n", "x.jsonl"))
        journal = Journal(self.directory / "x.sent", head_of(source, URL_TEXT, ""))
        journal.settle(Settled(0, 1))
        journal.close(in_doubt=False, whole=False)
        self.assertEqual([b"[2]", b"[3]"], self.send(b"[1]\n[2]\n[3]\n"))

    def test_what_was_changed_is_not_gone_on_with(self) -> None:
        """And the advice is not to store all of it twice."""
        self.send(b"[1]\n[2]\n[3]\n")
        self.send(b"[1]\n[2]\n[3]\n[4]\n")
        for content in (b"[1]\n[9]\n[3]\n[4]\n[5]\n", b"[1]\n[2]\n[3]\n[9]\n[5]\n", b"[1]\n[2]\n[3]\n", b"[1]\n"):
            said = str(self.assertRaises(CannotResume, self.send, content))
            self.assertIn("as a file of its own", said)
            self.assertIn("store once more", said)

    def test_a_line_that_went_on_is_a_change(self) -> None:
        self.send(b"[1]\n[2]")
        self.assertRaises(CannotResume, self.send, b"[1]\n[2] \n[3]\n")

    def test_an_array_that_goes_on_is_a_change(self) -> None:
        self.send(b"[1]", "x.json")
        self.assertRaises(CannotResume, self.send, b"[1]\n[2]\n", "x.json")
        self.assertEqual([], self.send(b"[1]", "x.json"))


class RefusedTests(FileTests):
    def test_nothing_is_written_twice(self) -> None:
        path = self.directory / "refused.jsonl"
        first = Refused(path)
        first.open()
        self.assertFalse(path.exists())
        first.write("a", {"status": 400})
        first.write("b", {"status": 422})
        path.write_bytes(path.read_bytes()[:-4])  # torn
        second = Refused(path)
        second.open()
        for key in "ab":
            second.write(key, {"status": 422})
        second.close()
        self.assertEqual(["a", "b"], [json.loads(line)["key"] for line in path.read_bytes().splitlines()])

    def test_a_file_of_something_else_is_left_alone(self) -> None:
        path = self.written(b"[1]\n", "mine.jsonl")
        self.assertRaises(CannotResume, Refused(path).open)
        self.assertEqual(b"[1]\n", path.read_bytes())

    def test_a_link_in_its_place_leads_to_nothing_overwritten(self) -> None:
        """Issue 14.9: a last line without an end would be cut off, and others added."""
        victim, path = self.written(b"dear", "victim"), self.directory / "refused.jsonl"
        for link in (path.symlink_to, path.hardlink_to):
            link(victim)
            self.assertRaises(OSError, Refused(path).open)
            self.assertRaises(OSError, Refused(path).write, "a", {"status": 400})
            path.unlink()
        path.symlink_to(self.directory / "nowhere")
        self.assertRaises(OSError, Refused(path).write, "a", {"status": 400})
        self.assertEqual((b"dear", False), (victim.read_bytes(), (self.directory / "nowhere").exists()))
