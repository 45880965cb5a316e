"""Checks of the witness's cosignature: w18/anchor_record.h, second half."""

import errno
from dataclasses import replace

from ..result import Finding
from ..run import Run, Script
from . import check, ed25519
from .anchor_format import (
    BAD_SIGNATURE, LAST_ID, MALFORMED, MISMATCH, NO_DIGEST, OK, VERDICTS, Record, chain, cosign,
    seal, verdict,
)
from .anchor_record import judge, misspelt, torn
from .returns import leaks


def _expect(run: Run, cases, code: str, name: str):
    """Runs cases (what, call, args, wanted bytes of `name`); yields the first that differs."""
    script = Script()
    calls = {script.call(call, *args): (what, want) for what, call, args, want in cases}
    session = run.drive(script)
    for number, (what, want) in calls.items():
        reply = session[number]
        if reply["ret"] != 0:
            problem = f"it returned {reply['ret']}"
        elif reply.bytes(name) != want:
            problem = f"{name} is {reply.bytes(name)[:8].hex()}..., and should be {want[:8].hex()}..."
        else:
            continue
        yield run.at_function(Finding(code, f"{what}: {problem}"), reply.call)
        return


def _expect_verdicts(run: Run, cases, code: str):
    script = Script()
    calls = {script.call(call, *args): (what, want) for what, call, args, want in cases}
    session = run.drive(script)
    for number, (what, want) in calls.items():
        reply = session[number]
        if reply["verdict"] != want:
            problem = f"the verdict is {verdict(reply)} and should be ANCHOR_{VERDICTS[want]}"
            yield run.at_function(Finding(code, f"{what}: {problem}"), reply.call)
            return


@check("builds")
def signs_with_ed25519(run: Run):
    """anchor_ed25519_key() and _sign() give what RFC 8032 gives.

    A public key and a signature are fixed by the seed and the message, to the bit; also
    for an empty message.
    """
    rng = run.rng("sign")
    cases = []
    for message in (b"", b"\x72", rng.randbytes(64), rng.randbytes(1000)):
        seed = rng.randbytes(32)
        key, signature = ed25519.public_key(seed), ed25519.sign(seed, message)
        cases.append(("the key of a seed", "anchor_ed25519_key", (seed,), key, "key"))
        what = f"the signature of {len(message)} bytes"
        cases.append((what, "anchor_ed25519_sign", (seed, message), signature, "signature"))
    for name in ("key", "signature"):
        found = list(_expect(run, [case[:4] for case in cases if case[4] == name], "O405", name))
        if found:
            yield from found
            return


@check("builds")
def believes_no_bad_signature(run: Run):
    """anchor_ed25519_verify() is ANCHOR_OK for the witness's signature alone.

    Any one bit of key, message or signature flipped is ANCHOR_BAD_SIGNATURE. libcrypto
    says 1, 0 or something negative, and only 1 is a yes. A key that is no key may be
    ANCHOR_UNJUDGED, but is never ANCHOR_OK.
    """
    rng = run.rng("verify")
    seed, message = rng.randbytes(32), rng.randbytes(64)
    key, signature = ed25519.public_key(seed), ed25519.sign(seed, message)
    call = "anchor_ed25519_verify"
    cases = [("a good signature", call, (key, message, signature), OK)]
    for at in (0, 31, 32, 62, 63):
        wrong = bytearray(signature)
        wrong[at] ^= 1 << rng.randint(0, 7)
        what = f"byte {at} of the signature changed"
        cases.append((what, call, (key, message, bytes(wrong)), BAD_SIGNATURE))
    other = ed25519.public_key(rng.randbytes(32))
    cases.append(("another witness's key", call, (other, message, signature), BAD_SIGNATURE))
    cases.append(("a shorter message", call, (key, message[:-1], signature), BAD_SIGNATURE))
    cases.append(("a signature of zeros", call, (key, message, bytes(64)), BAD_SIGNATURE))
    yield from _expect_verdicts(run, cases, "R405")


