//! Posts the spans of all door threads to a collector: OTLP over HTTP, binary protobuf.
//!
//! One post after the other, each within a deadline. What is not taken at the second try is dropped and counted; while a
//! post is under way spans wait in the channel, which is bounded. Nothing here is waited for by a request. What spans
//! tell is `telemetry`'s. Runs on the control plane's threads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::post_address::{AddressError, PostAddress, PostError};
use crate::config::{SetHeaders, Traces, UpstreamTls};
use crate::telemetry::{SpanBatch, SpanCounts, export_request};

/// What it is called in errors, which do not name the address.
const WHAT: &str = "the collector of traces";
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
/// So long spans are gathered for one post.
const GATHER_FOR: Duration = Duration::from_millis(500);
/// With so many bytes a post is large enough.
const POST_BYTES: usize = 512 * 1024;
/// A collector has so long for one post.
const DEADLINE: Duration = Duration::from_secs(5);
/// From a post that was not taken to its second try.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// So long a gateway that ends goes on posting what waits.
const LAST_DEADLINE: Duration = Duration::from_secs(2);

/// Where spans are posted to.
pub(super) struct Collector {
    address: PostAddress,
    headers: SetHeaders,
    /// What all spans say of the program that they are of.
    resource: [(&'static str, String); 3],
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Collector(…)")
    }
}

impl Collector {
    /// The collector that `traces` names.
    ///
    /// # Errors
    /// It is no address that could be posted to, or the authorities to judge it by cannot be read.
    pub(super) fn new(traces: &Traces) -> Result<Self, AddressError> {
        let tls = UpstreamTls { ca: traces.ca.clone(), ..UpstreamTls::default() };
        Ok(Self {
            address: PostAddress::new(traces.otlp.expose(), &tls, WHAT)?,
            headers: traces.headers.clone(),
            resource: [
                ("service.name", traces.service_name.clone()),
                ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
                ("host.name", whoami::hostname().unwrap_or_default()),
            ],
        })
    }

    async fn post(&self, body: &Bytes) -> Result<(), PostError> {
        let mut request = self.address.request(body.clone());
        for (name, value) in &self.headers.0 {
            request.headers_mut().insert(name, value.clone());
        }
        request.headers_mut().insert(CONTENT_TYPE, PROTOBUF);
        self.address.post(request, DEADLINE).await
    }
}

/// May the same post be taken another time (OTLP 1.x, "Retryable Response Codes")?
const fn may_pass(error: &PostError) -> bool {
    match error {
        PostError::Unreachable(..) | PostError::Broke(..) | PostError::TooLate(_) => true,
        PostError::Status(_, status) => matches!(
            *status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        ),
    }
}

/// Posts what comes out of `received` to the latest collector, until `stop`; then, for a moment, what waits.
pub(super) async fn export_spans(
    mut received: mpsc::Receiver<SpanBatch>,
    collector: watch::Receiver<Option<Arc<Collector>>>,
    counts: SpanCounts,
    stop: CancellationToken,
) {
    let mut exporter = Exporter { collector, counts, is_failing: false };
    let mut batches = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = gather(&mut received, &mut batches) => {}
        }
        if batches.is_empty() {
            return;
        }
        exporter.deliver(&batches, &stop).await;
        batches.clear();
    }
    while let Ok(batch) = received.try_recv() {
        batches.push(batch);
    }
    if !batches.is_empty() {
        exporter.deliver(&batches, &stop).await;
    }
}

/// Waits for spans, and for those that follow soon, and adds them to `batches`; none: nobody is left to bring any.
/// Cancel-safe.
async fn gather(received: &mut mpsc::Receiver<SpanBatch>, batches: &mut Vec<SpanBatch>) {
    let Some(first) = received.recv().await else { return };
    batches.push(first);
    let more = async {
        while batches.iter().map(SpanBatch::size_bytes).sum::<usize>() < POST_BYTES
            && let Some(batch) = received.recv().await
        {
            batches.push(batch);
        }
    };
    // The end of the time is an end like the others.
    let _ = timeout(GATHER_FOR, more).await;
}

