//! What the command line asks for.

use crate::part::Part;
use std::str::FromStr;

const USAGE: &str = "usage: everyday|release|tally [PART...] [--count N] [--seed S]";

/// How much is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// The everyday count of each part, from its first seed on.
    Everyday,
    /// The release count, going on where the last run ended.
    Release,
    /// Nothing: what `release` has kept is shown.
    Tally,
}

/// The command line, understood.
#[derive(Debug)]
pub struct Wish {
    pub scale: Scale,
    /// Names of parts; none is all.
    parts: Vec<String>,
    count: Option<u64>,
    pub seed: Option<u64>,
}

impl Wish {
    pub fn read(arguments: impl Iterator<Item = String>, known: &[Part]) -> Result<Self, String> {
        let mut arguments = arguments;
        let scale = match arguments.next().as_deref() {
            Some("everyday") => Scale::Everyday,
            Some("release") => Scale::Release,
            Some("tally") => Scale::Tally,
            _ => return Err(USAGE.into()),
        };
        let mut wish = Self { scale, parts: Vec::new(), count: None, seed: None };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--count" => wish.count = Some(number(&argument, arguments.next())?),
                "--seed" => wish.seed = Some(number(&argument, arguments.next())?),
                name if known.iter().any(|part| part.name == name) => wish.parts.push(argument),
                other => {
                    let names: Vec<_> = known.iter().map(|part| part.name).collect();
                    return Err(format!("there is no part {other}, but {}\n{USAGE}", names.join(", ")));
                }
            }
        }
        Ok(wish)
    }

    pub fn names(&self, part: &Part) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|name| name == part.name)
    }

    /// Attacks that are wanted of a part.
    pub fn count(&self, part: &Part) -> u64 {
        self.count.unwrap_or(match self.scale {
            Scale::Everyday => part.everyday,
            Scale::Release => part.release,
            Scale::Tally => 0,
        })
    }
}

fn number(flag: &str, value: Option<String>) -> Result<u64, String> {
    let value = value.unwrap_or_default();
    u64::from_str(&value).map_err(|error| format!("{flag} {value}: {error}\n{USAGE}"))
}
