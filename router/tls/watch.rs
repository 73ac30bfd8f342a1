//! Files that are read again when they change, so that a renewed certificate needs no restart.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use tokio::time::Instant;

use super::leaf::{Leaf, date_text};
use super::material::MaterialError;

/// How often files are looked at, at most.
const INTERVAL: Duration = Duration::from_secs(1);

type Load<T> = dyn Fn() -> Result<T, MaterialError> + Send + Sync;

/// What files are read into.
pub(super) trait Renewable {
    /// The certificate that is shown to others, if there is one.
    fn own(&self) -> Option<&Leaf>;
}

/// What was made of files. Clones are the same one.
pub(super) struct Watched<T>(Arc<Inner<T>>);

struct Inner<T> {
    files: Vec<PathBuf>,
    load: Box<Load<T>>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    stamps: Vec<Stamp>,
    looked: Instant,
}

/// What shows that a file is another one than before.
type Stamp = Option<(SystemTime, u64)>;

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Renewable + Send + Sync + 'static> Watched<T> {
    /// Reads them for the first time. Blocks as long as the files take.
    pub(super) fn new(
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<T, MaterialError> + Send + Sync + 'static,
    ) -> Result<Self, MaterialError> {
        let stamps = stamps(&files);
        let value = Arc::new(load()?);
        let state = Mutex::new(State { value, stamps, looked: Instant::now() });
        Ok(Self(Arc::new(Inner { files, load: Box::new(load), state })))
    }

    /// What the files say: read again if one of them has changed, and as before while they say nothing that can be used, as
    /// between the writing of a certificate and of its key.
    pub(super) async fn current(&self) -> Arc<T> {
        if !self.is_due() {
            return self.last();
        }
        let inner = Arc::clone(&self.0);
        // A file that hangs, as on a share that is gone, holds up this one caller.
        let _ = tokio::task::spawn_blocking(move || inner.look()).await;
        self.last()
    }

    /// What was read last.
    pub(super) fn last(&self) -> Arc<T> {
        Arc::clone(&self.0.state.lock().unwrap_or_else(PoisonError::into_inner).value)
    }

    fn is_due(&self) -> bool {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = state.looked.elapsed() >= INTERVAL;
        if is_due {
            state.looked = Instant::now();
        }
        is_due
    }
}

impl<T: Renewable> Inner<T> {
    fn look(&self) {
        let now = stamps(&self.files);
        let is_same = |state: &State<T>| state.stamps == now;
        if is_same(&self.state.lock().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let loaded = (self.load)();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Said once for each state of the files.
        state.stamps = now;
        match loaded {
            Ok(value) => {
                let (files, now) = (self.names(), OffsetDateTime::now_utc());
                let until = value.own().map(|own| date_text(own.not_after)).unwrap_or_default();
                match renewal(state.value.own(), value.own(), now) {
                    Renewal::Good => {
                        tracing::info!(files, "Certificate files have changed and are in force.")
                    }
                    Renewal::Worse => {
                        tracing::error!(
                            files,
                            until,
                            "Certificate files have changed, and the certificate in them has expired; the one before is valid and stays in force until a restart or reload.",
                        );
                        return;
                    }
                    Renewal::Bad => tracing::warn!(
                        files,
                        until,
                        "Certificate files have changed and are in force, and the certificate in them is not valid now.",
                    ),
                }
                state.value = Arc::new(value);
            }
            Err(error) => {
                tracing::error!(%error, "Certificate files have changed and cannot be used; those before stay in force.");
            }
        }
    }

    fn names(&self) -> String {
        self.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// What a changed certificate is beside the one before.
#[derive(Debug, PartialEq, Eq)]
enum Renewal {
    /// It is valid, or there is none.
    Good,
    /// It has expired, and the one before has not.
    Worse,
    /// It is not valid now, and the one before is no better, or this one will be valid by itself.
    Bad,
}

fn renewal(before: Option<&Leaf>, after: Option<&Leaf>, now: OffsetDateTime) -> Renewal {
    let is_valid = |leaf: &Leaf| leaf.not_before <= now && now < leaf.not_after;
    match after {
        None => Renewal::Good,
        Some(after) if is_valid(after) => Renewal::Good,
        Some(after) if after.not_after <= now && before.is_some_and(is_valid) => Renewal::Worse,
        Some(_) => Renewal::Bad,
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| fs::metadata(file).and_then(|data| Ok((data.modified()?, data.len()))).ok();
    files.iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::{INTERVAL, Renewable, Renewal, Watched, renewal};
    use crate::tls::{Leaf, MaterialError};
    use rustls::pki_types::CertificateDer;
    use std::fs;
    use time::{Duration, OffsetDateTime};

    impl Renewable for u32 {
        fn own(&self) -> Option<&Leaf> {
            None
        }
    }

    #[test]
    fn a_valid_certificate_does_not_give_way_to_an_expired_one() {
        let now = OffsetDateTime::now_utc();
        let leaf = |from: i64, to: i64| {
            let mut params = rcgen::CertificateParams::default();
            (params.not_before, params.not_after) = (now + Duration::days(from), now + Duration::days(to));
            let key = rcgen::KeyPair::generate().expect("a key");
            let certificate = params.self_signed(&key).expect("a certificate");
            Leaf::of(&CertificateDer::from(certificate.der().to_vec())).expect("a certificate")
        };
        let (valid, expired, early) = (leaf(-1, 1), leaf(-2, -1), leaf(1, 2));
        for (before, after, expected) in [
            (Some(&valid), Some(&valid), Renewal::Good),
            (Some(&expired), Some(&valid), Renewal::Good),
            (Some(&valid), None, Renewal::Good),
            (Some(&valid), Some(&expired), Renewal::Worse),
            (Some(&expired), Some(&expired), Renewal::Bad),
            (None, Some(&expired), Renewal::Bad),
            (Some(&valid), Some(&early), Renewal::Bad),
        ] {
            assert_eq!(renewal(before, after, now), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_read_again_and_a_broken_one_leaves_what_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.pem");
        fs::write(&file, "1").expect("a file");
        let path = file.clone();
        let load = move || {
            let broken = || MaterialError { file: path.clone(), why: "broken".to_owned() };
            fs::read_to_string(&path).ok().and_then(|text| text.parse::<u32>().ok()).ok_or_else(broken)
        };
        let watched = Watched::new(vec![file.clone()], load).expect("a number");
        assert_eq!(*watched.current().await, 1);
        for (text, expected) in [("22", 22), ("broken", 22), ("333", 333)] {
            fs::write(&file, text).expect("a file");
            let before = *watched.last();
            assert_eq!(*watched.current().await, before, "not looked at more than once in a while");
            tokio::time::advance(INTERVAL).await;
            assert_eq!(*watched.current().await, expected, "{text}");
        }
    }
}
