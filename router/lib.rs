//! Chrysalis: a store-and-forward DICOM router for ultrasound.

pub mod config;
pub mod route;
