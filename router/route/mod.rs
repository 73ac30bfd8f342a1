//! What becomes of an instance: a pure function of what is known about it and of the configuration.
//!
//! ```text
//! no rule configured        -> every destination
//! one or more rules match   -> with match = "all" their union, with "first" the first one's word:
//!                              send, hold, or drop where no other rule sends or holds
//! no rule matches           -> held under the reserved destination `none`, or refused
//! ```
//!
//! The decision is made before the commit and written with the instance, so that it survives whatever happens to
//! the index. It is made from facts alone: no clock, no state, no look at a destination's health.
//!
//! ```text
//! expression ("modality = ...")  ─┐
//!                                 ├─► condition ─► never (can it match at all?)
//! table ({ modality = [...] })   ─┘       │
//!                          facts ────► decide ─► decision
//! ```

pub mod condition;
mod decide;
pub mod expression;
mod facts;
mod field;
pub mod never;
mod stored;

pub use condition::{Condition, Operand, OperandError, Test};
pub use decide::{Decision, Found, Miss, Outcome, Owed, Routes};
pub use facts::{Facts, Header};
pub use field::{Field, FieldError};
pub use stored::{FactsError, StoredFacts, facts_of};
