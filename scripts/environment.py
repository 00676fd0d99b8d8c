"""Make ``.venv`` ready and go on inside it; the standard library is all this needs.

Decides what a development environment holds (``constraints.txt``, the groups of
``pyproject.toml``) and when it is complete: a stamp inside ``.venv`` names the two files by their
hash, so that a second run starts at once and an interrupted installation is done again.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PROGRAMS = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = PROGRAMS / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "weightferry-stamp.json"
CONSTRAINTS = ROOT / "constraints.txt"
EXTRAS = ("torch", "keras")
GROUPS = ("test",)
OLDEST = (3, 11)


def enter(groups: Sequence[str] = GROUPS) -> None:
    """Return inside a complete ``.venv``; otherwise make one and start the script again in it.

    Args:
        groups: Dependency groups of ``pyproject.toml`` that the script needs.
    """
    if sys.version_info < OLDEST:
        _fail(
            f"this needs Python {OLDEST[0]}.{OLDEST[1]} or newer, and this is "
            f"{sys.version_info[0]}.{sys.version_info[1]} ({sys.executable})"
        )
    ready = _installed_groups()
    if ready is None or not set(groups) <= ready:
        _install(sorted(set(groups) | (ready or set())))
    if Path(sys.prefix).resolve() == VENV.resolve():
        return
    sys.stdout.flush()
    command = [str(PYTHON), *sys.argv]
    if os.name == "nt":  # execv returns to the shell at once there
        sys.exit(subprocess.run(command, check=False).returncode)
    os.execv(command[0], command)  # noqa: S606  # our own interpreter, our own arguments


def program(name: str) -> str:
    """Return the path of a command that ``.venv`` holds."""
    return str(PROGRAMS / (f"{name}.exe" if os.name == "nt" else name))


def our_command() -> tuple[list[str], dict[str, str]]:
    """Return what starts ``converter`` of this checkout from any folder: command, environment."""
    return [sys.executable, "-m", "converter"], {**os.environ, "PYTHONPATH": str(ROOT)}


def digest(*files: Path) -> str:
    """Return what an environment made from ``files`` at this place is recognised by."""
    state = hashlib.sha256(str(VENV).encode())
    for file in files:
        state.update(hashlib.sha256(file.read_bytes()).digest())
    return state.hexdigest()


def _installed_groups() -> set[str] | None:
    """Return the groups that the stamp vouches for, or ``None`` where it vouches for nothing."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
        if stamp["digest"] == digest(ROOT / "pyproject.toml", CONSTRAINTS) and PYTHON.exists():
            return set(stamp["groups"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # absent, or not ours: made anew
    return None


def _install(groups: Sequence[str]) -> None:
    STAMP.unlink(missing_ok=True)
    print(f"Preparing {VENV.name} (PyTorch and Keras take a few minutes, once) ...", flush=True)
    if not _works():
        try:
            venv.EnvBuilder(with_pip=True, clear=VENV.exists(), symlinks=os.name != "nt").create(
                VENV
            )
        except (OSError, subprocess.CalledProcessError) as error:
            _fail(
                f"cannot make {VENV}: {error}",
                "on Debian and Ubuntu the package python3-venv is needed",
            )
    constraints = ["--constraint", str(CONSTRAINTS)]
    _pip("--upgrade", "pip", *constraints)  # groups need pip 25.1
    wanted = [
        part for group in groups for part in ("--group", f"{ROOT / 'pyproject.toml'}:{group}")
    ]
    _pip(*constraints, *wanted, "--editable", f"{ROOT}[{','.join(EXTRAS)}]")
    if "oracles" in groups:  # its dependencies are TensorFlow's, which it runs without
        _pip("--no-deps", *constraints, "keras-hub")
    STAMP.write_text(
        json.dumps(
            {"digest": digest(ROOT / "pyproject.toml", CONSTRAINTS), "groups": list(groups)}
        ),
        encoding="utf-8",
    )


def _works() -> bool:
    """Whether ``.venv`` has an interpreter that starts, new enough and with pip."""
    if not PYTHON.exists():
        return False
    question = f"import sys, pip; sys.exit(sys.version_info < {OLDEST})"
    answer = subprocess.run([str(PYTHON), "-c", question], check=False, capture_output=True)
    return answer.returncode == 0


def _pip(*arguments: str) -> None:
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", *arguments]
    if subprocess.run(command, check=False, cwd=ROOT).returncode:
        _fail(
            "pip could not install what this needs; its own words stand above",
            f"to try by hand: {' '.join(command)}",
        )


def _fail(text: str, hint: str | None = None) -> NoReturn:
    print(f"error: {text}", file=sys.stderr)
    if hint:
        print(f"  hint  {hint}", file=sys.stderr)
    sys.exit(2)
