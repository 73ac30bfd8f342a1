//! What differs between two configurations, and what of it can be put in force while the program runs. Pure.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::meaning::{
    Admin, CallingAe, Config, Destination, DestinationKind, DicomDestination, FolderDestination, Listener,
    Log, Node, Queue, Transcode,
};
use super::relay::Relay;
use super::tunnel::{SiteDestination, TunnelDestination};
use super::web::{SecretPlace, WebDestination, WebLogin};
use crate::transcode::{Compression, Target};

/// What a reload changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Ports where carts call in.
    pub listeners: Parts,
    /// What is handed on byte for byte.
    pub relays: Parts,
    /// Where instances are sent.
    pub destinations: Parts,
    /// Destinations that were removed while another appeared with the same place and title. To us they are two: what is
    /// owed to the old name is held until that name returns.
    pub renamed: Vec<Renamed>,
    /// Instances may be routed otherwise from now on.
    pub routing: bool,
    /// Other keys that are put in force.
    pub keys: Vec<&'static str>,
    /// Keys whose change needs a restart; until then the running value stays in force.
    pub needs_restart: Vec<&'static str>,
}

/// Tables of one kind, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// Only in the new configuration.
    pub added: Vec<String>,
    /// Only in the old one.
    pub removed: Vec<String>,
    /// In both, and not the same.
    pub changed: Vec<Changed>,
}

/// A table that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Its name.
    pub name: String,
    /// Its keys that differ.
    pub keys: Vec<&'static str>,
}

/// One destination under another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Renamed {
    /// The name that is gone.
    pub from: String,
    /// The name that came.
    pub to: String,
}

/// The names of the fields that differ. Takes the value apart whole, so that a new field cannot be forgotten here.
macro_rules! differing {
    ($of:ident, $old:expr, $new:expr, [$($field:ident),* $(,)?]) => {{
        let ($of { $($field: _),* }, old, new) = ($old, $old, $new);
        let mut keys: Vec<&'static str> = Vec::new();
        $(if old.$field != new.$field { keys.push(stringify!($field)); })*
        keys
    }};
}

impl Changes {
    /// What is to be done to get from `old` to `new`.
    pub fn between(old: &Config, new: &Config) -> Self {
        let destinations = parts(
            &old.destinations,
            &new.destinations,
            |d| d.name.as_str(),
            |before, after| destination_keys(before, after, old.node.ae_title != new.node.ae_title),
        );
        let mut changes = Self {
            listeners: parts(&old.listeners, &new.listeners, |l| l.name.as_str(), listener_keys),
            relays: parts(&old.relays, &new.relays, |r| r.name.as_str(), relay_keys),
            renamed: renamed(old, new, &destinations),
            destinations,
            routing: old.routes != new.routes || old.routing != new.routing,
            ..Self::default()
        };
        changes.others(old, new);
        changes
    }

    /// Whether there is nothing to do, and nothing that a restart would change.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// The names of destinations that will not be configured any more, with what they are probably called now.
    pub fn gone(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.destinations.removed.iter().map(|name| {
            let renamed = self.renamed.iter().find(|renamed| renamed.from == *name);
            (name.as_str(), renamed.map(|renamed| renamed.to.as_str()))
        })
    }

    fn others(&mut self, old: &Config, new: &Config) {
        if old.profile != new.profile {
            self.needs_restart.push("profile");
        }
        for key in differing!(Node, &old.node, &new.node, [ae_title, data_dir, grace]) {
            match key {
                "data_dir" => self.needs_restart.push("node.data_dir"),
                "ae_title" => self.keys.push("node.ae_title"),
                _ => self.keys.push("node.grace"),
            }
        }
        if old.queue != new.queue {
            let Queue { retain, ledger, reserve, high_watermark } = &old.queue;
            let pairs = [
                ("queue.retain", *retain != new.queue.retain),
                ("queue.ledger", *ledger != new.queue.ledger),
                ("queue.reserve", *reserve != new.queue.reserve),
                ("queue.high_watermark", *high_watermark != new.queue.high_watermark),
            ];
            self.needs_restart.extend(pairs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key));
        }
        for key in
            differing!(Transcode, &old.transcode, &new.transcode, [workers, frames_in_flight, cache, compare])
        {
            self.needs_restart.push(match key {
                "workers" => "transcode.workers",
                "frames_in_flight" => "transcode.frames_in_flight",
                "cache" => "transcode.cache",
                _ => "transcode.compare",
            });
        }
        if !differing!(Admin, &old.admin, &new.admin, [address]).is_empty() {
            self.needs_restart.push("admin.address");
        }
        for key in differing!(Log, &old.log, &new.log, [format, level]) {
            match key {
                "format" => self.needs_restart.push("log.format"),
                _ => self.keys.push("log.level"),
            }
        }
    }
}

