//! The back ends that tests run on: files in a folder of their own, the NATS of this machine under a name of its own, and
//! librdkafka's mock cluster. One that does not answer is named on standard error and left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tradewind_ingest::event_log::{self, EventLog, EventLogSettings};

/// Somewhere an empty log can be opened, and opened again.
pub(crate) struct Backend {
    pub(crate) name: &'static str,
    pub(crate) settings: EventLogSettings,
    pub(crate) folder: tempfile::TempDir,
    #[cfg(feature = "kafka")]
    _cluster: Option<rdkafka::mocking::MockCluster<'static, rdkafka::producer::DefaultProducerContext>>,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Backend {
    pub(crate) fn embedded() -> Self {
        Self {
            name: "embedded",
            settings: EventLogSettings { lease_ms: 1000, ..EventLogSettings::default() },
            folder: tempfile::tempdir().unwrap(),
            #[cfg(feature = "kafka")]
            _cluster: None,
        }
    }

    pub(crate) async fn nats() -> Option<Self> {
        let address = nats_address();
        let options = async_nats::ConnectOptions::new().connection_timeout(std::time::Duration::from_secs(2));
        if let Err(e) = options.connect(&address).await {
            eprintln!("skipped: TRADEWIND_TEST_NATS ({address}) does not answer: {e}");
            return None;
        }
        let name = format!("tw-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let mut backend = Self::embedded();
        backend.name = "NATS";
        backend.settings.address = address;
        backend.settings.name = name;
        backend.settings.retention_bytes = 256 << 20;
        Some(backend)
    }

    /// Three brokers in this process.
    #[cfg(feature = "kafka")]
    pub(crate) fn kafka() -> Self {
        let cluster = rdkafka::mocking::MockCluster::new(3).unwrap();
        let mut backend = Self::embedded();
        backend.name = "Kafka";
        backend.settings.address = format!("kafka://{}", cluster.bootstrap_servers());
        backend.settings.name = format!("tw-test-{}", NEXT.fetch_add(1, Ordering::SeqCst));
        cluster.create_topic(&backend.settings.name, backend.settings.partitions as i32, 3).unwrap();
        cluster.create_topic(&format!("{}-dead", backend.settings.name), 1, 3).unwrap();
        backend._cluster = Some(cluster);
        backend
    }

    /// One of each that answers.
    pub(crate) async fn every() -> Vec<Self> {
        let mut out = vec![Self::embedded()];
        out.extend(Self::nats().await);
        #[cfg(feature = "kafka")]
        out.push(Self::kafka());
        out
    }

    pub(crate) async fn open(&self) -> Arc<dyn EventLog> {
        event_log::open(&self.settings, &self.folder.path().join("log")).await.unwrap()
    }
}

pub(crate) fn nats_address() -> String {
    std::env::var("TRADEWIND_TEST_NATS").unwrap_or_else(|_| "nats://127.0.0.1:4222".to_owned())
}

impl Drop for Backend {
    fn drop(&mut self) {
        if self.name != "NATS" {
            return;
        }
        let (address, name) = (self.settings.address.clone(), self.settings.name.clone());
        // A runtime of its own, on a thread of its own: the test's may be ending.
        let _ = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = async_nats::connect(&address).await.unwrap();
                let context = async_nats::jetstream::new(client);
                for stream in [name.clone(), format!("{name}-places"), format!("{name}-dead")] {
                    let _ = context.delete_stream(stream).await;
                }
            });
        })
        .join();
    }
}
