//! A cart: associates, stores, echoes, and misbehaves when asked to. Every wait has a limit.

use super::instance::Instance;
use super::wire::{self, Answered, Associate, COMMAND_BIT, Command, LAST_BIT, Pdu, Proposed};
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Why the modality did not get what it wanted.
#[derive(Debug)]
pub enum Failure {
    /// No connection.
    Connect(io::Error),
    /// A-ASSOCIATE-RJ.
    Rejected {
        result: u8,
        source: u8,
        reason: u8,
    },
    /// A-ABORT.
    Aborted {
        source: u8,
        reason: u8,
    },
    /// The peer closed or reset the connection.
    Closed,
    /// Nothing came within the timeout.
    Silence,
    /// There is no accepted context for the instance.
    NoContext,
    /// The peer said something that makes no sense here.
    Protocol(String),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock,
        };
        match error.kind() {
            WouldBlock | TimedOut => Self::Silence,
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// The response to a C-STORE or C-ECHO.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Error Comment (0000,0902).
    pub comment: Option<String>,
    pub message_id: u16,
    pub sop_instance: Option<String>,
    /// When it had been read completely.
    pub at: Instant,
}

/// Whether the kernel may hold back small writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nagle {
    /// Off, and each PDU in one write: a fast sender.
    Off,
    /// On, and each PDU in two writes, header and body: DCMTK and Orthanc as shipped.
    OnWithTwoWrites,
}

/// How a modality associates; cheap to clone and change.
#[derive(Debug, Clone)]
pub struct Modality {
    address: SocketAddr,
    calling_ae: String,
    called_ae: String,
    contexts: Vec<(String, Vec<String>)>,
    max_pdu: u32,
    pdv_size: Option<usize>,
    nagle: Nagle,
    timeout: Duration,
}

impl Modality {
    /// Calls `MODALITY` to `CHRYSALIS`, without Nagle, with a timeout of 30 s.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            calling_ae: "MODALITY".into(),
            called_ae: "CHRYSALIS".into(),
            contexts: Vec::new(),
            max_pdu: 16384,
            pdv_size: None,
            nagle: Nagle::Off,
            timeout: Duration::from_secs(30),
        }
    }

    pub fn calling(mut self, ae_title: &str) -> Self {
        self.calling_ae = ae_title.into();
        self
    }

    pub fn called(mut self, ae_title: &str) -> Self {
        self.called_ae = ae_title.into();
        self
    }

    /// Proposes one more presentation context.
    pub fn context(mut self, abstract_syntax: &str, transfer_syntaxes: &[&str]) -> Self {
        let transfer_syntaxes = transfer_syntaxes.iter().map(ToString::to_string).collect();
        self.contexts.push((abstract_syntax.into(), transfer_syntaxes));
        self
    }

    /// Proposes a context for every SOP class and transfer syntax among the instances, one transfer syntax each.
    pub fn contexts_for<'a>(mut self, instances: impl IntoIterator<Item = &'a Instance>) -> Self {
        for instance in instances {
            let context = (instance.sop_class.clone(), vec![instance.transfer_syntax.clone()]);
            if !self.contexts.contains(&context) {
                self.contexts.push(context);
            }
        }
        self
    }

    /// The maximum length that we announce; 0 is no limit.
    pub fn max_pdu(mut self, bytes: u32) -> Self {
        self.max_pdu = bytes;
        self
    }

    /// Bytes of data set in each PDV. Without it, what the peer's maximum length allows, at most 128 KiB.
    pub fn pdv_size(mut self, bytes: usize) -> Self {
        self.pdv_size = Some(bytes);
        self
    }

    pub fn nagle(mut self, nagle: Nagle) -> Self {
        self.nagle = nagle;
        self
    }

    /// How long to wait for a connection and for each answer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// A bare TCP connection with the timeouts of this modality.
    pub fn connect(&self) -> Result<TcpStream, Failure> {
        let stream = TcpStream::connect_timeout(&self.address, self.timeout).map_err(Failure::Connect)?;
        stream.set_nodelay(self.nagle == Nagle::Off)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        Ok(stream)
    }

    pub fn associate(&self) -> Result<Association, Failure> {
        self.associate_over(self.connect()?)
    }

    /// Negotiates over a connection that exists.
    pub fn associate_over(&self, mut stream: TcpStream) -> Result<Association, Failure> {
        let request = self.request();
        self.write(&mut stream, &wire::pdu(wire::ASSOCIATE_RQ, &request.to_body()))?;
        let answer = wire::read_pdu(&mut stream)?.ok_or(Failure::Closed)?;
        match answer.kind {
            wire::ASSOCIATE_AC => {
                let accept = Associate::parse(&answer.body)?;
                Ok(Association { modality: self.clone(), stream, request, accept, message_id: 0 })
            }
            _ => Err(unexpected(&answer)),
        }
    }

    /// Associates, stores one instance and releases.
    pub fn store(&self, instance: &Instance) -> Result<Answer, Failure> {
        let mut association = self.clone().contexts_for([instance]).associate()?;
        let answer = association.store(instance)?;
        association.release()?;
        Ok(answer)
    }

    /// Associates, stores the instances one after another and releases; a failure ends it.
    pub fn store_all<'a>(
        &self,
        instances: impl IntoIterator<Item = &'a Instance> + Clone,
    ) -> Result<Vec<Answer>, Failure> {
        let mut association = self.clone().contexts_for(instances.clone()).associate()?;
        let answers =
            instances.into_iter().map(|instance| association.store(instance)).collect::<Result<_, _>>()?;
        association.release()?;
        Ok(answers)
    }

    /// Associates, echoes and releases.
    pub fn echo(&self) -> Result<Answer, Failure> {
        let mut association = self.clone().context(wire::VERIFICATION, &["1.2.840.10008.1.2"]).associate()?;
        let answer = association.echo()?;
        association.release()?;
        Ok(answer)
    }

    /// The A-ASSOCIATE-RQ that would be sent.
    pub fn request(&self) -> Associate {
        let proposed = self.contexts.iter().zip((1_u8..).step_by(2));
        Associate {
            called_ae: self.called_ae.clone(),
            calling_ae: self.calling_ae.clone(),
            proposed: proposed
                .map(|((abstract_syntax, transfer_syntaxes), id)| Proposed {
                    id,
                    abstract_syntax: abstract_syntax.clone(),
                    transfer_syntaxes: transfer_syntaxes.clone(),
                })
                .collect(),
            max_pdu: self.max_pdu,
            implementation_class: wire::IMPLEMENTATION.into(),
            implementation_version: "TEST_MODALITY".into(),
            ..Associate::default()
        }
    }

    fn write(&self, stream: &mut TcpStream, pdu: &[u8]) -> io::Result<()> {
        match self.nagle {
            Nagle::Off => stream.write_all(pdu),
            Nagle::OnWithTwoWrites => {
                stream.write_all(&pdu[..6])?;
                stream.write_all(&pdu[6..])
            }
        }
    }
}

