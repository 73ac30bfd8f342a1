//! An instance becomes what its destination wants: looked at, planned and, where it has to be, copied.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use chrysalis_queue::{BlobError, Checked};

use super::carrier::Item;
use super::outgoing::Outgoing;
use super::stored::{Stored, spool_error};
use super::verdict::End;
use crate::metrics::{Made as Outcome, Monochrome as Greyed, TranscodeMetrics};
use crate::platform;
use crate::transcode::{
    Accepts, Compression, Content, Engine, Grey, Monochrome, Plan, Recipe, Source, Subject, TranscodeError,
    Veto, plan,
};

/// What one destination's instances go through. Clones are the same.
#[derive(Clone)]
pub(super) struct Preparer {
    wish: Compression,
    engine: Engine,
    metrics: TranscodeMetrics,
}

/// Why there is nothing to send.
#[derive(Debug)]
pub(super) enum Unprepared {
    /// Our own copy is not what was received.
    Spool(String),
    /// The destination takes it in no way in which it could be sent.
    Hold(String),
    /// It may be another time.
    Later(String),
}

impl Unprepared {
    /// How an attempt ends with it.
    pub(super) fn end(self) -> End {
        match self {
            Self::Spool(why) => End::Unreadable(why),
            Self::Hold(why) => End::SyntaxNotAccepted { why },
            Self::Later(why) => End::Unreachable(why),
        }
    }
}

impl Preparer {
    pub(super) fn new(wish: Compression, engine: Engine, metrics: TranscodeMetrics) -> Self {
        Self { wish, engine, metrics }
    }

    pub(super) fn wish(&self) -> &Compression {
        &self.wish
    }

    /// Whether an instance goes as it is, without anybody looking at it.
    pub(super) fn takes_as_it_is(&self, item: &Item, accepts: &Accepts) -> bool {
        self.wish.is_as_received() && accepts.takes(&item.transfer_syntax)
    }

    /// What is sent of an instance to somebody who takes `accepts`. Reads, decodes and encodes: on a blocking thread. What
    /// is wanted as it was received, and taken so, is not looked at.
    pub(super) fn prepare(
        &self,
        item: &Item,
        checked: Checked,
        accepts: &Accepts,
    ) -> Result<Outgoing, Unprepared> {
        if self.takes_as_it_is(item, accepts) {
            return Ok(Outgoing::original(item, checked));
        }
        let source = Arc::new(Stored::new(checked.clone()));
        let (subject, source) = match self.engine.look(source, &item.transfer_syntax, item.soundness) {
            Ok(seen) => seen,
            Err(error) => return self.failed(item, checked, accepts, error),
        };
        match plan(&subject, &self.wish, accepts) {
            Plan::PassThrough { .. } => {
                self.count_veto(&subject);
                Ok(Outgoing::original(item, checked))
            }
            Plan::Hold { why } => Err(Unprepared::Hold(why)),
            Plan::Transcode(recipe) => self.make(item, checked, source, &subject, &recipe, accepts),
        }
    }

    /// The original after all, where a copy failed while it was on its way.
    pub(super) fn instead(
        &self,
        item: &Item,
        checked: Checked,
        accepts: &Accepts,
        error: &TranscodeError,
    ) -> Result<Outgoing, Unprepared> {
        self.metrics.made(outcome(error));
        let sequence = item.instance.sequence;
        let destination = self.metrics.destination();
        if accepts.takes(&item.transfer_syntax) {
            self.metrics.fell_back();
            tracing::warn!(destination, instance = %sequence, %error, "The original is sent, no copy could be made.");
            return Ok(Outgoing::original_after_all(item, checked, &error.to_string()));
        }
        let stored = item.transfer_syntax.name();
        Err(Unprepared::Hold(format!("stored as {stored}, and no copy could be made: {error}")))
    }

    fn make(
        &self,
        item: &Item,
        checked: Checked,
        source: Arc<dyn Source>,
        subject: &Subject,
        recipe: &Recipe,
        accepts: &Accepts,
    ) -> Result<Outgoing, Unprepared> {
        let begun = Instant::now();
        let sequence = item.instance.sequence;
        let made = self.engine.make(
            source,
            *item.instance.sha256(),
            subject,
            recipe,
            (u64::from(sequence.boot()), u64::from(sequence.n())),
        );
        match made {
            Ok(made) => {
                self.count_grey(subject, recipe, made.grey);
                // Nothing but grey was wanted, and there is a colour.
                if made.is_original() {
                    return Ok(Outgoing::original(item, checked));
                }
                self.metrics.made(Outcome::Made);
                self.metrics.copied(checked.blob().payload_len(), made.length, begun.elapsed());
                Ok(Outgoing::copy(item, made))
            }
            Err(error) => self.failed(item, checked, accepts, error),
        }
    }

    /// What is sent where there is no copy: the fault may be our disk's, which passes or does not, or the image's own.
    fn failed(
        &self,
        item: &Item,
        checked: Checked,
        accepts: &Accepts,
        error: TranscodeError,
    ) -> Result<Outgoing, Unprepared> {
        match error {
            TranscodeError::Source(io) => {
                self.metrics.made(Outcome::Source);
                Err(ours(&io))
            }
            TranscodeError::Cache(_) => {
                self.metrics.made(Outcome::Cache);
                Err(Unprepared::Later(error.to_string()))
            }
            TranscodeError::Pixels(_) | TranscodeError::TooLarge(_) | TranscodeError::Panicked => {
                self.instead(item, checked, accepts, &error)
            }
        }
    }

    /// Says what became of the wish for grey, where there was one and the image is in colour.
    fn count_grey(&self, subject: &Subject, recipe: &Recipe, grey: bool) {
        match recipe.grey {
            Grey::Within(_) if grey => self.metrics.greyed(Greyed::Converted),
            Grey::Within(_) => self.metrics.greyed(Greyed::Colour),
            Grey::Never => self.count_veto(subject),
        }
    }

    fn count_veto(&self, subject: &Subject) {
        if self.wish.monochrome == Monochrome::BModeOnly
            && let Content::Image(image) = &subject.content
        {
            match image.veto {
                Some(Veto::Region) => self.metrics.greyed(Greyed::RegionVeto),
                Some(Veto::ImageType) => self.metrics.greyed(Greyed::ImageTypeVeto),
                None => {}
            }
        }
    }
}

/// What it means that our own copy cannot be read.
fn ours(error: &io::Error) -> Unprepared {
    match spool_error(error) {
        Some(BlobError::Io(io)) if platform::is_out_of_descriptors(io) => {
            Unprepared::Later(error.to_string())
        }
        Some(spool) => Unprepared::Spool(spool.to_string()),
        None => Unprepared::Spool(error.to_string()),
    }
}

fn outcome(error: &TranscodeError) -> Outcome {
    match error {
        TranscodeError::Pixels(_) => Outcome::Pixels,
        TranscodeError::TooLarge(_) => Outcome::TooLarge,
        TranscodeError::Panicked => Outcome::Panicked,
        TranscodeError::Source(_) => Outcome::Source,
        TranscodeError::Cache(_) => Outcome::Cache,
    }
}
