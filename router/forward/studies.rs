//! Which study is on which association of a destination, where an association carries one study only and a study is on
//! one association at a time.
//!
//! The queue keeps two workers from leasing one study at once. That is not enough: an association stays open for a while
//! when nothing is leased any more, and another worker may lease what comes of its study then. So each association holds
//! a claim on its study until it is closed.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrysalis_queue::LeaseRequest;

/// The studies that associations to one destination hold. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims(Arc<Mutex<HashSet<String>>>);

/// The study that one association holds, if it does.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Claims,
    held: Option<String>,
    /// Another association holds this one: something else first.
    elsewhere: Option<String>,
}

/// Another association holds the study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another association carries this study")]
pub(super) struct Elsewhere;

impl Claims {
    /// A claim that holds nothing yet.
    pub(super) fn claim(&self) -> Claim {
        Claim { claims: self.clone(), held: None, elsewhere: None }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Asks for more of the study that is held, and for nothing that somebody else is sending.
    pub(super) fn narrow(&self, request: &mut LeaseRequest) {
        request.alone = true;
        request.prefer = self.held.clone();
        request.avoid = request.avoid.take().or_else(|| self.elsewhere.clone());
    }

    /// Whether this study is held here.
    pub(super) fn holds(&self, study: &str) -> bool {
        self.held.as_deref() == Some(study)
    }

    /// Holds a study in place of the one before, of which no association may be open any more.
    ///
    /// # Errors
    /// [`Elsewhere`]; nothing is held then.
    pub(super) fn take(&mut self, study: &str) -> Result<(), Elsewhere> {
        if self.holds(study) {
            return Ok(());
        }
        self.give_back();
        if self.claims.lock().insert(study.to_owned()) {
            self.held = Some(study.to_owned());
            self.elsewhere = None;
            Ok(())
        } else {
            self.elsewhere = Some(study.to_owned());
            Err(Elsewhere)
        }
    }

    /// Holds nothing any more: the association is closed.
    pub(super) fn give_back(&mut self) {
        if let Some(study) = self.held.take() {
            self.claims.lock().remove(&study);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::{Claims, Elsewhere};
    use chrysalis_queue::LeaseRequest;

    #[test]
    fn a_study_is_held_by_one_association_until_that_is_closed() {
        let claims = Claims::default();
        let (mut one, mut two) = (claims.claim(), claims.claim());
        assert_eq!(one.take("a"), Ok(()));
        assert_eq!(one.take("a"), Ok(()));
        assert_eq!(two.take("a"), Err(Elsewhere));
        assert_eq!(two.take("b"), Ok(()));
        one.give_back();
        assert_eq!(two.take("a"), Ok(()));
        assert_eq!(one.take("b"), Ok(()), "what was held before is free");
        drop(two);
        assert_eq!(one.take("a"), Ok(()));
    }

    #[test]
    fn more_of_the_held_study_is_asked_for_first_and_what_is_held_elsewhere_last() {
        let claims = Claims::default();
        let (mut one, mut two) = (claims.claim(), claims.claim());
        one.take("a").unwrap();
        let mut request = LeaseRequest::default();
        one.narrow(&mut request);
        assert_eq!((request.alone, request.prefer.as_deref(), request.avoid), (true, Some("a"), None));
        two.take("a").unwrap_err();
        let mut request = LeaseRequest::default();
        two.narrow(&mut request);
        assert_eq!((request.prefer, request.avoid.as_deref()), (None, Some("a")));
        let mut probe = LeaseRequest { avoid: Some("ill".into()), ..LeaseRequest::default() };
        two.narrow(&mut probe);
        assert_eq!(probe.avoid.as_deref(), Some("ill"), "a probe knows better");
    }
}
