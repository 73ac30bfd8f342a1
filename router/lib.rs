//! Chrysalis: a store-and-forward DICOM router for ultrasound.

pub mod cli;
pub mod dicom;
pub mod dimse;
pub mod platform;
