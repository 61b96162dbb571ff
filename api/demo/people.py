"""Sample professionals of the demo: the manual's, difficult names, and one for each closed gate."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from issuer.identity.config import ClaimNames


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What the simulated provider asserts; the defaults are the manual's professional."""

    ehealth_id: str = "2221212124"
    given_name: str = "EDOUARD"
    family_name: str = "GUERRA"
    profession_code: str = "PS-001"
    profession_label: str = "Médecin"
    acr: str = "luxtrust"
    account_status: str = "active"
    primary_identifier: str = "ehealthid"
    role: str = ""

    def claims(self, names: ClaimNames) -> dict[str, Any]:
        told = {getattr(names, name): value for name, value in asdict(self).items() if name != "role"}
        return told | ({names.roles: [self.role]} if self.role else {})


PEOPLE: dict[str, Person] = {
    "guerra": Person(),
    "compound-name": Person(
        ehealth_id="2221212132",
        given_name="MARIE-FRANÇOISE CHARLOTTE ALEXANDRINE",
        family_name="VAN DER STRAETEN-WAILLET DE LA ROCHEFOUCAULD",
    ),
    "accents": Person(ehealth_id="2221212140", given_name="ZOÉ", family_name="MÜLLER-GRÜNEWALD ŠŤASTNÁ"),
    "unknown-profession": Person(
        ehealth_id="2221212159",
        given_name="LUC",
        family_name="WAGNER",
        profession_code="PS-999",
        profession_label="",
    ),
    "suspended": Person(
        ehealth_id="2221212167", given_name="ANNE", family_name="SCHMIT", account_status="suspended"
    ),
    "password-login": Person(ehealth_id="2221212175", given_name="PAUL", family_name="WEBER", acr="password"),
    "not-primary": Person(
        ehealth_id="2221212183", given_name="SOPHIE", family_name="KLEIN", primary_identifier="matricule"
    ),
    "no-profession": Person(
        ehealth_id="2221212191",
        given_name="JEAN",
        family_name="THILL",
        profession_code="",
        profession_label="",
    ),
    "support": Person(
        ehealth_id="",
        given_name="CLAIRE",
        family_name="HOFFMANN",
        profession_code="",
        profession_label="",
        role="mycert-support",
    ),
}
