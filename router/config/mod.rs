//! The configuration: the file as it was written becomes the [`Config`] as it is meant.
//!
//! ```text
//! chrysalis.toml --file--> spanned values --read--> Config --check--> Config that holds together
//! from afar, environment, --set ─┘   every problem on the way is kept with its line, and all are reported at once
//! ```
//!
//! Nothing outside this folder sees a string where a type is meant: addresses, titles, durations and sizes
//! are parsed here once. Every key is described once, in [`KEYS`]; the reader takes the names it allows from
//! there, and so does the operator's manual.

mod advice;
mod afar;
mod changes;
mod check;
mod error;
mod file;
mod keys;
mod live;
mod load;
mod loader;
mod meaning;
mod names;
mod overrides;
mod places;
mod profile;
mod read;
mod read_tls;
mod relay;
mod route;
mod tls;
mod tunnel;
mod units;
mod web;

pub use advice::{Advice, title_questions};
pub use afar::{AFAR, MAX_AFAR_BYTES, Overlay, judge_afar};
pub use changes::{Changed, Changes, Parts, Renamed};
pub use error::{ConfigError, Place, Problem, Problems};
pub use keys::{KEYS, Key};
pub use live::Live;
pub use load::{DEFAULT_FILE, DEFAULT_TEXT, Loaded, MAX_FILE_BYTES, Origin, Sources};
pub use loader::Loader;
pub use meaning::{
    Admin, Backoff, CallingAe, Config, Destination, DestinationKind, DestinationTimeouts, DicomDestination,
    FolderDestination, HostPort, Leniency, Listener, ListenerTimeouts, Log, LogFormat, LogLevel, Match,
    NetworkLimit, Node, OnNoRoute, Passcode, Queue, RouteAction, RouteRule, Routing, Transcode, UserIdentity,
};
pub use names::{DestinationName, ListenerName, NameError, RelayName};
pub use overrides::{Override, OverrideError};
pub use profile::{ChosenBy, ChosenProfile};
pub use relay::{Relay, RelayTimeouts};
pub use tls::{CertificateIdentity, CertificateMatch, ClientAuth, ClientTls, ServerTls, TlsVersion, Verify};
pub use tunnel::{
    CodeSource, ListenerKind, SiteDestination, TunnelDestination, TunnelListener, TunnelUrl, TunnelUrlError,
};
pub use units::{Percent, UnitError};
pub(crate) use units::{duration, size, size_text};
pub use web::{SecretPlace, WebDestination, WebLogin, WebTimeouts, WebUrl, WebUrlError};
