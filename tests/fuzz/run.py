#!/usr/bin/env python3
"""Fuzzes: seeds, build, every target of both packages, and a table of what came of it. README.md says what the targets are.

    run.py everyday|release [--seconds N] [--executions N] [TARGET...]

`everyday` gives each target a minute. `release` gives each as many executions as are in RELEASE; interrupted, it goes on where it
was: corpus, executions so far and what was found are kept in <target directory>/fuzz. Exit code 1 says that something was found.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OWN, CODECS = HERE, ROOT / "codecs" / "fuzz"
TRIPLE = "x86_64-unknown-linux-gnu" if os.uname().machine == "x86_64" else f"{os.uname().machine}-unknown-linux-gnu"

# Target: package, longest input in bytes, seconds after which one execution hangs.
TARGETS = {
    "pdu": (OWN, 4096, 20),
    "association": (OWN, 512, 60),
    "scan": (OWN, 8192, 20),
    "recovery": (OWN, 256, 60),
    "config": (OWN, 8192, 20),
    "jpeg_decode": (CODECS, 16384, 20),
    "jpeg_round_trip": (CODECS, 4096, 20),
    "jpeg_lossless_decode": (CODECS, 16384, 20),
    "jpeg_lossless_round_trip": (CODECS, 4096, 20),
    "rle_decode": (CODECS, 4096, 20),
    "palette_decode": (CODECS, 4096, 20),
    "jpeg_ls_decode": (CODECS, 4096, 20),
    "jpeg2000_decode": (CODECS, 4096, 20),
    "jpeg_xl_decode": (CODECS, 4096, 20),
}
EVERYDAY = 60
RELEASE = {"pdu": 100_000_000}
RELEASE_OTHERS = 10_000_000
# Memory of a target, corpus included, in MiB. What one input may take is bounded far lower, in the target itself.
MEMORY = 2048
# Executions after which a long run writes down how far it is.
STRETCH = 600


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("how_long", choices=["everyday", "release"])
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=EVERYDAY, help="for each target of everyday")
    parser.add_argument("--executions", type=int, help="for each target of release")
    given = parser.parse_args()
    unknown = [name for name in given.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no target is called {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    missing = what_is_missing()
    if missing:
        print(f"skipped: {missing}")
        return 0
    names = given.targets or list(TARGETS)
    place = target_directory()
    make_seeds(place)
    build(names, place)
    rows = [fuzz(name, place, given) for name in names]
    print(table(rows))
    found = [row for row in rows if row["found"]]
    for row in found:
        for input_ in row["found"]:
            print(f"{row['target']}: {input_}\n    again: {row['program']} {input_}")
    return 1 if found else 0


def what_is_missing():
    """What there has to be and is not, in words."""
    if subprocess.run(["cargo", "fuzz", "--version"], capture_output=True).returncode:
        return "cargo-fuzz is not installed"
    nightly = subprocess.run(["cargo", "+nightly", "--version"], capture_output=True)
    return "a nightly toolchain is not installed" if nightly.returncode else None


def target_directory():
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()


def make_seeds(place):
    # The seeds are made by a stable compiler: they need nothing of the router.
    command = ["cargo", "run", "-q", "--manifest-path", HERE / "Cargo.toml", "-p", "chrysalis-fuzz-seeds"]
    environment = dict(os.environ, CARGO_TARGET_DIR=str(place))
    subprocess.run([*command, "--", place / "fuzz" / "seeds"], check=True, env=environment)


def build(names, place):
    """Without a sanitizer, for there is no unsafe code of ours: that is several times as fast."""
    for package in (OWN, CODECS):
        if not any(TARGETS[name][0] == package for name in names):
            continue
        command = ["cargo", "+nightly", "fuzz", "build", "-s", "none", "--fuzz-dir", package]
        subprocess.run(command, check=True, cwd=ROOT, env=dict(os.environ, CARGO_TARGET_DIR=str(place)))


def fuzz(name, place, given):
    """Runs one target until it has had its time or its executions, or has found something."""
    folder = place / "fuzz"
    corpus, kept = folder / "corpus" / name, folder / "found" / name
    for directory in (corpus, kept):
        directory.mkdir(parents=True, exist_ok=True)
    state_file = folder / f"{name}.json"
    row = {"target": name, "program": str(place / TRIPLE / "release" / name), "executions": 0, "seconds": 0.0}
    is_release = given.how_long == "release"
    if is_release and state_file.exists():
        row.update(json.loads(state_file.read_text()))
    wanted = given.executions or RELEASE.get(name, RELEASE_OTHERS)
    forgive(row["program"], kept, corpus)
    complaint = None
    while not crashes(kept):
        if is_release:
            left = wanted - row["executions"]
            if left <= 0:
                break
            limits = [f"-runs={left}", f"-max_total_time={STRETCH}"]
        else:
            limits = [f"-max_total_time={given.seconds}"]
        started = time.monotonic()
        executions, complaint = run(name, row["program"], corpus, kept, folder / "seeds" / name, limits)
        row["executions"] += executions
        row["seconds"] += time.monotonic() - started
        if is_release:
            keep = {"executions": row["executions"], "seconds": row["seconds"]}
            state_file.write_text(json.dumps(keep) + "\n")
        if complaint:
            print(complaint)
            break
        if not is_release:
            break
    row["found"] = [str(path) for path in crashes(kept)]
    if complaint and not row["found"]:
        row["found"] = ["it ended badly, and left no input"]
    return row


def run(name, program, corpus, kept, seeds, limits):
    """One run of libFuzzer. Returns executions, and the end of what it said if it did not end well."""
    _, longest, hang = TARGETS[name]
    arguments = [
        program, *limits, f"-max_len={longest}", f"-timeout={hang}", f"-rss_limit_mb={MEMORY}",
        f"-artifact_prefix={kept}/", "-print_final_stats=1", "-use_value_profile=0", corpus,
    ]
    if seeds.is_dir():
        arguments.append(seeds)
    print(f"{name} ...", flush=True)
    done = subprocess.run(arguments, capture_output=True, text=True, errors="replace")
    stated = re.findall(r"stat::number_of_executed_units: (\d+)", done.stderr)
    executions = int(stated[-1]) if stated else 0
    return executions, why(done.stderr) if done.returncode else None


def why(said):
    """What was said of a panic, or else the last of all."""
    lines = said.splitlines()
    panic = next((number for number, line in enumerate(lines) if " panicked at " in line), len(lines) - 12)
    return "\n".join(lines[max(panic, 0):][:12]) or "it said nothing"


def forgive(program, kept, corpus):
    """What was found before and is mended by now goes to the corpus."""
    for input_ in crashes(kept):
        if subprocess.run([program, input_, "-timeout=20"], capture_output=True).returncode == 0:
            input_.rename(corpus / input_.name)


def crashes(kept):
    return sorted(path for path in kept.iterdir() if path.name.split("-")[0] in ("crash", "timeout", "oom", "leak"))


def table(rows):
    lines = ["| target | executions | per second | minutes | found |", "|---|---|---|---|---|"]
    for row in rows:
        seconds = max(row["seconds"], 0.001)
        lines.append(
            f"| `{row['target']}` | {row['executions']:,} | {row['executions'] / seconds:,.0f} "
            f"| {seconds / 60:.1f} | {len(row['found'])} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    if shutil.which("cargo") is None:
        print("skipped: cargo is not installed")
        sys.exit(0)
    sys.exit(main())
