//! The profile a node is set up by, what its settings come to, and whether the host is the machine for it.

use chrysalis_sizing::{Host, Resource, Shortfall};

use super::Line;
use crate::config::{ChosenBy, Config, size_text};
use crate::platform;

const ABOUT: &str = "profile";

/// What the settings come to that a profile decides about, and everything that the host has too little of for it.
pub fn profile(config: &Config) -> Vec<Line> {
    found(config, &platform::host(&config.node.data_dir))
}

fn found(config: &Config, host: &Host) -> Vec<Line> {
    let Some(chosen) = config.profile else {
        return vec![Line::ok(ABOUT, format!("none; {}", settings(config)))];
    };
    let (name, by) = (
        chosen.profile.name,
        match chosen.by {
            ChosenBy::Name => "",
            ChosenBy::Host => ", chosen by this host",
        },
    );
    let lines = [Line::ok(ABOUT, format!("{name}{by}; {}", settings(config)))];
    let shortfalls = chosen.profile.shortfalls(host);
    lines.into_iter().chain(shortfalls.iter().map(|short| question(name, short))).collect()
}

fn question(name: &str, short: &Shortfall) -> Line {
    let (wants, has) = (amount(short.resource, short.wants), amount(short.resource, short.has));
    Line::question(
        ABOUT,
        format!("{name} is meant for {wants}, and this host has {has}"),
        "It may be enough: the table is generous.",
        "Ask what your site needs: chrysalis size --studies-per-hour N.",
    )
}

fn amount(resource: Resource, amount: f64) -> String {
    match resource {
        Resource::Cores => format!("{amount} cores"),
        Resource::Memory | Resource::Disk | Resource::Uplink => {
            format!("{:.1} GB of {resource}", amount / 1e9)
        }
    }
}

fn settings(config: &Config) -> String {
    let listener =
        |listener: &crate::config::Listener| format!("{} at {}", listener.max_associations, listener.name);
    let associations: Vec<_> = config.listeners.iter().map(listener).collect();
    format!(
        "associations {}; workers {}, frames in flight {}, cache {}, reserve {}",
        associations.join(", "),
        config.transcode.workers,
        config.transcode.frames_in_flight,
        size_text(config.transcode.cache),
        size_text(config.queue.reserve)
    )
}

#[cfg(test)]
mod tests {
    use chrysalis_sizing::Host;

    use super::found;
    use crate::check::State;
    use crate::config::Config;

    fn parse(text: &str) -> Config {
        Config::parse(text, "site.toml").expect("a configuration")
    }

    #[test]
    fn what_is_in_force_is_shown_and_what_is_too_little_is_questioned() {
        let small = Host { cores: 1.5, memory: 512 << 20, disk: 500_000_000_000 };
        let lines = found(&parse("profile = \"medium\"\ntranscode.workers = 3"), &small);
        assert_eq!(
            lines[0].what,
            "medium; associations 256 at modalities; workers 3, frames in flight 6, cache 4GiB, reserve 1GiB"
        );
        let questions: Vec<_> = lines[1..].iter().map(|line| (line.state, line.what.as_str())).collect();
        assert_eq!(
            questions,
            [
                (State::Question, "medium is meant for 12 cores, and this host has 1.5 cores"),
                (
                    State::Question,
                    "medium is meant for 48.0 GB of memory, and this host has 0.5 GB of memory"
                ),
            ]
        );
    }

    #[test]
    fn without_a_profile_no_host_is_too_small() {
        let lines = found(&parse("transcode.workers = 2"), &Host { cores: 0.1, memory: 0, disk: 0 });
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].what.starts_with("none; associations 256 at modalities; workers 2,"),
            "{}",
            lines[0].what
        );
    }
}
