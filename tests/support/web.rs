//! A DICOMweb server that takes what it is told to take, answers what it is told to answer, and lies.

use super::instance::Instance;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Longest time that a connection of a test may be silent.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Counted from 1.
    pub number: usize,
    pub method: String,
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The files in it; none where the body was not read.
    pub parts: Vec<Instance>,
    /// Which connection it came over, counted from 1.
    pub connection: usize,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn names(&self) -> Vec<String> {
        self.parts.iter().map(|part| part.sop_instance.clone()).collect()
    }
}

/// What is done with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// 200, and all of it is stored.
    Store,
    /// Status, header lines each with its end, body.
    Answer(u16, String, String),
    /// So much of the body is read, and then the connection is closed.
    CutAt(u64),
    /// This is answered before any of the body is read.
    Early(u16),
    /// 200 and a body that never ends.
    Endless,
    /// 200 and a body that is longer than what follows.
    CutAnswer,
    /// All is read, and the connection is closed.
    Vanish,
    /// All is read, and nothing is answered.
    Silence,
}

/// An answer that names some as stored, and others as failed with a reason.
pub fn answer(status: u16, stored: &[String], failed: &[(String, u16)]) -> Reply {
    let item =
        |uid: &str, reason: &str| format!(r#"{{"00081155": {{"vr": "UI", "Value": ["{uid}"]}}{reason}}}"#);
    let stored: Vec<_> = stored.iter().map(|uid| item(uid, "")).collect();
    let failed: Vec<_> = failed
        .iter()
        .map(|(uid, code)| item(uid, &format!(r#", "00081197": {{"vr": "US", "Value": [{code}]}}"#)))
        .collect();
    let sequence = |items: Vec<String>| format!(r#"{{"vr": "SQ", "Value": [{}]}}"#, items.join(","));
    let body = format!(r#"{{"00081199": {}, "00081198": {}}}"#, sequence(stored), sequence(failed));
    Reply::Answer(status, "Content-Type: application/dicom+json\r\n".to_owned(), body)
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

#[derive(Default)]
struct State {
    asked: Vec<Asked>,
    stored: Vec<Instance>,
}

/// Listens until it is dropped.
pub struct WebServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl WebServer {
    /// The script is asked before the body is read with a request without parts, and its answer is taken if that is one that
    /// does not need them; else again with the parts.
    pub fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (state, script) = (Arc::new(Mutex::new(State::default())), Arc::new(script));
        let held = Arc::downgrade(&state);
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for (stream, connection) in listener.incoming().flatten().zip(1..) {
                // The server that this belongs to is gone.
                let Some(state) = held.upgrade() else { break };
                let script = Arc::clone(&script);
                thread::spawn(move || serve(stream, connection, &state, &*script));
            }
        });
        Self { address, state: shared }
    }

    /// One that stores everything.
    pub fn well() -> Self {
        Self::start(|_| Reply::Store)
    }

    pub fn url(&self) -> String {
        format!("http://{}/dicom-web", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// What was stored, in order.
    pub fn stored(&self) -> Vec<Instance> {
        self.state.lock().unwrap().stored.clone()
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        // Wakes the listener, so that it sees that nobody is interested.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, connection: usize, state: &Mutex<State>, script: &Script) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let mut reader = BufReader::new(stream);
    // How a connection ends is up to the other side, or to the script.
    while let Ok(true) = exchange(&mut reader, connection, state, script) {}
}

/// One request. False when the connection is to be closed.
fn exchange(
    reader: &mut BufReader<TcpStream>,
    connection: usize,
    state: &Mutex<State>,
    script: &Script,
) -> io::Result<bool> {
    let Some((method, target, headers)) = head(reader)? else { return Ok(false) };
    let number = state.lock().unwrap().asked.len() + 1;
    let mut asked = Asked { number, method, target, headers, parts: Vec::new(), connection };
    let length = asked.header("content-length").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    match script(&asked) {
        Reply::CutAt(at) => {
            io::copy(&mut reader.take(at), &mut io::sink())?;
            state.lock().unwrap().asked.push(asked);
            return Ok(false);
        }
        Reply::Early(status) => {
            write!(reader.get_mut(), "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n")?;
            state.lock().unwrap().asked.push(asked);
            // So that what was answered is read before the connection is reset.
            io::copy(&mut reader.take(length), &mut io::sink())?;
            return Ok(false);
        }
        _ => {}
    }
    let mut body = vec![0; length as usize];
    reader.read_exact(&mut body)?;
    asked.parts = parts(&asked, &body);
    let reply = script(&asked);
    state.lock().unwrap().asked.push(asked.clone());
    let stream = reader.get_mut();
    match reply {
        Reply::Store => {
            let Reply::Answer(status, headers, body) = answer(200, &asked.names(), &[]) else {
                return Ok(false);
            };
            state.lock().unwrap().stored.extend(asked.parts.iter().cloned());
            respond(stream, status, &headers, &body)?;
        }
        Reply::Answer(status, headers, body) => respond(stream, status, &headers, &body)?,
        Reply::Endless => {
            write!(stream, "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            loop {
                write!(stream, "10000\r\n{}\r\n", "[".repeat(0x10000))?;
            }
        }
        Reply::CutAnswer => {
            write!(stream, "HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n{{\"00081199\":")?;
            return Ok(false);
        }
        Reply::Silence => {
            // Until the other side has had enough.
            let _ = io::copy(reader, &mut io::sink());
            return Ok(false);
        }
        Reply::Vanish | Reply::CutAt(_) | Reply::Early(_) => return Ok(false),
    }
    Ok(!asked.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")))
}

fn respond(stream: &mut TcpStream, status: u16, headers: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let text = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes())
}

type Head = (String, String, Vec<(String, String)>);

fn head(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Head>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut words = first.split_whitespace().map(String::from);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => return Ok(Some((method, target, headers))),
        }
    }
}

/// The files of a `multipart/related` body. What is not as it should be fails the test by being missed.
fn parts(asked: &Asked, body: &[u8]) -> Vec<Instance> {
    let kind = asked.header("content-type").unwrap_or_default();
    let Some((_, boundary)) = kind.split_once("boundary=") else { return Vec::new() };
    let mark = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut rest = body;
    while let Some(after) = rest.strip_prefix(mark.as_bytes()) {
        let Some(after) = after.strip_prefix(b"\r\n") else { break };
        let Some(begins) = find(after, b"\r\n\r\n") else { break };
        let file = &after[begins + 4..];
        let Some(ends) = find(file, format!("\r\n{mark}").as_bytes()) else { break };
        parts.push(Instance::from_part10_bytes(&file[..ends]));
        rest = &file[ends + 2..];
    }
    parts
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
