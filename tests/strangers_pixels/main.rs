//! Pixels of every kind through the built program, as other people's programs then see them: DCMTK, gdcm and dicom3tools.
//!
//! What is right is decided by them. Where a source has to be decoded to be compared, one of them decodes it as well, so
//! that a mistake that our decoders and encoders share is seen. What is only looked up, such as an attribute of a copy, is
//! read with the project's own reader, whose results are compared with theirs elsewhere.
#![allow(clippy::unwrap_used, reason = "what cannot go on here fails the test that called it")]
#![allow(unreachable_pub, reason = "modules of a test binary, with no public interface to narrow")]

#[path = "../support/mod.rs"]
mod support;

mod file;
mod program;
mod samples;
mod tools;

mod grey;
mod implicit;
mod lossless;
mod lossy;
mod matrix;
