//! `chrysalis inspect FILE`: what it is, and what each destination of a configuration would be sent. Nothing of what stands
//! in it about a patient is shown.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::Exit;
use super::files::Looked;
use super::table::{Table, printable, size};
use crate::config::Config;
use crate::dicom::keyword::sop_class_name;
use crate::dicom::scan::Structure;
use crate::tls::Security;
use crate::transcode::{Content, Expectation, Image, Loss, Photometric, Sign, Veto, expect};

/// Which files.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// DICOM files.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Only what this destination would be sent.
    #[arg(long, value_name = "NAME")]
    pub destination: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What one file is, and what would become of it.
struct Answer {
    facts: Vec<(&'static str, Value)>,
    destinations: Vec<Sent>,
}

/// What one destination would be sent.
struct Sent {
    destination: String,
    /// Whether that could be read on the way; none for a folder.
    security: Option<&'static str>,
    ways: Vec<Expectation>,
}

impl InspectArgs {
    /// Prints what each file is and would become. Fails when one cannot be read.
    ///
    /// # Errors
    /// There is no such destination, or the output cannot be written.
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        if let Some(name) = self.destination.as_ref().filter(|name| config.destination(name).is_none()) {
            let names: Vec<_> = config.destinations.iter().map(|d| d.name.as_str()).collect();
            anyhow::bail!("{name}: no destination has that name; there is: {}", names.join(", "));
        }
        let (mut exit, mut list) = (Exit::Done, Vec::new());
        for (index, path) in self.files.iter().enumerate() {
            let shown = path.display().to_string();
            let answer = self.ask(path, config);
            if answer.is_err() {
                exit = Exit::Failed;
            }
            if self.json {
                list.push(match answer {
                    Ok(answer) => answer.json(&shown),
                    Err(error) => json!({ "file": shown, "error": super::once(&error) }),
                });
                continue;
            }
            let between = if index > 0 { "\n" } else { "" };
            write!(out, "{between}{}", printable(&shown))?;
            match answer {
                Ok(answer) => answer.write(out)?,
                Err(error) => writeln!(out, ": {}", printable(&super::once(&error)))?,
            }
        }
        if self.json {
            writeln!(out, "{:#}", Value::Array(list))?;
        }
        Ok(exit)
    }

    fn ask(&self, path: &Path, config: &Config) -> anyhow::Result<Answer> {
        let looked = Looked::at(path)?;
        let asked = |name: &str| self.destination.as_ref().is_none_or(|wanted| wanted == name);
        let destinations = config.destinations.iter().filter(|destination| asked(destination.name.as_str()));
        let destinations = destinations.map(|destination| Sent {
            destination: destination.name.to_string(),
            security: destination.security().map(Security::word),
            ways: expect(&looked.subject, &destination.compression, destination.receiver()),
        });
        Ok(Answer { destinations: destinations.collect(), facts: facts(&looked) })
    }
}

impl Answer {
    fn json(&self, file: &str) -> Value {
        let facts = self.facts.iter().map(|(name, value)| (name.replace(' ', "_"), value.clone()));
        let mut answer: Map<String, Value> = facts.collect();
        answer.insert("file".to_owned(), file.into());
        let destinations = self.destinations.iter();
        let destinations = destinations.map(|Sent { destination, security, ways }| {
            json!({ "destination": destination, "security": security, "ways": ways })
        });
        answer.insert("destinations".to_owned(), destinations.collect());
        Value::Object(answer)
    }

    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out)?;
        for (name, value) in &self.facts {
            let value = match value {
                Value::Null => continue,
                Value::String(text) => printable(text),
                Value::Number(bytes) if name.ends_with("bytes") => {
                    format!("{bytes} ({})", size(bytes.as_u64().unwrap_or_default()))
                }
                other => other.to_string(),
            };
            writeln!(out, "  {name:<16} {value}")?;
        }
        writeln!(out)?;
        let mut table = Table::new(&["DESTINATION", "SECURITY", "SENT", "BECAUSE"]);
        for Sent { destination, security, ways } in &self.destinations {
            for (place, way) in ways.iter().enumerate() {
                let (name, security, form) = match place {
                    0 => (destination.clone(), security.unwrap_or_default().to_owned(), way.form.clone()),
                    _ => (String::new(), String::new(), format!("else {}", way.form)),
                };
                table.row([name, security, form, way.why.clone()]);
            }
        }
        table.write(out)
    }
}

