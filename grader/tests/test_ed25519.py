"""The oracle of signatures agrees with RFC 8032 and with OpenSSL."""

import random
import shutil
import subprocess

import pytest

from grader.checks.ed25519 import public_key, sign

# RFC 8032, section 7.1, TEST 1 to TEST 3: seed, message, key, signature.
VECTORS = [
    ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
     "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "72",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
     "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "af82",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
     "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
]
# An Ed25519 seed as PKCS #8 (RFC 8410, section 7).
PKCS8 = bytes.fromhex("302e020100300506032b657004220420")


@pytest.mark.parametrize("seed, message, key, signature", VECTORS)
def test_rfc_8032(seed, message, key, signature):
    seed, message = bytes.fromhex(seed), bytes.fromhex(message)
    assert public_key(seed).hex() == key
    assert sign(seed, message).hex() == signature


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("number", range(4))
def test_openssl(number, tmp_path):
    """openssl pkeyutl -sign -rawin signs the same, with a key of random bytes."""
    rng = random.Random(number)
    seed, message = rng.randbytes(32), rng.randbytes(100)
    (tmp_path / "key").write_bytes(PKCS8 + seed)
    (tmp_path / "message").write_bytes(message)
    done = subprocess.run(
        ["openssl", "pkeyutl", "-sign", "-rawin", "-keyform", "DER", "-inkey", "key",
         "-in", "message"], cwd=tmp_path, capture_output=True, check=True,
    )
    assert done.stdout == sign(seed, message)
