//! An instance becomes what its destination wants: looked at, planned and, where it has to be, copied.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use chrysalis_queue::{BlobError, Checked};

use super::carrier::Item;
use super::outgoing::{Effort, Outgoing};
use super::stored::{Stored, spool_error};
use super::verdict::End;
use crate::metrics::{Made as Outcome, Monochrome as Greyed, TranscodeMetrics};
use crate::platform;
use crate::transcode::{
    Accepts, Compression, Content, Engine, Grey, Loss, Monochrome, Plan, Recipe, Subject, SubjectError,
    TranscodeError, Veto, plan,
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
        let subject = match Subject::read(&*source, &item.transfer_syntax, item.soundness) {
            Ok(subject) => subject,
            Err(SubjectError(error)) => return Err(ours(&error)),
        };
        match plan(&subject, &self.wish, accepts) {
            Plan::PassThrough { why } => Ok(self.as_it_is(item, checked, &subject, &why)),
            Plan::Hold { why } => Err(Unprepared::Hold(why)),
            Plan::Transcode(recipe) => self.make(item, checked, source, &subject, &recipe, accepts),
        }
    }

    /// The original, and what there is to say if that is not what is wanted.
    fn as_it_is(&self, item: &Item, checked: Checked, subject: &Subject, why: &str) -> Outgoing {
        let wanted = match &subject.content {
            Content::Image(image) => self.wish.of(image).leaves(&subject.syntax),
            Content::NoPixels => true,
            Content::OtherPixels(_) | Content::Untouchable(_) => self.wish.is_as_received(),
        };
        let effort = Effort { grey: self.veto(subject), ..Effort::default() };
        if wanted {
            return Outgoing::original(item, checked).after(effort);
        }
        // What was lossy already is left alone on purpose.
        let fell_back = subject.image().is_none_or(|image| image.loss == Loss::None);
        Outgoing::original_after_all(item, checked, why).after(Effort { fell_back, ..effort })
    }

    fn make(
        &self,
        item: &Item,
        checked: Checked,
        source: Arc<Stored>,
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
                let effort = Effort { grey: self.grey(subject, recipe, made.grey), ..Effort::default() };
                // Nothing but grey was wanted, and there is a colour.
                if made.is_original() {
                    return Ok(Outgoing::original(item, checked).after(effort));
                }
                let effort = Effort { made: Some(Outcome::Made), took: begun.elapsed(), ..effort };
                Ok(Outgoing::copy(item, made).after(effort))
            }
            Err(error) => self.failed(item, checked, accepts, error),
        }
    }

    /// What is sent where there is no copy: the fault may be our disk's, which passes or does not, or the image's own.
    pub(super) fn failed(
        &self,
        item: &Item,
        checked: Checked,
        accepts: &Accepts,
        error: TranscodeError,
    ) -> Result<Outgoing, Unprepared> {
        let made = outcome(&error);
        match error {
            TranscodeError::Source(io) => {
                self.metrics.made(made);
                Err(ours(&io))
            }
            TranscodeError::Cache(_) => {
                self.metrics.made(made);
                Err(Unprepared::Later(error.to_string()))
            }
            TranscodeError::Pixels(_) | TranscodeError::TooLarge(_) | TranscodeError::Panicked => {
                if accepts.takes(&item.transfer_syntax) {
                    let effort = Effort { made: Some(made), fell_back: true, ..Effort::default() };
                    return Ok(Outgoing::original_after_all(item, checked, &error.to_string()).after(effort));
                }
                self.metrics.made(made);
                let stored = item.transfer_syntax.name();
                Err(Unprepared::Hold(format!("stored as {stored}, and no copy could be made: {error}")))
            }
        }
    }

    /// Counts what is sent now, and has a word about what is not sent as wanted.
    pub(super) fn count(&self, item: &Item, outgoing: &Outgoing) {
        let Effort { made, grey, took, fell_back } = outgoing.effort;
        if let Some(made) = made {
            self.metrics.made(made);
        }
        if made == Some(Outcome::Made) {
            self.metrics.copied(item.instance.payload_len(), outgoing.len(), took);
        }
        if let Some(decision) = grey {
            self.metrics.greyed(decision);
        }
        if fell_back {
            self.metrics.fell_back();
            let (destination, instance) = (self.metrics.destination(), item.instance.sequence);
            let why = outgoing.note().unwrap_or_default();
            tracing::warn!(destination, %instance, why, "The original is sent, because what is wanted cannot be made of it.");
        }
    }

    /// What became of the wish for grey, where there was one and the image is in colour.
    fn grey(&self, subject: &Subject, recipe: &Recipe, is_grey: bool) -> Option<Greyed> {
        match recipe.grey {
            Grey::Within(_) if is_grey => Some(Greyed::Converted),
            Grey::Within(_) => Some(Greyed::Colour),
            Grey::Never => self.veto(subject),
        }
    }

    fn veto(&self, subject: &Subject) -> Option<Greyed> {
        if self.wish.monochrome != Monochrome::BModeOnly {
            return None;
        }
        match subject.image()?.veto? {
            Veto::Region => Some(Greyed::RegionVeto),
            Veto::ImageType => Some(Greyed::ImageTypeVeto),
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
