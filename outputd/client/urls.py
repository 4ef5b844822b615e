"""URLs of others, as they are written and as treq takes them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from hyperlink import URL, DecodedURL


def is_url(text: str) -> bool:
    """Whether a text is an http or https URL with a host."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.hostname) and port != 0 and not re.search(r"\s", text)


def is_bare_url(text: str) -> bool:
    """Whether a text is such a URL in printable ASCII, without credentials, that can be asked.

    One that cannot is repeated by the error of each request, with all that is secret in it.
    """
    is_bare = is_url(text) and text.isascii() and text.isprintable() and "@" not in urlsplit(text).netloc
    return is_bare and _can_be_asked(text)


def _can_be_asked(text: str) -> bool:
    try:
        url = as_treq_takes_it(text)
        (DecodedURL.from_text(url) if isinstance(url, str) else url).to_uri()
    except ValueError:
        return False
    return True


class _AsWritten(URL):
    """A URL that is a URI already."""

    def to_uri(self) -> URL:
        """See hyperlink."""
        return self


def as_treq_takes_it(url: str) -> str | URL:
    """A URL for treq; ValueError when it is none.

    hyperlink 21.0.0 takes an IPv6 address for a name to encode, and fails: such a URL has to go as it is.
    """
    return _AsWritten.from_text(url) if ":" in URL.from_text(url).host else url
