//! Filling the index from the journals and the names in the spool.

use std::collections::{BTreeMap, HashMap};
use std::io;

use crate::fs::{File, Mode};
use crate::id::{Name, Sequence};
use crate::instance::{Delivery, Instance};
use crate::journal::writer::REMOVED_FRAME_LEN;
use crate::journal::{Ending, Journal, Mark, Record};
use crate::spool::{Paths, Spool};
use crate::view::kv::KvError;
use crate::view::{View, transition};

/// Why the index could not be filled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// A directory or a journal cannot be read.
    #[error("reading the journals: {0}")]
    Io(#[from] io::Error),
    /// The index does not take it.
    #[error(transparent)]
    Index(#[from] KvError),
}

/// What the journals of one bucket say.
#[derive(Default)]
pub(crate) struct BucketRead {
    pub(crate) instances: BTreeMap<Sequence, (Instance, Vec<Delivery>)>,
    /// Records about instances that no readable record of this bucket commits.
    pub(crate) orphans: HashMap<Sequence, Vec<Record>>,
    /// Something that was durable cannot be read, and nobody has taken note of that yet.
    pub(crate) damaged: bool,
    /// Files in which that is so, noted or not.
    pub(crate) damaged_files: u64,
    pub(crate) closed: bool,
    pub(crate) newest_boot: u32,
    pub(crate) last_batch: u64,
    /// The records of the last batch, which may not be durable.
    pub(crate) last_records: Vec<Record>,
}

/// What filling found out beside the index.
#[derive(Default)]
pub(crate) struct Filled {
    /// Files that no journal commits.
    pub(crate) unknown: Vec<(u32, Name, u64)>,
    /// Instances of which something is owed and whose file is missing or has another length.
    pub(crate) missing: HashMap<Sequence, &'static str>,
    pub(crate) orphans: HashMap<Sequence, Vec<Record>>,
    /// Per bucket: the journal's newest boot, last batch and the records of it.
    pub(crate) tails: BTreeMap<u32, (u32, u64, Vec<Record>)>,
    /// Buckets of whose journals something durable is gone, and the instances that are known of each.
    pub(crate) damaged: HashMap<u32, Vec<Sequence>>,
    pub(crate) unclosed: Vec<u32>,
    /// Buckets whose payloads are gone, and since when.
    pub(crate) ledgers: BTreeMap<u32, u64>,
    /// Directories of buckets.
    pub(crate) directories: Vec<u32>,
    /// Boots before this one have been recovered from to the end.
    pub(crate) settled: u32,
    /// The highest receive sequence so far.
    newest: Sequence,
}

/// Fills an empty index.
pub(crate) fn fill(spool: &Spool, view: &mut View) -> Result<Filled, ReplayError> {
    let (directories, mut files) = list_files(spool)?;
    let mut filled = Filled { directories, ..Filled::default() };
    view.begin_filling();
    for (bucket, boots) in journals_of(spool, &filled.directories)? {
        if !filled.directories.contains(&bucket)
            && let Some(at) = removed_at(spool, bucket, &boots)?
        {
            filled.ledgers.insert(bucket, at);
            continue;
        }
        let read = read_files(spool, bucket, &boots, &mut |_| {})?;
        view.know_bucket(bucket);
        if read.damaged {
            filled.damaged.insert(bucket, read.instances.keys().copied().collect());
        }
        fill_bucket(view, &mut files, &mut filled, read.instances)?;
        filled.tails.insert(bucket, (read.newest_boot, read.last_batch, read.last_records));
        filled.orphans.extend(read.orphans);
        if !read.closed {
            filled.unclosed.push(bucket);
        }
    }
    view.end_filling()?;
    let unknown =
        files.into_iter().flat_map(|(b, files)| files.into_iter().map(move |(name, len)| (b, name, len)));
    filled.unknown = unknown.collect();
    filled.unknown.sort_unstable();
    Ok(filled)
}

fn fill_bucket(
    view: &mut View,
    files: &mut Files,
    filled: &mut Filled,
    instances: BTreeMap<Sequence, (Instance, Vec<Delivery>)>,
) -> Result<(), KvError> {
    for (sequence, (instance, deliveries)) in instances {
        let len = files.get_mut(&instance.bucket).and_then(|files| files.remove(&instance.name));
        let wrong = match len {
            None => Some("the spool file is missing"),
            Some(len) if Some(len) != instance.extent.file_len() => Some("the spool file has another length"),
            Some(_) => None,
        };
        // Two files with one receive sequence are one instance: the one whose file is there. What comes after all others
        // has no twin before it, which spares asking the index about nearly every instance.
        let twin = if sequence > filled.newest { None } else { view.instance(sequence)? };
        filled.newest = filled.newest.max(sequence);
        if let Some(twin) = twin {
            if wrong.is_some() || !(filled.missing.contains_key(&sequence) || view.is_payload_gone(sequence))
            {
                continue;
            }
            filled.missing.remove(&sequence);
            view.forget(&twin)?;
        }
        let is_final = !deliveries.iter().any(|d| d.state.is_open());
        view.insert_new(&instance, deliveries)?;
        match wrong {
            Some(_) if is_final && len.is_none() => {
                let at = view.final_at(&instance)?.unwrap_or_default();
                view.payload_gone(&instance, at)?;
            }
            Some(why) if !is_final => {
                filled.missing.insert(sequence, why);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The lengths of all spool files, by bucket: many small tables, whose memory serves the index afterwards, and not one
/// that is doubled again and again.
type Files = HashMap<u32, HashMap<Name, u64>>;

/// The bucket directories, and every spool file with its length.
fn list_files(spool: &Spool) -> io::Result<(Vec<u32>, Files)> {
    let mut directories = Vec::new();
    let mut files = Files::new();
    for entry in spool.fs.list(&spool.paths.spool())? {
        let Some(bucket) = entry.name.parse::<u32>().ok().filter(|_| entry.is_dir) else { continue };
        directories.push(bucket);
        for file in spool.fs.list(&spool.paths.bucket(bucket))? {
            if let Some(name) = spool.paths.name_of(&file.name) {
                files.entry(bucket).or_default().insert(name, file.len);
            }
        }
    }
    directories.sort_unstable();
    Ok((directories, files))
}

pub(crate) fn list_journals(spool: &Spool) -> io::Result<BTreeMap<u32, Vec<u32>>> {
    let mut journals: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in spool.fs.list(&spool.paths.journals())? {
        if let Some((bucket, boot)) = Paths::journal_of(&entry.name) {
            journals.entry(bucket).or_default().push(boot);
        }
    }
    journals.values_mut().for_each(|boots| boots.sort_unstable());
    Ok(journals)
}

/// The same, with the buckets that have payloads and a mark and no journal any more. Marks of what is gone are forgotten.
fn journals_of(spool: &Spool, directories: &[u32]) -> io::Result<BTreeMap<u32, Vec<u32>>> {
    let mut journals = list_journals(spool)?;
    for bucket in spool.marks.buckets() {
        if directories.binary_search(&bucket).is_ok() {
            journals.entry(bucket).or_default();
        } else if !journals.contains_key(&bucket) {
            spool.marks.forget(bucket);
        }
    }
    Ok(journals)
}

/// The boots in which a bucket's journal was written, in order.
pub(crate) fn journal_boots(spool: &Spool, bucket: u32) -> io::Result<Vec<u32>> {
    Ok(list_journals(spool)?.remove(&bucket).unwrap_or_default())
}

/// What the journals of a bucket say.
pub(crate) fn read_bucket(spool: &Spool, bucket: u32) -> io::Result<BucketRead> {
    read_files(spool, bucket, &journal_boots(spool, bucket)?, &mut |_| {})
}

/// When the bucket was removed, if the end of its newest journal says so: a ledger need not be read whole.
pub(crate) fn removed_at(spool: &Spool, bucket: u32, boots: &[u32]) -> io::Result<Option<u64>> {
    let Some(newest) = boots.last() else { return Ok(None) };
    let file = spool.fs.open(&spool.paths.journal(bucket, *newest), Mode::Read)?;
    let Some(at) = file.size()?.checked_sub(REMOVED_FRAME_LEN as u64) else { return Ok(None) };
    let mut frame = [0; REMOVED_FRAME_LEN];
    file.read_exact_at(&mut frame, at)?;
    Ok(match Journal::single_frame(&frame) {
        Some(Record::Removed { at }) => Some(at),
        _ => None,
    })
}

/// The same for the boots that are known, telling of each record that can be read.
pub(crate) fn read_files(
    spool: &Spool,
    bucket: u32,
    boots: &[u32],
    each: &mut dyn FnMut(&Record),
) -> io::Result<BucketRead> {
    let mut read = BucketRead::default();
    let mut damaged_boots = Vec::new();
    let mut noted = 0;
    let mark = spool.marks.of(bucket);
    for &boot in boots {
        let file = spool.fs.open(&spool.paths.journal(bucket, boot), Mode::Read)?;
        let durable = mark.filter(|mark| mark.boot == boot).map_or(0, |mark| mark.batch);
        let journal = read_one(&*file, bucket, boot, read.last_batch, durable)?;
        if journal.ending == Ending::Damaged {
            damaged_boots.push(boot);
        }
        // The file before this one ended sooner than when this one was begun.
        if journal.after_batch > read.last_batch {
            damaged_boots.push(read.newest_boot);
        }
        read.newest_boot = boot;
        read.last_batch = journal.last_batch.max(read.last_batch);
        if !journal.records.is_empty() {
            read.last_records = journal.last_batch_records().to_vec();
        }
        for record in journal.records {
            each(&record);
            match record {
                Record::DamageNoted { boot, .. } => noted = boot.max(noted),
                Record::Closed { .. } => read.closed = true,
                other => read.apply(other),
            }
        }
    }
    if let Some(Mark { boot, .. }) = mark.filter(|mark| !boots.contains(&mark.boot))
        && is_older(spool, bucket, boots, boot)
    {
        damaged_boots.push(boot);
        read.newest_boot = boot.max(read.newest_boot);
    }
    damaged_boots.dedup();
    read.damaged_files = damaged_boots.len() as u64;
    read.damaged = damaged_boots.iter().any(|boot| *boot > noted || noted == 0);
    Ok(read)
}

/// Whether a bucket was there in a boot already, and is not one that has the number of another. It is when nobody can say.
fn is_older(spool: &Spool, bucket: u32, boots: &[u32], boot: u32) -> bool {
    if boots.iter().any(|other| *other < boot) {
        return true;
    }
    let is_of = |name: Name| name.boot() <= boot;
    match spool.fs.list(&spool.paths.bucket(bucket)) {
        Ok(files) => files.iter().any(|file| spool.paths.name_of(&file.name).is_some_and(is_of)),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Bytes that the disk will not read are like bytes that are wrong: the rest of the spool must still be had.
fn read_one(file: &dyn File, bucket: u32, boot: u32, before: u64, durable: u64) -> io::Result<Journal> {
    match Journal::read(file, bucket, boot, before, durable) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Ok(Journal::unreadable(before)),
        other => other,
    }
}

impl BucketRead {
    fn apply(&mut self, record: Record) {
        let Some(sequence) = transition::subject(&record) else { return };
        if let Record::Committed { instance, owed, conflicting } = record {
            let deliveries = owed.into_iter().map(|owed| Delivery {
                destination: owed.destination,
                state: owed.start.state(),
                at: instance.received_at,
                since: instance.since,
                conflicting,
            });
            let deliveries = deliveries.collect();
            self.instances.entry(sequence).or_insert((*instance, deliveries));
            return;
        }
        match self.instances.get_mut(&sequence) {
            Some((_, deliveries)) => *deliveries = transition::apply(deliveries, &record),
            None => self.orphans.entry(sequence).or_default().push(record),
        }
    }
}
