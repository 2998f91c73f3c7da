"""TLS for wireless debugging (Android 11 and newer)."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from device_farm.adb.keys import AdbKey


def client_context(key: AdbKey) -> ssl.SSLContext:
    """What to present to a phone that asks for TLS.

    The phone's certificate is self-signed and unknown, as it is to `adb`: the phone authenticates
    this machine, by the key it learned when pairing; this machine does not authenticate the phone.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # ssl takes certificates from files only
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "adbkey.pem"
        path.write_bytes(key.certificate_pem())
        context.load_cert_chain(path)
    return context
