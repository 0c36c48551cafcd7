"""Make the virtual environment .venv/NAME, or leave it alone if it is up to date.

Usage: PYTHON scripts/make_venv.py NAME [--group GROUP] [--extra EXTRA]...

The interpreter that runs this file is the one the environment is made with. The package is
installed editable, so that only a change of ``pyproject.toml`` (or of the version, the
interpreter, the place of the checkout) makes an environment stale; it is then made anew.
"""

import argparse
import fcntl
import hashlib
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def fingerprint(requirements: list[str]) -> str:
    """Return a text that differs whenever an environment made before would not do now."""
    digest = hashlib.sha256()
    for file in ("pyproject.toml", "src/conduit/_version.py"):
        digest.update((ROOT / file).read_bytes())
    return "\n".join([digest.hexdigest(), sys.version, sys.prefix, str(ROOT), *requirements])


def make(path: Path, requirements: list[str]) -> None:
    """Make the environment from nothing, whatever was there before."""
    # --group needs a pip of 2025: upgrade it before anything else.
    venv.create(path, clear=True, symlinks=True, with_pip=True, prompt=f"conduit-{path.name}")
    pip = [str(path / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-qq", "--upgrade", "pip"], cwd=ROOT, check=True)
    subprocess.run([*pip, "install", "-qq", *requirements], cwd=ROOT, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/make_venv.py")
    parser.add_argument("name")
    parser.add_argument("--group", help="a dependency group of pyproject.toml")
    parser.add_argument("--extra", action="append", help="an extra of the package")
    args = parser.parse_args()

    requirements = ["--editable", f".[{','.join(args.extra)}]" if args.extra else "."]
    if args.group:
        requirements += ["--group", args.group]
    path = ROOT / ".venv" / args.name
    path.parent.mkdir(exist_ok=True)
    with (path.parent / f"{args.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = path / "made-for"
        wanted = fingerprint(requirements)
        if stamp.exists() and stamp.read_text() == wanted:
            return 0
        print(f"Making .venv/{args.name} with {sys.executable} ...", flush=True)
        started = time.monotonic()
        try:
            make(path, requirements)
        except subprocess.CalledProcessError as error:
            print(f"{path} could not be made: {error}", file=sys.stderr)
            return 1
        stamp.write_text(wanted)
        print(f"Made .venv/{args.name} in {time.monotonic() - started:.0f} s.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
