//! Hostile and broken input on the wire, by number: what the DIMSE layer alone has to answer to it.
//!
//! The acceptor runs on an in-memory stream with a paused clock, so a silence of thirty seconds costs nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::time::Duration;

use chrysalis::dicom::{Status, Uid};
use chrysalis::dimse::pdata::Part;
use chrysalis::dimse::pdu::UserIdentity;
use chrysalis::dimse::requestor::SyncSource;
use chrysalis::dimse::{
    Acceptor, Admission, Incoming, LinkError, Policy, Proposal, Requestor, StoreError, StoreRequest,
    StoreResponse, Timers,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const US: &str = "1.2.840.10008.5.1.4.1.1.6.1";
const VERIFICATION: &str = "1.2.840.10008.1.1";
const IMPLICIT: &str = "1.2.840.10008.1.2";
const ROOM: usize = 4 << 20;

// ---------------------------------------------------------------------------------------------------- what is sent

fn pdu(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &(body.len() as u32).to_be_bytes(), body].concat()
}

fn item(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &(value.len() as u16).to_be_bytes(), value].concat()
}

fn context(id: u8, class: &str, syntaxes: &[&str]) -> Vec<u8> {
    let syntaxes = syntaxes.iter().flat_map(|syntax| item(0x40, syntax.as_bytes()));
    item(0x20, &[vec![id, 0, 0, 0], item(0x30, class.as_bytes()), syntaxes.collect()].concat())
}

/// An A-ASSOCIATE-RQ; each field can be replaced.
struct Rq {
    version: u16,
    called: [u8; 16],
    calling: [u8; 16],
    application: &'static str,
    items: Vec<u8>,
    user: Vec<u8>,
}

impl Default for Rq {
    fn default() -> Self {
        Self {
            version: 1,
            called: *b"ANY-SCP         ",
            calling: *b"VIVID1          ",
            application: "1.2.840.10008.3.1.1.1",
            items: [context(1, VERIFICATION, &[IMPLICIT]), context(3, US, &[IMPLICIT])].concat(),
            user: item(0x51, &16384_u32.to_be_bytes()),
        }
    }
}

impl Rq {
    fn bytes(&self) -> Vec<u8> {
        let fixed =
            [&self.version.to_be_bytes()[..], &[0, 0], &self.called, &self.calling, &[0; 32]].concat();
        let application = item(0x10, self.application.as_bytes());
        pdu(1, &[fixed, application, self.items.clone(), item(0x50, &self.user)].concat())
    }

    fn items(items: Vec<u8>) -> Vec<u8> {
        Self { items, ..Self::default() }.bytes()
    }
}

fn pdv(context: u8, control: u8, data: &[u8]) -> Vec<u8> {
    [&(data.len() as u32 + 2).to_be_bytes()[..], &[context, control], data].concat()
}

fn pdata(context: u8, control: u8, data: &[u8]) -> Vec<u8> {
    pdu(4, &pdv(context, control, data))
}

fn element(element: u16, value: &[u8]) -> Vec<u8> {
    [&[0, 0][..], &element.to_le_bytes(), &(value.len() as u32).to_le_bytes(), value].concat()
}

fn number(tag: u16, value: u16) -> Vec<u8> {
    element(tag, &value.to_le_bytes())
}

/// A C-STORE-RQ command set with what a test wants different.
fn store_set(class: Option<&[u8]>, instance: Option<&[u8]>, id: u16, data: u16) -> Vec<u8> {
    let class = class.map(|uid| element(2, uid)).unwrap_or_default();
    let instance = instance.map(|uid| element(0x1000, uid)).unwrap_or_default();
    [class, number(0x100, 1), number(0x110, id), number(0x700, 0), number(0x800, data), instance].concat()
}

fn store(id: u16) -> Vec<u8> {
    pdata(3, 3, &store_set(Some(US.as_bytes()), Some(b"1.2.3\0"), id, 1))
}

fn data(last: bool) -> Vec<u8> {
    pdata(3, if last { 2 } else { 0 }, &[7; 100])
}

const RELEASE: [u8; 10] = [5, 0, 0, 0, 0, 4, 0, 0, 0, 0];
const ABORT: [u8; 10] = [7, 0, 0, 0, 0, 4, 0, 0, 0, 0];

// ------------------------------------------------------------------------------------------------ what comes back

/// The acceptor's PDUs, in order: type and variable field.
struct Answers(Vec<(u8, Vec<u8>)>);

impl Answers {
    fn read(mut bytes: &[u8]) -> Self {
        let mut pdus = Vec::new();
        while !bytes.is_empty() {
            let length = u32::from_be_bytes(bytes[2..6].try_into().unwrap()) as usize;
            pdus.push((bytes[0], bytes[6..6 + length].to_vec()));
            bytes = &bytes[6 + length..];
        }
        Self(pdus)
    }

    fn abort(&self) -> Option<(u8, u8)> {
        self.0.last().filter(|pdu| pdu.0 == 7).map(|pdu| (pdu.1[2], pdu.1[3]))
    }

