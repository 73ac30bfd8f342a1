//! The steps of a gateway, as far as they can be taken without the site's code: a session of our own would take the place of
//! the running one. Whether the link is open is told by the running node.

use std::time::{Duration, Instant};

use super::advice;
use super::report::{Advised, Finding, Found, Report, Step, StepName, TargetName};
use crate::config::TunnelDestination;
use crate::tunnel::dial::{self, DialError};
use crate::tunnel::link::read_code;

pub(super) async fn probe(tunnel: &TunnelDestination, limit: Duration) -> Report {
    let (url, site) = (tunnel.url.to_string(), tunnel.site.to_string());
    let target = TargetName::Tunnel { url: advice::shown(&url, 512), site };
    let mut report = Report::new(target, Some(tunnel.security()));
    let began = Instant::now();
    let total = |report: &mut Report| report.total_ms = began.elapsed().as_secs_f64() * 1000.0;
    let code = tunnel.code.clone();
    let read = tokio::task::spawn_blocking(move || read_code(&code)).await;
    let finding = match read.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
        Ok(_) => Finding::Ok { found: Found::Done },
        Err(error) => Finding::Failed(Advised {
            what: advice::shown(&error, 512),
            means: "No session can be opened without the site's code.".to_owned(),
            attempt: "Put what `chrysalis site add` printed at the gateway into the file, with mode 600."
                .to_owned(),
        }),
    };
    let is_read = matches!(finding, Finding::Ok { .. });
    total(&mut report);
    report.steps.push(Step { step: StepName::Credentials, milliseconds: report.total_ms, finding });
    if !is_read {
        return report;
    }
    let before = report.total_ms;
    let finding = match dial::reach(tunnel, limit).await {
        Ok(address) => {
            let what = if tunnel.url.is_secure { "TLS answers" } else { "the port answers" };
            report.questions.push(format!("{what}; the site's code is tried when the tunnel opens"));
            Finding::Ok { found: Found::Connected { address, passed_over: Vec::new() } }
        }
        Err(error) => Finding::Failed(advised(&error)),
    };
    total(&mut report);
    report.steps.push(Step { step: StepName::Connection, milliseconds: report.total_ms - before, finding });
    report
}

fn advised(error: &DialError) -> Advised {
    let (means, attempt) = match error {
        DialError::Tls(_) | DialError::Material(_) => (
            "The gateway is not who it has to be, or something stands in between that reads along.",
            "Compare the pins with what `chrysalis cert check` shows, from here and from elsewhere. Where the pin is right, `ca` has to name the authority.",
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