/// Posts, and counts what came of it.
struct Exporter {
    collector: watch::Receiver<Option<Arc<Collector>>>,
    counts: SpanCounts,
    /// Was the last post not taken? Told once, and not with each post.
    is_failing: bool,
}

impl Exporter {
    /// Posts `batches` or lets them go, soon where the gateway ends.
    async fn deliver(&mut self, batches: &[SpanBatch], stop: &CancellationToken) {
        let spans = batches.iter().map(SpanBatch::spans).sum();
        let too_late = async {
            stop.cancelled().await;
            sleep(LAST_DEADLINE).await;
        };
        let outcome = tokio::select! {
            outcome = self.post(batches) => outcome,
            () = too_late => None,
        };
        match outcome {
            Some(Ok(())) => {
                self.counts.exported(spans);
                if self.is_failing {
                    tracing::info!("the collector takes traces again");
                }
                self.is_failing = false;
            }
            Some(Err(error)) => {
                self.counts.dropped(spans);
                if !self.is_failing {
                    tracing::warn!(%error, "spans are not taken; they are dropped and counted");
                }
                self.is_failing = true;
            }
            None => self.counts.dropped(spans),
        }
    }

    /// Posts `batches`, and once more where that may help; `None`: the configuration names no collector any more.
    async fn post(&self, batches: &[SpanBatch]) -> Option<Result<(), PostError>> {
        let collector = self.collector.borrow().clone()?;
        let body = Bytes::from(export_request(&collector.resource, batches));
        match collector.post(&body).await {
            Err(error) if may_pass(&error) => {
                tracing::debug!(%error, "spans are posted again in a moment");
                sleep(TRY_AGAIN_AFTER).await;
                Some(collector.post(&body).await)
            }
            outcome => Some(outcome),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::clock::Clock;
    use crate::config::TrustIncoming;
    use crate::model::{AccessPoint, ClientIp, SampleRatio, Secret, Timestamp};
    use crate::telemetry::{AccessRecord, RequestIds, SessionFacts, SpanChannel, Tracer};

    fn traces(url: &str) -> Traces {
        let token = (HeaderName::from_static("x-token"), HeaderValue::from_static("hunter2"));
        Traces {
            otlp: Secret::new(url.to_owned()),
            service_name: "edge".to_owned(),
            sample_ratio: SampleRatio::ALL,
            trust_incoming: TrustIncoming::Never,
            headers: SetHeaders(vec![token]),
            ca: None,
        }
    }

    /// An exporter at work, and the way to it.
    struct Exporting {
        channel: SpanChannel,
        counts: SpanCounts,
        collectors: watch::Sender<Option<Arc<Collector>>>,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<()>,
        traces: Traces,
    }

    impl Exporting {
        fn to(url: &str) -> Self {
            let (counts, stop, traces) = (SpanCounts::default(), CancellationToken::new(), traces(url));
            let (channel, received) = SpanChannel::new(counts.clone());
            let collectors = watch::Sender::new(Some(Arc::new(Collector::new(&traces).unwrap())));
            let exporting = export_spans(received, collectors.subscribe(), counts.clone(), stop.clone());
            Self { channel, counts, collectors, stop, task: tokio::spawn(exporting), traces }
        }

        /// Hands one span on.
        fn span(&self) {
            let now = Timestamp::from_unix_milliseconds(1_800_000_000_000);
            let writer = std::rc::Rc::new(self.channel.writer(7));
            let tracer = Tracer::new(&writer, &self.traces, Clock::given(now));
            let record = AccessRecord {
                at: now,
                service: AccessPoint::IsProxy,
                listener: "isproxy",
                request_id: RequestIds::new(1).next_id(),
                client_ip: ClientIp::new("192.0.2.7".parse().unwrap()),
                method: "SESSION",
                target: "",
                status: 100,
                reason: None,
                customer: None,
                user: None,
                key_id: None,
                auth_method: None,
                upstream: None,
                duration_microseconds: 1,
                response_bytes: 0,
                trace_id: None,
            };
            tracer.session_ended(&tracer.begin(None), &record, SessionFacts::default());
            writer.flush();
        }

        async fn wait_for(&self, exported: u64, dropped: u64) {
            while (self.counts.exported_count(), self.counts.dropped_count()) != (exported, dropped) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    async fn listener() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hunter2/v1/traces", listener.local_addr().unwrap());
        (listener, url)
    }

    /// Takes one post, answers it with `status`, and tells its head.
    async fn answer(listener: &TcpListener, status: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        let head = loop {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
            let text = String::from_utf8_lossy(&read).into_owned();
            let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if read.len() == head.len() + 4 + length.unwrap().parse::<usize>().unwrap() {
                break head.to_owned();
            }
        };
        stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
        head
    }

    #[tokio::test(start_paused = true)]
    async fn spans_are_posted_as_protobuf_with_the_headers_of_the_configuration() {
        let (listener, url) = listener().await;
        let exporting = Exporting::to(&url);
        exporting.span();
        exporting.span();
        let head = answer(&listener, "200 OK").await;
        assert!(head.starts_with("POST /hunter2/v1/traces HTTP/1.1\r\n"), "{head}");
        for line in ["content-type: application/x-protobuf", "x-token: hunter2", "user-agent: latchkey"] {
            assert!(head.lines().any(|found| found == line), "{line} in {head}");
        }
        exporting.wait_for(2, 0).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_once_more_and_what_may_not_is_let_go() {
        let (listener, url) = listener().await;
        let exporting = Exporting::to(&url);
        exporting.span();
        let began = Instant::now();
        answer(&listener, "503 Later").await;
        answer(&listener, "200 OK").await;
        exporting.wait_for(1, 0).await;
        assert!(began.elapsed() >= TRY_AGAIN_AFTER);
        exporting.span();
        answer(&listener, "400 Bad").await;
        exporting.wait_for(1, 1).await;
        exporting.span();
        answer(&listener, "429 Later").await;
        answer(&listener, "503 Later").await;
        exporting.wait_for(1, 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_is_away_costs_spans_which_are_counted() {
        let (listener, url) = listener().await;
        let exporting = Exporting::to(&url);
        drop(listener);
        exporting.span();
        exporting.wait_for(0, 1).await;
        exporting.collectors.send_replace(None);
        exporting.span();
        exporting.wait_for(0, 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_at_the_end_is_posted_and_a_collector_that_hangs_is_not_waited_for() {
        let (collector, url) = listener().await;
        let exporting = Exporting::to(&url);
        exporting.span();
        exporting.stop.cancel();
        answer(&collector, "200 OK").await;
        exporting.task.await.unwrap();
        assert_eq!((exporting.counts.exported_count(), exporting.counts.dropped_count()), (1, 0));

        let (_hanging, url) = listener().await;
        let exporting = Exporting::to(&url);
        exporting.span();
        exporting.stop.cancel();
        let began = Instant::now();
        exporting.task.await.unwrap();
        assert!(began.elapsed() <= LAST_DEADLINE + Duration::from_millis(1), "{:?}", began.elapsed());
        assert_eq!((exporting.counts.exported_count(), exporting.counts.dropped_count()), (0, 1));
    }

    #[test]
    fn errors_and_debug_texts_name_no_address() {
        let collector = Collector::new(&traces("https://otlp.example/hunter2")).unwrap();
        assert_eq!(format!("{collector:?}"), "Collector(…)");
        let error = Collector::new(&traces("hunter2://otlp.example")).unwrap_err().to_string();
        assert_eq!(error, "the collector of traces is no http or https URL");
    }
}
