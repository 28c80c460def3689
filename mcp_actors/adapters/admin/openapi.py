"""The OpenAPI document of the API, made of the types that it reads and writes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from mcp_actors.adapters.admin.api_error import ApiErrorBody
from mcp_actors.adapters.admin.api_page import CHOICES, IDS, Nothing
from mcp_actors.adapters.http.exchange import JSON

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from msgspec import Struct

    from mcp_actors.adapters.admin.api_page import Operation

ERRORS = {
    "400": "A part of the path, the query or the body cannot be used.",
    "401": "A token is missing, or cannot be used.",
    "403": "The token lacks `admin`, or a web page of another origin asks.",
    "409": "A table is full.",
    "413": "The body is too long.",
    "415": "The body is not called JSON.",
    "429": "The address sends too many requests.",
    "503": "Redis cannot be asked; the request may have been carried out, and can be repeated.",
}
"""The responses that every operation may give."""

DESCRIPTION = "See docs/reference/admin-api.md. Errors have a `code` for programs and a `message` for people."


def document(operations: Mapping[str, Mapping[str, Operation]], version: str, *, id_length: int) -> dict[str, Any]:
    """Return the document. `operations`: those of each path, by their methods."""
    every = [operation for of_path in operations.values() for operation in of_path.values()]
    schemas, components = msgspec.json.schema_components(_types(every), ref_template="#/components/schemas/{name}")
    by_type = dict(zip(_types(every), schemas, strict=True))
    paths = {
        path: {
            **({"parameters": _parameters(path, id_length)} if "{" in path else {}),
            **{method.lower(): _operation(operation, path, method, by_type) for method, operation in of_path.items()},
        }
        for path, of_path in operations.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "mcp_actors admin API", "version": version, "description": DESCRIPTION},
        "servers": [{"url": "../v1"}],
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _types(operations: Iterable[Operation]) -> list[type[Struct]]:
    found = {one: None for operation in operations for one in (operation.answer, operation.body) if one is not None}
    return [ApiErrorBody, *found]


def _operation(
    operation: Operation, path: str, method: str, schemas: Mapping[type[Struct], dict[str, Any]]
) -> dict[str, Any]:
    words = re.findall(r"[a-z]+", path)
    found: dict[str, Any] = {
        "operationId": "-".join([method.lower(), *words]),
        "summary": operation.summary,
        "responses": {
            "200": {"description": "Done.", "content": {JSON: {"schema": schemas[operation.answer]}}},
            **{status: _error(text, schemas) for status, text in ERRORS.items()},
        },
    }
    if operation.query is not Nothing:
        found["parameters"] = _query_parameters(operation.query)
    if operation.body is not None:
        required = any(field.required for field in msgspec.structs.fields(operation.body))
        found["requestBody"] = {"required": required, "content": {JSON: {"schema": schemas[operation.body]}}}
    return found


def _error(description: str, schemas: Mapping[type[Struct], dict[str, Any]]) -> dict[str, Any]:
    return {"description": description, "content": {JSON: {"schema": schemas[ApiErrorBody]}}}


def _query_parameters(kind: type[Struct]) -> list[dict[str, Any]]:
    properties = msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"]
    return [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]


def _parameters(path: str, id_length: int) -> list[dict[str, Any]]:
    found = []
    for name in re.findall(r"\{(\w+)\}", path):
        schema: dict[str, Any] = {"type": "string", "minLength": 1}
        if name in CHOICES:
            schema = {"type": "string", "enum": list(CHOICES[name])}
        elif name in IDS:
            schema["maxLength"] = id_length
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    return found