impl Config {
    /// This configuration as far as it can be put in force in a program that was started with `running`.
    #[must_use]
    pub fn in_place_of(mut self, running: &Self) -> Self {
        self.profile = running.profile;
        self.node.data_dir.clone_from(&running.node.data_dir);
        self.queue = running.queue.clone();
        self.transcode = running.transcode;
        self.admin = running.admin;
        self.log.format = running.log.format;
        self
    }
}

fn parts<T: PartialEq>(
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> &str,
    keys: impl Fn(&T, &T) -> Vec<&'static str>,
) -> Parts {
    let names = |list: &[T]| list.iter().map(|part| name(part).to_owned()).collect::<BTreeSet<_>>();
    let (before, after) = (names(old), names(new));
    let changed = new.iter().filter_map(|part| {
        let was = old.iter().find(|was| name(was) == name(part))?;
        let keys = keys(was, part);
        (!keys.is_empty()).then(|| Changed { name: name(part).to_owned(), keys })
    });
    Parts {
        added: after.difference(&before).cloned().collect(),
        removed: before.difference(&after).cloned().collect(),
        changed: changed.collect(),
    }
}

fn listener_keys(old: &Listener, new: &Listener) -> Vec<&'static str> {
    differing!(
        Listener,
        old,
        new,
        [
            name,
            kind,
            address,
            called_ae,
            calling_ae,
            allow,
            trusted_proxies,
            max_associations,
            max_per_address,
            per_network,
            max_pdu,
            max_data_set,
            malformed,
            sop_class_mismatch,
            sop_classes,
            transfer_syntaxes,
            timeouts,
            user_identity,
            tls,
        ]
    )
}

fn relay_keys(old: &Relay, new: &Relay) -> Vec<&'static str> {
    differing!(
        Relay,
        old,
        new,
        [
            name,
            listen,
            connect,
            tls,
            connect_tls,
            allow,
            trusted_proxies,
            max_connections,
            max_per_address,
            timeouts
        ]
    )
}

fn destination_keys(old: &Destination, new: &Destination, own_title_changed: bool) -> Vec<&'static str> {
    let mut keys = differing!(Destination, old, new, [name, kind, study_quiet, compression, backoff]);
    if let Some(compression) = keys.iter().position(|key| *key == "compression") {
        keys.splice(compression..=compression, compression_keys(&old.compression, &new.compression));
    }
    let Some(kind) = keys.iter().position(|key| *key == "kind") else {
        // What came without a title of its own goes on under the node's.
        if own_title_changed && is_passthrough(new) {
            keys.push("calling_ae");
        }
        return keys;
    };
    match (&old.kind, &new.kind) {
        (DestinationKind::Dicom(old), DestinationKind::Dicom(new)) => {
            keys.remove(kind);
            keys.extend(differing!(
                DicomDestination,
                old,
                new,
                [
                    address,
                    called_ae,
                    calling_ae,
                    timeouts,
                    max_associations,
                    one_study_per_association,
                    max_pdu,
                    tls,
                ]
            ));
        }
        (DestinationKind::Folder(old), DestinationKind::Folder(new)) => {
            keys.remove(kind);
            keys.extend(differing!(FolderDestination, old, new, [path]));
        }
        (DestinationKind::Web(old), DestinationKind::Web(new)) => {
            keys.remove(kind);
            keys.extend(differing!(
                WebDestination,
                old,
                new,
                [url, login, max_request, max_request_instances, max_connections, timeouts, tls]
            ));
            if let Some(login) = keys.iter().position(|key| *key == "login") {
                keys.splice(login..=login, login_keys(&old.login, &new.login));
            }
        }
        (DestinationKind::Tunnel(old), DestinationKind::Tunnel(new)) => {
            keys.remove(kind);
            let keys_of = differing!(
                TunnelDestination,
                old,
                new,
                [
                    url,
                    site,
                    code,
                    pins,
                    ca,
                    proxy,
                    proxy_login,
                    uploads,
                    endpoints,
                    timeouts,
                    remote_configuration,
                    remote_probation
                ]
            );
            keys.extend(keys_of.into_iter().map(|key| match key {
                "code" => "code_file",
                "proxy_login" => "proxy_user",
                other => other,
            }));
        }
        (DestinationKind::Site(old), DestinationKind::Site(new)) => {
            keys.remove(kind);
            let keys_of =
                differing!(SiteDestination, old, new, [site, endpoint, max_associations, timeouts, security]);
            // It follows from the listeners, whose change is told.
            keys.extend(keys_of.into_iter().filter(|key| *key != "security"));
        }
        _ => {}
    }
    keys
}

