from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkgrants.azure.manifest import read_manifest
from bulkgrants.azure.permissions import GRAPH, NAMES
from bulkgrants.azure.preflight import Finding, Weight, check_manifest
from bulkgrants.errors import Misconfigured
from bulkgrants.text import bounded

ROOT = Path(__file__).parents[3]
SAMPLE = json.loads((ROOT / "include/samples/azure-manifest.json").read_text(encoding="utf-8"))
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
US = "https://api.us.nylas.com"
REQUIRED = "Calendars.ReadWrite Mail.ReadWrite Mail.Send"

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["Role", "Scope", "Web", "0001-01-01T00:00:00+05:00", "9999-12-31", GRAPH])
    | st.sampled_from([one.permission_id for one in NAMES])
)
FIELDS = st.sampled_from(
    [
        "signInAudience",
        "accessTokenAcceptedVersion",
        "api",
        "requestedAccessTokenVersion",
        "web",
        "spa",
        "redirectUris",
        "replyUrlsWithType",
        "url",
        "type",
        "requiredResourceAccess",
        "resourceAppId",
        "resourceAccess",
        "id",
        "passwordCredentials",
        "endDateTime",
        "endDate",
        "keyId",
    ]
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(FIELDS | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=25,
)


def check_anything(value, required):
    try:
        manifest = read_manifest(json.dumps(value), name="any.json")
    except Misconfigured:
        return
    for finding in check_manifest(manifest, required=required, base_url=US, now=NOW):
        assert isinstance(finding, Finding)
        assert isinstance(finding.weight, Weight)
        assert 0 < len(finding.what) < 600
        assert 0 < len(finding.change) < 600
        assert finding.what == bounded(finding.what, 600)


@given(ANYTHING, st.text())
def test_any_json_leads_to_findings_or_misconfigured(value, required):
    check_anything(value, required)


@given(st.dictionaries(FIELDS, ANYTHING, max_size=8), st.text())
def test_any_fields_in_a_valid_manifest_give_findings_or_misconfigured(fields, required):
    check_anything({**SAMPLE, **fields}, required)


@given(st.data())
def test_any_value_anywhere_in_a_valid_manifest_gives_findings_or_misconfigured(data):
    value = copy.deepcopy(SAMPLE)
    parent, key = data.draw(st.sampled_from(list(places(value))))
    parent[key] = data.draw(ANYTHING)
    check_anything(value, REQUIRED)


def places(value):
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


@given(st.text())
def test_any_text_is_misconfigured(text):
    with pytest.raises(Misconfigured):
        read_manifest(text, name=text)
