//! Sections A and B: what is no PDU, or not now, or has lengths that lie.

use super::super::wire::{ASSOCIATE_AC, ASSOCIATE_RQ, DATA, RELEASE_RP, pdu};
use super::bytes::{ABORT, CONTEXT, RELEASE, Rq, data, data_set, pdata, store};
use super::{Case, Door, SHORT, Talk};

/// The length of a P-DATA-TF that we announce.
const ADVERTISED: u32 = 128 << 10;

/// A ClientHello of this version of TLS, or of SSL, which goes no further.
pub fn client_hello(minor: u8) -> Vec<u8> {
    let mut hello = vec![0x16, 3, minor.min(1), 0, 0x2f, 1, 0, 0, 0x2b, 3, minor];
    hello.extend([b'a'; 32]);
    hello.extend(*b"\x00\x00\x04\xc0\x2f\x00\xff\x01\x00");
    hello
}

pub(super) fn cases() -> Vec<Case> {
    [strangers(), headers(), values(), order()].into_iter().flatten().collect()
}

fn strangers() -> Vec<Case> {
    let http = [&b"GET / HTTP/1.1\r\n"[..], &b"X-Long: x\r\n".repeat(20_000), b"\r\n"].concat();
    vec![
        Case::new(
            "case_04_http_is_aborted_0_0",
            [Talk::aborted(0, 0, *b"GET / HTTP/1.1\r\n\r\n"), Talk::aborted(0, 0, http)],
        ),
        Case::new(
            "case_05_a_tls_hello_on_a_plain_port_is_aborted_0_0",
            [0, 1, 3].map(|minor| Talk::aborted(0, 0, client_hello(minor))),
        ),
        Case::new(
            "case_16_unknown_pdu_types_first_are_aborted_0_0",
            [0, 8, 0xFF].map(|kind| Talk::aborted(0, 0, pdu(kind, &[0; 4]))),
        ),
        Case::new(
            "case_17_unknown_pdu_types_later_are_aborted_2_1",
            [0, 8, 0xFF].map(|kind| Talk::open_aborted(2, 1, pdu(kind, &[0; 4]))),
        ),
    ]
}

fn headers() -> Vec<Case> {
    let short = [0, 1, 67].map(|length| Talk::aborted(0, 0, pdu(ASSOCIATE_RQ, &vec![0; length])));
    let beyond = [&[4, 0], &(ADVERTISED + 1).to_be_bytes()[..]].concat();
    let largest = {
        let set = data_set(((ADVERTISED as usize - 6 - data_set(0).len()) / 12) as u16);
        [store(1), pdata(CONTEXT, 2, &set)].concat()
    };
    vec![
        Case::new(
            "case_18_a_request_of_4_gib_is_aborted_0_0_at_its_header",
            [Talk::aborted(0, 0, [1, 0, 0xFF, 0xFF, 0xFF, 0xFF]), Talk::aborted(0, 0, [1, 0, 0, 8, 0, 1])],
        ),
        Case::new("case_19_a_request_too_short_for_its_fields_is_aborted_0_0", short),
        Case::new(
            "case_20_p_data_of_length_ffffffff_is_aborted_2_6_at_its_header",
            [Talk::open_aborted(2, 6, [4, 0, 0xFF, 0xFF, 0xFF, 0xFF])],
        ),
        Case::new(
            "case_21_p_data_one_beyond_the_maximum_is_aborted_2_6",
            [Talk::open_aborted(2, 6, beyond), Talk::stored(largest)],
        ),
        Case::new("case_22_p_data_of_length_0_is_aborted_2_6", [Talk::open_aborted(2, 6, pdu(DATA, &[]))]),
        Case::new(
            "case_35_release_and_abort_of_a_wrong_length_are_aborted_2_6",
            [5, 6, 7].into_iter().flat_map(|kind| {
                [0, 3, 6].map(|length| Talk::open_aborted(2, 6, pdu(kind, &vec![0; length])))
            }),
        ),
    ]
}

