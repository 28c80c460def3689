"""A call through an application with a login that has mounted the server, behind a proxy that strips a prefix."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from bench.ports import free_ports
from tests.support.asgi_process import AsgiProcess
from tests.web.conftest import Watch
from tests.web.pages import DEADLINE, DEVICES, assert_media_flows, join

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
CONFIGURATION = """
daemon off; pid {directory}/pid; error_log stderr; {user}
events {{}}
http {{
  access_log off;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location /portal/ {{
      proxy_pass http://127.0.0.1:{application}/;  # the slash strips the prefix
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
    }}
  }}
}}
"""
LISTEN = """
mcpActors.parts().room.addEventListener("announcement", ({detail}) => { globalThis.said = detail.content.text; })
"""


@pytest.fixture
def application(tmp_path: Path) -> Iterator[AsgiProcess]:
    """FastAPI with the server below /signal."""
    with AsgiProcess(
        tmp_path, "uvicorn", "--app-dir", str(EXAMPLES), application="fastapi_login:app", PORT="0"
    ) as process:
        yield process.wait_until_serving("/")


@pytest.fixture
def portal(application: AsgiProcess, tmp_path: Path) -> Iterator[str]:
    """The address of nginx, which strips /portal from what it passes on."""
    binary = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if binary is None:
        why = "nginx is not installed: apt-get install nginx, or your system's way to it"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    port, user = free_ports(), "user root;" if os.geteuid() == 0 else ""
    text = CONFIGURATION.format(directory=tmp_path, port=port, application=application.port, user=user)
    (tmp_path / "nginx.conf").write_text(text)
    process = subprocess.Popen([binary, "-p", tmp_path, "-c", tmp_path / "nginx.conf", "-e", "stderr"])
    yield f"http://127.0.0.1:{port}/portal/"
    process.terminate()
    process.wait(DEADLINE)


def logged_in(chromium: Browser, watch: Watch, portal: str, user: str, password: str) -> Page:
    """The page with the call of a user in a browser of its own."""
    context = chromium.new_context(permissions=DEVICES)
    context.set_default_timeout(DEADLINE * 1000)
    watch.over(context)
    page = context.new_page()
    page.goto(portal)
    page.locator("[name=user]").fill(user)
    page.locator("[name=password]").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Call team-1").click()
    join(page)
    page.wait_for_function("() => mcpActors.parts().room")
    return page


def test_two_who_have_logged_in_see_each_other(chromium: Browser, portal: str) -> None:
    watch = Watch({urlsplit(portal).netloc})
    alice = logged_in(chromium, watch, portal, "alice", "wonderland")
    assert urlsplit(alice.url).path == "/portal/signal/"
    alice.evaluate(LISTEN)
    bob = logged_in(chromium, watch, portal, "bob", "builder")
    assert_media_flows(alice, bob)
    alice.wait_for_function("globalThis.said === 'bob is here'")
    assert alice.evaluate("mcpActors.parts().room.peers.get('bob').metadata.name") == "Bob"
    for page in (alice, bob):
        page.context.close()
    assert watch.complaints == []
