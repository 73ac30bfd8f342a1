//! A gateway that says what is not so, and links that say what they recorded: nothing is taken for delivered, nobody gets in.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrysalis::tunnel::SUBPROTOCOL;
use chrysalis::tunnel::code::Code;
use chrysalis::tunnel::connection::{Accepted, Stream};
use chrysalis::tunnel::session::{Close, GatewayOpening, LinkOpening, Step};
use chrysalis::tunnel::socket::{Ended, Socket, limits};
use chrysalis::tunnel::upload::{Answer, Offer};
use chrysalis::tunnel::wire::{Greeting, Hello, Message, Windows};
use sha2::{Digest as _, Sha256};
use support::deliveries::store_all;
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

/// What a gateway answers to an offer, and after all bytes, and whether it waits for them.
#[derive(Debug, Clone, Copy)]
enum Lie {
    HasOtherBytes,
    HasMoreThanThereIs,
    StoredBeforeAnything,
    StoredBeforeTheEnd,
    StoredOtherBytes,
    SaysNothingOfTheKind,
    EndsWithoutAWord,
    None,
}

const LIES: [Lie; 7] = [
    Lie::HasOtherBytes,
    Lie::HasMoreThanThereIs,
    Lie::StoredBeforeAnything,
    Lie::StoredBeforeTheEnd,
    Lie::StoredOtherBytes,
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
async fn lie(listener: TcpListener, code: Code, told: Arc<Mutex<Vec<Offer>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(web) = accept_hdr_async_with_config(stream, agree, Some(limits())).await else { continue };
        let mut socket = Socket::new(web);
        let opening = GatewayOpening::new([told.lock().unwrap().len() as u8; 32]);
        socket.say(opening.greeting()).await.unwrap();
        let hello = socket.read().await.unwrap();
        let judged = opening.received(hello, |_| Some(code.verifier())).unwrap();
        let (welcome, session) = judged.open(WINDOWS, Duration::from_secs(15), Duration::ZERO);
        socket.say(welcome).await.unwrap();
        let (connection, driver) = socket.run(session);
        tokio::spawn(driver);
        while let Some(Accepted { body, stream, .. }) = connection.accept().await {
            let offer = Offer::decode(body).unwrap();
            let lie = LIES.get(told.lock().unwrap().len()).copied().unwrap_or(Lie::None);
            told.lock().unwrap().push(offer.clone());
            answer(lie, &offer, &stream).await;
            stream.finish();
        }
    }
}

async fn answer(lie: Lie, offer: &Offer, stream: &Stream) {
    let other = [9; 32];
    let say = async |answer: Answer| {
        let _ = stream.send(answer.encode()).await;
    };
    match lie {
        Lie::HasOtherBytes => return say(Answer::Have { sha256: other }).await,
        Lie::HasMoreThanThereIs => return say(Answer::Resume { offset: offer.length + 1 }).await,
        Lie::StoredBeforeAnything => return say(Answer::Stored { sha256: offer.sha256 }).await,
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
    let runtime = Runtime::new().unwrap();
    let code = Code::generate().unwrap();
    let address = free_address();
    let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
    let told: Arc<Mutex<Vec<Offer>>> = Arc::default();
    runtime.spawn(lie(listener, code.clone(), Arc::clone(&told)));
    let table = format!(
        "[[destination]]\nname = \"cloud\"\nkind = \"tunnel\"\nurl = \"ws://{address}/tunnel\"\nsite = \"north\"\ncode_file = \"code\"\nuploads = 1\nbackoff = {{ first = \"20ms\", max = \"50ms\" }}"
    );
    let mut link = Node::builder().table(&table).prepare();
    let path = link.home().join("code");
    std::fs::write(&path, code.reveal()).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    link.start();
    // Longer than what can be on its way before an answer is read.
    let instance = support::instance::Study::new(5).huge(1, 20 << 20);
    store_all(&link, std::slice::from_ref(&instance));
    let delivered = || link.metric("chrysalis_deliveries_total", &["cloud", "outcome=\"delivered\""]);
    eventually("the truth", Duration::from_secs(60), || (delivered() == 1.0).then_some(()));
    assert_eq!(told.lock().unwrap().len(), LIES.len() + 1, "each lie cost one more offer");
    link.wait_drained();
    assert!(link.output().contains("the gateway says what cannot be"));
}

/// A client that has come as far as the greeting.
async fn greeted(address: std::net::SocketAddr) -> (Socket<TcpStream>, bytes::Bytes) {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!("ws://{address}/tunnel").into_client_request().unwrap();
    let protocol = HeaderValue::from_static(SUBPROTOCOL);
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    let (web, _) = client_async_with_config(request, stream, Some(limits())).await.unwrap();
    let mut socket = Socket::new(web);
    let greeting = socket.read().await.unwrap();
    (socket, greeting)
}

#[test]
fn case_106_a_recorded_hello_a_wrong_message_and_too_much_of_one_open_no_session() {
    let tunnel = free_address();
    let table = format!("[[listener]]\nname = \"links\"\nkind = \"tunnel\"\naddress = \"{tunnel}\"\n");
    let mut node = Node::builder().folder("archive").table(&table).prepare();
    let code: Code = node.run(&["site", "add", "north"]).output.trim().parse().unwrap();
    node.start();
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
