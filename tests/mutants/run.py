#!/usr/bin/env python3
"""Takes one safeguard out at a time, of the queue and of the router, and expects the tests to turn red.

    python3 tests/mutants/run.py                # all of them
    python3 tests/mutants/run.py queue          # those of the queue, or of the router
    python3 tests/mutants/run.py router sync    # of these, those whose name contains a word
    python3 tests/mutants/run.py --check        # only whether each still matches its source, in no time

Works on a scratch copy of the tracked files; builds go to $CARGO_TARGET_DIR/mutants, or to a directory beside the
copy. Ends with a table, and with 1 if a mutant survived, does not build, or does not match its source any more.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import queue_table
import router_table

CUTS = "1000"
TIME_LIMIT = 900  # seconds for one run of the tests; a mutant that hangs is dead too
# Built anew for every mutant, so building fast counts for more than running fast.
FASTER = ["--config", "profile.dev.package.chrysalis-queue.opt-level=1", "--config", "profile.dev.debug=0"]
TABLES = {"queue": queue_table, "router": router_table}


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    words = sys.argv[1:]
    if words == ["--check"]:
        return check_tables(root)
    tables = [word for word in words if word in TABLES] or list(TABLES)
    words = [word for word in words if word not in TABLES]
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="mutants-"))
    target = os.environ.get("CARGO_TARGET_DIR")
    target = str(pathlib.Path(target) / "mutants") if target else str(scratch / "target")
    environment = dict(os.environ, CARGO_TARGET_DIR=target, CHRYSALIS_SIM_CUTS=CUTS, RUST_BACKTRACE="0",
                       RUSTFLAGS="-A warnings")
    try:
        tree = scratch / "tree"
        for name in subprocess.check_output(["git", "ls-files"], cwd=root, text=True).splitlines():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, tree / name)  # newer than any build of an earlier run
        check_tables(tree)
        results = []
        for table in tables:
            attack = ATTACKS[table](tree, environment)
            for mutant in TABLES[table].MUTANTS:
                if words and not any(word in mutant[0] for word in words):
                    continue
                results.append((f"{table}: {mutant[0]}", attack.on(mutant)))
                print(": ".join(results[-1]), file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    width = max(len(name) for name, _ in results)
    for name, result in results:
        print(f"{name:{width}}  {result}")
    bad = [name for name, result in results if not result.startswith("killed")]
    print(f"{len(results) - len(bad)} of {len(results)} killed")
    sys.exit(1 if bad else 0)


def check_tables(tree):
    stale = []
    for table in TABLES.values():
        for name, file, changes, *_ in table.MUTANTS:
            source = (tree / table.FOLDER / file).read_text()
            found = [source.count(search) for search, _ in changes]
            if found != [1] * len(changes):
                stale.append(f"the table is stale: {name!r} matches {found} times in {file}")
    if stale:
        sys.exit("\n".join(stale))


class Attack:
    """Mutants of one crate, in a tree of their own."""

    def __init__(self, tree, environment):
        self.tree, self.environment = tree, environment
        unchanged = self.first_red(self.everything())
        if unchanged != "survived":
            sys.exit(f"the tests are red without any mutant: {unchanged}")

    def on(self, mutant):
        name, file, changes, *asked = mutant
        path = self.tree / self.folder / file
        source = path.read_text()
        mutated = source
        for search, replace in changes:
            mutated = mutated.replace(search, replace)
        path.write_text(mutated)
        try:
            return self.first_red(self.commands(*asked))
        finally:
            path.write_text(source)

    def first_red(self, commands):
        for command in commands:
            result = self.run(command)
            if result != "survived":
                return result
        return "survived"

    def run(self, command):
        build = subprocess.run(self.cargo(command, ["--no-run"]), cwd=self.tree, env=self.environment, capture_output=True,
                               text=True)
        if build.returncode != 0:
            return "does not build\n" + build.stderr[-2000:]
        started = time.monotonic()
        tests = subprocess.Popen(self.cargo(command, []), cwd=self.tree, env=self.environment, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, start_new_session=True)
        try:
            output, _ = tests.communicate(timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(tests.pid, 9)
            tests.wait()
            return "killed (it hangs)"
        if tests.returncode == 0:
            return "survived"
        failed = [line.split()[0] for line in output.splitlines() if line.endswith("--- FAILED")]
        if not failed:  # --quiet names them at the end only
            failed = [line.strip() for line in output.split("failures:")[-1].splitlines() if line.startswith("    ")]
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        return f"killed in {time.monotonic() - started:.0f} s by {failed[0] if failed else 'a unit test'}{more}"


class OnQueue(Attack):
    """The quick tests first; the sweeps over every operation and all other tests only if those stay green."""

    folder = queue_table.FOLDER
    package = "chrysalis-queue"

    def cargo(self, command, more):
        arguments, filters = command
        return ["cargo", *FASTER, "test", "--quiet", "--package", self.package, *arguments, *more, "--", *filters]

    def commands(self):
        simulated = ["--test", "simulated_disk"]
        sweeps = ["a_power_cut_at_every_operation", "every_single_failure"]
        skip = [word for sweep in sweeps for word in ("--skip", sweep)]
        others = ["--lib", "--test", "leasing", "--test", "ledger", "--test", "search"]
        return [(simulated, skip), (simulated, sweeps), (others, [])]

    everything = commands


class OnRouter(Attack):
    """The tests that are named beside a mutant, one target at a time; all others only if those stay green."""

    folder = router_table.FOLDER
    package = "chrysalis"

    cargo = OnQueue.cargo

    def commands(self, asked):
        named, words = [], list(asked)
        while words:
            word = words.pop(0)
            if word == "--lib":
                module = [words.pop(0)] if words and not words[0].startswith("--") else []
                named.append((["--lib"], module))
            else:
                named.append((["--test", words.pop(0)], []))
        return named + self.everything()

    def everything(self):
        return [(["--lib", "--tests"], [])]


ATTACKS = {"queue": OnQueue, "router": OnRouter}

if __name__ == "__main__":
    main()
