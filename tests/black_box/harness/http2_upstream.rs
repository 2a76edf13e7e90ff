//! An HTTP server behind TLS that speaks HTTP/2 and nothing else, and notes what it was asked.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response, request};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// The server. It ends with its runtime.
pub struct Http2Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    requests: Mutex<Vec<Http2Request>>,
    connections: AtomicUsize,
    status: AtomicU16,
}

/// What one request was.
#[derive(Clone, Debug)]
pub struct Http2Request {
    /// Method, pseudo header fields and fields.
    pub head: Arc<request::Parts>,
    /// The whole body.
    pub body: Vec<u8>,
    /// What came behind it.
    pub trailers: HeaderMap,
}

impl Http2Upstream {
    /// Starts one that answers with 200, what it was sent, and the trailers `x-sum: 7` and `x-auth-user: root`.
    pub fn start(tls: &ServerConfig) -> Self {
        let mut tls = tls.clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            status: AtomicU16::new(200),
        });
        runtime.spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), Arc::clone(&shared)));
        Self { address, shared, _runtime: runtime }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Requests from now on are answered with `status`.
    pub fn answer_with(&self, status: u16) {
        self.shared.status.store(status, Ordering::SeqCst);
    }

    /// Everything that came so far.
    pub fn requests(&self) -> Vec<Http2Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Connections so far that chose h2.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

/// A connection that fails ends silently: the gateway is what is looked at.
async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            shared.connections.fetch_add(1, Ordering::SeqCst);
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(serve(request, respond, Arc::clone(&shared)));
            }
        });
    }
}

async fn serve(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, shared: Arc<Shared>) {
    let (head, mut incoming) = request.into_parts();
    let mut body = Vec::new();
    while let Some(Ok(data)) = incoming.data().await {
        let _ = incoming.flow_control().release_capacity(data.len());
        body.extend_from_slice(&data);
    }
    let trailers = incoming.trailers().await.ok().flatten().unwrap_or_default();
    let answer = Response::builder().status(shared.status.load(Ordering::SeqCst));
    let answer = answer.body(()).unwrap();
    shared.requests.lock().unwrap().push(Http2Request { head: Arc::new(head), body: body.clone(), trailers });
    let mut sending = respond.send_response(answer, false).unwrap();
    if !body.is_empty() {
        // Empty frames that end nothing are a flood to the gateway's HTTP/2, which gives a connection up after a hundred.
        let _ = sending.send_data(body.into(), false);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    trailers.insert("x-auth-user", HeaderValue::from_static("root"));
    let _ = sending.send_trailers(trailers);
}
