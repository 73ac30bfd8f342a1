//! One stream, as one side has it.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Incoming, Refused, SEND_QUEUE, Violation};
use crate::tunnel::wire::{Kind, MAX_DATA, Why};

/// What is in line, what came, and how each half is doing.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) kind: Kind,
    /// It stands in line.
    pub(super) is_scheduled: bool,
    outgoing: VecDeque<Bytes>,
    outgoing_bytes: usize,
    /// Bytes that we may send.
    credit: u32,
    ours: Half,
    incoming: VecDeque<Bytes>,
    /// Bytes that they may send.
    granted: u32,
    /// Bytes that somebody took and may still be busy with.
    in_hand: u32,
    /// Bytes that have been dealt with and not credited yet.
    owed: u32,
    has_ended: bool,
    over: Option<Why>,
    /// Nobody uses it any more.
    pub(super) abandoned: Option<Why>,
}

/// What we have said of our half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Open,
    /// It ends after what is in line.
    Ending,
    Ended,
}

/// What was taken, and how much of what was taken before has been dealt with.
pub(super) struct Taken {
    pub(super) incoming: Incoming,
    pub(super) done: u32,
}

impl Stream {
    pub(super) fn new(kind: Kind, granted: u32, credit: u32) -> Self {
        Self {
            kind,
            is_scheduled: false,
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            credit,
            ours: Half::Open,
            incoming: VecDeque::new(),
            granted,
            in_hand: 0,
            owed: 0,
            has_ended: false,
            over: None,
            abandoned: None,
        }
    }

    /// Neither side has anything more to say.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_some() || (self.has_ended && self.ours == Half::Ended)
    }

    pub(super) fn room(&self) -> usize {
        if self.over.is_some() { 0 } else { SEND_QUEUE.saturating_sub(self.outgoing_bytes) }
    }

    pub(super) fn push(&mut self, bytes: Bytes) -> Result<(), Refused> {
        if let Some(why) = self.over {
            return Err(Refused::Over(why));
        }
        if self.ours != Half::Open {
            return Err(Refused::Over(Why::Cancelled));
        }
        if self.outgoing_bytes >= SEND_QUEUE {
            return Err(Refused::Full);
        }
        if !bytes.is_empty() {
            self.outgoing_bytes += bytes.len();
            self.outgoing.push_back(bytes);
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) {
        if self.ours == Half::Open {
            self.ours = Half::Ending;
        }
    }

    pub(super) fn has_said_end(&self) -> bool {
        self.ours == Half::Ended
    }

    /// Only its end is still to be said: that needs no credit.
    pub(super) fn is_at_its_end(&self) -> bool {
        self.outgoing.is_empty() && self.ours == Half::Ending
    }

    pub(super) fn has_something(&self) -> bool {
        self.over.is_none() && (self.is_at_its_end() || (!self.outgoing.is_empty() && self.credit > 0))
    }

    /// The next piece within the credit, or the end.
    #[expect(clippy::option_option, reason = "a piece, the end, or nothing that can be sent")]
    pub(super) fn next(&mut self, credit_in_all: u64) -> Option<Option<Bytes>> {
        if !self.has_something() {
            return None;
        }
        if self.is_at_its_end() {
            self.ours = Half::Ended;
            return Some(None);
        }
        let most =
            usize::try_from(credit_in_all).unwrap_or(usize::MAX).min(self.credit as usize).min(MAX_DATA);
        let first = self.outgoing.front_mut()?;
        let piece = first.split_to(most.min(first.len()));
        if first.is_empty() {
            self.outgoing.pop_front();
        }
        self.outgoing_bytes -= piece.len();
        self.credit -= piece.len() as u32;
        (!piece.is_empty()).then_some(Some(piece))
    }

    /// False when nobody will take them.
    pub(super) fn received(&mut self, bytes: Bytes, id: u32) -> Result<bool, Violation> {
        let length = u32::try_from(bytes.len()).map_err(|_| Violation::NoCredit(id))?;
        if self.has_ended {
            return Err(Violation::AfterEnd(id));
        }
        self.granted = self.granted.checked_sub(length).ok_or(Violation::NoCredit(id))?;
        if self.over.is_some() || self.abandoned.is_some() {
            return Ok(false);
        }
        self.incoming.push_back(bytes);
        Ok(true)
    }

    pub(super) fn ended(&mut self, id: u32) -> Result<(), Violation> {
        if self.has_ended {
            return Err(Violation::AfterEnd(id));
        }
        self.has_ended = true;
        Ok(())
    }

    pub(super) fn reset(&mut self, why: Why) {
        self.over.get_or_insert(why);
        self.outgoing.clear();
        self.outgoing_bytes = 0;
    }

    pub(super) fn credited(&mut self, bytes: u32, most: u32, id: u32) -> Result<(), Violation> {
        let credit = self.credit.checked_add(bytes).filter(|credit| *credit <= most);
        self.credit = credit.ok_or(Violation::TooMuchCredit(id))?;
        Ok(())
    }

    pub(super) fn take(&mut self) -> Taken {
        let done = std::mem::take(&mut self.in_hand);
        let incoming = match (self.incoming.pop_front(), self.over) {
            (Some(bytes), _) => {
                self.in_hand = bytes.len() as u32;
                Incoming::Bytes(bytes)
            }
            (None, Some(why)) => Incoming::Reset(why),
            (None, None) if self.has_ended => Incoming::End,
            (None, None) => Incoming::Nothing,
        };
        Taken { incoming, done }
    }

    /// Nobody uses it any more: says how many bytes nobody will take.
    pub(super) fn abandon(&mut self, why: Why) -> u32 {
        let untaken = self.untaken();
        self.incoming.clear();
        self.in_hand = 0;
        self.abandoned = Some(why);
        untaken
    }

    /// What is in line still goes, and then the end.
    pub(super) fn is_ending(&self) -> bool {
        self.over.is_none() && self.ours == Half::Ending
    }

    /// Bytes that came and are not credited in all.
    pub(super) fn untaken(&self) -> u32 {
        self.incoming.iter().map(|bytes| bytes.len() as u32).sum::<u32>() + self.in_hand
    }

    /// Whether it is time to give credit for what has been dealt with.
    pub(super) fn owe(&mut self, done: u32, step: u32) -> bool {
        let before = self.owed;
        self.owed += done;
        !self.has_ended && self.over.is_none() && before < step && self.owed >= step
    }

    pub(super) fn grant(&mut self) -> u32 {
        let bytes = std::mem::take(&mut self.owed);
        self.granted += bytes;
        bytes
    }
}
