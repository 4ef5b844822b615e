"""What went wrong with a peer, and what a peer says, in words that a log or a terminal can show."""

from __future__ import annotations

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.python.failure import Failure

from outputd.client.bounds import TooLong, TooSlow
from outputd.process.log import in_one_line
from outputd.security.trust import reason_of

_MOST = 200
"""Characters of what a peer says that are shown."""


def in_words(error: Exception) -> str:
    """An error as one short line, whatever the peer has put into it."""
    cause = cause_of(error)
    if isinstance(cause, TooLong | TooSlow):
        return str(cause)
    if isinstance(cause, SSL.Error | VerificationError):
        return told(f"TLS: {reason_of(cause)}")
    return told(f"{type(cause).__name__}: {cause}")


def cause_of(error: Exception) -> BaseException:
    """What is behind an error of twisted.web.client, which has it among its reasons."""
    reasons = getattr(error, "reasons", None)  # of ResponseFailed and its like
    return (reasons[0].value if reasons and isinstance(reasons[0], Failure) else None) or error


def told(text: str) -> str:
    """The beginning of what a peer says; what is no printable character is escaped."""
    return in_one_line(text.strip(), _MOST)
