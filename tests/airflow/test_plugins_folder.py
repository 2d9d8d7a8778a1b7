from __future__ import annotations

import os
import subprocess
import sys
import textwrap

LOAD = """
    import sys
    import http, json, logging, typing
    before = {name: module.__file__ for name, module in sys.modules.items()
              if name in {"http", "json", "logging", "typing"}}
    from airflow import plugins_manager
    plugins, errors = plugins_manager._get_plugins()
    ours = [plugin.name for plugin in plugins if "bulkgrants" in str(plugin.name)]
    assert errors == {}, errors
    assert ours == ["bulkgrants"], ours
    stems = {"provider", "connections", "settings", "defaults", "hooks", "nylas", "operators",
             "workspace", "reconcile", "credentials", "__init__"}
    leaked = stems & set(sys.modules)
    assert not leaked, leaked
    assert {name: sys.modules[name].__file__ for name in before} == before
    heavy = {"pandas", "aiohttp", "bulkgrants_airflow.hooks.nylas"} & set(sys.modules)
    print("LOADED", len(ours), sorted(heavy))
"""


def test_airflows_own_loader_finds_one_plugin_and_shadows_nothing():
    """In a process of its own, as this one has long imported everything."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(LOAD)],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "LOADED 1" in done.stdout
    assert "bulkgrants_airflow" not in done.stdout, "the plugin imports what is heavy"
