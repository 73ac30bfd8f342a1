//! Names that a configuration gives to things, each checked once when it is made.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A text that cannot be the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A name of a listener or destination must be usable as a metric label and in a command line.
    #[error("{0:?} is not a name: 1 to 64 letters, digits, '-', '_' or '.'")]
    Name(String),
    /// `none` stands for "no route" in the queue.
    #[error("\"none\" is reserved for instances that no route matches")]
    Reserved,
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                $check(text).map(|text| Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_type!(
    /// The name of a destination: 1 to 64 of `[A-Za-z0-9._-]`, and never `none`. Cheap to clone.
    DestinationName,
    destination_name
);
text_type!(
    /// The name of a listener: 1 to 64 of `[A-Za-z0-9._-]`. Cheap to clone.
    ListenerName,
    name
);
text_type!(
    /// The name of a relay: 1 to 64 of `[A-Za-z0-9._-]`. Cheap to clone.
    RelayName,
    name
);
impl DestinationName {
    /// The destination that stands for "no route"; no configuration can use it.
    pub const NONE: &'static str = "none";
}

fn name(text: &str) -> Result<&str, NameError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let good = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
    if good { Ok(text) } else { Err(NameError::Name(text.to_owned())) }
}

fn destination_name(text: &str) -> Result<&str, NameError> {
    if text == DestinationName::NONE { Err(NameError::Reserved) } else { name(text) }
}

#[cfg(test)]
mod tests {
    use super::{DestinationName, NameError};

    #[test]
    fn none_cannot_be_the_name_of_a_destination() {
        assert_eq!("none".parse::<DestinationName>(), Err(NameError::Reserved));
        assert!("None".parse::<DestinationName>().is_ok());
    }
}
