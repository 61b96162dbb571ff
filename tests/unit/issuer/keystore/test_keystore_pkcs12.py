"""The parameters are read back from the file itself, by a library that did not write it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
from asn1crypto import pkcs12
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from cryptography.x509 import load_der_x509_certificate

from issuer.issuance.keystore.keypairs import KeyPair, generate, public_bytes
from issuer.issuance.keystore.pkcs12 import Profile, make_pkcs12
from tests.fixtures.throwaway import ThrowawayAuthority

PASSWORD = "K7QW2M9XHR4TZC8DVB5NGP3FYE"
ROUNDS = 3_000
PROFILES = get_args(Profile)


class Store:
    """One store of a profile, and what it was made of."""

    def __init__(self, profile: Profile) -> None:
        authority = ThrowawayAuthority()
        self.key: KeyPair = generate("p-256")
        self.leaf = load_der_x509_certificate(authority.certify(public_bytes(self.key.public_key())))
        self.issuing = load_der_x509_certificate(authority.certificate)
        self.der = make_pkcs12(
            self.key,
            self.leaf,
            [self.issuing],
            friendly_name="myCert 0000000001",
            password=PASSWORD,
            profile=profile,
            rounds=ROUNDS,
        )
        self.pfx = pkcs12.Pfx.load(self.der, strict=True)


@pytest.fixture(scope="module", params=PROFILES)
def any_store(request: pytest.FixtureRequest) -> Store:
    return Store(request.param)


def encryptions(store: Store) -> list[Any]:
    """The algorithm of the encrypted certificates, and that of the shrouded key."""
    found = []
    for content in store.pfx.authenticated_safe:
        if content["content_type"].native == "encrypted_data":
            found.append(content["content"]["encrypted_content_info"]["content_encryption_algorithm"])
        else:
            bags = pkcs12.SafeContents.load(content["content"].native)
            assert [bag["bag_id"].native for bag in bags] == ["pkcs8_shrouded_key_bag"]
            found.append(bags[0]["bag_value"]["encryption_algorithm"])
    assert len(found) == 2
    return found


def test_modern_is_pbes2_with_aes_256_and_hmac_sha_256() -> None:
    store = Store("modern")
    for algorithm in encryptions(store):
        assert algorithm["algorithm"].native == "pbes2"
        parameters = algorithm["parameters"]
        assert parameters["encryption_scheme"]["algorithm"].native == "aes256_cbc"
        assert parameters["key_derivation_func"]["algorithm"].native == "pbkdf2"
        derivation = parameters["key_derivation_func"]["parameters"]
        assert derivation["prf"]["algorithm"].native == "sha256"
        assert derivation["iteration_count"].native == ROUNDS
        assert len(derivation["salt"].native) >= 8
    mac = store.pfx["mac_data"]
    assert mac["mac"]["digest_algorithm"]["algorithm"].native == "sha256"
    assert mac["iterations"].native == 2_048


def test_legacy_is_3des_with_sha_1() -> None:
    store = Store("legacy")
    for algorithm in encryptions(store):
        assert algorithm["algorithm"].native == "pkcs12_sha1_tripledes_3key"
        assert algorithm["parameters"]["iterations"].native == ROUNDS
    mac = store.pfx["mac_data"]
    assert mac["mac"]["digest_algorithm"]["algorithm"].native == "sha1"
    assert mac["iterations"].native == 2_048


def test_is_der_and_holds_nothing_in_the_clear(any_store: Store) -> None:
    assert any_store.pfx.dump(force=True) == any_store.der
    assert b"Jeanne Muller" not in any_store.der
    assert PASSWORD.encode() not in any_store.der


def test_cryptography_reads_key_leaf_and_chain(any_store: Store) -> None:
    read = load_pkcs12(any_store.der, PASSWORD.encode())
    assert read.cert is not None
    assert read.key is not None
    assert read.cert.certificate == any_store.leaf
    assert read.cert.friendly_name == b"myCert 0000000001"
    assert [extra.certificate for extra in read.additional_certs] == [any_store.issuing]
    assert read.key.public_key() == any_store.key.public_key()


def test_openssl_reads_key_leaf_and_chain(any_store: Store, tmp_path: Path) -> None:
    file = tmp_path / "store.p12"
    file.write_bytes(any_store.der)
    command = ["openssl", "pkcs12", "-in", str(file), "-passin", "stdin", "-nodes", "-legacy"]
    output = subprocess.run(command, input=PASSWORD, capture_output=True, text=True, check=True).stdout
    assert output.count("BEGIN CERTIFICATE") == 2
    assert output.count("BEGIN PRIVATE KEY") == 1
    assert "friendlyName: myCert 0000000001" in output
    # localKeyID stands on the key and on the leaf, the same, and not on the issuing CA.
    ids = [line.strip() for line in output.splitlines() if "localKeyID" in line]
    assert len(ids) == 2
    assert ids[0] == ids[1]


def test_openssl_refuses_another_password(any_store: Store, tmp_path: Path) -> None:
    file = tmp_path / "store.p12"
    file.write_bytes(any_store.der)
    command = ["openssl", "pkcs12", "-in", str(file), "-passin", "stdin", "-nodes", "-legacy"]
    result = subprocess.run(command, input=PASSWORD[::-1], capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "invalid password" in result.stderr


def test_every_store_has_salts_of_its_own(any_store: Store) -> None:
    salts = [any_store.pfx["mac_data"]["mac_salt"].native]
    for algorithm in encryptions(any_store):
        parameters = algorithm["parameters"]
        if algorithm["algorithm"].native == "pbes2":
            parameters = parameters["key_derivation_func"]["parameters"]
        salts.append(parameters["salt"].native)
    assert len(set(salts)) == 3
