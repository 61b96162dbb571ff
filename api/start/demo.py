"""The demo's two extra processes: the simulated identity provider and the mail catcher."""

from __future__ import annotations

from api import logs, walls
from api.demo import mailbox
from api.demo.login import provider_app
from api.layout import Layout
from api.reach import reach_of
from api.settings import Settings
from api.sockets import Listener, TcpAddress, run
from issuer.clock import system_clock, system_random

LOOPBACK = "127.0.0.1"


def run_idp(settings: Settings) -> None:
    """Raises DemoDisabled outside demo mode, as the mail catcher does."""
    walls.enter("idp", reach=reach_of("idp", settings))
    logs.configure("idp", level=settings.server.log_level)
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
    walls.enter("mailbox", reach=reach_of("mailbox", settings))
    logs.configure("mailbox", level=settings.server.log_level)
    folder = Layout(settings.home_path).mailbox
    mailbox.run(settings.demo, folder, settings.demo.mailbox_port, system_clock)
