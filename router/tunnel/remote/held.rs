//! What a gateway holds for its sites: the sections of each, and what its link last said of them. The command line writes
//! the ones, the running gateway the others; each is a file of its own in the data directory.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::state::{Outcome, Report};
use super::store::{StoreError, read, remove, write};
use crate::config::{ConfigError, Overlay, judge_afar};
use crate::tunnel::SiteName;

/// The folder in the data directory.
const FOLDER: &str = "site-configuration";

/// The configurations of the sites of a data directory.
#[derive(Debug, Clone)]
pub struct Holdings {
    folder: PathBuf,
}

/// What is held for one site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// How many came before it, and it.
    pub serial: u64,
    /// What it is, and what it is called.
    #[serde(flatten)]
    pub overlay: Overlay,
    /// Since when, seconds since 1970.
    pub since: u64,
    /// Who set it.
    pub by: String,
}

/// What a link said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stood {
    /// Of which revision, and what.
    #[serde(flatten)]
    pub report: Report,
    /// When, seconds since 1970.
    pub at: u64,
}

/// How a site's configuration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What is held.
    pub held: Held,
    /// What the link said of this very revision; none while it has not been asked.
    pub stood: Option<Stood>,
    /// The last one of which the link said that it is in force for good; it may be the same.
    pub applied: Option<Held>,
}

/// Why nothing is set.
#[derive(Debug, thiserror::Error)]
pub enum HeldError {
    /// The sections.
    #[error(transparent)]
    Wrong(#[from] ConfigError),
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Holdings {
    /// The folder's name in a data directory.
    pub const FOLDER: &'static str = FOLDER;

    /// The files that are there.
    pub fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
    }

    /// Those of this data directory.
    pub fn of(data_dir: &Path) -> Self {
        Self { folder: data_dir.join(FOLDER) }
    }

    /// Holds these sections for a site from now on; `name` is what errors call them. Returns when that is durable.
    ///
    /// # Errors
    /// [`HeldError`]: they cannot be right at any link, or cannot be written.
    pub fn set(
        &self,
        site: &SiteName,
        text: &str,
        name: &str,
        by: &str,
        now: u64,
    ) -> Result<Held, HeldError> {
        judge_afar(text, name)?;
        let before = self.standing(site)?;
        if let Some(Standing { held, applied: None, .. }) =
            before.as_ref().filter(|it| it.word() == "applied")
        {
            self.keep(site, held)?;
        }
        let serial = before.map_or(0, |before| before.held.serial) + 1;
        let digest: String =
            Sha256::digest(text.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let overlay = Overlay { revision: format!("{serial}-{digest}"), text: text.to_owned() };
        let held = Held { serial, overlay, since: now, by: by.to_owned() };
        write(&self.folder, &wanted(site), &held)?;
        Ok(held)
    }

    /// What is held for a site.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn held(&self, site: &SiteName) -> Result<Option<Held>, StoreError> {
        read(&self.folder.join(wanted(site)))
    }

    /// How that stands.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn standing(&self, site: &SiteName) -> Result<Option<Standing>, StoreError> {
        let Some(held) = self.held(site)? else { return Ok(None) };
        let stood: Option<Stood> = read(&self.folder.join(reported(site)))?;
        let stood = stood.filter(|stood| stood.report.revision == held.overlay.revision);
        let applied = read(&self.folder.join(applied(site)))?;
        Ok(Some(Standing { held, stood, applied }))
    }

    /// Keeps what is in force for good at the link, for when it loses everything and the newest one is none. Returns when that is
    /// durable.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn keep(&self, site: &SiteName, held: &Held) -> Result<(), StoreError> {
        write(&self.folder, &applied(site), held)
    }

    /// Writes down what a link said. Returns when that is durable.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn note(&self, site: &SiteName, stood: &Stood) -> Result<(), StoreError> {
        write(&self.folder, &reported(site), stood)
    }

    /// Forgets a site.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn forget(&self, site: &SiteName) -> Result<(), StoreError> {
        remove(&self.folder, &wanted(site))?;
        remove(&self.folder, &applied(site))?;
        remove(&self.folder, &reported(site))
    }
}

