"""Units for systemd, of addresses and a command: text of text, nothing is read or written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .. import server
from .._target import Mode
from ..errors import AddressError
from ..text import PasswordFromFile, to_text
from ..text.grammar import ANY_CID

ADDRESS = "{}"
"""What stands for the address in the words of a command."""

_DIRECTORY = "/CREDENTIALS"
"""Stands for the directory of credentials in a text, as long as that is one."""

_CREDENTIALS = "\0"
"""Stands for it from then on, until it is written: no word and no path holds a NUL."""

_OF_THE_UNIT = ("backlog", "unix_mode", "reuse_port")
_OF_THE_KEY = ("crt", "key", "password_env", "password_file")

_STACKS: dict[type, str] = {server.TLSNative: "native", server.OpenSSL: "openssl"}

_NOT_IN_A_PROGRAM = frozenset("$\\\"'")

_PLAIN = re.compile(r"(?:[A-Za-z0-9_./:=,+@?&{}^~-]|%%|\$\$|\0)+")
_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\", '"': r"\""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sockets:
    """What systemd opens, and how the program is told of it.

    listen: the values of ListenStream. settings: other lines of [Socket]. address: what the program
    serves. credentials: files by the names under which the service gets them. families: of
    addresses. stack: of TLS, if not the default.
    """

    listen: tuple[str, ...]
    settings: dict[str, str]
    address: str
    credentials: dict[str, str]
    families: frozenset[str]
    stack: str | None

    @property
    def served(self) -> object:
        """How they are served."""
        return self.address, self.credentials, self.stack


def sockets_of(name: str, modes: Sequence[tuple[Mode, str]]) -> Sockets:
    """Split addresses into what systemd opens and what the program serves.

    name: of the sockets. modes: each with the text it came from, whose options are kept.

    Raises AddressError for what systemd cannot listen on, and for addresses that differ in more
    than where they are: the sockets of one name are served in one way.
    """
    found = [_sockets_of(name, mode, text) for mode, text in modes]
    first = found[0]
    settings: dict[str, str] = {}
    for (mode, _), one in zip(modes, found, strict=True):
        # A setting is for the sockets of a kind, but those of one kind have it in common.
        same = all(settings.setdefault(key, value) == value for key, value in one.settings.items())
        if not same or one.served != first.served:
            raise AddressError(
                f"{mode.where}: its TLS or its options are not those of {modes[0][0].where}, and "
                "the sockets of one name are served in one way: make units of another --name"
            )
    return replace(
        first,
        listen=tuple(where for one in found for where in one.listen),
        settings=settings,
        families=frozenset().union(*(one.families for one in found)),
    )


def _sockets_of(name: str, mode: Mode, text: str) -> Sockets:
    where = mode.where
    layers: list[server.TLSOver] = []
    stack = None
    while not isinstance(where, _KINDS):
        if isinstance(where, server.TLSOver):
            layers.append(where)
            where = where.mode
        elif isinstance(where, server.TLS | server.TLSNative | server.OpenSSL):
            below = server.TCP(where.port, ip=where.ip)
            layers.append(server.TLSOver(below, where.crt_file, where.key_file, where.password))
            stack = _STACKS.get(type(where))
            where = below
        else:
            raise AddressError(f"{mode.where}: this is nothing that systemd listens on")
    credentials: dict[str, str] = {}
    served: server.Mode = server.Systemd(name)
    for number, layer in enumerate(reversed(layers)):
        served = _with_credentials(served, layer, name, number, credentials)
    listen, family = _listen(where, mode)
    options = [
        option
        for option in text.partition("?")[2].split("&")
        if option and option.partition("=")[0] not in (*_OF_THE_UNIT, *_OF_THE_KEY)
    ]
    address = to_text(served).replace(_DIRECTORY, _CREDENTIALS)
    if options and not text.startswith("("):
        address += ("&" if "?" in address else "?") + "&".join(options)
    return Sockets(
        listen=(listen,),
        settings=_settings(mode, where),
        address=address,
        credentials=credentials,
        families=frozenset((family,)),
        stack=stack,
    )


_KINDS = (server.TCP, server.UnixDomainSocket, server.Vsock)


def _with_credentials(
    below: server.Mode, layer: server.TLSOver, name: str, number: int, files: dict[str, str]
) -> server.TLSOver:
    """The same TLS, with its files where the service finds them whoever it runs as."""

    def passed(path: str, ending: str) -> str:
        credential = f"{name}{number or ''}.{ending}"
        files[credential] = path
        return f"{_DIRECTORY}/{credential}"

    password = layer.password
    if isinstance(password, PasswordFromFile):
        password = PasswordFromFile(passed(password.path, "password"))
    crt, key = passed(layer.crt_file, "crt"), passed(layer.key_file, "key")
    return server.TLSOver(below, crt, key, password)


def _listen(where: server.Mode, mode: Mode) -> tuple[str, str]:
    """The value of ListenStream, and the family of its addresses."""
    if isinstance(where, server.UnixDomainSocket):
        if where.file[:1] not in ("/", "@"):
            raise AddressError(f"{mode.where}: systemd needs the whole path")
        return _line(where.file), "AF_UNIX"
    if isinstance(where, server.Vsock):
        port = _fixed(where.port, 2**32 - 1, mode)
        return f"vsock:{'' if where.cid == ANY_CID else where.cid}:{port}", "AF_VSOCK"
    assert isinstance(where, server.TCP)
    if not isinstance(where.config, server.Port):
        raise AddressError(f"{mode.where}: this socket is open already")
    port = _fixed(where.config.port, 0, mode)
    if where.ip is None:
        return port, "AF_INET6"
    host = f"[{where.ip}]" if where.ip.version == 6 else str(where.ip)
    return f"{host}:{port}", "AF_INET6" if where.ip.version == 6 else "AF_INET"


def _fixed(port: int, chosen: int, mode: Mode) -> str:
    if port == chosen:
        raise AddressError(f"{mode.where}: a unit needs a port that stays the same")
    return str(port)


def _settings(mode: Mode, where: server.Mode) -> dict[str, str]:
    settings: dict[str, str] = {}
    if isinstance(where, server.UnixDomainSocket) and not where.file.startswith("@"):
        settings["SocketMode"] = f"{0o600 if mode.unix_mode is None else mode.unix_mode:04o}"
        settings["RemoveOnStop"] = "yes"
    if isinstance(where, server.TCP):
        settings["NoDelay"] = "yes"
    if mode.backlog is not None:
        settings["Backlog"] = str(mode.backlog)
    if mode.reuse_port:
        settings["ReusePort"] = "yes"
    return settings


# The text of units --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What is to run.

    name: of both units. words: the command, its program by its whole path. at_home: whether that is
    in somebody's home, which it then has to see.
    """

    name: str
    words: Sequence[str]
    at_home: bool = False


