//! `chrysalis size`: what a site needs, and what a host can do. The arithmetic is the sizing crate's; here it is asked and told.

mod ability;
mod input;
mod need;

use std::io::Write;
use std::path::{Path, PathBuf};

use chrysalis_sizing::{
    Conversion, Encoding, Host, Keeping, Measured, Mix, REFERENCE, Resource, Site, Target, Work,
};
use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use super::Exit;
use super::table::Table;
use crate::config::Loaded;
use crate::platform;
use input::{MixFile, bits, bytes, cores, hours, rate};

pub use input::InputError;

/// A site, a host, or both.
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("what").args(["studies_per_hour", "host", "cores"]).required(true).multiple(true)))]
pub struct SizeArgs {
    /// The studies of a busy hour, on average.
    #[arg(long, value_name = "N", value_parser = rate, allow_negative_numbers = true)]
    pub studies_per_hour: Option<f64>,
    /// What studies are like, and how they come: all-jpeg, usual (native stills, JPEG loops), all-lossless or all-native of the
    /// reference mix; or a TOML or JSON file with a site's own counts.
    #[arg(long, value_name = "NAME|FILE", default_value = "usual")]
    pub mix: String,
    /// How the destination wants them: as-received, uncompressed, jpeg-lossless or jpeg-lossy.
    #[arg(long, value_name = "TARGET", default_value = "as-received")]
    pub to: Target,
    /// How it wants loops, if otherwise than images of one frame.
    #[arg(long, value_name = "TARGET")]
    pub loops_to: Option<Target>,
    /// How long nothing can be delivered.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = hours)]
    pub outage: f64,
    /// The way to the destination, in bits per second: 20Mbit. Without it the network is no limit.
    #[arg(long, value_name = "RATE", value_parser = bits)]
    pub uplink: Option<f64>,
    /// Carts that send at once.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub carts: u32,
    /// Look at this host: its cores and memory, as a control group leaves them, and the disk of the configured spool.
    #[arg(long, conflicts_with = "cores")]
    pub host: bool,
    /// The cores of a host.
    #[arg(long, value_name = "N", value_parser = cores, requires_all = ["memory", "disk"], allow_negative_numbers = true)]
    pub cores: Option<f64>,
    /// Its memory.
    #[arg(long, value_name = "SIZE", value_parser = bytes, requires = "cores")]
    pub memory: Option<u64>,
    /// The file system of its spool; with --host, one that is not the configured one's.
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub disk: Option<u64>,
    /// Take what work costs from a report of `chrysalis load`, instead of the figures built in.
    #[arg(long, value_name = "FILE")]
    pub measured: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl SizeArgs {
    /// Says what is needed, or what a host can do. `load` reads the configuration, for where the spool is.
    ///
    /// # Errors
    /// A file cannot be used, `out` cannot be written, or there is no answer: the uplink never catches up, the host is too small.
    pub fn run<E: std::error::Error + Send + Sync + 'static>(
        &self,
        load: impl FnOnce() -> Result<Loaded, E>,
        out: &mut dyn Write,
    ) -> anyhow::Result<Exit> {
        let (mix, encoding) = self.mix()?;
        let costs = match &self.measured {
            None => Measured::BENCHES,
            Some(file) => input::measured(file)?,
        };
        let host = match self.host {
            true => Some(self.this_host(&load()?.config.node.data_dir)),
            false => self.named_host(),
        };
        let conversion = Conversion { image: self.to, cine: self.loops_to.unwrap_or(self.to) };
        let site = Site {
            work: Work { mix: &mix, encoding, conversion },
            studies_per_hour: self.studies_per_hour.unwrap_or(ANY_RATE),
            outage_hours: self.outage,
            uplink: self.uplink,
            associations: self.carts,
            keeping: Keeping::DEFAULT,
        };
        site.check()?;
        let answer = match (self.studies_per_hour, host) {
            (Some(_), host) => need::answer(&site, host, &costs)?,
            (None, Some(host)) => ability::answer(&site, &host, &costs)?,
            // One of them is required; without a host there is nothing to look at.
            (None, None) => anyhow::bail!("neither a rate nor a host is given"),
        };
        answer.write(self.json, out)?;
        Ok(answer.exit)
    }