@check("signs-with-ed25519")
def cosigns_a_record(run: Run):
    """anchor_cosign() names the record, dates it and signs.

    The 64 signed bytes are the first 64 of the file that anchor_cosignature_encode()
    makes: magic, id, digest, time, integers highest byte first. A record without an
    encoding is -EINVAL.
    """
    rng = run.rng("cosign")
    seed = rng.randbytes(32)
    records = [*chain([rng.randbytes(32)] * 2), Record(LAST_ID, rng.randbytes(32), NO_DIGEST)]
    signed, encoded = [], []
    for record, time in zip(records, (1_700_000_000, 0x0102030405060708, 0)):
        right = cosign(record, time, seed)
        what = f"the cosignature of record {record.id}"
        signed.append((what, "anchor_cosign", (*record.words, time, seed), right.signature))
        encoded.append((what, "anchor_cosignature_encode", right.words, right.bytes))
    found = list(_expect(run, signed, "O406", "signature"))
    found = found or list(_expect(run, encoded, "O406", "buf"))
    yield from found
    script = Script()
    number = script.call("anchor_cosign", 0, b"\1" * 32, NO_DIGEST, 0, seed)
    got = run.drive(script)[number]["ret"]
    if not found and got != -errno.EINVAL:
        message = f"record 0 with a prev: it returned {got}, not {-errno.EINVAL} (-EINVAL)"
        yield run.at_function(Finding("O406", message), "anchor_cosign")


@check("cosigns-a-record")
def reads_cosignatures_strictly(run: Run):
    """anchor_cosignature_decode() is as strict as anchor_record_decode().

    Torn at any byte or any bit: ANCHOR_TORN. Bytes too many or another magic:
    ANCHOR_MALFORMED. Whole and canonical: ANCHOR_OK, whoever signed it.
    """
    rng = run.rng("read")
    data = cosign(Record(5, rng.randbytes(32), NO_DIGEST), 1_700_000_000, rng.randbytes(32)).bytes
    call = "anchor_cosignature_decode"
    whole = [("a cosignature", data, OK), ("another's signature", seal(data[:64] + bytes(64)), OK)]
    yield from judge(run, call, [*whole, *torn(data, rng)], "R401")
    cases = [*misspelt(data, b"anchor-cosign/v1")]
    cases.append(("a record's magic", seal(b"anchor-record/v1" + data[16:-32]), MALFORMED))
    yield from judge(run, call, cases, "R402")


@check("cosigns-a-record", "believes-no-bad-signature")
def matches_a_cosignature_to_its_record(run: Run):
    """A cosignature matches the record that it names, if it is signed.

    Another id or digest is ANCHOR_MISMATCH, however good the signature; a signature that
    does not verify is ANCHOR_BAD_SIGNATURE. Without a key the names alone are compared.
    What libcrypto allocated for it is freed, whatever the verdict is.
    """
    rng = run.rng("match")
    seed = rng.randbytes(32)
    key, other_key = ed25519.public_key(seed), ed25519.public_key(rng.randbytes(32))
    first, record = chain([rng.randbytes(32), rng.randbytes(32)])
    fork = replace(record, payload=rng.randbytes(32))
    right = cosign(record, 1_700_000_000, seed)
    moved = replace(right, id=2)
    cases = [
        ("the right one", right, record, key, OK),
        ("the right one, without a key", right, record, b"", OK),
        ("one of another payload under this id", cosign(fork, 0, seed), record, key, MISMATCH),
        ("one of another record, without a key", cosign(first, 0, seed), record, b"", MISMATCH),
        ("the right digest under another id", moved, record, key, MISMATCH),
        ("another witness's", cosign(record, 0, rng.randbytes(32)), record, key, BAD_SIGNATURE),
        ("one that is checked with another key", right, record, other_key, BAD_SIGNATURE),
        ("one dated a second later", replace(right, time=right.time + 1), record, key, BAD_SIGNATURE),
        ("one dated a second later, without a key", replace(right, time=right.time + 1), record, b"", OK),
        ("one with the signature of another", replace(right, signature=cosign(first, 0, seed).signature),
         record, key, BAD_SIGNATURE),
    ]
    words = [(*c.words, *r.words, k) for _, c, r, k, _ in cases]
    wrong = list(_expect_verdicts(run, [
        (f"{what} against record 1", "anchor_cosignature_verify", each, want)
        for (what, *_, want), each in zip(cases, words)
    ], "R405"))
    steps = [(f"after {what}", ("anchor_cosignature_verify", *each), None)
             for (what, *_), each in zip(cases, words)]
    signs = ("after a signature", ("anchor_cosign", *record.words, 0, seed), None)
    encodes = ("after an encoding", ("anchor_cosignature_encode", *right.words), None)
    key_of = ("after a key", ("anchor_ed25519_key", seed), None)
    yield from wrong or leaks(run, [*steps, signs, encodes, key_of])
