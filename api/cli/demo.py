"""``mycert demo``: set-up, and tokens of the simulated provider. In demo mode only."""

from __future__ import annotations

import click

from api.cli.output import answer, settings
from api.demo.idp import DEFAULT_LIFETIME, SimulatedProvider
from api.demo.people import Person
from api.settings import home_folder
from issuer.clock import system_clock


@click.group()
def demo() -> None:
    """The demonstration: everything on this machine, the identity provider SIMULATED."""


@demo.command()
@click.pass_context
def setup(context: click.Context) -> None:
    """Make configuration, tokens, authorities and databases; keep what exists."""
    from api.demo.setup import prepare

    prepare(home_folder(), lambda line: click.echo(f"demo: {line}"))


@demo.command()
@click.option("--ehealth-id", default=Person().ehealth_id)
@click.option("--given-name", default=Person().given_name)
@click.option("--family-name", default=Person().family_name)
@click.option("--profession-code", default=Person().profession_code)
@click.option("--profession-label", default=Person().profession_label)
@click.option("--acr", default=Person().acr)
@click.option("--account-status", default=Person().account_status)
@click.option("--primary-identifier", default=Person().primary_identifier)
@click.option("--auth-age", type=int, default=0, help="Seconds since the log-in.")
@click.option("--lifetime", type=int, default=DEFAULT_LIFETIME, help="Seconds.")
@click.pass_context
def token(context: click.Context, /, auth_age: int, lifetime: int, **person: str) -> None:
    """Print a bearer token of the simulated provider; the manual's professional where nothing is said."""
    configured = settings(context)
    provider = SimulatedProvider(configured.demo, configured.identity, configured.home_path, system_clock)
    minted = provider.mint(Person(**person), auth_age=auth_age, lifetime=lifetime)
    answer(context, {"token": minted}, minted)
