//! What the data sets in the spool say of patients: read when somebody asks for it, never logged, never in a metric.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrysalis_queue::{BlobError, Instance, Queue};
use serde::{Deserialize, Serialize};

use crate::dicom::stored::read_attributes;
use crate::dicom::{Attributes, Tag, TransferSyntax, Uid};
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

    pub(super) fn patient_id(&self, queue: &Queue, instance: &Instance) -> Result<Arc<str>, BlobError> {
        let id: Arc<str> = read(queue, instance, &[PATIENT_ID])?.decoded(PATIENT_ID).into();
        let mut known = self.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(instance.keys.subject, Arc::clone(&id));
        Ok(id)
    }

    pub(super) fn accession(&self, queue: &Queue, instance: &Instance) -> Result<String, BlobError> {
        Ok(read(queue, instance, &[ACCESSION_NUMBER])?.decoded(ACCESSION_NUMBER))
    }

    pub(super) fn reveal(&self, queue: &Queue, instance: &Instance) -> Result<Patient, BlobError> {
        let all = [STUDY_DATE, ACCESSION_NUMBER, MODALITY, STUDY_DESCRIPTION, PATIENT_NAME, PATIENT_ID];
        let attributes = read(queue, instance, &all)?;
        Ok(Patient {
            patient_id: attributes.decoded(PATIENT_ID),
            patient_name: attributes.decoded(PATIENT_NAME),
            accession_number: attributes.decoded(ACCESSION_NUMBER),
            study_date: attributes.decoded(STUDY_DATE),
            study_description: attributes.decoded(STUDY_DESCRIPTION),
            modality: attributes.decoded(MODALITY),
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

fn read(queue: &Queue, instance: &Instance, tags: &[Tag]) -> Result<Attributes, BlobError> {
    // What says how it came is in the same record as what says where it is.
    let arrival = Arrival::of(instance).map_err(|_| BlobError::Damaged("its envelope is unreadable"))?;
    let syntax = TransferSyntax(Uid::new(&arrival.transfer_syntax));
    let blob = queue.open_blob(instance)?;
    Ok(read_attributes(&blob, &syntax, tags)?)
}

const STUDY_DATE: Tag = Tag(0x0008, 0x0020);
const ACCESSION_NUMBER: Tag = Tag(0x0008, 0x0050);
const MODALITY: Tag = Tag(0x0008, 0x0060);
const STUDY_DESCRIPTION: Tag = Tag(0x0008, 0x1030);
const PATIENT_NAME: Tag = Tag(0x0010, 0x0010);
const PATIENT_ID: Tag = Tag(0x0010, 0x0020);
