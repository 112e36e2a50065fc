"""A plugin of pytest: writes the outcome of each test to $SUITE_OUT/outcomes as soon as it is known."""

import os
import pathlib
import re

OUT = pathlib.Path(os.environ["SUITE_OUT"])
# Of several runs that leave their outcomes in one place.
PREFIX = os.environ.get("SUITE_PREFIX", "")
seen = {}


def pytest_runtest_logreport(report):
    name = PREFIX + " ".join(report.nodeid.split())
    # A failure in any phase counts, and the test's own phase before the others.
    if report.failed:
        seen[name] = "fail" if report.when == "call" else f"error in {report.when}"
        details = OUT / "details" / re.sub(r"[^\w.-]", "_", name)[:200]
        details.write_text(report.longreprtext, encoding="utf-8", errors="replace")
    elif report.skipped:
        seen.setdefault(name, "xfail" if hasattr(report, "wasxfail") else "skip")
    elif report.when == "call":
        seen.setdefault(name, "pass")
    if report.when == "teardown":
        with open(OUT / "outcomes", "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{name}: {seen.pop(name, 'unknown')}\n")
