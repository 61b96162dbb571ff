from __future__ import annotations

import msgspec
import pytest

from issuer.issuance.keystore.config import KeystoreConfig


def parse(**settings: object) -> KeystoreConfig:
    return msgspec.convert(settings, KeystoreConfig)


def test_the_defaults_allow_nothing_to_be_missing() -> None:
    config = parse()
    assert config.key_type == "rsa-3072"
    assert config.limits().allow_missing == ()
    assert config.workers >= 1


def test_the_worker_outlives_the_workshops_patience() -> None:
    config = parse(wall_seconds=10)
    assert config.limits().wall_seconds > config.wall_seconds


@pytest.mark.parametrize(
    "settings",
    [
        {"key_type": "rsa-1024"},
        {"kdf_rounds": 1_000},
        {"kdf_rounds": 300_001},
        {"wall_seconds": 0},
        {"wall_seconds": 121},
        {"memory_mib": 16},
        {"workers": 0},
        {"allow_missing": ["sandbox"]},
        {"attacks": True},
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        parse(**settings)
