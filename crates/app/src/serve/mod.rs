//! `tradewind serve`: the HTTP server.
//!
//! ```text
//! socket (listen) ─→ id, log, headers (layers) ─→ panics, compression ─→ room, key, role, rate, time (door) ─→ handler (routes)
//!                                                                       └→ files of the dashboard (dashboard): no key, no data
//! ```
//!
//! A new route: a handler with `#[utoipa::path]` in a file of `routes`, read by `extract`, answered by a value or a
//! [`problem::Problem`], and one line with its [`door::Door`] in that file's `add`. Everything else (security, limits,
//! description, the test of every role) follows from that line.

mod answer;
mod arms;
mod assignments;
mod changes;
mod collect;
mod dashboard;
mod domain;
mod door;
mod extract;
mod follow;
mod identity;
mod layers;
mod listen;
mod problem;
mod rates;
mod routes;
mod state;
mod table;
mod telemetry;
#[cfg(test)]
mod tests;
mod time;
mod traces;

pub(crate) use listen::TlsFiles;

use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::get;
use domain::Domain;
use follow::Follower;
use identity::Identity;
use state::Server;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use table::Routes;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use traces::Traces;
use tracing::level_filters::LevelFilter;
use tradewind::event_log::ShopClock;
use tradewind::operations::Operations;
use tradewind::ops::access::Access;
use tradewind::ops::experiment::Experiments;
use tradewind::ops::jobs::{Stop, Worker, WorkerSettings};
use tradewind::ops::traffic::Traffic;
use tradewind::warehouse::settings::ServeSettings;
use tradewind::{Device, Error, Result, Run, Shop};

/// Where the server listens.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) tls: bool,
    /// Whether anybody could be let in: whether there is any key.
    pub(crate) has_keys: bool,
}

/// How the server lives in its process.
#[derive(Clone, Copy)]
pub(crate) struct Process {
    /// Threads that answer, and threads of each step of a job; 0: all cores.
    pub(crate) threads: usize,
    /// Where the steps train networks.
    pub(crate) device: Device,
    /// Steps of jobs at once; 0: jobs are left to other processes.
    pub(crate) steps_at_once: usize,
    /// What is worth a line of the log.
    pub(crate) log: LevelFilter,
}

impl Process {
    /// The threads and the device of steps.
    fn like(self) -> Run {
        Run::new(0).with_threads(self.threads).with_device(self.device)
    }
}

/// Serves the shop until a signal ends it. `settings` are the shop's, with what the command line changed; `listening` is
/// told once the server takes requests.
pub(crate) fn run(
    shop: &Shop,
    settings: ServeSettings,
    process: Process,
    listening: impl FnOnce(&Listening) -> Result<()>,
) -> Result<()> {
    let traces = Traces::open(&settings)?;
    telemetry::log(settings.log, process.log, traces.as_ref());
    let metrics = telemetry::metrics()?;
    let runtime = {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if process.threads > 0 {
            builder.worker_threads(process.threads);
        }
        builder
            .enable_all()
            .build()
            .map_err(|e| Error::asked(format!("no threads to serve with: {e}"), "try again"))?
    };
    let served = runtime.block_on(async {
        let operations = Operations::open(shop).await?;
        let Operations { database, jobs, registry, .. } = operations.clone();
        let access = Access::open(database.clone()).await?;
        let has_keys = !access.keys().await?.is_empty();
        let tls = match tls_files(shop, &settings)? {
            Some(files) => {
                let config = files.load().await?;
                Some((files, config))
            }
            None => None,
        };
        let identity = Identity::of(shop, &settings)?;
        let listener = listen::bind(&settings.listen)?;
        let beside = match settings.metrics_listen.as_str() {
            "" => None,
            address => Some(listen::bind(address)?),
        };
        let local = |l: &std::net::TcpListener| {
            l.local_addr().map_err(|e| Error::asked(format!("the address is not known: {e}"), "try again"))
        };
        let told = Listening {
            address: local(&listener)?,
            metrics: beside.as_ref().map(local).transpose()?,
            tls: tls.is_some(),
            has_keys,
        };
        let collect_every = Duration::from_secs(shop.settings().events.collect_seconds);
        let sagemaker = settings.sagemaker;
        let openapi = openapi_text(sagemaker)?;
        let log = tradewind::event_log::open(shop).await?;
        let domain = Arc::new(Domain::new(Some(log.clone()), ShopClock::of(shop)?).with_shop(shop.clone()));
        let traffic = Traffic::open(database.clone());
        let server = Server::new(
            settings,
            access,
            identity.clone(),
            registry.clone(),
            jobs,
            traffic.clone(),
            metrics,
            openapi,
            domain.clone(),
        );
        // The state has just answered.
        server.readiness.state_answered();
        let follower = Follower::new(registry, traffic, Experiments::open(database.clone()), domain);
        server.readiness.set("models", false);
        let (loaded, first) = tokio::sync::oneshot::channel();
        let follower = tokio::spawn(start(server.clone(), follower, loaded));
        let collector = (collect_every > Duration::ZERO)
            .then(|| tokio::spawn(collect::collect(shop.clone(), log.clone(), collect_every)));
        let keeper = identity.map(|identity| tokio::spawn(identity.keep()));
        let worker = Workshop::open(&operations, process);
        // A small shop is ready before anybody asks; what loads for longer is loaded beside the probes.
        let _ = tokio::time::timeout(QUICK_START, first).await;
        let router = router(&server, routes::all(sagemaker));
        let metrics = beside.map(|listener| (metrics_router(&server), listener));
        // The socket takes connections already; they are answered from here on.
        listening(&told)?;
        let served = listen::serve(server, router, listener, tls, metrics).await;
        follower.abort();
        for task in keeper.into_iter().chain(collector) {
            task.abort();
        }
        if let Some(worker) = worker {
            worker.close().await;
        }
        // Whatever was acknowledged is on disk already; the log is only let go of.
        if let Err(e) = log.close().await {
            tracing::warn!("the event log was not closed: {e}");
        }
        database.close().await;
        served
    });
    drop(runtime);
    if let Some(traces) = traces {
        traces.close();
    }
    served
}

