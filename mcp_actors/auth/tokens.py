"""Access tokens: verifying and signing them. This is the only module that knows PyJWT.

The operator's key determines the algorithm of a token, never the token itself: HS256 with the secret, otherwise that of
each key in the key file or the key set. So a public key cannot be taken for a secret, and an unsigned token is never
accepted.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from mcp_actors.auth.grants import read_grant
from mcp_actors.protocol.errors import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mcp_actors.auth.grants import Expectations, Grant

log = structlog.get_logger("mcp_actors.auth.tokens")

MIN_RSA_BITS = 2048
RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
"""An RSA key is used with the one that its JWK names, or else with the first."""

EC_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512", "secp256k1": "ES256K"}
MAX_KEYS = 64

NOT_GENUINE = "The token is not signed with a key of this server."


class KeyFileError(Exception):
    """A key file, or a JWKS from elsewhere, that cannot be used; `str(error)` says why."""


class Key(NamedTuple):
    """A key, and the only algorithm it is used with."""

    algorithm: str
    material: Any

    @property
    def accepted(self) -> tuple[str, ...]:
        """The names of the algorithm: RFC 9864 replaces EdDSA by the name of each curve."""
        match self.material:
            case Ed25519PublicKey():
                return ("EdDSA", "Ed25519")
            case Ed448PublicKey():
                return ("EdDSA", "Ed448")
        return (self.algorithm,)


def secret_key(secret: str) -> Key:
    """Return the key that signs with the secret of this deployment."""
    return Key("HS256", secret.encode())


def choose_key(keys: Mapping[str | None, Key], key_id: str | None) -> Key | None:
    """Return the key that a token names, or the only key if it names none or the keys have no names."""
    if key_id is not None and None not in keys:
        return keys.get(key_id)
    return next(iter(keys.values())) if len(keys) == 1 else None


class FileKeys:
    """The public keys of a JWKS file, or of a PEM file with one key. Raises `KeyFileError` if it cannot be used.

    The file is read again when it changes; if it cannot be used then, the previous keys stay.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()
        self._keys = read_keys(path)

    def find(self, key_id: str | None) -> Key | None:
        """Return the key that a token names, or the only key if it names none."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            self._reload()
        return choose_key(self._keys, key_id)

    def _look(self) -> tuple[int, ...]:
        """Return what changes with the file. This takes 2 us; verifying a signature takes 50."""
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return (found.st_mtime_ns, found.st_size, found.st_ino)

    def _reload(self) -> None:
        try:
            self._keys = read_keys(self._path)
        except KeyFileError as error:
            log.warning("key file cannot be used, keeping the previous keys", file=str(self._path), reason=str(error))
        else:
            log.info("key file reloaded", file=str(self._path), keys=len(self._keys))


class Verifier:
    """Verifies tokens. `find` returns the key for the key id in a token, if there is one."""

    def __init__(
        self,
        find: Callable[[str | None], Key | None],
        expected: Expectations,
        *,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._find = find
        self._expected = expected
        self._max_bytes = max_bytes
        self._clock = clock
        self._jws = jwt.PyJWS()
        for name in ("Ed25519", "Ed448"):
            self._jws.register_algorithm(name, jwt.get_algorithm_by_name("EdDSA"))

    def verify(self, token: str) -> Grant:
        """Return what a token grants. Raises `Unauthorized`, and nothing else, whatever the text is."""
        if len(token) > self._max_bytes:
            raise Unauthorized(f"The token is longer than {self._max_bytes} characters.")
        payload = self._payload(token)
        if payload is None:  # raised here, so that no other error, which might show the token, is its context
            raise Unauthorized(NOT_GENUINE)
        return read_grant(payload, self._expected, self._clock())

    def _payload(self, token: str) -> bytes | None:
        try:
            key = self._find(self._jws.get_unverified_header(token).get("kid"))
            payload = None if key is None else self._jws.decode(token, key.material, algorithms=key.accepted)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return None
        return payload if isinstance(payload, bytes) else None


def read_keys(path: Path) -> dict[str | None, Key]:
    """Return the keys of a file by their ids; the key of a PEM file has none. Raises `KeyFileError`."""
    text = _read(path)
    if text.lstrip().startswith(b"{"):
        return read_jwks(str(path), text)
    try:
        return {None: _public_key(load_pem_public_key(text))}
    except ValueError:
        raise KeyFileError("it is neither a public key in PEM format nor a JWKS") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"it cannot be read: {error.strerror}") from None


def read_jwks(source: str, text: bytes) -> dict[str | None, Key]:
    """Return the keys of a JWKS by their ids. `source` is named in the log. Raises `KeyFileError`."""
    try:
        entries = [entry for entry in json.loads(text)["keys"] if isinstance(entry, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeyFileError('it is not a JWKS, which is {"keys": [...]}') from None
    if len(entries) > MAX_KEYS:
        raise KeyFileError(f"it has more than {MAX_KEYS} keys")
    if any(entry.get("kty") == "oct" or "d" in entry for entry in entries):
        raise KeyFileError("it holds a secret, but must hold public keys only")
    keys: dict[str | None, Key] = {}
    ignored: list[str] = []
    for number, entry in enumerate(entries, 1):
        name = entry.get("kid")
        shown = repr(name) if isinstance(name, str) else f"number {number}"
        try:
            key = _jwk(entry)
        except KeyFileError as error:
            ignored.append(f"key {shown}: {error}")
            log.warning("key ignored", file=source, key=shown, reason=str(error))
        else:
            keys[name if isinstance(name, str) else f"\0{number}"] = key
    if not keys:
        raise KeyFileError(f"it has no key that can verify tokens ({'; '.join(ignored) or 'it is empty'})")
    return keys


def _jwk(entry: dict[str, Any]) -> Key:
    """Read a key of a JWKS. Raises `KeyFileError`, which says why the key cannot be used."""
    if entry.get("use", "sig") != "sig" or "verify" not in entry.get("key_ops", ["verify"]):
        raise KeyFileError("it is not for verifying signatures")
    algorithm = entry.get("alg")
    unnamed = {name: value for name, value in entry.items() if name != "alg"}
    if entry.get("kty") == "OKP":
        unnamed["alg"] = "EdDSA"  # by which PyJWT knows both curves
    try:
        found = jwt.PyJWK.from_dict(unnamed).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        raise KeyFileError(f"its type is not known, or it is broken (`kty` {entry.get('kty')!r})") from None
    key = _public_key(found)
    if algorithm is None or algorithm in key.accepted:
        return key
    if isinstance(found, RSAPublicKey) and algorithm in RSA_ALGORITHMS:
        return Key(algorithm, found)
    raise KeyFileError(f"its `alg` {algorithm!r} is not one for this type of key")


def _public_key(key: object) -> Key:
    match key:
        case RSAPublicKey():
            if key.key_size < MIN_RSA_BITS:
                raise KeyFileError(f"its RSA key has fewer than {MIN_RSA_BITS} bits")
            return Key("RS256", key)
        case EllipticCurvePublicKey() if key.curve.name in EC_ALGORITHMS:
            return Key(EC_ALGORITHMS[key.curve.name], key)
        case Ed25519PublicKey() | Ed448PublicKey():
            return Key("EdDSA", key)
    raise KeyFileError("its key is not RSA, P-256, P-384, P-521, secp256k1, Ed25519 or Ed448")


def read_private_key(path: Path) -> Key:
    """Return the signing key of a PEM file without a password. Raises `KeyFileError`."""
    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError):
        raise KeyFileError("it is not a private key in PEM format without a password") from None
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey | Ed448PrivateKey):
        raise KeyFileError("its key is not RSA, an elliptic curve, Ed25519 or Ed448")
    return Key(_public_key(key.public_key()).algorithm, key)


def mint(key: Key, claims: dict[str, Any], key_id: str | None = None) -> str:
    """Sign claims."""
    return jwt.encode(claims, key.material, algorithm=key.algorithm, headers={} if key_id is None else {"kid": key_id})
