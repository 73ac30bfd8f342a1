//! A link that says of a push what is not so, and a gateway that pushes what it did not offer: nothing is taken for delivered,
//! and no PACS has the whole of something else. What is sent here is put together by hand, as docs/TUNNEL.md says.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chrysalis::dicom::{AeTitle, TransferSyntax, Uid};
use chrysalis::tunnel::SUBPROTOCOL;
use chrysalis::tunnel::code::Code;
use chrysalis::tunnel::connection::{Accepted, Broken, Connection, Stream};
use chrysalis::tunnel::session::{GatewayOpening, LinkOpening, Step};
use chrysalis::tunnel::socket::{Over, Socket, limits};
use chrysalis::tunnel::upload::Offer;
use chrysalis::tunnel::wire::{Kind, Why, Windows};
use sha2::{Digest as _, Sha256};
use support::archive::Archive;
use support::deliveries::store_all;
use support::instance::{DataSet, Instance, Study};
use support::node::Node;
use support::ports::free_address;
use support::wait::eventually;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::{accept_hdr_async_with_config, client_async_with_config};

const WINDOWS: Windows = Windows { stream: 1 << 20, session: 4 << 20, streams: 64 };

/// So little that what follows the first piece of a small instance stays in line as long as nobody takes the first.
const NARROW: Windows = Windows { stream: 4096, session: 4096, streams: 64 };

const SEND: &[u8] = b"\x01";
const SUCCESS: &[u8] = b"\x02\0\0\0\0";
const NO_ENDPOINT: &[u8] = b"\x0A";
const OTHER_BYTES: &[u8] = b"\x0B";

/// What a link does with a push.
#[derive(Debug, Clone, Copy)]
enum Lie {
    SuccessBeforeAnything,
    SuccessBeforeTheEnd,
    DuplicateBeforeTheEnd,
    BeginsTwice,
    NoEndpointAfterItBegan,
    NothingOfTheKind,
    EndsWithoutAWord,
    CutsItOff,
    CutsItOffInTheMiddle,
    None,
}

const LIES: [Lie; 9] = [
    Lie::SuccessBeforeAnything,
    Lie::SuccessBeforeTheEnd,
    Lie::DuplicateBeforeTheEnd,
    Lie::BeginsTwice,
    Lie::NoEndpointAfterItBegan,
    Lie::NothingOfTheKind,
    Lie::EndsWithoutAWord,
    Lie::CutsItOff,
    Lie::CutsItOffInTheMiddle,
];

async fn lying_link(address: SocketAddr, code: Code, windows: Windows, told: Arc<Mutex<usize>>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!("ws://{address}/tunnel").into_client_request().unwrap();
    let protocol = HeaderValue::from_static(SUBPROTOCOL);
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    let (web, _) = client_async_with_config(request, stream, Some(limits(Over::Plain))).await.unwrap();
    let mut socket = Socket::new(web);
    let mut opening = LinkOpening::new("north", code.link_key(), [1; 32], windows);
    let opened = loop {
        let said = socket.read().await.unwrap();
        match opening.received(said, Duration::ZERO).unwrap() {
            Step::Say(bytes) => socket.say(bytes).await.unwrap(),
            Step::Open(opened) => break opened,
        }
    };
    let (connection, driver) = socket.run(opened.session);
    tokio::spawn(driver);
    while let Some(Accepted { kind, stream, .. }) = connection.accept().await {
        assert_eq!(kind, Kind::Push);
        let lie = LIES.get(*told.lock().unwrap()).copied().unwrap_or(Lie::None);
        *told.lock().unwrap() += 1;
        pretend(lie, stream).await;
    }
}

async fn pretend(lie: Lie, stream: Stream) {
    let say = async |answer: &'static [u8]| {
        let _ = stream.send(Bytes::from_static(answer)).await;
    };
    match lie {
        Lie::SuccessBeforeAnything => say(SUCCESS).await,
        Lie::SuccessBeforeTheEnd => {
            say(SEND).await;
            say(SUCCESS).await;
        }
        Lie::DuplicateBeforeTheEnd => {
            say(SEND).await;
            say(b"\x02\x01\x11\0\0").await;
        }
        Lie::BeginsTwice => {
            say(SEND).await;
            say(SEND).await;
        }
        Lie::NoEndpointAfterItBegan => {
            say(SEND).await;
            say(NO_ENDPOINT).await;
        }
        Lie::NothingOfTheKind => say(&[77; 40]).await,
        Lie::EndsWithoutAWord => {}
        Lie::CutsItOff => return stream.cut(Why::Failed),
        Lie::CutsItOffInTheMiddle => {
            say(SEND).await;
            let _ = stream.receive().await;
            return stream.cut(Why::Timeout);
        }
        Lie::None => {
            say(SEND).await;
            while let Ok(Some(_)) = stream.receive().await {}
            say(SUCCESS).await;
        }
    }
    stream.finish();
}

#[test]
fn a_link_that_lies_is_not_believed_and_nothing_counts_as_delivered_before_it_has_all_of_it() {
    // Longer than what can be on its way before an answer is read.
    lied_to_about(&Study::new(5).huge(1, 20 << 20), WINDOWS);
    // Short enough to be in line with its end before an answer is read.
    lied_to_about(&Study::new(5).huge(2, 60 << 10), NARROW);
}

