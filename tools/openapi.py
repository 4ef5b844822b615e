"""The OpenAPI document as Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from outputd.api.openapi import document

_PORTS = {"8081": "`--port` (8081)", "8091": "`--health-port` (8091)"}


def operations() -> str:
    """Every operation: its port, parameters and answers."""
    return "\n".join(
        _operation(method, path, operation, _port(item["servers"][0]))
        for path, item in document()["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post")
    )


def schemas() -> str:
    """Every schema, as the answers link to them."""
    return "\n".join(_schema(name, schema) for name, schema in sorted(document()["components"]["schemas"].items()))


def _port(server: Mapping[str, Any]) -> str:
    return _PORTS[server["variables"]["port"]["default"]]


def _role(operation: Mapping[str, Any]) -> str:
    """Who may ask: the schemes all name the same role."""
    roles = {role for scheme in operation.get("security", ()) for names in scheme.values() for role in names}
    return f"Role: {', '.join(sorted(roles))}." if roles else "No token is needed."


def _operation(method: str, path: str, operation: Mapping[str, Any], port: str) -> str:
    lines = [f"### {method.upper()} {path}", "", f"{_ended(operation['summary'])} Port: {port}. {_role(operation)}"]
    if more := operation.get("description"):
        lines[-1] += f" {more}"
    if parameters := operation.get("parameters"):
        lines += ["", "| parameter | in | type | meaning |", "| --- | --- | --- | --- |"]
        for each in parameters:
            name = f"`{each['name']}`" + (" (required)" if each.get("required") else "")
            lines.append(_row(name, each["in"], _kind(each["schema"]), each["description"]))
    if body := operation.get("requestBody"):
        content, *_ = body["content"].values()  # ours; what others write has no schema here
        lines += ["", f"Body: {_kind(content['schema'])}. {body['description']}"]
    lines += ["", "| status | body | meaning |", "| --- | --- | --- |"]
    for status, answer in operation["responses"].items():
        bodies = dict.fromkeys(_kind(content["schema"]) for content in answer.get("content", {}).values())
        lines.append(_row(status, ", ".join(bodies), answer["description"]))
    return "\n".join(lines) + "\n"


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    lines = [f"### {name}", ""]
    if text := schema.get("description") or schema.get("title", ""):
        lines += [_ended(text[:1].upper() + text[1:]), ""]
    if "properties" in schema:
        lines += ["| member | type | meaning |", "| --- | --- | --- |"]
        required = schema.get("required", ())
        for member, part in schema["properties"].items():
            mark = "" if member in required else " (optional)"
            lines.append(_row(f"`{member}`{mark}", _kind(part), part.get("description", "")))
            if "properties" in part:
                for inner, deeper in part["properties"].items():
                    lines.append(_row(f"`{member}.{inner}`", _kind(deeper), deeper.get("description", "")))
    else:
        lines.append(f"Type: {_kind(schema)}.")
    for example in schema.get("examples", ()):
        lines += ["", "```json", json.dumps(example, indent=2), "```"]
    return "\n".join(lines).rstrip("\n") + "\n"


def _kind(schema: Mapping[str, Any]) -> str:
    return " or ".join(dict.fromkeys(_kinds(schema))) or "any"


def _kinds(schema: Mapping[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield f"[{name}](#{name.lower()})"
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _kinds(choice)
    if "const" in schema:
        yield f"`{json.dumps(schema['const'])}`"
    elif "enum" in schema:
        yield ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    elif schema.get("type") == "array":
        yield f"list of {_kind(schema['items'])}" if "items" in schema else "list"
    elif "type" in schema:
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        for kind in kinds:
            yield kind + _bounds(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None and most < 2**53:
        return f" {least} to {most:,}"
    return f" ≥ {least}" if least is not None else ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(re.sub(r'[|]', '&#124;', cell) for cell in cells)} |".replace("|  |", "| |")


def _ended(text: str) -> str:
    return text if text.endswith((".", ":")) else f"{text}."
