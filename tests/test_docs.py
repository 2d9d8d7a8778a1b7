"""The documentation says what the code says."""

import pytest

from scripts.make_docs import outdated


def test_the_generated_parts_are_up_to_date():
    if outdated():
        pytest.fail("run make docs", pytrace=False)
