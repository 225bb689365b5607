"""Damaged and hostile files for fuzz tests: valid bytes and valid JSON, changed in a few places by hypothesis."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

NUMBERS = [0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**62, 2**63, 2**64 - 1]
SIZED_NUMBERS = [(number, size) for number in NUMBERS for size in (1, 2, 4, 8) if number < 256**size]
STORED_NUMBERS = [number.to_bytes(size, order) for number, size in SIZED_NUMBERS for order in ("little", "big")]
TEXTS = [
    b"0", b"-1", b"9" * 19, b"9" * 400, b"1e999", b"nan", b"..", b"/", b"\0", b"\xff\xfe", b"\n", b'"', b"[", b"{",
    b"]]]", "\u202e\u0660".encode(),
]  # fmt: skip
VALUES = [
    None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, -(10**400), 0.5, -0.0, 1e308, float("inf"), float("nan"), "",
    "x", "0", "1e-4", "a/b", "../../x", "a\nb", "a\0b", "\ud800", "x" * 300, [], [[]], [None], [1, "a"], {}, {"": 0},
    {"a": {"b": []}},
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, *originals: bytes) -> bytes:
    """One of the originals after one to four changes: bytes overwritten, inserted, removed, repeated, or cut off."""
    content = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from([0, 1, 2, 4, 8, 64, 512]))
        kind = draw(st.sampled_from(["overwrite", "overwrite", "insert", "remove", "repeat", "cut"]))
        if kind == "overwrite":
            new = draw(PIECES)
            content = content[:start] + new + content[start + len(new) :]
        elif kind == "insert":
            content = content[:start] + draw(PIECES) + content[start:]
        elif kind == "remove":
            content = content[:start] + content[start + length :]
        elif kind == "repeat":
            content = content[: start + length] + content[start:]
        else:
            content = content[:start]
    return content


PIECES = st.one_of(st.sampled_from(STORED_NUMBERS), st.sampled_from(TEXTS), st.binary(min_size=1, max_size=8))


@st.composite
def odd_json(draw: st.DrawFn, *originals: Any) -> Any:
    """One of the originals after one to three changes: a value replaced, or a key removed, added or renamed."""
    value = {"": copy.deepcopy(draw(st.sampled_from(originals)))}
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(value))
        container, key = draw(st.sampled_from(places))
        kind = draw(st.sampled_from(["replace", "replace", "remove", "add", "rename"]))
        if kind == "replace" or container is value:
            container[key] = draw(ODD_VALUES)
        elif kind == "remove":
            del container[key]
        elif isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        elif kind == "add":
            container[draw(st.sampled_from(["x", "", "a.b", "\n", key.upper()]))] = draw(ODD_VALUES)
        else:
            container[f"{key}s"] = container.pop(key)
    return value[""]


ODD_VALUES = st.sampled_from(VALUES).map(copy.deepcopy)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) within a value of JSON."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def json_files(*originals: Any) -> st.SearchStrategy[bytes]:
    """The bytes of JSON files: damaged ones, and whole ones of odd values."""
    odd = odd_json(*originals).map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
    return st.one_of(odd, damaged(*(json.dumps(value).encode() for value in originals)))
