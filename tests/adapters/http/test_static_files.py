"""Static files by the paths of their URLs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mcp_actors.adapters.http.static_files import NO_GATEWAYS, read_files

if TYPE_CHECKING:
    from pathlib import Path


def test_files_are_found_by_the_path_of_their_url(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for name in ("index.html", "app.js", "style.css", "favicon.svg", "data.bin", "more/index.html"):
        (tmp_path / name).write_bytes(name.encode())
        os.utime(tmp_path / name, (0, 86_400.5))
    found = read_files(tmp_path)
    assert {path: file.content.decode() for path, file in found.items()} == {
        "/": "index.html",
        "/index.html": "index.html",
        "/app.js": "app.js",
        "/style.css": "style.css",
        "/favicon.svg": "favicon.svg",
        "/data.bin": "data.bin",
        "/more/": "more/index.html",
        "/more/index.html": "more/index.html",
    }
    types = [found[path].content_type for path in ("/", "/app.js", "/style.css", "/favicon.svg", "/data.bin")]
    assert types[0] == "text/html"
    assert "javascript" in types[1]
    assert types[2:] == ["text/css", "image/svg+xml", "application/octet-stream"]
    assert found["/"].headers["Last-Modified"] == "Fri, 02 Jan 1970 00:00:00 GMT"
    assert len({file.etag for file in found.values()}) == 6
    assert all(file.etag.startswith('"') and file.etag.endswith('"') for file in found.values())


def test_what_npm_has_installed_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "client" / "node_modules" / "typescript").mkdir(parents=True)
    (tmp_path / "client" / "node_modules" / "typescript" / "tsc.js").write_bytes(b"tsc")
    (tmp_path / "client" / "index.js").write_bytes(b"index")
    assert list(read_files(tmp_path)) == ["/client/index.js"]


def test_the_demo_page_tells_of_gateways_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(b"<body>" + NO_GATEWAYS + b"</body>")
    (tmp_path / "app.js").write_bytes(b"// nothing")
    found = read_files(tmp_path)
    page = found["/"].with_gateways("PeerJS at /a<b")
    assert page.content == b'<body><p id="gateways" class="gateways">PeerJS at /a&lt;b</p></body>'
    assert page.etag != found["/"].etag
    assert found["/"].with_gateways("") is found["/"]
    assert found["/app.js"].with_gateways("PeerJS") is found["/app.js"]
