//! Both roles against an independent peer: dicom-ul's own synchronous associations, over loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use chrysalis::dicom::{Status, TransferSyntax, Uid};
use chrysalis::dimse::command::{Command, Response, StoreCommand};
use chrysalis::dimse::requestor::SyncSource;
use chrysalis::dimse::{
    Acceptor, Incoming, OpenError, Policy, Proposal, Requestor, StoreRequest, Timers, pdu::Rejection, socket,
};
use dicom_ul::ClientAssociationOptions;
use dicom_ul::association::ServerAssociationOptions;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};

const US: &str = "1.2.840.10008.5.1.4.1.1.6.1";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}

#[tokio::test]
async fn an_independent_requestor_stores_a_large_object_byte_for_byte() {
    let listener = socket::listen(loopback()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let sender = tokio::task::spawn_blocking(move || {
        let mut client = ClientAssociationOptions::new()
            .calling_ae_title("VIVID1")
            .called_ae_title("ROUTER")
            .with_presentation_context(US, vec![EXPLICIT])
            .establish(address)
            .unwrap();
        let context = client.presentation_contexts()[0].id;
        let command = StoreCommand {
            message_id: 9,
            sop_class: Uid::new(US),
            sop_instance: Some(Uid::new("1.2.3")),
            priority: 0,
            has_data: true,
            move_originator: None,
        };
        let command = PDataValue {
            presentation_context_id: context,
            value_type: PDataValueType::Command,
            is_last: true,
            data: Command::StoreRequest(command).encode(),
        };
        client.send(&Pdu::PData { data: vec![command] }).unwrap();
        let mut writer = client.send_pdata(context);
        writer.write_all(&pattern(3_000_001)).unwrap();
        writer.finish().unwrap();
        let Pdu::PData { data } = client.receive().unwrap() else { panic!("no response") };
        let answer = Command::read(&data[0].data).unwrap();
        client.release().unwrap();
        answer
    });
    let (stream, _) = listener.accept().await.unwrap();
    let mut association = Acceptor::accept(stream, &Policy::default(), Timers::default()).await.unwrap();
    assert_eq!(association.request().calling.as_str(), "VIVID1");
    let Incoming::Store(message) = association.next_message().await.unwrap() else { panic!("no C-STORE") };
    assert_eq!(message.transfer_syntax, TransferSyntax::EXPLICIT_VR_LE);
    let mut received = Vec::new();
    while let Some(piece) = association.next_data().await.unwrap() {
        received.extend_from_slice(&piece);
    }
    assert!(received == pattern(3_000_001));
    association.respond(&message, Status(0xB000), "noted").await.unwrap();
    assert!(matches!(association.next_message().await.unwrap(), Incoming::Released));
    let Command::StoreResponse(answer) = sender.await.unwrap() else { panic!("no C-STORE response") };
    assert_eq!((answer.message_id, answer.status, answer.comment.as_str()), (9, Status(0xB000), "noted"));
}

#[tokio::test]
async fn an_independent_acceptor_takes_what_the_requestor_stores() {
    let listener = std::net::TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    let receiver = tokio::task::spawn_blocking(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut server = ServerAssociationOptions::new()
            .accept_any()
            .with_abstract_syntax(US)
            .with_transfer_syntax(EXPLICIT)
            .establish(stream)
            .unwrap();
        let Pdu::PData { data } = server.receive().unwrap() else { panic!("no command") };
        let Command::StoreRequest(command) = Command::read(&data[0].data).unwrap() else {
            panic!("no C-STORE")
        };
        let mut received = Vec::new();
        server.receive_pdata().read_to_end(&mut received).unwrap();
        let response = Response {
            message_id: command.message_id,
            status: Status::SUCCESS,
            sop_class: command.sop_class,
            sop_instance: command.sop_instance.unwrap(),
            comment: String::new(),
            has_data: false,
        };
        let answer = PDataValue {
            presentation_context_id: data[0].presentation_context_id,
            value_type: PDataValueType::Command,
            is_last: true,
            data: Command::StoreResponse(response).encode(),
        };
        server.send(&Pdu::PData { data: vec![answer] }).unwrap();
        assert!(matches!(server.receive().unwrap(), Pdu::ReleaseRQ));
        server.send(&Pdu::ReleaseRP).unwrap();
        received
    });
    let stream = socket::connect("127.0.0.1", address.port(), Timers::default().acse).await.unwrap();
    let contexts =
        vec![(Uid::new(US), vec![Uid::new(EXPLICIT)]), (Uid::new("1.2.3"), vec![Uid::new(EXPLICIT)])];
    let proposal = Proposal::new("CHRYSALIS".parse().unwrap(), "PACS".parse().unwrap(), contexts);
    let mut requestor = Requestor::open(stream, &proposal, Timers::default()).await.unwrap();
    assert_eq!(requestor.accepted_contexts().len(), 1);
    let bytes = pattern(1_234_567);
    let request = StoreRequest {
        context: requestor.context_for(&Uid::new(US), &TransferSyntax::EXPLICIT_VR_LE).unwrap(),
        sop_class: Uid::new(US),
        sop_instance: Uid::new("1.2.3.4"),
        data_length: bytes.len() as u64,
    };
    let response = requestor.store(&request, &mut SyncSource(&bytes[..])).await.unwrap();
    assert_eq!(response.status, Status::SUCCESS);
    requestor.release().await.unwrap();
    assert!(receiver.await.unwrap() == bytes);
}

#[tokio::test]
async fn a_rejection_reaches_the_requestor_with_its_reason() {
    let listener = socket::listen(loopback()).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio::spawn(async move {
        let policy = Policy { called_ae: Some(vec!["ROUTER".parse().unwrap()]), ..Policy::default() };
        let (stream, _) = listener.accept().await.unwrap();
        Acceptor::accept(stream, &policy, Timers::default()).await.is_err()
    });
    let stream = socket::connect("localhost", port, Timers::default().acse).await.unwrap();
    let contexts = vec![(Uid::new(US), vec![Uid::new(EXPLICIT)])];
    let proposal = Proposal::new("CHRYSALIS".parse().unwrap(), "WRONG".parse().unwrap(), contexts);
    let refused = Requestor::open(stream, &proposal, Timers::default()).await;
    assert!(matches!(refused, Err(OpenError::Rejected(Rejection::CALLED_AE))), "{refused:?}");
    assert!(acceptor.await.unwrap());
}

#[tokio::test]
async fn both_own_roles_echo_and_release() {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let acceptor = tokio::spawn(async move {
        let mut association = Acceptor::accept(server, &Policy::default(), Timers::default()).await.unwrap();
        let Incoming::Echo(echo) = association.next_message().await.unwrap() else { panic!("no C-ECHO") };
        association.respond_echo(&echo).await.unwrap();
        assert!(matches!(association.next_message().await.unwrap(), Incoming::Released));
    });
    let contexts = vec![(chrysalis::dicom::uid::VERIFICATION, vec![Uid::new(EXPLICIT)])];
    let proposal = Proposal::new("CHRYSALIS".parse().unwrap(), "PEER".parse().unwrap(), contexts);
    let mut requestor = Requestor::open(client, &proposal, Timers::default()).await.unwrap();
    assert_eq!(requestor.echo().await.unwrap(), Status::SUCCESS);
    requestor.release().await.unwrap();
    acceptor.await.unwrap();
}
