"""URLs of Redis: three kinds, with TLS or without, and no password in what is shown."""

from __future__ import annotations

import re

import pytest

from mcp_actors.redis_url import RedisUrl, mask, parse


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("redis://localhost", RedisUrl(kind="single", tls=False, hosts=(("localhost", 6379),))),
        ("redis://localhost:7000/", RedisUrl(kind="single", tls=False, hosts=(("localhost", 7000),))),
        (
            "rediss://ada:s%40cret@[::1]:7000/3",
            RedisUrl(kind="single", tls=True, hosts=(("::1", 7000),), user="ada", password="s@cret", database=3),  # noqa: S106
        ),
        (
            "redis+sentinel://:pw@a:26380,b/my-master/2",
            RedisUrl(
                kind="sentinel",
                tls=False,
                hosts=(("a", 26380), ("b", 26379)),
                password="pw",  # noqa: S106
                master="my-master",
                database=2,
            ),
        ),
        ("rediss+cluster://a:7000,b", RedisUrl(kind="cluster", tls=True, hosts=(("a", 7000), ("b", 6379)))),
    ],
)
def test_a_url_is_parsed(text: str, url: RedisUrl) -> None:
    assert parse(text) == url


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("redis://default:@host", {"user": "default", "password": ""}),
        ("redis://user@host", {"user": "user", "password": ""}),
        ("redis://@host", {"user": "", "password": ""}),
        ("redis://host?db=3&password=p%40ss", {"database": 3, "password": "p@ss"}),
        ("redis://host/1?db=3", {"database": 3}),
        ("redis://host?socket_timeout=5&protocol=3&health_check_interval=30", {"database": 0}),
        ("rediss://:pw@host:7000?ssl_cert_reqs=none", {"tls": True, "verify": False, "check_hostname": True}),
        ("rediss://host?ssl_cert_reqs=CERT_NONE", {"verify": False}),
        ("rediss://host?ssl_cert_reqs=required&ssl_check_hostname=False", {"verify": True, "check_hostname": False}),
        (
            "rediss://host?ssl_ca_certs=/a%20b/ca.pem&ssl_certfile=c.pem&ssl_keyfile=k.pem",
            {"ca_file": "/a b/ca.pem", "cert_file": "c.pem", "key_file": "k.pem"},
        ),
        ("unix:///run/redis.sock", {"kind": "single", "hosts": (("/run/redis.sock", 0),), "tls": False}),
        (
            "unix://ana:secret@/run/my%20redis.sock?db=2",
            {"hosts": (("/run/my redis.sock", 0),), "user": "ana", "password": "secret", "database": 2},
        ),
        (
            "redis+sentinel://:pw@s/m?sentinel_username=ana&sentinel_password=other&sentinel_tls=yes",
            {"password": "pw", "sentinel_user": "ana", "sentinel_password": "other", "sentinel_tls": True},
        ),
        ("rediss+sentinel://s/m?sentinel_tls=no", {"tls": True, "sentinel_tls": False}),
        ("rediss+sentinel://s/m", {"tls": True, "sentinel_tls": None}),
    ],
)
def test_what_redis_py_accepts_is_parsed(text: str, fields: dict[str, object]) -> None:
    url = parse(text)
    assert {name: getattr(url, name) for name in fields} == fields


def test_a_user_and_a_password_are_percent_encoded() -> None:
    url = parse("redis://a%3Ab:%2F%3F%23%5B%5D%C3%BC@:host@c:1/2")
    assert (url.user, url.password, url.hosts) == ("a:b", "/?#[]ü@:host", (("c", 1),))


@pytest.mark.parametrize("password", ["a/b", "a?b", "a#b", "a[b", "a b", "ü"])
def test_a_password_that_is_not_encoded_is_explained(password: str) -> None:
    with pytest.raises(ValueError, match=r"/ is written as %2F") as error:
        parse(f"redis://:{password}@host:1/2")
    assert password not in str(error.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "starts with redis://"),
        ("localhost:6379", "starts with redis://"),
        ("redis+tls://localhost", "starts with redis://"),
        ("redis://", "a host is a name"),
        ("redis://:6379", "a host is a name"),
        ("redis://host:port", "a host is a name"),
        ("redis://host:0", "a host is a name"),
        ("redis://host:65536", "a host is a name"),
        ("redis://::1", "a host is a name"),
        ("redis://a b", "a host is a name"),
        ("redis+cluster://a,,b", "a host is a name"),
        ("redis://a,b", "names one host"),
        ("redis://host/zero", "a database is a number"),
        ("redis://host/-1", "a database is a number"),
        ("redis://host/0/0", "a database is a number"),
        ("redis://host#1", "# is written as %23"),
        ("redis://host?db=one", "db has a value that is not valid"),
        ("redis://host?database=1", "the options are db, username, password, ssl_cert_reqs"),
        ("rediss://host?ssl_cert_reqs=maybe", "ssl_cert_reqs has a value that is not valid"),
        ("redis://host?ssl_cert_reqs=none", "ssl_cert_reqs is for TLS, so the URL starts with rediss"),
        ("redis://host?sentinel_password=x", "sentinel_password is for redis+sentinel://"),
        ("redis+cluster://a?db=1", "no database but 0"),
        ("unix://run/redis.sock", "the path of a socket"),
        ("unix://", "the path of a socket"),
        ("redis+sentinel://a,b", "the name of their master"),
        ("redis+sentinel://a,b//0", "the name of their master"),
        ("redis+sentinel://a,b/mymaster/x", "a database is a number"),
        ("redis+cluster://a/1", "no database but 0"),
    ],
)
def test_a_wrong_url_is_explained(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:hidden@host:1/2", "redis://host:1/2"),
        ("rediss+sentinel://:hidden@a,[::1]:1/m/1", "rediss+sentinel://a:26379,[::1]:1/m/1"),
        ("redis+cluster://a,b", "redis+cluster://a:6379,b:6379"),
        ("unix://:hidden@/run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("redis+sentinel://a/m?sentinel_password=hidden", "redis+sentinel://a:26379/m"),
    ],
)
def test_a_displayed_url_has_no_password(text: str, shown: str) -> None:
    assert str(parse(text)) == shown
    assert "hidden" not in repr(parse(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://host:1/2", "redis://host:1/2"),
        ("redis://user:hidden@host:1/2", "redis://***@host:1/2"),
        ("redis://user:hid@den@host", "redis://***@host"),
        ("redis://user:hidden", "redis://***"),
        ("redis://host/0?password=hidden", "redis://host/0?***"),
        ("http://:hidden@host", "http://***@host"),
        ("redis:/user:hidden@host", "***"),
        ("hidden", "***"),
    ],
)
def test_a_password_is_masked_in_right_and_wrong_urls(text: str, shown: str) -> None:
    assert mask(text) == shown
