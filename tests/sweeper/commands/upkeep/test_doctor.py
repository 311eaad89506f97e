"""The findings of `sweeper doctor`: plugins, even if no sweep names them, and broken libraries."""

from pathlib import Path

import pytest

from sweeper.commands.upkeep import doctor
from sweeper.commands.upkeep.doctor import REGISTRIES, plugin_checks
from tests.support.plugins import install, write_distribution
from trainables import plugins


def test_a_damaged_plugin_is_bad_and_a_doubled_name_too(tmp_path, monkeypatch: pytest.MonkeyPatch):
    assert list(plugin_checks()) == []
    broken = {"sweeper.methods": {"sick": "sick_plugin:SICK", "mona": "sick_plugin:SICK"}}
    write_distribution(tmp_path, "sick", broken, {"sick_plugin": "1 / 0"})
    install(tmp_path, monkeypatch)
    try:
        doubled, sick = plugin_checks()
    finally:
        monkeypatch.undo()
        plugins.reread()
    assert sick[:2] == ("plugin method sick", "bad")
    assert "ZeroDivisionError" in sick[2]
    assert doubled[:2] == ("plugin method mona", "bad")
    assert "two plugins have this name" in doubled[2]


def test_a_library_that_does_not_load_is_bad_and_ends_nothing(monkeypatch: pytest.MonkeyPatch):
    def fail(name: str, home: Path) -> str | None:
        if name == "noise":
            raise OSError("libc.so.6: version `GLIBC_2.38' not found")
        return None

    monkeypatch.setattr(doctor, "proxy_faults", fail)
    checks = {what: (state, found) for what, state, found in doctor.proxy_checks()}
    told = "cannot be loaded: libc.so.6: version `GLIBC_2.38' not found"
    assert checks.pop("proxy noise") == ("bad", told)
    assert set(checks.values()) == {("ok", "present")}


def test_objects_of_every_group_are_imported() -> None:
    assert sorted(each.kind for each in REGISTRIES) == sorted(plugins.GROUPS.values())
