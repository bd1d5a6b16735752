"""The administrator's password: only its scrypt hash is known to the server, from the environment."""

import base64
import hashlib
import hmac
import os
import secrets

from annotation_app.settings import StudyError

ADMIN_VARIABLE = "TI2V_BENCH_ADMIN_PASSWORD_HASH"
_COST, _BLOCK, _PARALLEL = 2**14, 8, 1
"""scrypt's N, r, p: about 16 MiB and some 50 ms for one try."""


def hash_password(password: str) -> str:
    """Text for ADMIN_VARIABLE.

    Raises:
        StudyError: shorter than eight characters.
    """
    if len(password) < 8:
        raise StudyError(f"The password has {len(password)} characters. Take at least 8.")
    salt = secrets.token_bytes(16)
    return f"scrypt:{base64.b64encode(salt).decode()}:{base64.b64encode(_scrypt(password, salt)).decode()}"


def admin_hash() -> str | None:
    """The hash in the environment; None: there is no admin page.

    Raises:
        StudyError: it is no hash.
    """
    text = os.environ.get(ADMIN_VARIABLE)
    if text is not None and _parts(text) is None:
        raise StudyError(f"{ADMIN_VARIABLE} holds no password hash. Make one with: ti2v-bench study password")
    return text


def password_matches(password: str, hashed: str) -> bool:
    """Whether `password` is the one that was hashed."""
    parts = _parts(hashed)
    return parts is not None and hmac.compare_digest(_scrypt(password, parts[0]), parts[1])


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_COST, r=_BLOCK, p=_PARALLEL)


def _parts(text: str) -> tuple[bytes, bytes] | None:
    name, _, rest = text.partition(":")
    salt, _, digest = rest.partition(":")
    try:
        found = base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)
    except ValueError:
        return None
    return found if name == "scrypt" and all(found) else None
