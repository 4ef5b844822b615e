"""The markup of the pages. Every text that comes from outside is put in as text."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from functools import cache

from twisted.web.iweb import IRequest
from twisted.web.template import Element, Tag, XMLString, flattenString, renderer

from outputd import __version__


@cache
def _loader(name: str) -> XMLString:
    return XMLString(importlib.resources.files(__name__).joinpath(f"{name}.xml").read_text(encoding="utf-8"))


class _Page(Element):
    """A page: the frame that all have, and its own middle."""

    def __init__(self, name: str, title: str, facts: Mapping[str, str], root: str) -> None:
        super().__init__(_loader("frame"))
        self._name = name
        self._title = title
        self._facts = facts
        self._root = root

    @renderer
    def html(self, request: IRequest | None, tag: Tag) -> Tag:
        """Fill the slots."""
        root = self._root
        return tag.fillSlots(
            title=f"{self._title} · outputd", version=__version__, root=root, script=f"{root}static/{self._name}.js"
        )  # fmt: skip

    @renderer
    def body(self, request: IRequest | None, tag: Tag) -> Tag:
        """Say what the scripts must know."""
        return tag(**{f"data-{name}": value for name, value in {"page": self._name, **self._facts}.items()})

    @renderer
    def main(self, request: IRequest | None, tag: Tag) -> Element:
        """The middle."""
        return Element(_loader(self._name))

    @renderer
    def here(self, request: IRequest | None, tag: Tag) -> Tag:
        """Mark the page itself in the navigation."""
        return tag(**{"aria-current": "page"}) if tag.attributes.get("data-name") == self._name else tag


class _Refusal(Element):
    """A page that says why there is none; what it loads is left out unless it is styled."""

    def __init__(self, title: str, detail: str, root: str, is_styled: bool) -> None:
        super().__init__(_loader("refusal"))
        self._slots = {"title": title, "detail": detail, "root": root}
        self._is_styled = is_styled

    @renderer
    def html(self, request: IRequest | None, tag: Tag) -> Tag:
        """Fill the slots."""
        return tag.fillSlots(**self._slots)

    @renderer
    def styled(self, request: IRequest | None, tag: Tag) -> Tag | str:
        """What the page loads."""
        return tag if self._is_styled else ""


def refusal(title: str, detail: str, root: str, is_styled: bool) -> bytes:
    """A page that says why there is none, with a way to the overview; `root` leads there."""
    return _flat(_Refusal(title, detail, root, is_styled))


def _flat(element: Element) -> bytes:
    done: list[bytes] = []
    flattenString(None, element).addCallback(done.append)
    return b"<!DOCTYPE html>\n" + done[0]


def page(name: str, title: str, facts: Mapping[str, str], root: str = "./") -> bytes:
    """A page as HTML; `facts` are data attributes of its body, `root` leads from the page to the root of the site."""
    return _flat(_Page(name, title, facts, root))
