"""What a student's program says, as text for a person."""

import errno
import re

_IN_HEX = re.compile(r"x((?:[0-9a-f]{2})+)")


def quoted(data: bytes, most: int = 24) -> str:
    """In quotes: what is printable as it is, the rest with escapes; cut behind `most`."""
    return f'"{repr(data[:most])[2:-1]}"' + "..." * (len(data) > most)


def word(value: str) -> str:
    """A word of a driver's reply: bytes, which it says in hex, as text if they are that."""
    found = _IN_HEX.fullmatch(value)
    data = bytes.fromhex(found[1]) if found else b""
    is_text = bool(data) and all(0x21 <= byte <= 0x7E for byte in data)
    return data.decode() if is_text else value


def errno_name(error: int) -> str:
    """0, or a negative errno with its name."""
    return f"{error} (-{errno.errorcode[-error]})" if -error in errno.errorcode else str(error)
