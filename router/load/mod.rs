//! A load test: carts that send test patients' studies at a rate, a PACS that takes what comes, and an account of every
//! instance by hash.

pub mod report;
