//! What a site needs, each figure with its formula in words, and the profile that is enough.

use chrysalis_sizing::{
    BUSY_SECONDS, CORES_SHARE, CapacityError, Host, MEMORY_SHARE, Measured, PROFILES, Profile, Resource,
    Site, most_of,
};
use serde_json::{Value, json};

use super::super::Exit;
use super::super::table::Table;
use super::{Answer, amount, bit_rate, costs_from, duration, figure, size, studies, work_data};

/// Everything the site needs, beside what the host has if there is one.
///
/// # Errors
/// The backlog of an outage never drains.
pub(super) fn answer(site: &Site<'_>, host: Option<Host>, costs: &Measured) -> anyhow::Result<Answer> {
    let enough = Enough::of(site, costs);
    let cores = host.map_or_else(|| enough.cores(site, costs), |host| host.cores);
    let drain = site.drain_hours(cores, costs).map_err(|error| refusal(site, costs, &error))?;
    let mut headings = vec!["WHAT", "NEEDED", "PROFILE", "WHY"];
    if host.is_some() {
        headings.insert(2, "HOST");
    }
    let mut table = Table::new(&headings);
    let mut row = |what: &str, needed: String, has: String, profile: String, why: String| {
        let mut cells = vec![what.to_owned(), needed, profile, why];
        if host.is_some() {
            cells.insert(2, has);
        }
        table.row(cells);
    };
    for resource in [Resource::Cores, Resource::Memory, Resource::Disk, Resource::Uplink] {
        let needed = amount(resource, site.need(resource, costs));
        let profile = match resource {
            Resource::Uplink => String::new(),
            _ => enough.of_resource(resource).map_or("none", |profile| profile.name).to_owned(),
        };
        row(resource.name(), needed, has(resource, host, site), profile, why(resource, site, costs));
    }
    let out = site.drains_at(cores, costs);
    let why = format!(
        "{} studies / ({} studies/h that can leave - {} that come)",
        figure(site.backlog()),
        figure(out),
        site.studies_per_hour
    );
    row("drain", duration(drain), String::new(), String::new(), why);
    let lacks = host.map_or(Vec::new(), |host| site.lacks(&host, costs));
    let exit = if lacks.is_empty() { Exit::Done } else { Exit::Failed };
    let head = vec![
        format!("{} studies/h and an outage of {}.", site.studies_per_hour, duration(site.outage_hours)),
        format!("Studies are {}.", studies(site)),
    ];
    let mut tail = verdict(host.is_some(), &lacks, &enough);
    tail.push(format!(
        "With {} of disk, nothing that was delivered has to give way in its {}.",
        size(site.disk_to_retain()),
        duration(site.keeping.retain_hours)
    ));
    tail.push(by_table(site));
    tail.push(costs_from(costs));
    let data = data(site, costs, &enough, drain, &lacks);
    Ok(Answer { head, table, tail, data, exit })
}

/// The smallest profile with enough of each resource of a machine.
struct Enough(Vec<Part>);

struct Part {
    resource: Resource,
    need: f64,
    /// None where no profile has enough.
    profile: Option<&'static Profile>,
}

impl Part {
    /// How large the profile is that it takes, and then how much of that it takes.
    fn weight(&self) -> (usize, f64) {
        let at = PROFILES.iter().position(|each| Some(each) == self.profile);
        let whole = self.profile.map_or(1.0, |profile| match self.resource {
            Resource::Cores => f64::from(profile.cores),
            Resource::Memory => profile.memory as f64,
            Resource::Disk | Resource::Uplink => profile.disk as f64,
        });
        (at.unwrap_or(PROFILES.len()), self.need / whole)
    }
}

impl Enough {
    fn of(site: &Site<'_>, costs: &Measured) -> Self {
        let part = |resource| Part {
            resource,
            need: site.need(resource, costs),
            profile: site.profile_for(resource, costs),
        };
        Self(Resource::OF_HOST.into_iter().map(part).collect())
    }

    fn of_resource(&self, resource: Resource) -> Option<&'static Profile> {
        self.0.iter().find(|part| part.resource == resource).and_then(|part| part.profile)
    }

    /// The smallest with enough of everything, and what decided.
    fn of_all(&self) -> (Option<&'static Profile>, Resource) {
        let heavier = |a: &&Part, b: &&Part| {
            let ((a, share), (b, other)) = (a.weight(), b.weight());
            a.cmp(&b).then(share.total_cmp(&other))
        };
        self.0.iter().max_by(heavier).map_or((None, Resource::Disk), |part| (part.profile, part.resource))
    }

    /// The cores that a backlog drains with: those of the profile, or as many as are needed where none has enough.
    fn cores(&self, site: &Site<'_>, costs: &Measured) -> f64 {
        let own = self.of_all().0.or(self.of_resource(Resource::Cores));
        own.map_or_else(|| site.cores(costs).ceil(), |profile| f64::from(profile.cores))
    }
}

fn has(resource: Resource, host: Option<Host>, site: &Site<'_>) -> String {
    let Some(host) = host else { return String::new() };
    match resource {
        Resource::Cores => format!("{}", host.cores),
        Resource::Memory => amount(resource, host.memory as f64),
        Resource::Disk => amount(resource, host.disk as f64),
        Resource::Uplink => site.uplink.map_or(String::new(), |uplink| amount(resource, uplink)),
    }
}

