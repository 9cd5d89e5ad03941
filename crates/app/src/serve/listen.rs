//! Sockets, TLS and the end: after the first signal `/readyz` says no while requests are still taken, then nothing new is
//! taken and what is under way may finish; a second signal ends at once.

use super::layers::HEADERS_MAX;
use super::state::Server;
use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;
use tradewind::{Error, Result};

/// How long a caller may take to send the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(15);

/// How long a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Answers at the same time on one connection of HTTP/2.
const STREAMS_MAX: u32 = 128;

/// How often the state is asked whether it answers.
const STATE_EVERY: Duration = Duration::from_secs(5);

/// What the two protocols may take. The type of the builder is its crate's own, which this one does not lean on.
macro_rules! settle {
    ($builder:expr) => {{
        let builder = $builder;
        builder.http1().header_read_timeout(HEAD_TIME).max_buf_size(HEADERS_MAX * 2).max_headers(100);
        builder
            .http2()
            .max_header_list_size(HEADERS_MAX as u32)
            .max_concurrent_streams(STREAMS_MAX)
            .keep_alive_interval(Some(Duration::from_secs(20)));
    }};
}

/// Takes the address.
pub(crate) fn bind(address: &str) -> Result<TcpListener> {
    let hint = "write it as address:port, as 127.0.0.1:8080, and see that nothing else listens there";
    let addresses: Vec<SocketAddr> = address
        .to_socket_addrs()
        .map_err(|e| Error::asked(format!("`{address}` is no address to listen on: {e}"), hint))?
        .collect();
    let listener = TcpListener::bind(&addresses[..])
        .map_err(|e| Error::asked(format!("cannot listen on {address}: {e}"), hint))?;
    listener
        .set_nonblocking(true)
        .map_err(|e| Error::asked(format!("cannot listen on {address}: {e}"), hint))?;
    Ok(listener)
}

/// The files of TLS.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl TlsFiles {
    /// Reads them.
    pub(crate) async fn load(&self) -> Result<RustlsConfig> {
        RustlsConfig::from_pem_file(&self.certificate, &self.key).await.map_err(|e| self.fault(&e))
    }

    async fn reload(&self, config: &RustlsConfig) {
        match config.reload_from_pem_file(&self.certificate, &self.key).await {
            Ok(()) => tracing::info!("the certificate was read again"),
            // The old one goes on.
            Err(e) => tracing::error!("{}", self.fault(&e)),
        }
    }

    fn fault(&self, e: &std::io::Error) -> Error {
        Error::asked(
            format!(
                "the certificate {} and the key {} cannot be used: {e}",
                self.certificate.display(),
                self.key.display()
            ),
            "give PEM files that belong together in [serve] tls_certificate and tls_key",
        )
    }
}

/// Serves until a signal ends it.
pub(crate) async fn serve(
    server: Server,
    router: Router,
    listener: TcpListener,
    tls: Option<(TlsFiles, RustlsConfig)>,
    metrics: Option<(Router, TcpListener)>,
) -> Result<()> {
    let handle: Handle<SocketAddr> = Handle::new();
    let keeper = tokio::spawn(ask_state(server.clone()));
    let ending = tokio::spawn(end(server.clone(), handle.clone(), tls.clone()));
    let metrics_handle: Handle<SocketAddr> = Handle::new();
    let beside = match metrics {
        Some((router, listener)) => {
            let beside = axum_server::from_tcp(listener).map_err(io)?.handle(metrics_handle.clone());
            Some(tokio::spawn(beside.serve(router.into_make_service())))
        }
        None => None,
    };
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let served = match tls {
        None => {
            let mut server = axum_server::from_tcp(listener).map_err(io)?.handle(handle);
            settle!(server.http_builder());
            server.serve(service).await
        }
        Some((_, config)) => {
            let mut server = axum_server::from_tcp_rustls(listener, config)
                .map_err(io)?
                .map(|a| a.handshake_timeout(HANDSHAKE_TIME))
                .handle(handle);
            settle!(server.http_builder());
            server.serve(service).await
        }
    };
    metrics_handle.shutdown();
    for task in [keeper, ending] {
        task.abort();
    }
    if let Some(beside) = beside {
        beside.abort();
    }
    served.map_err(io)
}

fn io(e: std::io::Error) -> Error {
    Error::asked(format!("the server cannot go on: {e}"), "see the system's limits of sockets and files")
}

/// Asks the state again and again, so that readiness knows.
async fn ask_state(server: Server) {
    loop {
        if let Ok(Ok(())) = tokio::time::timeout(STATE_EVERY, server.access.database().ping()).await {
            server.readiness.state_answered();
        }
        server.metrics.run_upkeep();
        tokio::time::sleep(STATE_EVERY).await;
    }
}

/// Waits for signals: the first begins the end, SIGHUP reads the certificate again.
#[cfg(unix)]
async fn end(server: Server, handle: Handle<SocketAddr>, tls: Option<(TlsFiles, RustlsConfig)>) {
    use tokio::signal::unix::{SignalKind, signal};
    let signals =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        tracing::error!("signals cannot be received; the server ends only by force");
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                if let Some((files, config)) = &tls {
                    files.reload(config).await;
                }
            }
        }
    }
    begin_end(&server);
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(server.settings.drain_notice_seconds)) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    handle.graceful_shutdown(Some(Duration::from_secs(server.settings.drain_seconds)));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    handle.shutdown();
}

#[cfg(not(unix))]
async fn end(server: Server, handle: Handle<SocketAddr>, _: Option<(TlsFiles, RustlsConfig)>) {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    begin_end(&server);
    tokio::time::sleep(Duration::from_secs(server.settings.drain_notice_seconds)).await;
    handle.graceful_shutdown(Some(Duration::from_secs(server.settings.drain_seconds)));
    if tokio::signal::ctrl_c().await.is_ok() {
        handle.shutdown();
    }
}

fn begin_end(server: &Server) {
    server.readiness.drain();
    tracing::info!(
        notice_seconds = server.settings.drain_notice_seconds,
        drain_seconds = server.settings.drain_seconds,
        "the end begins"
    );
}
