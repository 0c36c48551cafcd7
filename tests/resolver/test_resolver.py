"""From a URI to endpoints: services, rules, TLS, and what cannot be found."""

import asyncio
import logging
import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import conduit
from conduit import endp
from conduit.resolver import Resolver, Service
from tests.text.addresses import ENDPS, ODD

HERE = endp.TCP("192.0.2.1", 1)
UNIX = endp.UnixDomainSocket("/run/x")


def to(*found):
    """A rewrite function that always finds the same."""

    def rewrite(service, uri):
        return list(found) if len(found) != 1 else found[0]

    return rewrite


def everything(fn, **options):
    return Resolver(rewrites=[("", fn)], **options)


def port_of_service(service, uri):
    return endp.TCP("192.0.2.1", service.port)


# The ways of the seed -----------------------------------------------------------------------------


async def test_rules_and_service_functions_as_in_the_reference():
    r = Resolver(
        service=lambda name: Service(name, 7, False) if name == "echo" else None,
        rewrites=[("xen", lambda service, uri: endp.VchanDomainSocket(uri.host, service.name))],
    )
    assert await r.resolve_uri("echo://db.xen/") == endp.VchanDomainSocket("db.xen", "echo")
    r.add_rewrite("db.xen", to(endp.VchanDirect(3, "p")))
    assert await r.resolve_uri("echo://db.xen/") == endp.VchanDirect(3, "p")
    r.add_rewrite("db.xen", to(endp.VchanDirect(4, "p")))
    assert await r.resolve_uri("echo://db.xen/") == endp.VchanDirect(4, "p")


async def test_rules_for_one_call():
    r = Resolver(rewrites=[("a", to(HERE)), ("b", to(HERE))])
    only = [("a", to(UNIX)), ("x.b", to(UNIX))]
    assert await r.resolve_uri("http://a", only) == UNIX
    assert await r.resolve_uri("http://x.b", rewrites=only) == UNIX
    assert await r.resolve_uri("http://b", only) == HERE
    assert await r.resolve_uri("http://a") == HERE


async def test_rewrite_function_is_given_service_and_uri():
    seen = []

    def rewrite(service, uri):
        seen.append((service, uri, uri.scheme, uri.host, uri.port))
        return HERE

    r = everything(rewrite)
    await r.resolve_uri("HTTPS://Db.Example.:8443/path?q")
    await r.resolve_uri("http://db.example")
    [secure, plain] = seen
    assert secure[0] == Service("https", 8443, True)
    assert secure[1:] == ("HTTPS://Db.Example.:8443/path?q", "https", "db.example", 8443)
    assert plain[0] == Service("http", 80, False)
    assert plain[4] is None


@pytest.mark.parametrize("uri", ["http://h", "http://h:8080", "http://h:0", "tcp://h:81"])
async def test_port_of_the_uri_counts(uri):
    expected = {"http://h": 80, "http://h:8080": 8080, "http://h:0": 0, "tcp://h:81": 81}[uri]
    assert await everything(port_of_service).resolve_uri(uri) == endp.TCP("192.0.2.1", expected)


async def test_async_rewrite_function():
    async def rewrite(service, uri):
        await asyncio.sleep(0)
        return [HERE, UNIX]

    assert await everything(rewrite).resolve_all("http://h") == [HERE, UNIX]


async def test_several_are_in_order_and_without_doubles():
    r = everything(to(UNIX, HERE, UNIX, endp.Unknown("no"), HERE))
    assert await r.resolve_all("http://h") == [UNIX, HERE]
    assert await r.resolve_uri("http://h") == UNIX


ADDRESSES = [
    HERE,
    UNIX,
    endp.UnixDomainSocket("@name"),
    endp.VchanDirect(1, "p"),
    endp.VchanDomainSocket("db", "p"),
    endp.Vsock(2, 80),
    endp.Host("other", 80),
]