def socket_unit(service: Service, sockets: Sockets) -> str:
    """The text of NAME.socket."""
    lines = ["[Unit]", f"Description=Sockets of {service.name}", "", "[Socket]"]
    lines += [f"ListenStream={where}" for where in sockets.listen]
    lines.append(f"FileDescriptorName={service.name}")
    lines += [f"{key}={value}" for key, value in sockets.settings.items()]
    lines += ["", "[Install]", "WantedBy=sockets.target"]
    return "\n".join(lines) + "\n"


def service_unit(service: Service, sockets: Sockets) -> str:
    """The text of NAME.service: it runs as nobody else does, and sees no more than it must."""
    socket = f"{service.name}.socket"
    # Of what it connects to nothing is known; AF_UNIX is what it tells systemd by.
    families = " ".join(sorted(sockets.families | {"AF_INET", "AF_INET6", "AF_UNIX"}))
    lines = [
        "[Unit]",
        f"Description={service.name}",
        f"Requires={socket}",
        f"After={socket} network.target",
        "",
        "[Service]",
        "# The program says when it is ready, and that it lives; one that does not needs",
        "# Type=exec, and no WatchdogSec=.",
        "Type=notify",
        f"ExecStart={command_line(service.words, sockets.address)}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=on-failure",
        "WatchdogSec=30",
        "TimeoutStopSec=20",
        "LimitNOFILE=65536",
    ]
    for credential, path in sockets.credentials.items():
        lines.append(f"LoadCredential={credential}:{_line(path)}")
    if sockets.stack is not None:
        lines.append(f"Environment=CONDUIT_TLS={sockets.stack}")
    lines += [
        "# What it need not do, it may not do.",
        "DynamicUser=yes",
        "CapabilityBoundingSet=",
        "NoNewPrivileges=yes",
        f"ProtectHome={'read-only' if service.at_home else 'yes'}",
        "ProtectSystem=strict",
        "PrivateDevices=yes",
        "PrivateTmp=yes",
        "ProtectControlGroups=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        f"RestrictAddressFamilies={families}",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "",
        "[Install]",
        f"Also={socket}",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def command_line(words: Sequence[str], address: str) -> str:
    """The value of ExecStart, as systemd.service(5) takes it apart again.

    words: the program and its arguments, in which `{}` stands for the address.

    Raises AddressError for words that no unit can hold.
    """
    if not words[0].isprintable() or set(words[0]) & _NOT_IN_A_PROGRAM:
        raise AddressError(f"{words[0]!r}: systemd takes no program of such a name")
    program, *arguments = words
    told = [_escaped(one.replace(ADDRESS, address)) for one in arguments]
    return " ".join(map(quoted, [_specifiers(program), *told]))


def quoted(word: str) -> str:
    """The word as it is written among others in a unit. Raises AddressError if it cannot be."""
    if _PLAIN.fullmatch(word):
        return word.replace(_CREDENTIALS, "%d")
    written: list[str] = []
    for one in word:
        if one == _CREDENTIALS:
            written.append("%d")
        elif one in _ESCAPES:
            written.append(_ESCAPES[one])
        elif one < " " or one == "\x7f":
            written.append(f"\\x{ord(one):02x}")
        elif "\ud800" <= one <= "\udfff":
            raise AddressError(f"{word!r}: units are in UTF-8, and this is not")
        else:
            written.append(one)
    return f'"{"".join(written)}"'


def _specifiers(text: str) -> str:
    """Without a meaning for systemd.unit(5), which replaces %n and the like."""
    return text.replace("%", "%%")


def _line(path: str) -> str:
    """A path as it stands alone behind a `=`, where nothing can be quoted.

    Raises AddressError for one that would not be read as it is.
    """
    if not path.isprintable() or path != path.strip() or path.endswith("\\"):
        raise AddressError(f"{path!r}: no unit can hold such a path")
    return _specifiers(path)


def _escaped(word: str) -> str:
    return _specifiers(word).replace("$", "$$")
