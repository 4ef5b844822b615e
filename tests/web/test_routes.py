"""What `outputd.web.routes` promises; a number is that of a rule of the contract."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from outputd.security.access import NODE, READER
from outputd.web.routes import Found, Miss, Route, Routes


def unasked(*_: Any, **__: Any) -> None:
    raise AssertionError("a look-up asks no handler")


RESULTS = Route("POST", "/results", NODE, unasked)
HEALTH = Route("GET", "/health", None, unasked)
RESULT = Route("GET", "/results/<id>", READER, unasked, ("csv", "json"))
TARGETS = Route("GET", "/targets", READER, unasked, ("csv", "json"))
PAGE = Route("GET", "/targets/<ip>", READER, unasked)
FILE = Route("GET", "/static/<name>", READER, unasked)
DOCUMENT = Route("GET", "/openapi.json", READER, unasked)
ROUTES = Routes([RESULTS, HEALTH, RESULT, TARGETS, PAGE, FILE, DOCUMENT])


def status_of(found: Found | Miss) -> int:
    assert isinstance(found, Miss)
    return found.answer[0]


class Finding(SynchronousTestCase):
    def found(self, target: bytes, method: bytes = b"GET") -> tuple[Route, dict[str, str]]:
        found = ROUTES.find(method, target)
        assert isinstance(found, Found), (method, target, found)
        return found.route, dict(found.parts)

    def missed(self, target: bytes, method: bytes = b"GET") -> int:
        return status_of(ROUTES.find(method, target))

    def test_a_path_and_a_method_lead_to_their_route_with_the_parts_of_the_path(self) -> None:
        for target, route, parts in (
            (b"/health", HEALTH, {}), (b"/%68ealth", HEALTH, {}), (b"/health?a=/results", HEALTH, {}),
            (b"/results/7", RESULT, {"id": "7", "suffix": ""}), (b"/targets/a%20b", PAGE, {"ip": "a b"}),
            (b"/targets", TARGETS, {"suffix": ""}), (b"http://x/targets?limit=1", TARGETS, {"suffix": ""}),
        ):  # fmt: skip
            self.assertEqual((route, parts), self.found(target), target)

    def test_a_suffix_belongs_to_the_paths_that_have_some(self) -> None:
        for target, route, parts in (
            (b"/targets.csv", TARGETS, {"suffix": "csv"}), (b"/results/7.json", RESULT, {"id": "7", "suffix": "json"}),
            (b"/results/7.xml", RESULT, {"id": "7.xml", "suffix": ""}), (b"/static/a.json", FILE, {"name": "a.json"}),
            (b"/targets/1.2.3.csv", PAGE, {"ip": "1.2.3.csv"}), (b"/openapi.json", DOCUMENT, {}),
        ):  # fmt: skip
            self.assertEqual((route, parts), self.found(target), target)
        for target in (b"/health.json", b"/openapi", b"/targets.", b"/targets.xml", b"/targets.CSV", b"/.csv"):
            self.assertEqual(404, self.missed(target), target)

    def test_get_is_head_too(self) -> None:
        for target in (b"/targets", b"/targets.csv", b"/results/7"):
            self.assertEqual(self.found(target), self.found(target, b"HEAD"))

    def test_another_method_is_told_which_there_are(self) -> None:
        """Rule 10: 405 with Allow."""
        for method, target, allowed in (
            (b"GET", b"/results", b"POST"), (b"HEAD", b"/results", b"POST"), (b"post", b"/results", b"POST"),
            (b"get", b"/health", b"GET, HEAD"), (b"DELETE", b"/results/7.csv", b"GET, HEAD"),
            (b"M-SEARCH", b"//targets", b"GET, HEAD"), (b"1", b"/health", b"GET, HEAD"),
        ):  # fmt: skip
            found = ROUTES.find(method, target)
            self.assertEqual(405, status_of(found), (method, target))
            assert isinstance(found, Miss)
            self.assertEqual(allowed, found.answer[2][b"Allow"])

    def test_a_miss_is_for_those_whom_the_path_is_for_and_an_unknown_path_for_readers(self) -> None:
        for method, target, role in (
            (b"GET", b"/results", NODE), (b"POST", b"/health", None), (b"PUT", b"/targets", READER),
            (b"GET", b"/nothing", READER), (b"GET", b"/\xff", READER), (b"G\xff", b"/health", READER),
        ):  # fmt: skip
            self.assertEqual(role, ROUTES.find(method, target).role, (method, target))

    def test_what_is_no_path_is_nowhere(self) -> None:
        for target in (b"", b"*", b"results", b"%2Fresults", b"x/results", b"?/results", b"ftp://x/results"):
            self.assertEqual(404, self.missed(target, b"POST"), target)

    def test_what_is_no_text_is_a_bad_request(self) -> None:
        self.assertEqual([400, 400], [self.missed(b"/%ff"), self.missed(b"/health", b"G\xcbT")])


class Spellings(SynchronousTestCase):
    def test_a_path_of_another_spelling_is_nowhere_or_has_the_route_and_so_the_role_of_the_path(self) -> None:
        for route in (RESULTS, HEALTH, DOCUMENT):
            path = route.path.encode()
            name = path[1:]
            for spelling in (
                b"/" + path, b"//" + path, b"/%2F" + name, b"/%2f" + name, b"/." + path, b"/.." + path,
                b"/%2E" + path, b"/x/.." + path, path + b"/", path + b"//", path + b"/.", path + b"%2F",
                path + b"%00", path + b"%20", path + b";x", path + b"?x", path + b"#x", path.upper(), name,
                b"%2F" + name, b"%2f" + name, b"\\" + name, b"/%%%02x" % name[0] + name[1:], b"/%25" + name,
                b"http://x" + path, b"https://x:1" + path, b"HTTP://x" + path, b"http://x/" + path, b"http:" + path,
                b"http://x@y" + path + b"?/health", b"//nothing" + path, b"/health/.." + path, b"/health" + path,
                path.replace(b"s", b"\xc5\xbf"), path.replace(b"/", b"%252F"),
            ):  # fmt: skip
                found = ROUTES.find(route.method.encode(), spelling)
                if isinstance(found, Found):
                    self.assertEqual((route, route.role), (found.route, found.role), spelling)
                else:
                    self.assertEqual(READER, found.role, spelling)
                    self.assertIn(found.answer[0], (404, 405), spelling)