/// An association that was accepted. Dropping it closes the connection without a word.
pub struct Association {
    modality: Modality,
    stream: TcpStream,
    pub request: Associate,
    /// The A-ASSOCIATE-AC, with every context's result, maximum length and implementation.
    pub accept: Associate,
    message_id: u16,
}

impl Association {
    /// The accepted context for this SOP class and transfer syntax.
    pub fn context_for(&self, sop_class: &str, transfer_syntax: &str) -> Option<u8> {
        let proposed = |id: u8| self.request.proposed.iter().find(|context| context.id == id);
        let fits = |answer: &&Answered| {
            answer.result == 0
                && answer.transfer_syntax == transfer_syntax
                && proposed(answer.id).is_some_and(|context| context.abstract_syntax == sop_class)
        };
        self.accept.answered.iter().find(fits).map(|answer| answer.id)
    }

    pub fn store(&mut self, instance: &Instance) -> Result<Answer, Failure> {
        let context =
            self.context_for(&instance.sop_class, &instance.transfer_syntax).ok_or(Failure::NoContext)?;
        self.send_store(context, instance)?;
        self.read_answer()
    }

    /// Sends C-STORE-RQ and data set without reading the answer.
    pub fn send_store(&mut self, context: u8, instance: &Instance) -> Result<(), Failure> {
        self.start_store(context, &instance.sop_class, &instance.sop_instance)?;
        // One piece is held back until it is known whether it is the last.
        let mut held: Vec<u8> = Vec::new();
        let size = self.fragment_size();
        instance
            .data_set
            .for_each_piece(|piece| {
                let mut rest = piece;
                while !rest.is_empty() {
                    if held.len() == size {
                        self.send_pdv(context, 0, &held)?;
                        held.clear();
                    }
                    let (now, later) = rest.split_at(rest.len().min(size - held.len()));
                    held.extend_from_slice(now);
                    rest = later;
                }
                Ok(())
            })
            .and_then(|()| self.send_pdv(context, LAST_BIT, &held))?;
        Ok(())
    }

    /// Stores any bytes as a data set, under any SOP class and instance.
    pub fn store_bytes(
        &mut self,
        context: u8,
        class: &str,
        uid: &str,
        bytes: &[u8],
    ) -> Result<Answer, Failure> {
        self.start_store(context, class, uid)?;
        self.send_data(context, bytes, Last::Yes)?;
        self.read_answer()
    }

