"""What `outputd.process.ports` promises; flags that name no port are a test of the whole start."""

import socket
from pathlib import Path

from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from outputd.process.ports import Handed, Port
from outputd.process.trouble import Unusable
from tests.kit.logs import said
from tests.kit.running import REACTOR


class Ports(TestCase):
    def port(self, text: str) -> Port:
        port = Port("port", text, Handed("results", 0), Factory.forProtocol(Protocol), REACTOR)
        self.addCleanup(port.close)
        return port

    async def test_it_has_a_number_while_it_is_open(self) -> None:
        port = self.port("tcp:0:interface=127.0.0.1")
        self.assertIsNone(port.number)
        port.open()
        assert port.number is not None
        with socket.create_connection(("127.0.0.1", port.number), timeout=60):
            pass
        await port.close()
        self.assertIsNone(port.number)
        await port.close()

    def test_whether_only_this_machine_reaches_it(self) -> None:
        for text, expected in (("tcp:0:interface=127.0.0.1", True), ("tcp:0:interface=0.0.0.0", False)):
            port = self.port(text)
            port.open()
            self.assertEqual(port.is_loopback, expected, text)

    def test_a_socket_file_has_no_number_and_is_this_machine_s(self) -> None:
        port = self.port(f"unix:{Path(self.mktemp())}")
        port.open()
        self.assertEqual((port.number, port.is_loopback), (None, True))

    def test_a_taken_one_is_unusable_and_named(self) -> None:
        """Rule 23."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            text = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            error = self.assertRaises(Unusable, self.port(text).open)
        self.assertIn(f"cannot listen on --port={text}: ", str(error))

    def test_it_is_announced_by_the_name_of_its_flag(self) -> None:
        port = self.port("tcp:0:interface=127.0.0.1")
        with said() as log:
            port.announce()
            port.open()
            port.announce()
        lines = [line for line in log if "listens" in line]
        self.assertEqual(len(lines), 1, log)
        self.assertRegex(lines[0], rf"--port listens on .*\b{port.number}\b")
