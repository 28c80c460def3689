"""The files in deploy/ and docs/guides/deploy.md: linted by their own tools, and in agreement with the server."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import helm_python as helm
import kubernetes_validate
import pytest
import yaml
from dotenv import dotenv_values

from bench.engine import NOT_PERSISTENT, Engine
from mcp_actors.auth.secret import make
from mcp_actors.environment import load
from mcp_actors.settings import DEFAULTS, PREFIX
from tests.support.chart import CHART, MANIFESTS, ROOT, documents, render
from tests.support.client import Client
from tests.support.confinement import allowed, confined
from tests.support.tokens import SECRET, bearer
from tests.test_systemd import HAND_OVER, Started

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = ROOT / "deploy"
GUIDE = (ROOT / "docs" / "guides" / "deploy.md").read_text(encoding="utf-8")
SYSTEMD = DEPLOY / "systemd"
FILES = [path for path in DEPLOY.rglob("*") if path.is_file() and path.name != "compose.env"]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

MAX_EXPOSURE = 1.2
"""The highest score of `systemd-analyze security` that the unit may have; from 0, the safest, to 10."""

GRACE = 5
"""Seconds that a process has to end after its drain."""

EVERYTHING: dict[str, Any] = {
    "autoscaling": {"enabled": True},
    "adminPort": 9000,
    "networkPolicy": {
        "ingressFrom": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}],
        "adminFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
    },
    "imagePullSecrets": [{"name": "registry"}],
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "calls", "operator": "Exists"}],
}
"""Values that use what the chart leaves out by default."""


PATH = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
"""An environment with the programs that come as Python packages."""


def drain(settings: dict[str, str]) -> float:
    """The seconds from the signal that stops a process with these settings to its end, at most."""
    names = ("shutdown_delay", "drain_seconds")
    return sum(float(settings.get(PREFIX + name.upper(), DEFAULTS[name])) for name in names)


def seconds(text: str) -> float:
    return float(re.fullmatch(r"(\d+)s?", text)[1])  # type: ignore[index]


@pytest.mark.parametrize("path", [*FILES, ROOT / "docs" / "guides" / "deploy.md"], ids=lambda path: path.name)
def test_every_setting_that_a_file_names_exists(path: Path) -> None:
    named = set(re.findall(r"\bMCP_ACTORS_[A-Z_]*[A-Z]", path.read_text(encoding="utf-8")))
    assert not {name for name in named if name.removeprefix(PREFIX).lower() not in DEFAULTS}


def test_versions_are_that_of_the_project() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)
    assert set(re.findall(r"mcp-actors:([\w.]+)", GUIDE + MANIFESTS.read_text())) == {VERSION}


def test_the_dockerfile_has_no_findings() -> None:
    linted = subprocess.run(
        ["hadolint", str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False, env=PATH
    )
    assert (linted.returncode, linted.stdout) == (0, "")


def unit(name: str) -> dict[str, list[str]]:
    """The lines of a unit, by their names."""
    found: dict[str, list[str]] = {}
    for line in (SYSTEMD / name).read_text(encoding="utf-8").splitlines():
        key, equals, text = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(text)
    return found


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with a program that is there."""
    for path in SYSTEMD.iterdir():
        text = path.read_text(encoding="utf-8").replace("/opt/mcp-actors/bin/mcp-actors", shutil.which("true") or "")
        (tmp_path / path.name).write_text(text)
    return tmp_path


