"""All settings, assembled: each package defines its section, this module reads and joins them.

A TOML file (``MYCERT_CONFIG``, else ``$MYCERT_HOME/mycert.toml``), then the environment's
``MYCERT_<SECTION>__<KEY>``. Unknown keys are refused, and everything is validated before a
socket opens. In texts, ``{home}`` and ``{process}`` stand for the home folder and the
process that reads them.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from api.demo.config import DemoConfig
from api.journey.config import JourneyConfig
from api.mail.transport import MailConfig
from api.portal.config import PortalConfig
from api.status.config import StatusConfig
from issuer.identity.config import IdentityConfig
from issuer.issuance.config import IssuanceConfig, PkiConfig, RenewalConfig
from issuer.issuance.keystore.config import KeystoreConfig
from issuer.publisher.config import PublisherConfig
from issuer.secrets import TokenConfig

PREFIX = "MYCERT_"


class SettingsRefused(Exception):
    """The configuration cannot be used; the message says which key, and is for the operator."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ServerConfig(_Section, frozen=True, kw_only=True):
    """Where web and status listen; ``status_port`` 0 is the port after ``port``. ``public_url`` is what
    people's browsers call web, where a proxy stands before it; no path, no slash at its end."""

    host: str = "127.0.0.1"
    port: int = 8000
    status_host: str = "127.0.0.1"
    status_port: int = 0
    log_level: str = "INFO"
    public_url: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.public_url)
        if self.public_url and (parts.scheme not in ("http", "https") or not parts.netloc or parts.path):
            raise ValueError("server.public_url: scheme and host alone, such as https://mycert.example.lu")

    @property
    def address(self) -> str:
        return self.public_url or f"http://{self.host}:{self.port}"

    @property
    def status(self) -> int:
        return self.status_port or self.port + 1


class DatabaseConfig(_Section, frozen=True, kw_only=True):
    journey: str = "sqlite:///{home}/data/journey/journey.db"
    registry: str = "sqlite:///{home}/data/registry/registry.db"


class HsmSection(_Section, frozen=True, kw_only=True):
    """One token a purpose, each with its own PIN. No running process opens ``root``."""

    root: TokenConfig | None = None
    issuing: TokenConfig
    status: TokenConfig


class LimitsConfig(_Section, frozen=True, kw_only=True):
    calls_per_minute: int = 300
    """Of one professional."""


class Settings(_Section, frozen=True, kw_only=True):
    home: str
    server: ServerConfig = ServerConfig()
    database: DatabaseConfig = DatabaseConfig()
    identity: IdentityConfig
    hsm: HsmSection
    pki: PkiConfig = PkiConfig()
    issuance: IssuanceConfig = IssuanceConfig()
    keystore: KeystoreConfig = msgspec.field(default_factory=KeystoreConfig)
    publisher: PublisherConfig = PublisherConfig()
    status: StatusConfig = StatusConfig()
    journey: JourneyConfig
    renewal: RenewalConfig = RenewalConfig()
    mail: MailConfig
    limits: LimitsConfig = LimitsConfig()
    portal: PortalConfig | None = None
    """None: no pages, for an installation that has front ends of its own."""
    demo: DemoConfig = DemoConfig()

    def __post_init__(self) -> None:
        if self.issuance.bound >= self.journey.generation_bound:
            raise ValueError("issuance.bound: less than journey.generation_bound, when web gives up")

    @property
    def home_path(self) -> Path:
        return Path(self.home)


def home_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """``MYCERT_HOME``, absolute; the demo's folder where it is not set."""
    return Path(environment.get("MYCERT_HOME") or "var/demo").absolute()


def load(
    *, process: str = "cli", config: Path | None = None, environment: Mapping[str, str] = os.environ
) -> Settings:
    """Raises SettingsRefused, naming the key, never a value."""
    home = home_folder(environment)
    named = config or Path(environment.get("MYCERT_CONFIG") or home / "mycert.toml")
    try:
        document = tomllib.loads(named.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsRefused(f"{named}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsRefused(f"{named}: not TOML: {error}") from None
    document["home"] = str(home)
    _override(document, environment)
    _derive(document)
    try:
        # Twice, so that the defaults' placeholders are filled too.
        complete = msgspec.to_builtins(msgspec.convert(document, Settings, strict=False))
        return msgspec.convert(_fill(complete, home=str(home), process=process), Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsRefused(f"{named}: {error}") from None


def _override(document: dict[str, Any], environment: Mapping[str, str]) -> None:
    for key in ("port", "status_port"):
        if port := environment.get(PREFIX + key.upper()):
            document.setdefault("server", {})[key] = port
    for name, text in sorted(environment.items()):
        if not name.startswith(PREFIX) or "__" not in name:
            continue
        *sections, key = name.removeprefix(PREFIX).lower().split("__")
        place = document
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise SettingsRefused(f"{name}: {section} is not a section")
        place[key] = _value(name, text)


def _value(name: str, text: str) -> Any:
    """Lists and tables are written as JSON; everything else is taken as text and converted."""
    if not text.startswith(("[", "{")) or text.startswith("{home}"):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise SettingsRefused(f"{name}: not JSON") from None


def _derive(document: dict[str, Any]) -> None:
    """The demo's certificates name the status port that it serves on; its mails go to its own catcher."""
    demo, server = document.get("demo", {}), document.get("server", {})
    if str(demo.get("enabled", False)).lower() != "true":
        return
    try:
        port = int(server.get("port") or 8000)
        status_port = int(server.get("status_port") or 0) or port + 1
    except ValueError:
        raise SettingsRefused("server.port, server.status_port: a number") from None
    document.setdefault("pki", {}).setdefault("public_url", f"http://127.0.0.1:{status_port}")
    demo["idp_port"] = int(demo.get("idp_port") or 0) or port + 2
    demo["mailbox_port"] = int(demo.get("mailbox_port") or 0) or port + 3
    document.setdefault("portal", {}).setdefault(
        "discovery_url", f"http://127.0.0.1:{demo['idp_port']}/.well-known/openid-configuration"
    )
    document.setdefault("mail", {}).setdefault("port", demo["mailbox_port"])


def _fill(value: Any, **places: str) -> Any:
    if isinstance(value, str):
        for name, text in places.items():
            value = value.replace("{" + name + "}", text)
        return value
    if isinstance(value, dict):
        return {key: _fill(inner, **places) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, **places) for inner in value]
    return value
