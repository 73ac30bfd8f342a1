//! The steps of a gateway, as far as they can be taken without the site's code: a session of our own would take the place of
//! the running one. Whether the link is open is told by the running node.

use std::time::{Duration, Instant};

use super::advice;
use super::report::{Advised, Finding, Found, Report, Step, StepName, TargetName};
use crate::config::TunnelDestination;
use crate::tunnel::dial::{self, DialError};

pub(super) async fn probe(tunnel: &TunnelDestination, limit: Duration) -> Report {
    let (url, site) = (tunnel.url.to_string(), tunnel.site.to_string());
    let target = TargetName::Tunnel { url: advice::shown(&url, 512), site };
    let mut report = Report::new(target, Some(tunnel.security()));
    let began = Instant::now();
    let finding = match dial::reach(tunnel, limit).await {
        Ok(address) => Finding::Ok { found: Found::Connected { address, passed_over: Vec::new() } },
        Err(error) => Finding::Failed(advised(&error)),
    };
    let milliseconds = began.elapsed().as_secs_f64() * 1000.0;
    report.steps.push(Step { step: StepName::Connection, milliseconds, finding });
    report.total_ms = milliseconds;
    report
}

fn advised(error: &DialError) -> Advised {
    let (means, attempt) = match error {
        DialError::Tls(_) | DialError::Material(_) => (
            "The gateway is not who it has to be, or something stands in between that reads along.",
            "Compare the pins with what `chrysalis cert check` shows, from here and from elsewhere.",
        ),
        DialError::ProxyLogin { .. } => (
            "The proxy wants to know who we are.",
            "Check proxy_user and proxy_password_file with whoever runs the proxy.",
        ),
        DialError::Proxy { .. } => ("The proxy does not let this through.", "Ask whoever runs the proxy."),
        _ => ("The gateway cannot be reached from here.", "Check url, proxy and firewall."),
    };
    let what = advice::shown(&error.to_string(), 512);
    Advised { what, means: means.to_owned(), attempt: attempt.to_owned() }
}
        DialError::NoAuthority(_) => (
            "The gateway's key is the pinned one, and its certificate is not trusted.",
            "Set `ca` of this destination to the file with the authority's certificate.",
        ),