fn lied_to_about(instance: &Instance, windows: Windows) {
    let tunnel = free_address();
    let table = format!(
        "[[listener]]\nname = \"links\"\nkind = \"tunnel\"\naddress = \"{tunnel}\"\n[[destination]]\nname = \"remote\"\nkind = \"site\"\nsite = \"north\"\nendpoint = \"pacs\"\nbackoff = {{ first = \"20ms\", max = \"50ms\" }}"
    );
    let mut gateway = Node::builder().table(&table).prepare();
    let code: Code = gateway.run(&["site", "add", "north"]).output.trim().parse().unwrap();
    gateway.start();
    let runtime = Runtime::new().unwrap();
    let told: Arc<Mutex<usize>> = Arc::default();
    runtime.spawn(lying_link(tunnel, code, windows, Arc::clone(&told)));
    store_all(&gateway, std::slice::from_ref(instance));
    let delivered = || gateway.metric("chrysalis_deliveries_total", &["remote", "outcome=\"delivered\""]);
    eventually("the truth", Duration::from_secs(60), || (delivered() == 1.0).then_some(()));
    assert_eq!(*told.lock().unwrap(), LIES.len() + 1, "each lie cost one more push");
    assert!(gateway.output().contains("the site's link says what cannot be"));
}

#[expect(clippy::result_large_err, reason = "the answer's type is the library's")]
fn agree(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let protocol = HeaderValue::from_static(SUBPROTOCOL);
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    Ok(response)
}

/// The session of the one link that calls.
async fn session(listener: TcpListener, code: &Code) -> Connection {
    let (stream, _) = listener.accept().await.unwrap();
    let web = accept_hdr_async_with_config(stream, agree, Some(limits(Over::Plain))).await.unwrap();
    let mut socket = Socket::new(web);
    let opening = GatewayOpening::new([3; 32]);
    socket.say(opening.greeting()).await.unwrap();
    let hello = socket.read().await.unwrap();
    let judged = opening.received(hello, |_| Some(code.verifier())).unwrap();
    let (welcome, session) = judged.open(WINDOWS, Duration::from_secs(15), Duration::ZERO);
    socket.say(welcome).await.unwrap();
    let (connection, driver) = socket.run(session);
    tokio::spawn(driver);
    connection
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

fn order(endpoint: &str, instance: &Instance, sha256: [u8; 32]) -> Bytes {
    let syntax = TransferSyntax(Uid::new(&instance.transfer_syntax));
    let offer = Offer {
        sop_class: Uid::new(&instance.sop_class),
        sop_instance: Uid::new(&instance.sop_instance),
        transfer_syntax: syntax,
        calling: AeTitle::from_text("CART7"),
        called: AeTitle::from_text("GATEWAY"),
        length: instance.data_set.len(),
        sha256,
    };
    let parts = [text(endpoint), vec![1], text(&instance.transfer_syntax), offer.encode().to_vec()];
    parts.concat().into()
}

/// Sends this much of it in odd pieces, and its end; what the link says before and after.
async fn push(connection: &Connection, order: Bytes, data: &[u8]) -> Result<Vec<u8>, Broken> {
    let stream = connection.open(Kind::Push, order).unwrap();
    let first = stream.receive().await?.unwrap();
    if first != SEND {
        return Ok(first.to_vec());
    }
    for piece in data.chunks(9_999) {
        if stream.send(Bytes::copy_from_slice(piece)).await.is_err() {
            break;
        }
    }
    stream.finish();
    let answer = stream.receive().await?.unwrap_or_default();
    Ok(answer.to_vec())
}

#[test]
fn a_gateway_that_pushes_what_it_did_not_offer_brings_no_pacs_anything_whole() {
    let (runtime, code) = (Runtime::new().unwrap(), Code::generate().unwrap());
    let (address, pacs) = (free_address(), Archive::new());
    let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
    let table = format!(
        "[[destination]]\nname = \"cloud\"\nkind = \"tunnel\"\nurl = \"ws://{address}/tunnel\"\nsite = \"north\"\ncode_file = \"code\"\nendpoints = [\"pacs\"]"
    );
    let mut link = Node::builder().dicom("pacs", pacs.address()).table(&table).prepare();
    let path = link.home().join("code");
    std::fs::write(&path, code.reveal()).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    link.start();
    let instance = Study::new(6).still(1);
    let DataSet::Bytes(data) = instance.data_set.clone() else { panic!("in memory") };
    let sha256: [u8; 32] = Sha256::digest(&data).into();
    let malformed = Err(Broken::Reset(Why::Malformed));
    runtime.block_on(async {
        let connection = session(listener, &code).await;
        let right = || order("pacs", &instance, sha256);
        assert_eq!(push(&connection, order("cloud", &instance, sha256), &data).await.unwrap(), NO_ENDPOINT);
        assert_eq!(push(&connection, Bytes::from_static(b"\0\x04pacs"), &[]).await, malformed);
        assert_eq!(push(&connection, order("pacs", &instance, [7; 32]), &data).await.unwrap(), OTHER_BYTES);
        assert_eq!(push(&connection, right(), &data[..data.len() - 1]).await, malformed, "fewer");
        assert_eq!(push(&connection, right(), &[&data[..], b"\0\0"].concat()).await, malformed, "more");
        let gone = connection.open(Kind::Push, right()).unwrap();
        assert_eq!(gone.receive().await.unwrap().unwrap(), SEND);
        gone.send(Bytes::copy_from_slice(&data[..1000])).await.unwrap();
        drop(gone);
        assert!(pacs.arrivals().is_empty(), "the last bytes of none of them were passed on");
        assert_eq!(push(&connection, right(), &data).await.unwrap(), SUCCESS);
        let nothing_asked = connection.open(Kind::Echo, Bytes::from_static(b"\0\x04pacs")).unwrap();
        assert_eq!(nothing_asked.receive().await, Err(Broken::Reset(Why::Malformed)));
    });
    assert_eq!(pacs.times_stored(&[instance]), [1]);
    assert!(link.is_running());
}
