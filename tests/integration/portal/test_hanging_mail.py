"""Every thread that sends codes waits for a mail server that hangs: the pages go on answering."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from api.mail.transport import MailConfig, Transport
from policies.lifecycle import RequestState
from tests.fixtures.processes import wait_until
from tests.fixtures.smtp_gate import smtp_gate
from tests.integration.portal.conftest import Portal

MORE_THAN_THREADS = 40


@pytest.mark.parametrize("world_urls", ["sqlite"], indirect=True)
def test_the_pages_do_not_wait_with_those_who_wait_for_their_code(portal: Portal) -> None:
    world = portal.world
    person = world.person()
    path = f"/requests/{world.until_state(person, RequestState.TERMS_ACCEPTED).request_id}"
    browsers = [portal.browser().log_in(person) for _ in range(MORE_THAN_THREADS)]
    token = [browser.token() for browser in browsers]
    with smtp_gate() as hanging, ThreadPoolExecutor(MORE_THAN_THREADS) as threads:
        config = MailConfig(sender="mycert@test.invalid", port=hanging.port, security="none", timeout=60)
        world.steps.transport = Transport(config)
        sending = [
            threads.submit(browser.post, f"{path}/email", email="mon@adresse.lu", form_token=own)
            for browser, own in zip(browsers, token, strict=True)
        ]
        wait_until(lambda: hanging.taken >= 12)
        reader = portal.browser().log_in(world.person("2221212132"))
        for page in ("/", "/faq"):
            assert reader.get(page).status_code == 200
        assert reader.post("/requests").status_code == 303
        assert not all(one.done() for one in sending)
        hanging.close()
        assert {one.result().status_code for one in sending} <= {303, 429, 503}


@pytest.mark.parametrize("world_urls", ["sqlite"], indirect=True)
def test_nothing_runs_in_the_pool_that_all_would_share(portal: Portal) -> None:
    handlers = [handler for route in portal.app.routes for handler in getattr(route, "route_handlers", ())]
    assert len(handlers) > 30
    assert [handler.handler_name for handler in handlers if handler.sync_to_thread] == []
