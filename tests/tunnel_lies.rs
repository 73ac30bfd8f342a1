//! A gateway that says what is not so, and links that say what they recorded: nothing is taken for delivered, nobody gets in.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrysalis::dicom::{AeTitle, Status, TransferSyntax, Uid};
use chrysalis::tunnel::SUBPROTOCOL;
use chrysalis::tunnel::code::Code;
use chrysalis::tunnel::connection::{Accepted, Connection, Stream};
use chrysalis::tunnel::session::{Close, GatewayOpening, LinkOpening, Step};
use chrysalis::tunnel::socket::{Ended, Over, Socket, limits};
use chrysalis::tunnel::upload::{Answer, Offer, Upload};
use chrysalis::tunnel::wire::{Greeting, Hello, Kind, Message, Windows};
use sha2::{Digest as _, Sha256};
use support::deliveries::store_all;
use support::instance::{DataSet, Instance, Study};
use support::node::Node;
use support::ports::free_address;
use support::process::list;
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

/// What a gateway answers to an offer, and after all bytes, and whether it waits for them.
#[derive(Debug, Clone, Copy)]
enum Lie {
    HasOtherBytes,
    HasMoreThanThereIs,
    StoredBeforeAnything,
    StoredBeforeTheEnd,
    StoredOtherBytes,
    /// Refused, with a status under which an archive has stored it: a warning.
    RefusedWithAWarning,
    /// The same: it is there already.
    RefusedAsDuplicate,
    SaysNothingOfTheKind,
    EndsWithoutAWord,
    None,
}

const LIES: [Lie; 9] = [
    Lie::HasOtherBytes,
    Lie::HasMoreThanThereIs,
    Lie::StoredBeforeAnything,
    Lie::StoredBeforeTheEnd,
    Lie::StoredOtherBytes,
    Lie::RefusedWithAWarning,
    Lie::RefusedAsDuplicate,
    Lie::SaysNothingOfTheKind,
    Lie::EndsWithoutAWord,
];

#[expect(clippy::result_large_err, reason = "the answer's type is the library's")]
fn agree(_: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let protocol = HeaderValue::from_static(SUBPROTOCOL);
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    Ok(response)
}

/// Answers one offer after the other by the list, and the truth when it is at its end.
async fn lie(listener: TcpListener, code: Code, windows: Windows, told: Arc<Mutex<Vec<Upload>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(web) = accept_hdr_async_with_config(stream, agree, Some(limits(Over::Plain))).await else {
            continue;
        };
        let mut socket = Socket::new(web);
        let opening = GatewayOpening::new([told.lock().unwrap().len() as u8; 32]);
        socket.say(opening.greeting()).await.unwrap();
        let hello = socket.read().await.unwrap();
        let judged = opening.received(hello, |_| Some(code.verifier())).unwrap();
        let (welcome, session) = judged.open(windows, Duration::from_secs(15), Duration::ZERO);
        socket.say(welcome).await.unwrap();
        let (connection, driver) = socket.run(session);
        tokio::spawn(driver);
        while let Some(Accepted { body, stream, .. }) = connection.accept().await {
            let upload = Upload::decode(body).unwrap();
            let lie = LIES.get(told.lock().unwrap().len()).copied().unwrap_or(Lie::None);
            told.lock().unwrap().push(upload.clone());
            answer(lie, &upload.offer, &stream).await;
            stream.finish();
        }
    }
}

async fn answer(lie: Lie, offer: &Offer, stream: &Stream) {
    let other = [9; 32];
    let refused = |status| Answer::Refused { status: Status(status), comment: String::new() };
    let say = async |answer: Answer| {
        let _ = stream.send(answer.encode()).await;
    };
    match lie {
        Lie::HasOtherBytes => return say(Answer::Have { sha256: other }).await,
        Lie::HasMoreThanThereIs => return say(Answer::Resume { offset: offer.length + 1 }).await,
        Lie::StoredBeforeAnything => return say(Answer::Stored { sha256: offer.sha256 }).await,
        Lie::RefusedWithAWarning => return say(refused(0xB000)).await,
        Lie::RefusedAsDuplicate => return say(refused(0x0111)).await,
        Lie::SaysNothingOfTheKind => {
            let _ = stream.send(vec![77; 40].into()).await;
            return;
        }
        Lie::EndsWithoutAWord => return,
        Lie::StoredBeforeTheEnd | Lie::StoredOtherBytes | Lie::None => {}
    }
    say(Answer::Resume { offset: 0 }).await;
    if matches!(lie, Lie::StoredBeforeTheEnd) {
        return say(Answer::Stored { sha256: offer.sha256 }).await;
    }
    let mut hasher = Sha256::new();
    while let Ok(Some(bytes)) = stream.receive().await {
        hasher.update(&bytes);
    }
    let sha256: [u8; 32] = hasher.finalize().into();
    say(Answer::Stored { sha256: if matches!(lie, Lie::None) { sha256 } else { other } }).await;
}

