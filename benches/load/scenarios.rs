//! What is run, and for which goal.

/// One run of `chrysalis load`.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) arguments: &'static [&'static str],
    pub(crate) goal: Goal,
    /// Whether it runs when no scenario is named: those that take long, or need rights, do not.
    pub(crate) is_usual: bool,
}

/// What has to come out, besides a whole account and prompt answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    /// At most so many percent of one core at the rate that is modelled, and so many megabytes.
    Modest { percent: f64, megabytes: f64 },
    /// At least so many studies per hour.
    Rate(f64),
    /// Drains at so many times the arrival rate.
    Drains(f64),
    /// Grows by at most so many bytes an hour.
    Flat(f64),
    /// The rate is kept up.
    Kept,
}

/// What a site of the sizing table has made of what its carts send.
const STILLS: &str = "--route=jpeg-lossless-stills";

/// A host as small as the smallest that is promised.
const SMALL: [&str; 2] = ["--limit-cores=2", "--limit-memory=512MiB"];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "usual",
        about: "40 studies/h, usual mix, native stills to JPEG Lossless",
        arguments: &["--mix", "usual", "--route", "jpeg-lossless-stills", "--for", "2h"],
        goal: Goal::Modest { percent: 3.0, megabytes: 64.0 },
        is_usual: true,
    },
    Scenario {
        name: "native",
        about: "40 studies/h, all native, everything to JPEG Lossless",
        arguments: &["--mix", "all-native", "--route", "jpeg-lossless", "--for", "15m"],
        goal: Goal::Modest { percent: 10.0, megabytes: 96.0 },
        is_usual: true,
    },
    Scenario {
        name: "max-usual",
        about: "the highest rate, usual mix as received",
        arguments: &["--find-max", "--mix", "usual"],
        goal: Goal::Rate(4000.0),
        is_usual: true,
    },
    Scenario {
        name: "max-native",
        about: "the highest rate, all native, everything to JPEG Lossless",
        arguments: &["--find-max", "--mix", "all-native", "--route", "jpeg-lossless"],
        goal: Goal::Rate(300.0),
        is_usual: true,
    },
    Scenario {
        name: "outage",
        about: "40 studies/h, the PACS away for 4 h and then back",
        arguments: &["--mix", "usual", "--for", "6h", "--outage", "1h+4h"],
        goal: Goal::Drains(10.0),
        is_usual: true,
    },
    Scenario {
        name: "flat",
        about: "40 minutes of 40 studies/h sixty times as fast: memory",
        arguments: &["--mix", "usual", "--for", "40h"],
        goal: Goal::Flat(1_048_576.0),
        is_usual: false,
    },
    Scenario {
        name: "minimum",
        about: "profile minimum, 15 studies/h, in 2 cores and 512 MiB",
        arguments: &["--profile=minimum", "--studies-per-hour=15", STILLS, "--for=2h", SMALL[0], SMALL[1]],
        goal: Goal::Kept,
        is_usual: false,
    },
    Scenario {
        name: "medium",
        about: "profile medium, 40 studies/h, in 2 cores and 512 MiB",
        arguments: &["--profile=medium", "--studies-per-hour=40", STILLS, "--for=2h", SMALL[0], SMALL[1]],
        goal: Goal::Kept,
        is_usual: false,
    },
];
