"""The table of well-known services: their ports, and which of them begin with TLS."""

from __future__ import annotations

from .service import Service, Services

# IANA's registry, and where that says nothing, what the servers listen on by default.
_PLAIN = """
    ftp 21, ssh 22, sftp 22, telnet 23, smtp 25, whois 43, domain 53, dns 53, gopher 70, finger 79,
    http 80, ws 80, pop3 110, nntp 119, news 119, imap 143, ldap 389, rtsp 554, submission 587,
    ipp 631, rsync 873, socks 1080, socks4 1080, socks4a 1080, socks5 1080, socks5h 1080,
    mssql 1433, oracle 1521, mqtt 1883, rtmp 1935, zookeeper 2181, docker 2375, etcd 2379,
    dict 2628, mysql 3306, mariadb 3306, stun 3478, turn 3478, svn 3690, diameter 3868, sieve 4190,
    managesieve 4190, nats 4222, sip 5060, xmpp 5222, xmpp-client 5222, xmpp-server 5269,
    postgresql 5432, postgres 5432, amqp 5672, coap+tcp 5683, rfb 5900, vnc 5900, couchdb 5984,
    redis 6379, valkey 6379, irc 6667, bolt 7687, neo4j 7687, influxdb 8086, consul 8500,
    clickhouse 9000, cassandra 9042, kafka 9092, elasticsearch 9200, git 9418, memcached 11211,
    mongodb 27017, mysqlx 33060, stomp 61613
"""

# Here TLS comes first, before any byte of the protocol.
_TLS = """
    https 443, wss 443, rtmps 443, smtps 465, submissions 465, nntps 563, snews 563, rtsps 322,
    ipps 631, ldaps 636, epp 700, domain-s 853, dot 853, ftps 990, telnets 992, imaps 993,
    pop3s 995, gemini 1965, radsec 2083, sips 5061, sip-tls 5061, xmpps 5223, xmpps-client 5223,
    xmpps-server 5270, stuns 5349, turns 5349, postgresqls 5432, amqps 5671, coaps+tcp 5684,
    diameters 5868, rediss 6379, valkeys 6379, syslog-tls 6514, ircs 6697, ircs-u 6697,
    bolt+s 7687, neo4j+s 7687, mqtts 8883, secure-mqtt 8883, clickhouses 9440
"""


def _read(table: str, tls: bool) -> dict[str, Service]:
    rows = (row.split() for row in table.split(","))
    return {name: Service(name, int(port), tls) for name, port in rows}


WELL_KNOWN = _read(_PLAIN, tls=False) | _read(_TLS, tls=True)
"""The services by their names."""


def _well_known(name: str) -> Service | None:
    return WELL_KNOWN.get(name)


static_service = Services(_well_known)
"""The service function of the table of well-known services."""
