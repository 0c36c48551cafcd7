"""The first file system of a domain: Xen's tools, Python, our package, its dependencies, tests."""

from __future__ import annotations

import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import archive
from .packages import Packages

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

# Those that the tests in there need. As many as the test group has would be slow to import.
_DISTRIBUTIONS = [
    *("pytest", "pytest-timeout", "anyio", "blockbuster", "uvloop", "cryptography", "idna"),
    *("hypothesis", "tlslite-ng==0.8.2"),
]
# What blockbuster needs, and has no wheels.
_SOURCE_ONLY = "forbiddenfruit"

_XEN_PROGRAMS = ["xenstored", "xl", "xen-init-dom0", "xenconsoled", "vchan-socket-proxy"]
_MODULES = [
    *("xen-privcmd", "xenfs", "xen-evtchn", "xen-gntdev", "xen-gntalloc"),
    *("vsock", "vmw_vsock_virtio_transport_common", "vsock_loopback"),
]
_APPLETS = [
    *("sh", "mount", "mkdir", "ls", "cat", "sleep", "insmod", "ip", "ln"),
    *("rm", "grep", "sed", "cut", "poweroff", "setsid", "kill", "ps", "dmesg"),
]

_LEFT_OUT = {
    *("test", "idlelib", "ensurepip", "lib2to3", "pydoc_data", "tkinter", "turtledemo", "venv"),
    *("distutils", "pip", "setuptools", "tests"),
}

_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_DIRECTORIES = (
    "proc sys dev run tmp root etc/xen var/lib/xen var/lib/xenstored var/log/xen/console "
    f"usr/bin usr/sbin usr/lib64 {_LIBRARIES} modules boot work"
).split()


def build(cache: Path, packages: Packages, chosen: list[str]) -> None:
    """Make `xen`, `vmlinux`, `domain.img` and `dom0.img` in the cache.

    chosen: the node ids of the tests to run.

    All but our own files is kept from the last time. dom0 has the kernel and the file system of
    another domain in its own.
    """
    base = cache / "base"
    stamp = cache / "base-made"
    wanted = f"{packages} {(HERE / 'image.py').read_text()}"
    if not stamp.exists() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        print("Making a file system ...", flush=True)
        _make_base(base, packages)
        _unpack_kernels(cache, packages)
        with (cache / "base.img").open("wb") as image:
            archive.write(base, image)
        stamp.write_text(wanted)
    ours = _fresh(cache / "ours")
    _copy_ours(ours, chosen)
    with (cache / "domain.img").open("wb") as image:
        image.write((cache / "base.img").read_bytes())
        # Each archive begins at a multiple of four.
        image.write(bytes(-image.tell() % 4))
        archive.write(ours, image)
    extra = _fresh(cache / "extra")
    (extra / "boot").mkdir()
    os.link(cache / "vmlinux", extra / "boot" / "vmlinux")
    os.link(cache / "domain.img", extra / "boot" / "domain.img")
    with (cache / "dom0.img").open("wb") as image:
        image.write((cache / "domain.img").read_bytes())
        image.write(bytes(-image.tell() % 4))
        archive.write(extra, image)


