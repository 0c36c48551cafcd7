"""The classes of tlslite-ng that ours derive from, with the types of what is used of them."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeAlias

from . import tlslite_copy as tlslite

__all__ = [
    "ClientHello",
    "Defragmenter",
    "HandshakeSettings",
    "RecordLayer",
    "Steps",
    "TLSConnection",
    "Version",
]

Version: TypeAlias = tuple[int, int]

Steps: TypeAlias = Generator[Any]
"""The library's way to wait for input: 0 while there is none, and in the end a result, once."""

if TYPE_CHECKING:

    class ClientHello:
        """A message."""

        def create(self, *given: Any, **more: Any) -> Any: ...

    class Defragmenter:
        """Puts messages together from records."""

        buffers: dict[int, bytearray]

        def add_static_size(self, msg_type: int, size: int) -> None: ...
        def add_dynamic_size(self, msg_type: int, offset: int, size: int) -> None: ...
        def add_data(self, msg_type: int, data: bytearray) -> None: ...
        def is_empty(self) -> bool: ...

    class HandshakeSettings:
        """What is offered and taken."""

        def validate(self) -> Any: ...

    class RecordLayer:
        """Encrypts the records of a handshake."""

        _recordSocket: Any
        _writeState: Any
        _readState: Any

        def __init__(self, sock: Any) -> None: ...
        def calcTLS1_3PendingState(
            self, suite: int, client: bytearray, server: bytearray, implementations: Any
        ) -> None: ...

    class TLSConnection:
        """The state machine."""

        version: Version
        session: Any
        closed: bool
        sock: Any
        _client: bool
        _recordLayer: Any
        _defragmenter: Defragmenter

        def __init__(self, sock: Any) -> None: ...
        def handshakeClientCert(self, **given: Any) -> Steps: ...
        def handshakeServerAsync(self, **given: Any) -> Steps: ...
        def _getMsg(self, expectedType: Any, secondaryType: Any, constructorType: Any) -> Steps: ...
        def _getNextRecord(self) -> Steps: ...
        def _sendMsg(self, msg: Any, randomizeFirstBlock: bool, update_hashes: bool) -> Steps: ...
        def _queue_message(self, msg: Any) -> None: ...
        def _server_select_certificate(self, *given: Any) -> Any: ...
        @staticmethod
        def _pickServerKeyExchangeSig(*given: Any, **more: Any) -> Any: ...
else:
    Defragmenter = tlslite.defragmenter.Defragmenter
    ClientHello = tlslite.messages.ClientHello
    HandshakeSettings = tlslite.settings.HandshakeSettings
    RecordLayer = tlslite.recordlayer.RecordLayer
    TLSConnection = tlslite.tlsconnection.TLSConnection
