"""Calls behind a login: Tornado, with signed cookies. `python examples/tornado_login.py [PORT]`."""

from __future__ import annotations

import asyncio
import sys

from tornado.web import Application, RequestHandler, decode_signed_value

from mcp_actors.auth.authorization import Handshake, JoinRequest, Refused
from mcp_actors.auth.grants import Grant
from mcp_actors.signaling_server import SignalingServer

SECRET = "change this in production"
PASSWORDS = {"alice": "wonderland", "bob": "builder"}
PAGE = """<form method="post" action="login"><input name="user"><input name="password" type="password">
<button>Log in</button></form>"""


async def authorize(request: Handshake | JoinRequest) -> Grant | None:
    """Let in who has logged in, under that name."""
    assert isinstance(request, Handshake)  # as the grant names the rooms, joins are not asked about
    user = decode_signed_value(SECRET, "user", request.cookies.get("user", ""))
    if user is None:
        raise Refused("Log in first.")
    return Grant(user.decode(), rooms=("team-*",), metadata={"name": user.decode().title()})


class Index(RequestHandler):
    """Shows the login, or leads to the call."""

    def get(self) -> None:
        """Answer."""
        user = self.get_signed_cookie("user")
        self.write(PAGE if user is None else f'<a href="signal/?room=team-1&id={user.decode()}">Call team-1</a>')


class Login(RequestHandler):
    """Checks the password."""

    def post(self) -> None:
        """Answer."""
        user = self.get_body_argument("user")
        if user in PASSWORDS and self.get_body_argument("password") == PASSWORDS[user]:
            self.set_signed_cookie("user", user, httponly=True, samesite="Strict")
        self.redirect(".")


async def main(port: int) -> None:
    """Serve until Ctrl-C."""
    async with SignalingServer(authorize=authorize) as signaling:
        routes = [*signaling.tornado_routes("/signal"), (r"/", Index), (r"/login", Login)]
        Application(routes, cookie_secret=SECRET).listen(port, "127.0.0.1")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
