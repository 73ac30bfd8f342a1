//! Who we are at a server, as a header. Secrets are read when they are needed, kept no longer, and never printed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::header::HeaderValue;

use crate::config::{SecretPlace, WebLogin};

/// A token is some kilobytes at most.
const MAX_SECRET: u64 = 64 << 10;

/// Why there are no credentials. Has nothing of a secret in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    /// The file is not there, or not for us.
    #[error("{}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// The file is for others too.
    #[error("{}: others may read it (mode {mode:04o}); chmod 600 it", path.display())]
    Open { path: PathBuf, mode: u32 },
    /// Not a file.
    #[error("{}: is not a file", .0.display())]
    NotAFile(PathBuf),
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    Unset(String),
    /// Empty, too long, or with characters that no header can have.
    #[error("{0}: is empty, too long or has characters that cannot be sent")]
    Odd(String),
}

/// The value of the `Authorization` header, if there is to be one. Reads a small file.
///
/// # Errors
/// [`CredentialsError`]
pub(crate) fn authorization(login: &WebLogin) -> Result<Option<HeaderValue>, CredentialsError> {
    let (text, place) = match login {
        WebLogin::Anonymous => return Ok(None),
        WebLogin::Bearer(place) => (format!("Bearer {}", read(place)?.0), place),
        WebLogin::Basic { user, password: place } => {
            let pair = format!("{user}:{}", read(place)?.0);
            (format!("Basic {}", BASE64_STANDARD.encode(pair)), place)
        }
    };
    let mut value = HeaderValue::try_from(text).map_err(|_| CredentialsError::Odd(name(place)))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

fn read(place: &SecretPlace) -> Result<Secret, CredentialsError> {
    let text = match place {
        SecretPlace::File(path) => read_file(path)?,
        SecretPlace::Variable(name) => {
            std::env::var(name).map_err(|_| CredentialsError::Unset(name.clone()))?
        }
    };
    // Some editors put a byte order mark first.
    let secret = text.trim_start_matches('\u{FEFF}').trim_matches(['\r', '\n', ' ', '\t']);
    if secret.is_empty() || text.len() as u64 > MAX_SECRET {
        return Err(CredentialsError::Odd(name(place)));
    }
    Ok(Secret(secret.to_owned()))
}

/// Looks at the same open file that it reads.
fn read_file(path: &Path) -> Result<String, CredentialsError> {
    let unreadable = |error| CredentialsError::Unreadable { path: path.to_owned(), error };
    // What is no file, such as a pipe, is not opened: that could wait for somebody.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(CredentialsError::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(CredentialsError::Open { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(MAX_SECRET + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|_| CredentialsError::Odd(path.display().to_string()))
}

fn name(place: &SecretPlace) -> String {
    match place {
        SecretPlace::File(path) => path.display().to_string(),
        SecretPlace::Variable(name) => format!("the environment variable {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{CredentialsError, authorization};
    use crate::config::{SecretPlace, WebLogin};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn put(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_token_is_read_again_each_time_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let login = WebLogin::Bearer(SecretPlace::File(path.clone()));
        for token in ["canary-1", "canary-2"] {
            put(&path, &format!("{token}\n"), 0o600);
            let value = authorization(&login).unwrap().unwrap();
            assert_eq!(value.as_bytes(), format!("Bearer {token}").as_bytes());
            assert!(!format!("{value:?} {login:?}").contains("canary"));
        }
    }

    #[test]
    fn a_user_and_a_password_are_one_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        put(&path, "open sesame", 0o400);
        let login = WebLogin::Basic { user: "Aladdin".into(), password: SecretPlace::File(path) };
        let value = authorization(&login).unwrap().unwrap();
        // RFC 7617, section 2.
        assert_eq!(value.as_bytes(), b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(authorization(&WebLogin::Anonymous).unwrap().is_none());
    }

    #[test]
    fn a_secret_that_others_may_read_or_that_is_odd_is_not_used_nor_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let login = WebLogin::Bearer(SecretPlace::File(path.clone()));
        assert!(matches!(authorization(&login), Err(CredentialsError::Unreadable { .. })));
        for mode in [0o644, 0o640, 0o604, 0o666] {
            put(&path, "canary", mode);
            let error = authorization(&login).unwrap_err();
            assert!(matches!(error, CredentialsError::Open { .. }), "{error}");
        }
        for text in ["", " \n", "canary\u{7}", "canary\ninjected: header", &"canary".repeat(20_000)] {
            put(&path, text, 0o600);
            let error = authorization(&login).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
        let folder = WebLogin::Bearer(SecretPlace::File(folder.path().to_owned()));
        assert!(matches!(authorization(&folder), Err(CredentialsError::NotAFile(_))));
        let unset = WebLogin::Bearer(SecretPlace::Variable("CHRYSALIS_NO_SUCH_TOKEN".into()));
        assert!(matches!(authorization(&unset), Err(CredentialsError::Unset(_))));
    }
}
