"""The OpenAPI document of the admin API, against the real server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.server import Process

UNCHECKED = "positive_data_acceptance"
"""A schema cannot say which characters ids may have, so that some that it allows are refused."""

OPTIONS = [
    *("--phases", "coverage,fuzzing", "--max-examples", "3", "--seed", "1"),
    *("--exclude-checks", UNCHECKED, "--generation-database", "none", "--no-color"),
]


def test_the_server_answers_as_the_document_says(tmp_path: Path) -> None:
    with Process(tmp_path, "--port", "0", MCP_ACTORS_LOG_LEVEL="warning") as server:
        server.wait_until_serving()
        url = f"http://127.0.0.1:{server.port}/api/v1"
        command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{url}/openapi.json", "--url", url]
        run = subprocess.run(
            [*command, *OPTIONS], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
        )
        assert run.returncode == 0, (run.stdout + run.stderr)[-5000:]
        assert server.stop() == 0