fn compression_keys(old: &Compression, new: &Compression) -> Vec<&'static str> {
    let fields = differing!(Compression, old, new, [image, cine, monochrome, lossy_source, lossy_uid]);
    let is_lossy = |target| matches!(target, Target::JpegLossy(_));
    let key = |field| match field {
        "image" if is_lossy(old.image) && is_lossy(new.image) => "image_quality",
        "cine" if is_lossy(old.cine) && is_lossy(new.cine) => "loop_quality",
        "cine" => "loop",
        other => other,
    };
    fields.into_iter().map(key).collect()
}

fn login_keys(old: &WebLogin, new: &WebLogin) -> Vec<&'static str> {
    fn written(login: &WebLogin) -> Vec<(&'static str, String)> {
        let place = |file, variable, place: &SecretPlace| match place {
            SecretPlace::File(path) => (file, path.display().to_string()),
            SecretPlace::Variable(name) => (variable, name.clone()),
        };
        match login {
            WebLogin::Anonymous => Vec::new(),
            WebLogin::Bearer(token) => vec![place("token_file", "token_variable", token)],
            WebLogin::Basic { user, password } => {
                vec![("user", user.clone()), place("password_file", "password_variable", password)]
            }
        }
    }
    let (old, new) = (written(old), written(new));
    let keys = ["token_file", "token_variable", "user", "password_file", "password_variable"];
    let value = |written: &[(&'static str, String)], key| {
        written.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone())
    };
    keys.into_iter().filter(|key| value(&old, *key) != value(&new, *key)).collect()
}

fn is_passthrough(destination: &Destination) -> bool {
    matches!(&destination.kind, DestinationKind::Dicom(dicom) if dicom.calling_ae == CallingAe::Passthrough)
}

/// Each removed destination goes with the first added one at the same place.
fn renamed(old: &Config, new: &Config, changes: &Parts) -> Vec<Renamed> {
    let mut free = changes.added.clone();
    let mut renamed = Vec::new();
    for from in &changes.removed {
        let place = old.destination(from).map(place);
        let at = free.iter().position(|to| new.destination(to).map(self::place) == place);
        if let Some(at) = at {
            renamed.push(Renamed { from: from.clone(), to: free.remove(at) });
        }
    }
    renamed
}