#[test]
fn case_106_a_gateway_that_lies_is_not_believed_and_nothing_counts_as_delivered_before_it_tells_the_truth() {
    // Longer than what can be on its way before an answer is read.
    lied_to_about(&Study::new(5).huge(1, 20 << 20), WINDOWS);
    // Short enough to be in line with its end before an answer is read.
    lied_to_about(&Study::new(5).huge(2, 60 << 10), NARROW);
}

fn lied_to_about(instance: &Instance, windows: Windows) {
    let runtime = Runtime::new().unwrap();
    let code = Code::generate().unwrap();
    let address = free_address();
    let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
    let told: Arc<Mutex<Vec<Upload>>> = Arc::default();
    runtime.spawn(lie(listener, code.clone(), windows, Arc::clone(&told)));
    let table = format!(
        "[[destination]]\nname = \"cloud\"\nkind = \"tunnel\"\nurl = \"ws://{address}/tunnel\"\nsite = \"north\"\ncode_file = \"code\"\nuploads = 1\nbackoff = {{ first = \"20ms\", max = \"50ms\" }}"
    );
    let mut link = Node::builder().table(&table).prepare();
    let path = link.home().join("code");
    std::fs::write(&path, code.reveal()).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    link.start();
    store_all(&link, std::slice::from_ref(instance));
    let delivered = || link.metric("chrysalis_deliveries_total", &["cloud", "outcome=\"delivered\""]);
    eventually("the truth", Duration::from_secs(60), || (delivered() == 1.0).then_some(()));
    let told = told.lock().unwrap();
    assert_eq!(told.len(), LIES.len() + 1, "each lie cost one more offer");
    assert!(
        told.iter().all(|upload| *upload == told[0]),
        "of the same upload, as nobody knew what became of it"
    );
    link.wait_drained();
    assert!(link.output().contains("the gateway says what cannot be"));
}

/// A client that has come as far as the greeting.
async fn greeted(address: std::net::SocketAddr) -> (Socket<TcpStream>, bytes::Bytes) {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!("ws://{address}/tunnel").into_client_request().unwrap();
    let protocol = HeaderValue::from_static(SUBPROTOCOL);
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    let (web, _) = client_async_with_config(request, stream, Some(limits(Over::Plain))).await.unwrap();
    let mut socket = Socket::new(web);
    let greeting = socket.read().await.unwrap();
    (socket, greeting)
}

/// An open session of a site.
async fn session(address: std::net::SocketAddr, site: &str, code: &Code) -> Connection {
    let (mut socket, mut said) = greeted(address).await;
    let mut opening = LinkOpening::new(site, code.link_key(), [1; 32], WINDOWS);
    loop {
        match opening.received(said, Duration::ZERO).unwrap() {
            Step::Say(bytes) => socket.say(bytes).await.unwrap(),
            Step::Open(opened) => {
                let (connection, driver) = socket.run(opened.session);
                tokio::spawn(driver);
                return connection;
            }
        }
        said = socket.read().await.unwrap();
    }
}

/// A gateway with a folder, and the address and the code its link `north` needs.
fn gateway() -> (Node, std::net::SocketAddr, Code) {
    let tunnel = free_address();
    let table = format!("[[listener]]\nname = \"links\"\nkind = \"tunnel\"\naddress = \"{tunnel}\"\n");
    let mut node = Node::builder().folder("archive").table(&table).prepare();
    let code = node.run(&["site", "add", "north"]).output.trim().parse().unwrap();
    node.start();
    (node, tunnel, code)
}

/// A small instance's data set, and how it is offered.
fn offered() -> (Vec<u8>, Offer) {
    let instance = Study::new(5).small(1);
    let DataSet::Bytes(data) = instance.data_set else { panic!("in memory") };
    let offer = Offer {
        sop_class: Uid::new(&instance.sop_class),
        sop_instance: Uid::new(&instance.sop_instance),
        transfer_syntax: TransferSyntax(Uid::new(&instance.transfer_syntax)),
        calling: AeTitle::from_text("CART7"),
        called: AeTitle::from_text("CHRYSALIS"),
        length: data.len() as u64,
        sha256: Sha256::digest(&data).into(),
    };
    (data.to_vec(), offer)
}

/// What the gateway says in the end of an upload, of which it is given these bytes if it wants any.
async fn upload(connection: &Connection, number: u8, offer: &Offer, data: Option<&[u8]>) -> Answer {
    let upload = Upload { number: [number; 16], offer: offer.clone() };
    let stream = connection.open(Kind::Upload, upload.encode()).unwrap();
    if let Some(data) = data {
        let first = Answer::decode(stream.receive().await.unwrap().unwrap()).unwrap();
        assert_eq!(first, Answer::Resume { offset: 0 });
        stream.send(bytes::Bytes::copy_from_slice(data)).await.unwrap();
    }
    stream.finish();
    Answer::decode(stream.receive().await.unwrap().unwrap()).unwrap()
}

