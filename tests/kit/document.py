"""Holds requests and answers against an OpenAPI document. Nothing of outputd is imported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from decimal import Decimal
from typing import Any

from openapi_schema_validator import OAS31Validator, oas31_format_checker

METHODS = ("get", "head", "post", "put", "patch", "delete", "options", "trace")
_OF_HTTP = {"date", "connection", "content-length", "content-type", "transfer-encoding"}


class Document:
    """A document, and what it allows."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self._closed = _closed(raw)

    @property
    def operations(self) -> dict[tuple[str, str], Any]:
        """Operations by method and path."""
        return {
            (method.upper(), path): operation
            for path, item in self.raw["paths"].items()
            for method, operation in item.items()
            if method in METHODS
        }

    @property
    def answers(self) -> set[tuple[str, str, int]]:
        """All that may be answered: method, path and status."""
        return {(*key, int(status)) for key, operation in self.operations.items() for status in operation["responses"]}

    def template(self, path: str) -> str:
        """The path as the document has it, by whose pattern it is asked for; a path that it does not have as it is."""
        bare = re.sub(r"\.(json|ndjson|csv)$", "", path)
        for known in (path, bare):
            if known in self.raw["paths"]:
                return known
        for known in self.raw["paths"]:
            if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(known)), bare):
                return str(known)
        return path

    def faults(self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> list[str]:
        """What the document does not allow in this answer; members that it does not name are faults too.

        Without a method it answers a request that cannot be read.
        """
        answer = self._answer(method, path, status)
        if answer is None:
            return [f"{method} {path} may not answer {status}"]
        sent = {name.lower(): value for name, value in headers.items()}
        found = list(self._header_faults(answer.get("headers", {}), sent))
        if method == "HEAD":
            return found + [f"HEAD {path} has a body"] * bool(body)
        if "content" not in answer:
            return found + [f"{method} {path} has a body with {status}"] * bool(body)
        media = sent.get("content-type", "")
        content = answer["content"].get(media)
        if content is None:
            return [*found, f"{method} {path} may not answer {status} with {media}"]
        if media == "application/x-ndjson":
            for line in body.splitlines():
                found += self._errors(content["schema"], json.loads(line), closed=True)
        elif media.endswith("json"):
            found += self._errors(content["schema"], json.loads(body), closed=True)
        return found

    def is_valid(self, name: str, value: object) -> bool:
        """Whether a value fits a schema, for whom no float is an integer."""
        exact = json.loads(json.dumps(value), parse_float=Decimal)
        return not self._errors({"$ref": f"#/components/schemas/{name}"}, exact)

    def _answer(self, method: str, path: str, status: int) -> Any:
        if not method:
            return self.raw["components"]["responses"]["Unreadable"] if status == 400 else None
        if path not in self.raw["paths"]:
            return self.raw["components"]["responses"]["NotFound"] if status == 404 else None
        if (method, path) not in self.operations:
            return self.raw["components"]["responses"]["MethodNotAllowed"] if status == 405 else None
        return self.operations[method, path]["responses"].get(str(status))

    def _header_faults(self, documented: Mapping[str, Any], sent: Mapping[str, str]) -> Iterator[str]:
        for name in sent.keys() - {name.lower() for name in documented} - _OF_HTTP:
            yield f"the header {name} is not documented"
        for name, reference in documented.items():
            header = self.raw["components"]["headers"][reference["$ref"].rpartition("/")[2]]
            value = sent.get(name.lower())
            if value is not None:
                yield from self._errors(header["schema"], int(value) if value.isdecimal() else value)
            elif header["required"]:
                yield f"the header {name} is missing"

    def _errors(self, schema: Mapping[str, Any], value: object, closed: bool = False) -> list[str]:
        components = (self._closed if closed else self.raw)["components"]
        validator = OAS31Validator({**schema, "components": components}, format_checker=oas31_format_checker)
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def _closed(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same, where no object may have a member that is not named."""
    copy = deepcopy(raw)

    def close(part: Any) -> None:
        if isinstance(part, dict):
            if "properties" in part:
                part["additionalProperties"] = False
            for value in part.values():
                close(value)
        elif isinstance(part, list):
            for value in part:
                close(value)

    close(copy["components"]["schemas"])
    return copy
