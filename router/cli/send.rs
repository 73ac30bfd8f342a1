//! `chrysalis send`: C-STORE files to a peer, unchanged.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::files::files_below;
use super::tls_args::TlsArgs;
use crate::dicom::part10::FileHead;
use crate::dicom::{AeTitle, TransferSyntax, Uid};
use crate::dimse::requestor::SyncSource;
use crate::dimse::{Outbound, PeerAddress, Proposal, Requestor, StoreError, StoreRequest, Timers, dial};
use crate::tls::ClientTls;

/// Send DICOM files to a peer with C-STORE, in the transfer syntax they have.
#[derive(Debug, clap::Args)]
pub struct SendArgs {
    /// Whom to call, as AE@host:port
    pub peer: PeerAddress,
    /// Files, or directories that are searched for files
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// The AE title to call as
    #[arg(long, default_value = "CHRYSALIS")]
    pub calling: AeTitle,
    /// The P-DATA-TF length to advertise, in bytes
    #[arg(long, default_value_t = 131_072, value_parser = clap::value_parser!(u32).range(4096..=131_072))]
    pub max_pdu: u32,
    /// How long to wait for a connection
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    pub connect_timeout: Duration,
    /// How long to wait for the peer in anything else
    #[arg(long, default_value = "300s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// TLS
    #[command(flatten)]
    pub tls: TlsArgs,
}

/// A file and what its head says.
struct Item {
    path: PathBuf,
    head: FileHead,
}

/// A SOP class in a transfer syntax: what one presentation context is for.
type ContextKey = (Uid, TransferSyntax);

/// How it went.
#[derive(Default)]
struct Tally {
    sent: usize,
    failed: usize,
    skipped: usize,
    bytes: u64,
}

