"""The HTTP surface under misuse: nothing breaks, nothing leaks, no vote changes."""

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from annotation_app.guard import BODY_LIMIT, Buckets
from annotation_app.keys import Keyring
from annotation_app.sessions import Session, Sessions
from tests.annotation_app.conftest import PLAIN, Served, count_votes, start_server, write_study

FUZZ = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from start_server(write_study(tmp_path_factory.mktemp("safe"), replace(PLAIN, watch=0.0), pairs=3))


@pytest.fixture(scope="module")
def working(served: Served) -> httpx.Client:
    client = served.client()
    client.post("/api/enter", json={"name": "Ann"})
    client.post("/api/consent", json={"agreed": True})
    client.post("/api/begin", json={})
    return client


@pytest.fixture(scope="module")
def stranger(served: Served) -> httpx.Client:
    return served.client()


def require_sober(reply: httpx.Response) -> None:
    assert reply.status_code < 500, reply.text[:300]
    assert "Traceback" not in reply.text
    assert 'File "' not in reply.text
    assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://[", "file://"])
def test_a_post_from_another_origin_is_refused(served: Served, working: httpx.Client, origin: str) -> None:
    token = working.get("/api/state").json()["state"]["token"]
    body = {"token": token, "choice": "left", "reasons": []}
    reply = working.post("/api/vote", json=body, headers={"origin": origin})
    assert reply.status_code == 403
    assert "access-control-allow-origin" not in reply.headers
    assert working.post("/api/vote", json=body, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert count_votes(served.database) == 0


def test_no_answer_may_be_read_by_another_origin(served: Served) -> None:
    for path in ("/", "/config", "/api/state"):
        reply = served.client().get(path, headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in reply.headers
        assert "access-control-allow-credentials" not in reply.headers
    reply = served.client().options("/api/vote", headers={"origin": "https://evil.example"})
    assert reply.status_code == 405


def test_a_name_that_is_not_ours_is_not_answered(served: Served) -> None:
    assert served.client().get("/api/state", headers={"host": "evil.example"}).status_code == 421


def test_too_large_a_body_is_refused_with_and_without_a_length(served: Served, working: httpx.Client) -> None:
    assert working.post("/api/vote", content=b"x" * (BODY_LIMIT + 1)).status_code == 413

    def stream() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 4096

    with contextlib.suppress(httpx.TransportError):  # that the connection is cut is an answer too
        assert working.post("/api/vote", content=stream()).status_code in (400, 413, 422)
    assert working.get("/api/state").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/upload"),
        ("POST", "/gradio_api/queue/join"),
        ("POST", "/gradio_api/call/vote"),
        ("POST", "/gradio_api/run/predict"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/file=/etc/passwd"),
        ("GET", "/gradio_api/queue/data?session_hash=x"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/redoc"),
        ("GET", "/monitoring"),
        ("GET", "/gradio_api/mcp/sse"),
        ("GET", "/static/../../study.db"),
    ],
)
def test_what_gradio_offers_besides_its_page_is_off(served: Served, method: str, path: str) -> None:
    reply = served.client().request(method, path)
    require_sober(reply)
    assert reply.status_code in (403, 404, 405, 401) or (path == "/docs" and "swagger" not in reply.text.lower())
    assert "root:" not in reply.text


def test_the_session_cookie_is_kept_from_scripts_and_other_sites(served: Served) -> None:
    cookie = served.client().post("/api/enter", json={"name": "x"}).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    sessions = Sessions(Keyring(b"k" * 32), secure=True)
    from fastapi import Response

    response = Response()
    sessions.set_cookie(response, Session(1, {}))
    assert "secure" in response.headers["set-cookie"].lower()


def test_forged_replayed_and_foreign_sessions_are_refused_with_a_message(served: Served) -> None:
    client = served.client()
    client.post("/api/enter", json={"name": "victim"})
    good = client.cookies["ti2v_session"]
    foreign = Sessions(Keyring(b"k" * 32), secure=False).token(Session(1, {}))
    for text in (good[:-2] + "xx", foreign, "", "a.b.c", "ü" * 20, good + good):
        reply = served.client().post(
            "/api/consent", json={"agreed": True}, headers={"cookie": f"ti2v_session={text}".encode()}
        )
        assert reply.status_code == 401
        assert "come in again" in reply.json()["message"]
    ghost = Sessions(served.store.keys, secure=False).token(Session(99_999, {}))
    reply = served.client().get("/api/state", headers={"authorization": f"Bearer {ghost}"})
    assert reply.status_code == 401


def test_the_pages_headers_keep_others_out(served: Served) -> None:
    page = served.client().get("/").headers
    assert "frame-ancestors 'none'" in page["content-security-policy"]
    assert "connect-src 'self'" in page["content-security-policy"]
    assert page["x-frame-options"] == "DENY"
    assert page["referrer-policy"] == "same-origin"
    assert "server" not in page


def test_a_flood_is_slowed_and_says_when_to_come_back(served: Served) -> None:
    client = served.client()
    client.post("/api/enter", json={"name": "flood"})
    replies = [client.get("/api/state") for _ in range(80)]
    limited = [reply for reply in replies if reply.status_code == 429]
    assert limited
    assert int(limited[0].headers["retry-after"]) >= 1
    other = served.client()
    assert other.post("/api/enter", json={"name": "calm"}).status_code == 200


def test_a_database_that_cannot_take_a_vote_now_is_said_and_the_vote_can_be_sent_again(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = served.client()
    client.post("/api/enter", json={"name": "unlucky"})
    client.post("/api/consent", json={"agreed": True})
    state = client.post("/api/begin", json={}).json()["state"]
    body = {"token": state["token"], "choice": "left", "reasons": []}

    def full(*_: object) -> None:
        raise OperationalError("COMMIT", {}, Exception("database or disk is full"))

    before = count_votes(served.database)
    with monkeypatch.context() as patch:
        patch.setattr("annotation_app.tasks.serve", full)  # after the vote's own statements: all is rolled back
        reply = client.post("/api/vote", json=body)
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        assert "disk" not in reply.text
        assert count_votes(served.database) == before
    undone = client.post("/api/broken", json={"token": state["token"], "which": "both"})
    assert undone.status_code == 200


def test_a_bucket_fills_again() -> None:
    buckets = Buckets(rate=1000, burst=2)
    assert [buckets.take("a") > 0 for _ in range(3)] == [False, False, True]
    assert buckets.take("b") == 0


def test_html_in_texts_and_names_is_shown_as_text() -> None:
    from annotation_app.ui import as_html

    assert "<script" not in as_html("<script>alert(1)</script> ${value} `x` {{y}}")
    assert "${" not in as_html("${globalThis}")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
fields = st.sampled_from(
    ["token", "choice", "reasons", "loops", "name", "agreed", "answers", "attempts_left", "which", "secret"]
)
bodies = st.dictionaries(
    fields, json_values | st.sampled_from(["left", "none", ["object_motion"], True, 0]), max_size=5
)
own_routes = st.sampled_from(
    ["vote", "broken", "undo", "enter", "consent", "begin", "check", "more", "leave", "simulated", "state", "x"]
)


@FUZZ
@given(route=own_routes, body=bodies | json_values)
def test_no_json_breaks_our_routes_or_makes_a_vote(
    served: Served, stranger: httpx.Client, route: str, body: object
) -> None:
    stranger.cookies.clear()
    require_sober(
        stranger.post(f"/api/{route}", content=json.dumps(body), headers={"content-type": "application/json"})
    )
    assert count_votes(served.database) == 0


@FUZZ
@given(
    route=own_routes,
    raw=st.binary(max_size=300),
    kind=st.sampled_from(["application/json", "text/plain", "multipart/form-data", "x"]),
)
def test_no_bytes_break_our_routes(
    served: Served, working: httpx.Client, stranger: httpx.Client, route: str, raw: bytes, kind: str
) -> None:
    token = working.cookies["ti2v_session"]
    headers = {"content-type": kind, "cookie": f"ti2v_session={token}"}
    if route not in ("leave", "begin"):
        stranger.cookies.clear()
        require_sober(stranger.post(f"/api/{route}", content=raw, headers=headers))
    assert count_votes(served.database) == 0


@FUZZ
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"]),
    path=st.sampled_from(
        [
            "/gradio_api/",
            "/media/",
            "/join/",
            "/admin/",
            "/prolific?PROLIFIC_PID=",
            "/mturk?turkSubmitTo=",
            "/",
            "/config/",
        ]
    ),
    rest=st.text(st.characters(codec="ascii", exclude_characters="#\\"), max_size=60),
    raw=st.binary(max_size=100),
)
def test_no_address_breaks_the_server(stranger: httpx.Client, method: str, path: str, rest: str, raw: bytes) -> None:
    from urllib.parse import quote

    stranger.cookies.clear()
    require_sober(stranger.request(method, path + quote(rest, safe="/%&=?"), content=raw if method == "POST" else None))


@pytest.mark.parametrize(
    "junk",
    [
        b"\x00\xff\x00\xff\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [\r\n\r\n",
        b"POST /api/vote HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ],
)
def test_raw_junk_on_the_socket_ends_the_connection_only(served: Served, junk: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection:
        connection.sendall(junk)
        reply = connection.recv(4096)
    assert b" 500 " not in reply.split(b"\r\n")[0]
    assert served.client().get("/health").status_code == 200
