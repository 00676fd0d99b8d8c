"""Run the proofs of the mapping library, record what they show, write the table of the README.

``python3 scripts/prove.py`` runs all of them, ``python3 scripts/prove.py densenet vgg`` those two,
``python3 scripts/prove.py --table`` only writes the table anew from the records. The runs are those
of the test suite (tests/mappings/test_proofs.py), so nothing is recorded that no test has seen.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys

import environment

README = environment.ROOT / "README.md"
TABLE = re.compile(r"(?<=<!-- proofs -->\n).*?(?=<!-- /proofs -->)", re.DOTALL)
TESTS = "tests/mappings/test_proofs.py"


def main() -> int:
    """Run, record, write the table; return the exit code of the runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="mappings; by default all")
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args()
    environment.enter((*environment.GROUPS, "oracles"))
    code = 0 if options.table else run(options.names)
    write_table()
    return code


def run(names: list[str]) -> int:
    """Run the proofs of these mappings, or of all, and record them."""
    chosen = ["-k", " or ".join(f"[{name}:" for name in names)] if names else []
    command = [sys.executable, "-m", "pytest", "-q", TESTS, *chosen]
    variables = {**os.environ, "WEIGHTFERRY_PROOFS": "write"}
    return subprocess.run(command, cwd=environment.ROOT, env=variables, check=False).returncode


def write_table() -> None:
    """Put the table of the records between its two marks in the README."""
    sys.path.insert(0, str(environment.ROOT))
    from converter.mapping.summary import markdown

    page = README.read_text(encoding="utf-8")
    README.write_text(TABLE.sub(lambda _: markdown(), page), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
