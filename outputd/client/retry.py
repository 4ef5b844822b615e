"""When to try again: backoff with jitter, and what the other side asks for."""

from __future__ import annotations

from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Final

from twisted.web.iweb import IResponse

LONGEST_BACKOFF_S: Final = 60.0
LONGEST_RETRY_AFTER_S: Final = 3600.0


def backoff(failures: int, chance: float) -> float:
    """Seconds until the next try after that many failures before this one: 1-2, 2-4, 4-8 ... at most 30-60."""
    longest = min(2.0 ** min(failures + 1, 10), LONGEST_BACKOFF_S)
    return longest * (1 + chance) / 2


def retry_after(response: IResponse, now: float) -> float | None:
    """The seconds that an answer asks to wait, in either form of RFC 9110, 10.2.3; None when it does not say."""
    values = response.headers.getRawHeaders(b"Retry-After") or [b""]
    text = values[0].decode("ascii", "replace").strip()
    if text.isdecimal():
        return float(text[:20])
    with suppress(ValueError, OverflowError):
        return parsedate_to_datetime(text).timestamp() - now
    return None