    fn rejection(&self) -> Option<(u8, u8, u8)> {
        self.0.first().filter(|pdu| pdu.0 == 3).map(|pdu| (pdu.1[1], pdu.1[2], pdu.1[3]))
    }

    fn accepted(&self) -> bool {
        self.0.first().is_some_and(|pdu| pdu.0 == 2)
    }

    fn released(&self) -> bool {
        self.0.last().is_some_and(|pdu| pdu.0 == 6)
    }

    /// The results of the presentation contexts, by identifier.
    fn results(&self) -> Vec<(u8, u8)> {
        self.sub_items()
            .iter()
            .filter(|(kind, _)| *kind == 0x21)
            .map(|(_, value)| (value[0], value[2]))
            .collect()
    }

    fn sub_items(&self) -> Vec<(u8, Vec<u8>)> {
        assert!(self.accepted(), "{:02X?}", self.0);
        split_items(&self.0[0].1[68..])
    }

    fn user_item(&self, wanted: u8) -> Option<Vec<u8>> {
        let user = self.sub_items().into_iter().find(|(kind, _)| *kind == 0x50).unwrap().1;
        split_items(&user).into_iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
    }

    /// Statuses and comments of all responses.
    fn statuses(&self) -> Vec<(u16, String)> {
        let mut found = Vec::new();
        for (_, body) in self.0.iter().filter(|pdu| pdu.0 == 4) {
            let (mut set, mut status, mut comment) = (&body[6..], 0xFFFF, String::new());
            while !set.is_empty() {
                let length = u32::from_le_bytes(set[4..8].try_into().unwrap()) as usize;
                let value = &set[8..8 + length];
                match u16::from_le_bytes([set[2], set[3]]) {
                    0x0900 => status = u16::from_le_bytes([value[0], value[1]]),
                    0x0902 => comment = String::from_utf8_lossy(value).trim().to_owned(),
                    _ => {}
                }
                set = &set[8 + length..];
            }
            assert!(comment.len() <= 64);
            found.push((status, comment));
        }
        found
    }

    fn status(&self) -> u16 {
        let statuses = self.statuses();
        assert_eq!(statuses.len(), 1, "{statuses:?}");
        statuses[0].0
    }
}

fn split_items(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        items.push((bytes[0], bytes[4..4 + length].to_vec()));
        bytes = &bytes[4 + length..];
    }
    items
}

/// A receiver that takes everything; returns how many instances were complete and how it ended.
async fn serve(stream: DuplexStream, policy: Policy) -> (usize, String) {
    let mut taken = 0;
    let mut association = match Acceptor::accept(stream, &policy, Timers::default()).await {
        Ok(association) => association,
        Err(error) => return (0, error.to_string()),
    };
    loop {
        let step = async {
            match association.next_message().await? {
                Incoming::Echo(echo) => association.respond_echo(&echo).await?,
                Incoming::Store(message) => {
                    while association.next_data().await?.is_some() {}
                    taken += 1;
                    association.respond(&message, Status::SUCCESS, "").await?;
                }
                Incoming::Released => return Ok(true),
            }
            Ok::<_, LinkError>(false)
        };
        match step.await {
            Ok(false) => {}
            Ok(true) => return (taken, "released".into()),
            Err(error) => return (taken, error.to_string()),
        }
    }
}

/// Sends everything, then listens until the acceptor closes. Returns answers, instances taken and the end's description.
async fn converse(policy: Policy, bytes: &[u8]) -> (Answers, usize, String) {
    let (mut client, server) = duplex(ROOM);
    let task = tokio::spawn(serve(server, policy));
    client.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    drop(client);
    let (taken, end) = task.await.unwrap();
    (Answers::read(&answer), taken, end)
}

async fn say(bytes: &[u8]) -> Answers {
    converse(Policy::default(), bytes).await.0
}

/// Sends this on an open association.
async fn say_open(bytes: &[u8]) -> Answers {
    let answers = say(&[Rq::default().bytes(), bytes.to_vec()].concat()).await;
    assert!(answers.accepted());
    answers
}

async fn say_with(policy: Policy, bytes: &[u8]) -> Answers {
    converse(policy, bytes).await.0
}

macro_rules! case {
    ($name:ident, $body:block) => {
        #[tokio::test(start_paused = true)]
        async fn $name() $body
    };
}

// -------------------------------------------------------------------------------------------------------- A. TCP

case!(case_01_and_02_silence_and_a_few_bytes_then_silence_are_closed_at_artim, {
    for bytes in [&[][..], &[1, 0, 0]] {
        let started = tokio::time::Instant::now();
        let (answers, _, end) = converse(Policy::default(), bytes).await;
        assert!(answers.0.is_empty() && end.contains("timeout"), "{end}");
        assert_eq!(started.elapsed().as_secs(), 30);
    }
});

case!(case_03_one_byte_every_25_seconds_is_closed_at_30, {
    let (mut client, server) = duplex(ROOM);
    let task = tokio::spawn(serve(server, Policy::default()));
    let started = tokio::time::Instant::now();
    for byte in Rq::default().bytes() {
        if client.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(25)).await;
    }
    assert!(task.await.unwrap().1.contains("timeout"));
    assert!(started.elapsed() <= Duration::from_secs(51));
});

