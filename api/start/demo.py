"""The demo's two extra processes: the simulated identity provider and the mail catcher."""

from __future__ import annotations

from api.demo import mailbox
from api.demo.login import provider_app
from api.layout import Layout
from api.settings import Settings
from api.sockets import Listener, TcpAddress, run
from api.start.beginning import begin
from issuer.clock import system_clock, system_random

LOOPBACK = "127.0.0.1"


def run_idp(settings: Settings) -> None:
    """Raises DemoDisabled outside demo mode, as the mail catcher does."""
    begin("idp", settings)
    app = provider_app(
        settings.demo,
        settings.identity,
        settings.home_path,
        address=f"http://{LOOPBACK}:{settings.demo.idp_port}",
        portal=settings.server.address,
        clock=system_clock,
        random=system_random,
    )
    run([Listener(app=app, address=TcpAddress(host=LOOPBACK, port=settings.demo.idp_port))])


def run_mailbox(settings: Settings) -> None:
    begin("mailbox", settings)
    folder = Layout(settings.home_path).mailbox
    mailbox.run(settings.demo, folder, settings.demo.mailbox_port, system_clock)
