//! Whether what is in the spool is what was received.

use chrysalis_queue::{Filter, Queue, Unavailable};
use serde_json::{Value, json};

/// Instances whose content is read before the next ones are asked for.
const PAGE: usize = 500;

/// Reads every payload in the spool and compares its SHA-256.
///
/// # Errors
/// [`Unavailable`] when the queue cannot be asked.
pub fn fsck(queue: &Queue) -> Result<Value, Unavailable> {
    let mut after = None;
    let (mut checked, mut problems) = (0u64, Vec::new());
    let mut last = None;
    loop {
        let page = queue.list(Filter { after, limit: PAGE, ..Filter::default() })?;
        for row in page.rows.iter().filter(|row| row.has_payload) {
            let sequence = row.instance.sequence;
            if last.replace(sequence) == Some(sequence) {
                continue;
            }
            checked += 1;
            if let Err(error) = queue.open_blob(&row.instance).and_then(|blob| blob.verify()) {
                problems.push(json!({ "instance": sequence.to_string(), "problem": error.to_string() }));
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(json!({ "checked": checked, "problems": problems })),
        }
    }
}