fn values() -> Vec<Case> {
    let first = |length: &[u8]| Talk::open_aborted(2, 6, pdu(DATA, &[length, &[CONTEXT, 3]].concat()));
    let set = data_set(3);
    let odd =
        [store(1), pdata(CONTEXT, 0, &set[..3]), pdata(CONTEXT, 0, &set[3..8]), pdata(CONTEXT, 2, &set[8..])];
    let empty = |count| [store(1), pdata(CONTEXT, 0, &[]).repeat(count), data(true)].concat();
    let endless = pdata(CONTEXT, 0, &[0; 100]).repeat(SHORT as usize / 50);
    vec![
        Case::new(
            "case_23_a_pdv_too_short_for_its_header_is_aborted_2_6",
            [first(&[0, 0, 0, 0]), first(&[0, 0, 0, 1])],
        ),
        Case::new(
            "case_24_a_pdv_longer_than_its_pdu_is_aborted_2_6",
            [first(&[0, 0, 0, 3]), first(&[0, 2, 0, 0])],
        ),
        Case::new(
            "case_25_a_pdv_length_that_wraps_is_aborted_2_6",
            [first(&[0xFF, 0xFF, 0xFF, 0xFC]), first(&[0xFF; 4])],
        ),
        Case::new("case_26_odd_pdv_lengths_are_accepted", [Talk::stored(odd.concat())]),
        Case::new(
            "case_27_65535_empty_pdvs_are_aborted_2_6_after_1024",
            [
                Talk::open_aborted(2, 6, empty(65_535)),
                Talk::open_aborted(2, 6, empty(1025)),
                Talk::stored(empty(1024)),
            ],
        ),
        Case::new(
            "case_28_a_data_set_that_never_ends_is_aborted_2_6_at_the_size_limit",
            [Talk::open_aborted(2, 6, [store(1), endless].concat()).by(Door::Short)],
        ),
    ]
}

fn order() -> Vec<Case> {
    let inside = |end: &[u8]| [&store(1), &data(false), end].concat();
    let unheard = |end: &[u8]| {
        let sent = [&Rq::default().bytes()[..], &inside(end)].concat();
        Talk::new(sent, |answers| answers.is_accepted() && answers.0.len() == 1)
    };
    let mut reserved = [Rq::default().bytes(), store(1), data(true), RELEASE.to_vec()].concat();
    reserved[1] = 0xFF;
    reserved[8..10].fill(0xFF);
    reserved[42..74].fill(0xFF);
    // PS3.8 Table 9-17: what was sent in the reserved fields comes back.
    let returned = Talk::new(reserved, |answers| {
        let statuses = answers.statuses();
        answers.is_released() && statuses == [(0, String::new())] && answers.0[0].1[36..68] == [0xFF; 32]
    });
    vec![
        Case::new(
            "case_29_a_second_request_is_aborted_2_2",
            [Talk::open_aborted(2, 2, Rq::default().bytes())],
        ),
        Case::new(
            "case_30_an_acceptance_sent_to_an_acceptor_is_aborted_2_2",
            [
                Talk::open_aborted(2, 2, pdu(ASSOCIATE_AC, &[0; 68])),
                Talk::aborted(0, 0, pdu(ASSOCIATE_AC, &[0; 68])),
            ],
        ),
        Case::new("case_31_p_data_before_an_association_is_aborted_0_0", [Talk::aborted(0, 0, data(true))]),
        Case::new(
            "case_32_a_release_inside_a_data_set_is_aborted_2_2_and_answers_nothing",
            [Talk::open_aborted(2, 2, inside(&RELEASE))],
        ),
        Case::new(
            "case_33_a_release_reply_unasked_is_aborted_2_2",
            [Talk::open_aborted(2, 2, pdu(RELEASE_RP, &[0; 4]))],
        ),
        Case::new("case_34_an_abort_inside_a_data_set_answers_and_stores_nothing", [unheard(&ABORT)]),
        Case::new("case_37_reserved_bytes_are_not_looked_at", [returned.storing(1)]),
    ]
}