/// The formula of a figure in words, with what goes into it.
fn why(resource: Resource, site: &Site<'_>, costs: &Measured) -> String {
    let work = &site.work;
    match resource {
        Resource::Cores => format!(
            "{} studies in the busiest {:.0} min x {} s of a core / {BUSY_SECONDS:.0} s / {}",
            figure(most_of(site.studies_per_hour * BUSY_SECONDS / 3600.0)),
            BUSY_SECONDS / 60.0,
            figure(work.cpu_seconds(costs)),
            percent(CORES_SHARE)
        ),
        Resource::Memory => {
            let frames = if work.converts() { ", frames in flight" } else { "" };
            let instances = site.studies_in(site.outage_hours + site.keeping.retain_hours) * work.instances();
            format!(
                "{} resident (idle {}, {} carts x {}, {} instances x {} B{frames}) / {}",
                size(site.resident(costs)),
                size(costs.idle_memory),
                site.associations,
                size(costs.association_memory),
                figure(instances),
                figure(costs.instance_memory),
                percent(MEMORY_SHARE)
            )
        }
        Resource::Disk => format!(
            "({} studies x {} + {} of journals + {} for copies and reserve) / {}",
            figure(site.backlog()),
            size(work.bytes_in()),
            size(site.journals()),
            size(site.keeping.cache + site.keeping.reserve),
            percent(site.keeping.high_watermark)
        ),
        Resource::Uplink => format!(
            "{} studies/h x {} / 3600 s / {}; twice as much drains in the time of the outage",
            site.studies_per_hour,
            size(work.bytes_out()),
            percent(costs.uplink_share)
        ),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn verdict(on_host: bool, lacks: &[Resource], enough: &Enough) -> Vec<String> {
    let names = || lacks.iter().map(|resource| resource.name()).collect::<Vec<_>>().join(" and ");
    let host = match (on_host, lacks.is_empty()) {
        (false, _) => None,
        (true, true) => Some("This host is enough.".to_owned()),
        (true, false) => Some(format!("This host is NOT enough: it has too little {}.", names())),
    };
    let profile = match enough.of_all() {
        (Some(profile), resource) => {
            format!("Profile {} is enough; what decides is {resource}.", profile.name)
        }
        (None, resource) => format!("No profile is enough: what decides is {resource}."),
    };
    host.into_iter().chain([profile]).collect()
}

/// What the table that profiles are from has for so many studies.
fn by_table(site: &Site<'_>) -> String {
    let meant = |profile: &&Profile| {
        profile.studies_per_hour.is_some_and(|most| f64::from(most) >= site.studies_per_hour)
    };
    let gb = |bytes| bytes / 1_000_000_000;
    match PROFILES.iter().find(meant) {
        Some(Profile { name, cores, memory, disk, source, studies_per_hour, .. }) => format!(
            "By {source} it would be {name}, for about {} studies/h: {cores} cores, {} GB, {} GB of disk.",
            studies_per_hour.unwrap_or_default(),
            gb(memory),
            gb(disk)
        ),
        None => format!("There is no row for so many studies in {}.", PROFILES[0].source),
    }
}

fn refusal(site: &Site<'_>, costs: &Measured, error: &CapacityError) -> anyhow::Error {
    match error {
        CapacityError::NeverDrains { leaves, arrives }
            if site.uplink.is_some_and(|uplink| uplink < costs.forward_rate) =>
        {
            anyhow::anyhow!(
                "the uplink is too slow: {} of studies come and {} can leave, so a backlog never drains; {} is the least, and {} drains one in the time of the outage",
                bit_rate(*arrives),
                bit_rate(*leaves),
                bit_rate(site.uplink_needed(costs)),
                bit_rate(2.0 * site.uplink_needed(costs))
            )
        }
        CapacityError::NeverDrains { leaves, arrives } => anyhow::anyhow!(
            "one node is too small: {} of studies come and {} can leave, so a backlog never drains",
            bit_rate(*arrives),
            bit_rate(*leaves)
        ),
        other => (*other).into(),
    }
}

fn data(site: &Site<'_>, costs: &Measured, enough: &Enough, drain: f64, lacks: &[Resource]) -> Value {
    let (profile, decides) = enough.of_all();
    json!({
        "studies_per_hour": site.studies_per_hour,
        "outage_hours": site.outage_hours,
        "work": work_data(site, costs),
        "need": {
            "cores": site.cores(costs),
            "memory_bytes": site.memory(costs),
            "resident_bytes": site.resident(costs),
            "disk_bytes": site.disk(),
            "disk_to_retain_bytes": site.disk_to_retain(),
            "uplink_bytes_per_second": site.uplink_needed(costs),
        },
        "backlog_studies": site.backlog(),
        "drain_hours": drain,
        "profile": profile.map(|profile| profile.name),
        "decides": decides.name(),
        "lacking": lacks.iter().map(|resource| resource.name()).collect::<Vec<_>>(),
    })
}
