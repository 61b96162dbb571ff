"""The secret type, for those above the issuer, who have no business in ``hsm`` itself."""

from hsm.secret import Secret, SecretFileRefused

__all__ = ["Secret", "SecretFileRefused"]
