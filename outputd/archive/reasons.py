"""Why object storage failed, as people want to read it: obstore's errors are pages of details. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from outputd.process.log import in_one_line

_ANSWER = re.compile(r".*status code: (\d+ [\w ]+): .*?<Code>([^<]*)</Code>\s*(?:<Message>([^<\n]*))?", re.DOTALL).match
_REQUEST = re.compile(r"Error performing ([A-Z]+) (REDACTED|[a-z]+://[^/\s]+)").search
_CAUSES = (
    re.compile(r'(?:message|error): "([^"\n]+)"').search, re.compile(r"InvalidCertificate\(\s*(\w+)").search,
    re.compile(r"kind: (Timeout),").search,
)  # fmt: skip
"""In the details of an error, the most telling one first."""
_IN_WORDS = {"Timeout": "no answer in time", "UnknownIssuer": "its certificate is of a CA that nobody here trusts"}
_QUERY = re.compile(r"\?[^\s\"')]*")
"""Of a URL, which may be signed by it."""
_SECRET = re.compile(r"(?:AWS|AZURE|GOOGLE)_\w*(?:KEY|SECRET|TOKEN|SAS|PASSWORD|CREDENTIAL)").match
_LEAST_SECRET = 6
"""Characters of a value that is taken out."""
_MOST = 300


def reason_of(error: Exception | str, environ: Mapping[str, str]) -> str:
    """One line: what the cloud has answered, or what was in the way; without the secrets of an environment."""
    text, _, details = str(error).partition("\n\nDebug source:")
    answer, request = _ANSWER(text), _REQUEST(text)
    cause = next((found[1] for search in _CAUSES if (found := search(details))), "")
    if answer is not None:
        text = ": ".join(part for part in answer.groups() if part)
    elif request is not None and cause:
        text = f"{request[1]} {request[2]}: {_IN_WORDS.get(cause, cause)}"
    text = _QUERY.sub("?...", text)
    for name, value in environ.items():
        if _SECRET(name) and len(value) >= _LEAST_SECRET:
            text = text.replace(value, "...")
    return in_one_line(" ".join(text.split()), _MOST)