# TLS ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ADDRESSES, ids=str)
async def test_tls_of_the_service_is_put_over_whatever_was_found(where):
    r = everything(to(where))
    assert await r.resolve_uri("https://db.example/x") == endp.TLS("db.example", where)
    assert await r.resolve_uri("http://db.example/x") == where
    assert await r.resolve_uri("tls://db.example:443") == endp.TLS("db.example", where)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("https://Db.Example.", "db.example"),
        ("https://bücher.example", "xn--bcher-kva.example"),
        ("https://192.0.2.1", "192.0.2.1"),
        ("https://[2001:DB8::1]:1", "2001:db8::1"),
        ("tls://h:1?hostname=db.example", "db.example"),
    ],
)
async def test_name_for_the_certificate_is_the_one_that_was_written(uri, name):
    assert await everything(to(UNIX)).resolve_uri(uri) == endp.TLS(name, UNIX)


async def test_rule_may_put_tls_itself():
    mine = endp.TLS("other.example", HERE)
    r = everything(to(mine, UNIX))
    assert await r.resolve_all("https://h") == [mine, endp.TLS("h", UNIX)]
    assert await r.resolve_all("tls://h:1") == [mine, endp.TLS("h", UNIX)]
    assert await r.resolve_uri("http://h") == mine


async def test_layers_of_tls_stay():
    r = everything(to(UNIX))
    assert await r.resolve_uri("tls+tls://h:1?hostname=a,b") == endp.TLS("a", endp.TLS("b", UNIX))
    r = everything(to(endp.TLS("rule", UNIX)))
    found = await r.resolve_uri("tls+tls://h:1?hostname=a,b")
    assert found == endp.TLS("a", endp.TLS("rule", UNIX))


# Texts of endpoints -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["unix:/run/x", "vsock://2:80", "vchan:1/p", "tls+unix:/run/x?hostname=h", "unknown:no"]
)
async def test_endpoint_without_a_name_is_what_it_says(text):
    assert await everything(to(HERE)).resolve_uri(text) == conduit.text.parse_endp(text)


async def test_text_of_a_name_is_looked_up():
    r = Resolver(rewrites=[("xen", to(UNIX))])
    assert await r.resolve_uri("tcp://db.xen:1") == UNIX
    assert await r.resolve_uri("tcp://DB.Xen.:1") == UNIX
    assert await r.resolve_uri("tcp://db:1") == endp.Unknown("there is no rule for 'db'")


async def test_text_of_an_address_is_looked_up_as_a_service_with_an_address_is():
    r = Resolver(rewrites=[("192.0.2.9", to(UNIX))])
    assert await r.resolve_uri("tcp://192.0.2.9:1") == UNIX
    assert await r.resolve_uri("http://192.0.2.9") == UNIX
    assert isinstance(await r.resolve_uri("tcp://192.0.2.8:1"), endp.Unknown)


# What cannot be found -----------------------------------------------------------------------------


def failing(error):
    def rewrite(service, uri):
        raise error

    return rewrite


UNKNOWN = [
    (Resolver(), "http://h", "there is no rule for 'h'"),
    (Resolver(rewrites=[("foo.xen", to(HERE))]), "http://foobar.xen", "no rule for 'foobar.xen'"),
    (everything(to(HERE)), "nosuch://h", "there is no service 'nosuch'"),
    (everything(to(HERE), service=lambda name: None), "http://h", "there is no service 'http'"),
    (everything(to()), "http://h", "'h' has no address"),
    (everything(to(endp.Unknown("gone"))), "http://h", "gone"),
    (everything(failing(conduit.ResolutionError("gone"))), "http://h", "gone"),
    (everything(failing(OSError(5, "gone"))), "http://h", r"\[Errno 5\] gone"),
    (everything(failing(conduit.AddressError("odd\0one"))), "http://h", "oddone"),
    (everything(failing(TimeoutError())), "http://h", "TimeoutError"),
    (
        everything(to(HERE), service=lambda name: failing(OSError("no file"))(name, name)),
        "http://h",
        "the service 'http' cannot be looked up: no file",
    ),
]


@pytest.mark.parametrize(("r", "uri", "reason"), UNKNOWN, ids=[each[2] for each in UNKNOWN])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_unknown_is_never_below_tls(r, uri, reason, scheme):
    uri = uri.replace("http:", f"{scheme}:")
    [found] = await r.resolve_all(uri)
    assert isinstance(found, endp.Unknown)
    with pytest.raises(conduit.ResolutionError, match=reason.replace("'http'", f"'{scheme}'")):
        conduit.endp_to_client(found)


async def test_mistake_in_a_rewrite_function_is_not_taken_for_an_unknown_host():
    with pytest.raises(KeyError):
        await everything(failing(KeyError("h"))).resolve_uri("http://h")


