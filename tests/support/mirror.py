"""Says which module of `gateway/` has no test file of its name under `tests/unit/`.

Modules without behaviour (Protocols, structs, the lists of keys) are named here, with the reason.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
WITHOUT_TESTS: dict[str, str] = {
    "__main__.py": "one call of cli/main.py",
    "start_error.py": "exceptions",
    "proxy/ports.py": "Protocols and structs",
    "server/ports.py": "Protocols and structs",
    "telemetry/kind.py": "Protocols and structs",
}


def missing() -> list[str]:
    """Test files that should be there."""
    found = []
    for module in sorted((ROOT / "gateway").rglob("*.py")):
        path = module.relative_to(ROOT / "gateway")
        if path.name == "__init__.py" or path.as_posix() in WITHOUT_TESTS:
            continue
        test = ROOT / "tests" / "unit" / path.with_name(f"test_{path.name}")
        if not test.exists():
            found.append(f"{test.relative_to(ROOT)}: missing, for gateway/{path}")
    return found


if __name__ == "__main__":
    found = missing()
    sys.stdout.write("".join(f"{line}\n" for line in found))
    sys.exit(bool(found))
