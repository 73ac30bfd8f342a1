//! Memory while one very large object goes to a DICOMweb server.

use super::report::{Row, megabytes};
use super::support::instance::Study;
use super::support::modality::Modality;
use super::support::node::Node;
use super::support::wait::eventually;
use super::support::web::WebServer;
use std::time::{Duration, Instant};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// The most memory in all, of a node that was just started.
pub(crate) fn stow() -> Vec<Row> {
    let server = WebServer::well();
    let table = format!("[[destination]]\nname = \"web\"\nkind = \"dicomweb\"\nurl = \"{}\"\n", server.url());
    let node = Node::builder().queue("reserve = \"256MiB\"\nhigh_watermark = \"99%\"").table(&table).start();
    let before = megabytes(node.resident());
    let object = Study::new(40_000).huge(1, 500_000_000);
    let began = Instant::now();
    let answer = Modality::new(node.address).timeout(PATIENCE).store(&object).unwrap();
    assert_eq!(answer.status, 0);
    let received = megabytes(node.peak());
    eventually("delivery", PATIENCE, || {
        (node.metric("chrysalis_deliveries_total", &["outcome=\"delivered\""]) > 0.0).then_some(())
    });
    let took = began.elapsed().as_secs_f64();
    assert!(server.stored().iter().all(|stored| stored.digest() == object.digest()));
    let peak = megabytes(node.peak());
    let measured = format!(
        "{peak:.1} MB in all ({before:.1} before, {received:.1} when it was received), {took:.1} s from the first byte to its end"
    );
    vec![Row::below("peak memory, one object of 500 MB by STOW-RS", 64.0, "MB", peak, measured)]
}
