//! The rules, and what they say about one instance.

use std::sync::Arc;

use chrysalis_queue::NO_ROUTE;

use super::condition::Condition;
use super::facts::{Facts, Header};
use crate::config::{Config, Match, OnNoRoute, RouteAction, RouteRule, Routing};
use crate::dicom::{ExtraTags, Tag};

/// The rules of a configuration, ready to be asked, and what has to be captured of a data set for them. One value, so that a
/// new configuration replaces all of it at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    every: Vec<String>,
    rules: Vec<RouteRule>,
    routing: Routing,
    tags: Vec<Tag>,
    extra: ExtraTags,
    revision: String,
}

/// What becomes of an instance, and on whose word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of it.
    pub outcome: Outcome,
    /// The names of the rules that decided, in the order of the file; none when there are no rules, or none matched.
    pub rules: Vec<Arc<str>>,
}

/// What becomes of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored and owed to these, at least one: in the order of the configuration's destinations, each once, and last
    /// [`NO_ROUTE`] where it is held without a destination.
    Owed(Vec<Owed>),
    /// It is stored and given up from the start, for this reason.
    Dropped {
        /// "dropped by rule NAME".
        why: String,
    },
    /// It is not taken.
    Refused,
}

/// One destination of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// Its name, or [`NO_ROUTE`].
    pub destination: String,
    /// Why it is held from the start, if it is.
    pub hold: Option<String>,
}

impl Routes {
    /// The rules of `config`.
    pub fn new(config: &Config) -> Self {
        let every = config.destinations.iter().map(|destination| destination.name.to_string()).collect();
        let mut tags: Vec<_> = config.routes.iter().flat_map(|rule| rule.when.tags()).collect();
        tags.sort_unstable();
        tags.dedup();
        // A configuration with too many is refused when it is read.
        let extra = ExtraTags::new(tags.iter().copied()).unwrap_or_default();
        Self {
            every,
            rules: config.routes.clone(),
            routing: config.routing,
            tags,
            extra,
            revision: config.revision.clone(),
        }
    }

    /// The attributes that the rules look at, ascending.
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// Those of them that a walk captures only when asked.
    pub fn extra_tags(&self) -> &ExtraTags {
        &self.extra
    }

    /// The revision of the configuration that has these rules.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// What the rules say about an instance.
    pub fn decide(&self, facts: &Facts<'_>) -> Decision {
        if self.rules.is_empty() {
            let owed = self.every.iter().map(|name| Owed { destination: name.clone(), hold: None });
            return Decision { outcome: Outcome::Owed(owed.collect()), rules: Vec::new() };
        }
        let mut matching = self.rules.iter().filter(|rule| rule.when.holds(facts));
        let rules: Vec<_> = match self.routing.matching {
            Match::First => matching.next().into_iter().collect(),
            Match::All => matching.collect(),
        };
        if rules.is_empty() {
            let outcome = match self.routing.on_no_route {
                OnNoRoute::Hold => Outcome::Owed(vec![held_nowhere("no route".to_owned())]),
                OnNoRoute::Refuse => Outcome::Refused,
            };
            return Decision { outcome, rules: Vec::new() };
        }
        let names = |rules: &[&RouteRule]| rules.iter().map(|rule| Arc::clone(&rule.name)).collect();
        let (drops, others): (Vec<_>, Vec<_>) =
            rules.into_iter().partition(|rule| rule.action == RouteAction::Drop);
        match drops.first() {
            // Another rule that sends or holds it is the louder word.
            Some(drop) if others.is_empty() => {
                Decision { outcome: dropped(drop, facts), rules: names(&drops) }
            }
            _ => Decision { outcome: Outcome::Owed(self.owed(&others)), rules: names(&others) },
        }
    }