case!(case_04_http_is_aborted_0_0, {
    let (answers, _, end) = converse(Policy::default(), b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(answers.abort(), Some((0, 0)));
    assert!(end.contains("HTTP"), "{end}");
});

case!(case_05_a_tls_hello_on_a_plain_port_is_aborted_0_0_and_named, {
    let (answers, _, end) =
        converse(Policy::default(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    assert_eq!(answers.abort(), Some((0, 0)));
    assert!(end.contains("TLS on plain port"), "{end}");
});

case!(case_12_and_13_a_close_after_any_byte_leaves_no_instance, {
    let session = [Rq::default().bytes(), store(1), data(false), data(true)].concat();
    for cut in 0..session.len() {
        let (mut client, server) = duplex(ROOM);
        let task = tokio::spawn(serve(server, Policy::default()));
        client.write_all(&session[..cut]).await.unwrap();
        drop(client);
        assert_eq!(task.await.unwrap().0, 0, "cut at {cut}");
    }
});

// -------------------------------------------------------------------------------------------------------- B. PDU

case!(case_16_unknown_pdu_types_first_are_aborted_0_0, {
    for kind in [0, 8, 0xFF] {
        assert_eq!(say(&pdu(kind, &[0; 4])).await.abort(), Some((0, 0)));
    }
});

case!(case_17_unknown_pdu_types_later_are_aborted_2_1, {
    for kind in [0, 8, 0xFF] {
        assert_eq!(say_open(&pdu(kind, &[0; 4])).await.abort(), Some((2, 1)));
    }
});

case!(case_18_a_request_of_4_gib_is_aborted_0_0_at_its_header, {
    assert_eq!(say(&[1, 0, 0xFF, 0xFF, 0xFF, 0xFF]).await.abort(), Some((0, 0)));
});

case!(case_19_a_request_too_short_for_its_fields_is_aborted_0_0, {
    for length in [0, 1, 67] {
        assert_eq!(say(&pdu(1, &vec![0; length])).await.abort(), Some((0, 0)));
    }
});

case!(case_20_p_data_length_ffffffff_is_aborted_2_6, {
    assert_eq!(say_open(&[4, 0, 0xFF, 0xFF, 0xFF, 0xFF]).await.abort(), Some((2, 6)));
});

case!(case_21_p_data_one_beyond_the_maximum_is_aborted_2_6, {
    let length = (Policy::default().max_pdu + 1).to_be_bytes();
    assert_eq!(say_open(&[&[4, 0], &length[..]].concat()).await.abort(), Some((2, 6)));
});

case!(case_22_p_data_of_length_0_is_aborted_2_6, {
    assert_eq!(say_open(&pdu(4, &[])).await.abort(), Some((2, 6)));
});

case!(case_23_a_pdv_too_short_for_its_header_is_aborted_2_6, {
    for length in [0, 1] {
        assert_eq!(say_open(&pdu(4, &[0, 0, 0, length, 3, 3])).await.abort(), Some((2, 6)));
    }
});

case!(case_24_a_pdv_longer_than_its_pdu_is_aborted_2_6, {
    assert_eq!(say_open(&pdu(4, &[0, 0, 0, 4, 3, 3, 0])).await.abort(), Some((2, 6)));
});

case!(case_25_a_pdv_length_that_wraps_is_aborted_2_6, {
    assert_eq!(say_open(&pdu(4, &[0xFF, 0xFF, 0xFF, 0xFC, 3, 3, 0])).await.abort(), Some((2, 6)));
});

case!(case_26_odd_pdv_lengths_are_accepted, {
    let answers =
        say_open(&[store(1), pdata(3, 0, b"abc"), pdata(3, 2, b"d"), RELEASE.to_vec()].concat()).await;
    assert_eq!((answers.status(), answers.released()), (0, true));
});

case!(case_27_65535_empty_pdvs_are_aborted_2_6, {
    let flood = pdata(3, 0, &[]).repeat(65_535);
    assert_eq!(say_open(&[store(1), flood].concat()).await.abort(), Some((2, 6)));
    let many = [store(1), pdata(3, 0, &[]).repeat(1024), data(true), RELEASE.to_vec()].concat();
    assert_eq!(say_open(&many).await.status(), 0);
});

case!(case_28_a_data_set_that_never_ends_is_aborted_2_6_at_the_size_limit, {
    let policy = Policy { max_data_set: 1000, ..Policy::default() };
    let bytes = [Rq::default().bytes(), store(1), data(false).repeat(20)].concat();
    let (answers, taken, _) = converse(policy, &bytes).await;
    assert_eq!((answers.abort(), taken), (Some((2, 6)), 0));
});

case!(case_29_a_second_request_is_aborted_2_2, {
    assert_eq!(say_open(&Rq::default().bytes()).await.abort(), Some((2, 2)));
});

case!(case_30_an_acceptance_sent_to_an_acceptor_is_aborted, {
    assert_eq!(say_open(&pdu(2, &[0; 68])).await.abort(), Some((2, 2)));
    assert_eq!(say(&pdu(2, &[0; 68])).await.abort(), Some((0, 0)));
});

case!(case_31_p_data_before_an_association_is_aborted_0_0, {
    assert_eq!(say(&data(true)).await.abort(), Some((0, 0)));
});

case!(case_32_a_release_inside_a_data_set_is_aborted_2_2, {
    let bytes = [Rq::default().bytes(), store(1), data(false), RELEASE.to_vec()].concat();
    let (answers, taken, _) = converse(Policy::default(), &bytes).await;
    assert_eq!((answers.abort(), taken), (Some((2, 2)), 0));
});

case!(case_33_a_release_reply_unasked_is_aborted_2_2, {
    assert_eq!(say_open(&pdu(6, &[0; 4])).await.abort(), Some((2, 2)));
});

case!(case_34_an_abort_inside_a_data_set_leaves_no_instance, {
    let bytes = [Rq::default().bytes(), store(1), data(false), ABORT.to_vec()].concat();
    let (answers, taken, end) = converse(Policy::default(), &bytes).await;
    assert_eq!((answers.0.len(), taken), (1, 0));
    assert!(end.contains("aborted"), "{end}");
});

case!(case_35_release_and_abort_of_a_wrong_length_are_aborted_2_6, {
    for kind in [5, 6, 7] {
        assert_eq!(say_open(&pdu(kind, &[0; 6])).await.abort(), Some((2, 6)));
    }
});

case!(case_36_a_release_collision_is_seen_through_by_the_requestor, {
    let (client, mut server) = duplex(ROOM);
    let peer = tokio::spawn(async move {
        read_pdu(&mut server).await;
        server.write_all(&accept(&[3])).await.unwrap();
        assert_eq!(read_pdu(&mut server).await.0, 5);
        server.write_all(&RELEASE).await.unwrap();
        assert_eq!(read_pdu(&mut server).await.0, 6);
        server.write_all(&pdu(6, &[0; 4])).await.unwrap();
    });
    open(client).await.release().await.unwrap();
    peer.await.unwrap();
});

case!(case_37_reserved_bytes_are_not_looked_at, {
    let mut bytes = [Rq::default().bytes(), store(1), data(true), RELEASE.to_vec()].concat();
    bytes[1] = 0xFF;
    bytes[8..10].fill(0xFF);
    bytes[42..74].fill(0xFF);
    let answers = say(&bytes).await;
    assert_eq!((answers.status(), answers.released()), (0, true));
    // PS3.8 Table 9-17: what was sent in the reserved fields comes back.
    assert_eq!(answers.0[0].1[36..68], [0xFF; 32]);
});

// ------------------------------------------------------------------------------------------------- C. Association

fn listed(called: Option<&str>, calling: Option<&str>) -> Policy {
    let list = |text: Option<&str>| text.map(|text| vec![text.parse().unwrap()]);
    Policy { called_ae: list(called), calling_ae: list(calling), ..Policy::default() }
}

async fn greet(policy: Policy, rq: Rq) -> Answers {
    say_with(policy, &[rq.bytes(), RELEASE.to_vec()].concat()).await
}

case!(case_38_an_unlisted_called_ae_is_rejected_1_1_7, {
    assert_eq!(greet(listed(Some("ROUTER"), None), Rq::default()).await.rejection(), Some((1, 1, 7)));
    assert!(greet(Policy::default(), Rq::default()).await.released());
});

case!(case_39_an_unlisted_calling_ae_is_rejected_1_1_3, {
    assert_eq!(greet(listed(None, Some("EPIQ*")), Rq::default()).await.rejection(), Some((1, 1, 3)));
    assert!(greet(listed(None, Some("VIVID*")), Rq::default()).await.released());
});

case!(case_40_another_application_context_is_rejected_1_1_2, {
    let rq = Rq { application: "1.2.3", ..Rq::default() };
    assert_eq!(greet(Policy::default(), rq).await.rejection(), Some((1, 1, 2)));
});

case!(case_41_another_protocol_version_is_rejected_1_2_2, {
    assert_eq!(
        greet(Policy::default(), Rq { version: 2, ..Rq::default() }).await.rejection(),
        Some((1, 2, 2))
    );
    assert!(greet(Policy::default(), Rq { version: 3, ..Rq::default() }).await.released());
});

case!(case_42_odd_ae_titles_are_cut_trimmed_and_accepted_unless_empty, {
    for title in
        [*b"router\0\0\0\0\0\0\0\0\0\0", *b"ROUTER\0GARBAGE..", *b"A\\B             ", *b"   router       "]
    {
        assert!(greet(Policy::default(), Rq { called: title, ..Rq::default() }).await.released());
    }
    let empty = *b"\0GARBAGE........";
    let called = greet(Policy::default(), Rq { called: empty, ..Rq::default() }).await;
    assert_eq!(called.rejection(), Some((1, 1, 7)));
    let calling = greet(Policy::default(), Rq { calling: [b' '; 16], ..Rq::default() }).await;
    assert_eq!(calling.rejection(), Some((1, 1, 3)));
});

case!(case_43_no_presentation_context_is_aborted_0_0, {
    assert_eq!(say(&Rq::items(vec![])).await.abort(), Some((0, 0)));
});

case!(case_44_an_even_id_is_accepted_and_a_duplicate_aborted_0_0, {
    let even = [Rq::items(context(2, US, &[IMPLICIT])), RELEASE.to_vec()].concat();
    assert_eq!(say(&even).await.results(), [(2, 0)]);
    let twice = context(1, US, &[IMPLICIT]).repeat(2);
    assert_eq!(say(&Rq::items(twice)).await.abort(), Some((0, 0)));
});

case!(case_45_128_contexts_are_accepted_and_129_aborted_0_0, {
    let many = |count: u8| (0..count).flat_map(|id| context(id, US, &[IMPLICIT])).collect();
    let answers = say(&[Rq::items(many(128)), RELEASE.to_vec()].concat()).await;
    assert_eq!(answers.results().len(), 128);
    assert_eq!(say(&Rq::items(many(129))).await.abort(), Some((0, 0)));
});

case!(case_46_a_context_without_a_syntax_is_aborted_0_0, {
    let no_abstract = item(0x20, &[vec![1, 0, 0, 0], item(0x40, IMPLICIT.as_bytes())].concat());
    for bad in [no_abstract, context(1, US, &[]), item(0x20, &[1, 0])] {
        assert_eq!(say(&Rq::items(bad)).await.abort(), Some((0, 0)));
    }
});

case!(case_47_sub_items_that_claim_more_than_there_is_are_aborted_0_0, {
    let claims = [0x40, 0, 0xFF, 0xFF].repeat(16_000);
    assert_eq!(say(&Rq::items(item(0x20, &[vec![1, 0, 0, 0], claims].concat()))).await.abort(), Some((0, 0)));
    let many = context(1, US, &[IMPLICIT; 65]);
    assert_eq!(say(&Rq::items(many)).await.abort(), Some((0, 0)));
});

case!(case_48_a_sub_item_longer_than_its_parent_is_aborted_0_0, {
    let bad = item(0x20, &[&[1, 0, 0, 0, 0x30, 0, 0, 200][..], &[b'1'; 10]].concat());
    assert_eq!(say(&Rq::items(bad)).await.abort(), Some((0, 0)));
});

case!(case_49_an_unknown_item_is_skipped, {
    let items = [item(0x60, &[1; 100]), context(3, US, &[IMPLICIT])].concat();
    let answers = say(&[Rq::items(items), RELEASE.to_vec()].concat()).await;
    assert_eq!(answers.results(), [(3, 0)]);
});

case!(case_50_51_and_53_contexts_are_answered_one_by_one, {
    let long = "1".repeat(65);
    let items = [
        context(1, "1.2.840.10008.5.1.4.1.2.2.1", &[IMPLICIT]),
        context(3, "1.2.3.4", &[IMPLICIT]),
        context(5, US, &["1.2.3.4"]),
        context(7, "1.2.abc", &[IMPLICIT]),
        context(9, &long, &[IMPLICIT]),
    ];
    let answers = say(&[Rq::items(items.concat()), RELEASE.to_vec()].concat()).await;
    assert_eq!(answers.results(), [(1, 3), (3, 0), (5, 4), (7, 3), (9, 3)]);
});

case!(case_52_padded_uids_are_trimmed, {
    let items = [
        context(1, &format!("{US}\0"), &["1.2.840.10008.1.2 "]),
        context(3, &format!("{US}  "), &[IMPLICIT]),
    ];
    let answers = say(&[Rq::items(items.concat()), RELEASE.to_vec()].concat()).await;
    assert_eq!(answers.results(), [(1, 0), (3, 0)]);
});

case!(case_54_a_small_maximum_length_is_obeyed_and_a_tiny_one_aborted_0_0, {
    let with = |length: u32| Rq { user: item(0x51, &length.to_be_bytes()), ..Rq::default() };
    let tiny = say(&with(127).bytes()).await;
    assert_eq!(tiny.abort(), Some((0, 0)));
    let answers = say(&[with(128).bytes(), store(1), data(true), RELEASE.to_vec()].concat()).await;
    assert!(answers.released());
    assert!(answers.0.iter().all(|(kind, body)| *kind != 4 || body.len() <= 128));
    assert!(greet(Policy::default(), with(0)).await.released());
});

case!(case_55_the_first_of_two_maximum_lengths_counts, {
    let user = [item(0x51, &128_u32.to_be_bytes()), item(0x51, &65_536_u32.to_be_bytes())].concat();
    let answers =
        say(&[Rq { user, ..Rq::default() }.bytes(), store(1), data(true), RELEASE.to_vec()].concat()).await;
    assert!(answers.released() && answers.0.iter().all(|(kind, body)| *kind != 4 || body.len() <= 128));
});

case!(case_56_a_missing_or_wrong_user_identity_is_rejected_1_1_1, {
    let known = UserIdentity { kind: 2, primary: b"cart".to_vec(), secondary: b"secret".to_vec() };
    assert!(!format!("{known:?}").contains("secret"));
    let policy = Policy { identities: Some(vec![known]), ..Policy::default() };
    let with = |passcode: &[u8]| {
        let identity =
            [&[2, 0, 0, 4][..], b"cart", &(passcode.len() as u16).to_be_bytes(), passcode].concat();
        Rq { user: [item(0x51, &[0, 0, 64, 0]), item(0x58, &identity)].concat(), ..Rq::default() }
    };
    assert_eq!(greet(policy.clone(), Rq::default()).await.rejection(), Some((1, 1, 1)));
    assert_eq!(greet(policy.clone(), with(b"wrong")).await.rejection(), Some((1, 1, 1)));
    assert!(greet(policy, with(b"secret")).await.released());
});

case!(case_57_the_scp_role_is_refused, {
    let role = [&(US.len() as u16).to_be_bytes()[..], US.as_bytes(), &[1, 1]].concat();
    let user = [item(0x51, &[0, 0, 64, 0]), item(0x54, &role)].concat();
    let answer = greet(Policy::default(), Rq { user, ..Rq::default() }).await.user_item(0x54).unwrap();
    assert_eq!(answer[answer.len() - 2..], [1, 0]);
});

case!(case_58_an_asynchronous_window_is_answered_1_1, {
    let user = [item(0x51, &[0, 0, 64, 0]), item(0x53, &[0xFF; 4])].concat();
    let answers = greet(Policy::default(), Rq { user, ..Rq::default() }).await;
    assert_eq!(answers.user_item(0x53), Some(vec![0, 1, 0, 1]));
});

case!(case_59_to_62_no_room_is_rejected_as_transient, {
    for (admission, reason) in [(Admission::LimitExceeded, 2), (Admission::Congested, 1)] {
        let policy = Policy { admission, ..Policy::default() };
        assert_eq!(greet(policy, Rq::default()).await.rejection(), Some((2, 3, reason)));
    }
});

// ------------------------------------------------------------------------------------------------------- D. DIMSE

case!(case_63_a_context_that_was_not_agreed_on_is_aborted_2_6, {
    assert_eq!(say_open(&pdata(99, 3, &[0; 10])).await.abort(), Some((2, 6)));
});

case!(case_64_data_before_a_command_is_aborted_2_2, {
    assert_eq!(say_open(&data(true)).await.abort(), Some((2, 2)));
});

case!(case_65_a_command_beyond_16_kib_is_aborted_2_6, {
    assert_eq!(say_open(&pdata(3, 1, &[0; 10_000]).repeat(2)).await.abort(), Some((2, 6)));
});

case!(case_66_a_command_that_is_garbage_is_aborted_2_6, {
    let explicit = [&[0, 0, 0, 1][..], b"US\x02\0\x01\0"].concat();
    for bad in [&b"garbage in a command"[..], &explicit, &[]] {
        assert_eq!(say_open(&pdata(3, 3, bad)).await.abort(), Some((2, 6)));
    }
});

/// Sends a C-STORE with this command set and a data set, then releases; returns the status.
async fn store_with(set: Vec<u8>, with_data: bool) -> u16 {
    let data = if with_data { data(true) } else { vec![] };
    let answers = say_open(&[pdata(3, 3, &set), data, RELEASE.to_vec()].concat()).await;
    assert!(answers.released());
    let (status, comment) = answers.statuses().remove(0);
    assert_eq!(status == 0, comment.is_empty(), "{comment}");
    status
}

case!(case_67_missing_uids_are_answered_0212, {
    assert_eq!(store_with(store_set(None, Some(b"1.2"), 1, 1), true).await, 0x0212);
    assert_eq!(store_with(store_set(Some(US.as_bytes()), None, 1, 1), true).await, 0x0212);
});

case!(case_68_a_wrong_group_length_is_accepted, {
    let set = [element(0, &[0xFF; 4]), store_set(Some(US.as_bytes()), Some(b"1.2"), 1, 1)].concat();
    assert_eq!(store_with(set, true).await, 0);
});

case!(case_69_a_store_without_data_set_is_answered_c000, {
    assert_eq!(store_with(store_set(Some(US.as_bytes()), Some(b"1.2"), 1, 0x101), false).await, 0xC000);
});

case!(case_70_unknown_operations_are_answered_0211, {
    for (field, data_type, with_data) in [(0x21, 1, true), (0x140, 0x101, false)] {
        let set =
            [element(2, US.as_bytes()), number(0x100, field), number(0x110, 1), number(0x800, data_type)];
        assert_eq!(store_with(set.concat(), with_data).await, 0x0211);
    }
});

case!(case_71_a_store_of_another_sop_class_is_answered_0122, {
    assert_eq!(store_with(store_set(Some(b"1.2.3"), Some(b"1.2"), 1, 1), true).await, 0x0122);
});

case!(case_72_unusable_instance_uids_are_answered_0117_and_odd_ones_accepted, {
    let long = [b'1'; 65];
    for bad in [&b"1.2\x003.4"[..], b"../../etc", b"1\\2", b"", &long] {
        assert_eq!(store_with(store_set(Some(US.as_bytes()), Some(bad), 1, 1), true).await, 0x0117);
    }
    for odd in [&b"1.2.abc"[..], b"1.002.3", b"1.2.3\0"] {
        assert_eq!(store_with(store_set(Some(US.as_bytes()), Some(odd), 1, 1), true).await, 0);
    }
});

case!(case_73_and_77_a_command_inside_a_data_set_is_aborted_2_2, {
    assert_eq!(say_open(&[store(1), data(false), store(2)].concat()).await.abort(), Some((2, 2)));
    assert_eq!(say_open(&[pdata(3, 1, &[0; 4]), data(false)].concat()).await.abort(), Some((2, 2)));
});

case!(case_74_a_message_id_in_use_is_answered_0210, {
    let (mut client, server) = duplex(ROOM);
    let bytes =
        [Rq::default().bytes(), store(5), data(true), store(5), data(true), RELEASE.to_vec()].concat();
    client.write_all(&bytes).await.unwrap();
    let mut association = Acceptor::accept(server, &Policy::default(), Timers::default()).await.unwrap();
    let Incoming::Store(first) = association.next_message().await.unwrap() else { panic!("no C-STORE") };
    // The first is still being written to disk when the second is read.
    assert!(matches!(association.next_message().await.unwrap(), Incoming::Released));
    assert_eq!(first.command.message_id, 5);
    drop(association);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(Answers::read(&answer).status(), 0x0210);
});

case!(case_75_a_cancel_is_ignored, {
    let cancel = pdata(3, 3, &[number(0x100, 0x0FFF), number(0x120, 1), number(0x800, 0x101)].concat());
    let answers = say_open(&[cancel.clone(), store(1), data(true), cancel, RELEASE.to_vec()].concat()).await;
    assert_eq!((answers.status(), answers.released()), (0, true));
});

case!(case_76_another_context_inside_a_data_set_is_aborted_2_6, {
    assert_eq!(say_open(&[store(1), data(false), pdata(1, 2, b"x")].concat()).await.abort(), Some((2, 6)));
});

async fn read_pdu(stream: &mut DuplexStream) -> (u8, Vec<u8>) {
    let mut header = [0; 6];
    stream.read_exact(&mut header).await.unwrap();
    let mut body = vec![0; u32::from_be_bytes(header[2..].try_into().unwrap()) as usize];
    stream.read_exact(&mut body).await.unwrap();
    (header[0], body)
}

/// An A-ASSOCIATE-AC that accepts these contexts as Implicit VR LE.
fn accept(ids: &[u8]) -> Vec<u8> {
    let contexts =
        ids.iter().flat_map(|&id| item(0x21, &[vec![id, 0, 0, 0], item(0x40, IMPLICIT.as_bytes())].concat()));
    let fixed = [vec![0, 1, 0, 0], vec![b' '; 64]].concat();
    let user = item(0x50, &item(0x51, &16384_u32.to_be_bytes()));
    pdu(2, &[fixed, item(0x10, b"1.2.840.10008.3.1.1.1"), contexts.collect(), user].concat())
}

async fn open(stream: DuplexStream) -> Requestor<DuplexStream> {
    let uid = |text: &str| Uid::new(text);
    let contexts = vec![(uid(VERIFICATION), vec![uid(IMPLICIT)]), (uid(US), vec![uid(IMPLICIT)])];
    let proposal = Proposal::new("CHRYSALIS".parse().unwrap(), "PACS".parse().unwrap(), contexts);
    Requestor::open(stream, &proposal, Timers::default()).await.unwrap()
}

/// A C-STORE to a peer that answers with these bytes; returns the outcome and what the peer saw after its answer.
async fn store_against(
    answer: Vec<u8>,
    length: usize,
) -> (Result<StoreResponse, StoreError>, Option<(u8, u8)>) {
    let (client, mut server) = duplex(64 * 1024);
    let peer = tokio::spawn(async move {
        read_pdu(&mut server).await;
        server.write_all(&accept(&[3])).await.unwrap();
        loop {
            let (kind, body) = read_pdu(&mut server).await;
            if kind == 4 && body[5] == 2 {
                break;
            }
        }
        server.write_all(&answer).await.unwrap();
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        Answers::read(&rest).abort()
    });
    let mut requestor = open(client).await;
    let bytes = vec![0; length];
    let outcome = requestor.store(&request(length as u64), &mut SyncSource(&bytes[..])).await;
    drop(requestor);
    (outcome, peer.await.unwrap())
}

fn request(data_length: u64) -> StoreRequest {
    StoreRequest { context: 3, sop_class: Uid::new(US), sop_instance: Uid::new("1.2.3"), data_length }
}

fn response(message_id: u16, status: u16, data_type: u16) -> Vec<u8> {
    let set =
        [number(0x100, 0x8001), number(0x120, message_id), number(0x800, data_type), number(0x900, status)];
    pdata(3, 3, &set.concat())
}

case!(case_78_a_response_to_another_message_is_aborted, {
    let (outcome, abort) = store_against(response(77, 0, 0x101), 1000).await;
    assert!(matches!(outcome, Err(StoreError::Link(LinkError::Violation { .. }))));
    assert!(abort.is_some());
});

case!(case_79_a_response_with_data_or_beyond_16_kib_is_aborted, {
    for bad in [response(1, 0, 1), pdata(3, 1, &[0; 10_000]).repeat(2), data(true)] {
        let (outcome, abort) = store_against(bad, 1000).await;
        assert!(matches!(outcome, Err(StoreError::Link(LinkError::Violation { .. }))));
        assert!(abort.is_some());
    }
});

case!(case_80_a_pending_status_is_no_success, {
    let (outcome, _) = store_against(response(1, 0xFF00, 0x101), 1000).await;
    assert!(!outcome.unwrap().status.is_taken());
    let (outcome, _) = store_against(response(1, 0xB007, 0x101), 0).await;
    assert!(outcome.unwrap().status.is_taken());
});

case!(an_abort_while_sending_ends_the_sending, {
    let (client, mut server) = duplex(16 * 1024);
    let peer = tokio::spawn(async move {
        read_pdu(&mut server).await;
        server.write_all(&accept(&[3])).await.unwrap();
        read_pdu(&mut server).await;
        server.write_all(&[7, 0, 0, 0, 0, 4, 0, 0, 2, 6]).await.unwrap();
        // Reads nothing more, and keeps the connection.
        tokio::time::sleep(Duration::from_secs(100)).await;
    });
    let mut requestor = open(client).await;
    let endless = tokio::io::repeat(0);
    let mut source = chrysalis::dimse::requestor::AsyncSource(endless);
    let outcome = requestor.store(&request(1 << 40), &mut source).await;
    let Err(StoreError::Link(LinkError::Aborted(abort))) = outcome else { panic!("{outcome:?}") };
    assert_eq!((abort.source, abort.reason), (2, 6));
    peer.abort();
});

case!(a_source_that_ends_early_aborts_and_never_completes_the_object, {
    let (client, mut server) = duplex(ROOM);
    let peer = tokio::spawn(async move {
        read_pdu(&mut server).await;
        server.write_all(&accept(&[3])).await.unwrap();
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        Answers::read(&rest)
    });
    let mut requestor = open(client).await;
    let outcome = requestor.store(&request(100_000), &mut SyncSource(&[0; 50_000][..])).await;
    assert!(matches!(outcome, Err(StoreError::Source(_))));
    let seen = peer.await.unwrap();
    assert_eq!(seen.abort(), Some((0, 0)));
    let data_ended = seen.0.iter().any(|(kind, body)| *kind == 4 && body[5] == 2);
    assert!(!data_ended);
});

// ------------------------------------------------------------------------------------------- H. Accepted elsewhere

case!(section_h_tiny_pdvs_mixed_pdus_and_aborts_after_the_answer_are_accepted, {
    let tiny = pdata(3, 0, b"x").repeat(5000);
    let answers = say_open(&[store(1), tiny, data(true), RELEASE.to_vec()].concat()).await;
    assert_eq!((answers.status(), answers.released()), (0, true));

    let set = store_set(Some(US.as_bytes()), Some(b"1.2.3\0"), 1, 1);
    let both = pdu(4, &[pdv(3, 3, &set), pdv(3, 2, b"data")].concat());
    assert_eq!(say_open(&[both, RELEASE.to_vec()].concat()).await.status(), 0);

    let bytes = [Rq::default().bytes(), store(1), data(true), ABORT.to_vec()].concat();
    let (answers, taken, _) = converse(Policy::default(), &bytes).await;
    assert_eq!((answers.status(), taken), (0, 1));

    let bare = Rq { user: vec![], ..Rq::default() };
    assert!(greet(Policy::default(), bare).await.released());
});

case!(an_answer_is_one_pdu_in_the_parts_that_were_announced, {
    let header = chrysalis::dimse::pdata::header(3, Part::Data, true, 10);
    assert_eq!(header, [4, 0, 0, 0, 0, 16, 0, 0, 0, 12, 3, 2]);
});

case!(no_single_damaged_byte_of_a_session_keeps_it_from_ending, {
    let session = [Rq::default().bytes(), store(1), data(false), data(true), RELEASE.to_vec()].concat();
    for at in 0..session.len() {
        for value in [0, 1, 0x7F, 0xFF] {
            let mut bytes = session.clone();
            bytes[at] = value;
            let (mut client, server) = duplex(ROOM);
            let task = tokio::spawn(serve(server, Policy::default()));
            client.write_all(&bytes).await.unwrap();
            client.shutdown().await.unwrap();
            let (taken, _) = task.await.unwrap();
            assert!(taken <= 1, "byte {at} as {value}");
        }
    }
});
