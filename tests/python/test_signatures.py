"""Files that somebody vouches for, with keys and signatures of openssl."""

import shutil
import subprocess
import sys

import numpy as np
import onecopy
import pytest
from sklearn.linear_model import LinearRegression

X = np.arange(12.0).reshape(6, 2)


def openssl(*arguments, **options):
    """Run openssl."""
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, **options)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Two pairs of keys: a private and a public one each."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        openssl("genpkey", "-algorithm", "ed25519", "-out", folder / f"{name}.pem")
        openssl("pkey", "-in", folder / f"{name}.pem", "-pubout", "-out", folder / f"{name}.pub.pem")
    return folder


@pytest.fixture
def signed(keys, tmp_path):
    """A signed model."""
    path = tmp_path / "line.onecopy"
    onecopy.dump(LinearRegression().fit(X, X @ [1.0, 2.0]), path)
    assert onecopy.sign(path, key=keys / "ours.pem") == f"{path}.sig"
    return path


def uses(path, key):
    """Everything that checks a signature."""
    return (
        lambda: onecopy.verify(path, key=key),
        lambda: onecopy.load(path, verify_key=key),
        lambda: onecopy.open(path, verify_key=key),
        lambda: onecopy.open(path, verify_key=key, guard="memfd"),
        lambda: onecopy.open(path, verify_key=key, share="memfd"),
    )


def test_a_signed_file_is_used(signed, keys):
    key = keys / "ours.pub.pem"
    onecopy.verify(signed, key=key)
    expected = onecopy.load(signed).predict(X)
    assert onecopy.load(signed, verify_key=key).predict(X).tobytes() == expected.tobytes()
    for options in ({}, {"guard": "memfd"}, {"share": "memfd"}):
        answer = onecopy.open(signed, verify_key=str(key), **options).predict(X)
        np.testing.assert_allclose(answer, expected, rtol=1e-12)


def test_openssl_agrees_about_the_signature(signed, keys, tmp_path):
    first, digest, signature = (tmp_path / "line.onecopy.sig").read_text().splitlines()
    assert first == "onecopy ed25519 signature 1"
    assert digest == f"digest {onecopy.open(signed).digest}"
    message = b"onecopy signature 1\0" + bytes.fromhex(digest.removeprefix("digest "))
    (tmp_path / "message").write_bytes(message)
    (tmp_path / "signature").write_bytes(bytes.fromhex(signature.removeprefix("signature ")))
    files = ("-sigfile", tmp_path / "signature", "-in", tmp_path / "message")
    openssl("pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", keys / "ours.pub.pem", *files)


def test_the_signature_holds_for_the_archive_and_for_what_is_restored(signed, keys, tmp_path):
    key = keys / "ours.pub.pem"
    cold = onecopy.archive(signed)
    again = onecopy.restore(cold, tmp_path / "again.onecopy")
    for other in (cold, again):
        with pytest.raises(onecopy.SignatureError, match="is not signed"):
            onecopy.open(other, verify_key=key)
        shutil.copy(f"{signed}.sig", f"{other}.sig")
        onecopy.verify(other, key=key)
        onecopy.open(other, verify_key=key, cache=tmp_path / "cache")


@pytest.mark.parametrize("number", range(5))
def test_an_unsigned_file_and_a_foreign_signature_are_refused(signed, keys, number):
    with pytest.raises(onecopy.SignatureError, match="not of this key"):
        uses(signed, keys / "theirs.pub.pem")[number]()
    signed.with_name("line.onecopy.sig").unlink()
    with pytest.raises(onecopy.SignatureError, match="is not signed: there is no"):
        uses(signed, keys / "ours.pub.pem")[number]()


@pytest.mark.parametrize("number", range(5))
def test_a_file_that_was_replaced_is_refused(signed, keys, number):
    onecopy.dump(LinearRegression().fit(X, X @ [1.0, 3.0]), signed)
    with pytest.raises(onecopy.SignatureError, match="replaced or changed"):
        uses(signed, keys / "ours.pub.pem")[number]()


@pytest.mark.parametrize("number", range(5))
def test_changed_bytes_of_arrays_are_refused(signed, keys, number):
    data = bytearray(signed.read_bytes())
    coef = np.array(onecopy.open(signed).arrays["coef_"]).tobytes()
    data[data.index(coef)] ^= 1
    signed.write_bytes(data)
    with pytest.raises(onecopy.ChecksumError):
        uses(signed, keys / "ours.pub.pem")[number]()
    with pytest.raises(onecopy.ChecksumError):
        onecopy.sign(signed, key=keys / "ours.pem")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[:-2],
        lambda text: text + "more\n",
        lambda text: text.replace("signature 1", "signature 2", 1),
        lambda text: text.upper(),
        lambda text: text + "x" * 100_000,
        lambda text: "\0" * 200,
    ],
)
def test_what_is_no_signature_is_refused(signed, keys, change):
    at = signed.with_name("line.onecopy.sig")
    at.write_text(change(at.read_text()))
    with pytest.raises(onecopy.SignatureError, match="is not a signature"):
        onecopy.verify(signed, key=keys / "ours.pub.pem")


def test_every_changed_bit_of_a_signature_is_refused(signed, keys):
    at = signed.with_name("line.onecopy.sig")
    lines = at.read_text().splitlines()
    good = bytes.fromhex(lines[2].removeprefix("signature "))
    for bit in range(0, len(good) * 8, 7):
        changed = bytearray(good)
        changed[bit // 8] ^= 1 << bit % 8
        at.write_text("\n".join([*lines[:2], f"signature {changed.hex()}"]) + "\n")
        with pytest.raises(onecopy.SignatureError, match="not of this key"):
            onecopy.verify(signed, key=keys / "ours.pub.pem")


def test_what_is_no_key_is_refused(signed, keys, tmp_path):
    openssl("genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", tmp_path / "ec.pem")
    openssl("pkey", "-in", tmp_path / "ec.pem", "-pubout", "-out", tmp_path / "ec.pub.pem")
    for key in (tmp_path / "ec.pub.pem", keys / "ours.pem", signed.with_name("line.onecopy.sig")):
        with pytest.raises(onecopy.SignatureError, match="is not an ed25519 public key in PEM"):
            onecopy.verify(signed, key=key)
    for key in (tmp_path / "ec.pem", keys / "ours.pub.pem"):
        with pytest.raises(onecopy.SignatureError, match="is not an ed25519 private key in PEM"):
            onecopy.sign(signed, key=key)
    with pytest.raises(FileNotFoundError) as raised:
        onecopy.open(signed, verify_key=tmp_path / "none.pem")
    assert raised.value.filename == str(tmp_path / "none.pem")
    with pytest.raises(ValueError, match="takes its path"):
        onecopy.open(0, verify_key=keys / "ours.pub.pem")


def test_the_command_signs_and_verifies(signed, keys):
    def command(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "onecopy", *map(str, arguments)], capture_output=True, text=True
        )

    signature = signed.with_name("line.onecopy.sig")
    signature.unlink()
    unsigned = command("verify", signed, "--key", keys / "ours.pub.pem")
    assert (unsigned.returncode, "is not signed" in unsigned.stderr) == (1, True)
    done = command("sign", signed, "--key", keys / "ours.pem")
    assert (done.returncode, signature.exists()) == (0, True), done.stderr
    assert "signed with this key" in command("verify", signed, "--key", keys / "ours.pub.pem").stdout
    assert command("verify", signed, "--key", keys / "theirs.pub.pem").returncode == 1
