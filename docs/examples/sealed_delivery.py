"""A front end that shows nobody its user's password and file: not even the service that delivers them.

    python docs/examples/sealed_delivery.py http://127.0.0.1:8000 REQUEST CODE store.p12 < bearer-token

REQUEST stands in the state ``code-sent`` and CODE is what was mailed. Writes the PKCS#12 file, prints its
password. Needs httpx and cryptography; docs/delivery.md describes the format for other languages.
"""

from __future__ import annotations

import base64
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class Delivered(NamedTuple):
    password: str
    keystore: bytes


class SealedDelivery:
    """One delivery: one fresh key, which never leaves this object."""

    def __init__(self, api: httpx.Client, request: str) -> None:
        """``api`` has the base address and the bearer token."""
        self._api = api
        self._request = request
        self._key = X25519PrivateKey.generate()
        public = base64.urlsafe_b64encode(self._key.public_key().public_bytes_raw()).decode().rstrip("=")
        self._headers = {"Delivery-Key": public}

    def verify(self, code: str) -> None:
        """Can be repeated when an answer was lost."""
        answer = self._call("POST", "/verification", json={"code": code}).json()
        assert answer["delivery_token"] is None  # noqa: S101 - web made none, so it holds none

    def wait(self) -> str:
        """The store's id, once it is made; the service answers as soon as it is."""
        while True:
            request = self._call("GET", "", headers={"Prefer": "wait=30"}).json()
            if request["state"] == "ready":
                return str(request["store_id"])
            if request["state"] != "generating":
                raise RuntimeError(request["state"])
            time.sleep(0.2)

    def fetch(self, store: str) -> Delivered:
        sealed = self._call("POST", "/password").json()["sealed"]
        password = self._open(base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4)), "password", store)
        keystore = self._open(self._call("GET", "/keystore").content, "keystore", store)
        return Delivered(password.decode("ascii"), keystore)

    def complete(self) -> None:
        self._call("POST", "/completion")

    def _open(self, sealed: bytes, part: str, store: str) -> bytes:
        """Raises InvalidTag for what was not sealed for this part of this request's store."""
        return HPKE.decrypt(sealed, self._key, f"mycert/v1/{part}/{self._request}/{store}".encode())

    def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = self._headers | options.pop("headers", {})
        answer = self._api.request(
            method, f"/api/v1/requests/{self._request}{path}", headers=headers, **options
        )
        return answer.raise_for_status()


def main() -> None:
    address, request, code, file = sys.argv[1:]
    bearer = {"Authorization": f"Bearer {sys.stdin.read().strip()}"}
    with httpx.Client(base_url=address, headers=bearer, timeout=60) as api:
        delivery = SealedDelivery(api, request)
        delivery.verify(code)
        delivered = delivery.fetch(delivery.wait())
        Path(file).write_bytes(delivered.keystore)
        sys.stdout.write(delivered.password + "\n")
        delivery.complete()


if __name__ == "__main__":
    main()
