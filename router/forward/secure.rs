//! TLS to one destination: made of its files when it is first needed, and then kept by all of its workers.

use tokio::sync::Mutex;

use super::dicomweb::authorization;
use super::verdict::End;
use crate::config::{Destination, DestinationKind, WebLogin};
use crate::dimse::{DialError, Outbound, dial};
use crate::metrics::Metrics;
use crate::tls::{ClientTls, HandshakeError, Role};

/// How the connections to one destination are made.
pub(super) struct Secure {
    name: String,
    settings: Option<crate::config::ClientTls>,
    /// Who we are at a DICOMweb server.
    login: Option<WebLogin>,
    made: Mutex<Option<ClientTls>>,
    metrics: Metrics,
}

impl Secure {
    pub(super) fn new(destination: &Destination, metrics: &Metrics) -> Self {
        let settings = match &destination.kind {
            DestinationKind::Dicom(dicom) => dicom.tls.as_deref().cloned(),
            DestinationKind::Web(web) => web.tls.clone(),
            DestinationKind::Folder(_) => None,
            // The link makes its own.
            DestinationKind::Tunnel(_) | DestinationKind::Site(_) => None,
        };
        let login = match &destination.kind {
            DestinationKind::Web(web) => Some(web.login.clone()),
            DestinationKind::Dicom(_)
            | DestinationKind::Folder(_)
            | DestinationKind::Tunnel(_)
            | DestinationKind::Site(_) => None,
        };
        let name = destination.name.as_str().to_owned();
        metrics.certificates.destination(&name, None);
        Self { name, settings, login, made: Mutex::default(), metrics: metrics.clone() }
    }

    /// Looks at the files, so that what is wrong with them is known before something is to be sent.
    ///
    /// # Errors
    /// As [`Secure::dial`], and [`End::NotAdmitted`] where there are no credentials.
    pub(super) async fn ready(&self) -> Result<(), End> {
        self.tls().await.map_err(|error| self.failed(&error))?;
        let Some(login) = self.login.clone() else { return Ok(()) };
        let read = tokio::task::spawn_blocking(move || authorization(&login).map(drop)).await;
        let read = read.map_err(|error| End::Unreachable(error.to_string()))?;
        read.map_err(|error| End::NotAdmitted {
            what: format!("credentials: {error}"),
            comment: String::new(),
        })
    }

    /// Connects, and makes the connection an encrypted one if that is configured.
    ///
    /// # Errors
    /// [`End::Unreachable`] for what may pass by itself, [`End::Insecure`] for what somebody has to mend.
    pub(super) async fn dial(
        &self,
        host: &str,
        port: u16,
        limit: std::time::Duration,
    ) -> Result<Outbound, End> {
        let tls = self.tls().await.map_err(|error| self.failed(&error))?;
        dial(host, port, tls.as_ref(), limit).await.map_err(|error| match error {
            DialError::Connect(error) => End::Unreachable(error.to_string()),
            DialError::Handshake(error) => self.failed(&error),
        })
    }

    /// Nothing is kept of a failure: files that have been mended are read at the next attempt.
    async fn tls(&self) -> Result<Option<ClientTls>, HandshakeError> {
        let Some(settings) = &self.settings else { return Ok(None) };
        let mut made = self.made.lock().await;
        if made.is_none() {
            let settings = settings.clone();
            let making = tokio::task::spawn_blocking(move || ClientTls::new(&settings)).await;
            let tls = making.map_err(|error| HandshakeError::Protocol(error.to_string()))??;
            self.metrics.certificates.destination(&self.name, Some(&tls));
            *made = Some(tls);
        }
        Ok(made.clone())
    }

    /// Counts a failure, and says what it means for the destination.
    pub(super) fn failed(&self, error: &HandshakeError) -> End {
        self.metrics.handshake_failed(Role::Destination, &self.name, error.reason());
        let what = format!("TLS: {error}");
        if error.is_for_a_person() { End::Insecure(what) } else { End::Unreachable(what) }
    }
}
