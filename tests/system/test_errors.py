"""Errors are printed in one line per mistake, whatever a file's name or content adds to them."""

import pytest

from mpdit.system.errors import UserError, one_line, reason


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe × 3 − 1", "Größe × 3 − 1"),
        ("a\x1b[2Jb\r\tc", "a\\x1b[2Jb\\r\\tc"),  # which would clear a terminal
        ("caf\udce9", "caf\\udce9"),  # a name that is not UTF-8, as Python reads it
        ("right\u202eleft", "right\\u202eleft"),
    ],
)
def test_what_cannot_be_printed_is_escaped(text, shown):
    assert str(UserError(text)) == one_line(text) == shown


def test_only_messages_have_several_lines():
    assert str(UserError("one\ntwo")) == "one\ntwo"
    assert one_line("one\ntwo") == "one\\ntwo"


def test_what_an_error_says_is_one_line():
    assert reason(ValueError("two\n  lines")) == "two lines"
    assert reason(KeyError()) == "KeyError"
    assert reason(MemoryError()) == "out of memory"
