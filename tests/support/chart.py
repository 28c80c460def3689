"""The Helm chart, rendered by Helm itself; as a program, it writes deploy/kubernetes/mcp-actors.yaml."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import helm_python as helm
import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "deploy" / "helm" / "mcp-actors"
MANIFESTS = ROOT / "deploy" / "kubernetes" / "mcp-actors.yaml"

HEAD = """\
# The chart in deploy/helm, as `make chart` renders it with its values, for clusters without Helm. Change the image, the
# host name and the addresses of proxies, make the Secret, and apply the file; docs/guides/deploy.md says how.
"""


def render(values: Mapping[str, Any] | None = None) -> str:
    """The manifests of a release named `mcp-actors`, as YAML documents."""
    with helm.Chart.load(str(CHART)) as chart:
        files = chart.render(dict(values or {}), name="mcp-actors", namespace="default")
    texts = [text.strip() for path, text in sorted(files.items()) if path.endswith(".yaml")]
    return HEAD + "".join(f"---\n{text}\n" for text in texts if text)


def documents(text: str) -> dict[str, dict[str, Any]]:
    """Manifests by their kinds, of which each is there once."""
    found = [document for document in yaml.safe_load_all(text) if document]
    by_kind: dict[str, dict[str, Any]] = {document["kind"]: document for document in found}
    assert len(by_kind) == len(found)
    return by_kind


if __name__ == "__main__":
    sys.stdout.write(render())
