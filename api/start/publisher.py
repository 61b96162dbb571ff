"""The publisher process: it holds the OCSP signer's token, and asks the issuer for CRLs."""

from __future__ import annotations

from api.internal.publication import PublicationClient
from api.internal.publisher_app import build_publisher_app
from api.layout import Layout
from api.settings import Settings
from api.sockets import Listener, run
from api.start.beginning import begin
from api.start.checks import in_order
from issuer.clock import system_clock
from issuer.issuance.keys import public_key
from issuer.publisher.loop import Publisher
from issuer.publisher.responder import LiveResponder
from issuer.publisher.signer import Signer
from issuer.registry.database import Database
from issuer.tokens import Token


def main(settings: Settings) -> None:
    """Publish until SIGTERM. Refuses to start on a key or certificate that is not sound."""
    standing = begin("publisher", settings)
    layout = Layout(settings.home_path)
    token = Token.open(settings.hsm.status, settings.hsm.status.read_pin())
    certificate = layout.certificate("ocsp")
    database = Database(settings.database.registry, channel="registry", pool_size=8)
    signer = Signer(
        key=token.private_key("ocsp", public_key(certificate.public_key())),
        certificate=certificate,
        issuer=layout.certificate("issuing"),
        authority="issuing",
        database=database,
        config=settings.publisher,
        clock=system_clock,
    )
    door = PublicationClient(str(layout.socket("issuer-publisher")))
    publisher = Publisher(signer, door)
    app = build_publisher_app(
        responder=LiveResponder(signer),
        publisher=publisher,
        checks={"registry-database": in_order(database), "token": lambda: token.probe("ocsp")},
        shown={"walls": standing},
    )

    async def end() -> None:
        door.close()
        token.close()

    listener = Listener(app=app, address=layout.address("publisher"))
    run([listener], background=[publisher.run], on_stop=end)
