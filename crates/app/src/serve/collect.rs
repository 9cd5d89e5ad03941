//! From the event log to the shop's table `events`, now and then, while the server runs.

use std::sync::Arc;
use std::time::Duration;
use tradewind::event_log::Collector;
use tradewind::ingest::event_log::EventLog;
use tradewind::{Fault, Shop};

/// The first round comes soon: the log may hold what came before the last end.
const FIRST_AFTER: Duration = Duration::from_secs(30);

/// Collects every so often until the future is dropped. What cannot be taken now, as while another import is written, is
/// taken by a later round.
pub(crate) async fn collect(shop: Shop, log: Arc<dyn EventLog>, every: Duration) {
    let mut collector = None;
    let mut told = String::new();
    let mut pause = FIRST_AFTER.min(every);
    loop {
        tokio::time::sleep(pause).await;
        pause = every;
        if collector.is_none() {
            collector = match Collector::join(&shop, &*log).await {
                Ok(joined) => Some(joined),
                Err(e) => {
                    tell(&mut told, &e);
                    continue;
                }
            };
        }
        let Some(member) = &mut collector else { continue };
        match member.collect().await {
            Ok(took) => {
                told.clear();
                if took.rows > 0 {
                    tracing::info!(rows = took.rows, "events of the log are rows of the shop");
                    metrics::counter!("tradewind_events_collected_total").increment(took.rows);
                }
                if took.foreign > 0 {
                    tracing::warn!(
                        events = took.foreign,
                        "the log held what is no event of a shop; it was left out"
                    );
                }
            }
            Err(e) => tell(&mut told, &e),
        }
    }
}

/// Tells a fault once, not with every round.
fn tell(told: &mut String, e: &tradewind::Error) {
    let hint = e.hint().map(|h| format!(" ({h})")).unwrap_or_default();
    let text = format!("{e}{hint}");
    if *told != text {
        tracing::warn!("events of the log were not taken into the shop yet: {text}");
        *told = text;
    }
}
