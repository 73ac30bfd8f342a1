//! What the data sets in the spool say of patients: read when somebody asks for it, never logged, never in a metric.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrysalis_queue::{BlobError, Instance, Queue};
use serde::{Deserialize, Serialize};

use crate::dicom::attributes::{Attribute, Attributes};
use crate::dicom::{TransferSyntax, Uid};
use crate::receive::Arrival;

/// Patients that are remembered; some tens of bytes each.
const MAX_KNOWN: usize = 50_000;

/// Whose an instance is, as its data set says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patient {
    /// Patient ID.
    pub patient_id: String,
    /// Patient's Name.
    pub patient_name: String,
    /// Accession Number.
    pub accession_number: String,
    /// Study Date, as YYYYMMDD.
    pub study_date: String,
    /// Study Description.
    pub study_description: String,
    /// Modality.
    pub modality: String,
}

/// Why the beginning of a data set cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct HeaderError(#[from] BlobError);

/// Reads data sets' beginnings, and remembers patient IDs. Clones remember the same.
///
/// A queue's `subject` is a digest over patient ID, its issuer and the study (see `receive::store`): instances with
/// one subject have one patient ID, so that of a study one data set is read. An accession number is in no digest, and
/// is read from each.
#[derive(Clone, Default)]
pub struct Headers {
    known: Arc<Mutex<HashMap<[u8; 16], Arc<str>>>>,
}

impl Headers {
    /// The patient ID, if one of the same subject has been read.
    pub(super) fn known_patient_id(&self, instance: &Instance) -> Option<Arc<str>> {
        self.lock().get(&instance.keys.subject).cloned()
    }

    pub(super) fn patient_id(&self, queue: &Queue, instance: &Instance) -> Result<Arc<str>, HeaderError> {
        let id: Arc<str> = read(queue, instance)?.text(Attribute::PatientId).into();
        let mut known = self.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(instance.keys.subject, Arc::clone(&id));
        Ok(id)
    }

    pub(super) fn accession(&self, queue: &Queue, instance: &Instance) -> Result<String, HeaderError> {
        Ok(read(queue, instance)?.text(Attribute::AccessionNumber))
    }

    pub(super) fn reveal(&self, queue: &Queue, instance: &Instance) -> Result<Patient, HeaderError> {
        let attributes = read(queue, instance)?;
        Ok(Patient {
            patient_id: attributes.text(Attribute::PatientId),
            patient_name: String::new(),
            accession_number: attributes.text(Attribute::AccessionNumber),
            study_date: attributes.text(Attribute::StudyDate),
            study_description: attributes.text(Attribute::StudyDescription),
            modality: attributes.text(Attribute::Modality),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 16], Arc<str>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Headers(<phi>)")
    }
}

fn read(queue: &Queue, instance: &Instance) -> Result<Attributes, HeaderError> {
    let arrival = Arrival::of(instance).ok();
    let syntax = arrival.map(|arrival| TransferSyntax(Uid::new(&arrival.transfer_syntax)));
    let encoding = syntax.unwrap_or(TransferSyntax::EXPLICIT_VR_LE).encoding();
    let blob = queue.open_blob(instance)?;
    let mut walk = crate::dicom::walk::Walk::new(encoding);
    let mut chunk = vec![0; 64 << 10];
    let n = blob.read_at(&mut chunk, 0).map_err(BlobError::Io)?;
    walk.feed(chunk.get(..n).unwrap_or_default());
    Ok(walk.attributes().clone())
}
