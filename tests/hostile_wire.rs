//! Hostile and broken input on the wire, by number: what the DIMSE layer alone has to answer to it.
//!
//! The acceptor runs on an in-memory stream with a paused clock, so a silence of thirty seconds costs nothing. What is said
//! and what has to be answered is in `support/hostile`, where the rounds against a running node find it too.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use chrysalis::dicom::{Status, Uid};
use chrysalis::dimse::pdata::Part;
use chrysalis::dimse::pdu::UserIdentity;
use chrysalis::dimse::requestor::SyncSource;
use chrysalis::dimse::{
    Acceptor, Admission, Incoming, LinkError, Policy, Proposal, Requestor, StoreError, StoreRequest,
    StoreResponse, Timers, Transport,
};
use support::hostile::answers::Answers;
use support::hostile::bytes::{RELEASE, Rq, data, element, number, pdata, store};
use support::hostile::{self, CALLED, CALLING, Door, PASSCODE, SHORT, USER, accepted};
use support::instance::{IMPLICIT_LITTLE as IMPLICIT, US_IMAGE as US};
use support::wire::{VERIFICATION, item, pdu};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::time::Instant;

const ROOM: usize = 4 << 20;

// -------------------------------------------------------------------------------------------------- the acceptor

/// A receiver that takes everything; returns how many instances were complete and how it ended.
async fn serve(stream: impl Transport, policy: Policy) -> (usize, String) {
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

fn policy(door: Door) -> Policy {
    let listed = |title: &str| Some(vec![title.parse().unwrap()]);
    let known = UserIdentity { kind: 2, primary: USER.into(), secondary: PASSCODE.into() };
    match door {
        Door::Open => Policy {
            private_transfer_syntaxes: vec![Uid::new(accepted::PRIVATE_SYNTAX)],
            ..Policy::default()
        },
        Door::Listed => {
            Policy { called_ae: listed(CALLED), calling_ae: listed(CALLING), ..Policy::default() }
        }
        Door::Identified => Policy { identities: Some(vec![known]), ..Policy::default() },
        Door::Short => Policy { max_data_set: SHORT, ..Policy::default() },
    }
}

/// Has every conversation of a case, each on a connection of its own.
async fn runs(name: &str) {
    let case = hostile::cases().into_iter().find(|case| case.name == name).expect(name);
    for (number, talk) in case.talks.iter().enumerate() {
        let (answers, taken, end) = converse(policy(talk.door), &talk.sent).await;
        assert!((talk.judge)(&answers), "{name}, talk {number}: {end}\n{answers:02X?}");
        assert_eq!(taken, talk.stores, "{name}, talk {number}: {end}");
    }
}

macro_rules! cases {
    ($($name:ident,)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[tokio::test(start_paused = true)]
            async fn $name() {
                runs(stringify!($name)).await;
            }
        )*
    };
}

macro_rules! case {
    ($name:ident, $body:block) => {
        #[tokio::test(start_paused = true)]
        async fn $name() $body
    };
}

#[test]
fn every_case_of_the_table_has_its_test() {
    let there: Vec<_> = hostile::cases().iter().map(|case| case.name).collect();
    let mut sorted = there.clone();
    sorted.sort_unstable();
    let mut tested = NAMES.to_vec();
    tested.sort_unstable();
    assert_eq!(sorted, tested);
}

