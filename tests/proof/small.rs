//! A small machine: a control group with little memory, and one core.
//!
//! The group is made by whoever runs this, because only they know where one may be made; its folder is named in
//! `CHRYSALIS_PROOF_GROUP`. The node enters it, and nobody else.

use crate::support::node::{NodeBuilder, program_under_test};
use crate::support::process::{find, write_file};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const GROUP: &str = "CHRYSALIS_PROOF_GROUP";
/// The most memory that the group may have, in bytes.
const MEMORY: u64 = 256 << 20;
/// The files that tell it: version 2, version 1.
const LIMITS: [&str; 2] = ["memory.max", "memory.limit_in_bytes"];

/// Where the node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// Like any other program.
    Whole,
    /// In the control group and on one core.
    Small,
}

impl Machine {
    /// Has the node run there; `folder` is for a script.
    pub fn take(self, builder: NodeBuilder, folder: &Path) -> NodeBuilder {
        if self == Self::Whole {
            return builder;
        }
        let entry = group().expect("looked for before").join("cgroup.procs");
        let script = folder.join("small");
        let program = program_under_test();
        write_file(
            &script,
            &format!(
                "#!/bin/sh\necho $$ > \"{}\" || exit 70\nexec taskset -c 0 \"{}\" \"$@\"\n",
                entry.display(),
                program.display()
            ),
        );
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        builder.program(&script)
    }
}

/// Whether there is a group that is small enough, and a way to one core.
pub fn needs() -> Result<(), String> {
    let group = group()?;
    let limit = LIMITS.iter().find_map(|file| std::fs::read_to_string(group.join(file)).ok());
    // `max` is no number and no limit.
    let bytes = limit.and_then(|limit| limit.trim().parse::<u64>().ok());
    bytes
        .filter(|bytes| *bytes <= MEMORY)
        .ok_or(format!("{} is no control group with a limit of at most 256 MiB", group.display()))?;
    find("taskset").map(drop).ok_or_else(|| "taskset is not installed".into())
}

fn group() -> Result<PathBuf, String> {
    let named = std::env::var_os(GROUP).map(PathBuf::from);
    named.ok_or_else(|| format!("no control groups here: {GROUP} names none"))
}