/// A worker in the server's process.
struct Workshop {
    stop: Stop,
    working: tokio::task::JoinHandle<()>,
}

impl Workshop {
    fn open(operations: &Operations, process: Process) -> Option<Self> {
        if process.steps_at_once == 0 {
            return None;
        }
        let works = tradewind::pipelines::works(operations, &process.like());
        let settings = WorkerSettings { slots: process.steps_at_once, ..WorkerSettings::default() };
        let worker = Worker::new(operations.jobs.clone(), works).with(settings);
        let stop = Stop::default();
        let asked = stop.clone();
        let working = tokio::spawn(async move {
            if let Err(e) = worker.run(&asked).await {
                tracing::error!("no jobs are run here: {e}");
            }
        });
        Some(Self { stop, working })
    }

    /// Asks the steps under way to stop; what does not end in time is left to the next worker.
    async fn close(self) {
        self.stop.stop();
        let _ = self.working.await;
    }
}

/// How often the registry is looked at.
const FOLLOW_EVERY: Duration = Duration::from_secs(3);
/// How long the first look may hold back the word that the server listens.
const QUICK_START: Duration = Duration::from_secs(2);

/// Loads what is in production, shows it the events that came since it was fitted, and follows the registry from then
/// on. The server is ready once that was tried: a version that is refused does not keep the others from answering.
async fn start(server: Server, mut follower: Follower, loaded: tokio::sync::oneshot::Sender<()>) {
    loop {
        match follower.look().await {
            Ok(_) => break,
            Err(e) => {
                tracing::warn!("the registry does not answer yet: {e}");
                tokio::time::sleep(FOLLOW_EVERY).await;
            }
        }
    }
    if let Err(e) = follow::replay(&server.domain).await {
        tracing::warn!("events of the log were not shown to the versions that learn from them: {e}");
    }
    server.readiness.set("models", true);
    // Nobody waits for it any longer where loading took long.
    let _ = loaded.send(());
    follower.follow(FOLLOW_EVERY).await;
}

/// The description of all routes, as the golden file and the server tell it.
pub(crate) fn openapi_text(sagemaker: bool) -> Result<String> {
    let fault =
        |e: serde_json::Error| Error::asked(format!("the description cannot be written: {e}"), "report it");
    let mut api = serde_json::to_value(routes::all(sagemaker).openapi()).map_err(fault)?;
    order_extensions(&mut api);
    let mut text = serde_json::to_string_pretty(&api).map_err(fault)?;
    text.push('\n');
    Ok(text)
}

/// Puts the `x-` keys of every object in order behind the others: they come from a hash map, and the text is a golden file.
fn order_extensions(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            let mut names: Vec<String> = map.keys().filter(|k| k.starts_with("x-")).cloned().collect();
            names.sort();
            for name in names {
                if let Some(inner) = map.shift_remove(&name) {
                    map.insert(name, inner);
                }
            }
            map.values_mut().for_each(order_extensions);
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(order_extensions),
        _ => {}
    }
}

fn router(server: &Server, routes: Routes) -> Router {
    routes
        .router(server)
        .fallback(dashboard::answer)
        .layer(CompressionLayer::new().gzip(true).zstd(true))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn_with_state(server.clone(), layers::outermost))
        .with_state(server.clone())
}

fn metrics_router(server: &Server) -> Router {
    Router::new().route("/metrics", get(exposed)).with_state(server.clone())
}

async fn exposed(State(server): State<Server>) -> Response {
    routes::exposition(&server)
}

fn tls_files(shop: &Shop, settings: &ServeSettings) -> Result<Option<TlsFiles>> {
    let place = |text: &str| -> PathBuf { shop.root().join(text) };
    match (settings.tls_certificate.as_str(), settings.tls_key.as_str()) {
        ("", "") => Ok(None),
        ("", _) | (_, "") => Err(Error::asked(
            "only one of [serve] tls_certificate and tls_key is set",
            "set both for HTTPS, or neither for plain HTTP",
        )),
        (certificate, key) => Ok(Some(TlsFiles { certificate: place(certificate), key: place(key) })),
    }
}