/// Where a destination is, whatever it is called.
#[derive(PartialEq, Eq)]
enum Place<'a> {
    Peer(String, &'a str),
    Folder(&'a Path),
    Web(String),
}

fn place(destination: &Destination) -> Place<'_> {
    match &destination.kind {
        DestinationKind::Dicom(dicom) => Place::Peer(dicom.address.to_string(), dicom.called_ae.as_str()),
        DestinationKind::Folder(folder) => Place::Folder(&folder.path),
        DestinationKind::Web(web) => Place::Web(web.url.to_string()),
        DestinationKind::Tunnel(tunnel) => Place::Peer(tunnel.url.to_string(), tunnel.site.as_str()),
        DestinationKind::Site(site) => Place::Peer(site.site.to_string(), site.endpoint.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Changed, Changes, Renamed};
    use crate::config::Config;

    const OLD: &str = r#"
        [node]
        data_dir = "./data"
        [[listener]]
        name = "wards"
        address = "127.0.0.1:11112"
        [[listener]]
        name = "lab"
        address = "127.0.0.1:11113"
        [[destination]]
        name = "pacs"
        kind = "dicom"
        address = "127.0.0.1:104"
        called_ae = "PACS"
        [[destination]]
        name = "cloud"
        kind = "dicom"
        address = "127.0.0.1:105"
        called_ae = "CLOUD"
        calling_ae = "passthrough"
        [[destination]]
        name = "archive"
        kind = "folder"
        path = "./archive"
        [admin]
        address = "127.0.0.1:8080"
    "#;

    fn parse(text: &str) -> Config {
        Config::parse(text, "test").expect("a configuration")
    }

    /// From [`OLD`] to the same with some text put in the place of another.
    fn after(replacements: &[(&str, &str)]) -> Changes {
        let mut text = OLD.to_owned();
        for (from, to) in replacements {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        Changes::between(&parse(OLD), &parse(&text))
    }

    fn changed(name: &str, keys: &[&'static str]) -> Vec<Changed> {
        vec![Changed { name: name.to_owned(), keys: keys.to_vec() }]
    }

    #[test]
    fn a_comment_or_another_order_changes_nothing() {
        assert!(after(&[("[node]", "# hello\n[node]")]).is_nothing());
    }

    #[test]
    fn the_keys_of_what_changed_are_named() {
        let table: [(&str, &str, &str, &[&str]); 8] = [
            (
                "path = \"./archive\"",
                "path = \"./archive\"\nimage = \"jpeg-lossless\"\nloop = \"jpeg-lossy\"\nlossy_uid = \"keep\"",
                "archive",
                &["image", "loop", "lossy_uid"],
            ),
            ("\"PACS\"", "\"PACS\"\nmonochrome = \"b-mode-only\"", "pacs", &["monochrome"]),
            ("\"127.0.0.1:11112\"", "\"127.0.0.1:11114\"", "wards", &["address"]),
            (
                "\"127.0.0.1:11113\"",
                "\"127.0.0.1:11113\"\ncalled_ae = [\"X\"]\nmax_pdu = \"64KiB\"",
                "lab",
                &["called_ae", "max_pdu"],
            ),
            ("\"PACS\"", "\"PACS2\"", "pacs", &["called_ae"]),
            (
                "\"PACS\"",
                "\"PACS\"\nbackoff = { first = \"1s\" }\nmax_associations = 2",
                "pacs",
                &["backoff", "max_associations"],
            ),
            ("\"./archive\"", "\"./other\"", "archive", &["path"]),
            (
                "kind = \"folder\"\n        path = \"./archive\"",
                "kind = \"dicom\"\naddress = \"a:1\"\ncalled_ae = \"A\"",
                "archive",
                &["kind"],
            ),
        ];
        for (from, to, name, keys) in table {
            let changes = after(&[(from, to)]);
            let found = [changes.listeners.changed.clone(), changes.destinations.changed.clone()].concat();
            assert_eq!(found, changed(name, keys), "{to}");
            assert!(changes.renamed.is_empty() && !changes.routing && changes.needs_restart.is_empty());
        }
    }

    #[test]
    fn another_quality_is_named_as_such() {
        let with = |quality: u8| {
            let keys = format!(
                "[node]\n[[destination]]\nname = \"a\"\nkind = \"folder\"\npath = \"./a\"\nimage = \"jpeg-lossy\"\nimage_quality = {quality}"
            );
            parse(&keys)
        };
        assert_eq!(
            Changes::between(&with(80), &with(90)).destinations.changed,
            changed("a", &["image_quality"])
        );
    }

    #[test]
    fn a_new_title_of_the_node_concerns_the_destinations_that_use_it() {
        let changes = after(&[("[node]", "[node]\nae_title = \"OTHER\"")]);
        assert_eq!(changes.keys, ["node.ae_title"]);
        let expected = [changed("pacs", &["calling_ae"]), changed("cloud", &["calling_ae"])].concat();
        assert_eq!(changes.destinations.changed, expected);
    }

    #[test]
    fn tables_come_and_go() {
        let changes = after(&[
            ("name = \"lab\"", "name = \"ward-2\""),
            ("./archive", "./elsewhere"),
            ("\"archive\"", "\"store\""),
        ]);
        assert_eq!(
            (&changes.listeners.added[..], &changes.listeners.removed[..]),
            (&["ward-2".to_owned()][..], &["lab".to_owned()][..])
        );
        assert_eq!(
            (&changes.destinations.added[..], &changes.destinations.removed[..]),
            (&["store".to_owned()][..], &["archive".to_owned()][..])
        );
        assert!(changes.renamed.is_empty(), "another place is another destination");
    }

    #[test]
    fn the_same_place_under_another_name_is_probably_renamed() {
        let changes =
            after(&[("name = \"archive\"", "name = \"store\""), ("name = \"pacs\"", "name = \"main\"")]);
        let renamed = |from: &str, to: &str| Renamed { from: from.to_owned(), to: to.to_owned() };
        assert_eq!(changes.renamed, [renamed("archive", "store"), renamed("pacs", "main")]);
        assert_eq!(changes.gone().collect::<Vec<_>>(), [("archive", Some("store")), ("pacs", Some("main"))]);
        let other_title = after(&[("name = \"pacs\"", "name = \"main\""), ("\"PACS\"", "\"MAIN\"")]);
        assert_eq!(other_title.gone().collect::<Vec<_>>(), [("pacs", None)]);
    }

    #[test]
    fn what_changes_of_a_dicomweb_destination_is_named_by_its_keys() {
        let web = |lines: &str| {
            let table =
                "[[destination]]\nname = \"web\"\nkind = \"dicomweb\"\nurl = \"http://archive/dicom-web\"";
            parse(&format!("{table}\n{lines}"))
        };
        let keys = |from: &str, to: &str| {
            let changes = Changes::between(&web(from), &web(to));
            changes.destinations.changed.into_iter().flat_map(|changed| changed.keys).collect::<Vec<_>>()
        };
        assert_eq!(keys("", "max_request = 2000\nmax_connections = 2"), ["max_request", "max_connections"]);
        assert_eq!(keys("", "token_file = \"t\""), ["token_file"]);
        assert_eq!(keys("token_file = \"t\"", "token_variable = \"T\""), ["token_file", "token_variable"]);
        let basic = "user = \"u\"\npassword_file = \"p\"";
        assert_eq!(keys(basic, &basic.replace("\"p\"", "\"q\"")), ["password_file"]);
    }

    #[test]
    fn rules_are_one_thing() {
        assert!(after(&[("[admin]", "[[route]]\nto = [\"pacs\"]\n[admin]")]).routing);
    }

    #[test]
    fn what_needs_a_restart_is_named_and_its_running_value_stays() {
        let text = OLD.replace("./data", "./new").replace("8080", "8081")
            + "[queue]\nretain = \"1h\"\nreserve = \"1MiB\"\n[transcode]\ncache = 0\ncompare = false\n[log]\nformat = \"json\"\nlevel = \"debug\"\n";
        let (old, new) = (parse(OLD), parse(&text));
        let changes = Changes::between(&old, &new);
        assert_eq!(
            changes.needs_restart,
            [
                "node.data_dir",
                "queue.retain",
                "queue.reserve",
                "transcode.cache",
                "transcode.compare",
                "admin.address",
                "log.format"
            ]
        );
        assert_eq!(changes.keys, ["log.level"]);
        let running = new.in_place_of(&old);
        let left = Changes::between(&old, &running);
        assert_eq!((left.needs_restart.len(), left.keys), (0, vec!["log.level"]));
    }
}
