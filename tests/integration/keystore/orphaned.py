"""An issuer with a job under way, for a test to kill: prints the pids of template and worker."""

from __future__ import annotations

import sys

from issuer.issuance.keystore.config import KeystoreConfig
from issuer.issuance.keystore.workshop import Workshop
from tests.fixtures.processes import MAY_BE_MISSING, children
from tests.integration.keystore.same_user import ORDER


def main() -> None:
    with Workshop(KeystoreConfig(allow_missing=MAY_BE_MISSING)) as workshop, workshop.open(ORDER):
        template = workshop.template_pid
        assert template is not None
        sys.stdout.write(f"{template} {children(template)[0]}\n")
        sys.stdout.flush()
        sys.stdin.readline()


if __name__ == "__main__":
    main()