    /// Sends a C-STORE-RQ only; the data set is up to the caller.
    pub fn start_store(&mut self, context: u8, sop_class: &str, sop_instance: &str) -> Result<u16, Failure> {
        self.message_id += 1;
        self.send_command(context, &Command::store_rq(self.message_id, sop_class, sop_instance))?;
        Ok(self.message_id)
    }

    pub fn send_command(&mut self, context: u8, command: &Command) -> Result<(), Failure> {
        Ok(self.send_pdv(context, COMMAND_BIT | LAST_BIT, &command.to_bytes())?)
    }

    /// Sends a part of a data set, in as many PDUs as it needs.
    pub fn send_data(&mut self, context: u8, bytes: &[u8], last: Last) -> Result<(), Failure> {
        let count = bytes.len().div_ceil(self.fragment_size()).max(1);
        let mut fragments = bytes.chunks(self.fragment_size());
        for n in 1..=count {
            let control = if n == count && last == Last::Yes { LAST_BIT } else { 0 };
            self.send_pdv(context, control, fragments.next().unwrap_or_default())?;
        }
        Ok(())
    }

    pub fn echo(&mut self) -> Result<Answer, Failure> {
        let context = self.context_for(wire::VERIFICATION, "1.2.840.10008.1.2").ok_or(Failure::NoContext)?;
        self.message_id += 1;
        self.send_command(context, &Command::echo_rq(self.message_id))?;
        self.read_answer()
    }

    /// Reads until a response is complete.
    pub fn read_answer(&mut self) -> Result<Answer, Failure> {
        let mut bytes = Vec::new();
        loop {
            let pdu = self.read_pdu()?;
            if pdu.kind != wire::DATA {
                return Err(unexpected(&pdu));
            }
            for (_, control, fragment) in wire::pdvs(&pdu.body)? {
                bytes.extend_from_slice(fragment);
                if control & LAST_BIT != 0 {
                    return answer(&Command::parse(&bytes)?);
                }
            }
        }
    }

    /// Reads whatever PDU comes next.
    pub fn read_pdu(&mut self) -> Result<Pdu, Failure> {
        wire::read_pdu(&mut self.stream)?.ok_or(Failure::Closed)
    }

    /// Writes any bytes, well-formed or not.
    pub fn write_raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// The connection, for what is not foreseen here.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// A-RELEASE-RQ and its answer.
    pub fn release(mut self) -> Result<(), Failure> {
        wire::write_pdu(&mut self.stream, wire::RELEASE_RQ, &[0; 4])?;
        let pdu = self.read_pdu()?;
        if pdu.kind == wire::RELEASE_RP { Ok(()) } else { Err(unexpected(&pdu)) }
    }

    /// A-ABORT, and away.
    pub fn abort(mut self) -> Result<(), Failure> {
        wire::write_pdu(&mut self.stream, wire::ABORT, &[0; 4])?;
        Ok(())
    }

    /// Closes the connection without a word, both ways at once.
    pub fn vanish(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn send_pdv(&mut self, context: u8, control: u8, fragment: &[u8]) -> io::Result<()> {
        let pdu = wire::pdu(wire::DATA, &wire::pdv(context, control, fragment));
        self.modality.write(&mut self.stream, &pdu)
    }

    fn fragment_size(&self) -> usize {
        let allowed = match self.accept.max_pdu {
            0 => 131_072,
            limit => (limit as usize).min(131_072),
        };
        self.modality.pdv_size.unwrap_or(allowed.saturating_sub(6).max(2))
    }
}

/// Whether a fragment ends the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    Yes,
    No,
}

fn answer(command: &Command) -> Result<Answer, Failure> {
    let missing = || Failure::Protocol(format!("a response without a status: {command:?}"));
    Ok(Answer {
        status: command.get_number(0x0900).ok_or_else(missing)?,
        comment: command.string(0x0902),
        message_id: command.get_number(0x0120).unwrap_or(0),
        sop_instance: command.string(0x1000),
        at: Instant::now(),
    })
}

/// What a PDU means that was not the one waited for.
fn unexpected(pdu: &Pdu) -> Failure {
    match (pdu.kind, pdu.body.as_slice()) {
        (wire::ASSOCIATE_RJ, &[_, result, source, reason]) => Failure::Rejected { result, source, reason },
        (wire::ABORT, &[_, _, source, reason]) => Failure::Aborted { source, reason },
        (kind, body) => Failure::Protocol(format!("PDU type {kind} of {} bytes", body.len())),
    }
}
