"""The units that docs/systemd.md shows are such that systemd has nothing to complain of."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "systemd.md"
UNIT = re.compile(r"^```ini\n# (?P<name>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def verify(program, directory: Path, units: dict[str, str]) -> str:
    """What systemd-analyze says of the units."""
    for name, text in units.items():
        # A Python that there is, since it looks for the program.
        Path(directory, name).write_text(text.replace("/opt/app/bin/python", sys.executable))
    result = subprocess.run(
        [program("systemd-analyze"), "verify", *(str(directory / name) for name in units)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    # Of units of the machine itself it may complain as well.
    said = result.stdout + result.stderr
    return "".join(line for line in said.splitlines(True) if "app" in line)


def units() -> dict[str, str]:
    return {found["name"]: found["text"] for found in UNIT.finditer(PAGE.read_text("utf-8"))}


def test_units_of_the_documentation_are_in_order(program, tmp_path):
    found = units()
    assert set(found) == {"app.socket", "app-admin.socket", "app.service"}
    assert verify(program, tmp_path, found) == ""


def test_a_mistake_in_them_would_be_seen(program, tmp_path):
    found = units()
    found["app.service"] = found["app.service"].replace("WatchdogSec", "WatchDogSec")
    assert "Unknown key" in verify(program, tmp_path, found)


def test_names_in_the_units_are_those_of_the_example():
    text = PAGE.read_text("utf-8")
    for name in re.findall(r"FileDescriptorName=(\w+)", text):
        assert f'"systemd:{name}"' in text
