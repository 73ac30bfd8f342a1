//! Chrysalis: a store-and-forward DICOM router for ultrasound.

pub mod route;

pub mod cli;
pub mod config;