fn facts(looked: &Looked) -> Vec<(&'static str, Value)> {
    let Looked { head, structure, subject, .. } = looked;
    let mut facts = vec![
        ("transfer syntax", named(head.transfer_syntax.name(), head.transfer_syntax.0.as_str())),
        ("sop class", named(sop_class_name(&head.sop_class).unwrap_or_default(), head.sop_class.as_str())),
        ("sop instance", head.sop_instance.to_string().into()),
        ("structure", described(*structure).into()),
        ("data set bytes", head.data_set_length.into()),
    ];
    match &subject.content {
        Content::NoPixels => facts.push(("pixels", "none".into())),
        Content::OtherPixels(why) => facts.push(("pixels", format!("not decoded here: {why}").into())),
        Content::Untouchable(why) => facts.push(("pixels", format!("not touched: {why}").into())),
        Content::Image(image) => facts.extend(image_facts(image)),
    }
    facts
}

fn named(name: &str, uid: &str) -> Value {
    if name.is_empty() || name == uid { uid.into() } else { format!("{name} ({uid})").into() }
}

fn described(structure: Structure) -> String {
    match structure {
        Structure::Sound => "sound".to_owned(),
        Structure::Odd { reason, at } => format!("odd at byte {at}: {reason}"),
        Structure::Truncated { at } => format!("cut off at byte {at}"),
        Structure::NotWalked => "not looked into: deflated or unknown encoding".to_owned(),
    }
}

fn image_facts(image: &Image) -> Vec<(&'static str, Value)> {
    let bits = format!("{} of {}", image.bits_stored, image.bits_allocated);
    let sign = if image.sign == Sign::Signed { ", signed" } else { "" };
    let bytes_of_sample = u64::from(image.bits_allocated.div_ceil(8));
    let samples = u64::from(image.rows) * u64::from(image.columns) * u64::from(image.samples);
    let native = samples.saturating_mul(bytes_of_sample).saturating_mul(u64::from(image.frames));
    let loss = match image.loss {
        Loss::None => "none known",
        Loss::Earlier => "compressed with loss before it came",
        Loss::Stored => "stored with loss",
    };
    let veto = image.veto.map(|veto| match veto {
        Veto::Region => "in colour: a region has a colour mode",
        Veto::ImageType => "in colour: Image Type names a colour mode",
    });
    vec![
        ("kind", if image.frames > 1 { "loop" } else { "image" }.into()),
        ("frames", image.frames.into()),
        ("rows", image.rows.into()),
        ("columns", image.columns.into()),
        ("photometric", photometric(image.photometric).into()),
        ("samples", image.samples.into()),
        ("bits", format!("{bits}{sign}").into()),
        ("loss", loss.into()),
        ("b-mode", veto.into()),
        ("native bytes", native.into()),
    ]
}

fn photometric(photometric: Photometric) -> &'static str {
    match photometric {
        Photometric::Monochrome1 => "MONOCHROME1",
        Photometric::Monochrome2 => "MONOCHROME2",
        Photometric::PaletteColor => "PALETTE COLOR",
        Photometric::Rgb => "RGB",
        Photometric::YbrFull => "YBR_FULL",
        Photometric::YbrFull422 => "YBR_FULL_422",
        Photometric::YbrPartial420 => "YBR_PARTIAL_420",
        Photometric::YbrPartial422 => "YBR_PARTIAL_422",
        Photometric::YbrIct => "YBR_ICT",
        Photometric::YbrRct => "YBR_RCT",
    }
}
