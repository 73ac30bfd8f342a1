//! Chrysalis: a store-and-forward DICOM router for ultrasound.

pub mod route;

pub mod dicom;
pub mod dimse;

pub mod cli;
pub mod config;
pub mod platform;
