//! `chrysalis serve`: receive, keep and forward until told to stop.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use super::Exit;
use crate::app::{App, StartError};
use crate::audit::Actor;
use crate::config::{Config, DestinationKind, ListenerKind, Loaded, Loader, LogFormat, LogLevel, Origin};
use crate::control::SetLevel;
use crate::platform;
use crate::tls::Security;

/// Runs a node until SIGTERM, SIGINT or an administrator ends it, then drains within the grace period. SIGHUP has it read
/// its configuration again.
///
/// # Errors
/// It cannot start; [`Exit::Configuration`] where the configuration is why.
pub async fn run(mut loader: Loader) -> anyhow::Result<Exit> {
    let Loaded { config, origin, advice, left_out, .. } = loader.load()?;
    let set_level = start_logging(&config)?;
    for advice in &advice {
        tracing::warn!(%advice, "A question about the configuration.");
    }
    for why in &left_out {
        tracing::error!(why, "What the gateway had set does not go with the file, and is left out.");
    }
    let mut hangups = platform::Hangups::new().context("signals")?;
    // Before anything answers as ready: whoever has it stopped from then on has it stopped in order.
    let mut terminations = platform::Terminations::new().context("signals")?;
    platform::raise_descriptor_limit();
    let screen = first_screen(&config, &origin);
    let app = match App::start(config, loader, set_level).await {
        Ok(app) => app,
        Err(error @ (StartError::Listeners(_) | StartError::Admin { .. })) => {
            tracing::error!(%error, "Cannot start.");
            return Ok(Exit::Configuration);
        }
        Err(error) => {
            tracing::error!(%error, "Cannot start.");
            return Ok(Exit::Failed);
        }
    };
    // Nobody may be looking, and the disk that it goes to may be full.
    let _ = write!(std::io::stdout(), "{screen}");
    // A signal that comes while a reload is running is one more reload after it; one that comes later is ignored.
    let reloads = async {
        loop {
            hangups.next().await;
            let _logged = app.control().reload(&Actor::local("SIGHUP")).await;
        }
    };
    tokio::select! {
        () = terminations.next() => {}
        () = app.asked_to_stop() => {}
        () = reloads => {}
    }
    tracing::info!("Stopping: no more is taken, what is under way is finished.");
    app.stop().await;
    tracing::info!("Stopped.");
    Ok(Exit::Done)
}

/// Begins to log, and returns what changes the level later.
fn start_logging(config: &Config) -> anyhow::Result<SetLevel> {
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter(config.log.level)?).with_writer(std::io::stderr);
    // A line that cannot be written, on a full disk or to a reader that has gone, is lost; whoever wrote it goes on.
    let builder = builder.with_target(false).log_internal_errors(false);
    let failed = |error| anyhow::anyhow!("logging: {error}");
    // A level that can be changed comes last: everything before it is fixed by it.
    match config.log.format {
        LogFormat::Human => {
            let builder = builder.with_ansi(false).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.try_init().map_err(failed)?;
            Ok(Box::new(move |level| drop(filter(level).map(|filter| handle.reload(filter)))))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.try_init().map_err(failed)?;
            Ok(Box::new(move |level| drop(filter(level).map(|filter| handle.reload(filter)))))
        }
    }
}

/// The libraries below say little that an administrator can use.
fn filter(level: LogLevel) -> anyhow::Result<EnvFilter> {
    let level = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    Ok(EnvFilter::try_new(format!("warn,chrysalis={level},chrysalis_queue={level}"))?)
}