cases! {
    case_04_http_is_aborted_0_0,
    case_05_a_tls_hello_on_a_plain_port_is_aborted_0_0,
    case_16_unknown_pdu_types_first_are_aborted_0_0,
    case_17_unknown_pdu_types_later_are_aborted_2_1,
    case_18_a_request_of_4_gib_is_aborted_0_0_at_its_header,
    case_19_a_request_too_short_for_its_fields_is_aborted_0_0,
    case_20_p_data_of_length_ffffffff_is_aborted_2_6_at_its_header,
    case_21_p_data_one_beyond_the_maximum_is_aborted_2_6,
    case_22_p_data_of_length_0_is_aborted_2_6,
    case_23_a_pdv_too_short_for_its_header_is_aborted_2_6,
    case_24_a_pdv_longer_than_its_pdu_is_aborted_2_6,
    case_25_a_pdv_length_that_wraps_is_aborted_2_6,
    case_26_odd_pdv_lengths_are_accepted,
    case_27_65535_empty_pdvs_are_aborted_2_6_after_1024,
    case_28_a_data_set_that_never_ends_is_aborted_2_6_at_the_size_limit,
    case_29_a_second_request_is_aborted_2_2,
    case_30_an_acceptance_sent_to_an_acceptor_is_aborted_2_2,
    case_31_p_data_before_an_association_is_aborted_0_0,
    case_32_a_release_inside_a_data_set_is_aborted_2_2_and_answers_nothing,
    case_33_a_release_reply_unasked_is_aborted_2_2,
    case_34_an_abort_inside_a_data_set_answers_and_stores_nothing,
    case_35_release_and_abort_of_a_wrong_length_are_aborted_2_6,
    case_37_reserved_bytes_are_not_looked_at,
    case_38_an_unlisted_called_ae_is_rejected_1_1_7_where_there_is_a_list,
    case_39_an_unlisted_calling_ae_is_rejected_1_1_3_where_there_is_a_list,
    case_40_another_application_context_is_rejected_1_1_2,
    case_41_another_protocol_version_is_rejected_1_2_2,
    case_42_odd_ae_titles_are_cut_trimmed_and_accepted_unless_empty_or_not_listed,
    case_43_no_presentation_context_is_aborted_0_0,
    case_44_an_even_id_is_accepted_and_a_duplicate_aborted_0_0,
    case_45_128_contexts_are_accepted_and_129_aborted_0_0,
    case_46_a_context_without_a_syntax_is_aborted_0_0,
    case_47_sub_items_that_claim_more_than_there_is_are_aborted_0_0,
    case_48_a_sub_item_longer_than_its_parent_is_aborted_0_0,
    case_49_an_unknown_item_is_skipped,
    case_50_a_service_that_is_not_offered_is_refused_with_3_and_an_unknown_class_accepted,
    case_51_transfer_syntaxes_that_nobody_knows_are_refused_with_4,
    case_52_padded_uids_are_trimmed,
    case_53_uids_too_long_or_with_letters_are_refused_with_3,
    case_54_a_small_maximum_length_is_obeyed_and_a_tiny_one_aborted_0_0,
    case_55_the_first_of_two_maximum_lengths_counts,
    case_56_a_missing_or_wrong_user_identity_is_rejected_1_1_1,
    case_57_the_scp_role_is_refused,
    case_58_an_asynchronous_window_is_answered_1_1,
    case_63_a_context_that_was_not_agreed_on_is_aborted_2_6,
    case_64_data_before_a_command_is_aborted_2_2,
    case_65_a_command_beyond_16_kib_is_aborted_2_6,
    case_66_a_command_that_is_garbage_is_aborted_2_6,
    case_67_missing_uids_are_answered_0212,
    case_68_a_wrong_or_missing_group_length_is_accepted,
    case_69_a_store_without_data_set_is_answered_c000,
    case_70_unknown_operations_are_answered_0211,
    case_71_a_store_of_another_sop_class_is_answered_0122,
    case_72_unusable_instance_uids_are_answered_0117_and_odd_ones_accepted,
    case_73_a_second_store_inside_a_data_set_is_aborted_2_2,
    case_75_a_cancel_is_ignored,
    case_76_another_context_inside_a_data_set_is_aborted_2_6,
    case_77_command_and_data_that_take_turns_are_aborted_2_2,
}

// ------------------------------------------------------------------------------------------------------ A. Time

case!(case_01_whoever_connects_and_says_nothing_is_closed_at_30_seconds, {
    let started = Instant::now();
    let (answers, _, end) = converse(Policy::default(), &[]).await;
    assert!(answers.0.is_empty() && end.contains("timeout"), "{end}");
    assert_eq!(started.elapsed().as_secs(), 30);
});

case!(case_02_three_bytes_and_then_silence_are_closed_at_30_seconds, {
    let started = Instant::now();
    let (answers, _, end) = converse(Policy::default(), &[1, 0, 0]).await;
    assert!(answers.0.is_empty() && end.contains("timeout"), "{end}");
    assert_eq!(started.elapsed().as_secs(), 30);
});

case!(case_03_one_byte_every_25_seconds_is_closed_at_30, {
    let (mut client, server) = duplex(ROOM);
    let started = Instant::now();
    let task = tokio::spawn(async move {
        let end = serve(server, Policy::default()).await.1;
        (end, started.elapsed())
    });
    let trickle = async {
        for byte in Rq::default().bytes() {
            if client.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(25)).await;
        }
    };
    let (ended, ()) = tokio::join!(task, trickle);
    let (end, after) = ended.unwrap();
    assert!(end.contains("timeout"), "{end}");
    assert_eq!(after.as_secs(), 30, "for the whole request, not for each byte");
});

