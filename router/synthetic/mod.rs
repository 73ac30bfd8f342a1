//! Studies of patients who do not exist: synthetic ultrasound as DICOM, to try a way to an archive with before real patients
//! depend on it, and to load a node with.
//!
//! ```text
//!  Recipe ──► Factory ──► TestStudy ──► TestInstance ──► data set, or Part 10 file
//!    │           │
//!    │           └── films: a few frames of each picture, drawn and encoded once, shared by everything
//!    └── seed, mix of studies, cart (what its stills and loops are encoded as)
//! ```
//!
//! A data set is a header of its own followed by frames that all instances share, so that a loop of 60 frames and 130 MB is a
//! few kilobytes, and what it costs to make one is its SHA-256. Everything follows from the seed; there is no clock in it.

mod cart;
mod element;
mod factory;
mod film;
mod header;
mod identity;
mod instance;
mod samples;
mod study;

pub use cart::{CARTS, Cart, Coding, Form, Pixels};
pub use factory::{Factory, FactoryError, Recipe};
pub use instance::TestInstance;
pub use study::TestStudy;
