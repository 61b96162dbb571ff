"""Delivery over HTTP: the documented client's ciphertext, and two instances of web for one delivery."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from api.web.negotiation import PKCS12, SEALED
from tests.fixtures.processes import wait_until
from tests.fixtures.system import MYCERT, Caller, System, free_ports

CLIENT = Path(__file__).parents[3] / "docs" / "examples" / "sealed_delivery.py"


def test_the_documented_client_opens_what_web_cannot(system: System, tmp_path: Path) -> None:
    doctor = system.person("2221217401", given_name="LEA", family_name="BIVER")
    request, code = doctor.until_code("lea@example.com")
    file = tmp_path / "store.p12"
    command = [sys.executable, str(CLIENT), f"http://127.0.0.1:{system.port}", request, code, str(file)]
    done = subprocess.run(command, input=doctor.bearer, capture_output=True, text=True, check=True)
    assert load_pkcs12(file.read_bytes(), done.stdout.strip().encode()).key is not None
    assert doctor.call("GET", f"/requests/{request}").json()["state"] == "delivered"


def test_what_web_answers_under_a_key_is_ciphertext(system: System) -> None:
    specification = importlib.util.spec_from_file_location("sealed_delivery", CLIENT)
    assert specification is not None
    assert specification.loader is not None
    example = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(example)
    doctor = system.person("2221217402", given_name="MARC", family_name="KREMER")
    request, code = doctor.until_code("marc@example.com")
    bearer = {"Authorization": f"Bearer {doctor.bearer}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{system.port}", headers=bearer, timeout=60) as api:
        delivery = example.SealedDelivery(api, request)
        delivery.verify(code)
        delivery.verify(code)
        delivered = delivery.fetch(delivery.wait())
        key = {"Delivery-Key": delivery._headers["Delivery-Key"]}
        password = doctor.call("POST", f"/requests/{request}/password", headers=key)
        keystore = doctor.call("GET", f"/requests/{request}/keystore", headers=key | {"Accept": SEALED})
        unread = doctor.call("GET", f"/requests/{request}/keystore", headers=key | {"Accept": PKCS12})
    assert unread.status_code == 406
    assert list(password.json()) == ["sealed"]
    assert delivered.password not in password.text
    assert keystore.headers["content-type"] == "application/octet-stream"
    assert delivered.keystore[:64] not in keystore.content
    wrong = doctor.call("POST", f"/requests/{request}/password", headers={"Delivery-Key": "A" * 43})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "delivery-token-invalid")


@pytest.fixture
def second_web(system: System) -> Iterator[System]:
    """Another web process for the same home, as behind a load balancer."""
    port = free_ports(4)
    environment = system.environment | {"MYCERT_PORT": str(port), "MYCERT_STATUS_PORT": str(system.port + 1)}
    with (system.home / "log" / "second-web.log").open("wb") as log:
        process = subprocess.Popen([MYCERT, "web"], env=environment, stdout=log, stderr=log)
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}",
        timeout=30,
        trust_env=False,
        limits=httpx.Limits(max_keepalive_connections=0),
    ) as http:
        second = System(
            home=system.home, port=port, environment=environment, process=system.process, http=http
        )
        wait_until(lambda: _serves(http), 60)
        yield second
    process.terminate()
    assert process.wait(60) == 0


def _serves(http: httpx.Client) -> bool:
    try:
        return http.get("/health/live").status_code == 200
    except httpx.HTTPError:
        return False


def test_two_instances_of_web_serve_one_delivery(system: System, second_web: System) -> None:
    here = system.person("2221217403", given_name="ANNE", family_name="HOSS")
    there = Caller(second_web, here.bearer)
    request, code = here.until_code("anne@example.com")
    verified = there.call("POST", f"/requests/{request}/verification", json={"code": code})
    assert verified.status_code == 202, verified.text
    token = {"Delivery-Token": verified.json()["delivery_token"]}
    here.wait_for(request, "ready")
    passwords = {
        caller.call("POST", f"/requests/{request}/password", headers=token).json()["password"]
        for caller in (here, there)
    }
    files = {
        caller.call("GET", f"/requests/{request}/keystore", headers=token).content for caller in (here, there)
    }
    assert len(passwords) == len(files) == 1
    assert load_pkcs12(files.pop(), passwords.pop().encode()).key is not None
    assert there.call("POST", f"/requests/{request}/completion").status_code == 200
    gone = here.call("POST", f"/requests/{request}/password", headers=token)
    assert (gone.status_code, gone.json()["code"]) == (410, "delivery-expired")
