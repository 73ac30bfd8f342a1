//! HTTP/1.1 to one server, over a connection that is kept for the requests that follow. No proxy is asked, no redirect is
//! followed, and no answer is read without a limit.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HOST, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout, timeout_at};

use super::body::{Boundary, FeedError, Part, Taken};
use super::response::{Body, Response, host_of, pause};
use crate::config::{WebDestination, WebUrl};
use crate::forward::secure::Secure;
use crate::forward::verdict::End;
use crate::tls::HandshakeError;

/// How long it may take to find out that a connection is still open.
const LOOK: Duration = Duration::from_secs(1);
/// An answer about 64 instances has some 40 KB.
const MAX_ANSWER: usize = 1 << 20;
/// JSON is what everybody has. One type alone: of a list with weights Orthanc complains in its log, each time.
const JSON: HeaderValue = HeaderValue::from_static("application/dicom+json");
/// For a server that says that it has not (406).
const XML: HeaderValue = HeaderValue::from_static("application/dicom+xml");
const US: HeaderValue = HeaderValue::from_static(concat!("Chrysalis/", env!("CARGO_PKG_VERSION")));

/// The way to a server.
pub(super) struct Connection {
    destination: WebDestination,
    secure: Arc<Secure>,
    open: Option<Open>,
    /// The media type that answers are to have.
    answers: HeaderValue,
}

struct Open {
    sender: SendRequest<Taken>,
    driver: Driver,
    /// It has carried something.
    is_used: bool,
}

/// What moves the bytes of a connection, while somebody waits for them.
struct Driver {
    moving: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    /// Why it moves no more.
    failure: Option<hyper::Error>,
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum PostError {
    /// No connection.
    Unconnected(End),
    /// It broke. A used one may have been about to be closed, which says nothing of what was sent.
    Broken { what: String, is_used: bool },
    /// Silence.
    Silent(String),
    /// A part could not be read.
    Source(io::Error),
}

/// Why an exchange came to nothing.
enum Failed {
    Http(hyper::Error),
    Otherwise(PostError),
}

impl From<PostError> for Failed {
    fn from(error: PostError) -> Self {
        Self::Otherwise(error)
    }
}

impl Connection {
    pub(super) fn new(destination: WebDestination, secure: Arc<Secure>) -> Self {
        Self { destination, secure, open: None, answers: JSON }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// The server does not answer in the media type that it was asked for: asks for the other one from now on. Whether that is
    /// worth a second request; after that it is not.
    pub(super) fn ask_otherwise(&mut self) -> bool {
        let is_first = self.answers == JSON;
        self.answers = if is_first { XML } else { JSON };
        is_first
    }

    /// Posts a body and reads the response. The connection is kept if both were whole.
    pub(super) async fn post(
        &mut self,
        boundary: &Boundary,
        parts: &[Part],
        authorization: Option<HeaderValue>,
    ) -> Result<Response, PostError> {
        let mut open = self.opened().await?;
        let (to, body) = Taken::new(boundary.length(parts));
        let content_type = boundary.content_type();
        let answers = self.answers.clone();
        let request = request(&self.destination.url, &content_type, answers, authorization, body)
            .map_err(|error| PostError::Unconnected(End::Unreachable(error.to_string())))?;
        let timeouts = self.destination.timeouts;
        let is_used = std::mem::replace(&mut open.is_used, true);
        let Open { sender, driver, .. } = &mut open;
        let silent = || PostError::Silent(format!("no answer within {:?}", timeouts.answer));
        let exchange = async {
            let mut response = pin!(sender.send_request(request));
            let mut feeding = pin!(boundary.feed(parts, to, timeouts.transfer));
            let early = tokio::select! {
                biased;
                response = &mut response => Some(response),
                fed = &mut feeding => match fed {
                    Ok(()) | Err(FeedError::Closed) => None,
                    Err(FeedError::Source(error)) => return Err(PostError::Source(error).into()),
                    Err(FeedError::Stalled(limit)) => {
                        return Err(PostError::Silent(format!("nothing was taken for {limit:?}")).into());
                    }
                },
            };
            let deadline = Instant::now() + timeouts.answer;
            let is_early = early.is_some();
            let answered = match early {
                Some(answered) => answered,
                None => timeout_at(deadline, response).await.map_err(|_| silent())?,
            };
            let answered = answered.map_err(Failed::Http)?;
            if is_early && answered.status().is_success() {
                let what = format!("{} before everything was sent", answered.status());
                return Err(PostError::Broken { what, is_used: false }.into());
            }
            Ok((read(answered, deadline).await, is_early))
        };
        let exchanged = driver.along(exchange).await;
        let ((response, can_stay), is_early) = match exchanged {
            Ok(exchanged) => exchanged,
            Err(Failed::Http(error)) => {
                // The error of the connection itself may say more than that there is none any more.
                let refusal = [Some(&error), driver.failure.as_ref()]
                    .into_iter()
                    .flatten()
                    .find_map(|error| HandshakeError::late(error));
                return Err(match refusal {
                    Some(refusal) => PostError::Unconnected(self.secure.failed(&refusal)),
                    None => PostError::Broken { what: words(&error), is_used },
                });
            }
            Err(Failed::Otherwise(error)) => return Err(error),
        };
        if can_stay && !is_early {
            self.open = Some(open);
        }
        Ok(response)
    }

    /// The open connection if it still is, or a new one.
    async fn opened(&mut self) -> Result<Open, PostError> {
        if let Some(mut open) = self.open.take() {
            let Open { sender, driver, .. } = &mut open;
            if let Ok(Ok(())) = timeout(LOOK, driver.along(sender.ready())).await {
                return Ok(open);
            }
        }
        let (url, limit) = (&self.destination.url, self.destination.timeouts.connect);
        let stream = self.secure.dial(url.host(), url.port(), limit).await.map_err(PostError::Unconnected)?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| PostError::Unconnected(End::Unreachable(words(&error))))?;
        Ok(Open { sender, driver: Driver::new(Box::pin(connection)), is_used: false })
    }
}

fn request(
    url: &WebUrl,
    content_type: &str,
    answers: HeaderValue,
    authorization: Option<HeaderValue>,
    body: Taken,
) -> Result<Request<Taken>, hyper::http::Error> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(url.path())
        .header(HOST, url.authority())
        .header(USER_AGENT, US)
        .header(ACCEPT, answers)
        .header(CONTENT_TYPE, content_type);
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    request.body(body)
}

