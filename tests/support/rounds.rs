//! The whole list against one running node, again and again, each time in another order: the answers stay right, and
//! memory and descriptors stay where they were.
//!
//! What is left out, because one of them costs more than all the rest: floods of connections (11, 59, 60), a full spool
//! and a stop (61, 62), what a lying PACS answers (78 to 80), a bomb and a huge element (92, 95), programs in preambles
//! (94), and what needs a node of its own (7 to 10, 14, 15, 104, 106).

use super::hostile::accepted::{self, Accepted, PRIVATE_SYNTAX};
use super::hostile::answers::Answers;
use super::hostile::bytes::{Rq, data, store};
use super::hostile::data_sets::{self, DataSet, Outcome, UID};
use super::hostile::{CALLED, CALLING, Case, Door, PASSCODE, SHORT, Talk, USER, cases};
use super::http;
use super::instance::{DEFLATED, EXPLICIT_LITTLE, US_IMAGE};
use super::modality::Modality;
use super::node::{Node, NodeBuilder};
use super::ports::free_address;
use super::wire;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many say something at a time.
const SPEAKERS: usize = 4;
/// What the time for an association request is at the door for those who say nothing.
const BRIEF: &str = "20ms";

/// The list, ready to be said.
pub struct Rounds {
    cases: Vec<Case>,
    data_sets: Vec<DataSet>,
    accepted: Vec<Accepted>,
    /// A whole session, up to where its data set is complete.
    session: Vec<u8>,
    doors: BTreeMap<Door, SocketAddr>,
    silent: SocketAddr,
}

/// What one repetition did.
#[derive(Debug, Default, Clone, Copy)]
pub struct Done {
    /// Conversations.
    pub said: usize,
    /// Instances that were answered with success.
    pub stored: usize,
}

