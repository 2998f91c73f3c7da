"""The RSA key by which phones know this machine, shared with the `adb` program."""

from __future__ import annotations

import datetime
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from adb_shell.auth.keygen import keygen, write_public_keyfile
from adb_shell.auth.sign_cryptography import CryptographySigner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from device_farm.errors import AdbKeyUnusable

_SUBJECT = x509.Name(
    [
        x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "US"),
        x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Android"),
        x509.NameAttribute(x509.NameOID.COMMON_NAME, "Adb"),
    ]
)
_VALID_FROM = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_VALID_UNTIL = datetime.datetime(2049, 12, 31, tzinfo=datetime.UTC)


class AdbKey:
    """The key in `~/.android/adbkey`, made on first use.

    A phone that accepted `adb` from this machine therefore accepts us, and the other way round.
    """

    def __init__(self, directory: Path | None = None) -> None:
        directory = directory or Path.home() / ".android"
        self._path = directory / "adbkey"
        try:
            if not self._path.exists():
                _make_private_key(self._path)
            public_path = self._path.with_name("adbkey.pub")
            if not public_path.exists():
                _write_public_key(self._path, public_path)
            #: Signs the tokens of adb-shell's handshake.
            self.signer: Any = CryptographySigner(str(self._path))
        except (OSError, ValueError, TypeError) as error:
            raise AdbKeyUnusable(
                str(self._path),
                f"no usable RSA key: {error}",
                "make the folder writable, or delete the file to get a new key, which every "
                "phone has to accept again",
            ) from error

    def certificate_pem(self) -> bytes:
        """The key and a certificate for it, as wireless debugging wants them.

        The phone looks at the public key only. Dates are fixed, so that a key has one certificate
        and a wrong clock does no harm.
        """
        key: rsa.RSAPrivateKey = self.signer.rsa_key
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_SUBJECT)
            .issuer_name(_SUBJECT)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(_VALID_FROM)
            .not_valid_after(_VALID_UNTIL)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def _make_private_key(path: Path) -> None:
    """Make a key; when another process does the same at this moment, the first one wins."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="adbkey-") as scratch:
        fresh = Path(scratch) / path.name
        keygen(str(fresh))
        fresh.chmod(0o600)
        with suppress(FileExistsError):
            os.link(fresh, path)


def _write_public_key(private_path: Path, path: Path) -> None:
    """Write the public half of a key in Android's own format."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="adbkey-") as scratch:
        fresh = Path(scratch) / path.name
        write_public_keyfile(str(private_path), str(fresh))
        fresh.replace(path)
