"""`conduit cert`: an authority and certificates for development."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from .parameters import POSITIVE, json_option, subcommand
from .terminal import complain, say, say_json

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from ..testing.x509 import PrivateKey

_NAME = "conduit development authority"

_WARNING = (
    "for development only: whoever reads ca.key can pretend to be anybody to all who trust ca.crt; "
    "nothing can be revoked. Never make a browser or a system trust it for good."
)


@subcommand(
    "cert",
    example="conduit cert localhost 127.0.0.1 ::1\n"
    "conduit serve 'tls://127.0.0.1:8443?crt=localhost.crt&key=localhost.key' --echo\n"
    "conduit connect --ca ca.crt 'tls://localhost:8443'",
    statuses="0  the files are written\n"
    "1  they cannot be; standard error says why\n"
    "2  the arguments make no sense",
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--dir",
    "directory",
    type=click.Path(exists=True, file_okay=False, writable=True),
    default=".",
    help="Where the files are (default: here).",
)
@click.option("--days", type=POSITIVE, default=30, metavar="N", help="Valid so long (default: 30).")
@click.option("--out", metavar="FILE", help="Write FILE.crt and FILE.key (default: by the name).")
@json_option("where the files are")
def command(
    names: tuple[str, ...], directory: str, days: int, out: str | None, as_json: bool
) -> int:
    """Make a certificate for NAME, and others: DNS names and IP addresses.

    It is signed by the authority in ca.crt and ca.key, which is made when there is none, and is for
    servers and clients. Files that are there are written over, but for those of the authority. Keys
    are readable by their owner alone, and not encrypted.

    For development only: whoever reads ca.key can pretend to be anybody to all who trust ca.crt.

    It needs the extra testing: pip install 'conduit-net[cli,testing]'.
    """
    from ..testing import x509
    from ..testing.ca import Issued

    name = out or re.sub(r"[^A-Za-z0-9._-]", "_", names[0].replace("*", "any"))
    if name == "ca" or name in (".", "..") or "/" in name or "\0" in name:
        raise click.UsageError(f"{name!r} cannot be the name of the files: choose another by --out")
    until = datetime.now(UTC) + timedelta(days=days)
    authority = _authority(directory, until)
    key = x509.new_key("ec", 0)
    try:
        certificate = x509.own(
            names,
            key,
            x509.Signing(authority, None, min(until, authority[0].not_valid_after_utc)),
            common_name=None,
            alternative_names=True,
            usages=("server", "client"),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    issued = Issued(
        x509.to_pem(certificate), x509.key_to_pem(key, None), x509.to_der(certificate)
    ).write(directory, name)
    trusted = os.path.join(directory, "ca.crt")
    if as_json:
        say_json({"crt": issued.crt_file, "key": issued.key_file, "ca": trusted})
    else:
        say(f"certificate: {issued.crt_file}\nkey: {issued.key_file}\nauthority: {trusted}")
    complain(f"conduit cert: {_WARNING}")
    return 0


def _authority(directory: str, until: datetime) -> tuple[Certificate, PrivateKey]:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificate

    from ..testing import x509
    from ..testing.ca import Issued

    crt, key = (os.path.join(directory, name) for name in ("ca.crt", "ca.key"))
    if os.path.exists(crt) or os.path.exists(key):
        with open(crt, "rb") as crt_file, open(key, "rb") as key_file:
            pems = crt_file.read(), key_file.read()
        try:
            certificate = load_pem_x509_certificate(pems[0])
            loaded = load_pem_private_key(pems[1], None)
        except (ValueError, TypeError):  # the latter for a key that is encrypted
            raise OSError(
                f"{crt} and {key} are no authority in PEM with a plain key: remove both, or choose "
                "another --dir"
            ) from None
        if loaded.public_key() != certificate.public_key() or not isinstance(
            loaded, x509.PrivateKey
        ):
            raise OSError(f"{key} is not the key of {crt}: remove both, or choose another --dir")
        if certificate.not_valid_after_utc <= datetime.now(UTC):
            raise OSError(f"the authority in {crt} has expired: remove it and ca.key")
        return certificate, loaded
    fresh = x509.new_key("ec", 0)
    # Longer than what it signs, so that it can sign more.
    signing = x509.Signing(None, None, until + timedelta(days=365))
    made = x509.authority(
        _NAME, fresh, signing, path_length=0, permitted=(), excluded=(), can_sign=True
    )
    Issued(x509.to_pem(made), x509.key_to_pem(fresh, None), x509.to_der(made)).write(
        directory, "ca"
    )
    return made, fresh
