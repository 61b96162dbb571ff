"""``mycert serve`` and the processes that it starts, each a command of its own."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from api import logs
from api.accounts import Account, Users, settle_users
from api.cli.output import answer, settings
from api.layout import Layout
from api.processes import Process, Readiness, ServeRefused, Supervisor, open_log
from api.settings import Settings
from api.sockets import TcpAddress, UnixAddress

_ENDS = {"web": 0, "mailer": 1, "status": 1, "publisher": 1}
"""Web first, for it takes the work; last who only answers: the issuer, and the demo's two."""


@click.command()
@click.pass_context
def serve(context: click.Context) -> None:
    """Start every process, keep each alive, end them together on SIGTERM or SIGINT."""
    configured = settings(context)
    layout = Layout(configured.home_path)
    needs = [Path(token.module) for token in (configured.hsm.issuing, configured.hsm.status)]
    if config := os.environ.get("MYCERT_CONFIG"):
        needs.append(Path(config).absolute())
    with contextlib.suppress(ValueError, OSError):
        # Workers lock their memory, and a system user's limit is too small for that. Root may raise
        # it where it has that capability; where it has not, the workers' report says what is missing.
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    users = settle_users(layout.home, needs=needs)
    with open_log(layout.log("serve")) as log:
        logs.configure("serve", level=configured.server.log_level, stream=log)
        _supervise(configured, layout, users)


def _supervise(configured: Settings, layout: Layout, users: Users) -> None:
    supervisor = Supervisor(
        processes=_processes(configured, layout, users.accounts),
        home=layout.home,
        lock=layout.serve_lock,
        log_path=layout.log,
        say_aloud=click.echo,
        on_ready=lambda: click.echo(_banner(configured, layout, users.missing)),
        users_missing=users.missing,
    )
    try:
        supervisor.run()
    except ServeRefused as error:
        raise click.ClickException(str(error)) from None


def _processes(configured: Settings, layout: Layout, accounts: Mapping[str, Account]) -> list[Process]:
    server = configured.server
    ready = {
        "issuer": Readiness(address=UnixAddress(path=layout.socket("issuer-web"), peers=frozenset())),
        "publisher": Readiness(address=UnixAddress(path=layout.socket("publisher"), peers=frozenset())),
        "status": Readiness(address=TcpAddress(host=server.status_host, port=server.status)),
        "web": Readiness(address=TcpAddress(host=server.host, port=server.port)),
    }
    names = ["issuer", "publisher", "status", "mailer", "web"]
    if configured.demo.enabled:
        provider = TcpAddress(host="127.0.0.1", port=configured.demo.idp_port)
        ready["idp"] = Readiness(address=provider, path="/")
        names = ["idp", "mailbox", *names]
    environment = {"MYCERT_HOME": str(layout.home)}
    if config := os.environ.get("MYCERT_CONFIG"):
        environment["MYCERT_CONFIG"] = str(Path(config).absolute())
    return [
        Process(
            name=name,
            argv=(sys.executable, "-m", "api.cli", name),
            account=accounts.get(name),
            ready=ready.get(name),
            environment=environment,
            ends=_ENDS.get(name, 2),
        )
        for name in names
    ]


def _banner(configured: Settings, layout: Layout, missing: str | None) -> str:
    server = configured.server
    lines = [
        "",
        f"  myCert serves on     http://{server.host}:{server.port}",
        f"  status (CRL, OCSP)   http://{server.status_host}:{server.status}/pki/",
        f"  API description      http://{server.host}:{server.port}/schema/openapi.json",
        f"  users                {'one each' if missing is None else 'missing: ' + missing}",
        f"  logs                 {layout.logs}",
    ]
    if configured.demo.enabled:
        from api.demo.people import PEOPLE

        lines += [
            f"  mails land in        {layout.mailbox}",
            "  a bearer token       bin/mycert demo token --help",
            "",
            "  This is a demonstration: the identity provider is SIMULATED and proves nobody.",
            "  Sample professionals:",
            *(
                f"    {name:<20} {p.ehealth_id or '–':<12} {p.given_name} {p.family_name}"
                for name, p in PEOPLE.items()
            ),
        ]
    return "\n".join([*lines, ""])


def _command(name: str, what: str, module: str, attribute: str) -> click.Command:
    @click.command(name=name, help=what)
    @click.pass_context
    def run(context: click.Context) -> None:
        import importlib

        getattr(importlib.import_module(module), attribute)(settings(context, name))

    return run


web = _command("web", "Serve portal and API.", "api.start.web", "main")
issuer = _command("issuer", "Serve the issuer's sockets; it alone signs.", "api.start.issuer", "main")
publisher = _command("publisher", "Publish CRLs and OCSP answers.", "api.start.publisher", "main")
mailer = _command("mailer", "Send what is in the outbox.", "api.start.mailer", "main")
idp = _command("idp", "The demo's SIMULATED identity provider.", "api.start.demo", "run_idp")
mailbox = _command("mailbox", "The demo's mail catcher.", "api.start.demo", "run_mailbox")


@click.group(invoke_without_command=True)
@click.pass_context
def status(context: click.Context) -> None:
    """Serve CRLs and OCSP answers."""
    if context.invoked_subcommand is None:
        from api.start import status as start

        start.main(settings(context, "status"))


@status.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--follow", is_flag=True, help="Stay, and write what changes until SIGTERM or SIGINT.")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.pass_context
def publish(context: click.Context, folder: Path, follow: bool, dry_run: bool) -> None:
    """Lay out CRLs, CA certificates and OCSP answers as files for a web server."""
    from api.start import status as start

    configured = settings(context, "status")
    if not dry_run:
        logs.configure("status-files", level=configured.server.log_level)
        start.publish(configured, folder, until_told=follow)
    said = "would be" if dry_run else "is"
    answer(context, {"folder": str(folder), "dry_run": dry_run}, f"everything {said} laid out below {folder}")
