"""Writes an operations file (grader/crashlab/ops.h) from a replayed trace."""


def quoted(name: str, keep: str = "") -> str:
    """A name with every unusual byte as %xx."""
    plain = "._-" + keep
    return "".join(
        chr(b) if chr(b).isalnum() and b < 128 or chr(b) in plain else f"%{b:02x}"
        for b in name.encode("utf-8", "surrogateescape")
    )
