//! Every key a configuration file may contain, described once.
//!
//! The reader refuses what is not in this table and names what is; the manual's tables are checked against it.

use super::afar::AFAR;

/// One key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The table it stands in, dotted: `listener.timeouts`. Empty where it stands in none, before all of them.
    pub section: &'static str,
    /// Its name in that table.
    pub name: &'static str,
    /// What holds when it is left out, as it would be written; `required` where it may not be.
    pub default: &'static str,
    /// What it may be.
    pub range: &'static str,
    /// What it does.
    pub about: &'static str,
}

impl Key {
    /// The key as errors name it: `listener.timeouts.idle`.
    pub fn dotted(&self) -> String {
        if self.section.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.section, self.name) }
    }

    /// Whether a text is what it wants, rather than a number, a list or a table.
    pub(super) fn takes_text(&self) -> bool {
        let structured = self.range.starts_with("list of") || self.range == "table";
        let plain = self.default.parse::<f64>().is_ok() || self.default.parse::<bool>().is_ok();
        !structured && !plain && !self.takes_number()
    }

    /// Whether its range is one of plain numbers, whatever is said of its default.
    fn takes_number(&self) -> bool {
        self.range
            .split_once("..")
            .is_some_and(|(low, high)| low.parse::<u64>().is_ok() && high.parse::<u64>().is_ok())
    }

    /// Whether a gateway may set it at a link that lets it.
    pub fn may_come_from_afar(&self) -> bool {
        AFAR.iter().any(|(section, keys)| *section == self.section && keys.contains(&self.name))
    }

    /// Its row in the manual: key, meaning, default, range.
    pub fn row(&self) -> String {
        let default = match self.default {
            "required" | "any" | "none" | "one per core" | "two per worker" => self.default.to_owned(),
            value => format!("`{value}`"),
        };
        format!("| `{}` | {} | {default} | {} |", self.name, self.about, self.range)
    }
}

/// The keys that may stand in `section`.
pub(super) fn names_in(section: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter(move |key| key.section == section).map(|key| key.name)
}

/// The keys and tables that may stand at the top of the file.
pub(super) fn top_level() -> Vec<&'static str> {
    let tables = KEYS.iter().map(|key| key.section);
    let tables = tables.filter(|section| !section.is_empty() && !section.contains('.'));
    let mut names: Vec<_> = names_in("").chain(tables).collect();
    names.dedup();
    names
}

/// Whether there may be several tables of this section: `[[listener]]`, or a list of tables in one line.
pub(super) fn is_list(section: &str) -> bool {
    let inline = KEYS.iter().find(|key| key.dotted() == section);
    inline.map_or(["listener", "relay", "destination", "route"].contains(&section), |key| {
        key.range == "list of tables"
    })
}

const fn key(
    section: &'static str,
    name: &'static str,
    default: &'static str,
    range: &'static str,
    about: &'static str,
) -> Key {
    Key { section, name, default, range, about }
}

