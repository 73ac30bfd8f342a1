//! What a profile of the sizing table makes of settings that a configuration leaves out. A key that is written wins.

use std::num::NonZeroUsize;

use chrysalis_sizing::{Host, Profile};

use super::file::{Read, Section};

/// The profile that a node is set up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChosenProfile {
    /// Which.
    pub profile: &'static Profile,
    /// By whom it was chosen.
    pub by: ChosenBy,
}

/// By whom a profile was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChosenBy {
    /// The configuration names it.
    Name,
    /// It says `auto`: the largest that the host has the machine for.
    Host,
}

/// What holds for the keys that a profile sets, where they are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Defaults {
    /// `listener.max_associations`.
    pub(super) max_associations: usize,
    /// `transcode.workers`; `transcode.frames_in_flight` is two for each.
    pub(super) workers: NonZeroUsize,
    /// `transcode.cache` in bytes.
    pub(super) cache: u64,
    /// `queue.reserve` in bytes.
    pub(super) reserve: u64,
}

impl Defaults {
    /// Without a profile.
    pub(super) fn usual() -> Self {
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { max_associations: 256, workers: cores.min(MOST_WORKERS), cache: 512 << 20, reserve: 256 << 20 }
    }

    /// Under a profile, as far as the host bears it.
    fn of(profile: &Profile, host: &Host) -> Self {
        let settings = profile.settings().within(host);
        Self {
            max_associations: settings.associations,
            workers: NonZeroUsize::new(settings.workers).unwrap_or(NonZeroUsize::MIN).min(MOST_WORKERS),
            cache: settings.cache,
            reserve: settings.reserve,
        }
    }
}

/// `profile`, and what it means for other keys. The host is looked at where there is one.
pub(super) fn profile(
    root: &Section<'_>,
    host: impl FnOnce() -> Host,
) -> Read<(Option<ChosenProfile>, Defaults)> {
    let Some(item) = root.get("profile") else { return Ok((None, Defaults::usual())) };
    let chosen = |name| Profile::named(name).map(Some);
    // In the order of the table, and `auto` before it.
    let words: [(&str, Option<&'static Profile>); 5] =
        ["auto", "link-only", "minimum", "medium", "high"].map(|name| (name, chosen(name).flatten()));
    let named = item.choice(&words)?;
    let host = host();
    let (profile, by) = match named {
        Some(profile) => (profile, ChosenBy::Name),
        None => (Profile::for_host(&host), ChosenBy::Host),
    };
    Ok((Some(ChosenProfile { profile, by }), Defaults::of(profile, &host)))
}

const MOST_WORKERS: NonZeroUsize = NonZeroUsize::new(256).unwrap();

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use chrysalis_sizing::PROFILES;

    use super::{ChosenBy, Defaults};
    use crate::config::{Changes, Config, KEYS};

    fn parse(text: &str) -> Config {
        Config::parse(text, "site.toml").expect("a configuration")
    }

    #[test]
    fn without_a_profile_nothing_is_otherwise_than_the_manual_says() {
        let config = parse("");
        let usual = Defaults::usual();
        assert_eq!(config.profile, None);
        assert_eq!((config.listeners[0].max_associations, config.queue.reserve), (256, 256 << 20));
        assert_eq!((config.transcode.workers, config.transcode.cache), (usual.workers, 512 << 20));
        assert_eq!(config.transcode.frames_in_flight.get(), 2 * usual.workers.get());
    }

    #[test]
    fn a_profile_sets_what_is_left_out_and_what_is_written_wins() {
        for profile in &PROFILES {
            let line = format!("profile = \"{}\"\n", profile.name);
            let (config, settings) = (parse(&line), profile.settings());
            assert_eq!(
                config.profile.map(|chosen| (chosen.profile, chosen.by)),
                Some((profile, ChosenBy::Name))
            );
            assert_eq!(config.listeners[0].max_associations, settings.associations);
            assert_eq!(config.transcode.workers.get(), settings.workers);
            assert_eq!(config.transcode.frames_in_flight.get(), settings.frames_in_flight);
            assert_eq!((config.transcode.cache, config.queue.reserve), (settings.cache, settings.reserve));
            let written = parse(&format!(
                "{line}[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:104\"\nmax_associations = 7\n\
                 [[listener]]\nname = \"b\"\naddress = \"127.0.0.1:105\"\n\
                 [transcode]\nworkers = 3\ncache = 0\n[queue]\nreserve = \"2MiB\"\n"
            ));
            assert_eq!(written.listeners[0].max_associations, 7);
            assert_eq!(written.listeners[1].max_associations, settings.associations);
            assert_eq!((written.transcode.workers.get(), written.transcode.cache), (3, 0));
            assert_eq!((written.transcode.frames_in_flight.get(), written.queue.reserve), (6, 2 << 20));
        }
    }

    #[test]
    fn auto_is_a_profile_and_another_word_is_a_mistake_that_names_them() {
        let chosen = parse("profile = \"auto\"").profile.expect("a profile");
        assert_eq!(chosen.by, ChosenBy::Host);
        let error =
            Config::parse("profile = \"huge\"", "site.toml").expect_err("no such profile").to_string();
        assert!(
            error.contains("site.toml:1: profile: \"huge\" is not one of \"auto\", \"link-only\""),
            "{error}"
        );
        let key = KEYS.iter().find(|key| key.dotted() == "profile").expect("described");
        for profile in &PROFILES {
            assert!(key.range.contains(&format!("`{}`", profile.name)), "{}", key.range);
        }
    }

    #[test]
    fn another_profile_needs_a_restart_but_for_the_associations() {
        let (old, new) = (parse("profile = \"link-only\""), parse("profile = \"high\""));
        let changes = Changes::between(&old, &new);
        assert_eq!(changes.listeners.changed[0].keys, ["max_associations"]);
        let restart = [
            "profile",
            "queue.reserve",
            "transcode.workers",
            "transcode.frames_in_flight",
            "transcode.cache",
        ];
        assert_eq!(changes.needs_restart, restart);
        let running = new.in_place_of(&old);
        assert_eq!((running.profile, running.transcode), (old.profile, old.transcode));
        assert_eq!(running.listeners[0].max_associations, 512);
    }

    #[test]
    fn workers_are_at_most_what_the_key_allows() {
        let host = chrysalis_sizing::Host { cores: 1e9, memory: u64::MAX, disk: u64::MAX };
        let most = NonZeroUsize::new(16).expect("some");
        assert_eq!(Defaults::of(&PROFILES[3], &host).workers, most);
    }
}