def test_systemd_finds_no_fault_with_the_units_and_little_that_the_service_may_do(units: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    assert analyze is not None, "systemd-analyze is not installed: apt-get install systemd"
    verified = subprocess.run(
        [analyze, "verify", *map(str, units.iterdir())], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    threshold = f"--threshold={int(10 * MAX_EXPOSURE)}"
    judge = [analyze, "security", "--offline=yes", threshold, "--no-pager", str(units / "mcp-actors.service")]
    judged = subprocess.run(judge, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


async def test_the_service_serves_at_its_socket_with_its_settings_and_as_little_as_its_unit_leaves_it(
    tmp_path: Path, engine: Engine, prefix: str
) -> None:
    service = unit("mcp-actors.service")
    name, source = service["LoadCredential"][0].split(":")
    assert source in GUIDE
    more = {"SECRET_KEY": SECRET, "REDIS_URL": engine.url, "REDIS_PREFIX": prefix, "PROCESSES": "2", "AUTH": "required"}
    lines = [(ROOT / "settings" / "production.env").read_text(), *(f"{PREFIX}{key}={more[key]}" for key in more)]
    (tmp_path / name).write_text("\n".join(lines))
    program, *arguments = service["ExecStart"][0].replace("${CREDENTIALS_DIRECTORY}", str(tmp_path)).split()
    assert program == "/opt/mcp-actors/bin/mcp-actors"
    environ = dict(line.split("=", 1) for line in service["Environment"])
    path = tmp_path / Path(unit("mcp-actors.socket")["ListenStream"][0]).name
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        hand_over = [sys.executable, "-c", HAND_OVER, str(listening.fileno())]
        before = [*confined(allowed(service["SystemCallFilter"])), *hand_over]
        with Started(before, [listening.fileno()], tmp_path, *arguments, **environ) as server:
            server.wait_until_serving()
            url, token = "ws://signaling.example.com/ws/signaling/", bearer("alice", 3600)
            peer = await Client.open_at(path, url, **token)
            await peer.expect("authenticated", sub="alice")
            await peer.join("r", "alice")
            await peer.end()
            server.process.terminate()
            status, _, err = await asyncio.to_thread(server.finish)
    assert (status, '"warning"' in err) == (0, False)


def test_service_managers_wait_for_the_drain() -> None:
    assert seconds(unit("mcp-actors.service")["TimeoutStopSec"][0]) == drain({}) + GRACE
    assert seconds(compose()["services"]["signaling"]["stop_grace_period"]) == drain({}) + GRACE
    (stopping,) = re.findall(r"docker stop --time (\d+)", GUIDE)
    assert seconds(stopping) == drain({}) + GRACE
    for values in ({}, {"shutdownDelay": 20, "drainSeconds": 60}):
        found = documents(render(values))
        grace = found["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace == drain(found["ConfigMap"]["data"]) + GRACE


def test_helm_finds_no_fault_with_the_chart() -> None:
    linted = helm.lint(str(CHART))
    assert linted["errors"] == []
    assert [one["error"] for one in linted["messages"]] == ["icon is recommended"]


def test_the_manifests_are_the_rendered_chart() -> None:
    assert MANIFESTS.read_text(encoding="utf-8") == render(), "run `make chart`"


@pytest.mark.parametrize("version", ["1.25.0", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["by default", "with everything"])
def test_the_manifests_are_valid_in_old_and_new_kubernetes(version: str, values: dict[str, Any]) -> None:
    found = documents(render(values))
    assert ("HorizontalPodAutoscaler" in found) is bool(values)
    assert ("replicas" in found["Deployment"]["spec"]) is not bool(values)
    for document in found.values():
        kubernetes_validate.validate(document, version, strict=True)


def test_pods_are_restricted_and_hold_no_secrets() -> None:
    found = documents(render())
    pod = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"secretRef": {"name": "mcp-actors"}} in container["envFrom"]
    assert not set(found["ConfigMap"]["data"]) & {"MCP_ACTORS_SECRET_KEY", "MCP_ACTORS_REDIS_URL"}


def test_every_selector_finds_the_pods() -> None:
    found = documents(render())
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        found["Deployment"]["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels for selector in selectors)
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {found["Service"]["spec"]["ports"][0]["targetPort"]} == ports
    assert found["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"] in ports


def test_operators_have_a_port_if_the_values_say_so_and_only_who_is_named_there_reaches_it(tmp_path: Path) -> None:
    found, closed, none = (documents(render(values)) for values in (EVERYTHING, {"adminPort": 9000}, {}))
    secret = {"MCP_ACTORS_SECRET_KEY": make()}
    ports = [
        load(environ=one["ConfigMap"]["data"] | secret, directory=tmp_path).server.admin_port for one in (found, none)
    ]
    assert ports == [9000, 0]
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "admin", "containerPort": 9000} in container["ports"]
    rules = [one["NetworkPolicy"]["spec"]["ingress"] for one in (found, closed, none)]
    assert [[rule["ports"][0]["port"] for rule in each] for each in rules] == [["http", "admin"], ["http"], ["http"]]
    assert rules[0][1]["from"] == EVERYTHING["networkPolicy"]["adminFrom"]


async def test_a_pod_serves_with_its_settings_and_passes_its_probes(
    tmp_path: Path, engine: Engine, prefix: str
) -> None:
    found = documents(render())
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    secret = {"MCP_ACTORS_SECRET_KEY": make(), "MCP_ACTORS_REDIS_URL": engine.url, "MCP_ACTORS_REDIS_PREFIX": prefix}
    settings = found["ConfigMap"]["data"] | secret
    limit = load(environ=settings, directory=tmp_path).connections.max_memory_bytes
    assert limit < _bytes(container["resources"]["limits"]["memory"]) / 2, "the rest of the process needs its share"
    here = settings | {"MCP_ACTORS_HOST": "127.0.0.1", "MCP_ACTORS_PORT": "0", "MCP_ACTORS_SHUTDOWN_DELAY": "0"}
    with Started((), (), tmp_path, **here) as server:
        server.wait_until_serving()
        for probe in ("livenessProbe", "readinessProbe"):
            path = container[probe]["httpGet"]["path"]
            url = f"http://127.0.0.1:{server.port}{path}"
            asked = await asyncio.create_subprocess_exec("curl", "--fail", "--silent", url, stdout=subprocess.DEVNULL)
            assert await asked.wait() == 0
        assert await asyncio.to_thread(server.stop) == 0


def _bytes(text: str) -> int:
    assert text.endswith("Mi")
    return int(text.removesuffix("Mi")) * 1_048_576


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return found


def test_the_variables_of_compose_are_those_of_its_example() -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text(encoding="utf-8")))
    example = dotenv_values(DEPLOY / "compose.env.example")
    assert used == set(example)
    assert not any(example.values())
    assert "deploy/compose.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_settings_of_compose_are_valid(tmp_path: Path) -> None:
    signaling = compose()["services"]["signaling"]
    settings = {name: re.sub(r"\$\{.*\}", make(), text) for name, text in signaling["environment"].items()}
    assert load(environ=settings, directory=tmp_path).redis.url.split("//")[1].startswith("valkey:")
    build = signaling["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"


def test_the_command_of_valkey_starts_one_that_evicts_nothing(tmp_path: Path) -> None:
    _, *options = compose()["services"]["valkey"]["command"]
    assert options[: len(NOT_PERSISTENT)] == list(NOT_PERSISTENT)
    with Engine(options=options, directory=tmp_path) as engine:
        assert engine.port


def lines() -> Iterator[str]:
    """The command lines of the guide."""
    for block in re.findall(r"^```console\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL):
        yield from (line.removeprefix("$ ") for line in block.splitlines())


ELSEWHERE = ("systemctl", "docker", "kubectl", "helm", "curl")
"""Commands that need a service manager, a container engine, a cluster, or the service running."""


@pytest.mark.parametrize("line", [line for line in lines() if line.startswith(ELSEWHERE)])
def test_other_lines_of_the_guide_name_what_is_there(line: str, tmp_path: Path) -> None:
    words = shlex.split(line)
    for path in (word for word in words if word.startswith("deploy/")):
        assert (ROOT / path).exists() or path == "deploy/compose.env"
    for name in (word for word in words if word.startswith("mcp-actors.")):
        assert (SYSTEMD / name).exists()
    if words[:2] == ["helm", "install"]:
        values: dict[str, Any] = {}
        for text in (words[index + 1] for index, word in enumerate(words) if word == "--set"):
            values |= helm.parse_set_string(text)
        assert str(values["image"]["repository"]) in render(values)
    if "--unix-socket" in words:
        assert words[words.index("--unix-socket") + 1] == unit("mcp-actors.socket")["ListenStream"][0]
    given = [word.split("=")[-2] for word in words if word.startswith("--from-literal")]
    load(environ={"MCP_ACTORS_SECRET_KEY": make()}, directory=tmp_path)
    assert {name.removeprefix(PREFIX).lower() for name in given} <= set(DEFAULTS)
