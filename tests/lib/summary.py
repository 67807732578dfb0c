#!/usr/bin/env python3
"""summary.py FILE…: reads CTest's JUnit files and prints the closing line of tests/run. Exit 1 unless every test ran and passed and each
level of the suite had at least one test: a level that silently vanished is a failure."""
import sys
import xml.etree.ElementTree as ET

LEVELS = ["check", "unit", "token", "api", "e2e", "clients", "crash"]


def main():
    passed, failed, skipped, seconds, levels = 0, [], [], 0.0, set()
    for path in sys.argv[1:]:
        for case in ET.parse(path).getroot().iter("testcase"):
            name, status = case.get("name"), case.get("status")
            levels.add(name.split(".")[0])
            seconds += float(case.get("time") or 0)
            if status == "run":
                passed += 1
            elif status == "fail":
                failed.append(name)
            else:
                skipped.append(name)
    for name in failed:
        print(f"failed: {name}")
    for name in skipped:
        print(f"did not run: {name}")
    missing = [level for level in LEVELS if level not in levels]
    for level in missing:
        print(f"no test of level {level} ran")
    print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped ({seconds:.0f} s of tests)")
    return 1 if failed or skipped or missing or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
