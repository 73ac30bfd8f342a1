//! The command line, one file per subcommand.

mod admin_client;
mod causes;
pub mod cert;
pub mod check;
pub mod control;
pub mod decode_worker;
mod drain;
pub mod echo;
mod export;
mod files;
pub mod inspect;
pub mod ledger;
mod listing;
pub mod load;
mod queue;
pub mod reload;
pub mod route;
mod selection;
pub mod send;
pub mod serve;
pub mod site;
pub mod site_config;
pub mod size;
mod source;
pub mod status;
mod table;
pub mod testimages;
pub mod tls_args;
pub mod transcode;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use admin_client::{AdminClient, AdminError, Delivery, Listing, State, Studies, StudyLine};
pub use causes::once;
pub use queue::{
    DiscardArgs, ExportArgs, HoldArgs, ListArgs, QueueArgs, QueueCommand, RerouteArgs, ResendArgs, SweepArgs,
};
pub use selection::{Filter, Selection};

use crate::config::{ConfigError, Override};

/// A store-and-forward DICOM router for ultrasound.
///
/// Without a subcommand it serves: it receives from carts, keeps what it received safe, and forwards it.
#[derive(Debug, Parser)]
#[command(name = "chrysalis", version, about)]
pub struct Cli {
    /// The configuration file [default: ./chrysalis.toml if it is there, else the embedded default].
    #[arg(long, global = true, value_name = "FILE", env = "CHRYSALIS_CONFIG")]
    pub config: Option<PathBuf>,
    /// Overrides one value of the configuration, as in `--set destination.pacs.address=10.0.0.2:104`. May be given several times.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<Override>,
    /// What to do; nothing means `serve`.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Receive, keep and forward until told to stop.
    Serve,
    /// Say how the running node stands; exit code 1 when something needs somebody.
    Status(status::StatusArgs),
    /// Send DICOM files to a peer with C-STORE.
    Send(send::SendArgs),
    /// Look whether everything is as a node needs it: configuration, spool, ports, clock, each destination.
    Check(check::CheckArgs),
    /// Write studies of patients who do not exist, to try a way to an archive with.
    Testimages(testimages::TestimagesArgs),
    /// Find out whether a peer, or a destination of the configuration, answers C-ECHO.
    Echo(echo::EchoArgs),
    /// Say where files would go if a cart sent them, and by which rule.
    Route(route::RouteArgs),
    /// Say what a site needs for its studies per hour, or how many a host can take.
    Size(size::SizeArgs),
    /// Say what files are, and what each destination would be sent, and why.
    Inspect(inspect::InspectArgs),
    /// Write files as a destination would get them.
    Transcode(transcode::TranscodeArgs),
    /// Look at what waits for delivery, and decide about what is held.
    Queue(Box<QueueArgs>),
    /// Tell what came and what became of it, also after the data is gone.
    Ledger(ledger::LedgerArgs),
    /// The sites whose links this gateway lets in, and their codes.
    Site(site::SiteArgs),
    /// Have the running node read its configuration again.
    Reload(reload::ReloadArgs),
    /// Pause a destination or a listener; it stays paused, over restarts too, until it is resumed.
    Pause(control::PauseArgs),
    /// Lift a pause.
    Resume(control::ResumeArgs),
    /// Take nothing more and wait until everything is delivered that can be.
    Drain(control::DrainArgs),
    /// Find out what a node on this machine can do, and whether it loses anything.
    Load(Box<load::LoadArgs>),
    /// Make certificates, show them, bundle them, and look at those of a peer.
    Cert(Box<cert::CertArgs>),
    /// Decode frames for the router that started this; not for people.
    #[command(hide = true)]
    DecodeWorker,
}

impl Cli {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// It makes no sense, or `--help` or `--version` was asked for.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let cli = Self::try_parse_from(&arguments)?;
        // clap keeps only those of the innermost subcommand; none must be without effect unnoticed.
        if let (Some(Command::Reload(_)), Some(given)) =
            (&cli.command, cli.set.iter().find(|given| !given.says_where_the_node_is()))
        {
            let message = format!(
                "{given}: overrides are given to serve; with reload only admin.address and node.data_dir, which say where the node is"
            );
            return Err(Self::command().error(clap::error::ErrorKind::ArgumentConflict, message));
        }
        let options = arguments.iter().take_while(|argument| *argument != "--");
        let is_set = |argument: &&OsString| {
            argument.to_str().is_some_and(|text| text == "--set" || text.starts_with("--set="))
        };
        if options.filter(is_set).count() == cli.set.len() {
            return Ok(cli);
        }
        let message = "--set stands before the subcommand and after it; give all of them in one place";
        Err(Self::command().error(clap::error::ErrorKind::ArgumentConflict, message))
    }
}

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: not done, or not all of it.
    Failed,
    /// 2: the command line makes no sense.
    Usage,
    /// 78: the configuration is wrong (`EX_CONFIG`).
    Configuration,
}

impl Exit {
    /// How the program ends because of `error`.
    pub fn because(error: &anyhow::Error) -> Self {
        if error.is::<ConfigError>() { Self::Configuration } else { Self::Failed }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Configuration => 78,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command, Exit};
    use crate::config::Config;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_subcommand_means_serve_and_the_file_may_be_named_before_or_after_one() {
        let bare = Cli::try_parse_from(["chrysalis"]).expect("a command line");
        assert!(bare.command.is_none() && bare.config.is_none());
        for line in
            [["chrysalis", "serve", "--config", "a.toml"], ["chrysalis", "--config", "a.toml", "serve"]]
        {
            let cli = Cli::try_parse_from(line).expect("a command line");
            assert!(matches!(cli.command, Some(Command::Serve)));
            assert_eq!(cli.config.as_deref(), Some(std::path::Path::new("a.toml")));
        }
    }

    #[test]
    fn overrides_stand_in_one_place_or_are_refused_rather_than_lost() {
        let set = |line: &[&str]| Cli::read(line.iter().map(Into::into)).map(|cli| cli.set.len()).ok();
        assert_eq!(set(&["chrysalis", "--set", "node.grace=1s", "--set=node.ae_title=A", "serve"]), Some(2));
        assert_eq!(set(&["chrysalis", "serve", "--set", "node.grace=1s", "--set=node.ae_title=A"]), Some(2));
        assert_eq!(set(&["chrysalis", "--set", "node.grace=1s", "serve", "--set", "node.ae_title=A"]), None);
        assert_eq!(set(&["chrysalis", "serve", "--set", "node.grace"]), None);
        assert_eq!(set(&["chrysalis", "reload", "--set", "node.grace=1s"]), None, "the node has its own");
        assert_eq!(set(&["chrysalis", "reload", "--set", "admin.address=127.0.0.1:8081"]), Some(1));
    }

    #[test]
    fn a_wrong_configuration_ends_with_78_and_anything_else_with_1() {
        let wrong = Config::parse("x = 1", "x").expect_err("an unknown key");
        assert_eq!(Exit::because(&anyhow::Error::from(wrong).context("cannot start")), Exit::Configuration);
        assert_eq!(Exit::because(&anyhow::anyhow!("no")), Exit::Failed);
    }
}