enum Step<'a> {
    Talk(&'a Case, &'a Talk),
    DataSet(&'a DataSet),
    Accepted(&'a Accepted),
    /// Cases 1 and 2: so much is said, and then nothing.
    Silence(&'a [u8]),
    /// Case 12: the session is reset after so many bytes.
    Reset(usize),
    /// Case 13: it ends after so many bytes.
    End(usize),
    /// Case 105: a request and its status.
    Http(&'a str, &'a str, &'a [(&'a str, &'a str)], u16),
}

impl Rounds {
    /// The list, and a node with a door for each of its kinds.
    pub fn new(builder: NodeBuilder) -> (Self, NodeBuilder) {
        let mut doors = BTreeMap::new();
        let mut builder = builder.listener(&format!("{MANY}\ntransfer_syntaxes = [\"{PRIVATE_SYNTAX}\"]"));
        let another = |builder: NodeBuilder, name: &str, lines: &str| {
            let address = free_address();
            let table = format!("[[listener]]\nname = \"{name}\"\naddress = \"{address}\"\n{MANY}\n{lines}");
            (builder.table(&table), address)
        };
        for door in [Door::Listed, Door::Identified, Door::Short] {
            let (with, address) = another(builder, &format!("{door:?}"), &lines(door));
            builder = with;
            doors.insert(door, address);
        }
        let (builder, silent) = another(builder, "Brief", &format!("timeouts = {{ request = \"{BRIEF}\" }}"));
        let session = [Rq::default().bytes(), store(1), data(false), data(false)].concat();
        let (cases, data_sets, accepted) = (cases(), data_sets::data_sets(), accepted::accepted());
        (Self { cases, data_sets, accepted, session, doors, silent }, builder)
    }

    /// Says everything once, in an order that comes of `seed`.
    ///
    /// # Errors
    /// What was answered otherwise than it has to be.
    pub fn repeat(&self, node: &Node, seed: u64) -> Result<Done, String> {
        let mut chance = Chance(seed);
        let mut steps = self.steps(&mut chance);
        for at in (1..steps.len()).rev() {
            steps.swap(at, chance.below(at + 1));
        }
        let share = steps.len().div_ceil(SPEAKERS);
        let done = std::thread::scope(|scope| {
            let say = |steps: &[Step<'_>]| -> Result<Done, String> {
                let mut done = Done::default();
                for step in steps {
                    done.stored += self.take(node, step)?;
                    done.said += 1;
                }
                Ok(done)
            };
            let speakers: Vec<_> = steps.chunks(share).map(|steps| scope.spawn(move || say(steps))).collect();
            speakers.into_iter().map(|speaker| speaker.join().unwrap()).collect::<Result<Vec<_>, _>>()
        })?;
        let sum = |sum: Done, one: &Done| Done { said: sum.said + one.said, stored: sum.stored + one.stored };
        Ok(done.iter().fold(Done::default(), sum))
    }

    fn steps(&self, chance: &mut Chance) -> Vec<Step<'_>> {
        let talks =
            self.cases.iter().flat_map(|case| case.talks.iter().map(move |talk| Step::Talk(case, talk)));
        let mut steps: Vec<_> = talks.collect();
        steps.extend(self.data_sets.iter().map(Step::DataSet));
        steps.extend(self.accepted.iter().map(Step::Accepted));
        steps.extend([&b""[..], &[1, 0, 0]].map(Step::Silence));
        for _ in 0..4 {
            steps.push(Step::Reset(chance.below(self.session.len())));
            steps.push(Step::End(1 + chance.below(self.session.len() - 1)));
        }
        steps.extend([
            Step::Http("POST", "/api/queue/discard", &[], 401),
            Step::Http("GET", "/api/queue", &[("Host", "evil.example")], 421),
            Step::Http("GET", "/api/queue/%00", &[], 400),
            // Without the token a method is not even looked at.
            Step::Http("BREW", "/metrics", &[], 401),
            Step::Http("GET", "/metrics", &[("X-Long", LONG)], 431),
        ]);
        steps
    }

    /// Instances that it stored.
    fn take(&self, node: &Node, step: &Step<'_>) -> Result<usize, String> {
        match step {
            Step::Talk(case, talk) => {
                let address = self.doors.get(&talk.door).copied().unwrap_or(node.address);
                let answers =
                    converse(address, &talk.sent).map_err(|error| format!("{}: {error}", case.name))?;
                let is_right = (talk.judge)(&answers);
                is_right.then_some(talk.stores).ok_or_else(|| format!("{}: {answers:02X?}", case.name))
            }
            Step::Accepted(row) => {
                let answers =
                    converse(node.address, &row.sent).map_err(|error| format!("{}: {error}", row.what))?;
                row.is_right(&answers).then_some(1).ok_or_else(|| format!("{}: {answers:02X?}", row.what))
            }
            Step::DataSet(row) => send(node.address, row),
            Step::Silence(said) => converse(self.silent, said)
                .map_err(|error| format!("silence: {error}"))
                .and_then(|answers| answers.0.is_empty().then_some(0).ok_or(format!("{answers:02X?}"))),
            Step::Reset(length) => self.cut(node.address, *length, |stream| {
                socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
            }),
            Step::End(length) => self.cut(node.address, *length, |mut stream| {
                let _ = stream.shutdown(Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            }),
            Step::Http(method, path, headers, status) => {
                let response = http::request(node.admin, method, path, headers, &[]);
                let found = response.map_err(|error| format!("{method} {path}: {error}"))?.status;
                (found == *status).then_some(0).ok_or_else(|| format!("{method} {path}: {found}"))
            }
        }
    }

    fn cut(&self, address: SocketAddr, length: usize, end: impl Fn(&TcpStream)) -> Result<usize, String> {
        let mut stream = connect(address).map_err(|error| format!("a cut after {length} bytes: {error}"))?;
        let _ = stream.write_all(&self.session[..length]);
        end(&stream);
        Ok(0)
    }
}

/// So many may call from one address.
const MANY: &str = "max_per_address = 1000";

const LONG: &str = match std::str::from_utf8(&[b'x'; 17 << 10]) {
    Ok(text) => text,
    Err(_) => panic!(),
};

/// What makes a listener a door of this kind.
fn lines(door: Door) -> String {
    match door {
        Door::Open => String::new(),
        Door::Listed => format!("called_ae = [\"{CALLED}\"]\ncalling_ae = [\"{CALLING}\"]"),
        Door::Identified => {
            format!("user_identity = [{{ username = \"{USER}\", passcode = \"{PASSCODE}\" }}]")
        }
        Door::Short => format!("max_data_set = {SHORT}"),
    }
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Says everything, and hears what is answered, to the last word or the end of the connection.
pub fn converse(address: SocketAddr, bytes: &[u8]) -> std::io::Result<Answers> {
    let mut stream = connect(address)?;
    // The last word may come before everything is said.
    let _ = stream.write_all(bytes);
    let mut answers = Answers(Vec::new());
    while let Some(pdu) = wire::read_pdu(&mut stream)? {
        let is_last = [wire::ASSOCIATE_RJ, wire::RELEASE_RP, wire::ABORT].contains(&pdu.kind);
        answers.0.push((pdu.kind, pdu.body));
        if is_last {
            break;
        }
    }
    Ok(answers)
}

fn send(address: SocketAddr, row: &DataSet) -> Result<usize, String> {
    let modality =
        Modality::new(address).context(US_IMAGE, &[EXPLICIT_LITTLE]).context(US_IMAGE, &[DEFLATED]);
    let context = if row.syntax == DEFLATED { 3 } else { 1 };
    let answer = modality.associate().and_then(|mut association| {
        let answer = association.store_bytes(context, US_IMAGE, UID, &row.bytes)?;
        association.release()?;
        Ok(answer)
    });
    let answer = answer.map_err(|failure| format!("{} ({}): {failure:?}", row.what, row.number))?;
    let said = answer.comment.unwrap_or_default();
    match &row.outcome {
        Outcome::Passes(_) if answer.status == 0 => Ok(1),
        Outcome::Refused(status, comment) if answer.status == *status && said.contains(comment) => Ok(0),
        _ => Err(format!("{} ({}): {:04X} {said}", row.what, row.number, answer.status)),
    }
}

/// Small numbers that look like chance and are the same for the same seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}
