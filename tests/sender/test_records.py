"""How `outputd-send` cuts a file of warts."""

from __future__ import annotations

import gzip

from outputd.formats.warts import WARTS
from outputd.results.model import PingResult
from outputd.sender import records
from outputd.sender.body import CUT_BYTES, CUT_RESULTS, Body
from outputd.sender.cut import bodies
from outputd.sender.source import MOST_BODY_BYTES, Broken, examine
from tests.formats.test_warts import CYCLE, LIST
from tests.formats.warts_writer import address, fields, hop, known, ping, record, reply, told, trace
from tests.sender.test_command import FileTests

END = record(4, bytes(9))
OLD = trace(fields({2: b"\1", 6: bytes(4), 1: (2).to_bytes(4, "big")}))


class RecordsTests(FileTests):
    def cut_up(self, content: bytes) -> list[Body]:
        return list(bodies(examine(self.written(content, "x.warts"))))

    def test_each_body_stands_alone(self) -> None:
        """Each has the lists, cycles and addresses that were told before it, in whichever body."""
        content = LIST + CYCLE + known(1, "10.0.0.8") + trace() * CUT_RESULTS + known(2, "10.0.0.9")
        content += OLD * (CUT_RESULTS + 1) + END
        for given in (content, gzip.compress(content)):
            found = self.cut_up(given)
            self.assertEqual([CUT_RESULTS, CUT_RESULTS, 1], [body.items for body in found])
            self.assertEqual("results 1000 to 1999", found[1].where)
            read = [item for body in found for item in WARTS.read(body.data)]
            self.assertEqual(list(WARTS.read(content)), read)
            self.assertTrue(all(isinstance(item, PingResult) for item in read))

    def test_a_body_has_so_many_bytes_at_most(self) -> None:
        long = trace(*[hop(1, address("10.0.0.1"), 500), *[hop(1, told(2), 500)] * 20_000])
        found = self.cut_up(LIST + long * 20)
        self.assertEqual(20, sum(body.items for body in found))
        self.assertGreater(len(found), 1)
        self.assertLessEqual(max(len(body.data) for body in found), CUT_BYTES)

    def test_other_measurements_are_sent_too_for_the_service_to_say_what_it_does_not_read(self) -> None:
        self.assertEqual([2], [body.items for body in self.cut_up(LIST + record(8, b"x") + ping(reply(0, 1)))])

    def test_a_file_without_results_has_no_body(self) -> None:
        self.assertEqual([], self.cut_up(LIST + CYCLE + END))

    def test_what_is_whole_before_a_fault_is_sent(self) -> None:
        for fault, words in (
            (trace()[:-1], "ends within the record at byte"), (b"\x12\5\0", "ends within"), (b"x" * 9, "no record"),
            (record(6, b"")[:4] + (MOST_BODY_BYTES).to_bytes(4, "big"), "longer than any"),
        ):  # fmt: skip
            found = bodies(examine(self.written(LIST + trace() + fault, "x.warts")))
            self.assertEqual(LIST + trace(), next(found).data)
            with self.assertRaisesRegex(Broken, words):
                next(found)

    def test_addresses_that_take_more_than_a_body_may_repeat_are_told(self) -> None:
        self.patch(records, "_MOST_REPEATED_BYTES", 100)
        addresses = b"".join(known(number, "10.0.0.1") for number in range(1, 20))
        found = bodies(examine(self.written(trace() + addresses + trace(), "x.warts")))
        self.assertEqual(1, next(found).items)
        with self.assertRaisesRegex(Broken, "repeat"):
            next(found)
