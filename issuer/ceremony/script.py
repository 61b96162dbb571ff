"""A ceremony's script: what is to be made, by whom signed, in which order. Reviewed before, kept after."""

from __future__ import annotations

from importlib import resources
from typing import Annotated, Final, Literal

import msgspec

from issuer.issuance.keystore.keypairs import KeyType
from policies.reasons import X509Reason

AuthorityName = Literal["root", "issuing"]
TokenName = Literal["root", "issuing", "status"]
# Plain names in the output folder: nothing else can be reached from a script.
FileName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,59}\.(cer|crl)\Z")]
KeyLabel = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
CeremonyName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}\Z")]

ARL_DAYS: Final = 365


class CeremonyRefused(Exception):
    """The script cannot be run, or not here, or not again. The message tells the officer what to do."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of the script: what is not known is refused."""


class AuthorityConfig(_Table, frozen=True, kw_only=True):
    """A CA of this ceremony, made by one of its steps or by an earlier one. The root signs the other."""

    token: TokenName
    key: KeyLabel
    certificate: FileName


class CaStep(_Table, frozen=True, kw_only=True, tag_field="make", tag="ca"):
    """A key pair and its certificate; a root signs itself."""

    authority: AuthorityName
    key_type: KeyType | None = None


class ResponderStep(_Table, frozen=True, kw_only=True, tag_field="make", tag="ocsp"):
    """An OCSP signer's certificate, for a new key or, on ``existing_key``, for the one it has."""

    authority: AuthorityName
    token: TokenName
    key: KeyLabel
    output: FileName
    key_type: KeyType | None = None
    existing_key: bool = False


class RevokedCertificate(_Table, frozen=True, kw_only=True):
    certificate: FileName
    reason: X509Reason


class CrlStep(_Table, frozen=True, kw_only=True, tag_field="make", tag="crl"):
    """The root's CRL. ``replace`` renews one: its entries stay, its number rises."""

    authority: AuthorityName
    output: FileName
    days: Annotated[int, msgspec.Meta(ge=1, le=ARL_DAYS)] = ARL_DAYS
    replace: bool = False
    revoke: tuple[RevokedCertificate, ...] = ()


Step = CaStep | ResponderStep | CrlStep


class CeremonyScript(_Table, frozen=True, kw_only=True):
    """Consistent where ``parse_script`` made it."""

    name: CeremonyName
    title: str
    operators: Annotated[int, msgspec.Meta(ge=1, le=9)] = 2
    """How many people must be named: four eyes unless the script says less."""
    authorities: dict[AuthorityName, AuthorityConfig]
    steps: Annotated[tuple[Step, ...], msgspec.Meta(min_length=1)]

    def signer_of(self, step: Step) -> AuthorityName | None:
        """Nobody above signs a root."""
        if not isinstance(step, CaStep):
            return step.authority
        return None if step.authority == "root" else "root"

    def output_of(self, step: Step) -> str:
        return self.authorities[step.authority].certificate if isinstance(step, CaStep) else step.output


def demo_script() -> bytes:
    """The demonstration's: the same code as any other, with one operator."""
    return resources.files(__package__).joinpath("demo.toml").read_bytes()


def parse_script(source: bytes) -> CeremonyScript:
    """Raises CeremonyRefused."""
    try:
        script = msgspec.toml.decode(source, type=CeremonyScript)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CeremonyRefused(f"script: {error}") from None
    _check(script)
    return script


def _check(script: CeremonyScript) -> None:
    for step in script.steps:
        _check_step(script, step)
    outputs = [script.output_of(step) for step in script.steps]
    if len(set(outputs)) < len(outputs):
        raise CeremonyRefused("script: two steps with one output")
    made: set[str] = set()
    to_be_made = {step.authority for step in script.steps if isinstance(step, CaStep)}
    for step in script.steps:
        needed = script.signer_of(step)
        if needed is not None and needed in to_be_made - made:
            raise CeremonyRefused(f"script: {script.output_of(step)} comes before the {needed} that signs it")
        if isinstance(step, CaStep):
            made.add(step.authority)


def _check_step(script: CeremonyScript, step: Step) -> None:
    needed = {step.authority, *([] if step.authority == "root" else ["root"])}
    if missing := needed - script.authorities.keys():
        raise CeremonyRefused(f"script: authorities.{missing.pop()} is missing")
    output = script.output_of(step)
    if output.endswith(".crl") != isinstance(step, CrlStep):
        raise CeremonyRefused(f"script: {output} has the wrong ending")
    if isinstance(step, CrlStep) and step.authority != "root":
        raise CeremonyRefused("script: only the root's CRL is made in a ceremony")
    if isinstance(step, CrlStep) and step.revoke and not step.replace:
        raise CeremonyRefused(f"script: {output}: a root's first CRL revokes nothing")
    if isinstance(step, ResponderStep) and step.authority == "root":
        raise CeremonyRefused("script: the root has no OCSP signer")
