"""Reads what `go test -json` prints; writes the outcome of each test, and the output of those that failed."""

import json
import pathlib
import re
import sys

out = pathlib.Path(sys.argv[1])
printed, outcomes = {}, {}
for line in sys.stdin:
    if not line.startswith("{"):
        continue
    event = json.loads(line)
    name = event.get("Package", "") + ("/" + event["Test"] if "Test" in event else "")
    # Temporary folders have other names in each run.
    name = re.sub(r"/tmp/[^/' ]+", "/tmp/X", name)
    if event["Action"] == "output":
        printed.setdefault(name, []).append(event["Output"])
    elif event["Action"] in ("pass", "fail", "skip"):
        outcomes[name] = event["Action"]
    elif event["Action"] == "run":
        # Stays so if the package's process ends in the middle.
        outcomes[name] = "unfinished"

# A package fails because a test of it does; it says something only where none did.
for package in [name for name in outcomes if outcomes[name] == "fail"]:
    its = [outcome for other, outcome in outcomes.items() if other.startswith(package + "/Test")]
    if "fail" in its or "unfinished" in its:
        outcomes[package] = "pass"

with open(out / "outcomes", "a", encoding="utf-8") as file:
    for name, outcome in sorted(outcomes.items()):
        file.write(f"{name}: {outcome}\n")
        if outcome not in ("pass", "skip"):
            details = out / "details" / re.sub(r"[^\w.-]", "_", name)[:200]
            details.write_text("".join(printed.get(name, [])), encoding="utf-8")
