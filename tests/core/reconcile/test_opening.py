"""What a run may do, given the roster that there is."""

from datetime import date, timedelta
from itertools import product

import pytest

from bulkgrants.errors import Unavailable
from bulkgrants.model import Mode
from bulkgrants.reconcile.opening import Admission, RosterState, admit

D1, D2, D3 = date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)
EARLIER = "This run is for 2026-03-01, but the newest roster is 2026-03-02."
OLDER = "Roster 2026-03-03 has already been applied, and 2026-03-02 is older."
CURRENT = "The roster is a current table, which does not show 2026-03-01."
NOT_YET = (
    "The roster has no partition for 2026-03-03 yet, the newest is 2026-03-02; "
    "load it, and this task will continue by itself."
)


def state(day=D2, today=D2, *, exact=True, dated=True, newest=D2, hours=0, undated=""):
    return RosterState(
        day, today, exact=exact, dated=dated, newest=newest, overdue=timedelta(hours=hours),
        undated=undated,
    )  # fmt: skip


CASES = [
    # a roster with a partition for each day
    (state(), None, Admission(D2, Mode.APPLY, "")),
    (state(), D1, Admission(D2, Mode.APPLY, "")),
    (state(), D2, Admission(D2, Mode.APPLY, "")),
    (state(), D3, Admission(D2, Mode.AUDIT, OLDER)),
    (state(day=D1), None, Admission(D1, Mode.AUDIT, EARLIER)),
    (state(day=D1, exact=False), None, Admission(D1, Mode.AUDIT, EARLIER)),
    (state(day=D1), D3, Admission(D1, Mode.AUDIT, EARLIER)),
    (state(day=D3, today=D3, exact=False), None, Admission(D2, Mode.APPLY, "")),
    (state(day=D3, today=D3, exact=False), D2, Admission(D2, Mode.APPLY, "")),
    (state(day=D3, today=D3, exact=False), D3, Admission(D2, Mode.AUDIT, OLDER)),
    # a current table
    (state(dated=False, newest=None), None, Admission(None, Mode.APPLY, "")),
    (state(dated=False, newest=None), D3, Admission(None, Mode.APPLY, "")),
    (state(D1, dated=False, newest=None, hours=23.9), None, Admission(None, Mode.APPLY, "")),
    (state(D1, dated=False, newest=None, hours=24), None, Admission(None, Mode.AUDIT, CURRENT)),
    (
        state(D1, exact=False, dated=False, newest=None, hours=99),
        None,
        Admission(None, Mode.APPLY, ""),
    ),
    (state(D3, dated=False, newest=None), None, Admission(None, Mode.APPLY, "")),
]


@pytest.mark.parametrize(("roster", "newest_applied", "admission"), CASES)
def test_each_situation_allows_what_it_should(roster, newest_applied, admission):
    assert admit(Mode.APPLY, roster, newest_applied) == admission


@pytest.mark.parametrize("mode", [Mode.DRY_RUN, Mode.AUDIT])
@pytest.mark.parametrize(("roster", "newest_applied", "admission"), CASES)
def test_no_run_may_do_more_than_it_was_started_for(roster, newest_applied, admission, mode):
    wanted = mode if admission.mode is Mode.APPLY else Mode.AUDIT
    expected = Admission(admission.roster_date, wanted, admission.reason)
    assert admit(mode, roster, newest_applied) == expected


def test_a_partition_that_is_not_there_yet_is_waited_for():
    with pytest.raises(Unavailable) as waiting:
        admit(Mode.APPLY, state(day=D3, today=D3), None)
    assert str(waiting.value) == NOT_YET
    assert waiting.value.after == 600


@pytest.mark.parametrize("exact", [True, False])
def test_a_dated_roster_that_was_emptied_is_waited_for(exact):
    with pytest.raises(Unavailable) as waiting:
        admit(Mode.APPLY, state(exact=exact, newest=None), None)
    assert str(waiting.value) == (
        "The roster has no partition; load one, and this task will continue by itself."
    )


def test_a_run_that_waits_says_which_rows_may_be_those_that_it_waits_for():
    with pytest.raises(Unavailable) as waiting:
        admit(Mode.APPLY, state(day=D3, today=D3, undated='1 row ("3.3.", "t", "a")'), None)
    assert str(waiting.value) == f'{NOT_YET} No date can be read in 1 row ("3.3.", "t", "a").'


def test_a_roster_older_than_the_newest_applied_one_is_never_applied():
    days = (D1, D2, D3)
    for day, today, newest, applied, exact in product(days, days, days, days, (True, False)):
        try:
            admission = admit(Mode.APPLY, state(day, today, exact=exact, newest=newest), applied)
        except Unavailable:
            continue
        if admission.mode is Mode.APPLY:
            assert admission.roster_date == newest >= applied
            assert day >= newest
            assert not admission.reason
