"""Signed sessions: who an annotator is, and whether an administrator has logged in. Nothing is kept on the server."""

from dataclasses import dataclass

from fastapi import Request, Response
from itsdangerous import BadSignature, URLSafeTimedSerializer

from annotation_app.guard import SESSION_COOKIE, session_of
from annotation_app.keys import Keyring
from annotation_app.people import Refused

SESSION_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True)
class Session:
    """What an annotator's cookie says."""

    annotator: int
    visit: dict[str, str]
    """What the platform needs to hear at the end (MTurk's assignment); never stored in the database."""


class Sessions:
    """Writes and reads annotators' sessions with the study's key."""

    def __init__(self, keys: Keyring, secure: bool) -> None:
        self._signer = URLSafeTimedSerializer(keys.signing("session"), salt=keys.check())
        self._secure = secure

    def token(self, session: Session) -> str:
        """The session as text, for a cookie or a bearer header."""
        return str(self._signer.dumps([session.annotator, session.visit]))

    def set_cookie(self, response: Response, session: Session) -> None:
        """Give the browser its session."""
        response.set_cookie(
            SESSION_COOKIE,
            self.token(session),
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="lax",
            secure=self._secure,
        )

    def clear_cookie(self, response: Response) -> None:
        """Make the browser forget its session."""
        response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="lax", secure=self._secure)

    def read(self, request: Request) -> Session | None:
        """The request's session; None where there is none, it was forged, or it is over."""
        text = session_of({key: value.decode("latin-1") for key, value in request.scope["headers"]})
        try:
            number, visit = self._signer.loads(text, max_age=SESSION_SECONDS)
        except (BadSignature, ValueError, TypeError):
            return None
        return Session(number, visit)

    def require(self, request: Request) -> Session:
        """The request's session.

        Raises:
            Refused: there is none.
        """
        session = self.read(request)
        if session is None:
            raise Refused("Your session is over or was never begun. Please come in again.", "session")
        return session
