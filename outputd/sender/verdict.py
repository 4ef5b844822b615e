"""What an answer means for the body that was sent: settled, sent again, or the end of all."""

from __future__ import annotations

from outputd.client.reply import Reply, reply_of
from outputd.client.words import told
from outputd.sender.cut import items_of
from outputd.sender.outbox import Outcome, Parcel

_BODY_REFUSED = frozenset({400, 413, 422})
_LATER = frozenset({408, 425, 429})


class Stopped(Exception):
    """The sending ended before the file did; the text says why."""


def believed(status: int, content: bytes, parcel: Parcel) -> Reply:
    """What an answer says. Raises Stopped when a 2xx is none of outputd's."""
    reply = reply_of(status, content, parcel.items)
    if 200 <= status < 300 and not reply.is_success:
        raise Stopped(f"the URL is not that of outputd: it answers {status} {told(reply.detail)}")
    return reply


def check_counts(outcome: Outcome) -> None:
    """Raise Stopped when a success leaves items out: it would pass for all being stored."""
    told_of, parcel = outcome.reply.received + outcome.reply.rejected, outcome.parcel
    if 200 <= outcome.status < 300 and told_of != parcel.items and items_of(parcel.data) is not None:
        raise Stopped(f"the URL is not that of outputd: its answer tells of {told_of} of {parcel.items} results")


def why_again(outcome: Outcome) -> str:
    """Why this answer is not the last one; empty when it is."""
    return said(outcome) if outcome.status >= 500 or outcome.status in _LATER else ""


def is_final(outcome: Outcome) -> bool:
    """Whether the body is stored, or refused for what it is; else no other body would fare better."""
    return 200 <= outcome.status < 300 or outcome.status in _BODY_REFUSED


def said(outcome: Outcome) -> str:
    """The answer, for people."""
    detail = f": {told(outcome.reply.detail)}" if outcome.reply.detail else ""
    return f"the service answers {outcome.status}{detail}"
