//! Rules that cannot do anything: those that no instance can match, and those behind another that takes all of theirs.
//!
//! A condition is spread out into alternatives, each a list of comparisons that must all pass or fail. An alternative is
//! impossible when two of its comparisons exclude each other, or when no listener lets such a caller in. Beyond a bound nothing
//! is said, and nothing is said that is not certain.

use ipnet::IpNet;

use super::condition::{Condition, Operand, Test};
use super::field::Field;
use crate::config::Listener;
use crate::dicom::{AeTitle, Pattern};

/// Alternatives of one condition, and comparisons in one alternative, beyond which nothing is said.
const MAX_ALTERNATIVES: usize = 256;
const MAX_LITERALS: usize = 64;
/// Steps that the comparison of two lists may take, beyond which it stays in doubt.
const MAX_STEPS: usize = 1 << 22;

/// A comparison that has to pass, or not to.
#[derive(Clone, Copy, PartialEq)]
struct Literal<'a> {
    test: &'a Test,
    passes: bool,
}

type Alternatives<'a> = Vec<Vec<Literal<'a>>>;

/// Why no instance that these listeners take can match, if that is certain.
pub fn why_never(condition: &Condition, listeners: &[Listener]) -> Option<String> {
    let alternatives = spread(condition, true)?;
    let reasons: Option<Vec<_>> =
        alternatives.iter().map(|literals| impossible(literals, listeners)).collect();
    let first = reasons?.into_iter().next();
    Some(first.unwrap_or_else(|| "nothing passes it".to_owned()))
}

/// Whether everything that `later` matches, `earlier` matches too, if that is certain.
pub fn is_hidden(later: &Condition, earlier: &Condition) -> bool {
    let (Some(later), Some(earlier)) = (spread(later, true), spread(earlier, true)) else { return false };
    let within = |narrow: &[Literal<'_>], wide: &[Literal<'_>]| {
        wide.iter().all(|wanted| narrow.iter().any(|given| entails(given, wanted)))
    };
    later.iter().all(|narrow| earlier.iter().any(|wide| within(narrow, wide)))
}

/// The condition, or its opposite, as alternatives; none beyond the bound.
fn spread(condition: &Condition, passes: bool) -> Option<Alternatives<'_>> {
    match (condition, passes) {
        (Condition::Test(test), _) => Some(vec![vec![Literal { test, passes }]]),
        (Condition::Not(inner), _) => spread(inner, !passes),
        (Condition::All(parts), true) | (Condition::Any(parts), false) => {
            let mut product = vec![Vec::new()];
            for part in parts {
                let next = spread(part, passes)?;
                if product.len() * next.len() > MAX_ALTERNATIVES {
                    return None;
                }
                product = product
                    .iter()
                    .flat_map(|so_far| next.iter().map(|more| [&so_far[..], more].concat()))
                    .collect();
                if product.iter().any(|literals| literals.len() > MAX_LITERALS) {
                    return None;
                }
            }
            Some(product)
        }
        (Condition::Any(parts), true) | (Condition::All(parts), false) => {
            let mut sum = Vec::new();
            for part in parts {
                sum.extend(spread(part, passes)?);
                if sum.len() > MAX_ALTERNATIVES {
                    return None;
                }
            }
            Some(sum)
        }
    }
}