#[test]
fn only_an_uploads_own_number_says_that_it_was_committed_before() {
    let (node, tunnel, code) = gateway();
    let (data, offer) = offered();
    let (stored, had) = (Answer::Stored { sha256: offer.sha256 }, Answer::Have { sha256: offer.sha256 });
    let received = || node.metric("chrysalis_received_instances_total", &["links"]);
    Runtime::new().unwrap().block_on(async {
        let connection = session(tunnel, "north", &code).await;
        assert_eq!(upload(&connection, 1, &offer, Some(&data)).await, stored);
        let again = async |number| (upload(&connection, number, &offer, None).await, received());
        assert_eq!(again(1).await, (had.clone(), 1.0), "its answer was lost");
        assert_eq!(again(2).await, (had.clone(), 2.0), "somebody sent it again");
        assert_eq!(again(2).await, (had.clone(), 2.0));
        assert_eq!(again(1).await, (had, 2.0));
    });
}

#[test]
fn what_another_site_sent_says_nothing_to_this_one() {
    let (node, tunnel, code) = gateway();
    let other: Code = node.run(&["site", "add", "south"]).output.trim().parse().unwrap();
    let (data, offer) = offered();
    let stored = Answer::Stored { sha256: offer.sha256 };
    Runtime::new().unwrap().block_on(async {
        for (site, code) in [("north", &code), ("south", &other)] {
            let connection = session(tunnel, site, code).await;
            assert_eq!(upload(&connection, 1, &offer, Some(&data)).await, stored, "{site}");
        }
    });
}

#[test]
fn what_cannot_be_read_any_more_is_asked_for_again() {
    let (node, tunnel, code) = gateway();
    let (data, offer) = offered();
    let stored = Answer::Stored { sha256: offer.sha256 };
    Runtime::new().unwrap().block_on(async {
        let connection = session(tunnel, "north", &code).await;
        assert_eq!(upload(&connection, 1, &offer, Some(&data)).await, stored);
        for file in list(&node.data_dir.join("spool")) {
            let mut bytes = std::fs::read(&file).unwrap();
            // Other names are there for what comes next.
            let Some(at) = bytes.windows(data.len()).position(|part| part == data) else { continue };
            bytes[at + data.len() / 2] ^= 1;
            std::fs::write(&file, bytes).unwrap();
        }
        assert_eq!(upload(&connection, 1, &offer, Some(&data)).await, stored);
    });
}

#[test]
fn other_bytes_than_were_offered_are_never_committed() {
    let (node, tunnel, code) = gateway();
    let (data, offer) = offered();
    let mut other = data.clone();
    *other.last_mut().unwrap() ^= 1;
    Runtime::new().unwrap().block_on(async {
        let connection = session(tunnel, "north", &code).await;
        assert_eq!(upload(&connection, 1, &offer, Some(&other)).await, Answer::OtherBytes);
        assert_eq!(node.metric("chrysalis_received_instances_total", &["links"]), 0.0);
        let stored = Answer::Stored { sha256: offer.sha256 };
        assert_eq!(upload(&connection, 1, &offer, Some(&data)).await, stored);
    });
}

#[test]
fn case_106_a_recorded_hello_a_wrong_message_and_too_much_of_one_open_no_session() {
    let (node, tunnel, code) = gateway();
    let hello_to = |greeting| {
        let mut opening = LinkOpening::new("north", code.link_key(), [1; 32], WINDOWS);
        match opening.received(greeting, Duration::ZERO).unwrap() {
            Step::Say(hello) => hello,
            Step::Open(_) => panic!("open already"),
        }
    };
    Runtime::new().unwrap().block_on(async {
        let (mut first, greeting) = greeted(tunnel).await;
        let recorded = hello_to(greeting);
        first.say(recorded.clone()).await.unwrap();
        assert!(matches!(Message::decode(first.read().await.unwrap()), Ok(Message::Welcome(_))));
        let Ok(Message::Hello(hello)) = Message::decode(recorded.clone()) else { panic!("a hello") };
        let later = Message::Hello(Hello { version: 2, ..hello.clone() }).encode();
        let nobody = Message::Hello(Hello { site: "nobody".into(), ..hello }).encode();
        let greeting = Message::Greeting(Greeting { lowest: 1, highest: 1, nonce: [0; 32] }).encode();
        let table = [
            ("recorded", recorded, Close::Unauthorised),
            ("another version", later, Close::Version),
            ("an unknown site", nobody, Close::Unauthorised),
            ("its own greeting", greeting, Close::Protocol),
            ("no message", bytes::Bytes::from_static(&[0x7f; 9]), Close::Protocol),
            ("too much", vec![2; 70 << 10].into(), Close::TooBig),
        ];
        for (what, said, close) in table {
            let (mut socket, _) = greeted(tunnel).await;
            let _ = socket.say(said).await;
            let ended: Ended = socket.read().await.unwrap_err();
            assert_eq!((ended.close, ended.by_us), (close, false), "{what}: {ended}");
        }
        // A session that nobody disturbed is still there.
        assert!(node.metric("chrysalis_tunnel_sessions", &[]) == 1.0);
    });
    assert!(node.is_ready());
}
