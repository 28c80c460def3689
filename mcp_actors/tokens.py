"""Access tokens: which are genuine, and how one is made; the one place that knows PyJWT.

Which algorithm a token may have follows from the operator's key, never from the token: HS256 with the secret alone, and
with a key file that of each key's kind. So no public key can be taken for a secret, and nothing unsigned passes.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from mcp_actors.protocol.errors import Unauthorized
from mcp_actors.protocol.grants import read_grant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mcp_actors.protocol.grants import Expectations, Grant

log = structlog.get_logger("mcp_actors.tokens")

HS256 = "HS256"
MIN_RSA_BITS = 2048
MAX_KEYS = 64
"""Keys of a JWKS file; who replaces keys has two for a while."""

NOT_GENUINE = "The token is not signed with a key of this server."


class KeyFileError(Exception):
    """A key file that cannot be used; `str(error)` says why."""


class Key(NamedTuple):
    """A key, and the one algorithm it is for."""

    algorithm: str
    material: Any


class Keys(Protocol):
    """The keys of this server."""

    def find(self, key_id: str | None) -> Key | None:
        """The key that a token names, or the only one if it names none."""


class SecretKeys:
    """The secret of this deployment."""

    def __init__(self, secret: str) -> None:
        self._key = Key(HS256, secret.encode())

    def find(self, key_id: str | None) -> Key | None:
        """See `Keys`; a secret has no name."""
        return self._key


class FileKeys:
    """The public keys of a file, read again when it changes; one that cannot be read leaves those that were there.

    The file is PEM with one key, or a JWKS. Raises `KeyFileError` when it is read first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._look()
        self._keys = read_keys(path)

    def find(self, key_id: str | None) -> Key | None:
        """See `Keys`."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            self._read_again()
        if key_id is not None and None not in self._keys:
            return self._keys.get(key_id)
        return next(iter(self._keys.values())) if len(self._keys) == 1 else None

    def _look(self) -> tuple[int, ...]:
        """What changes when the file does: 2 us, where checking a signature takes 50."""
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return (found.st_mtime_ns, found.st_size, found.st_ino)

    def _read_again(self) -> None:
        try:
            self._keys = read_keys(self._path)
        except KeyFileError as error:
            log.warning("the key file cannot be used; the keys of before go on", file=str(self._path), why=str(error))
        else:
            log.info("key file read again", file=str(self._path), keys=len(self._keys))


class Verifier:
    """Tells whether a token is genuine, and what it grants."""

    def __init__(
        self, keys: Keys, expected: Expectations, *, max_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._expected = expected
        self._max_bytes = max_bytes
        self._clock = clock
        self._jws = jwt.PyJWS()

    def verify(self, token: str) -> Grant:
        """What a token grants. Raises `Unauthorized`, and nothing else whatever the text is."""
        if len(token) > self._max_bytes:
            raise Unauthorized(f"The token is longer than {self._max_bytes} characters.")
        return read_grant(self._payload(token), self._expected, self._clock())

    def _payload(self, token: str) -> bytes:
        """What was signed. No error has another as its context: that could hold the token."""
        payload = None
        try:
            key_id = self._jws.get_unverified_header(token).get("kid")
            key = self._keys.find(key_id)
            if key is not None:
                payload = self._jws.decode(token, key.material, algorithms=[key.algorithm])
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            payload = None
        if not isinstance(payload, bytes):
            raise Unauthorized(NOT_GENUINE)
        return payload


def read_keys(path: Path) -> dict[str | None, Key]:
    """The keys of a file by their ids; that of a PEM file has none. Raises `KeyFileError`."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"it cannot be read: {error.strerror}") from None
    if text.lstrip().startswith(b"{"):
        return _read_set(text)
    try:
        return {None: _public(load_pem_public_key(text))}
    except ValueError:
        raise KeyFileError("it is neither a public key as PEM nor a JWKS") from None


def _read_set(text: bytes) -> dict[str | None, Key]:
    try:
        listed = json.loads(text)["keys"]
        entries = [entry for entry in listed if isinstance(entry, dict) and entry.get("use", "sig") == "sig"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeyFileError('it is not a JWKS, which is {"keys": [...]}') from None
    if len(entries) > MAX_KEYS:
        raise KeyFileError(f"it has more than {MAX_KEYS} keys")
    keys: dict[str | None, Key] = {}
    for number, entry in enumerate(entries):
        key = _entry(entry)
        if key is not None:
            name = entry.get("kid")
            keys[name if isinstance(name, str) else f"\0{number}"] = key
    if not keys:
        raise KeyFileError("it has no key for RS256, ES256 or EdDSA")
    return keys


def _entry(entry: Mapping[str, Any]) -> Key | None:
    """A key of a set; None for one that is for something else, such as a shared secret or another algorithm."""
    if entry.get("kty") == "oct" or "d" in entry:
        raise KeyFileError("it holds a secret; only public keys belong into it")
    try:
        key = _public(jwt.PyJWK.from_dict(dict(entry)).key)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, KeyFileError):
        return None
    return key if entry.get("alg", key.algorithm) == key.algorithm else None


def _public(key: object) -> Key:
    match key:
        case RSAPublicKey():
            if key.key_size < MIN_RSA_BITS:
                raise KeyFileError(f"its RSA key has fewer than {MIN_RSA_BITS} bits")
            return Key("RS256", key)
        case EllipticCurvePublicKey(curve=SECP256R1()):
            return Key("ES256", key)
        case Ed25519PublicKey():
            return Key("EdDSA", key)
    raise KeyFileError("its key is neither RSA, P-256 nor Ed25519")


def read_private_key(path: Path) -> Key:
    """The key that signs, of a PEM file without a password. Raises `KeyFileError`."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise KeyFileError(f"it cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise KeyFileError("it is no private key as PEM without a password") from None
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise KeyFileError("its key is neither RSA, P-256 nor Ed25519")
    return Key(_public(key.public_key()).algorithm, key)


def mint(key: Key, claims: Mapping[str, Any], key_id: str | None = None) -> str:
    """Sign claims."""
    headers = {} if key_id is None else {"kid": key_id}
    return jwt.encode(dict(claims), key.material, algorithm=key.algorithm, headers=headers)


def secret_key(secret: str) -> Key:
    """The key that signs with the secret."""
    return Key(HS256, secret.encode())
