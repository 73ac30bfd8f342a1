#!/usr/bin/env python3
"""Takes one safeguard of the queue out at a time, and expects the tests to turn red.

    python3 queue/mutants/run.py            # all of them
    python3 queue/mutants/run.py sync       # those whose name contains a word

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

CUTS = "1000"
TIME_LIMIT = 300  # seconds for one run of the tests; a mutant that hangs is dead too

# name, file below queue/src, pairs of (search, replace), each search matching exactly once.
MUTANTS = [
    ("no sync of a spool file", "spool/staged.rs",
     [("self.file.sync_data().map_err(", "Ok::<(), io::Error>(()).map_err(")]),
    ("no sync of a bucket's directory", "spool/names.rs",
     [("if let Err(e) = spool.fs.sync_dir(&spool.paths.bucket(bucket)) {",
       "if let Err(e) = Ok::<(), std::io::Error>(()) {")]),
    ("no sync of the spool directory", "spool/names.rs",
     [(".sync_dir(&spool.paths.spool())", ".list(&spool.paths.spool())\n        .map(drop)")]),
    ("no sync of a journal", "journal/writer.rs",
     [("and_then(|file| file.sync_data())", "and_then(|file| file.size().map(drop))")]),
    ("no sync of the journal directory", "journal/writer.rs",
     [("self.fs.sync_dir(&self.paths.journals())", "self.fs.list(&self.paths.journals()).map(drop)")]),
    ("no look at the end mark", "spool/layout.rs",
     [("from.raw(END_MARK.len())? == END_MARK &&", "from.raw(END_MARK.len())?.len() == END_MARK.len() &&")]),
    ("no CRC of head, envelope and trailer", "spool/blob.rs",
     [("if checksum(&head, &tail, &envelope, &trailer) != crc {",
       "if checksum(&head, &tail, &envelope, &trailer) != crc && head.len() > 1 << 30 {")]),
    ("no hash when a file is taken in", "keeper/recovery.rs",
     [("match blob.verify() {", "match blob.verify().or(Ok::<(), BlobError>(())) {")]),
    ("no hash before sending", "spool/blob.rs",
     [("if digest == self.extent.sha256 {", "if digest.len() == self.extent.sha256.len() {")]),
    ("payloads go before their outcome is durable", "keeper/retention.rs",
     [("        self.flush()?;\n        let mut freed = 0;", "        let mut freed = 0;")]),
    ("a file is taken in where it lies", "keeper/recovery.rs",
     [("if let Some(copy) = self.copy(&blob)? {", "if let Some(copy) = self.copy(&blob)?.filter(|c| c.0 == 0) {")]),
    ("the old name of a copied file is not made to go", "keeper/recovery.rs",
     [(".sync_dir(&self.spool.paths.bucket(bucket))", ".list(&self.spool.paths.bucket(bucket)).map(drop)")]),
    ("the last batch is not written again", "keeper/recovery.rs",
     [("self.journals.push(*bucket, record.clone());", "drop(record.clone());")]),
    ("the last batch is written again under another number", "keeper/recovery.rs",
     [("last_batch.saturating_sub(1)", "*last_batch")]),
    ("no sync of the boot number", "boot.rs",
     [("        file.sync_data()\n", "        file.size().map(drop)\n")]),
    ("no reservation", "spool/staged.rs",
     [("while end > self.reserved_to {", "while end > self.reserved_to && end == 0 {")]),
    ("receiving uses what the ballast gave up", "spool/space.rs",
     [(".saturating_sub(keep_free).saturating_sub(missing)", ".saturating_sub(keep_free.max(missing / u64::MAX))")]),
    ("the ballast gives nothing up", "spool/space.rs",
     [("ballast.held > 0 && ballast.resize", "ballast.held > u64::MAX - 1 && ballast.resize")]),
    ("the ballast is not there after a cut", "spool/space.rs",
     [("if grew { file.sync_data() } else { Ok(()) }", "if grew { file.size().map(drop) } else { Ok(()) }")]),
    ("copying uses the ballast", "keeper/recovery.rs",
     [("Err(CopyError::Io(e)) if is_full(&e) => Ok(None),",
       "Err(CopyError::Io(e)) if is_full(&e) => {\n                if self.spool.space.give_up_step(&*self.spool.fs) { self.copy(blob) } else { Ok(None) }\n            }")]),
    ("a failed file sync does not poison", "spool/staged.rs",
     [("CommitError::Poisoned(self.spool.poison.set(Scope::Spool, \"sync of a spool file\", &e))",
       "CommitError::Io(e)")]),
    ("a failed journal sync does not poison", "journal/writer.rs",
     [("let fatal = |e: io::Error| poison.set(Scope::Journal, \"sync of a journal\", &e);",
       "let fatal = |e: io::Error| (&poison, Poisoned(e.to_string())).1;")]),
    ("one key overtakes", "keeper/choose.rs",
     [("if self.is_blocked(destination, &instance)? {",
       "if self.is_blocked(destination, &instance)? && instance.sequence.n() == 0 {")]),
    ("one that waits stops the rest", "keeper/choose.rs",
     [("                        Ok(None) => {}\n", "                        Ok(None) => return ControlFlow::Break(()),\n")]),
    ("a rule's discard is sent", "instance.rs",
     [("Self::Discard { why } => State::Discarded { who: BY_RULE.to_owned(), why: why.clone() },",
       "Self::Discard { .. } => State::Owed,")]),
    ("a rule's discard is taken for a person's", "keeper/duplicates.rs",
     [("same.iter().rev().find(|k| !k.was_dropped_at(&owed.destination))", "same.last()"),
      ("known.iter().filter(|k| !k.was_dropped())", "known.iter()")]),
    ("a rule's discard takes over", "keeper/duplicates.rs",
     [("filter(|o| !matches!(o.start, Start::Discard { .. })).peekable()", "filter(|_| true).peekable()")]),
    ("a study goes before it is quiet", "keeper/choose.rs",
     [("if quiet_from > now || busy", "if busy"), ("waits_until.max(quiet_from)", "waits_until")]),
    ("batches have no number", "journal/writer.rs",
     [("encode_batch(tail.batch + 1, &records)", "encode_batch(1, &records)")]),
    ("a damaged journal holds nothing", "keeper/replay.rs",
     [("damaged_boots.iter().any(|boot| *boot > noted || noted == 0)",
       "damaged_boots.iter().any(|boot| *boot > noted && noted == u32::MAX)")]),
    ("a lost journal is not noticed", "keeper/recovery.rs",
     [(" || envelope.sequence.boot() < filled.settled;", ";")]),
    ("damage is noted before it is dealt with", "keeper/recovery.rs",
     [("        self.judge_unknown_files(&filled, &mut recovered)?;\n        self.note_damage(&filled);\n",
       "        self.note_damage(&filled);\n        self.flush().map_err(unavailable)?;\n        self.judge_unknown_files(&filled, &mut recovered)?;\n")]),
    ("an index made from a damaged journal is believed", "keeper/mod.rs",
     [("self.hold_what_damage_left_open(&filled).and_then(|()| self.flush())",
       "Some(&filled).map_or(Ok(()), |_| self.flush())")]),
    # Either sync alone is enough: an empty directory that comes back does no harm, nor do files in one that does not.
    ("a bucket's removal is not durable when its journal goes", "keeper/retention.rs",
     [("match fs.sync_dir(&dir) {", "match fs.list(&dir).map(drop) {"),
      ("                fs.sync_dir(&self.spool.paths.spool())\n",
       "                fs.list(&self.spool.paths.spool()).map(drop)\n")]),
    ("an expiring ledger is not emptied first", "keeper/retention.rs",
     [("if file.set_len(0).is_err() {", "if file.size().is_err() {")]),
    ("what was discarded before is sent", "keeper/duplicates.rs",
     [("discarded.then(|| \"discarded before\".to_owned())",
       "discarded.then(|| \"discarded before\".to_owned()).filter(String::is_empty)")]),
    ("a hold is lost with the newer record", "keeper/duplicates.rs",
     [("State::Superseded { by, .. } if by == new)", "State::Superseded { by, .. } if by < new)")]),
    ("one found late takes over from a newer", "keeper/duplicates.rs",
     [("filter(|k| k.instance.sequence < new.sequence)", "filter(|k| k.instance.sequence != new.sequence)")]),
    ("owed to nobody counts as sent for ever", "view/mod.rs",
     [("let (old, new) = (final_at(instance, before), final_at(instance, after));",
       "let (old, new) = (final_at(instance, before).filter(|_| !before.is_empty()), final_at(instance, after));")]),
    ("an instance under way is evicted", "keeper/retention.rs",
     [("if !keeper.is_under_way(sequence) {", "if !keeper.is_under_way(sequence) || at > 0 {")]),
    ("duplicates are not looked at while the index fails", "keeper/mod.rs",
     [("                Err(error) => {\n                    self.undecided.push_front(fresh);\n                    return Err(error);\n",
       "                Err(_) => {\n                    let decision = duplicates::decide(&fresh.instance, &fresh.owed, &[]);\n                    self.take_in(fresh.instance, decision);\n")]),
]


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    wanted = sys.argv[1:]
    chosen = [m for m in MUTANTS if not wanted or any(word in m[0] for word in wanted)]
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
        check_table(tree)
        unchanged = run(tree, environment)
        if unchanged != "survived":
            sys.exit(f"the tests are red without any mutant: {unchanged}")
        results = []
        for name, file, changes in chosen:
            results.append((name, attack(tree, environment, file, changes)))
            print(f"{name}: {results[-1][1]}", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    width = max(len(name) for name, _ in results)
    for name, result in results:
        print(f"{name:{width}}  {result}")
    bad = [name for name, result in results if not result.startswith("killed")]
    print(f"{len(results) - len(bad)} of {len(results)} killed")
    sys.exit(1 if bad else 0)


def check_table(tree):
    for name, file, changes in MUTANTS:
        source = (tree / "queue/src" / file).read_text()
        for search, _ in changes:
            if source.count(search) != 1:
                sys.exit(f"the table is stale: {name!r} matches {source.count(search)} times in {file}")


def attack(tree, environment, file, changes):
    path = tree / "queue/src" / file
    source = path.read_text()
    mutated = source
    for search, replace in changes:
        mutated = mutated.replace(search, replace)
    path.write_text(mutated)
    try:
        return run(tree, environment)
    finally:
        path.write_text(source)


def run(tree, environment):
    """The quick tests first; the sweeps over every operation and all other tests only if those stay green."""
    # Built anew for every mutant, so building fast counts for more than running fast.
    faster = ["--config", "profile.dev.package.chrysalis-queue.opt-level=1", "--config", "profile.dev.debug=0"]
    cargo = ["cargo", *faster, "test", "--quiet", "--package", "chrysalis-queue"]
    simulated = cargo + ["--test", "simulated_disk"]
    build = subprocess.run(simulated + ["--no-run"], cwd=tree, env=environment, capture_output=True, text=True)
    if build.returncode != 0:
        return "does not build\n" + build.stderr[-2000:]
    sweeps = ["a_power_cut_at_every_operation", "every_single_failure"]
    others = ["--lib", "--test", "leasing", "--test", "ledger", "--test", "search"]
    skip = [word for sweep in sweeps for word in ("--skip", sweep)]
    for command in (simulated + ["--"] + skip, simulated + ["--"] + sweeps, cargo + others):
        result = test(command, tree, environment)
        if result != "survived":
            return result
    return "survived"


def test(command, tree, environment):
    started = time.monotonic()
    tests = subprocess.Popen(command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, start_new_session=True)
    try:
        output, _ = tests.communicate(timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(tests.pid, 9)
        tests.wait()
        return "killed (it hangs)"
    if tests.returncode == 0:
        return "survived"
    failed = [line.split()[0] for line in output.splitlines() if line.endswith("--- FAILED")]
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return f"killed in {time.monotonic() - started:.0f} s by {failed[0] if failed else 'a unit test'}{more}"


main()
