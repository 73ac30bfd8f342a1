//! What a host can do: how many studies per hour by each of its parts, which part binds, and how long an outage it holds.

use chrysalis_sizing::{
    CORES_SHARE, CapacityError, Host, MEMORY_SHARE, MOST_OUTAGE_HOURS, MOST_STUDIES_PER_HOUR, Measured,
    PROFILES, Resource, Site,
};
use serde_json::json;

use super::super::Exit;
use super::super::table::Table;
use super::{Answer, amount, costs_from, duration, figure, size, studies, work_data};

/// What this host can do for such studies and such an outage.
///
/// # Errors
/// It is too small for a node that nothing comes to.
pub(super) fn answer(site: &Site<'_>, host: &Host, costs: &Measured) -> anyhow::Result<Answer> {
    let resources = [Resource::Cores, Resource::Memory, Resource::Disk, Resource::Uplink];
    let limits =
        resources.map(|resource| site.most_studies(resource, host, costs).map(|most| (resource, most)));
    let limits: Vec<_> = limits.into_iter().collect::<Result<_, _>>().map_err(|error| refusal(&error))?;
    let mut table = Table::new(&["LIMIT", "STUDIES/H", "WHY"]);
    for (resource, most) in &limits {
        table.row([resource.name().to_owned(), at_most(*most), why(*resource, site, host, costs)]);
    }
    let binding = limits.iter().copied().min_by(|(_, a), (_, b)| a.total_cmp(b));
    let (resource, most) = binding.unwrap_or((Resource::Disk, 0.0));
    let mut rates: Vec<_> =
        PROFILES.iter().filter_map(|profile| profile.studies_per_hour).map(f64::from).collect();
    rates.dedup();
    let outages: Vec<_> =
        rates.into_iter().map(|rate| (rate, site.at(rate).most_outage_hours(host).ok())).collect();
    let head = vec![
        format!(
            "A host with {} cores, {} of memory and {} of disk, for an outage of {}.",
            host.cores,
            size(host.memory as f64),
            size(host.disk as f64),
            duration(site.outage_hours)
        ),
        format!("Studies are {}.", studies(site)),
    ];
    let held = |(rate, hours): &(f64, Option<f64>)| {
        let hours = match hours {
            Some(hours) if *hours >= MOST_OUTAGE_HOURS => {
                format!("more than {}", duration(MOST_OUTAGE_HOURS))
            }
            Some(hours) => duration(*hours),
            None => "nothing".to_owned(),
        };
        format!("At {} studies/h the disk holds {hours} of outage.", figure(*rate))
    };
    let mut tail = vec![format!("It takes {} studies/h; what binds is {resource}.", at_most(most))];
    tail.extend(outages.iter().map(held));
    tail.push(costs_from(costs));
    let data = json!({
        "host": { "cores": host.cores, "memory_bytes": host.memory, "disk_bytes": host.disk },
        "outage_hours": site.outage_hours,
        "work": work_data(site, costs),
        "limits": limits.iter().map(|(resource, most)| (resource.name().to_owned(), json!(most))).collect::<serde_json::Map<_, _>>(),
        "studies_per_hour": most,
        "binds": resource.name(),
        "outages": outages.iter().map(|(rate, hours)| json!({ "studies_per_hour": rate, "hours": hours })).collect::<Vec<_>>(),
    });
    Ok(Answer { head, table, tail, data, exit: Exit::Done })
}

fn at_most(rate: f64) -> String {
    // Rounded down: what is printed fits the host.
    match rate {
        rate if rate >= MOST_STUDIES_PER_HOUR => format!("{MOST_STUDIES_PER_HOUR:.0} or more"),
        rate if rate >= 10.0 => format!("{:.0}", rate.floor()),
        rate => format!("{:.1}", (rate * 10.0).floor() / 10.0),
    }
}

fn why(resource: Resource, site: &Site<'_>, host: &Host, costs: &Measured) -> String {
    let work = &site.work;
    match resource {
        Resource::Cores => format!(
            "{} cores x {:.0} % keep up with the busiest five minutes, at {} s of a core for a study",
            host.cores,
            CORES_SHARE * 100.0,
            figure(work.cpu_seconds(costs))
        ),
        Resource::Memory => format!(
            "{} x {:.0} % for idle {}, {} carts x {}, and {} B for each instance in the spool",
            size(host.memory as f64),
            MEMORY_SHARE * 100.0,
            size(costs.idle_memory),
            site.associations,
            size(costs.association_memory),
            figure(costs.instance_memory)
        ),
        Resource::Disk => format!(
            "{} x {:.0} %, less {} for copies and reserve and what journals take, hold {} of studies of {}",
            size(host.disk as f64),
            site.keeping.high_watermark * 100.0,
            size(site.keeping.cache + site.keeping.reserve),
            duration(site.outage_hours),
            size(work.bytes_in())
        ),
        Resource::Uplink => match site.uplink {
            Some(uplink) => format!(
                "{} x {:.0} % carry studies of {}, and a backlog drains only below that",
                amount(resource, uplink),
                costs.uplink_share * 100.0,
                size(work.bytes_out())
            ),
            None => format!(
                "{}/s to one destination carry studies of {}; the network is no limit",
                size(costs.forward_rate),
                size(work.bytes_out())
            ),
        },
    }
}

fn refusal(error: &CapacityError) -> anyhow::Error {
    match error {
        CapacityError::TooSmall { resource, has, wants } => anyhow::anyhow!(
            "the host has no room: it has {} of {resource}, and a node takes {} before the first study comes",
            amount(*resource, *has),
            amount(*resource, *wants)
        ),
        other => (*other).into(),
    }
}