/// Reads a response to its end, but not for ever; and whether the connection can carry more.
async fn read(response: hyper::Response<Incoming>, deadline: Instant) -> (Response, bool) {
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    let whole = loop {
        let frame = poll_fn(|context| Pin::new(&mut incoming).poll_frame(context));
        match timeout_at(deadline, frame).await {
            Ok(None) => break Body::Whole(body),
            Ok(Some(Ok(frame))) => {
                let data: Bytes = frame.into_data().unwrap_or_default();
                if body.len() + data.len() > MAX_ANSWER {
                    break Body::TooLong;
                }
                body.extend_from_slice(&data);
            }
            Ok(Some(Err(_))) | Err(_) => break Body::Cut,
        }
    };
    let can_stay = matches!(whole, Body::Whole(_));
    let retry_after = pause(head.headers.get(RETRY_AFTER), head.headers.get(DATE), SystemTime::now());
    let location = head.headers.get(LOCATION).and_then(host_of);
    (Response { status: head.status, retry_after, location, body: whole }, can_stay)
}

/// What broke, with the cause that the library keeps behind it.
fn words(error: &hyper::Error) -> String {
    let mut words = format!("the connection broke: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

impl Driver {
    fn new(moving: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>) -> Self {
        Self { moving: Some(moving), failure: None }
    }

    /// Moves bytes until `wanted` is there. First of all it notices what happened since.
    async fn along<T>(&mut self, wanted: impl Future<Output = T>) -> T {
        let mut wanted = pin!(wanted);
        poll_fn(|context| {
            if let Some(moving) = &mut self.moving
                && let Poll::Ready(ended) = moving.as_mut().poll(context)
            {
                (self.moving, self.failure) = (None, ended.err());
            }
            match wanted.as_mut().poll(context) {
                Poll::Ready(value) => Poll::Ready(value),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}