    fn mix(&self) -> anyhow::Result<(Mix, Encoding)> {
        match self.mix.parse() {
            Ok(encoding) => Ok((REFERENCE, encoding)),
            Err(unknown) => match Path::new(&self.mix) {
                file if file.exists() => Ok(MixFile::read(file)?),
                _ => Err(anyhow::anyhow!("--mix {unknown}, nor is it a file")),
            },
        }
    }

    fn this_host(&self, data_dir: &Path) -> Host {
        let host = platform::host(data_dir);
        Host { disk: self.disk.unwrap_or(host.disk), ..host }
    }

    fn named_host(&self) -> Option<Host> {
        Some(Host { cores: self.cores?, memory: self.memory?, disk: self.disk? })
    }
}

/// Of a host's limits none depends on the rate of the site.
const ANY_RATE: f64 = 1.0;

/// What is told: to people a sentence, a table and more sentences, to programs the same as data.
struct Answer {
    head: Vec<String>,
    table: Table,
    tail: Vec<String>,
    data: Value,
    exit: Exit,
}

impl Answer {
    fn write(&self, json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
        if json {
            serde_json::to_writer_pretty(&mut *out, &self.data)?;
            writeln!(out)?;
            return Ok(());
        }
        for line in &self.head {
            writeln!(out, "{line}")?;
        }
        writeln!(out)?;
        self.table.write(out)?;
        if !self.tail.is_empty() {
            writeln!(out)?;
        }
        self.tail.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        Ok(())
    }
}

/// What comes, in a sentence.
fn studies(site: &Site<'_>) -> String {
    let work = &site.work;
    let converted = match work.converts() {
        true => format!("sent as {} ({} each)", work.conversion, size(work.bytes_out())),
        false => "sent as received".to_owned(),
    };
    let (encoding, bytes, instances) = (work.encoding, size(work.bytes_in()), work.instances());
    format!("{encoding}: {bytes} and {instances:.0} instances a study, {converted}")
}

fn costs_from(costs: &Measured) -> String {
    format!("Costs are those of {} ({}).", costs.source, costs.machine)
}

fn work_data(site: &Site<'_>, costs: &Measured) -> Value {
    json!({
        "encoding": site.work.encoding.name(),
        "image": site.work.conversion.image.name(),
        "loop": site.work.conversion.cine.name(),
        "bytes_received": site.work.bytes_in(),
        "bytes_sent": site.work.bytes_out(),
        "instances": site.work.instances(),
        "cpu_seconds": site.work.cpu_seconds(costs),
        "costs": costs.source,
        "machine": costs.machine,
    })
}

/// How much of a resource, for people.
fn amount(resource: Resource, amount: f64) -> String {
    match resource {
        Resource::Cores => figure(amount),
        Resource::Memory | Resource::Disk => size(amount),
        Resource::Uplink => bit_rate(amount),
    }
}

/// Two figures and no more than needed: 0.013, 1.4, 18, 5200.
fn figure(value: f64) -> String {
    let decimals = match value {
        value if value <= 0.0 || value >= 9.95 => 0,
        value if value >= 0.995 => 1,
        value => (1.0 - value.log10().floor()).clamp(1.0, 6.0) as usize,
    };
    format!("{value:.decimals$}")
}

/// Bytes in decimal units, as disks and memory are sold.
fn size(bytes: f64) -> String {
    let units = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6)];
    let (name, scale) = units.into_iter().find(|(_, scale)| bytes >= *scale).unwrap_or(("kB", 1e3));
    format!("{} {name}", three(bytes / scale))
}

/// Bytes per second as bits, as lines are sold.
fn bit_rate(bytes_per_second: f64) -> String {
    let bits = bytes_per_second * 8.0;
    let units = [("Gbit/s", 1e9), ("Mbit/s", 1e6)];
    let (name, scale) = units.into_iter().find(|(_, scale)| bits >= *scale).unwrap_or(("kbit/s", 1e3));
    format!("{} {name}", three(bits / scale))
}

/// Up to 999, with one decimal below ten.
fn three(value: f64) -> String {
    let decimals = usize::from(value < 9.95);
    format!("{value:.decimals$}")
}

/// Hours for people: minutes below two, days above 72.
fn duration(hours: f64) -> String {
    match hours {
        hours if hours < 2.0 => format!("{:.0} min", hours * 60.0),
        hours if hours <= 72.0 => format!("{} h", figure(hours)),
        hours => format!("{} days", figure(hours / 24.0)),
    }
}

#[cfg(test)]
#[path = "size/tests.rs"]
mod tests;
