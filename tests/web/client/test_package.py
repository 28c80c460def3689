"""The npm package: packed, installed into an empty project, compiled against, measured, and run by Node 22."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import js_client
from tests.support.js_client import CLIENT, ROOT

if TYPE_CHECKING:
    from tests.support.server import Server

MAX_BYTES = 8_000
STRICT = {
    "strict": True,
    "noEmitOnError": True,
    "exactOptionalPropertyTypes": True,
    "noUncheckedIndexedAccess": True,
    "target": "es2024",
    "module": "nodenext",
    "types": [],
}
PACKAGE: dict[str, Any] = json.loads((CLIENT / "package.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of its own that has nothing but the packed client."""
    js_client.require_tools()
    folder = tmp_path_factory.mktemp("project")
    tarball = js_client.pack(folder)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    js_client.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--offline", tarball], folder)
    (folder / "sample.ts").write_text((Path(__file__).parent / "sample.ts").read_text(encoding="utf-8"))
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": STRICT, "files": ["sample.ts"]}))
    return folder


async def test_a_strict_typescript_program_compiles_and_runs_in_node(project: Path, server: Server) -> None:
    js_client.run(["tsc"], project)
    process = await asyncio.create_subprocess_exec(
        *(str(js_client.node()), "sample.js", server.url("", "http")),
        cwd=project,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, complaints = await asyncio.wait_for(process.communicate(), js_client.DEADLINE)
    assert (process.returncode, complaints.decode()) == (0, "")
    assert json.loads(out) == {
        "peer": {"peerId": "grace", "order": 2, "metadata": {}, "presence": "here", "verified": False},
        "delivery": {"status": "delivered", "negotiation": 1},
        "offer": {"sender": "grace", "type": "offer", "negotiation": 1},
        "candidate": None,
        "refused": {"code": "peer-not-found", "retryable": False},
        "users": ["u"],
        "peers": ["ada", "grace"],
        "states": ["closed", "open", "closed"],
        "ended": "closed",
    }


def test_the_declarations_say_any_nowhere(project: Path) -> None:
    declarations = sorted((project / "node_modules" / "mcp-actors").glob("*.d.ts"))
    assert "index.d.ts" in {path.name for path in declarations}
    for path in declarations:
        code = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.search(r"\bany\b", code), path.name


def test_the_package_has_what_its_exports_name_and_no_dependency(project: Path) -> None:
    installed = project / "node_modules" / "mcp-actors"
    assert [path.name for path in (project / "node_modules").iterdir() if not path.name.startswith(".")] == [
        "mcp-actors"
    ]
    assert "dependencies" not in PACKAGE
    assert PACKAGE["sideEffects"] is False
    for conditions in PACKAGE["exports"].values():
        for path in conditions.values():
            assert (installed / path).is_file(), path


def test_signaling_is_small(tmp_path: Path) -> None:
    """Minified and compressed, with all that it imports."""
    js_client.require_tools()
    bundle: list[str | Path] = [
        "esbuild",
        CLIENT / "index.js",
        "--bundle",
        "--minify",
        "--format=esm",
        "--log-level=error",
    ]
    js_client.run([*bundle, f"--outfile={tmp_path / 'index.js'}"], tmp_path)
    size = len(gzip.compress((tmp_path / "index.js").read_bytes(), mtime=0))
    assert size < MAX_BYTES


def test_it_has_the_version_of_the_server() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert PACKAGE["version"] == project["version"]
