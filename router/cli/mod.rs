//! One file per subcommand: what was typed becomes calls into the library.

pub mod echo;
pub mod send;
