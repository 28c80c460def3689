"""Static files, which are read once at start: a request costs one look-up in a dictionary, whatever its path."""

from __future__ import annotations

import hashlib
import html
import mimetypes
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

INDEX = "index.html"
"""The file that is served for the path of its folder, too."""


TOOLS = "node_modules"
"""The folder in which npm installs what builds the declarations of the JavaScript client."""

NO_GATEWAYS = b'<p id="gateways" class="gateways" hidden></p>'
"""Where the demo page names the gateways."""


class StaticFile(NamedTuple):
    """The bytes of a file, and the headers that describe them. `modified`: seconds since 1970."""

    content: bytes
    content_type: str
    etag: str
    modified: int

    @property
    def headers(self) -> dict[str, str]:
        """The headers of an answer with this file."""
        modified = formatdate(self.modified, usegmt=True)
        return {"Content-Type": self.content_type, "Etag": self.etag, "Last-Modified": modified}

    def with_gateways(self, text: str) -> StaticFile:
        """The demo page, which tells what it has no other way to know: the gateways that are on; else the same file."""
        if not text or NO_GATEWAYS not in self.content:
            return self
        told = f'<p id="gateways" class="gateways">{html.escape(text)}</p>'
        content = self.content.replace(NO_GATEWAYS, told.encode())
        return self._replace(content=content, etag=_etag(content))


def read_files(directory: Path) -> dict[str, StaticFile]:
    """Read a directory and its folders. The keys are paths of URLs, such as `/app.js`, and `/` for `index.html`.

    Tools that npm has installed in a folder are left out.
    """
    found: dict[str, StaticFile] = {}
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        relative = path.relative_to(directory)
        if TOOLS in relative.parts:
            continue
        name = f"/{relative.as_posix()}"
        found[name] = _read(path)
        if path.name == INDEX:
            found[name.removesuffix(INDEX)] = found[name]
    return found


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return StaticFile(content, content_type, _etag(content), int(path.stat().st_mtime))


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()}"'
