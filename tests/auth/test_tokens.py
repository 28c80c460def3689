"""Verifying tokens: attempts at forgery, key files that change, and errors that never show a token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.auth.grants import Expectations
from mcp_actors.auth.secret import make
from mcp_actors.auth.tokens import (
    NOT_GENUINE,
    FileKeys,
    KeyFileError,
    Verifier,
    mint,
    read_keys,
    read_private_key,
    secret_key,
)
from mcp_actors.protocol.errors import Unauthorized

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ExpectedLogs

SECRET = make()
EXPECTED = Expectations(audience="", issuer="", leeway=5, id_length=128)
RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, Any] = {"RS256": RSA, "ES256": P256, "EdDSA": ED25519}
CURVES: dict[str, Any] = {
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "ES256K": ec.generate_private_key(ec.SECP256K1()),
    "Ed448": ed448.Ed448PrivateKey.generate(),
    "Ed25519": ED25519,
}


def claims(**changes: Any) -> dict[str, Any]:
    return {"sub": "alice", "exp": int(time.time()) + 60} | changes


def verifier(keys: Any = None, max_bytes: int = 4096) -> Verifier:
    return Verifier(keys.find if keys else lambda _: secret_key(SECRET), EXPECTED, max_bytes=max_bytes)


def public_pem(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def private_pem(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def jwk(algorithm: str, key: Any = None, **fields: Any) -> dict[str, Any]:
    public = (key or PRIVATE[algorithm]).public_key()
    found = jwt.get_algorithm_by_name(algorithm).to_jwk(public, as_dict=True)
    return {name: value for name, value in found.items() if name != "key_ops"} | fields


def write(path: Path, content: bytes | dict[str, Any]) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def part(value: Any) -> bytes:
    return base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).rstrip(b"=")


def forged(header: dict[str, Any], key: bytes | None = None, digest: str = "sha256", **changes: Any) -> str:
    """Make a token by hand, as no library would."""
    signed = part({"typ": "JWT"} | header) + b"." + part(claims(**changes))
    signature = b"" if key is None else hmac.new(key, signed, getattr(hashlib, digest)).digest()
    return (signed + b"." + part(signature)).decode()


def refused(token: str, keys: Any = None) -> None:
    with pytest.raises(Unauthorized) as error:
        verifier(keys).verify(token)
    assert str(error.value) == NOT_GENUINE
    assert error.value.__context__ is None


def test_a_token_signed_with_the_secret_is_genuine() -> None:
    assert verifier().verify(mint(secret_key(SECRET), claims())).sub == "alice"
    assert verifier().verify(forged({"alg": "HS256"}, SECRET.encode())).sub == "alice"


@pytest.mark.parametrize("algorithm", PRIVATE)
@pytest.mark.parametrize("kind", ["PEM", "JWKS"])
def test_a_token_signed_with_the_private_key_of_a_public_one_is_genuine(
    tmp_path: Path, algorithm: str, kind: str
) -> None:
    content = public_pem(PRIVATE[algorithm]) if kind == "PEM" else {"keys": [jwk(algorithm, kid="one")]}
    keys = FileKeys(write(tmp_path / "keys", content))
    key = read_private_key(write(tmp_path / "private", private_pem(PRIVATE[algorithm])))
    for key_id in (None, "one"):
        assert verifier(keys).verify(mint(key, claims(), key_id)).sub == "alice"


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_an_rsa_key_is_used_with_the_algorithm_that_its_jwk_names(tmp_path: Path, algorithm: str) -> None:
    keys = FileKeys(write(tmp_path / "keys", {"keys": [jwk("RS256", kid="a", alg=algorithm)]}))
    assert verifier(keys).verify(jwt.encode(claims(), RSA, algorithm=algorithm, headers={"kid": "a"})).sub == "alice"
    other = "PS512" if algorithm == "RS256" else "RS256"
    refused(jwt.encode(claims(), RSA, algorithm=other, headers={"kid": "a"}), keys)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("algorithm", ["ES384", "ES512", "ES256K"])
def test_an_elliptic_curve_has_its_algorithm(tmp_path: Path, algorithm: str, named: bool) -> None:
    key, fields = CURVES[algorithm], {"alg": algorithm} if named else {}
    for content in ({"keys": [jwk(algorithm, key, kid="a", **fields)]}, public_pem(key)):
        keys = FileKeys(write(tmp_path / "keys", content))
        assert verifier(keys).verify(jwt.encode(claims(), key, algorithm=algorithm)).sub == "alice"
        refused(jwt.encode(claims(), P256, algorithm="ES256"), keys)
    signing = read_private_key(write(tmp_path / "private", private_pem(key)))
    assert verifier(keys).verify(mint(signing, claims())).sub == "alice"


@pytest.mark.parametrize("curve", ["Ed25519", "Ed448"])
@pytest.mark.parametrize("jwk_says", ["EdDSA", "curve", None])
@pytest.mark.parametrize("header_says", ["EdDSA", "curve"])
def test_an_edwards_curve_is_known_by_its_old_and_its_new_name(
    tmp_path: Path, curve: str, jwk_says: str | None, header_says: str
) -> None:
    """RFC 9864 has a name for each curve, in place of EdDSA."""
    key, fields = CURVES[curve], {} if jwk_says is None else {"alg": curve if jwk_says == "curve" else jwk_says}
    keys = FileKeys(write(tmp_path / "keys", {"keys": [jwk("EdDSA", key, kid="a", **fields)]}))
    jws = jwt.PyJWS()
    jws.register_algorithm(curve, jwt.get_algorithm_by_name("EdDSA"))
    token = jws.encode(json.dumps(claims()).encode(), key, algorithm=curve if header_says == "curve" else "EdDSA")
    assert verifier(keys).verify(token).sub == "alice"
    other = "Ed448" if curve == "Ed25519" else "Ed25519"
    jws.register_algorithm(other, jwt.get_algorithm_by_name("EdDSA"))
    refused(jws.encode(json.dumps(claims()).encode(), key, algorithm=other), keys)


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", "null", None, 0])
def test_an_unsigned_token_is_refused(tmp_path: Path, name: Any) -> None:
    keys = FileKeys(write(tmp_path / "keys", public_pem(RSA)))
    for token in (forged({"alg": name}), forged({"alg": name}, SECRET.encode()), forged({})):
        refused(token)
        refused(token, keys)


def test_a_token_without_its_signature_is_refused() -> None:
    head, body, signature = mint(secret_key(SECRET), claims()).split(".")
    for token in (f"{head}.{body}.", f"{head}.{body}", f"{head}..{signature}", f".{body}.{signature}", ".."):
        refused(token)


def test_a_token_whose_claims_were_changed_is_refused() -> None:
    head, _, signature = mint(secret_key(SECRET), claims()).split(".")
    refused(f"{head}.{part(claims(sub='mallory')).decode()}.{signature}")


@pytest.mark.parametrize(
    "key",
    [make().encode(), b"", b"secret", SECRET[:-1].encode(), SECRET.lower().encode()],
    ids=["another", "none", "a word", "one that is cut", "one in lower case"],
)
def test_a_token_signed_with_another_secret_is_refused(key: bytes) -> None:
    refused(forged({"alg": "HS256"}, key))


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_token_signed_with_another_key_of_the_same_kind_is_refused(tmp_path: Path, algorithm: str) -> None:
    keys = FileKeys(write(tmp_path / "keys", public_pem(PRIVATE[algorithm])))
    others: dict[str, Any] = {
        "RS256": rsa.generate_private_key(public_exponent=65_537, key_size=2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }
    refused(jwt.encode(claims(), others[algorithm], algorithm=algorithm), keys)


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_public_key_is_never_used_as_a_secret(tmp_path: Path, algorithm: str) -> None:
    pem = public_pem(PRIVATE[algorithm])
    for content in (pem, {"keys": [jwk(algorithm, kid="one")]}):
        keys = FileKeys(write(tmp_path / "keys", content))
        for key in (pem, pem.strip(), json.dumps(jwk(algorithm)).encode()):
            for header in ({"alg": "HS256"}, {"alg": "HS256", "kid": "one"}, {"alg": algorithm, "kid": "one"}):
                refused(forged(header, key), keys)


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_the_secret_and_a_key_file_exclude_each_other(tmp_path: Path, algorithm: str) -> None:
    keys = FileKeys(write(tmp_path / "keys", public_pem(PRIVATE[algorithm])))
    refused(mint(secret_key(SECRET), claims()), keys)
    refused(jwt.encode(claims(), PRIVATE[algorithm], algorithm=algorithm))


@pytest.mark.parametrize(("algorithm", "digest"), [("HS384", "sha384"), ("HS512", "sha512")])
def test_the_secret_is_used_with_hs256_only(algorithm: str, digest: str) -> None:
    refused(forged({"alg": algorithm}, SECRET.encode() * 2, digest))
    refused(forged({"alg": algorithm}, SECRET.encode(), digest))


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_an_rsa_key_whose_algorithm_is_not_named_is_used_with_rs256_only(tmp_path: Path, algorithm: str) -> None:
    keys = FileKeys(write(tmp_path / "keys", public_pem(RSA)))
    refused(jwt.encode(claims(), RSA, algorithm=algorithm), keys)


def test_a_key_inside_a_token_is_ignored(tmp_path: Path) -> None:
    other = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    own = jwt.get_algorithm_by_name("RS256").to_jwk(other.public_key(), as_dict=True)
    keys = FileKeys(write(tmp_path / "keys", public_pem(RSA)))
    for header in ({"jwk": own}, {"jku": "http://127.0.0.1/keys"}, {"x5u": "http://127.0.0.1/"}, {"kid": "../keys"}):
        refused(jwt.encode(claims(), other, algorithm="RS256", headers=header), keys)


@pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"b64": False, "crit": ["b64"]}, {"kid": 5}])
def test_a_header_with_unknown_critical_fields_is_refused(header: dict[str, Any]) -> None:
    refused(forged({"alg": "HS256"} | header, SECRET.encode()))


def test_an_expired_token_is_refused() -> None:
    with pytest.raises(Unauthorized, match="expired"):
        verifier().verify(mint(secret_key(SECRET), claims(exp=int(time.time()) - 60)))


def test_a_token_above_the_limit_is_refused() -> None:
    token = mint(secret_key(SECRET), claims(rooms=["r" * 300]))
    assert verifier(max_bytes=len(token)).verify(token).sub == "alice"
    with pytest.raises(Unauthorized, match="longer"):
        verifier(max_bytes=len(token) - 1).verify(token)


@given(st.text() | st.text("abcdefghijklmnopqrstuvwxyzABCDEF0123456789-_.="))
def test_arbitrary_text_is_refused_without_another_error(text: str) -> None:
    refused(text)
    genuine = mint(secret_key(SECRET), claims())
    refused(text + genuine[: len(genuine) // 2])


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "x"]), st.none() | st.integers() | st.text())
)
def test_an_arbitrary_header_is_refused_without_another_error(header: dict[str, Any]) -> None:
    refused(forged(header, b"another"))


def rewrite(path: Path, content: bytes | dict[str, Any]) -> None:
    """Change a file and its time stamp, which some file systems keep coarsely."""
    before = path.stat().st_mtime_ns
    write(path, content)
    os.utime(path, ns=(before + 1_000_000, before + 1_000_000))


def test_a_key_file_is_reloaded_when_it_changes(tmp_path: Path) -> None:
    file = write(tmp_path / "keys", {"keys": [jwk("RS256", kid="old")]})
    verify = verifier(FileKeys(file)).verify
    old = jwt.encode(claims(), RSA, algorithm="RS256", headers={"kid": "old"})
    new = jwt.encode(claims(), ED25519, algorithm="EdDSA", headers={"kid": "new"})
    assert verify(old).sub == "alice"
    with pytest.raises(Unauthorized):
        verify(new)
    rewrite(file, {"keys": [jwk("RS256", kid="old"), jwk("EdDSA", kid="new")]})
    assert verify(old).sub == verify(new).sub == "alice"
    rewrite(file, {"keys": [jwk("EdDSA", kid="new")]})
    assert verify(new).sub == "alice"
    with pytest.raises(Unauthorized):
        verify(old)


def test_a_broken_key_file_is_logged_once_and_the_previous_keys_stay(
    tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    file = write(tmp_path / "keys", public_pem(RSA))
    verify = verifier(FileKeys(file)).verify
    token = jwt.encode(claims(), RSA, algorithm="RS256")
    rewrite(file, b"half a fi")
    expected_logs("mcp_actors.auth.tokens", "key file cannot be used, keeping the previous keys")
    assert [verify(token).sub for _ in range(3)] == ["alice"] * 3
    assert len(expected_logs.records) == 1
    file.unlink()
    assert verify(token).sub == "alice"
    write(file, public_pem(P256))
    assert verify(jwt.encode(claims(), P256, algorithm="ES256")).sub == "alice"


def test_a_token_that_names_no_key_is_accepted_only_if_there_is_one_key(tmp_path: Path) -> None:
    keys = FileKeys(write(tmp_path / "keys", {"keys": [jwk("RS256", kid="a"), jwk("EdDSA", kid="b")]}))
    refused(jwt.encode(claims(), RSA, algorithm="RS256"), keys)
    refused(jwt.encode(claims(), RSA, algorithm="RS256", headers={"kid": "b"}), keys)
    refused(jwt.encode(claims(), RSA, algorithm="RS256", headers={"kid": "c"}), keys)


UNUSABLE = {
    "'a': it is not for verifying signatures": jwk("RS256", kid="a", use="enc"),
    "'b': it is not for verifying signatures": jwk("RS256", kid="b", key_ops=["encrypt"]),
    "'c': its `alg` 'ES256' is not one for this type of key": jwk("RS256", kid="c", alg="ES256"),
    "'d': its `alg` 'RSA-OAEP' is not one for this type of key": jwk("RS256", kid="d", alg="RSA-OAEP"),
    "'e': its `alg` 'Ed448' is not one for this type of key": jwk("EdDSA", kid="e", alg="Ed448"),
    "'f': its type is not known, or it is broken (`kty` 'AKP')": {"kty": "AKP", "alg": "ML-DSA-44", "kid": "f"},
    "number 7: its type is not known, or it is broken (`kty` 'RSA')": {"kty": "RSA"},
    "'h': its RSA key has fewer than 2048 bits": jwk(
        "RS256",
        rsa.generate_private_key(public_exponent=65_537, key_size=1024),  # noqa: S505
        kid="h",
    ),
}
"""Keys that cannot verify tokens, by what is said about them."""


def test_a_key_that_cannot_be_used_is_ignored_and_named_with_the_reason(
    tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.auth.tokens", "key ignored")
    good = jwk("ES256", kid="good", use="sig", alg="ES256", key_ops=["verify"])
    assert list(read_keys(write(tmp_path / "keys", {"keys": [*UNUSABLE.values(), good]}))) == ["good"]
    told = [record.getMessage() for record in expected_logs.records]
    for text, expected in zip(told, UNUSABLE, strict=True):
        name, _, reason = expected.partition(": ")
        assert name in text
        assert reason in text


def test_a_file_without_a_key_that_can_be_used_says_why_for_each(tmp_path: Path, expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.auth.tokens", "key ignored")
    with pytest.raises(KeyFileError) as caught:
        FileKeys(write(tmp_path / "keys", {"keys": list(UNUSABLE.values())}))
    assert all(text in str(caught.value) for text in UNUSABLE)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "neither a public key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "neither a public key"),
        (private_pem(RSA), "neither a public key"),
        (b"{", "not a JWKS"),
        ({"keys": 5}, "not a JWKS"),
        ({"key": []}, "not a JWKS"),
        ({"keys": []}, "no key"),
        ({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}, "holds a secret"),
        ({"keys": [jwk("RS256", d="AQAB")]}, "holds a secret"),
        ({"keys": [jwk("RS256", kid=str(number)) for number in range(65)]}, "more than 64"),
        (public_pem(rsa.generate_private_key(public_exponent=65_537, key_size=1024)), "2048 bits"),  # noqa: S505
        (public_pem(ec.generate_private_key(ec.SECP224R1())), "not RSA, P-256, P-384"),
    ],
)
def test_an_unusable_key_file_is_an_error_that_says_why(
    tmp_path: Path, content: bytes | dict[str, Any], words: str
) -> None:
    with pytest.raises(KeyFileError, match=words):
        FileKeys(write(tmp_path / "keys", content))
