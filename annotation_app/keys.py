"""The study's key: pseudonyms, media addresses, cookies and codes are made from it. It lies outside the database."""

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from annotation_app.settings import StudyError

KEY_VARIABLE = "TI2V_BENCH_STUDY_KEY"
"""Environment variable that may hold the key (64 hex digits) instead of a file."""

MEDIA_LENGTH = 24
"""Letters of a task's random media part; the rest of an address is its keyed hash."""


@dataclass(frozen=True)
class Keyring:
    """Everything derived from one secret, each use with a domain of its own."""

    secret: bytes

    def _mac(self, domain: str, *parts: str) -> bytes:
        return hmac.new(self.secret, "\0".join((domain, *parts)).encode(), hashlib.sha256).digest()

    def check(self) -> str:
        """A value by which a study recognises its key."""
        return self._mac("check").hex()[:16]

    def pseudonym(self, door: str, identity: str) -> str:
        """What stands for a person in the database: the same for the same person and door, 80 bits."""
        return base64.b32encode(self._mac("annotator", door, identity)[:10]).decode().lower()

    def hashed(self, token: str) -> str:
        """What is kept of an invitation."""
        return self._mac("invite", token).hex()

    def media_id(self, media: str, slot: str) -> str:
        """Address of one of a task's files; `slot` (image, left, right) is a domain of its own."""
        return media + self._mac(f"media/{slot}", media).hex()[:24]

    def signing(self, purpose: str) -> bytes:
        """Key for signed cookies of one purpose."""
        return self._mac(f"signing/{purpose}")

    def completion_code(self, pseudonym: str) -> str:
        """The code that an annotator may type in where a platform cannot be told directly."""
        return base64.b32encode(self._mac("completion", pseudonym)[:5]).decode()


def create_key(path: Path) -> Keyring:
    """Draw a new key and write it to `path`, readable by its owner only.

    Raises:
        StudyError: the file exists.
    """
    secret = secrets.token_bytes(32)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secret.hex() + "\n")
    except FileExistsError as error:
        raise StudyError(f"{path} exists; a key is never overwritten. Move it or choose another study name.") from error
    return Keyring(secret)


def load_key(path: Path) -> Keyring:
    """Read the key from the environment or from `path`.

    Raises:
        StudyError: neither is there, or it is no key.
    """
    text = os.environ.get(KEY_VARIABLE)
    place = f"the environment variable {KEY_VARIABLE}" if text else str(path)
    try:
        text = text or path.read_text()
        secret = bytes.fromhex(text.strip())
    except OSError as error:
        raise StudyError(f"The study's key {path} cannot be read. Copy it back, or set {KEY_VARIABLE}.") from error
    except ValueError as error:
        raise StudyError(f"{place} holds no key (64 hex digits). Restore the study's own key.") from error
    if len(secret) != 32:
        raise StudyError(f"{place} holds {len(secret)} bytes, but a key has 32. Restore the study's own key.")
    return Keyring(secret)
