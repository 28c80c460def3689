"""Calls behind a login: Django, with its sessions. `uvicorn --app-dir examples django_login:application`."""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path

from mcp_actors.auth.authorization import Handshake, JoinRequest, Refused
from mcp_actors.auth.grants import Grant
from mcp_actors.signaling_server import SignalingServer

settings.configure(
    SECRET_KEY="change this in production",
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    SESSION_COOKIE_SAMESITE="Strict",
)
django.setup()

PASSWORDS = {"alice": "wonderland", "bob": "builder"}
PAGE = """<form method="post" action="login"><input name="user"><input name="password" type="password">
<button>Log in</button></form>"""


async def authorize(request: Handshake | JoinRequest) -> Grant | None:
    """Let in who has logged in, under that name."""
    assert isinstance(request, Handshake)  # as the grant names the rooms, joins are not asked about
    user = SessionStore(request.cookies.get(settings.SESSION_COOKIE_NAME)).get("user")
    if user is None:
        raise Refused("Log in first.")
    return Grant(user, rooms=("team-*",), metadata={"name": user.title()})


def index(request: Any) -> HttpResponse:
    """Show the login, or lead to the call."""
    user = request.session.get("user")
    return HttpResponse(PAGE if user is None else f'<a href="signal/?room=team-1&id={user}">Call team-1</a>')


def login(request: HttpRequest) -> HttpResponse:
    """Check the password."""
    user = request.POST.get("user", "")
    if user in PASSWORDS and request.POST.get("password") == PASSWORDS[user]:
        request.session["user"] = user
    return HttpResponseRedirect(".")


urlpatterns = [path("", index), path("login", login)]
application = SignalingServer(authorize=authorize).beside(get_asgi_application(), "/signal")
