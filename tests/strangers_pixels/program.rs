//! The built program on files, under every setting that there is.

use crate::support::process::{Finished, run};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(300);

/// What `chrysalis transcode` is asked for, of images and of loops alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    pub target: &'static str,
    pub monochrome: &'static str,
    pub lossy_source: &'static str,
}

pub const fn setting(target: &'static str, monochrome: &'static str, lossy_source: &'static str) -> Setting {
    Setting { target, monochrome, lossy_source }
}

pub const JPEG_LOSSLESS: Setting = setting("jpeg-lossless", "never", "keep");
pub const JPEG_LOSSY: Setting = setting("jpeg-lossy", "never", "keep");
pub const UNCOMPRESSED: Setting = setting("uncompressed", "never", "keep");

impl Setting {
    /// The full cross product.
    pub fn all() -> Vec<Self> {
        let targets = ["as-received", "uncompressed", "jpeg-lossless", "jpeg-lossy"].into_iter();
        let monochrome = |target| ["never", "b-mode-only"].map(|monochrome| (target, monochrome));
        let lossy_source =
            |(target, monochrome)| ["keep", "force"].map(|policy| setting(target, monochrome, policy));
        targets.flat_map(monochrome).flat_map(lossy_source).collect()
    }

    /// Transcodes a file, or all files below a folder, and returns what the program said.
    #[track_caller]
    pub fn transcode(&self, from: &Path, to: &Path, more: &[&str]) -> Finished {
        let mut args: Vec<std::ffi::OsString> = vec!["transcode".into(), from.into(), to.into()];
        let named = [
            ("--image", self.target),
            ("--loop", self.target),
            ("--monochrome", self.monochrome),
            ("--lossy-source", self.lossy_source),
        ];
        args.extend(named.iter().flat_map(|(key, value)| [(*key).into(), (*value).into()]));
        args.extend(more.iter().map(Into::into));
        run(Path::new(env!("CARGO_BIN_EXE_chrysalis")), args, PATIENCE)
    }

    /// Transcodes all files below a folder, of which none may fail, into a new folder beside it, and returns that.
    #[track_caller]
    pub fn folder(&self, from: &Path, more: &[&str]) -> PathBuf {
        let mut name = from.file_name().unwrap().to_owned();
        name.push(format!(" {self}{}", more.concat()));
        let to = from.with_file_name(name);
        self.transcode(from, &to, more).expect_success();
        to
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.target, self.monochrome, self.lossy_source)
    }
}