@pytest.mark.parametrize(
    "found", [None, "tcp://h:1", 80, conduit.client.TCP("::1", 1), [HERE, None]]
)
async def test_rewrite_function_that_returns_no_endpoint(found):
    with pytest.raises(TypeError, match=r"the rewrite of '\.' must return values of conduit\.endp"):
        await everything(lambda service, uri: found).resolve_uri("https://h")


@pytest.mark.parametrize(
    "text", ["", "h", "h:80", "/run/x", "https://", "tpc://h:1", "fd:3", "file:///x"]
)
async def test_what_is_no_uri_is_an_address_error(text):
    with pytest.raises(conduit.AddressError):
        await everything(to(HERE)).resolve_uri(text)


async def test_name_of_an_endpoint_that_is_none_of_a_host():
    with pytest.raises(conduit.AddressError, match="is no name of a host"):
        await everything(to(HERE)).resolve_uri("tcp://a!b:1")


scraps = st.lists(
    st.sampled_from([*ODD, "http://", "tls://", "tls+", "h", "localhost", ":80", "[::1]", "?"]),
    max_size=8,
).map("".join)  # fmt: skip
endp_texts = st.one_of(*ENDPS.values()).map(conduit.text.to_text)


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as runner:
        yield runner


@settings(max_examples=200, deadline=None)
@given(text=scraps | st.text() | endp_texts)
@example("http://")
@example("tls://h:1?hostname=%00")
def test_any_text_gives_endpoints_or_an_address_error(runner, text):
    try:
        found = runner.run(everything(port_of_service).resolve_all(text))
    except conduit.AddressError:
        return
    assert found
    assert isinstance(found[0], endp.Endp)


# Several at once ----------------------------------------------------------------------------------


async def test_rule_may_ask_its_own_resolver():
    r = Resolver()

    async def alias(service, uri):
        return await r.resolve_all(f"http://real:{service.port}")

    r.add_rewrite("alias", alias)
    r.add_rewrite("real", port_of_service)
    assert await r.resolve_uri("https://alias") == endp.TLS("alias", endp.TCP("192.0.2.1", 443))


async def test_rules_that_go_in_a_circle_end():
    r = Resolver()

    async def there(service, uri):
        return await asyncio.gather(*[r.resolve_uri(f"http://{other[uri.host]}")])

    other = {"a": "b", "b": "a"}
    r.add_rewrite("a", there)
    r.add_rewrite("b", there)
    assert await r.resolve_uri("http://a") == endp.Unknown(
        "the rules of resolvers go round in a circle"
    )
    r.add_rewrite("b", to(HERE))
    assert await r.resolve_uri("http://a") == HERE


async def test_many_at_once_are_no_circle():
    r = everything(to(HERE))
    found = await asyncio.gather(*(r.resolve_uri(f"http://h{n}") for n in range(100)))
    assert found == [HERE] * 100


async def test_resolver_belongs_to_no_thread():
    r = everything(port_of_service)
    found = []

    def elsewhere():
        r.add_rewrite("there", to(UNIX))
        found.append(asyncio.run(r.resolve_uri("http://there")))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert found == [UNIX]
    assert await r.resolve_uri("http://there") == UNIX


# What is told -------------------------------------------------------------------------------------


async def test_each_step_is_logged_without_path_and_query(caplog):
    caplog.set_level(logging.DEBUG, "conduit")
    r = Resolver(rewrites=[("example", to(HERE, UNIX))])
    await r.resolve_all("https://db.example:8443/s3cret?token=s3cret")
    await r.resolve_all("https://other/s3cret")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == (
        "resolve uri=https://db.example:8443 service=https port=8443 tls=yes rule=example"
    )
    assert lines[1].startswith(
        "resolved uri=https://db.example:8443 "
        "to=tls://192.0.2.1:1?hostname=db.example,tls+unix:/run/x?hostname=db.example seconds="
    )
    assert lines[2] == "unknown uri=https://other reason=\"there is no rule for 'other'\""
    assert len(lines) == 3
    assert "s3cret" not in caplog.text


async def test_shows_what_it_is_made_of():
    r = Resolver(rewrites=[("a", to(HERE)), ("b", to(HERE))])
    assert repr(r).startswith("<resolver with 2 rules, <services ")
