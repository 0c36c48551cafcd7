"""The terminal pictures of the documentation show what the commands print now."""

import re
import xml.etree.ElementTree as ET

import pytest

from scripts import pictures

# conduit demo takes seconds, and tests/cli/test_demo.py looks at all that it shows.
QUICK = [name for name in pictures.ALL if name != "demo"]


def shape(text: str) -> str:
    """The text without what differs between two runs: numbers, hashes, bars, breaks of lines."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "#", text)
    text = re.sub(r"[0-9]+(?:[.:-][0-9]+)*", "0", text)
    return re.sub(r"[\s█▉▊▋▌▍▎▏▐╸╺━]+", " ", text.replace(" s ", " ms "))


def text_of(name: str) -> str:
    return (pictures.PICTURES / f"{name}.txt").read_text("utf-8")


@pytest.mark.parametrize("name", QUICK)
def test_picture_is_of_what_the_command_prints(name: str) -> None:
    command, printed = pictures.printed_by(pictures.ALL[name])
    assert shape(f"$ {command}\n{pictures.plain(printed)}") == shape(text_of(name))


@pytest.mark.parametrize("name", pictures.ALL)
def test_picture_is_of_its_text_and_needs_nothing_from_elsewhere(name: str) -> None:
    picture = (pictures.PICTURES / f"{name}.svg").read_text("utf-8")
    drawn = "".join(ET.fromstring(picture).itertext()).replace("\xa0", " ")
    for word in re.findall(r"[\w.:/']{4,}", text_of(name)):
        assert word in drawn
    assert not re.search(r"@import|url\(\s*http|href\s*=\s*.http", picture)


def test_every_picture_is_shown_somewhere() -> None:
    docs = pictures.PICTURES.parent
    shown = "".join(page.read_text("utf-8") for page in docs.rglob("*.md"))
    for name in pictures.ALL:
        assert f"pictures/{name}.svg" in shown


def test_shapes() -> None:
    assert shape("look up ████ 77 ms") == shape("look up █ 0.34 ms")
    assert shape("TLSv1.3") != shape("TLS")