    /// Where these rules together lead. Where one sends and another holds, it is held.
    fn owed(&self, rules: &[&RouteRule]) -> Vec<Owed> {
        let holding = |rule: &&&RouteRule| rule.action == RouteAction::Hold;
        let held_by = |rule: &RouteRule| format!("held by rule {}", rule.name);
        let mut owed = Vec::new();
        for destination in &self.every {
            let mut leading = rules.iter().filter(|rule| rule.to.iter().any(|to| to.as_str() == destination));
            let Some(first) = leading.next() else { continue };
            let hold = std::iter::once(first).chain(leading).find(holding).map(|rule| held_by(rule));
            owed.push(Owed { destination: destination.clone(), hold });
        }
        let nowhere = rules.iter().filter(holding).find(|rule| rule.to.is_empty());
        owed.extend(nowhere.map(|rule| held_nowhere(held_by(rule))));
        owed
    }
}

fn held_nowhere(why: String) -> Owed {
    Owed { destination: NO_ROUTE.to_owned(), hold: Some(why) }
}

/// Nothing is given up because of what could not be read of it: a person decides.
fn dropped(rule: &RouteRule, facts: &Facts<'_>) -> Outcome {
    let name = &rule.name;
    if facts.header == Header::Partial && !rule.when.tags().is_empty() {
        let why = format!("rule {name} would drop it, but its header cannot be read to the end");
        return Outcome::Owed(vec![held_nowhere(why)]);
    }
    Outcome::Dropped { why: format!("dropped by rule {name}") }
}

/// A rule that was asked in vain, and the first of its conditions that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// The rule's name.
    pub rule: Arc<str>,
    /// The condition, as an expression writes it.
    pub condition: String,
    /// What was found instead.
    pub found: Found,
}

/// What a condition that did not hold met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or an empty value.
    Missing,
    /// How the instance came: no patient data.
    Known(String),
    /// A value of the data set, which may be patient data.
    Private(String),
    /// It holds, and should not.
    Holds,
    /// An earlier rule matched, and the first match decides.
    Earlier,
    /// It matches and would drop, but this rule sends or holds the instance.
    Overruled {
        /// That rule's name.
        by: Arc<str>,
        /// What that rule does.
        action: RouteAction,
    },
}

impl Routes {
    /// Why each of the other rules did not decide, in the order of the file.
    pub fn misses(&self, facts: &Facts<'_>) -> Vec<Miss> {
        let mut is_decided = false;
        let mut misses = Vec::new();
        for rule in &self.rules {
            let missed = if is_decided && self.routing.matching == Match::First {
                Some((rule.when.to_string(), Found::Earlier))
            } else {
                first_failure(&rule.when, facts)
            };
            let missed = missed.or_else(|| self.overruled(rule, facts));
            is_decided |= missed.is_none();
            misses.extend(missed.map(|(condition, found)| Miss {
                rule: Arc::clone(&rule.name),
                condition,
                found,
            }));
        }
        misses
    }
}

impl Routes {
    /// Where all rules are asked, a drop gives way to the first that sends or holds.
    fn overruled(&self, rule: &RouteRule, facts: &Facts<'_>) -> Option<(String, Found)> {
        if rule.action != RouteAction::Drop || self.routing.matching == Match::First {
            return None;
        }
        let louder = |other: &&RouteRule| other.action != RouteAction::Drop && other.when.holds(facts);
        let other = self.rules.iter().find(louder)?;
        let found = Found::Overruled { by: Arc::clone(&other.name), action: other.action };
        Some((rule.when.to_string(), found))
    }
}

/// The first part of a condition that does not hold, and what was found; none when all of it holds.
fn first_failure(condition: &Condition, facts: &Facts<'_>) -> Option<(String, Found)> {
    if condition.holds(facts) {
        return None;
    }
    match condition {
        Condition::All(parts) => parts.iter().find_map(|part| first_failure(part, facts)),
        // All of them failed; what was found in one field can be said of the whole.
        Condition::Any(parts) => match condition.tests().as_slice() {
            [] => Some((condition.to_string(), Found::Missing)),
            [first, rest @ ..] if rest.iter().all(|test| test.field == first.field) => {
                Some((condition.to_string(), found(first, facts)))
            }
            _ => parts.first().and_then(|part| first_failure(part, facts)),
        },
        Condition::Not(_) => Some((condition.to_string(), Found::Holds)),
        Condition::Test(test) => Some((test.to_string(), found(test, facts))),
    }
}