impl Standing {
    /// Each word that [`Standing::word`] may be.
    pub const WORDS: [&'static str; 5] = ["waiting", "probation", "applied", "refused", "gone-back"];

    /// In one word.
    pub fn word(&self) -> &'static str {
        self.stood.as_ref().map_or("waiting", |stood| stood.report.outcome.word())
    }

    /// What a link is to have as long as the newest is refused or undone there: the last one that was in force for good.
    pub fn good(&self) -> Option<&Held> {
        let is_out = matches!(self.word(), "refused" | "gone-back");
        self.applied
            .as_ref()
            .filter(|applied| is_out && applied.overlay.revision != self.held.overlay.revision)
    }

    /// The revision that is in force at the link, as far as it has said; none is its own file alone.
    pub fn in_force(&self) -> Option<&str> {
        let held = match self.word() {
            "probation" | "applied" => Some(&self.held),
            _ => self.applied.as_ref(),
        };
        held.map(|held| held.overlay.revision.as_str())
    }

    /// Why it is not in force.
    pub fn reasons(&self) -> &[String] {
        self.stood.as_ref().map_or(&[], |stood| Outcome::reasons(&stood.report.outcome))
    }
}

// A site's name may have dots: what comes after the last one says which file it is.
fn wanted(site: &SiteName) -> String {
    format!("{site}.wanted")
}

fn applied(site: &SiteName) -> String {
    format!("{site}.applied")
}

fn reported(site: &SiteName) -> String {
    format!("{site}.reported")
}

#[cfg(test)]
mod tests {
    use super::{HeldError, Holdings, Standing, Stood};
    use crate::tunnel::SiteName;
    use crate::tunnel::remote::{Outcome, Report};

    #[test]
    fn each_setting_is_a_revision_of_its_own_and_only_its_own_report_counts() {
        let folder = tempfile::tempdir().unwrap();
        let holdings = Holdings::of(folder.path());
        let site: SiteName = "north".parse().unwrap();
        assert_eq!(holdings.standing(&site).unwrap(), None);
        let text = "[[route]]\nto = [\"pacs\"]\n";
        let first = holdings.set(&site, text, "f", "somebody", 1).unwrap();
        let stood =
            |revision: &str, outcome| Stood { report: Report { revision: revision.into(), outcome }, at: 2 };
        let word = || holdings.standing(&site).unwrap().unwrap().word();
        assert_eq!(word(), "waiting");
        holdings.note(&site, &stood(&first.overlay.revision, Outcome::Applied)).unwrap();
        assert_eq!(word(), "applied");
        let second = holdings.set(&site, text, "f", "somebody", 3).unwrap();
        assert_ne!(first.overlay.revision, second.overlay.revision, "to set it again is to try it again");
        assert_eq!(word(), "waiting");
        let refused = Outcome::Refused { problems: vec!["no".into()] };
        holdings.note(&site, &stood(&second.overlay.revision, refused)).unwrap();
        assert_eq!(holdings.standing(&site).unwrap().unwrap().reasons(), ["no"]);
        let standing = holdings.standing(&site).unwrap().unwrap();
        assert_eq!(standing.good(), Some(&first), "the first was applied, the second is refused");
        assert_eq!(standing.in_force(), Some(first.overlay.revision.as_str()));
        holdings.forget(&site).unwrap();
        assert_eq!(holdings.standing(&site).unwrap(), None);
        assert!(Standing::WORDS.contains(&"refused"));
    }

    #[test]
    fn what_can_be_right_at_no_link_is_not_held() {
        let folder = tempfile::tempdir().unwrap();
        let (holdings, site) = (Holdings::of(folder.path()), "north".parse().unwrap());
        let wrong = holdings.set(&site, "[node]\ndata_dir = \"x\"\n", "f.toml", "me", 1);
        assert!(matches!(wrong, Err(HeldError::Wrong(error)) if error.to_string().contains("node")));
        assert_eq!(holdings.held(&site).unwrap(), None);
    }
}
