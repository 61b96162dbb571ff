"""What every process knows of tokens and secrets; for those above the issuer, with no business in ``hsm``.

Nothing here loads PKCS#11; a token itself comes from ``issuer.tokens``.
"""

from hsm.config import TokenConfig
from hsm.errors import HsmError, TokenExists, TokenUnavailable
from hsm.secret import Secret, SecretFileRefused

__all__ = ["HsmError", "Secret", "SecretFileRefused", "TokenConfig", "TokenExists", "TokenUnavailable"]
