//! What can be wrong with a configuration, in words that lead to the line.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::load::MAX_FILE_BYTES;

/// Why there is no configuration. Always the administrator's to mend; the program ends with exit code 78.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there, or may not be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Unreadable {
        /// The file as it was named.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is larger than [`MAX_FILE_BYTES`]; it was not parsed.
    #[error("{}: is larger than {MAX_FILE_BYTES} bytes", file.display())]
    TooLarge {
        /// The file as it was named.
        file: PathBuf,
    },
    /// The file was read, and these things in it are wrong.
    #[error(transparent)]
    Invalid(#[from] Problems),
}

/// Everything found wrong in one file, in the order of its lines, and then in what was laid over it. Prints one problem a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file as it was named.
    pub file: String,
    /// At least one problem.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&problem.in_file(&self.file))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// One thing that is wrong: `12: destination.port: 70000 is not 1..65535`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it was written.
    pub place: Place,
    /// The dotted key, without an index; empty when the file is not TOML at all, and where the place says it.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The line in the file, from 1.
    Line(usize),
    /// The line of what came from afar, from 1.
    Afar(usize),
    /// Not in the file: `--set node.ae_title` or `environment CHRYSALIS__NODE__AE_TITLE`.
    Override(String),
}

impl Problem {
    /// The problem as it is printed, with the name of the file where that is where it stands.
    pub fn in_file(&self, file: &str) -> String {
        match self.place {
            Place::Line(_) => format!("{file}:{self}"),
            Place::Afar(_) | Place::Override(_) => self.to_string(),
        }
    }
}

impl Place {
    /// The place as it is printed, with the name of the file where that is where it is.
    pub(super) fn in_file(&self, file: &str) -> String {
        match self {
            Self::Line(line) => format!("{file}:{line}"),
            Self::Afar(_) | Self::Override(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => line.fmt(f),
            Self::Afar(line) => write!(f, "from afar, line {line}"),
            Self::Override(origin) => f.write_str(origin),
        }
    }
}