fn impossible(literals: &[Literal<'_>], listeners: &[Listener]) -> Option<String> {
    for (index, a) in literals.iter().enumerate() {
        if let Some(b) = literals.iter().skip(index + 1).find(|b| exclude(a, b)) {
            return Some(format!("{} and {} exclude each other", shown(a), shown(b)));
        }
    }
    let mut in_the_way: Vec<String> = Vec::new();
    for listener in listeners {
        in_the_way.push(shut_out(literals, listener)?);
    }
    in_the_way.sort();
    in_the_way.dedup();
    (!listeners.is_empty()).then(|| format!("no listener lets such a caller in: {}", in_the_way.join("; ")))
}

fn shown(literal: &Literal<'_>) -> String {
    if literal.passes { literal.test.to_string() } else { format!("not ({})", literal.test) }
}

/// Whether both cannot be at once.
fn exclude(a: &Literal<'_>, b: &Literal<'_>) -> bool {
    if a.test.field != b.test.field {
        return false;
    }
    let (x, y) = (&a.test.with, &b.test.with);
    match (a.passes, b.passes) {
        (true, true) => a.test.field.is_single() && !meet(x, y),
        (true, false) => implies(x, y),
        (false, true) => implies(y, x),
        (false, false) => false,
    }
}

/// Whether `given` makes sure of `wanted`.
fn entails(given: &Literal<'_>, wanted: &Literal<'_>) -> bool {
    let same_field = given.test.field == wanted.test.field && given.passes == wanted.passes;
    let (given_with, wanted_with) = (&given.test.with, &wanted.test.with);
    same_field
        && if given.passes { implies(given_with, wanted_with) } else { implies(wanted_with, given_with) }
}

/// Whether one value may pass both; yes when in doubt.
fn meet(a: &Operand, b: &Operand) -> bool {
    match (a, b) {
        (Operand::OneOf(a), Operand::OneOf(b)) => {
            is_too_much(a, b) || a.iter().any(|a| b.iter().any(|b| a.intersects(b)))
        }
        (Operand::Within(a), Operand::Within(b)) => a.iter().any(|a| b.iter().any(|b| overlap(a, b))),
        (Operand::OneOf(patterns), text @ Operand::Contains(_))
        | (text @ Operand::Contains(_), Operand::OneOf(patterns)) => {
            patterns.iter().any(|pattern| pattern.literal().is_none_or(|literal| text.takes(literal)))
        }
        _ => true,
    }
}

/// Whether every value that passes `a` passes `b`; no when in doubt.
fn implies(a: &Operand, b: &Operand) -> bool {
    let is_any = |pattern: &Pattern| pattern.as_str() == "*";
    match (a, b) {
        (_, Operand::Exists) => true,
        (_, Operand::OneOf(wide)) if wide.iter().any(is_any) => true,
        (Operand::OneOf(narrow), Operand::OneOf(wide)) => {
            let covered = |p: &Pattern| wide.contains(p) || p.literal().is_some_and(|text| b.takes(text));
            !is_too_much(narrow, wide) && narrow.iter().all(covered)
        }
        (Operand::OneOf(narrow), Operand::Contains(_)) => {
            narrow.iter().all(|p| p.literal().is_some_and(|text| b.takes(text)))
        }
        (Operand::Within(narrow), Operand::Within(wide)) => {
            narrow.iter().all(|narrow| wide.iter().any(|wide| wide.contains(narrow)))
        }
        (Operand::Contains(long), Operand::Contains(_)) => b.takes(long),
        _ => false,
    }
}

fn is_too_much(a: &[Pattern], b: &[Pattern]) -> bool {
    let size =
        |patterns: &[Pattern]| patterns.iter().map(|pattern| 1 + pattern.as_str().len()).sum::<usize>();
    size(a).saturating_mul(size(b)) > MAX_STEPS
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// What of a listener keeps out whoever these comparisons ask for, if anything certainly does.
fn shut_out(literals: &[Literal<'_>], listener: &Listener) -> Option<String> {
    let about = |field| literals.iter().filter(move |literal| literal.test.field == field);
    let name = listener.name.as_str();
    if about(Field::Listener).any(|literal| literal.test.with.takes(name) != literal.passes) {
        return Some(format!("\"{name}\" is another listener"));
    }
    let titled = |titles: &[AeTitle], field| {
        titles.is_empty() || titles.iter().any(|t| about(field).all(|l| may_call(t, l)))
    };
    if !titled(&listener.calling_ae, Field::CallingAe) {
        return Some(format!("calling_ae of \"{name}\" has no title that fits"));
    }
    if !titled(&listener.called_ae, Field::CalledAe) {
        return Some(format!("called_ae of \"{name}\" has no title that fits"));
    }
    let from = |network: &IpNet| about(Field::Source).all(|literal| may_come_from(network, literal));
    let is_allowed = listener.allow.is_empty() || listener.allow.iter().any(from);
    (!is_allowed).then(|| format!("allow of \"{name}\" has no network that fits"))
}

/// Whether a caller whom the listener knows by this title, wildcards included, may pass.
fn may_call(title: &AeTitle, literal: &Literal<'_>) -> bool {
    let title = Pattern::new(title.as_str());
    match title.literal() {
        Some(text) => literal.test.with.takes(text) == literal.passes,
        None => !literal.passes || meet(&Operand::OneOf(vec![title]), &literal.test.with),
    }
}

fn may_come_from(network: &IpNet, literal: &Literal<'_>) -> bool {
    let Operand::Within(networks) = &literal.test.with else { return true };
    if literal.passes {
        networks.iter().any(|other| overlap(network, other))
    } else {
        !networks.iter().any(|other| other.contains(network))
    }
}

#[cfg(test)]
mod tests {
    use super::{is_hidden, why_never};
    use crate::config::{Config, Listener};
    use crate::dicom::scan::Scanner;
    use crate::dicom::{AeTitle, Encoding, Uid};
    use crate::route::expression::parse;
    use crate::route::{Facts, Header};
    use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

    const TITLES: &str =
        "[[listener]]\nname = \"wards\"\naddress = \"127.0.0.1:104\"\ncalling_ae = [\"VIVID1\", \"EPIQ*\"]\n";
    const NETWORKS: &str = "[[listener]]\nname = \"lab\"\naddress = \"127.0.0.1:105\"\ncalled_ae = [\"LAB\"]\nallow = [\"10.1.0.0/16\"]\n";

    fn listeners(text: &str) -> Vec<Listener> {
        Config::parse(text, "test").expect("a configuration").listeners
    }

    fn never(text: &str, listeners: &[Listener]) -> Option<String> {
        why_never(&parse(text).expect(text), listeners)
    }

    #[test]
    fn what_excludes_itself_can_never_match() {
        let open = listeners("");
        for text in [
            "calling_ae = \"A\" and calling_ae = \"B\"",
            "calling_ae = \"A*\" and calling_ae = \"B*\"",
            "modality = \"US\" and modality = \"SR\"",
            "modality in [\"US\", \"CT\"] and modality in [\"SR\", \"PR\"]",
            "StudyDescription = \"ECHO\" and StudyDescription != \"ECHO\"",
            "StudyDescription = \"ECHO\" and not StudyDescription ~ \"ch\"",
            "StudyDescription ~ \"echo\" and not StudyDescription ~ \"ECH\"",
            "PatientID = \"1\" and not exists PatientID",
            "exists PatientID and not PatientID = \"*\"",
            "source = \"10.0.0.0/8\" and source = \"192.168.0.0/16\"",
            "source = \"10.1.1.1\" and not source = \"10.0.0.0/8\"",
            "calling_ae = \"A\" and calling_ae ~ \"b\"",
            "(calling_ae = \"A\" or calling_ae = \"B\") and calling_ae = \"C\"",
            "listener = \"elsewhere\"",
            "not (modality = \"US\" or not modality = \"US\")",
        ] {
            assert!(never(text, &open).is_some(), "{text}");
        }
        assert_eq!(
            never("calling_ae = \"A\" and calling_ae = \"B\"", &open).as_deref(),
            Some("calling_ae = \"A\" and calling_ae = \"B\" exclude each other")
        );
    }

    #[test]
    fn what_can_match_is_never_accused() {
        let open = listeners("");
        for text in [
            "calling_ae = \"A*\" and calling_ae = \"*B\"",
            "StudyDescription = \"A\" and StudyDescription = \"B\"",
            "StudyDescription ~ \"a\" and not StudyDescription ~ \"ab\"",
            "StudyDescription ~ \"a\" and not StudyDescription = \"a\"",
            "StudyDescription = \"A*\" and StudyDescription != \"AB\"",
            "not calling_ae = \"*\"",
            "source = \"10.0.0.0/8\" and source = \"10.1.0.0/16\"",
            "source = \"10.0.0.0/8\" and source != \"10.1.0.0/16\"",
            "calling_ae = \"A\" or (calling_ae = \"B\" and calling_ae = \"C\")",
            "calling_ae = \"A*\" and calling_ae ~ \"b\"",
            "listener = \"mod*\"",
            "not modality = \"US\" and not modality = \"SR\"",
        ] {
            assert_eq!(never(text, &open), None, "{text}");
        }
    }

    #[test]
    fn beyond_a_bound_nothing_is_said() {
        let pair = "(calling_ae = \"A\" or calling_ae = \"B\")";
        let many = |n: usize| format!("{} and calling_ae = \"C\"", vec![pair; n].join(" and "));
        assert!(never(&many(4), &listeners("")).is_some());
        assert_eq!(never(&many(12), &listeners("")), None);
    }

    #[test]
    fn whom_no_listener_lets_in_cannot_match() {
        let (titles, both) = (listeners(TITLES), listeners(&format!("{TITLES}{NETWORKS}")));
        for (text, listeners, can) in [
            ("calling_ae = \"VIVID1\"", &titles, true),
            ("calling_ae = \"VIVID2\"", &titles, false),
            ("calling_ae = \"VIVID2\"", &both, true),
            ("calling_ae = \"EPIQ7\"", &titles, true),
            ("calling_ae != \"VIVID1\"", &titles, true),
            ("not calling_ae in [\"VIVID1\", \"EPIQ*\"]", &titles, true),
            ("called_ae = \"LAB\" and listener = \"lab\"", &both, true),
            ("called_ae = \"X\" and listener = \"lab\"", &both, false),
            ("source = \"10.1.2.3\" and listener = \"lab\"", &both, true),
            ("source = \"10.2.0.0/16\" and listener = \"lab\"", &both, false),
            ("source != \"10.0.0.0/8\" and listener = \"lab\"", &both, false),
            ("source != \"10.1.2.0/24\" and listener = \"lab\"", &both, true),
            ("source = \"10.2.0.1\"", &both, true),
        ] {
            assert_eq!(never(text, listeners).is_none(), can, "{text}: {:?}", never(text, listeners));
        }
        let why = never("calling_ae = \"VIVID2\"", &titles).expect("a reason");
        assert_eq!(why, "no listener lets such a caller in: calling_ae of \"wards\" has no title that fits");
    }

    #[test]
    fn a_rule_behind_a_wider_one_is_hidden() {
        for (later, earlier, hidden) in [
            ("modality = \"US\"", "modality = \"US\"", true),
            ("modality = \"US\" and calling_ae = \"A\"", "modality = \"US\"", true),
            ("modality = \"US\"", "modality = \"US\" and calling_ae = \"A\"", false),
            ("modality = \"US\"", "modality in [\"US\", \"SR\"]", true),
            ("modality in [\"US\", \"SR\"]", "modality = \"US\" or modality = \"SR\"", false),
            ("calling_ae = \"EPIQ7\" or calling_ae = \"EPIQ5\"", "calling_ae = \"EPIQ*\"", true),
            ("source = \"10.1.0.0/16\"", "source = \"10.0.0.0/8\"", true),
            ("not modality in [\"US\", \"SR\"]", "not modality = \"US\"", true),
            ("not modality = \"US\"", "not modality in [\"US\", \"SR\"]", false),
            ("StudyDescription ~ \"echocardio\"", "StudyDescription ~ \"Echo\"", true),
        ] {
            let (a, b) = (parse(later).expect(later), parse(earlier).expect(earlier));
            assert_eq!(is_hidden(&a, &b), hidden, "{later} behind {earlier}");
        }
    }

    /// Comparisons over so few values that two of them often have to do with each other.
    fn expression() -> impl Strategy<Value = String> {
        let text = "[AB*?]{1,3}";
        let test = prop_oneof![
            text.prop_map(|value| format!("calling_ae = \"{value}\"")),
            text.prop_map(|value| format!("StudyDescription = \"{value}\"")),
            "[ab]{1,2}".prop_map(|value| format!("StudyDescription ~ \"{value}\"")),
            "[ab]{1,2}".prop_map(|value| format!("calling_ae ~ \"{value}\"")),
            "10\\.[01]\\.0\\.0/(8|16)".prop_map(|value| format!("source = \"{value}\"")),
            Just("exists StudyDescription".to_owned()),
            Just("exists calling_ae".to_owned()),
        ];
        test.prop_recursive(3, 8, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|x| format!("not ({x})")),
                (inner.clone(), inner.clone()).prop_map(|(x, y)| format!("({x}) and ({y})")),
                (inner.clone(), inner).prop_map(|(x, y)| format!("({x}) or ({y})")),
            ]
        })
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, cases: 2000, ..Default::default() })]

        #[test]
        fn whatever_matches_something_is_not_accused(
            later in expression(), earlier in expression(), title in "[AB]{0,3}", description in "[AB]{0,3}(\\\\[AB]{0,2})?",
            second in 0_u8..2,
        ) {
            let (later, earlier) = (parse(&later).unwrap(), parse(&earlier).unwrap());
            let mut scanner = Scanner::new(Encoding::ImplicitLe);
            let length = (description.len() as u32).to_le_bytes();
            scanner.feed(&[&[8, 0, 0x30, 0x10][..], &length, description.as_bytes()].concat());
            let facts = Facts {
                listener: "modalities",
                calling_ae: &AeTitle::from_wire(title.as_bytes()),
                called_ae: &AeTitle::default(),
                peer_addr: [10, second, 0, 1].into(),
                site: None,
                sop_class: &Uid::new("1.2"),
                attributes: scanner.attributes(),
                header: Header::Whole,
            };
            if later.holds(&facts) {
                prop_assert_eq!(why_never(&later, &listeners("")), None);
                prop_assert!(!is_hidden(&later, &earlier) || earlier.holds(&facts));
            }
        }
    }
}