/// Sends every DICOM file among the paths and prints what failed.
///
/// The exit code is 0 when all were taken and 1 when one was not, or when there was nothing to send.
///
/// # Errors
/// A path does not exist or a directory cannot be read.
pub async fn run(args: SendArgs) -> anyhow::Result<ExitCode> {
    let mut tally = Tally::default();
    let items = collect(&args.paths, &mut tally)?;
    let bytes = items.iter().map(|item| item.head.data_set_length).sum();
    let bar = ProgressBar::new(bytes).with_style(style());
    let started = std::time::Instant::now();
    for batch in batches(items) {
        send_batch(&args, batch, &bar, &mut tally).await;
    }
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    eprintln!(
        "{} sent, {} failed, {} skipped; {:.1} MB in {seconds:.2} s",
        tally.sent,
        tally.failed,
        tally.skipped,
        tally.bytes as f64 / 1e6
    );
    let all_well = tally.failed == 0 && tally.sent > 0;
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads the heads of all files; what is no DICOM file in a directory is skipped, and a failure when it was named.
fn collect(paths: &[PathBuf], tally: &mut Tally) -> anyhow::Result<Vec<Item>> {
    let mut items = Vec::new();
    for named in paths {
        for path in files_below(named)? {
            match File::open(&path).map_err(Into::into).and_then(|mut file| FileHead::read(&mut file)) {
                Ok(head) => items.push(Item { path, head }),
                Err(error) if path == *named => {
                    tally.failed += 1;
                    eprintln!("{}: {error}", path.display());
                }
                Err(_) => tally.skipped += 1,
            }
        }
    }
    Ok(items)
}

/// Cuts the items into runs that need at most 128 contexts each, which is what one association can have.
fn batches(items: Vec<Item>) -> Vec<Vec<Item>> {
    let mut batches: Vec<Vec<Item>> = Vec::new();
    let mut keys = std::collections::BTreeSet::new();
    for item in items {
        let key = key_of(&item);
        if batches.is_empty() || (keys.len() == 128 && !keys.contains(&key)) {
            keys.clear();
            batches.push(Vec::new());
        }
        keys.insert(key);
        if let Some(batch) = batches.last_mut() {
            batch.push(item);
        }
    }
    batches
}

fn key_of(item: &Item) -> ContextKey {
    (item.head.sop_class.clone(), item.head.transfer_syntax.clone())
}

/// Sends a batch over one association; after an association is lost the rest goes over a new one, without the item that was
/// under way. When no association can be had, all that is left has failed.
async fn send_batch(args: &SendArgs, batch: Vec<Item>, bar: &ProgressBar, tally: &mut Tally) {
    let keys: BTreeMap<ContextKey, ()> = batch.iter().map(|item| (key_of(item), ())).collect();
    let contexts = keys.into_keys().map(|(class, syntax)| (class, vec![syntax.0])).collect();
    let mut proposal = Proposal::new(args.calling.clone(), args.peer.ae_title.clone(), contexts);
    proposal.max_pdu = args.max_pdu;
    let mut association = None;
    let mut items = batch.into_iter();
    while let Some(item) = items.next() {
        let mut open = match association.take() {
            Some(open) => open,
            None => match connect(args, &proposal).await {
                Ok(open) => open,
                Err(error) => {
                    bar.suspend(|| eprintln!("{}: {}", args.peer, super::once(&error)));
                    tally.failed += 1 + items.len();
                    return;
                }
            },
        };
        let outcome = send_one(&mut open, &item).await;
        bar.inc(item.head.data_set_length);
        match outcome {
            Ok(()) => {
                tally.sent += 1;
                tally.bytes += item.head.data_set_length;
                association = Some(open);
            }
            Err(failure) => {
                tally.failed += 1;
                bar.suspend(|| eprintln!("{}: {}", item.path.display(), failure.text));
                association = failure.association_lives.then_some(open);
            }
        }
    }
    if let Some(open) = association
        && let Err(error) = open.release().await
    {
        bar.suspend(|| eprintln!("{}: the release failed: {error}", args.peer));
    }
}

struct Failure {
    text: String,
    association_lives: bool,
}

async fn connect(args: &SendArgs, proposal: &Proposal) -> anyhow::Result<Requestor<Outbound>> {
    let tls = args.tls.settings()?.map(|settings| ClientTls::new(&settings)).transpose()?;
    let stream = dial(&args.peer.host, args.peer.port, tls.as_ref(), args.connect_timeout).await?;
    let timers = Timers { acse: args.timeout, dimse: args.timeout, ..Timers::default() };
    Ok(Requestor::open(stream, proposal, timers).await?)
}

async fn send_one(open: &mut Requestor<Outbound>, item: &Item) -> Result<(), Failure> {
    let head = &item.head;
    let stays = |text: String| Failure { text, association_lives: true };
    let context = open.context_for(&head.sop_class, &head.transfer_syntax).ok_or_else(|| {
        stays(format!("the peer does not accept SOP class {} as {}", head.sop_class, head.transfer_syntax))
    })?;
    let file = open_data_set(item).map_err(|error| stays(format!("cannot be read: {error}")))?;
    let request = StoreRequest {
        context,
        sop_class: head.sop_class.clone(),
        sop_instance: head.sop_instance.clone(),
        data_length: head.data_set_length,
    };
    match open.store(&request, &mut SyncSource(file)).await {
        Ok(response) if response.status.is_taken() => Ok(()),
        Ok(response) if response.comment.is_empty() => Err(stays(response.status.to_string())),
        Ok(response) => Err(stays(format!("{}: {}", response.status, response.comment))),
        Err(error @ StoreError::Context(_)) => Err(stays(error.to_string())),
        Err(error @ (StoreError::Link(_) | StoreError::Source(_))) => {
            Err(Failure { text: error.to_string(), association_lives: false })
        }
    }
}

fn open_data_set(item: &Item) -> io::Result<File> {
    let mut file = File::open(&item.path)?;
    file.seek(SeekFrom::Start(item.head.data_set_offset))?;
    Ok(file)
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
