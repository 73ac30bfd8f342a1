//! The certificates and keys that a configuration names: what they are, and how long they are good for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use time::OffsetDateTime;

use super::Line;
use crate::cert::show::left;
use crate::config::{ClientTls as ClientSettings, Config, DestinationKind, ServerTls as ServerSettings};
use crate::tls::{ClientTls, Leaf, MaterialError, Security, ServerTls};

/// A certificate that is valid for less than this is for somebody's desk.
const SOON_DAYS: i64 = 30;

/// Everything about TLS that can be seen without connecting to anybody.
pub fn certificates(config: &Config) -> Vec<Line> {
    let mut lines = Vec::new();
    for listener in &config.listeners {
        if let Some(settings) = &listener.tls {
            lines.extend(server(&format!("listener {}", listener.name), settings));
        }
    }
    for relay in &config.relays {
        let about = format!("relay {}", relay.name);
        lines.extend(relay.tls.iter().flat_map(|settings| server(&about, settings)));
        lines.extend(relay.connect_tls.iter().flat_map(|settings| client(&about, settings)));
        if relay.connect_tls.is_none() {
            lines.push(Line::question(
                &about,
                format!("{} is reached without TLS: Unsecured", relay.connect),
                "What is handed on can be read and changed on the way to the service, whatever the callers use.",
                "Set connect_tls, or let only this machine and its own network lie between.",
            ));
        }
    }
    for destination in &config.destinations {
        let settings = match &destination.kind {
            DestinationKind::Dicom(dicom) => dicom.tls.clone(),
            DestinationKind::Tunnel(tunnel) => tunnel.url.is_secure.then(|| Box::new(tunnel.tls())),
            DestinationKind::Web(web) => web.tls.clone().map(Box::new),
            DestinationKind::Folder(_) | DestinationKind::Site(_) => None,
        };
        if let Some(settings) = settings {
            lines.extend(client(&format!("destination {}", destination.name), &settings));
        }
    }
    lines
}

fn server(about: &str, settings: &ServerSettings) -> Vec<Line> {
    let own = match ServerTls::new(settings) {
        Ok(tls) => tls.own(),
        Err(error) => return vec![useless(about, &error)],
    };
    let mut lines = vec![validity(about, &own)];
    lines.extend(readable_by_others(about, &settings.key));
    lines
}

fn client(about: &str, settings: &ClientSettings) -> Vec<Line> {
    let tls = match ClientTls::new(settings) {
        Ok(tls) => tls,
        Err(error) => return vec![useless(about, &error)],
    };
    let mut lines: Vec<_> = tls.own().iter().map(|own| validity(about, own)).collect();
    lines.extend(settings.identity.iter().filter_map(|(_, key)| readable_by_others(about, key)));
    lines.push(match tls.security() {
        Security::Secured => Line::ok(about, "TLS to it is Secured"),
        Security::Unsecured => Line::question(
            about,
            "TLS to it is Unsecured: verify = \"none\"",
            "What is sent is encrypted to whoever answers.",
            "chrysalis echo shows the pin of its key: compare it with its administrator, and set verify = \"pin\".",
        ),
    });
    lines
}

fn useless(about: &str, error: &MaterialError) -> Line {
    Line::failed(
        about,
        error.to_string(),
        "No TLS connection can be made.",
        "Name the right file, or mend this one; a running node picks it up.",
    )
}

fn validity(about: &str, own: &Leaf) -> Line {
    let now = OffsetDateTime::now_utc();
    let days = own.seconds_left(now).div_euclid(86_400);
    let until = own.not_after.date();
    let left = left(own.seconds_left(now));
    let what = format!("certificate of {} ({}, {}), until {until}, {left}", own.subject, own.key, own.pin);
    if own.not_before > now {
        return Line::failed(
            about,
            what,
            "It is not valid yet.",
            "Look at the clock, or at the certificate.",
        );
    }
    if days < 0 {
        return Line::failed(about, what, "It has expired: peers refuse it.", "Put a new one in its place.");
    }
    if days < SOON_DAYS {
        return Line::question(
            about,
            what,
            "It expires soon.",
            "Put a new one in its place; no restart is needed.",
        );
    }
    Line::ok(about, what)
}

fn readable_by_others(about: &str, key: &Path) -> Option<Line> {
    let mode = fs::metadata(key).ok()?.permissions().mode();
    (mode & 0o077 != 0).then(|| {
        Line::question(
            about,
            format!("{} can be read by others on this machine", key.display()),
            "Whoever has the key can be this node.",
            &format!("chmod 600 {}", key.display()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::certificates;
    use crate::config::Config;

    #[test]
    fn a_relay_that_reaches_its_service_without_tls_is_said_to_be_unsecured() {
        let relay = "[[relay]]\nname = \"ris\"\nlisten = \"127.0.0.1:104\"\nconnect = \"ris:104\"\n";
        let lines = |text: &str| certificates(&Config::parse(text, "site.toml").expect("a configuration"));
        let plain: Vec<_> = lines(relay).iter().map(ToString::to_string).collect();
        let expected = "question relay ris: ris:104 is reached without TLS: Unsecured";
        assert!(plain.len() == 1 && plain[0].starts_with(expected), "{plain:?}");
        let none = format!("{relay}connect_tls = {{ verify = \"none\" }}\n");
        let none: Vec<_> = lines(&none).iter().map(ToString::to_string).collect();
        assert!(none.len() == 1 && none[0].contains("Unsecured: verify = \"none\""), "{none:?}");
    }
}