/// Counts what is read of it.
struct Counted {
    stream: DuplexStream,
    read: Arc<AtomicUsize>,
    /// What had been read when something was said first.
    read_before_answer: Arc<AtomicUsize>,
}

impl Transport for Counted {}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        self.read.fetch_add(into.filled().len() - before, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let read = self.read.load(Ordering::Relaxed);
        let _ =
            self.read_before_answer.compare_exchange(usize::MAX, read, Ordering::Relaxed, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// How many bytes are read before anything is answered.
async fn read_before_answer(bytes: Vec<u8>) -> usize {
    let (mut client, server) = duplex(ROOM);
    let count = Arc::new(AtomicUsize::new(usize::MAX));
    let server = Counted { stream: server, read: Arc::default(), read_before_answer: Arc::clone(&count) };
    let task = tokio::spawn(serve(server, Policy::default()));
    client.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(Answers::read(&answer).abort(), Some((0, 0)));
    task.await.unwrap();
    count.load(Ordering::Relaxed)
}

case!(case_04_no_more_than_4_kib_of_http_are_read_and_it_is_named, {
    let request = [&b"GET / HTTP/1.1\r\n"[..], &b"X-Long: x\r\n".repeat(50_000)].concat();
    assert!(read_before_answer(request).await <= 4 << 10);
    let end = converse(Policy::default(), b"GET / HTTP/1.1\r\n\r\n").await.2;
    assert!(end.contains("HTTP"), "{end}");
});

case!(case_05_a_tls_hello_on_a_plain_port_is_named, {
    let end = converse(Policy::default(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.2;
    assert!(end.contains("TLS on plain port"), "{end}");
});

case!(case_12_and_13_a_close_after_any_byte_takes_no_instance, {
    let session = [Rq::default().bytes(), store(1), data(false), data(true)].concat();
    for cut in 0..session.len() {
        let (mut client, server) = duplex(ROOM);
        let task = tokio::spawn(serve(server, Policy::default()));
        client.write_all(&session[..cut]).await.unwrap();
        drop(client);
        assert_eq!(task.await.unwrap().0, 0, "cut at {cut}");
    }
});

case!(case_18_a_request_of_4_gib_is_answered_before_more_of_it_is_read, {
    let request = [&[1, 0, 0xFF, 0xFF, 0xFF, 0xFF][..], &[0; 1 << 20]].concat();
    assert!(read_before_answer(request).await <= 64 << 10);
});

// ------------------------------------------------------------------------------------------- B, C. What is special

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

case!(case_56_a_passcode_is_not_in_what_is_printed_for_debugging, {
    let known = UserIdentity { kind: 2, primary: USER.into(), secondary: PASSCODE.into() };
    assert!(!format!("{known:?}").contains(PASSCODE));
});

case!(no_room_is_rejected_as_transient, {
    for (admission, reason) in [(Admission::LimitExceeded, 2), (Admission::Congested, 1)] {
        let policy = Policy { admission, ..Policy::default() };
        let (answers, ..) = converse(policy, &Rq::default().bytes()).await;
        assert_eq!(answers.rejection(), Some((2, 3, reason)));
    }
});

// ------------------------------------------------------------------------------------------------------- D. DIMSE

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
    assert_eq!(Answers::read(&answer).statuses(), [(0x0210, "message ID in use".to_owned())]);
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
    let another_instance = {
        let set = [
            number(0x100, 0x8001),
            number(0x120, 1),
            number(0x800, 0x101),
            number(0x900, 0),
            element(0x1000, b"1.2.4\0"),
        ];
        pdata(3, 3, &set.concat())
    };
    for bad in [response(77, 0, 0x101), another_instance] {
        let (outcome, abort) = store_against(bad, 1000).await;
        assert!(matches!(outcome, Err(StoreError::Link(LinkError::Violation { .. }))));
        assert!(abort.is_some());
    }
});

case!(case_79_a_response_with_data_or_beyond_16_kib_is_aborted, {
    // The last is the header of a PDU of a gigabyte, of which nothing more comes.
    let huge = vec![4, 0, 0x40, 0, 0, 0];
    let long = pdata(3, 1, &[0; 10_000]).repeat(2);
    for bad in [response(1, 0, 1), long, data(true), huge] {
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

case!(section_h_every_row_is_taken, {
    for row in accepted::accepted() {
        let (answers, taken, end) = converse(policy(Door::Open), &row.sent).await;
        assert!(row.is_right(&answers) && taken == 1, "{}: {end}\n{answers:02X?}", row.what);
    }
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