def _make_base(base: Path, packages: Packages) -> None:
    _fresh(base)
    for directory in _DIRECTORIES:
        (base / directory).mkdir(parents=True, exist_ok=True)
    for name, target in (("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib64", "usr/lib64")):
        (base / name).symlink_to(target)
    (base / "lib").symlink_to("usr/lib")
    (base / "var/run").symlink_to("/run")
    (base / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (base / "etc/group").write_text("root:x:0:\n")
    (base / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    (base / "etc/xen/xl.conf").touch()
    _copy_programs(base, packages)
    _copy_python(base, packages)
    _copy_libraries(base, packages.guest)
    _compile(base, packages)


def _copy_programs(base: Path, packages: Packages) -> None:
    busybox = next(p for d in ("bin", "usr/bin") if (p := packages.guest / d / "busybox").exists())
    shutil.copy(busybox, base / "usr/bin/busybox")
    for applet in _APPLETS:
        (base / "usr/bin" / applet).symlink_to("busybox")
    # By their real paths: the names in /usr/sbin are scripts which choose a version.
    for program in _XEN_PROGRAMS:
        source = packages.guest / f"usr/lib/xen-{packages.xen}/bin" / program
        directory = base / f"usr/lib/xen-{packages.xen}/bin"
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, directory / program)
        (base / "usr/sbin" / program).symlink_to(f"../lib/xen-{packages.xen}/bin/{program}")
    for source in (packages.guest / "usr/bin").glob("xenstore*"):
        shutil.copy(source, base / "usr/bin", follow_symlinks=False)
    modules = packages.kernel / "lib/modules"
    for name in _MODULES:
        [source] = modules.rglob(f"{name}.ko")
        shutil.copy(source, base / "modules")


def _copy_python(base: Path, packages: Packages) -> None:
    name = f"python{packages.python}"
    shutil.copy(packages.guest / "usr/bin" / name, base / "usr/bin" / name)
    (base / "usr/bin/python3").symlink_to(name)
    shutil.copytree(
        packages.guest / "usr/lib" / name,
        base / "usr/lib" / name,
        symlinks=True,
        ignore=lambda _, names: [n for n in names if n in _LEFT_OUT or n.startswith("config-")],
    )
    _install(base / "site", packages.python)


def _install(site: Path, python: str) -> None:
    """Install the distributions for a Python that is perhaps not the one that runs this."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq"]
    with tempfile.TemporaryDirectory() as wheels:
        # For another Python pip takes wheels alone; the wheel of this one is for any.
        subprocess.run([*pip, "wheel", "--no-deps", "-w", wheels, _SOURCE_ONLY], check=True)
        place = ["--find-links", wheels, "--target", str(site)]
        wanted = ["--python-version", python, "--only-binary", ":all:", *_DISTRIBUTIONS]
        subprocess.run([*pip, "install", *place, *wanted], check=True)
    shutil.rmtree(site / "bin", ignore_errors=True)


def _copy_libraries(base: Path, guest: Path) -> None:
    """Every shared library that something in the tree needs, and those that are loaded by name."""
    places = [p for d in ("usr/lib", "lib") for p in (guest / d).rglob("*.so*")]
    known = {place.name: place for place in places}
    wanted = {name for name in known if re.match(r"lib(xenvchan|xenctrl|xenstore|gcc_s)\.so", name)}
    seen: set[str] = set()
    for path in base.rglob("*"):
        if path.is_file() and not path.is_symlink():
            wanted |= _needs(path)
    while missing := wanted - seen:
        name = missing.pop()
        seen.add(name)
        if name in known:
            real = _real(known[name], guest)
            shutil.copy(real, base / _LIBRARIES / name)
            wanted |= _needs(real)
    shutil.copy(_real(known["ld-linux-x86-64.so.2"], guest), base / "usr/lib64")


def _real(path: Path, guest: Path) -> Path:
    """Where a link in the guest's tree leads, in that tree."""
    while path.is_symlink():
        target = os.readlink(path)
        path = guest / target.lstrip("/") if target.startswith("/") else path.parent / target
    return path


def _needs(path: Path) -> set[str]:
    with path.open("rb") as file:
        if file.read(4) != b"\x7fELF" or path.suffix == ".ko":
            return set()
    listing = subprocess.run(
        ["readelf", "--dynamic", path], capture_output=True, text=True, check=False
    ).stdout
    return set(re.findall(r"\(NEEDED\).*\[(.*)\]", listing))


def _compile(base: Path, packages: Packages) -> None:
    """Compile all Python of the tree with its own Python: in there it would take minutes."""
    library = base / f"usr/lib/python{packages.python}"
    loader = [base / "usr/lib64/ld-linux-x86-64.so.2", "--library-path", base / _LIBRARIES]
    python = [*loader, base / f"usr/bin/python{packages.python}", "-I", "-S"]
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", base]
    command = [*python, "-m", "compileall", *options, library, base / "site"]
    subprocess.run(
        [str(part) for part in command],
        env={"PYTHONHOME": str(base / "usr"), "PATH": os.environ["PATH"]},
        # What is there to be no Python on purpose is no failure.
        check=False,
    )


def _unpack_kernels(cache: Path, packages: Packages) -> None:
    """Xen and Linux as they run; unpacking them in there would take long."""
    [hypervisor] = (packages.kernel / "boot").glob("xen-*.gz")
    with (cache / "xen").open("wb") as file:
        subprocess.run(["gzip", "-dc", hypervisor], stdout=file, check=True)
    [kernel] = (packages.kernel / "boot").glob("vmlinuz-*")
    data = kernel.read_bytes()
    start = data.index(b"\xfd7zXZ\0")
    (cache / "vmlinux").write_bytes(lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data[start:]))


def _copy_ours(ours: Path, chosen: list[str]) -> None:
    work = ours / "work"
    keep = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", work / "src", ignore=keep)
    shutil.copytree(ROOT / "tests", work / "tests", ignore=keep)
    shutil.copy(ROOT / "pyproject.toml", work)
    (work / "chosen").write_text("".join(f"{node}\n" for node in chosen), "utf-8")
    shutil.copy(HERE / "init", ours / "init")
    (ours / "init").chmod(0o755)


def _fresh(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory
