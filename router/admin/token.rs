//! The right to change something: a file that only its owner can read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Name of the file in the data directory.
const FILE: &str = "admin.token";

/// The token of a running node.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// The token file cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct TokenError {
    path: PathBuf,
    error: io::Error,
}

impl Token {
    /// Reads the token of a data directory, making one at the first start.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn open(data_dir: &Path) -> Result<Self, TokenError> {
        let path = data_dir.join(FILE);
        read(&path).or_else(|_| make(&path)).map_err(|error| TokenError { path, error })
    }

    /// Whether this is the token, compared in a time that does not tell how much of it is right.
    pub fn matches(&self, given: &str) -> bool {
        let difference = self.0.bytes().zip(given.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b));
        self.0.len() == given.len() && difference == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<token>")
    }
}

fn read(path: &Path) -> io::Result<Token> {
    let text = fs::read_to_string(path)?;
    let token = text.trim();
    // Half of it was written when the power went: it is made again.
    if token.len() == 64 { Ok(Token(token.to_owned())) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn make(path: &Path) -> io::Result<Token> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = crate::platform::private(&mut options).write(true).create_new(true).open(path)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    Ok(Token(token))
}

#[cfg(test)]
mod tests {
    use super::{FILE, Token};

    #[test]
    fn a_token_is_made_once_for_its_owner_only_and_mended_when_it_is_half() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let first = Token::open(folder.path()).unwrap();
        assert_eq!(first, Token::open(folder.path()).unwrap());
        let path = folder.path().join(FILE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(first.matches(std::fs::read_to_string(&path).unwrap().trim()));
        assert!(!first.matches("") && !first.matches(&"0".repeat(64)));
        std::fs::write(&path, "half").unwrap();
        assert_ne!(first, Token::open(folder.path()).unwrap());
        assert_eq!(format!("{first:?}"), "<token>");
    }
}
