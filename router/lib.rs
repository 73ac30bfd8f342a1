//! Chrysalis: a store-and-forward DICOM router for ultrasound.
//!
//! ```text
//!  cart ── C-STORE ──► receive ──► queue ──► transcode ──► forward ──► PACS, folder, gateway
//!  link ── tunnel ──────┘            ▲    (as it is wanted)    │
//!                         │          │                         │
//!                       route        │                      verdict
//!                   (to whom it is owed)          (what an attempt's end means)
//! ```
//!
//! Modules stand in the order in which an instance meets them; after them what they are made of.

pub mod receive;
pub mod route;

pub mod transcode;

pub mod forward;
pub mod tunnel;

pub mod relay;

pub mod app;
pub mod control;

pub mod check;
pub mod echo;
pub mod load;

pub mod dicom;
pub mod dimse;

pub mod admin;
pub mod audit;
pub mod cert;
pub mod cli;
pub mod config;
pub mod metrics;
pub mod pauses;
pub mod platform;
pub mod synthetic;
pub mod tls;
