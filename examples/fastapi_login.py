"""Calls behind a login: FastAPI, with session cookies. `uvicorn --app-dir examples fastapi_login:app`."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.middleware.sessions import SessionMiddleware

from mcp_actors.auth.authorization import Handshake, JoinRequest, Refused
from mcp_actors.auth.grants import Grant
from mcp_actors.observing import MemberJoined, RoomEvent
from mcp_actors.signaling_server import SignalingServer

PASSWORDS = {"alice": "wonderland", "bob": "builder"}
PAGE = """<form method="post" action="login"><input name="user"><input name="password" type="password">
<button>Log in</button></form>"""


async def authorize(request: Handshake | JoinRequest) -> Grant | None:
    """Let in who has logged in, under that name; the session is that of the middleware below."""
    assert isinstance(request, Handshake)  # as the grant names the rooms, joins are not asked about
    user = request.scope["session"].get("user")
    if user is None:
        raise Refused("Log in first.")
    return Grant(user, rooms=("team-*",), metadata={"name": user.title()})


async def greet(event: RoomEvent) -> None:
    """Greet everybody who joins a call."""
    if isinstance(event, MemberJoined) and event.kind == "peer":
        await signaling.rooms[event.room].send({"text": f"{event.id} is here"})


signaling = SignalingServer(authorize=authorize, observers=[greet])
app = FastAPI(lifespan=signaling.lifespan)
app.mount("/signal", signaling.asgi())
app.add_middleware(SessionMiddleware, secret_key="change this in production", same_site="strict")


@app.get("/")
async def index(request: Request) -> HTMLResponse:
    """Show the login, or lead to the call."""
    user = request.session.get("user")
    return HTMLResponse(PAGE if user is None else f'<a href="signal/?room=team-1&id={user}">Call team-1</a>')


@app.post("/login")
async def login(request: Request) -> RedirectResponse:
    """Check the password."""
    form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
    if form.get("password") == PASSWORDS.get(form.get("user", "")) is not None:
        request.session["user"] = form["user"]
    return RedirectResponse(".", status_code=303)
