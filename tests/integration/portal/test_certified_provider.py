"""The log-in against oidc-provider, a certified OpenID Connect provider (Node.js, tests/oidc)."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from api.portal.config import PortalConfig
from issuer.clock import system_clock
from issuer.identity.assertion import AssertionVerifier
from issuer.identity.config import IdentityConfig
from issuer.identity.keys import provider_keys
from tests.fixtures.processes import wait_until
from tests.fixtures.system import free_ports
from tests.fixtures.world import World
from tests.integration.portal.conftest import Portal, make_portal

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[2] / "oidc"
SECRET = b"s3cret & more: +/=%"
CLAIMS = {
    "account_status": "active",
    "primary_identifier": "ehealthid",
    "ehealth_id": "2221212124",
    "given_name": "EDOUARD",
    "family_name": "GUERRA",
    "profession_code": "PS-001",
    "profession_label": "Médecin",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("oidc")
    for name in ("package.json", "package-lock.json", ".npmrc", "provider.js"):
        shutil.copy(HERE / name, folder)
    subprocess.run(["npm", "ci", "--silent"], cwd=folder, check=True, capture_output=True)
    return folder


@dataclass
class Login:
    portal: Portal
    person_file: Path
    base: str
    provider: str

    def be(self, *, acr: str = "luxtrust", age: int = 0, deny: bool = False, **claims: Any) -> None:
        document = {"acr": acr, "age": age, "deny": deny, "claims": CLAIMS | claims}
        self.person_file.write_text(json.dumps(document))

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.base, follow_redirects=True, trust_env=False, timeout=60)


@pytest.fixture
def login(installed: Path, tmp_path: Path, world: World) -> Iterator[Login]:
    web = free_ports(2)  # Two searches could find the same.
    idp = web + 1
    base, provider = f"http://127.0.0.1:{web}", f"http://127.0.0.1:{idp}"
    identity = IdentityConfig(
        issuer=provider, audience="mycert", jwks_url=f"{provider}/jwks", max_auth_age=900
    )
    world.clock.now = datetime.now(UTC)
    person_file, secret_file = tmp_path / "person.json", tmp_path / "secret"
    secret_file.touch(mode=0o600)
    secret_file.write_bytes(SECRET)
    command = ["node", "provider.js", str(idp), base, str(person_file)]
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(
            subprocess.Popen(
                command, cwd=installed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        )
        stack.callback(node.terminate)
        assert node.stdout is not None
        assert node.stdout.readline().strip() == "ready"
        portal = make_portal(
            world,
            address=base,
            identity=identity,
            config=PortalConfig(
                discovery_url=f"{provider}/.well-known/openid-configuration",
                client_secret_file=str(secret_file),
            ),
            verifier=AssertionVerifier(identity, provider_keys(identity, system_clock), system_clock),
        )
        stack.callback(portal.desk.provider.close)
        server = uvicorn.Server(uvicorn.Config(portal.app, port=web, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run)
        thread.start()
        stack.callback(thread.join)
        stack.callback(setattr, server, "should_exit", True)
        wait_until(lambda: server.started)
        made = Login(portal=portal, person_file=person_file, base=base, provider=provider)
        made.be()
        yield made


def test_log_in_step_up_and_log_out_at_both_ends(login: Login) -> None:
    with login.browser() as browser:
        home = browser.get("/login?to=/faq")
        assert str(home.url) == f"{login.base}/faq"
        assert "EDOUARD GUERRA" in home.text
        assert [name for name in browser.cookies if name == "mycert-login"] == []
        # Log in again where the provider remembers the person: at once, and by force.
        assert "EDOUARD GUERRA" in browser.get("/login").text
        assert "EDOUARD GUERRA" in browser.get("/login?again=true").text
        page = browser.get("/")
        token = page.text.split('name="form_token" value="')[1].split('"')[0]
        out = browser.post("/logout", data={"form_token": token}, headers={"Origin": login.base})
        assert str(out.url).startswith(f"{login.provider}/session/end")
        assert "EDOUARD" not in browser.get("/").text


def test_the_providers_log_out_ends_our_session(login: Login) -> None:
    with login.browser() as browser:
        assert "EDOUARD GUERRA" in browser.get("/login").text
        end = browser.get(f"{login.provider}/session/end")
        form = end.text.split('name="xsrf" value="')[1].split('"')[0]
        browser.post(f"{login.provider}/session/end/confirm", data={"xsrf": form, "logout": "yes"})
        wait_until(lambda: "EDOUARD GUERRA" not in browser.get("/").text)


def test_who_is_not_of_luxtrust_sees_the_gate(login: Login) -> None:
    login.be(acr="password")
    with login.browser() as browser:
        page = browser.get("/login").text
        assert "Vous n'êtes pas authentifié via LuxTrust" in page.replace("&#39;", "'")
        assert "Je demande mon magasin de certificat" not in page


def test_turning_away_is_no_log_in(login: Login) -> None:
    login.be(deny=True)
    with login.browser() as browser:
        refused = browser.get("/login")
        assert refused.status_code == 400
        assert "La connexion n'a pas abouti" in refused.text


def test_answers_that_are_not_ours(login: Login) -> None:
    with login.browser() as browser, login.browser() as other:
        start = browser.get("/login", follow_redirects=False)
        callback = start.headers["location"]
        while not callback.startswith(login.base):
            step = browser.get(callback, follow_redirects=False)
            callback = str(httpx.URL(login.provider).join(step.headers["location"]))
        assert callback.startswith(f"{login.base}/login/callback?code=")
        # Another browser, another state, another issuer: each is refused, and the code stays unspent.
        assert other.get(callback).status_code == 400
        assert browser.get(callback.replace("state=", "state=x")).status_code == 400
        wrong = callback.split("&iss=")[0] + "&iss=https%3A%2F%2Fevil.example"
        assert browser.get(wrong).status_code == 400
        assert "EDOUARD GUERRA" in browser.get(callback).text
        # And spent it is worth nothing more.
        assert other.get(callback).status_code == 400
        assert str(browser.get(callback).url) == f"{login.base}/"


@pytest.mark.parametrize("token", ["", "none", "e30.e30.x"])
def test_logout_tokens_that_are_none(login: Login, token: str) -> None:
    with login.browser() as browser:
        assert "EDOUARD GUERRA" in browser.get("/login").text
        assert browser.post("/login/ended", data={"logout_token": token}).status_code == 400
        assert "EDOUARD GUERRA" in browser.get("/").text
