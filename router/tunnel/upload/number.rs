//! Which numbers uploads have of which nobody knows what became of them.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrysalis_queue::Sequence;

use super::message::Number;
use crate::tunnel::code::{NoRandomness, random};

/// Uploads that are remembered. Beyond that, and after a restart, one whose answer was lost has another number: the gateway
/// takes it for sent again, and delivers it again.
const REMEMBERED: usize = 4096;

/// The numbers of the instances that were offered and not answered.
#[derive(Debug, Default)]
pub(crate) struct Numbers(Mutex<HashMap<Sequence, Number>>);

impl Numbers {
    /// That of an instance: a new one, unless it was offered before and nobody knows what became of that.
    ///
    /// # Errors
    /// [`NoRandomness`]
    pub(crate) fn of(&self, instance: Sequence) -> Result<Number, NoRandomness> {
        let mut numbers = self.lock();
        if let Some(number) = numbers.get(&instance) {
            return Ok(*number);
        }
        if numbers.len() >= REMEMBERED {
            numbers.clear();
        }
        let number = random()?;
        numbers.insert(instance, number);
        Ok(number)
    }

    /// It is known what became of it.
    pub(crate) fn settled(&self, instance: Sequence) {
        self.lock().remove(&instance);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Sequence, Number>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
