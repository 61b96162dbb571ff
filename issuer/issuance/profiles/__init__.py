"""The four profiles: parsed as ``ProfileConfig``, proven as ``Profile``.

Proven means: it keeps the rules of its role, and certificates of every key type it allows
were built by the real path and found free of findings. A profile that would not is refused
when the process starts, not when the first professional asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Final, Literal

import msgspec

from issuer.clock import Clock, RandomBytes
from issuer.issuance.config import PkiConfig, ProfileConfig
from issuer.issuance.errors import CertificateError, ProfileRefused
from issuer.issuance.keys import sample_public_key
from issuer.issuance.keystore.keypairs import KeyType, PublicKey, key_type_of
from issuer.issuance.subjects import Subject, admission, authority_name, person_name
from issuer.issuance.templates import Issuer, Template, build_template

ProfileName = Literal["root", "issuing", "ocsp", "professional"]

_LONGEST_DAYS: Final[dict[ProfileName, int]] = {
    "root": 7305,
    "issuing": 3653,
    "ocsp": 90,
    "professional": 1096,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Only ``load_profiles`` makes one."""

    name: ProfileName
    config: ProfileConfig
    pki: PkiConfig
    key_type: KeyType
    """What a key is where nobody asks for another type."""
    validity: timedelta

    def prepare(
        self,
        *,
        issuer: Issuer,
        key: PublicKey,
        now: datetime,
        random: RandomBytes,
        subject: Subject | None = None,
    ) -> Template:
        """A linted certificate without its signature; about 4 ms.

        ``subject`` is given for professionals and for nobody else. Raises SubjectRefused for
        a name that cannot stand in a certificate, LintRefused, ProfileRefused for a key
        type that the profile does not allow.
        """
        if key_type_of(key) not in self.config.key_types:
            raise ProfileRefused(f"{self.name}: {key_type_of(key)} is not among its key types")
        if self.name == "professional":
            if subject is None:
                raise ProfileRefused("professional: a certificate for nobody")
            name = person_name(self.pki, subject)
        else:
            name = authority_name(self.pki, self.name)
        more = (admission(self.config, subject),) if self.config.admission and subject is not None else ()
        return build_template(
            self.config,
            self.pki,
            profile=self.name,
            issuer=issuer,
            subject=name,
            key=key,
            validity=self.validity,
            now=now,
            random=random,
            more=more,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    root: Profile
    issuing: Profile
    ocsp: Profile
    professional: Profile


_SAMPLE = Subject(
    given_name="Zoé Anne",
    family_name="Müller-Lefèvre",
    ehealth_id="2221212124",
    profession_code="PS-001",
    profession_label=None,
)


def load_profiles(
    pki: PkiConfig, *, clock: Clock, random: RandomBytes, professional_key: KeyType | None = None
) -> Profiles:
    """Parse and prove the profiles, the operator's before those of myCert; raises ProfileRefused.

    ``professional_key`` is one of the key types of that profile, its first where nothing is said.
    """
    profiles = Profiles(
        root=_load("root", pki),
        issuing=_load("issuing", pki),
        ocsp=_load("ocsp", pki),
        professional=_load("professional", pki, professional_key),
    )
    now = clock()
    root = _sample_issuer("root", profiles.root)
    issuing = _sample_issuer("issuing", profiles.issuing)
    _prove(profiles.root, root, now, random)
    _prove(profiles.issuing, root, now, random)
    _prove(profiles.ocsp, issuing, now, random)
    _prove(profiles.professional, issuing, now, random)
    return profiles


def _load(name: ProfileName, pki: PkiConfig, key_type: KeyType | None = None) -> Profile:
    source = resources.files(__name__).joinpath(f"{name}.toml").read_bytes()
    if pki.profiles is not None and (own := Path(pki.profiles) / f"{name}.toml").exists():
        source = own.read_bytes()
    try:
        config = msgspec.toml.decode(source, type=ProfileConfig)
    except msgspec.MsgspecError as error:
        raise ProfileRefused(f"{name}: {error}") from None
    days = config.validity_days
    if name == "professional":
        days = pki.professional_validity_days or days
    if key_type is None and config.key_types:
        key_type = config.key_types[0]
    if key_type is None or key_type not in config.key_types:
        raise ProfileRefused(f"{name}: {key_type} is not among its key types")
    if not 1 <= days <= _LONGEST_DAYS[name]:
        raise ProfileRefused(f"{name}: a life of 1 to {_LONGEST_DAYS[name]} days")
    _check_role(name, config)
    return Profile(name=name, config=config, pki=pki, key_type=key_type, validity=timedelta(days=days))


def _check_role(name: ProfileName, config: ProfileConfig) -> None:
    """What no linter can know: which certificate may do what."""
    responder = "ocsp-signing" in config.extended_key_usage
    rules = {
        "only root and issuing are CAs, and both sign CRLs": (config.is_ca, "crl-sign" in config.key_usage)
        == (name in ("root", "issuing"),) * 2,
        "only the issuing CA has a path length, and it is 0": config.path_length
        == (0 if name == "issuing" else None),
        "only ocsp signs OCSP answers, and does nothing else": config.extended_key_usage == ("ocsp-signing",)
        if name == "ocsp"
        else not responder,
        "ocsp, and only ocsp, is exempt from revocation": config.ocsp_no_check == (name == "ocsp"),
        "the admission extension is for professionals": name == "professional" or not config.admission,
        "professionals are linted as natural persons": name != "professional"
        or config.lint == "ncp-natural-person",
    }
    for rule, kept in rules.items():
        if not kept:
            raise ProfileRefused(f"{name}: {rule}")


def _sample_issuer(name: Literal["root", "issuing"], profile: Profile) -> Issuer:
    return Issuer.itself(name, authority_name(profile.pki, name), sample_public_key(profile.key_type))


def _prove(profile: Profile, issuer: Issuer, now: datetime, random: RandomBytes) -> None:
    subject = _SAMPLE if profile.name == "professional" else None
    for key_type in profile.config.key_types:
        key = issuer.public_key if profile.name == "root" else sample_public_key(key_type)
        try:
            profile.prepare(issuer=issuer, key=key, now=now, random=random, subject=subject)
        except (CertificateError, ValueError) as error:
            raise ProfileRefused(f"{profile.name}: {error}") from error
