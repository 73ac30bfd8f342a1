//! Section C: who calls, and what is proposed.

use super::super::instance::{IMPLICIT_LITTLE, US_IMAGE};
use super::super::wire::item;
use super::bytes::{RELEASE, Rq, context, data, max_length, store, user_identity};
use super::{Case, Door, PASSCODE, Talk, USER};

const STUDY_ROOT_FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";

pub(super) fn cases() -> Vec<Case> {
    [callers(), contexts(), answered(), user_information()].into_iter().flatten().collect()
}

fn title(text: &[u8]) -> [u8; 16] {
    let mut title = [b' '; 16];
    title[..text.len()].copy_from_slice(text);
    title
}

fn callers() -> Vec<Case> {
    let rq = |called: &[u8], calling: &[u8]| Rq {
        called: title(called),
        calling: title(calling),
        ..Rq::default()
    };
    let accepted = |rq: &Rq| Talk::released(rq, |_| true);
    let odd =
        [&b"router\0\0\0\0\0\0\0\0\0\0"[..], b"ROUTER\0GARBAGE..", b"A\\B", b"   router", b"\xFF\x1B[2J"];
    let empty = [&b""[..], b"\0GARBAGE"];
    let listed = rq(b"ROUTER\0GARBAGE", b" VIVID1");
    vec![
        Case::new(
            "case_38_an_unlisted_called_ae_is_rejected_1_1_7_where_there_is_a_list",
            [
                Talk::rejected(1, 1, 7, &rq(b"ANY-SCP", b"VIVID1")).by(Door::Listed),
                accepted(&rq(b"ROUTER", b"VIVID1")).by(Door::Listed),
                accepted(&rq(b"WHOEVER", b"VIVID1")),
            ],
        ),
        Case::new(
            "case_39_an_unlisted_calling_ae_is_rejected_1_1_3_where_there_is_a_list",
            [
                Talk::rejected(1, 1, 3, &rq(b"ROUTER", b"EPIQ")).by(Door::Listed),
                accepted(&rq(b"ROUTER", b"EPIQ")),
            ],
        ),
        Case::new(
            "case_40_another_application_context_is_rejected_1_1_2",
            [Talk::rejected(1, 1, 2, &Rq { application: "1.2.3", ..Rq::default() })],
        ),
        Case::new(
            "case_41_another_protocol_version_is_rejected_1_2_2",
            [
                Talk::rejected(1, 2, 2, &Rq { version: 2, ..Rq::default() }),
                Talk::rejected(1, 2, 2, &Rq { version: 0, ..Rq::default() }),
                accepted(&Rq { version: 3, ..Rq::default() }),
            ],
        ),
        Case::new(
            "case_42_odd_ae_titles_are_cut_trimmed_and_accepted_unless_empty_or_not_listed",
            odd.into_iter()
                .map(|odd| accepted(&rq(odd, odd)))
                .chain(empty.map(|empty| Talk::rejected(1, 1, 7, &rq(empty, b"VIVID1"))))
                .chain(empty.map(|empty| Talk::rejected(1, 1, 3, &rq(b"ROUTER", empty))))
                .chain([
                    accepted(&listed).by(Door::Listed),
                    Talk::rejected(1, 1, 7, &rq(b"router", b"VIVID1")).by(Door::Listed),
                    Talk::rejected(1, 1, 3, &rq(b"ROUTER", b"vivid1\0GARBAGE")).by(Door::Listed),
                ]),
        ),
    ]
}

fn contexts() -> Vec<Case> {
    let aborted = |items: Vec<u8>| Talk::aborted(0, 0, Rq::items(items));
    let many = |count: u8| (0..count).flat_map(|id| context(id, US_IMAGE, &[IMPLICIT_LITTLE])).collect();
    let no_abstract = item(0x20, &[vec![1, 0, 0, 0], item(0x40, IMPLICIT_LITTLE.as_bytes())].concat());
    let claims = [0x40, 0, 0xFF, 0xFF].repeat(16_000);
    let overrun = item(0x20, &[&[1, 0, 0, 0, 0x30, 0, 0, 200][..], &[b'1'; 10]].concat());
    let all: Vec<_> = (0..128).map(|id| (id, 0)).collect();
    let unknown = [item(0x60, &[1; 100]), context(3, US_IMAGE, &[IMPLICIT_LITTLE]), item(0x60, &[])];
    vec![
        Case::new("case_43_no_presentation_context_is_aborted_0_0", [aborted(vec![])]),
        Case::new(
            "case_44_an_even_id_is_accepted_and_a_duplicate_aborted_0_0",
            [
                Talk::negotiated(context(2, US_IMAGE, &[IMPLICIT_LITTLE]), &[(2, 0)]),
                aborted(context(1, US_IMAGE, &[IMPLICIT_LITTLE]).repeat(2)),
            ],
        ),
        Case::new(
            "case_45_128_contexts_are_accepted_and_129_aborted_0_0",
            [Talk::negotiated(many(128), &all), aborted(many(129))],
        ),
        Case::new(
            "case_46_a_context_without_a_syntax_is_aborted_0_0",
            [no_abstract, context(1, US_IMAGE, &[]), item(0x20, &[1, 0])].map(aborted),
        ),
        Case::new(
            "case_47_sub_items_that_claim_more_than_there_is_are_aborted_0_0",
            [
                aborted(item(0x20, &[vec![1, 0, 0, 0], claims].concat())),
                aborted(context(1, US_IMAGE, &[IMPLICIT_LITTLE; 65])),
                Talk::negotiated(context(1, US_IMAGE, &[IMPLICIT_LITTLE; 64]), &[(1, 0)]),
            ],
        ),
        Case::new("case_48_a_sub_item_longer_than_its_parent_is_aborted_0_0", [aborted(overrun)]),
        Case::new("case_49_an_unknown_item_is_skipped", [Talk::negotiated(unknown.concat(), &[(3, 0)])]),
    ]
}