fn found(test: &super::condition::Test, facts: &Facts<'_>) -> Found {
    let values = facts.values(test.field);
    match (values.is_empty(), test.field.tag()) {
        (true, _) => Found::Missing,
        (false, None) => Found::Known(values.join("\\")),
        (false, Some(_)) => Found::Private(values.join("\\")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Decision, Found, Outcome, Routes};
    use crate::config::Config;
    use crate::dicom::scan::Scanner;
    use crate::dicom::{AeTitle, Attribute, Encoding, Tag, Uid};
    use crate::route::{Facts, Header};

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

    /// An instance and how it comes.
    struct Arriving {
        listener: &'static str,
        calling_ae: &'static str,
        source: &'static str,
        header: Header,
        elements: Vec<(Tag, &'static [u8])>,
    }

    fn arriving(listener: &'static str, calling_ae: &'static str) -> Arriving {
        Arriving { listener, calling_ae, source: "10.1.2.3", header: Header::Whole, elements: Vec::new() }
    }

    fn with(elements: &[(Tag, &'static [u8])]) -> Arriving {
        Arriving { elements: elements.to_vec(), ..arriving("wards", "X") }
    }

    fn routes(rules: &str) -> Routes {
        Routes::new(&Config::parse(&format!("{HOUSE}{rules}"), "test").expect("a configuration"))
    }

    impl Arriving {
        fn ask<T>(&self, routes: &Routes, ask: impl FnOnce(&Routes, &Facts<'_>) -> T) -> T {
            let mut scanner = Scanner::capturing(Encoding::ImplicitLe, routes.extra_tags().clone());
            for (tag, value) in &self.elements {
                let length = (value.len() as u32).to_le_bytes();
                scanner.feed(&[&tag.0.to_le_bytes()[..], &tag.1.to_le_bytes(), &length, value].concat());
            }
            let facts = Facts {
                listener: self.listener,
                calling_ae: &AeTitle::from_wire(self.calling_ae.as_bytes()),
                called_ae: &AeTitle::from_wire(b"CHRYSALIS"),
                peer_addr: self.source.parse().expect("an address"),
                site: None,
                sop_class: &Uid::new("1.2.840.10008.5.1.4.1.1.6.1"),
                attributes: scanner.attributes(),
                header: self.header,
            };
            ask(routes, &facts)
        }

        /// Destinations, with the reason in brackets where they are held, and the rules.
        fn decided(&self, rules: &str) -> String {
            let Decision { outcome, rules } = self.ask(&routes(rules), Routes::decide);
            let outcome = match outcome {
                Outcome::Owed(owed) => {
                    let shown = |o: &super::Owed| match &o.hold {
                        Some(why) => format!("{} ({why})", o.destination),
                        None => o.destination.clone(),
                    };
                    owed.iter().map(shown).collect::<Vec<_>>().join(", ")
                }
                Outcome::Dropped { why } => why,
                Outcome::Refused => "refused".to_owned(),
            };
            format!("{outcome} by {}", rules.join(", "))
        }
    }

    #[test]
    fn without_rules_an_instance_goes_everywhere() {
        assert_eq!(arriving("wards", "ANY").decided(""), "pacs, cardio, archive by ");
    }

    #[test]
    fn rules_decide_by_listener_and_calling_title() {
        let rules = r#"
            [[route]]
            when = { listener = ["wards"], calling_ae = ["VIVID1", "EPIQ*"] }
            to = ["archive", "pacs"]
            [[route]]
            name = "cardiology"
            when = 'calling_ae = "EPIQ?"'
            to = ["cardio", "archive"]
            [[route]]
            when = { listener = "echo-lab" }
            to = ["cardio"]
        "#;
        for (listener, calling_ae, decided) in [
            ("wards", "VIVID1", "pacs, archive by route 1"),
            ("wards", "EPIQ_CVX", "pacs, archive by route 1"),
            ("wards", "EPIQ7", "pacs, cardio, archive by route 1, cardiology"),
            ("echo-lab", "EPIQ7", "cardio, archive by cardiology, route 3"),
            ("echo-lab", "", "cardio by route 3"),
            ("wards", "VIVID2", "none (no route) by "),
            ("wards", "vivid1", "none (no route) by "),
        ] {
            assert_eq!(arriving(listener, calling_ae).decided(rules), decided, "{calling_ae} by {listener}");
        }
    }

    #[test]
    fn with_first_match_the_first_rule_alone_decides() {
        let rules = r#"
            [routing]
            match = "first"
            on_no_route = "refuse"
            [[route]]
            when = { calling_ae = "EPIQ?" }
            to = ["cardio"]
            [[route]]
            when = { calling_ae = "EPIQ*" }
            to = ["pacs"]
        "#;
        for (calling_ae, decided) in
            [("EPIQ7", "cardio by route 1"), ("EPIQ_CVX", "pacs by route 2"), ("X", "refused by ")]
        {
            assert_eq!(arriving("wards", calling_ae).decided(rules), decided);
        }
    }

    #[test]
    fn to_hold_is_louder_than_to_send_and_to_send_is_louder_than_to_drop() {
        let rules = r#"
            [[route]]
            name = "junk"
            action = "drop"
            when = { modality = ["OT", "US"] }
            [[route]]
            name = "all"
            when = { modality = "US" }
            to = ["pacs", "archive"]
            [[route]]
            name = "look"
            action = "hold"
            when = 'StudyDescription ~ "TEST"'
            to = ["pacs"]
            [[route]]
            name = "nobody"
            action = "hold"
            when = { modality = "PR" }
        "#;
        let (modality, description) = (Attribute::Modality.tag(), Attribute::StudyDescription.tag());
        for (elements, decided) in [
            (vec![(modality, &b"US"[..])], "pacs, archive by all"),
            (
                vec![(modality, b"US"), (description, b"a test")],
                "pacs (held by rule look), archive by all, look",
            ),
            (vec![(modality, b"OT")], "dropped by rule junk by junk"),
            (vec![(modality, b"OT"), (description, b"test")], "pacs (held by rule look) by look"),
            (vec![(modality, b"PR")], "none (held by rule nobody) by nobody"),
        ] {
            assert_eq!(with(&elements).decided(rules), decided);
        }
    }

    #[test]
    fn attributes_are_compared_by_any_value_and_what_is_missing_matches_nothing() {
        let image_type = Tag(0x0008, 0x0008);
        let rows = Attribute::Rows.tag();
        for (when, elements, matches) in [
            ("ImageType = \"PRIMARY\"", vec![(image_type, &b"ORIGINAL\\PRIMARY "[..])], true),
            ("ImageType != \"PRIMARY\"", vec![(image_type, b"ORIGINAL\\PRIMARY ")], false),
            ("ImageType != \"PRIMARY\"", vec![], true),
            ("ImageType = \"*\"", vec![(image_type, b"")], false),
            ("exists ImageType", vec![(image_type, b"  ")], false),
            ("Rows = 480", vec![(rows, &[0xE0, 0x01])], true),
            ("Rows in [480, 600]", vec![(rows, &[0x58, 0x02])], true),
            ("Rows ~ \"8\"", vec![(rows, &[0xE0, 0x01])], true),
            ("source = \"10.1.0.0/16\" and source != \"10.1.2.3\"", vec![], false),
            ("sop_class = \"UltrasoundImageStorage\"", vec![], true),
            ("sop_class != \"UltrasoundMultiFrameImageStorage\"", vec![], true),
            ("called_ae = \"CHRYSALIS\"", vec![], true),
        ] {
            let rules = format!("[[route]]\nwhen = '{when}'\nto = [\"pacs\"]\n");
            let decided = with(&elements).decided(&rules);
            assert_eq!(decided == "pacs by route 1", matches, "{when}: {decided}");
        }
    }

    #[test]
    fn a_table_asks_for_all_of_its_keys_and_may_nest() {
        let rules = r#"
            [[route]]
            to = ["pacs"]
            [route.when]
            any = [{ calling_ae = "A" }, 'calling_ae = "B" and Rows = 1']
            not = { source = ["10.9.0.0/16", "10.1.2.3"] }
        "#;
        let rows: [(Tag, &[u8]); 1] = [(Attribute::Rows.tag(), &[1, 0])];
        for (calling_ae, source, decided) in [
            ("A", "10.1.2.4", "pacs by route 1"),
            ("B", "::ffff:10.1.2.4", "pacs by route 1"),
            ("C", "10.1.2.4", "none (no route) by "),
            ("A", "10.9.7.7", "none (no route) by "),
            ("A", "::ffff:10.1.2.3", "none (no route) by "),
        ] {
            let arriving = Arriving { source, elements: rows.to_vec(), ..arriving("wards", calling_ae) };
            assert_eq!(arriving.decided(rules), decided, "{calling_ae} from {source}");
        }
    }

    #[test]
    fn a_rule_without_conditions_always_applies_and_a_destination_is_owed_once() {
        for when in ["", "when = {}"] {
            let rules = format!(
                "[[route]]\n{when}\nto = [\"archive\", \"archive\"]\n[[route]]\nto = [\"archive\"]\n"
            );
            assert_eq!(arriving("wards", "X").decided(&rules), "archive by route 1, route 2");
        }
    }

    #[test]
    fn nothing_is_dropped_because_of_what_could_not_be_read() {
        let drop = |when: &str| format!("[[route]]\nname = \"r\"\naction = \"drop\"\nwhen = '{when}'\n");
        let unreadable = || Arriving { header: Header::Partial, ..arriving("wards", "X") };
        assert_eq!(
            unreadable().decided(&drop("not modality = \"US\"")),
            "none (rule r would drop it, but its header cannot be read to the end) by r"
        );
        assert_eq!(unreadable().decided(&drop("calling_ae = \"X\"")), "dropped by rule r by r");
    }

    #[test]
    fn what_did_not_match_is_explained_by_the_first_condition_that_failed() {
        let rules = r#"
            [routing]
            match = "first"
            [[route]]
            when = 'listener = "wards" and calling_ae in ["A", "B"] and modality = "US"'
            to = ["pacs"]
            [[route]]
            when = { calling_ae = "X", StudyDescription = "ECHO" }
            to = ["pacs"]
            [[route]]
            when = 'not (modality = "US")'
            to = ["pacs"]
            [[route]]
            when = { PatientID = "2" }
            to = ["pacs"]
            [[route]]
            to = ["archive"]
        "#;
        let instance = with(&[(Attribute::Modality.tag(), b"US"), (Attribute::PatientId.tag(), b"1")]);
        let misses = instance.ask(&routes(rules), |routes, facts| routes.misses(facts));
        let shown: Vec<_> = misses.iter().map(|m| (&*m.rule, m.condition.as_str(), &m.found)).collect();
        let expected = [
            ("route 1", "calling_ae in [\"A\", \"B\"]", &Found::Known("X".into())),
            ("route 2", "StudyDescription = \"ECHO\"", &Found::Missing),
            ("route 3", "not (modality = \"US\")", &Found::Holds),
            ("route 4", "PatientID = \"2\"", &Found::Private("1".into())),
        ];
        assert_eq!(shown, expected);
    }
    #[test]
    fn a_drop_that_gives_way_is_explained_by_the_rule_that_sends() {
        let rules = r#"
            [[route]]
            name = "all"
            to = ["pacs"]
            [[route]]
            name = "no"
            when = { modality = "PR" }
            action = "drop"
        "#;
        let instance = with(&[(Attribute::Modality.tag(), b"PR")]);
        let misses = instance.ask(&routes(rules), |routes, facts| routes.misses(facts));
        let found = Found::Overruled { by: "all".into(), action: crate::config::RouteAction::Send };
        assert_eq!(misses.iter().map(|m| (&*m.rule, &m.found)).collect::<Vec<_>>(), [("no", &found)]);
    }
}
