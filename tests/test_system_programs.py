"""Programs that are no Python packages: how a machine gets them, and what it says where not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import system_programs

ROOT = Path(__file__).resolve().parent.parent


class Machine:
    """A machine of which only this folder of programs is known."""

    def __init__(self, folder: Path, monkeypatch):
        self.folder, self.calls = folder, folder / "calls"
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.delenv("SYSTEM", raising=False)
        self.become(0, monkeypatch)

    def become(self, user: int, monkeypatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: user)

    def has(self, program: str, exits: int = 0) -> None:
        path = self.folder / program
        path.write_text(f'#!/bin/sh\necho "{program} $*" >> "{self.calls}"\nexit {exits}\n')
        path.chmod(0o755)

    def called(self) -> str:
        return self.calls.read_text() if self.calls.exists() else ""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


class TestSystemPrograms:
    def test_root_with_apt_gets_them_without_being_asked(self, machine, capsys):
        machine.has("apt-get")
        system_programs.main()
        assert "install -y -qq --no-install-recommends bubblewrap chromium" in machine.called()
        assert "Installed bubblewrap and chromium" in capsys.readouterr().out

    def test_what_is_there_is_not_installed(self, machine, capsys):
        for program in ("apt-get", "bwrap", "google-chrome"):
            machine.has(program)
        system_programs.main()
        assert machine.called() == capsys.readouterr().out == ""

    def test_system_no_forbids_it(self, machine, monkeypatch, capsys):
        machine.has("apt-get")
        monkeypatch.setenv("SYSTEM", "no")
        system_programs.main()
        assert machine.called() == "" and "SYSTEM=no" in capsys.readouterr().out

    def test_another_user_is_told_the_command(self, machine, monkeypatch, capsys):
        machine.has("dnf")
        machine.become(1000, monkeypatch)
        system_programs.main()
        said = capsys.readouterr().out
        assert (
            machine.called() == "" and "sudo dnf install bubblewrap" in said and "skipped" in said
        )

    def test_a_manager_that_fails_is_said(self, machine, capsys):
        machine.has("apk", exits=1)
        system_programs.main()
        assert "apk could not install" in capsys.readouterr().out

    def test_a_sandbox_that_the_machine_forbids_is_no_sandbox(self, machine):
        machine.has("bwrap", exits=1)
        assert "forbids bubblewrap" in system_programs.trouble_with("bubblewrap")


@pytest.mark.parametrize(("ci", "word"), [("", "1 skipped"), ("true", "1 error")])
def test_what_needs_a_missing_program_is_skipped_aloud_and_fails_in_ci(tmp_path, ci, word):
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text("def test_it(bubblewrap): pass")
    (tmp_path / "pytest.ini").write_text("[pytest]")
    call = [sys.executable, "-m", "pytest", "-p", "no:nbval", "-p", "no:cacheprovider", "-q"]
    more = {"PATH": "/nowhere", "CI": ci, "PYTHONPATH": str(ROOT / "tools")}
    result = subprocess.run(
        call, cwd=tmp_path, env=os.environ | more, capture_output=True, text=True
    )
    assert word in result.stdout
    assert ci or "NOT TESTED: 1 tests, no bubblewrap here" in result.stdout
    assert "install bubblewrap" in result.stdout
