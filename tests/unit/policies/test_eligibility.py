from __future__ import annotations

from itertools import product

import pytest

from policies.eligibility import (
    EHealthIdNotPrimary,
    NotLuxtrust,
    Standing,
    check_eligible,
    check_owner,
    first_failed,
    judge,
)

FACTS = ("account_status_valid", "luxtrust", "ehealthid_primary", "health_professional")
GATES = ["account-valid", "luxtrust-authenticated", "ehealthid-primary", "health-professional"]
PROBLEMS = ["account-not-valid", "not-luxtrust", "ehealthid-not-primary", "not-health-professional"]


def standing(*facts: bool) -> Standing:
    return Standing(**dict(zip(FACTS, facts, strict=True)))


@pytest.mark.parametrize("facts", list(product([True, False], repeat=4)))
def test_every_gate_is_judged_by_its_own_fact_and_the_first_closed_one_counts(facts):
    gates = judge(standing(*facts))
    assert [gate.code for gate in gates] == GATES
    assert [gate.satisfied for gate in gates] == list(facts)
    failed = first_failed(gates)
    if all(facts):
        assert failed is None
        check_eligible(standing(*facts))
        return
    first = facts.index(False)
    assert failed is gates[first]
    with pytest.raises(failed.refusal) as caught:
        check_eligible(standing(*facts))
    assert caught.value.code == PROBLEMS[first]


@pytest.mark.parametrize("facts", list(product([True, False], repeat=4)))
def test_an_owner_needs_luxtrust_and_an_ehealth_id_alone(facts):
    person = standing(*facts)
    if person.luxtrust:
        check_owner(person, has_ehealth_id=True)
        with pytest.raises(EHealthIdNotPrimary):
            check_owner(person, has_ehealth_id=False)
    else:
        with pytest.raises(NotLuxtrust):
            check_owner(person, has_ehealth_id=True)