/// The whole configuration, in the order of the manual.
pub const KEYS: &[Key] = &[
    key(
        "",
        "profile",
        "none",
        "`auto`, `link-only`, `minimum`, `medium`, `high`",
        "The machine of the sizing table that this node is set up for: [Sizing](SIZING.md). `auto` is the largest that this host has the machine for.",
    ),
    key(
        "node",
        "ae_title",
        "\"CHRYSALIS\"",
        "AE title",
        "This node's own title. Destinations are called with it unless they say otherwise.",
    ),
    key(
        "node",
        "data_dir",
        "\"./chrysalis-data\"",
        "path, not `/`",
        "Where the spool, its journals, the index and the admin token are kept. Must be writable.",
    ),
    key(
        "node",
        "grace",
        "\"30s\"",
        "0s..1h",
        "How long a stop waits for transfers under way before it cuts them off.",
    ),
    key("listener", "name", "required", "name", "Routes, logs and metrics name the listener by this."),
    key(
        "listener",
        "kind",
        "\"dicom\"",
        "`dicom`, `tunnel`",
        "Whether carts call it with DICOM, or links through the tunnel: then this node is their gateway.",
    ),
    key(
        "listener",
        "address",
        "required",
        "IP address and port",
        "Where carts connect to. `0.0.0.0:11112` is every interface.",
    ),
    key("listener", "called_ae", "any", "list of AE titles", "Accept only calls to one of these titles."),
    key(
        "listener",
        "calling_ae",
        "any",
        "list of AE titles",
        "Accept only callers with one of these titles.",
    ),
    key(
        "listener",
        "allow",
        "any",
        "list of networks",
        "Accept connections from these networks or addresses only.",
    ),
    key(
        "listener",
        "trusted_proxies",
        "none",
        "list of networks",
        "Load balancers whose connections begin with a PROXY protocol header (version 1 or 2) and count as those of the address in it.",
    ),
    key("listener", "max_associations", "256", "1..65535", "Associations open at once, in total."),
    key("listener", "max_per_address", "16", "1..65535", "Associations open at once from one address."),
    key(
        "listener",
        "per_network",
        "[]",
        "list of tables",
        "Other limits for whole networks, for a ward behind one NAT address. The narrowest network that fits decides.",
    ),
    key("listener", "max_pdu", "\"128KiB\"", "4KiB..16MiB", "The largest PDU that peers may send."),
    key("listener", "max_data_set", "\"4GiB\"", "1KiB..1TiB", "The largest data set that is taken."),
    key(
        "listener",
        "malformed",
        "\"accept\"",
        "`accept`, `refuse`",
        "Data sets whose structure is odd but complete: stored and passed on untouched, or answered C000.",
    ),
    key(
        "listener",
        "sop_class_mismatch",
        "\"refuse\"",
        "`accept`, `refuse`",
        "Data sets whose SOP class is not that of the C-STORE command: stored with a warning, or answered A900.",
    ),
    key(
        "listener",
        "sop_classes",
        "any",
        "list of UIDs",
        "Accept these abstract syntaxes only, instead of every storage class, private ones included.",
    ),
    key(
        "listener",
        "transfer_syntaxes",
        "[]",
        "list of UIDs",
        "Private transfer syntaxes to accept in addition to the registered ones.",
    ),
    key("listener", "tunnel", "{}", "table", "`tunnel` only. The gateway's own settings."),
    key("listener", "timeouts", "{}", "table", "How long a peer may be silent."),
    key(
        "listener",
        "user_identity",
        "any",
        "list of tables",
        "Accept only callers that present one of these user names. Plain DICOM sends passcodes unencrypted.",
    ),
    key(
        "listener",
        "tls",
        "none",
        "table",
        "TLS for those who call. Without it this is plain DICOM: Unsecured.",
    ),
    key(
        "listener.timeouts",
        "request",
        "\"30s\"",
        "1ms..24h",
        "From the connection to the end of the association request (ARTIM).",
    ),
    key(
        "listener.timeouts",
        "idle",
        "\"300s\"",
        "1ms..24h",
        "Silence after which an open association is aborted.",
    ),
    key(
        "listener.per_network",
        "network",
        "required",
        "network",
        "The network that is counted as one, such as `10.1.0.0/16`.",
    ),
    key("listener.per_network", "max", "required", "1..65535", "Associations open at once from all of it."),
    key("listener.user_identity", "username", "required", "text", "The user name that a caller presents."),
    key(
        "listener.user_identity",
        "passcode",
        "none",
        "text",
        "The passcode that must go with it. Never logged.",
    ),
    key("listener.tunnel", "path", "\"/tunnel\"", "path of a URL", "The path of the WebSocket."),
    key(
        "listener.tunnel",
        "window",
        "\"1MiB\"",
        "64KiB..64MiB",
        "Bytes of one stream that wait here at most; a link sends no more before they are written.",
    ),
    key(
        "listener.tunnel",
        "session_window",
        "\"4MiB\"",
        "64KiB..1GiB",
        "Bytes of all streams of one link that wait here at most.",
    ),
    key("listener.tunnel", "streams", "64", "1..1024", "Streams that a link has open at once."),
    key(
        "listener.tunnel",
        "keepalive",
        "\"15s\"",
        "100ms..10m",
        "Each side says something as often; three times as long without a word ends a session.",
    ),
    key(
        "listener.tunnel",
        "max_failures",
        "10",
        "1..10000",
        "Failed hellos a minute from one address, after which it is answered 429.",
    ),
    key(
        "listener.tunnel",
        "partials",
        "64",
        "0..4096",
        "Instances that are kept in part after a connection was cut, so that the link goes on with them.",
    ),
    key("listener.tunnel", "partial_bytes", "\"8GiB\"", "0..1PiB", "Their bytes."),
    key("listener.tunnel", "partial_age", "\"1h\"", "1ms..24h", "How long each waits for that."),
    key(
        "listener.tls",
        "certificate",
        "required",
        "path",
        "The certificate, and after it those of its authorities: PEM or DER.",
    ),
    key(
        "listener.tls",
        "key",
        "required",
        "path",
        "Its private key, without a passphrase: PEM or DER. Readable by the service only.",
    ),
    key(
        "listener.tls",
        "client",
        "\"none\"",
        "`none`, `optional`, `required`",
        "Whether callers show a certificate. One that is shown has to be good.",
    ),
    key("listener.tls", "ca", "none", "path", "The authorities of callers' certificates."),
    key(
        "listener.tls",
        "min_version",
        "\"1.2\"",
        "`1.2`, `1.3`",
        "The oldest version of TLS that is spoken. There is nothing older than 1.2.",
    ),
    key("listener.tls", "handshake", "\"10s\"", "1ms..24h", "How long a handshake may take."),
    key(
        "listener.tls",
        "identity",
        "[]",
        "list of tables",
        "Which calling AE titles belong to whose certificate. Nobody else may use them, at any listener (1/1/3), and it may use no others.",
    ),
    key(
        "listener.tls.identity",
        "san",
        "none",
        "text",
        "The certificate that has this subject alternative name, of the type that its form tells: an address, a URI (with a colon), an e-mail address (with an @), or else a host name.",
    ),
    key(
        "listener.tls.identity",
        "subject",
        "none",
        "text",
        "The certificate of this subject, as `chrysalis cert show` writes it (escaped as in RFC 4514); without an equals sign, the one with this common name and no other.",
    ),
    key(
        "listener.tls.identity",
        "pin",
        "none",
        "pin",
        "The certificate with this key, which needs no authority and may be X.509 v1.",
    ),
    key("listener.tls.identity", "calling_ae", "required", "list of AE titles", "The titles."),
    key("relay", "name", "required", "name", "Logs and metrics name the relay by this."),
    key("relay", "listen", "required", "IP address and port", "Where callers connect to."),
    key("relay", "connect", "required", "host:port", "The service that each connection is handed on to."),
    key("relay", "tls", "none", "table", "TLS with callers, as for listeners; plain without it."),
    key(
        "relay",
        "connect_tls",
        "none",
        "table",
        "TLS with the service, as for destinations; plain without it.",
    ),
    key(
        "relay",
        "allow",
        "any",
        "list of networks",
        "Accept connections from these networks or addresses only.",
    ),
    key(
        "relay",
        "trusted_proxies",
        "none",
        "list of networks",
        "Load balancers whose connections begin with a PROXY protocol header, as for listeners.",
    ),
    key("relay", "max_connections", "64", "1..65535", "Connections open at once."),
    key(
        "relay",
        "max_per_address",
        "16",
        "1..65535",
        "Connections open at once from one address, of those behind a trusted proxy from the address that it names.",
    ),
    key("relay", "timeouts", "{}", "table", "How long things may take."),
    key(
        "relay.timeouts",
        "connect",
        "\"10s\"",
        "1ms..24h",
        "For the service to accept, TLS with it included; and for the header of a trusted proxy.",
    ),
    key(
        "relay.timeouts",
        "idle",
        "\"1h\"",
        "1ms..24h",
        "Silence of both sides after which a connection is closed.",
    ),
    key(
        "relay.tls",
        "certificate",
        "required",
        "path",
        "The certificate, and after it those of its authorities: PEM or DER.",
    ),
    key(
        "relay.tls",
        "key",
        "required",
        "path",
        "Its private key, without a passphrase: PEM or DER. Readable by the service only.",
    ),
    key(
        "relay.tls",
        "client",
        "\"none\"",
        "`none`, `optional`, `required`",
        "Whether callers show a certificate. One that is shown has to be good.",
    ),
    key("relay.tls", "ca", "none", "path", "The authorities of callers' certificates."),
    key(
        "relay.tls",
        "min_version",
        "\"1.2\"",
        "`1.2`, `1.3`",
        "The oldest version of TLS that is spoken. There is nothing older than 1.2.",
    ),
    key("relay.tls", "handshake", "\"10s\"", "1ms..24h", "How long a handshake may take."),
    key(
        "relay.connect_tls",
        "verify",
        "\"ca\"",
        "`ca`, `pin`, `none`",
        "Whom to believe: certificates from authorities for the right name, certain keys, or whoever answers (Unsecured).",
    ),
    key(
        "relay.connect_tls",
        "ca",
        "none",
        "path",
        "For `ca`. The authorities; without it, those that this system trusts.",
    ),
    key(
        "relay.connect_tls",
        "pins",
        "[]",
        "list of pins",
        "For `pin`: the keys, such as those in use and to come. For `ca`: the certificate has to have one of them besides.",
    ),
    key(
        "relay.connect_tls",
        "certificate",
        "none",
        "path",
        "The certificate to show, if the service asks for one, and after it those of its authorities.",
    ),
    key("relay.connect_tls", "key", "none", "path", "Its private key."),
    key(
        "relay.connect_tls",
        "server_name",
        "none",
        "text",
        "The name that the certificate has to be for, where that is not the host of `connect`.",
    ),
    key(
        "queue",
        "retain",
        "\"72h\"",
        "0s..3650d",
        "How long a delivered payload is kept. Evicted earlier when space is needed.",
    ),
    key("queue", "ledger", "\"90d\"", "0s..3650d", "How long outcomes are kept after the payload is gone."),
    key(
        "queue",
        "reserve",
        "\"256MiB\"",
        "1MiB..1TiB",
        "Set aside at start, so that a full disk can still record what frees it.",
    ),
    key(
        "queue",
        "high_watermark",
        "\"90%\"",
        "1%..100%",
        "Share of the file system, as `df` shows it, above which delivered payloads are evicted, and then nothing more is accepted.",
    ),
    key(
        "destination",
        "name",
        "required",
        "name, not `none`",
        "Routes, deliveries, logs and metrics name the destination by this.",
    ),
    key(
        "destination",
        "kind",
        "required",
        "`dicom`, `folder`, `dicomweb`, `tunnel`, `site`",
        "A storage SCP such as a PACS, a directory tree, a DICOMweb server (STOW-RS), a gateway through the tunnel, or, at a gateway, a destination of a link.",
    ),
    key(
        "destination",
        "address",
        "required",
        "host:port",
        "`dicom` only. A host name or an IP address, and a port 1..65535.",
    ),
    key("destination", "called_ae", "required", "AE title", "`dicom` only. The title of the destination."),
    key(
        "destination",
        "calling_ae",
        "node.ae_title",
        "AE title, `passthrough`",
        "`dicom` only. The title to call with; `passthrough` is the one the cart used.",
    ),
    key("destination", "timeouts", "{}", "table", "Not for `folder`. How long the destination may take."),
    key(
        "destination",
        "max_associations",
        "1",
        "1..64",
        "`dicom` and `site`. Associations open to it at once; as many more are opened by a link for its gateway.",
    ),
    key(
        "destination",
        "one_study_per_association",
        "false",
        "`true`, `false`",
        "`dicom` only. An association carries one study only, and a study is on one association at a time.",
    ),
    key(
        "destination",
        "max_pdu",
        "\"128KiB\"",
        "4KiB..16MiB",
        "`dicom` only. The largest PDU sent; the peer's own limit is obeyed.",
    ),
    key(
        "destination",
        "tls",
        "none",
        "table",
        "`dicom` and `dicomweb`. TLS to the destination. Without it `dicom` is plain, Unsecured; an https URL is verified by the authorities of the system.",
    ),
    key(
        "destination",
        "url",
        "required",
        "URL",
        "`dicomweb`: the http or https URL of the service, or of its `/studies`. `tunnel`: where the gateway is, `wss://host[:port]/path`; `ws://` on this very machine only.",
    ),
    key(
        "destination",
        "site",
        "required",
        "site name",
        "`tunnel` and `site`. The name that the gateway knows the link's site by.",
    ),
    key(
        "destination",
        "endpoint",
        "required",
        "name",
        "`site` only. The destination's name at the link, which has it among its `endpoints`.",
    ),
    key(
        "destination",
        "code_file",
        "none",
        "path",
        "`tunnel` only. The file with the site's code, as `chrysalis site add` prints it at the gateway; mode 0600. Required without `code_env`.",
    ),
    key(
        "destination",
        "code_env",
        "none",
        "text",
        "`tunnel` only. The variable of the environment with the site's code.",
    ),
    key(
        "destination",
        "pins",
        "[]",
        "list of pins",
        "`tunnel` only. The keys that the gateway's certificate may have, the one in use and a spare one: two or more.",
    ),
    key(
        "destination",
        "ca",
        "none",
        "path",
        "`tunnel` only. The authorities of the gateway's certificate; without it those that the system trusts.",
    ),
    key("destination", "proxy", "none", "host:port", "`tunnel` only. An HTTP proxy to go through (CONNECT)."),
    key(
        "destination",
        "proxy_user",
        "none",
        "text without `:`",
        "`tunnel` only. Our user at the proxy, with one of the two that follow (basic authentication, RFC 7617).",
    ),
    key(
        "destination",
        "proxy_password_file",
        "none",
        "path",
        "`tunnel` only. The file with that user's password, which nobody else may read. Read again for each connection.",
    ),
    key(
        "destination",
        "proxy_password_variable",
        "none",
        "name",
        "`tunnel` only. The same in a variable of the environment.",
    ),
    key("destination", "uploads", "4", "1..32", "`tunnel` only. Instances that are on their way at once."),
    key(
        "destination",
        "endpoints",
        "[]",
        "list of destinations",
        "`tunnel` only. The destinations of kind `dicom` here that the gateway may echo and push to. None, unless this says so.",
    ),
    key(
        "destination",
        "remote_configuration",
        "false",
        "`true`, `false`",
        "`tunnel` only. Whether the gateway may set some of this node's configuration: [Configuration from the gateway](#configuration-from-the-gateway).",
    ),
    key(
        "destination",
        "remote_probation",
        "\"2m\"",
        "1s..1h",
        "`tunnel` only. How long a configuration from there may take to show that the gateway is still reached; else the one before returns.",
    ),
    key("destination", "path", "required", "path, not `/`", "`folder` only. The root of the directory tree."),
    key(
        "destination",
        "token_file",
        "none",
        "path",
        "`dicomweb` only. The file with the bearer token, which nobody else may read. Read again for each request.",
    ),
    key(
        "destination",
        "token_variable",
        "none",
        "name of a variable",
        "`dicomweb` only. The variable of the environment that has the bearer token, instead of a file.",
    ),
    key(
        "destination",
        "user",
        "none",
        "text without `:`",
        "`dicomweb` only. The user of HTTP's basic authentication, with one of the two that follow.",
    ),
    key(
        "destination",
        "password_file",
        "none",
        "path",
        "`dicomweb` only. The file with the user's password, which nobody else may read. Read again for each request.",
    ),
    key(
        "destination",
        "password_variable",
        "none",
        "name of a variable",
        "`dicomweb` only. The variable of the environment that has the user's password, instead of a file.",
    ),
    key(
        "destination",
        "max_request",
        "\"16MiB\"",
        "1KiB..4GiB",
        "`dicomweb` only. Bytes of data sets in one request. A larger object has a request for itself.",
    ),
    key(
        "destination",
        "max_request_instances",
        "32",
        "1..64",
        "`dicomweb` only. Instances in one request, all of one study.",
    ),
    key("destination", "max_connections", "1", "1..16", "`dicomweb` only. Requests under way at once."),
    key(
        "destination",
        "study_quiet",
        "\"0s\"",
        "0s..24h",
        "A study is sent when nothing has come of it for so long. A restart counts as if something had just come.",
    ),
    key(
        "destination",
        "image",
        "\"as-received\"",
        "`as-received`, `uncompressed`, `jpeg-lossless`, `jpeg-lossy`",
        "How images of one frame are sent.",
    ),
    key(
        "destination",
        "loop",
        "\"as-received\"",
        "`as-received`, `uncompressed`, `jpeg-lossless`, `jpeg-lossy`",
        "How loops, images of several frames, are sent.",
    ),
    key("destination", "image_quality", "90", "1..100", "The quality of images under `jpeg-lossy`."),
    key("destination", "loop_quality", "90", "1..100", "The quality of loops under `jpeg-lossy`."),
    key(
        "destination",
        "monochrome",
        "\"never\"",
        "`never`, `b-mode-only`",
        "Colour images in which not one pixel of any frame has a colour are sent as grey ones, or are not.",
    ),
    key(
        "destination",
        "lossy_source",
        "\"keep\"",
        "`keep`, `force`",
        "What came compressed with loss is never compressed again, or is.",
    ),
    key(
        "destination",
        "lossy_uid",
        "\"new\"",
        "`new`, `keep`",
        "The SOP Instance UID of what is compressed with loss here: one of its own, as DICOM demands, or that of the original.",
    ),
    key("destination", "backoff", "{}", "table", "The pauses between attempts."),
    key("destination.timeouts", "connect", "\"300s\"", "1ms..24h", "To accept the connection."),
    key(
        "destination.timeouts",
        "transfer",
        "\"300s\"",
        "1ms..24h",
        "`dicomweb` only. To take the next bytes of a request.",
    ),
    key(
        "destination.timeouts",
        "answer",
        "\"300s\"",
        "1ms..24h",
        "`dicomweb` only. To answer when the request is complete.",
    ),
    key(
        "destination.timeouts",
        "acse",
        "\"300s\"",
        "1ms..24h",
        "`dicom` only. To answer an association or release request.",
    ),
    key(
        "destination.timeouts",
        "dimse",
        "\"300s\"",
        "1ms..24h",
        "`dicom` only. To take more of a message, and then to answer it whole.",
    ),
    key(
        "destination.tls",
        "verify",
        "\"ca\"",
        "`ca`, `pin`, `none`",
        "Whom to believe: certificates from authorities for the right name, certain keys, or whoever answers (Unsecured).",
    ),
    key(
        "destination.tls",
        "ca",
        "none",
        "path",
        "For `ca`. The authorities; without it, those that this system trusts.",
    ),
    key(
        "destination.tls",
        "pins",
        "[]",
        "list of pins",
        "For `pin`: the keys, such as those in use and to come. For `ca`: the certificate has to have one of them besides.",
    ),
    key(
        "destination.tls",
        "certificate",
        "none",
        "path",
        "The certificate to show, if the destination asks for one, and after it those of its authorities.",
    ),
    key("destination.tls", "key", "none", "path", "Its private key."),
    key(
        "destination.tls",
        "server_name",
        "none",
        "text",
        "The name that the certificate has to be for, where that is not the host of `address` or `url`. Under `pin`, no name is looked at unless this is given.",
    ),
    key(
        "destination.backoff",
        "first",
        "\"5s\"",
        "1ms..24h",
        "The pause after the first failure. It doubles with each further one.",
    ),
    key("destination.backoff", "max", "\"5m\"", "1ms..24h", "The longest pause; not shorter than `first`."),
    key(
        "routing",
        "match",
        "\"all\"",
        "`all`, `first`",
        "Which of the rules that match decide: all of them together, or the first in the file.",
    ),
    key(
        "routing",
        "on_no_route",
        "\"hold\"",
        "`hold`, `refuse`",
        "What becomes of an instance that no rule matches: kept and held, or answered 0124 and not stored.",
    ),
    key(
        "route",
        "name",
        "none",
        "text, at most 64 characters",
        "What the rule is called in the queue and by `chrysalis route`; its place, such as `route 3`, where it has no name.",
    ),
    key(
        "route",
        "when",
        "{}",
        "table or expression",
        "What must hold for the rule to apply. Without it the rule always does.",
    ),
    key(
        "route",
        "action",
        "\"send\"",
        "`send`, `hold`, `drop`",
        "What becomes of the instance: sent to `to`, held there until released, or stored and given up.",
    ),
    key(
        "route",
        "to",
        "required",
        "list of destinations",
        "Where the instance goes. May be left out to hold it without a destination; must be, to drop it.",
    ),
    key("route.when", "listener", "any", "listener names or patterns", "It came in by one of these."),
    key("route.when", "calling_ae", "any", "AE titles or patterns", "The caller's title is one of these."),
    key(
        "route.when",
        "called_ae",
        "any",
        "AE titles or patterns",
        "The title that the caller called us by is one of these.",
    ),
    key(
        "route.when",
        "source",
        "any",
        "addresses or networks",
        "The caller's address is one of these, or in one of these networks.",
    ),
    key(
        "route.when",
        "site",
        "any",
        "site names or patterns",
        "It came through the tunnel from the link of one of these sites.",
    ),
    key("route.when", "modality", "any", "texts or patterns", "Modality (0008,0060) is one of these."),
    key(
        "route.when",
        "sop_class",
        "any",
        "UIDs or keywords",
        "The SOP class is one of these: a UID, a pattern of one, or a keyword such as `UltrasoundImageStorage`.",
    ),
    key(
        "route.when",
        "station_name",
        "any",
        "texts or patterns",
        "Station Name (0008,1010) is one of these.",
    ),
    key(
        "route.when",
        "institution",
        "any",
        "texts or patterns",
        "Institution Name (0008,0080) is one of these.",
    ),
    key("route.when", "any", "none", "list of conditions", "At least one of these holds."),
    key("route.when", "all", "none", "list of conditions", "Every one of these holds."),
    key("route.when", "not", "none", "condition", "This does not hold."),
    key("transcode", "workers", "one per core", "1..256", "Threads that decode and encode frames."),
    key(
        "transcode",
        "frames_in_flight",
        "two per worker",
        "1..1024",
        "Frames that are in memory at once, of all copies that are made.",
    ),
    key(
        "transcode",
        "cache",
        "\"512MiB\"",
        "0..1TiB",
        "Disk for copies, so that destinations which want the same share one, taken in advance: at start where a destination may want copies (`dicom`, `dicomweb`, `site`, or any with compression), else with the first copy. What is larger is made while it is sent; `0` takes none.",
    ),
    key(
        "transcode",
        "compare",
        "true",
        "`true`, `false`",
        "Decode each frame that was encoded without loss and compare it, before it is sent.",
    ),
    key(
        "admin",
        "address",
        "\"127.0.0.1:8080\"",
        "IP address and port",
        "Where the HTTP side listens: metrics, health, API.",
    ),
    key("log", "format", "\"human\"", "`human`, `json`", "How log lines are written."),
    key(
        "log",
        "level",
        "\"info\"",
        "`error`, `warn`, `info`, `debug`, `trace`",
        "The least important lines that are written.",
    ),
];
