"""What `outputd.archive.instance` promises."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from outputd.archive.instance import instance_of, is_name, name_in, name_of_host, renamed


class NameTests(SynchronousTestCase):
    def test_any_host_has_one(self) -> None:
        for host, name in {
            "graz": "graz", "fra-1.example.net": "fra_1", "": "outputd", "-": "outputd", "_x_": "x", "ä": "outputd",
            "a" * 100: "a" * 64,
        }.items():  # fmt: skip
            self.assertEqual(name, name_of_host(host))
            self.assertTrue(is_name(name_of_host(host)))

    def test_it_is_found_again_in_an_instance(self) -> None:
        instance = instance_of("graz.north_1", "0f" * 16)
        self.assertEqual("graz.north_1", name_in(instance))
        self.assertEqual(f"wien.{'0f' * 16}", renamed(instance, "wien"))
