"""Behind a TLS proxy: the page works in a browser, and its cookies travel on TLS only."""

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from annotation_app.export import vote_table
from annotation_app.passwords import ADMIN_VARIABLE, hash_password
from tests.annotation_app.conftest import PLAIN, Served, free_port, start_server, write_study

PASSWORD = "correct horse battery"


class TlsProxy:
    """A stand-in for the proxy: ends TLS with a certificate of its own and passes the bytes on."""

    def __init__(self, folder: Path, port: int, target: int) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self_signed(folder))
        self._listener = socket.create_server(("127.0.0.1", port))
        self._context, self._target = context, target
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with (
                self._context.wrap_socket(plain, server_side=True) as outer,
                socket.create_connection(("127.0.0.1", self._target)) as inner,
            ):
                back = threading.Thread(target=pass_on, args=(inner, outer), daemon=True)
                back.start()
                pass_on(outer, inner)
                back.join()
        except OSError:  # the browser hung up
            return


def pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def self_signed(folder: Path) -> tuple[str, str]:
    certificate, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    subprocess.run([*command, *names, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, which makes the certificate of this test")
    folder, port = tmp_path_factory.mktemp("tls"), free_port()
    url = f"https://127.0.0.1:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ADMIN_VARIABLE, hash_password(PASSWORD))
        for served in start_server(write_study(folder, replace(PLAIN, per_annotator=1), pairs=2), public_url=url):
            proxy = TlsProxy(folder, port, served.port)
            yield served, url
            proxy.close()


@pytest.mark.browser
def test_a_vote_and_the_administrator_pass_through_tls_with_secure_cookies(
    behind: tuple[Served, str],
    browser,  # type: ignore[no-untyped-def]
) -> None:
    served, url = behind
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.goto(url)
    page.fill("#ti2v-name", "Enciphered")
    page.keyboard.press("Enter")
    page.click("[data-act=agree]")
    page.click("[data-act=begin]")
    page.wait_for_selector("[data-id=choiceSet]:not([disabled])")
    page.keyboard.press("b")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-stage=finished]:visible")
    assert vote_table(served.database)[["choice", "reasons"]].to_numpy().tolist() == [["right", "text_alignment"]]
    page.goto(f"{url}/admin")
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("h2:has-text('Annotators')")
    cookies = {cookie["name"]: cookie for cookie in context.cookies()}
    assert set(cookies) == {"ti2v_session", "ti2v_admin"}
    assert all(cookie["secure"] and cookie["httpOnly"] for cookie in cookies.values())
    assert cookies["ti2v_session"]["sameSite"] == "Lax"
    assert cookies["ti2v_admin"]["sameSite"] == "Strict"
    context.close()
