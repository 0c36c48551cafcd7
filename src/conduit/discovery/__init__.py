"""Where services are that are on many hosts: asked of DNS or etcd, or of a source of your own.

    rule = conduit.discovery.Rule(conduit.discovery.SRV())
    resolver = conduit.resolver.Resolver(rewrites=[("example", rule)])
    ctx = await conduit.init(resolver=resolver)
    await conduit.connect("postgresql://db.example", ctx=ctx)

A source has one method, `async resolve(name)`, which returns addresses and for how long they are
good; a `Rule` asks sources, remembers what they said, and puts the addresses in order.
"""

from __future__ import annotations

from .etcd import Etcd
from .interface import Address, Discovers, Found
from .rule import Rule, host_name, srv_name
from .srv import SRV

__all__ = ["SRV", "Address", "Discovers", "Etcd", "Found", "Rule", "host_name", "srv_name"]