fn answered() -> Vec<Case> {
    let one = |class: &str, syntaxes: &[&str], result: u8| {
        Talk::negotiated(context(1, class, syntaxes), &[(1, result)])
    };
    let padded = [
        context(1, &format!("{US_IMAGE}\0"), &["1.2.840.10008.1.2 "]),
        context(3, &format!("{US_IMAGE}  "), &["1.2.840.10008.1.2\0"]),
    ];
    let mixed = [
        context(1, STUDY_ROOT_FIND, &[IMPLICIT_LITTLE]),
        context(3, "1.2.3.4", &[IMPLICIT_LITTLE]),
        context(5, US_IMAGE, &["1.2.3.4"]),
        context(7, "1.2.abc", &[IMPLICIT_LITTLE]),
    ];
    vec![
        Case::new(
            "case_50_a_service_that_is_not_offered_is_refused_with_3_and_an_unknown_class_accepted",
            [
                one(STUDY_ROOT_FIND, &[IMPLICIT_LITTLE], 3),
                one("1.2.3.4", &[IMPLICIT_LITTLE], 0),
                Talk::negotiated(mixed.concat(), &[(1, 3), (3, 0), (5, 4), (7, 3)]),
            ],
        ),
        Case::new(
            "case_51_transfer_syntaxes_that_nobody_knows_are_refused_with_4",
            [one(US_IMAGE, &["1.2.3.4", "1.2.3.5"], 4), one(US_IMAGE, &["1.2.3.4", IMPLICIT_LITTLE], 0)],
        ),
        Case::new("case_52_padded_uids_are_trimmed", [Talk::negotiated(padded.concat(), &[(1, 0), (3, 0)])]),
        Case::new(
            "case_53_uids_too_long_or_with_letters_are_refused_with_3",
            [one(&"1".repeat(65), &[IMPLICIT_LITTLE], 3), one("1.2.abc", &[IMPLICIT_LITTLE], 3)],
        ),
    ]
}

fn user_information() -> Vec<Case> {
    let with = |items: &[Vec<u8>]| Rq { user: items.concat(), ..Rq::default() };
    // Our answers are in PDUs that the peer takes.
    let stored = |rq: &Rq, longest: usize| {
        let sent = [rq.bytes(), store(1), data(true), RELEASE.to_vec()].concat();
        Talk::new(sent, move |answers| {
            let fits = answers.0.iter().all(|(kind, body)| *kind != 4 || body.len() <= longest);
            fits && answers.is_released() && answers.statuses() == [(0, String::new())]
        })
        .storing(1)
    };
    let role = [&(US_IMAGE.len() as u16).to_be_bytes()[..], US_IMAGE.as_bytes(), &[1, 1]].concat();
    let refused = |answer: Option<Vec<u8>>| answer.is_some_and(|answer| answer.ends_with(&[1, 0]));
    let identified = |passcode: &str| with(&[max_length(16384), user_identity(USER, passcode.as_bytes())]);
    let ours = 131_072_u32.to_be_bytes();
    vec![
        Case::new(
            "case_54_a_small_maximum_length_is_obeyed_and_a_tiny_one_aborted_0_0",
            [
                Talk::aborted(0, 0, with(&[max_length(127)]).bytes()),
                Talk::aborted(0, 0, with(&[max_length(1)]).bytes()),
                stored(&with(&[max_length(128)]), 128),
                stored(&with(&[max_length(0)]), 131_072),
                Talk::released(&with(&[max_length(0)]), move |a| a.user_item(0x51) == Some(ours.to_vec())),
            ],
        ),
        Case::new(
            "case_55_the_first_of_two_maximum_lengths_counts",
            [stored(&with(&[max_length(128), max_length(65_536)]), 128)],
        ),
        Case::new(
            "case_56_a_missing_or_wrong_user_identity_is_rejected_1_1_1",
            [
                Talk::rejected(1, 1, 1, &Rq::default()).by(Door::Identified),
                Talk::rejected(1, 1, 1, &identified("wrong")).by(Door::Identified),
                Talk::released(&identified(PASSCODE), |_| true).by(Door::Identified),
            ],
        ),
        Case::new(
            "case_57_the_scp_role_is_refused",
            [Talk::released(&with(&[max_length(16384), item(0x54, &role)]), move |answers| {
                refused(answers.user_item(0x54))
            })],
        ),
        Case::new(
            "case_58_an_asynchronous_window_is_answered_1_1",
            [Talk::released(&with(&[max_length(16384), item(0x53, &[0xFF; 4])]), |answers| {
                answers.user_item(0x53) == Some(vec![0, 1, 0, 1])
            })],
        ),
    ]
}
