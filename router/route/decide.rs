//! The rules, and what they say about one instance.

use std::net::IpAddr;

use crate::config::{Conditions, Config, DestinationName, ListenerName, RouteRule};
use crate::dicom::AeTitle;

/// The rules of a configuration, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    every: Vec<DestinationName>,
    rules: Vec<RouteRule>,
}

/// What is known about an instance when it is routed. Nothing of it is trusted: titles are what the peer said.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The listener it came in by.
    pub listener: &'a ListenerName,
    /// The calling AE title of its association.
    pub calling_ae: &'a AeTitle,
    /// The called AE title of its association.
    pub called_ae: &'a AeTitle,
    /// Where its sender was connected from.
    pub peer_addr: IpAddr,
}

/// Where an instance goes, and on whose word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// In the order of the configuration's destinations, without repetition. Empty exactly for [`By::NoRoute`].
    pub destinations: Vec<DestinationName>,
    /// On whose word.
    pub by: By,
}

/// Why an instance goes where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// There are no rules, so it goes everywhere.
    NoRules,
    /// These rules matched; counted from 0 in the order of the file.
    Rules(Vec<usize>),
    /// There are rules, and none matched.
    NoRoute,
}

impl Routes {
    /// The rules of `config`.
    pub fn new(config: &Config) -> Self {
        let every = config.destinations.iter().map(|destination| destination.name.clone()).collect();
        Self { every, rules: config.routes.clone() }
    }

    /// What the rules say about an instance.
    pub fn decide(&self, facts: &Facts<'_>) -> Decision {
        if self.rules.is_empty() {
            return Decision { destinations: self.every.clone(), by: By::NoRules };
        }
        let matching = |(_, rule): &(usize, &RouteRule)| holds(&rule.when, facts);
        let (numbers, rules): (Vec<_>, Vec<_>) = self.rules.iter().enumerate().filter(matching).unzip();
        if numbers.is_empty() {
            return Decision { destinations: Vec::new(), by: By::NoRoute };
        }
        let owed = |destination: &&DestinationName| rules.iter().any(|rule| rule.to.contains(destination));
        let destinations = self.every.iter().filter(owed).cloned().collect();
        Decision { destinations, by: By::Rules(numbers) }
    }
}

/// Whether every condition that is set holds.
fn holds(when: &Conditions, facts: &Facts<'_>) -> bool {
    let listener = when.listener.is_empty() || when.listener.contains(facts.listener);
    let calling_ae =
        when.calling_ae.is_empty() || when.calling_ae.iter().any(|glob| glob.matches(facts.calling_ae));
    listener && calling_ae
}

#[cfg(test)]
mod tests {
    use super::{By, Decision, Facts, Routes};
    use crate::config::Config;
    use crate::dicom::AeTitle;

    const HOUSE: &str = r#"
        [[listener]]
        name = "wards"
        address = "127.0.0.1:11112"
        [[listener]]
        name = "echo-lab"
        address = "127.0.0.1:11113"
        [[destination]]
        name = "pacs"
        kind = "dicom"
        address = "127.0.0.1:104"
        called_ae = "PACS"
        [[destination]]
        name = "cardio"
        kind = "dicom"
        address = "127.0.0.1:105"
        called_ae = "CARDIO"
        [[destination]]
        name = "archive"
        kind = "folder"
        path = "./archive"
    "#;

    fn decide(rules: &str, listener: &str, calling_ae: &str) -> (Vec<String>, By) {
        let config = Config::parse(&format!("{HOUSE}{rules}"), "test").expect("a configuration");
        let listener = listener.parse().expect("a name");
        let peer_addr = std::net::Ipv4Addr::LOCALHOST.into();
        let calling_ae = &AeTitle::from_wire(calling_ae.as_bytes());
        let called_ae = &AeTitle::from_wire(b"CHRYSALIS");
        let facts = Facts { listener: &listener, calling_ae, called_ae, peer_addr };
        let Decision { destinations, by } = Routes::new(&config).decide(&facts);
        (destinations.iter().map(ToString::to_string).collect(), by)
    }

    #[test]
    fn without_rules_an_instance_goes_everywhere() {
        let everywhere = ["pacs", "cardio", "archive"].map(str::to_owned).to_vec();
        assert_eq!(decide("", "wards", "ANY"), (everywhere, By::NoRules));
    }

    #[test]
    fn rules_decide_by_listener_and_calling_title() {
        let rules = r#"
            [[route]]
            when = { listener = ["wards"], calling_ae = ["VIVID1", "EPIQ*"] }
            to = ["archive", "pacs"]
            [[route]]
            when = { calling_ae = ["EPIQ?"] }
            to = ["cardio", "archive"]
            [[route]]
            when = { listener = ["echo-lab"] }
            to = ["cardio"]
        "#;
        let table: [(&str, &str, &[&str], &[usize]); 9] = [
            ("wards", "VIVID1", &["pacs", "archive"], &[0]),
            ("wards", "EPIQ_CVX", &["pacs", "archive"], &[0]),
            ("wards", "EPIQ7", &["pacs", "cardio", "archive"], &[0, 1]),
            ("echo-lab", "EPIQ7", &["cardio", "archive"], &[1, 2]),
            ("echo-lab", "VIVID1", &["cardio"], &[2]),
            ("echo-lab", "", &["cardio"], &[2]),
            ("wards", "VIVID2", &[], &[]),
            ("wards", "vivid1", &[], &[]),
            ("wards", "", &[], &[]),
        ];
        for (listener, calling_ae, destinations, numbers) in table {
            let by = if numbers.is_empty() { By::NoRoute } else { By::Rules(numbers.to_vec()) };
            let expected = (destinations.iter().map(|name| (*name).to_owned()).collect(), by);
            assert_eq!(decide(rules, listener, calling_ae), expected, "{calling_ae} by {listener}");
        }
    }

    #[test]
    fn a_rule_without_conditions_always_applies() {
        for when in ["", "when = {}"] {
            let rules = format!("[[route]]\n{when}\nto = [\"archive\"]\n");
            assert_eq!(decide(&rules, "wards", "X"), (vec!["archive".to_owned()], By::Rules(vec![0])));
        }
    }

    #[test]
    fn a_destination_named_twice_is_owed_once() {
        let rules = "[[route]]\nto = [\"pacs\", \"pacs\"]\n[[route]]\nto = [\"pacs\"]\n";
        assert_eq!(decide(rules, "wards", "X"), (vec!["pacs".to_owned()], By::Rules(vec![0, 1])));
    }
}
