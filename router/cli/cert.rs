//! `chrysalis cert`: certificates made, shown, put into PKCS #12, and looked at in a peer.

use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{ArgGroup, Args, Subcommand};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use time::OffsetDateTime;

use super::Exit;
use crate::cert::check::{self, Target};
use crate::cert::generate::{self, KeyKind, Order};
use crate::cert::pfx::{self, Age, Password};
use crate::cert::show::Shown;
use crate::config::HostPort;
use crate::tls::{self, Leaf};

/// What to do with certificates.
#[derive(Debug, Args)]
pub struct CertArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CertCommand,
}

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Make a key and a certificate that signs itself, or a small authority with a server and clients.
    Generate(GenerateArgs),
    /// Show what certificates say: whose they are, how long they are valid, and their pin.
    Show {
        /// A file with certificates, PEM or DER.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Put certificate, chain and key into one PKCS #12 file, for QPath-E and Windows systems.
    Pfx(PfxArgs),
    /// Look at what a peer presents over TLS, which profile it meets, and what would fail and why.
    Check(CheckArgs),
}

/// What to make.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// The common name: as a rule the host name by which others reach it.
    #[arg(long)]
    pub name: String,
    /// A host name or address that it is for too, beside the common name; may be given several times.
    #[arg(long, value_name = "NAME | ADDRESS")]
    pub san: Vec<String>,
    /// Make an authority that signs, or use the one in the folder, and a server's certificate.
    #[arg(long)]
    pub ca: bool,
    /// With --ca: make a client's certificate of this name too; may be given several times.
    #[arg(long, requires = "ca", value_name = "NAME")]
    pub client: Vec<String>,
    /// The kind of key.
    #[arg(long, value_enum, default_value = "rsa")]
    pub key: KeyKind,
    /// Days until it expires.
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub days: u32,
    /// The folder to write to; nothing in it is overwritten.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub out: PathBuf,
}

/// What to bundle.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("password").args(["password_file", "password_env"]))]
pub struct PfxArgs {
    /// The certificate, its chain after it.
    #[arg(long, value_name = "FILE")]
    pub certificate: PathBuf,
    /// Its private key.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The file to write; it is not overwritten.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Read the password from the first line of this file, instead of asking for it.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Read the password from this environment variable.
    #[arg(long, value_name = "VARIABLE")]
    pub password_env: Option<String>,
    /// Encrypt as Windows before 10 1709 and Server 2019 understand: weak, so choose a long password.
    #[arg(long)]
    pub legacy: bool,
}

/// Whom to look at.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Where the peer listens.
    #[arg(value_name = "HOST:PORT", value_parser = host_port)]
    pub peer: HostPort,
    /// The authorities to believe [default: those of the system].
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The name that the certificate has to be for [default: the host].
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// Our own certificate, to be shown.
    #[arg(long, requires = "key", value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Its private key.
    #[arg(long, requires = "certificate", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// How long each connection may take.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

impl CertArgs {
    /// Does it, and writes what came of it.
    ///
    /// # Errors
    /// Files are of no use or cannot be written, or nobody is there to look at.
    pub async fn run(self, out: &mut dyn Write) -> anyhow::Result<Exit> {
        match self.command {
            CertCommand::Generate(args) => args.run(out),
            CertCommand::Show { files } => show(&files, out),
            CertCommand::Pfx(args) => args.run(out),
            CertCommand::Check(args) => args.run(out).await,
        }
    }
}

impl GenerateArgs {
    fn run(self, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let order = Order { name: self.name, names: self.san, days: self.days, key: self.key };
        let now = OffsetDateTime::now_utc();
        let files = match self.ca {
            true => generate::authority(&order, &self.client, &self.out, now)?,
            false => generate::self_signed(&order, &self.out, now)?,
        };
        for pair in files.write(&self.out)?.chunks(2) {
            let [certificate, key] = pair else { continue };
            writeln!(out, "{}, its key in {}", certificate.display(), key.display())?;
            describe(certificate, now, out)?;
        }
        if let Some(end) = files.cut() {
            let (days, end) = (order.days, end.date());
            writeln!(
                out,
                "Not {days} days: the authority expires on {end}, and what it signs is worth nothing afterwards."
            )?;
        }
        Ok(Exit::Done)
    }
}

fn show(files: &[PathBuf], out: &mut dyn Write) -> anyhow::Result<Exit> {
    let now = OffsetDateTime::now_utc();
    for file in files {
        writeln!(out, "{}", file.display())?;
        describe(file, now, out)?;
    }
    Ok(Exit::Done)
}

fn describe(file: &Path, now: OffsetDateTime, out: &mut dyn Write) -> anyhow::Result<()> {
    for (index, certificate) in tls::certificates(file)?.iter().enumerate() {
        let leaf = Leaf::of(certificate).with_context(|| file.display().to_string())?;
        let between = if index > 0 { "\n" } else { "" };
        write!(out, "{between}{}", Shown { leaf: &leaf, now })?;
    }
    Ok(())
}

impl PfxArgs {
    fn run(self, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let exists = self.out.symlink_metadata().is_ok();
        anyhow::ensure!(!exists, "{} is there already, and nothing is overwritten", self.out.display());
        let password = self.password()?;
        let age = if self.legacy { Age::Legacy } else { Age::Modern };
        let bytes = pfx::bundle(&self.certificate, &self.key, &password, age)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.out);
        let written = file.and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        written.with_context(|| self.out.display().to_string())?;
        writeln!(out, "{}", self.out.display())?;
        Ok(Exit::Done)
    }

    fn password(&self) -> anyhow::Result<Password> {
        if let Some(file) = &self.password_file {
            let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
            return Ok(Password::new(text.lines().next().unwrap_or_default())?);
        }
        if let Some(variable) = &self.password_env {
            let text = std::env::var(variable).with_context(|| variable.clone())?;
            return Ok(Password::new(text)?);
        }
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(Password::new(first_line(&mut stdin.lock())?)?);
        }
        let password = Password::new(asked("Password: ")?)?;
        anyhow::ensure!(password == Password::new(asked("Once more: ")?)?, "the two are not the same");
        Ok(password)
    }
}

/// A line that is typed without being shown.
fn asked(prompt: &str) -> io::Result<String> {
    let stdin = io::stdin();
    let shown = tcgetattr(&stdin)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    write!(io::stderr(), "{prompt}")?;
    tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    let line = first_line(&mut stdin.lock());
    let restored = tcsetattr(&stdin, OptionalActions::Flush, &shown);
    writeln!(io::stderr())?;
    restored?;
    line
}

fn first_line(from: &mut dyn BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

impl CheckArgs {
    async fn run(self, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let target = Target {
            address: self.peer,
            server_name: self.server_name,
            ca: self.ca,
            identity: self.certificate.zip(self.key),
            limit: self.timeout,
        };
        let report = Box::pin(check::check(&target)).await?;
        write!(out, "{report}")?;
        Ok(if report.is_ok() { Exit::Done } else { Exit::Failed })
    }
}

fn host_port(text: &str) -> Result<HostPort, String> {
    let wrong = || format!("{text:?} is not HOST:PORT");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(wrong());
    }
    Ok(HostPort { host: host.to_owned(), port })
}
