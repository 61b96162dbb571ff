"""A new token in a free slot, with its user PIN: the first act of a ceremony."""

from __future__ import annotations

import pkcs11
from pkcs11 import TokenFlag

from hsm.config import TokenConfig
from hsm.cryptoki import CKU_SO
from hsm.errors import TokenExists, TokenUnavailable
from hsm.module import Module, locked
from hsm.secret import Secret


def initialise_token(config: TokenConfig, so_pin: Secret, user_pin: Secret) -> str:
    """Initialise the first free slot as ``config.label``; the new token's serial number.

    A crash in between leaves a token without user PIN, which is refused from then on.
    Raises TokenExists where the label is taken, TokenUnavailable without a free slot.
    """
    module = Module.attach(config.module, config.vendor_arguments, config.environment)
    try:
        with module.alone(), locked(config.lock_file):
            if not module.initialised:
                module.renew()
            if module.tokens(config.label):
                raise TokenExists(f"token {config.label}: exists")
            free = [slot for slot in module.slots() if not _initialised(slot)]
            if not free:
                raise TokenUnavailable(f"token {config.label}: no free slot")
            module.initialise_token(free[0], config.label, so_pin)
            token = free[0].get_token()
            session = token.open(rw=True)
            try:
                module.log_in(session, CKU_SO, so_pin)
                module.initialise_pin(session, user_pin)
            finally:
                # The last session of the token: closing it logs the security officer out.
                session.close()
            return token.serial.decode()
    except pkcs11.PKCS11Error as error:
        raise TokenUnavailable(f"token {config.label}: {type(error).__name__} {error}") from error
    finally:
        module.detach()


def _initialised(slot: pkcs11.Slot) -> bool:
    try:
        return bool(slot.get_token().flags & TokenFlag.TOKEN_INITIALIZED)
    except (pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised):
        return True