/// What runs, and what to type next.
fn first_screen(config: &Config, origin: &Origin) -> String {
    let mut screen = String::new();
    let _ = writeln!(screen, "Chrysalis {} runs by {origin}.\n", env!("CARGO_PKG_VERSION"));
    for listener in &config.listeners {
        let name = listener.name.as_str();
        if let ListenerKind::Tunnel(tunnel) = &listener.kind {
            let _ =
                writeln!(screen, "  lets in    {name:<12} {}, links at {}", listener.address, tunnel.path);
            continue;
        }
        let called: Vec<_> = listener.called_ae.iter().map(ToString::to_string).collect();
        let called = if called.is_empty() { "anything".to_owned() } else { called.join(" or ") };
        let (address, security) = (listener.address, listener.security().word());
        let _ = match &listener.kind {
            ListenerKind::Dicom => {
                writeln!(screen, "  receives   {name:<12} {address}, called {called} ({security})")
            }
            ListenerKind::Tunnel(_) => {
                writeln!(screen, "  receives   {name:<12} {address}, from links ({security})")
            }
        };
    }
    for relay in &config.relays {
        let with = if relay.tls.is_some() { "TLS " } else { "" };
        let (name, listen, security) = (relay.name.as_str(), relay.listen, relay.security().word());
        let _ = writeln!(screen, "  relays     {name:<12} {with}{listen} to {} ({security})", relay.connect);
    }
    let _ = writeln!(screen, "  keeps      {}", config.node.data_dir.display());
    for destination in &config.destinations {
        let place = match &destination.kind {
            DestinationKind::Dicom(dicom) => {
                let security = destination.security().map_or("", Security::word);
                format!("{}@{} ({security})", dicom.called_ae, dicom.address)
            }
            DestinationKind::Folder(folder) => folder.path.display().to_string(),
            DestinationKind::Web(web) => {
                let security = destination.security().map_or("", Security::word);
                format!("{} ({security})", web.url)
            }
            DestinationKind::Tunnel(tunnel) => {
                let security = destination.security().map_or("", Security::word);
                format!("{} as {} ({security})", tunnel.url, tunnel.site)
            }
            DestinationKind::Site(site) => {
                let security = destination.security().map_or("", Security::word);
                format!("{} at site {} ({security})", site.endpoint, site.site)
            }
        };
        let _ = writeln!(screen, "  delivers   {:<12} {place}", destination.name.as_str());
    }
    let _ = writeln!(screen, "  admin      http://{}/metrics", config.admin.address);
    // Links call the others by themselves.
    let mut carts = config.listeners.iter().filter(|listener| matches!(listener.kind, ListenerKind::Dicom));
    if let Some(listener) = carts.next() {
        let (ae, address) = (listener.called_ae.first().unwrap_or(&config.node.ae_title), listener.address);
        let _ = writeln!(screen, "\nSend something to it, from another terminal:");
        let _ =
            writeln!(screen, "  storescu -aec {ae} {} {} FILE...      (DCMTK)", address.ip(), address.port());
        let _ = writeln!(screen, "  chrysalis send {ae}@{address} FILE...");
        let with = match origin {
            Origin::Named(file) => format!(" --config {}", file.display()),
            Origin::WorkingDirectory(_) | Origin::Embedded => String::new(),
        };
        let _ = writeln!(screen, "See how it stands:\n  chrysalis status{with}");
        let _ = writeln!(screen, "See where it is:\n  chrysalis queue list{with}");
    }
    screen
}

#[cfg(test)]
mod tests {
    use super::first_screen;
    use crate::config::{Config, Origin};

    #[test]
    fn the_first_screen_says_of_every_way_in_and_out_whether_it_is_secured() {
        let tls = "tls = { certificate = \"a.pem\", key = \"a.key\" }";
        let text = format!(
            "[[listener]]\nname = \"plain\"\naddress = \"127.0.0.1:104\"\n\
             [[listener]]\nname = \"safe\"\naddress = \"127.0.0.1:2762\"\n{tls}\n\
             [[destination]]\nname = \"pacs\"\nkind = \"dicom\"\naddress = \"pacs:104\"\ncalled_ae = \"PACS\"\n\
             [[relay]]\nname = \"ris\"\nlisten = \"127.0.0.1:2763\"\nconnect = \"ris:104\"\n{tls}\n\
             [[relay]]\nname = \"cloud\"\nlisten = \"127.0.0.1:105\"\nconnect = \"cloud:2762\"\nconnect_tls = {{}}\n"
        );
        let screen =
            first_screen(&Config::parse(&text, "site.toml").expect("a configuration"), &Origin::Embedded);
        for line in [
            "receives   plain        127.0.0.1:104, called anything (Unsecured)",
            "receives   safe         127.0.0.1:2762, called anything (Secured)",
            "relays     ris          TLS 127.0.0.1:2763 to ris:104 (Unsecured)",
            "relays     cloud        127.0.0.1:105 to cloud:2762 (Secured)",
            "delivers   pacs         PACS@pacs:104 (Unsecured)",
        ] {
            assert!(screen.contains(line), "{line}\n{screen}");
        }
    }
}
